//! The Quelea MQTT broker as a library.
