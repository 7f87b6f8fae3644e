//! Who may publish and subscribe to what.
//!
//! [`Rules`] are read once; a [`Compiler`] makes of them what one client may do, with all placeholders filled in, and
//! has clients share what is the same for them; [`Permissions`] answers for one topic or filter. The first rule that
//! matches decides, and what no rule allows is denied.
//!
//! A client may bring rules of its own, [`Subject::rules`]: those that its token has, or that a service answered with.
//! [`read_json`] reads them.
//!
//! Nothing here knows a session, a socket or a file: [`mosquitto::read`] takes the text of a file. Topics and
//! filters are taken as the codec has checked them, and `$share/{group}/` is stripped by the caller.

#![forbid(unsafe_code)]

mod draft;
mod filter;
mod glob;
pub mod mosquitto;
mod pattern;
mod permissions;
mod recent;
mod rule;
mod subject;
mod table;

pub use draft::{Draft, RulesError, read_json};
pub use glob::Glob;
pub use pattern::{Pattern, PatternError};
pub use permissions::{Granted, Permissions, Publish, Verdict};
pub use recent::Recent;
pub use rule::{Actions, Effect, OwnRules, Rule, Rules, Who};
pub use subject::Subject;
pub use table::Compiler;
