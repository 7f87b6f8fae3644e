//! The judge: writes down what happens, and has every property look at it.

use crate::fact::{Deed, Fact};
use crate::properties::{self, Property, Rest, Tally, Terms};
use crate::reference::Reference;

/// See the module.
pub(crate) struct Judge {
    now: u64,
    known: Reference,
    properties: Vec<Box<dyn Property>>,
    failure: Option<String>,
    trace: Option<Vec<String>>,
    fact_count: u64,
}

impl Judge {
    /// Makes a judge over so many clients. With `traces` it keeps a line for each thing that happens.
    pub(crate) fn new(client_count: usize, terms: Terms, traces: bool) -> Self {
        Self {
            now: 0,
            known: Reference::new(client_count, terms.grace, terms.late_max),
            properties: properties::all(terms),
            failure: None,
            trace: traces.then(Vec::new),
            fact_count: 0,
        }
    }

    /// Sets the time.
    pub(crate) fn set_now(&mut self, now: u64) {
        self.now = now;
    }

    /// Takes in what a client did, or what was done to it.
    pub(crate) fn note_deed(&mut self, client: usize, deed: Deed) {
        self.note(&Fact::Client(client, deed));
    }

    /// Takes in what happened.
    pub(crate) fn note(&mut self, fact: &Fact) {
        self.say(|| format!("{fact:?}"));
        self.fact_count += 1;
        for property in &mut self.properties {
            if let Err(why) = property.before(self.now, fact, &self.known) {
                self.failure.get_or_insert(why);
            }
        }
        self.known.note(self.now, fact);
        for property in &mut self.properties {
            if let Err(why) = property.after(self.now, fact, &self.known) {
                self.failure.get_or_insert(why);
            }
        }
    }

    /// All is at rest.
    pub(crate) fn judge_rest(&mut self, rest: &Rest) {
        for property in &mut self.properties {
            if let Err(why) = property.at_rest(rest, &self.known) {
                self.failure.get_or_insert(why);
            }
        }
    }

    /// Something is wrong.
    pub(crate) fn fail(&mut self, why: String) {
        self.failure.get_or_insert(why);
    }

    /// Adds a line to the trace.
    pub(crate) fn say(&mut self, line: impl FnOnce() -> String) {
        let now = self.now;
        if let Some(trace) = &mut self.trace {
            trace.push(format!("{:>3}.{:06} {}", now / 1_000_000, now % 1_000_000, line()));
        }
    }

    /// Returns what is wrong.
    pub(crate) fn failure(&self) -> Option<&str> {
        self.failure.as_deref()
    }

    /// Takes the trace.
    pub(crate) fn take_trace(&mut self) -> Vec<String> {
        self.trace.take().unwrap_or_default()
    }

    /// Returns how many things happened.
    pub(crate) fn fact_count(&self) -> u64 {
        self.fact_count
    }

    /// Returns how much was judged.
    pub(crate) fn tally(&self) -> Tally {
        let mut tally = Tally::default();
        self.properties.iter().for_each(|it| it.tally(&mut tally));
        tally
    }
}
