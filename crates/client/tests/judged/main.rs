//! The examples, judged as a new user would: as programs of their own, opposite a broker's program that is killed.

#![allow(clippy::unwrap_used, reason = "it is a test")]

#[path = "../support/mod.rs"]
mod support;

mod consumer;
mod hello;
mod publisher;
mod site;
mod tasks;
