//! The messages of one publisher on one topic at one quality of service come in the order in which they were
//! published; and no retained message comes after a newer one.

use std::collections::BTreeMap;

use quelea_codec::QoS;

use super::{Property, Tally, Terms};
use crate::fact::{Deed, Delivery, Fact};
use crate::reference::{Claim, Message, Reference, Session};

/// See the module.
#[derive(Debug)]
pub(super) struct InOrder {
    terms: Terms,
    /// The last message that came, of those that came live, and of those that became retained.
    last: BTreeMap<Stream, u32>,
    ordered: u64,
    unordered: u64,
}

/// What has an order.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Stream {
    receiver: usize,
    incarnation: u32,
    publisher: usize,
    topic: &'static str,
    published: QoS,
    delivered: QoS,
    is_retained: bool,
}

impl Property for InOrder {
    fn after(&mut self, _: u64, fact: &Fact, known: &Reference) -> Result<(), String> {
        let Fact::Client(receiver, Deed::Delivered(delivery)) = fact else { return Ok(()) };
        let session = &known.sessions[*receiver];
        let Some(message) = known.messages.get(&delivery.id) else { return Ok(()) };
        let claim = session.claims.get(&delivery.id);
        if !self.has_place(session, message, delivery, claim) {
            self.unordered += 1;
            return Ok(());
        }
        self.ordered += 1;
        let stream = |is_retained| Stream {
            receiver: *receiver,
            incarnation: session.incarnation,
            publisher: delivery.id.client,
            topic: message.spec.topic,
            published: message.spec.qos,
            delivered: delivery.qos,
            is_retained,
        };
        let number = delivery.id.number;
        if !delivery.retain {
            self.check(stream(false), number, receiver)?;
        }
        if message.spec.retain && delivery.retain {
            self.check(stream(true), number, receiver)?;
        } else if message.spec.retain {
            self.last.insert(stream(true), number);
        }
        Ok(())
    }

    fn tally(&self, tally: &mut Tally) {
        tally.ordered += self.ordered;
        tally.unordered += self.unordered;
    }
}

impl InOrder {
    pub(super) fn new(terms: Terms) -> Self {
        Self { terms, last: BTreeMap::new(), ordered: 0, unordered: 0 }
    }

    /// Returns whether a message has its place behind the one before it, whatever happened.
    fn has_place(
        &self,
        session: &Session,
        message: &Message,
        delivery: &Delivery,
        claim: Option<&Claim>,
    ) -> bool {
        let is_shared = session.asked_for(message.spec.topic).any(|it| it.0);
        // A repetition, and what members of a group get, may come late.
        let is_repeated = claim.is_some_and(|claim| claim.deliveries > 1);
        let is_resent = delivery.retain && delivery.dup;
        // The store is told of what was dropped when it is told of something else: a crash before that brings it
        // back, behind what came in its place.
        if self.terms.drops_oldest && delivery.dup {
            return false;
        }
        if is_shared || message.is_will || is_repeated || is_resent {
            return false;
        }
        // Policy: what was kept at QoS 0 for a client that was away does not stop what comes live.
        if self.terms.keeps_qos0 && delivery.qos == QoS::AtMostOnce {
            return false;
        }
        // What was written more than once has copies, and the first may not have come: it was refused, and the answer
        // lost; or it was dropped, or has expired; or the session was not subscribed yet, or at QoS 0 only, when that copy was
        // routed. What was published between has come then. A firm claim rules the subscriptions out: from before
        // the first copy was written until one was answered they asked for it.
        let is_firm = claim.is_some_and(|claim| claim.is_firm);
        let may_expire = message.spec.expiry_secs.is_some();
        let may_drop = self.terms.may_refuse || may_expire || delivery.qos == QoS::AtMostOnce;
        message.writes == 1 || (is_firm && !may_drop)
    }

    fn check(&mut self, stream: Stream, number: u32, receiver: &usize) -> Result<(), String> {
        match self.last.insert(stream.clone(), number) {
            Some(last) if last > number => {
                let Stream { publisher, topic, is_retained, .. } = stream;
                let what = if is_retained { "retained message" } else { "message" };
                Err(format!(
                    "{what} {publisher}.{number} on {topic} comes to client {receiver} after {last}"
                ))
            }
            Some(_) | None => Ok(()),
        }
    }
}
