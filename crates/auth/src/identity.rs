//! Who a client was found to be.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::SystemTime;

use quelea_acl::Rule;

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
    /// Rules that a token or a service brings along; nothing, if it does not speak of any.
    pub rules: Option<Arc<[Rule]>>,
    /// What it may use, where that is not what others may.
    pub limits: Limits,
    /// When it ends: the client has to authenticate again until then.
    pub expires_at: Option<SystemTime>,
}

/// What takes the place of limits that are configured for each client.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// Messages that it publishes in a second.
    pub messages_per_sec: Option<NonZeroU32>,
    /// Bytes that it sends in a second.
    pub bytes_per_sec: Option<NonZeroU32>,
    /// Messages that it is sent in a second.
    pub messages_out_per_sec: Option<NonZeroU32>,
    /// Bytes that it is sent in a second.
    pub bytes_out_per_sec: Option<NonZeroU32>,
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
