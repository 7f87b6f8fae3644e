//! What is fuzzed: functions of bytes that panic when something is wrong.
//!
//! `cargo xtask fuzz NAME` searches for such bytes. `tests/replay.rs` runs every target over its corpus, which
//! holds seeds and what was once found, and over some thousand inputs drawn from a fixed seed.

pub mod codec;
pub mod topics;

/// A target with its name, which is also that of its corpus.
pub type Target = (&'static str, fn(&[u8]));

/// All targets.
pub const TARGETS: &[Target] = &[("codec", codec::run), ("topics", topics::run)];
