//! Who a client is.
//!
//! A client's [`Credentials`] go through a [`Chain`] of sources. Each accepts it as an [`Identity`], refuses it, or
//! leaves it to the next. This crate knows neither sockets nor MQTT sessions: whoever uses it calls it where it may
//! take its time, and carries the answer to where the client is served.
//!
//! | module | what it does |
//! |---|---|
//! | `credentials` | what a client brings, and a [`Secret`] that is never printed |
//! | `identity` | who it was found to be, with the rules and limits that came with that |
//! | `chain` | who is asked, in which order, and what comes of it |
//! | `certificates` | client certificates |
//! | `holder` | what a certificate says of its holder |
//! | `exchange` | an enhanced authentication, step by step |
//! | `password_file` | users and their passwords |
//! | `jwt` | signed tokens, and the keys of those who issue them |
//! | `hash` | the hashes of passwords: Argon2id, and those of Mosquitto |
//! | `service` | what a service is asked about a client, and what its answer means |
//! | `scram` | SCRAM-SHA-256, the broker's side |
//! | `watched` | files that are read again when they have changed |

#![forbid(unsafe_code)]

mod certificates;
mod chain;
mod credentials;
mod encoding;
mod exchange;
mod hash;
mod holder;
mod identity;
pub mod jwt;
mod password_file;
mod scram;
pub mod service;
mod watched;

pub use certificates::Certificates;
pub use chain::{Chain, Judged, Later, SoFar, Source, Strangers, Verdict};
pub use credentials::{Certificate, Credentials, Secret};
pub use exchange::{Exchange, Step};
pub use holder::CertificateField;
pub use identity::{Identity, Limits};
pub use password_file::{PasswordFile, PasswordFileError, Scram, Users, is_user_name};
pub use watched::Watched;
