//! A broker that is guarded, as a process of its own.

mod broker;
#[path = "../../../conform/tests/stress/client.rs"]
#[expect(dead_code, reason = "the stress tests use all of it")]
mod client;
mod process;

mod abuse;
mod bystander;
mod migration;
mod securing;
mod tokens;
