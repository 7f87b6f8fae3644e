//! The client that rules are applied to.

use std::sync::Arc;

use crate::rule::Rule;

/// What is known of a client. What nobody has checked, such as a user name without a password, is not in here.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Subject {
    /// The client identifier.
    pub client_id: Box<str>,
    /// The user; nothing for an anonymous client.
    pub user: Option<Box<str>>,
    /// The groups that the user is in.
    pub groups: Box<[Box<str>]>,
    /// The common name of the client's certificate, where it has one and exactly one such name.
    pub certificate: Option<Box<str>>,
    /// The listener's address, as configured. Nothing for a client that is away since a restart.
    pub listener: Option<Arc<str>>,
    /// What a token or an answer said about the user, by name.
    pub claims: Box<[(Box<str>, Box<str>)]>,
    /// Rules that came with that. With none at all it may do no more than others; nothing, if they were not spoken of.
    pub rules: Option<Arc<[Rule]>>,
}

impl Subject {
    pub(crate) fn claim(&self, name: &str) -> Option<&str> {
        self.claims.iter().find(|(it, _)| **it == *name).map(|(_, value)| &**value)
    }
}
