//! A service that is asked about clients: the question, and what its answer means.
//!
//! Both are JSON, and a contract with services that others write; docs/authentication.md has it in words. How the
//! question gets there is for whoever asks.

mod answer;
mod question;
#[cfg(test)]
mod tests;

pub use answer::{Fault, read_answer};
pub use question::question;
