//! The conformance suite of Quelea: a case per normative statement of MQTT, over a real socket.
