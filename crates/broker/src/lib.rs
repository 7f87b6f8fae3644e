//! The Quelea MQTT broker as a library.

pub mod config;

pub use config::Config;
