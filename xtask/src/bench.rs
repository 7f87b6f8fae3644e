//! `cargo xtask bench`: Quelea beside Debian's Mosquitto.

/// Measures both brokers in turn and writes the table.
pub(crate) fn run(_options: &[&str]) -> Result<(), String> {
    Err("nothing to measure with".to_owned())
}
