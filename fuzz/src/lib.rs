//! What is fuzzed: functions of bytes that panic when something is wrong.
//!
//! `cargo xtask fuzz NAME` searches for bytes that make one panic; `tests/replay.rs` runs each over its corpus,
//! which holds seeds and what was once found. What must hold for the codec is shared with its own tests.

pub mod acl;
pub mod auth;
pub mod client;
#[path = "../../crates/codec/tests/support/mod.rs"]
pub mod codec;
pub mod config;
pub mod jwt;
pub mod migrate;
pub mod recovery;
pub mod session;
pub mod topics;
pub mod traffic;
pub mod transport;

/// A target with its name, which is also that of its corpus.
pub type Target = (&'static str, fn(&[u8]));

/// All targets.
pub const TARGETS: &[Target] = &[
    ("acl", acl::check_acl),
    ("certificate", auth::check_certificate),
    ("client", client::check_server),
    ("config", config::check_config),
    ("framing", codec::check_framing),
    ("jwt", jwt::check_jwt),
    ("migrate", migrate::check_migrate),
    ("packet_decode", codec::check_packet_decode),
    ("packet_encode", codec::check_packet_encode),
    ("password_file", auth::check_password_file),
    ("proxy", transport::check_proxy),
    ("recovery", recovery::check_recovery),
    ("rules", acl::check_rules),
    ("service_answer", auth::check_service_answer),
    ("session", session::check_operations),
    ("topics", topics::check_operations),
    ("traffic", traffic::check_file),
    ("upgrade", transport::check_upgrade),
    ("websocket", transport::check_websocket),
];

/// Runs the target `name` on `input`.
///
/// # Panics
///
/// When something is wrong, or when there is no such target.
pub fn run(name: &str, input: &[u8]) {
    let (_, run) = TARGETS.iter().find(|it| it.0 == name).expect("the target has a row in TARGETS");
    run(input);
}
