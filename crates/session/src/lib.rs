//! One MQTT peer's protocol state as a value: no sockets, no clock, no randomness.
