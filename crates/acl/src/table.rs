//! The rules about a kind of client, compiled: all that is the same for every client of that kind.
//!
//! Two clients are of one kind when the same rules are about them. What differs are the filters with placeholders:
//! each client has its own, by number.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::filter::Filter;
use crate::permissions::Permissions;
use crate::rule::{Effect, Rule, Rules};
use crate::subject::Subject;

/// Compiles rules for clients. Clients of one kind share what is the same for them, however many there are.
#[derive(Debug)]
pub struct Compiler {
    rules: Arc<Rules>,
    /// By the numbers of the rules. At most [`KINDS_MAX`]; a client of one more has a table to itself.
    tables: BTreeMap<Box<[u32]>, Arc<Table>>,
}

/// What some rules say of one client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Part {
    /// What they say of every client of its kind.
    pub(crate) table: Arc<Table>,
    /// The filters that have placeholders. One that matches nothing is absent.
    own: Box<[Option<Filter>]>,
}

/// Rules in their order.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Table {
    publish: Box<[Entry]>,
    subscribe: Box<[Entry]>,
    /// Where the filters with placeholders are: the number of a rule, and the place among its topics.
    own: Box<[(u32, u32)]>,
}

/// One filter of a rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    topics: Topics,
    pub(crate) effect: Effect,
    pub(crate) qos_max: u8,
    pub(crate) retain: bool,
    pub(crate) rule: u32,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Topics {
    /// The same for all.
    Fixed(Filter),
    /// Each client's own, which has this number.
    Own(u32),
}

impl Compiler {
    /// Compiles `rules`.
    pub fn new(rules: Arc<Rules>) -> Self {
        Self { rules, tables: BTreeMap::new() }
    }

    /// Returns what is compiled.
    pub fn rules(&self) -> &Arc<Rules> {
        &self.rules
    }

    /// Returns what `subject` may do, as [`Rules::permissions`] does.
    pub fn permissions(&mut self, subject: Subject) -> Permissions {
        let kind = self.rules.about(&subject);
        let table = match self.tables.get(&*kind) {
            Some(known) => Arc::clone(known),
            None => self.compile(kind),
        };
        let own = table.fill(|number| &self.rules.rules[number as usize], &subject);
        Permissions::new(&self.rules, Part { table, own }, subject)
    }

    fn compile(&mut self, kind: Box<[u32]>) -> Arc<Table> {
        let numbered = kind.iter().map(|number| (*number, &self.rules.rules[*number as usize]));
        let table = Arc::new(Table::new(numbered));
        if self.tables.len() >= KINDS_MAX {
            self.tables.retain(|_, table| Arc::strong_count(table) > 1);
        }
        if self.tables.len() < KINDS_MAX {
            self.tables.insert(kind, Arc::clone(&table));
        }
        table
    }
}

impl Rules {
    /// Returns the numbers of the rules that are about `subject`.
    pub(crate) fn about(&self, subject: &Subject) -> Box<[u32]> {
        let numbered = (0..).zip(&self.rules);
        numbered.filter(|(_, rule)| rule.who.is(subject)).map(|(number, _)| number).collect()
    }
}

impl Part {
    /// Compiles rules for `subject` alone: those of `rules`, with numbers from `first` on, that are about it.
    pub(crate) fn new(rules: &[Rule], first: u32, subject: &Subject) -> Self {
        let about = (first..).zip(rules).filter(|(_, rule)| rule.who.is(subject));
        let table = Table::new(about);
        let own = table.fill(|number| &rules[(number - first) as usize], subject);
        Self { table: Arc::new(table), own }
    }

    /// Returns what is said of publishing: entries in their order, with what they are about.
    pub(crate) fn publish(&self) -> impl Iterator<Item = (&Entry, &Filter)> {
        self.table.publish.iter().filter_map(|it| Some((it, it.filter(&self.own)?)))
    }

    /// Returns what is said of subscribing.
    pub(crate) fn subscribe(&self) -> impl Iterator<Item = (&Entry, &Filter)> {
        self.table.subscribe.iter().filter_map(|it| Some((it, it.filter(&self.own)?)))
    }
}

impl Table {
    fn new<'a>(rules: impl Iterator<Item = (u32, &'a Rule)>) -> Self {
        let (mut publish, mut subscribe) = (Vec::new(), Vec::new());
        let mut own = Vec::new();
        for (number, rule) in rules {
            for (place, pattern) in (0..).zip(&rule.topics) {
                let topics = match pattern.fixed() {
                    Some(filter) => Topics::Fixed(filter),
                    None => {
                        own.push((number, place));
                        Topics::Own(own.len() as u32 - 1)
                    }
                };
                let Rule { effect, qos_max, retain, .. } = *rule;
                let entry = Entry { topics, effect, qos_max, retain, rule: number };
                if rule.actions.publish {
                    publish.push(entry.clone());
                }
                if rule.actions.subscribe {
                    subscribe.push(entry);
                }
            }
        }
        Self { publish: publish.into(), subscribe: subscribe.into(), own: own.into() }
    }

    /// Returns the filters with placeholders, as they are for `subject`.
    fn fill<'a>(&self, rule: impl Fn(u32) -> &'a Rule, subject: &Subject) -> Box<[Option<Filter>]> {
        let fill = |(number, place): &(u32, u32)| {
            let rule = rule(*number);
            rule.topics[*place as usize].filter(subject, rule.effect)
        };
        self.own.iter().map(fill).collect()
    }
}

impl Entry {
    /// Returns what the rule is about for the client with these filters; nothing if it matches nothing.
    fn filter<'a>(&'a self, own: &'a [Option<Filter>]) -> Option<&'a Filter> {
        match &self.topics {
            Topics::Fixed(filter) => Some(filter),
            Topics::Own(number) => own.get(*number as usize)?.as_ref(),
        }
    }
}

/// Tables that are kept for others to share. Where there are more kinds of clients, nearly each has rules of its own.
const KINDS_MAX: usize = 1_024;

#[cfg(test)]
mod tests {
    use crate::{Draft, Glob, Publish, Who};

    use super::*;

    #[test]
    fn clients_of_a_kind_share_what_is_the_same() {
        let rules = vec![rule("a*", "all/#"), rule("a*", "own/%c"), rule("b*", "all/#")];
        let mut compiler = Compiler::new(Arc::new(Rules { rules, ..Rules::default() }));
        let [a1, a2, b] = ["a1", "a2", "b"].map(|it| compiler.permissions(subject(it)));
        assert!(a1.shares_with(&a2) && !a1.shares_with(&b));
        assert_eq!(compiler.tables.len(), 2);
        let may = |it: &Permissions, topic| {
            it.publish(Publish { topic, qos: 0, retain: false }).is_allowed()
        };
        assert!(may(&a1, "own/a1") && !may(&a1, "own/a2") && may(&a2, "own/a2"));
        assert!(may(&b, "all/x") && !may(&b, "own/b"));
        let again = compiler.permissions(Subject { user: Some("u".into()), ..subject("a1") });
        assert!(again.decides_as(&a1) && !again.decides_as(&a2) && !again.decides_as(&b));
    }

    /// Were every client of a kind of its own, the tables of those that are gone would be all that is kept.
    #[test]
    fn kinds_are_bounded() {
        let names: Vec<String> = (0..KINDS_MAX + 100).map(|it| format!("c{it}")).collect();
        let rules = names.iter().map(|it| rule(it, "a")).collect();
        let mut compiler = Compiler::new(Arc::new(Rules { rules, ..Rules::default() }));
        let kept: Vec<_> = names.iter().map(|it| compiler.permissions(subject(it))).collect();
        assert_eq!(compiler.tables.len(), KINDS_MAX);
        for permissions in &kept {
            assert!(
                permissions.publish(Publish { topic: "a", qos: 0, retain: false }).is_allowed()
            );
        }
        drop(kept);
        compiler.permissions(subject(&names[KINDS_MAX]));
        assert_eq!(compiler.tables.len(), 1);
    }

    fn rule(client_id: &str, topic: &str) -> Rule {
        let allow = Some(vec!["publish".to_owned()]);
        let draft = Draft { allow, topics: vec![topic.to_owned()], ..Draft::default() };
        let who = Who { client_id: Some(Glob::new(client_id)), ..Who::default() };
        draft.rule("test", who).unwrap()
    }

    fn subject(client_id: &str) -> Subject {
        Subject { client_id: client_id.into(), ..Subject::default() }
    }
}
