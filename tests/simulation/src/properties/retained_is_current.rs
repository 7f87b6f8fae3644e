//! A retained message that is delivered is one that may be current: no other had certainly taken its place before the
//! subscription was made. In the end every topic has one that may be the last, and an acknowledged one is not
//! lost.
//!
//! The judge of the end is a client that subscribes to everything when all is quiet.

use std::collections::BTreeMap;

use super::{Property, Rest};
use crate::fact::{Deed, Fact, MessageId};
use crate::reference::{Message, Reference};

/// See the module.
#[derive(Debug, Default)]
pub(super) struct RetainedIsCurrent {
    /// By client, what came to it as retained since it last subscribed to everything, and when that was.
    seen: BTreeMap<usize, (u64, BTreeMap<String, MessageId>)>,
}

/// The filter of the client that looks at everything.
pub(crate) const EVERYTHING: &str = "#";

impl Property for RetainedIsCurrent {
    fn after(&mut self, now: u64, fact: &Fact, known: &Reference) -> Result<(), String> {
        let Fact::Client(client, deed) = fact else { return Ok(()) };
        match deed {
            Deed::Subscribe { filter, .. } if filter == EVERYTHING => {
                self.seen.insert(*client, (now, BTreeMap::new()));
                Ok(())
            }
            Deed::Delivered(delivery) if delivery.retain => {
                if let Some((_, seen)) = self.seen.get_mut(client) {
                    seen.insert(delivery.topic.clone(), delivery.id);
                }
                let session = &known.sessions[*client];
                // Live, as published; or, from a shared group, as another member would have got it.
                let is_shared = session.asked_for(&delivery.topic).any(|it| it.0);
                if session.claims.contains_key(&delivery.id) || is_shared {
                    return Ok(());
                }
                let Some(message) = known.messages.get(&delivery.id) else { return Ok(()) };
                if !message.spec.retain {
                    return Err(format!("{:?} comes retained, and was not", delivery.id));
                }
                let Some(asked_at) = session.asked_for(&delivery.topic).map(|it| it.1.since).min()
                else {
                    return Err(format!("{:?} comes retained to a stranger", delivery.id));
                };
                match successor(known, message, asked_at) {
                    Some(by) => Err(format!(
                        "client {client} gets the retained {:?} on {}, whose place {:?} had taken",
                        delivery.id, delivery.topic, by.spec.id
                    )),
                    None => Ok(()),
                }
            }
            _ => Ok(()),
        }
    }

    fn at_rest(&mut self, rest: &Rest, known: &Reference) -> Result<(), String> {
        // The one who asked last has asked when all was quiet.
        let last = self.seen.values().max_by_key(|it| it.0);
        let Some((asked_at, seen)) = last else { return Ok(()) };
        let mut topics: BTreeMap<&str, Vec<&Message>> = BTreeMap::new();
        for message in known.messages.values().filter(|it| it.spec.retain) {
            topics.entry(message.spec.topic).or_default().push(message);
        }
        for (topic, messages) in topics {
            // What was found was judged when it came.
            if seen.contains_key(topic) {
                continue;
            }
            let may_be_none = messages
                .iter()
                .filter(|it| it.spec.is_empty || it.spec.expiry_secs.is_some())
                .any(|it| successor(known, it, *asked_at).is_none());
            let must_be = messages.iter().any(|it| it.is_acknowledged && !it.spec.is_empty);
            if must_be && !may_be_none {
                return Err(format!("nothing is retained on {topic} at {}", rest.now));
            }
        }
        Ok(())
    }
}

/// Returns a message that certainly took the place of another, before `by`.
fn successor<'a>(known: &'a Reference, message: &Message, by: u64) -> Option<&'a Message> {
    let end = message.end?;
    known.messages.values().find(|it| {
        it.spec.retain
            && it.spec.topic == message.spec.topic
            && it.is_acknowledged
            && it.start > end
            && it.end.is_some_and(|end| end < by)
    })
}
