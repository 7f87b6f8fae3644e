//! Rules as they are configured.

use crate::glob::Glob;
use crate::pattern::Pattern;
use crate::permissions::Permissions;
use crate::subject::Subject;
use crate::table::Part;

/// Ordered rules: the first that matches decides.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rules {
    /// In the order in which they are asked.
    pub rules: Vec<Rule>,
    /// A filter is granted when a rule allows some of what it matches, and each delivery is checked. Otherwise all of
    /// it must be allowed, and deliveries need no check.
    pub filter_on_delivery: bool,
    /// When the rules are asked that a client brings.
    pub own_rules: OwnRules,
    /// There are none because nobody wants any: a client that brings none may do all.
    pub is_open: bool,
}

/// When the rules are asked that a client brings along, [`Subject::rules`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OwnRules {
    /// Before the others.
    Before,
    /// After them.
    #[default]
    After,
}

/// One rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// Where it was read, for logs.
    pub origin: Box<str>,
    /// Whom it is about.
    pub who: Who,
    /// Whether it allows or denies.
    pub effect: Effect,
    /// What it allows or denies.
    pub actions: Actions,
    /// The topics that it is about.
    pub topics: Vec<Pattern>,
    /// The highest quality of service allowed: a publish above it does not match, a subscription is granted less.
    pub qos_max: u8,
    /// Whether retained messages may be published. One that may not does not match.
    pub retain: bool,
}

/// Whom a rule is about. All that is given must match; with nothing given it is about everybody.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Who {
    /// Only clients without a user.
    pub is_anonymous: bool,
    /// The user. An anonymous client is none.
    pub user: Option<Glob>,
    /// One of the user's groups.
    pub group: Option<Glob>,
    /// The client identifier.
    pub client_id: Option<Glob>,
    /// The common name of the client's certificate.
    pub certificate: Option<Glob>,
    /// The listener that it came in by, as configured.
    pub listener: Option<Glob>,
}

/// What a rule does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// It permits.
    Allow,
    /// It forbids.
    Deny,
}

/// What a rule is about.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Actions {
    /// Messages of the client, its will among them.
    pub publish: bool,
    /// Subscriptions, and what is delivered for them.
    pub subscribe: bool,
}

impl Rules {
    /// Returns what `subject` may do.
    pub fn permissions(&self, subject: Subject) -> Permissions {
        let configured = Part::new(&self.rules, 0, &subject);
        Permissions::new(self, configured, subject)
    }

    /// Returns whether there is anything that `subject` may not do.
    pub fn restrict(&self, subject: &Subject) -> bool {
        !self.is_open || subject.rules.is_some()
    }
}

impl Who {
    pub(crate) fn is(&self, subject: &Subject) -> bool {
        let fits = |glob: &Option<Glob>, name: Option<&str>| {
            glob.as_ref().is_none_or(|glob| name.is_some_and(|name| glob.matches(name)))
        };
        let in_group = |glob: &Glob| subject.groups.iter().any(|group| glob.matches(group));
        (!self.is_anonymous || subject.user.is_none())
            && fits(&self.user, subject.user.as_deref())
            && fits(&self.client_id, Some(&subject.client_id))
            && fits(&self.certificate, subject.certificate.as_deref())
            && fits(&self.listener, subject.listener.as_deref())
            && self.group.as_ref().is_none_or(in_group)
    }
}
