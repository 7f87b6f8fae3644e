//! What one client may do.

use crate::filter::Filter;
use crate::rule::{Effect, OwnRules, Rule, Rules};
use crate::subject::Subject;

/// Rules compiled for one client: only those about it, with its values filled in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Permissions {
    subject: Subject,
    publish: Vec<Entry>,
    subscribe: Vec<Entry>,
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

#[derive(Clone, Debug, PartialEq, Eq)]
struct Entry {
    filter: Filter,
    effect: Effect,
    qos_max: u8,
    retain: bool,
    rule: u32,
}

impl Permissions {
    pub(crate) fn new(rules: &Rules, subject: Subject) -> Self {
        let (mut publish, mut subscribe) = (Vec::new(), Vec::new());
        let own = subject.rules.as_deref().unwrap_or_default();
        let configured = || rules.rules.iter().enumerate();
        let own = || (rules.rules.len()..).zip(own);
        let ordered: Box<dyn Iterator<Item = (usize, &Rule)>> = match rules.own_rules {
            OwnRules::Before => Box::new(own().chain(configured())),
            OwnRules::After => Box::new(configured().chain(own())),
        };
        for (number, rule) in ordered.filter(|(_, rule)| rule.who.is(&subject)) {
            let entries = rule_entries(rule, number as u32, &subject);
            if rule.actions.publish {
                publish.extend(entries.iter().cloned());
            }
            if rule.actions.subscribe {
                subscribe.extend(entries);
            }
        }
        Self { subject, publish, subscribe, filter_on_delivery: rules.filter_on_delivery }
    }

    /// Decides whether the client may publish a message.
    pub fn publish(&self, publish: Publish<'_>) -> Verdict {
        let fits = |entry: &&Entry| {
            publish.qos <= entry.qos_max
                && (entry.retain || !publish.retain)
                && entry.filter.covers(publish.topic)
        };
        verdict(self.publish.iter().find(fits))
    }

    /// Decides whether the client may subscribe to a filter, without `$share/{group}/`.
    pub fn subscribe(&self, filter: &str) -> Granted {
        if self.filter_on_delivery {
            return self.subscribe_in_part(filter);
        }
        for entry in &self.subscribe {
            match entry.effect {
                Effect::Deny if entry.filter.meets(filter) => {
                    return Granted::Denied { rule: Some(entry.rule) };
                }
                Effect::Allow if entry.filter.covers(filter) => {
                    return Granted::UpTo(entry.qos_max);
                }
                Effect::Allow | Effect::Deny => {}
            }
        }
        Granted::Denied { rule: None }
    }

    /// Decides whether the client may be given a message with this topic.
    pub fn receive(&self, topic: &str) -> Verdict {
        verdict(self.subscribe.iter().find(|entry| entry.filter.covers(topic)))
    }

    /// Returns whether what is delivered must be looked at, because a subscription may be wider than what is allowed.
    pub fn filters_deliveries(&self) -> bool {
        self.filter_on_delivery
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

    fn subscribe_in_part(&self, filter: &str) -> Granted {
        let mut granted = None::<u8>;
        for entry in &self.subscribe {
            match entry.effect {
                Effect::Deny if entry.filter.covers(filter) => {
                    let denied = Granted::Denied { rule: Some(entry.rule) };
                    return granted.map_or(denied, Granted::UpTo);
                }
                // What comes with a higher quality than one of the rules allows is more than was granted.
                Effect::Allow if entry.filter.meets(filter) => {
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

fn rule_entries(rule: &Rule, number: u32, subject: &Subject) -> Vec<Entry> {
    let filters = rule.topics.iter().filter_map(|it| it.filter(subject, rule.effect));
    let entry = |filter| Entry {
        filter,
        effect: rule.effect,
        qos_max: rule.qos_max,
        retain: rule.retain,
        rule: number,
    };
    filters.map(entry).collect()
}

fn verdict(entry: Option<&Entry>) -> Verdict {
    match entry {
        Some(Entry { effect: Effect::Allow, rule, .. }) => Verdict::Allow { rule: *rule },
        Some(Entry { effect: Effect::Deny, rule, .. }) => Verdict::Deny { rule: Some(*rule) },
        None => Verdict::Deny { rule: None },
    }
}
