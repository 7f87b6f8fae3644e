//! What one client may do.

use crate::filter::Filter;
use crate::rule::{Effect, OwnRules, Rules};
use crate::subject::Subject;
use crate::table::{Entry, Part};

/// Rules compiled for one client: only those about it, with its values filled in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Permissions {
    subject: Subject,
    configured: Part,
    /// The rules that it has brought. Boxed, since most bring none.
    brought: Option<Box<Part>>,
    own_rules: OwnRules,
    filter_on_delivery: bool,
}

/// A message to be published.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Publish<'a> {
    /// Its topic.
    pub topic: &'a str,
    /// Its quality of service.
    pub qos: u8,
    /// Whether it is to be retained.
    pub retain: bool,
}

/// What was decided, and by which rule: those of [`Rules::rules`] count first, then those of the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It may be.
    Allow {
        /// The rule that allows it.
        rule: u32,
    },
    /// It may not.
    Deny {
        /// The rule that denies it; nothing when no rule allows it.
        rule: Option<u32>,
    },
}

/// What becomes of a subscription.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Granted {
    /// It is granted up to this quality of service.
    UpTo(u8),
    /// It is denied.
    Denied {
        /// The rule that denies it; nothing when no rule allows it.
        rule: Option<u32>,
    },
}

impl Permissions {
    pub(crate) fn new(rules: &Rules, configured: Part, subject: Subject) -> Self {
        let first = rules.rules.len() as u32;
        let brought = subject.rules.as_deref().filter(|rules| !rules.is_empty());
        let brought = brought.map(|rules| Box::new(Part::new(rules, first, &subject)));
        let Rules { own_rules, filter_on_delivery, .. } = *rules;
        Self { subject, configured, brought, own_rules, filter_on_delivery }
    }

    /// Decides whether the client may publish a message.
    pub fn publish(&self, publish: Publish<'_>) -> Verdict {
        let fits = |(entry, filter): &(&Entry, &Filter)| {
            publish.qos <= entry.qos_max
                && (entry.retain || !publish.retain)
                && filter.covers(publish.topic)
        };
        verdict(self.parts().flat_map(Part::publish).find(fits))
    }

    /// Decides whether the client may subscribe to a filter, without `$share/{group}/`.
    pub fn subscribe(&self, filter: &str) -> Granted {
        if self.filter_on_delivery {
            return self.subscribe_in_part(filter);
        }
        for (entry, topics) in self.subscribe_entries() {
            match entry.effect {
                Effect::Deny if topics.meets(filter) => {
                    return Granted::Denied { rule: Some(entry.rule) };
                }
                Effect::Allow if topics.covers(filter) => {
                    return Granted::UpTo(entry.qos_max);
                }
                Effect::Allow | Effect::Deny => {}
            }
        }
        Granted::Denied { rule: None }
    }

    /// Decides whether the client may be given a message with this topic.
    pub fn receive(&self, topic: &str) -> Verdict {
        verdict(self.subscribe_entries().find(|(_, topics)| topics.covers(topic)))
    }

    /// Returns whether what is delivered must be looked at, because a subscription may be wider than what is allowed.
    pub fn filters_deliveries(&self) -> bool {
        self.filter_on_delivery
    }

    /// Returns whether `other` decides alike: the same filters, in the same order, whosever they are.
    pub fn decides_as(&self, other: &Self) -> bool {
        let Self { subject: _, configured, brought, own_rules, filter_on_delivery } = self;
        (configured, brought) == (&other.configured, &other.brought)
            && (*own_rules, *filter_on_delivery) == (other.own_rules, other.filter_on_delivery)
    }

    /// Returns where the rule of `rules` was read that decided, if one did.
    pub fn origin<'a>(&'a self, rules: &'a Rules, rule: Option<u32>) -> &'a str {
        let own = self.subject.rules.as_deref().unwrap_or_default();
        let find = |rule: u32| {
            let rule = rule as usize;
            rules.rules.get(rule).or_else(|| own.get(rule.checked_sub(rules.rules.len())?))
        };
        rule.and_then(find).map_or("no rule", |rule| &rule.origin)
    }

    /// Returns whose these are.
    pub fn subject(&self) -> &Subject {
        &self.subject
    }

    /// Returns whether two clients share what their rules have in common.
    #[cfg(test)]
    pub(crate) fn shares_with(&self, other: &Self) -> bool {
        std::sync::Arc::ptr_eq(&self.configured.table, &other.configured.table)
    }

    /// Returns the rules in the order in which they are asked.
    fn parts(&self) -> impl Iterator<Item = &Part> {
        let (configured, brought) = (Some(&self.configured), self.brought.as_deref());
        let (first, second) = match self.own_rules {
            OwnRules::Before => (brought, configured),
            OwnRules::After => (configured, brought),
        };
        first.into_iter().chain(second)
    }

    fn subscribe_entries(&self) -> impl Iterator<Item = (&Entry, &Filter)> {
        self.parts().flat_map(Part::subscribe)
    }

    fn subscribe_in_part(&self, filter: &str) -> Granted {
        let mut granted = None::<u8>;
        for (entry, topics) in self.subscribe_entries() {
            match entry.effect {
                Effect::Deny if topics.covers(filter) => {
                    let denied = Granted::Denied { rule: Some(entry.rule) };
                    return granted.map_or(denied, Granted::UpTo);
                }
                // What comes with a higher quality than one of the rules allows is more than was granted.
                Effect::Allow if topics.meets(filter) => {
                    granted = Some(granted.map_or(entry.qos_max, |it| it.min(entry.qos_max)));
                }
                Effect::Allow | Effect::Deny => {}
            }
        }
        granted.map_or(Granted::Denied { rule: None }, Granted::UpTo)
    }
}

impl Verdict {
    /// Tells whether it may be.
    pub fn is_allowed(self) -> bool {
        matches!(self, Self::Allow { .. })
    }
}

fn verdict(decided: Option<(&Entry, &Filter)>) -> Verdict {
    let Some((entry, _)) = decided else { return Verdict::Deny { rule: None } };
    match entry.effect {
        Effect::Allow => Verdict::Allow { rule: entry.rule },
        Effect::Deny => Verdict::Deny { rule: Some(entry.rule) },
    }
}
