//! Who a client was found to be.

use std::time::SystemTime;

/// Who a client is, and what its source says about it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Identity {
    /// The user: the owner of the client's session. Absent for a client that was let in without being asked.
    pub user: Option<Box<str>>,
    /// The client identifier that it has from here on, where the source assigns one.
    pub client_id: Option<Box<str>>,
    /// The groups that it is in.
    pub groups: Box<[Box<str>]>,
    /// What else is known of it, by name: for placeholders in rules.
    pub claims: Box<[(Box<str>, Box<str>)]>,
    /// Rules that a token or a service brings along, each as text. This crate does not read them.
    pub rules: Box<[Box<str>]>,
    /// When it ends: the client has to authenticate again until then.
    pub expires_at: Option<SystemTime>,
}

impl Identity {
    /// Returns the identity of a user of whom nothing else is known.
    pub fn of_user(user: impl Into<Box<str>>) -> Self {
        Self { user: Some(user.into()), ..Self::default() }
    }

    /// Returns the value of a claim.
    pub fn claim(&self, name: &str) -> Option<&str> {
        self.claims.iter().find(|(it, _)| **it == *name).map(|(_, value)| &**value)
    }
}
