//! What the broker has acknowledged at QoS 1 or 2 reaches every durable subscriber, and every connected one.
//!
//! What it refused reaches nobody.

use super::{Property, Rest, Tally, Terms};
use crate::fact::{Deed, Fact};
use crate::reference::{NOBODY, Reference};

/// See the module.
#[derive(Debug)]
pub(super) struct AcknowledgedReachesAll {
    may_end_sessions: bool,
    owed: u64,
}

impl AcknowledgedReachesAll {
    pub(super) fn new(terms: Terms) -> Self {
        Self { may_end_sessions: terms.may_end_sessions, owed: 0 }
    }
}

impl Property for AcknowledgedReachesAll {
    fn after(&mut self, now: u64, fact: &Fact, known: &Reference) -> Result<(), String> {
        let Fact::Client(_, deed) = fact else { return Ok(()) };
        match deed {
            Deed::Settled { id, reason } if *reason == NOBODY && !self.may_end_sessions => {
                let mut sessions = known.sessions.iter().enumerate();
                // One that may have expired meanwhile wants nothing any more.
                let wants = |it: &crate::reference::Session| {
                    it.claims.get(id).is_some_and(|claim| claim.is_firm) && now < it.alive_until
                };
                match sessions.find(|(_, it)| wants(it)) {
                    Some((client, _)) => Err(format!(
                        "the publisher of {id:?} is told that nobody wants it, but client {client} does"
                    )),
                    None => Ok(()),
                }
            }
            Deed::Delivered(delivery) => {
                let message = known.messages.get(&delivery.id);
                match message {
                    Some(it) if it.is_refused && it.writes == 1 => {
                        Err(format!("{:?} was refused, and yet it comes", delivery.id))
                    }
                    Some(_) | None => Ok(()),
                }
            }
            _ => Ok(()),
        }
    }

    fn at_rest(&mut self, rest: &Rest, known: &Reference) -> Result<(), String> {
        let mut missing = Vec::new();
        for (client, session) in known.sessions.iter().enumerate() {
            for (id, claim) in &session.claims {
                let message = &known.messages[id];
                let is_owed =
                    claim.is_firm && message.is_promised() && message.spec.expiry_secs.is_none();
                self.owed += u64::from(is_owed);
                if is_owed && claim.deliveries == 0 {
                    missing.push(format!("{id:?} on {} for client {client}", message.spec.topic));
                }
            }
        }
        if rest.allows(missing.len() as u64) {
            return Ok(());
        }
        let (count, dropped) = (missing.len(), rest.dropped);
        Err(format!("{count} acknowledged messages are lost ({dropped} were dropped): {missing:?}"))
    }
    fn tally(&self, tally: &mut Tally) {
        tally.owed += self.owed;
    }
}
