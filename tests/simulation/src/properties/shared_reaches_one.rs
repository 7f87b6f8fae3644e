//! What the broker has acknowledged reaches a member of each shared group, as long as there is one.
//!
//! A group is owed a message for as long as it has certainly had a durable member, from before the message was written. What was sent at QoS 2 ends with
//! the session it was sent to, so there the members have to stay the same.

use std::collections::{BTreeMap, BTreeSet};

use quelea_codec::QoS;

use super::{Property, Rest};
use crate::fact::{Deed, Fact, MessageId, matches, plain};
use crate::reference::{Reference, Standing};

/// See the module.
#[derive(Debug, Default)]
pub(super) struct SharedReachesOne {
    /// By filter with its `$share`.
    groups: BTreeMap<String, Group>,
}

#[derive(Debug, Default)]
struct Group {
    /// Messages that are not delivered to anyone yet.
    owed: BTreeSet<MessageId>,
}

impl Property for SharedReachesOne {
    fn after(&mut self, _: u64, fact: &Fact, known: &Reference) -> Result<(), String> {
        match fact {
            Fact::Client(_, Deed::Subscribe { filter, .. }) if plain(filter).1 => {
                // A member that is not certain may be chosen too, and lose what it was given.
                self.groups.entry(filter.clone()).or_default().owed.clear();
            }
            Fact::Client(_, Deed::Unsubscribe(filter)) => {
                if let Some(group) = self.groups.get_mut(filter) {
                    group.lose_member(known);
                }
            }
            Fact::Client(client, Deed::Publish { spec, is_again: false }) => {
                for (filter, group) in &mut self.groups {
                    let is_meant = matches(plain(filter).0, spec.topic) && !spec.is_empty;
                    if is_meant && spec.qos > QoS::AtMostOnce && is_firm(filter, *client, known) {
                        group.owed.insert(spec.id);
                    }
                }
            }
            Fact::Client(client, Deed::Delivered(delivery)) => {
                for (filter, group) in &mut self.groups {
                    let session = &known.sessions[*client];
                    if session.asked.contains_key(filter) {
                        group.owed.remove(&delivery.id);
                    }
                }
            }
            // A session may be ended by any of these.
            Fact::Client(_, Deed::Connect { .. } | Deed::Disconnect { .. })
            | Fact::Client(_, Deed::Welcomed { is_resumed: false, .. }) => {
                self.groups.values_mut().for_each(|group| group.lose_member(known));
            }
            Fact::Client(_, _)
            | Fact::Cut(_)
            | Fact::BrokerEnded(_)
            | Fact::Crashed
            | Fact::Stopping
            | Fact::Started => {}
        }
        for (filter, group) in &mut self.groups {
            if !group.owed.is_empty() && !is_firm(filter, usize::MAX, known) {
                group.owed.clear();
            }
        }
        Ok(())
    }

    fn at_rest(&mut self, rest: &Rest, known: &Reference) -> Result<(), String> {
        let mut missing = Vec::new();
        for (filter, group) in &self.groups {
            for id in &group.owed {
                let message = &known.messages[id];
                if message.is_promised() && message.spec.expiry_secs.is_none() {
                    missing.push(format!("{id:?} for {filter}"));
                }
            }
        }
        if rest.allows(missing.len() as u64) {
            return Ok(());
        }
        Err(format!("messages for shared groups are lost: {missing:?}"))
    }
}

impl Group {
    /// Somebody may have gone, with what it had been sent at QoS 2.
    fn lose_member(&mut self, known: &Reference) {
        self.owed.retain(|id| known.messages[id].spec.qos != QoS::ExactlyOnce);
    }
}

/// Returns whether a group certainly has members, all of them durable, certain, and at QoS 1 or 2.
fn is_firm(filter: &str, publisher: usize, known: &Reference) -> bool {
    let mut count = 0;
    for (client, session) in known.sessions.iter().enumerate() {
        let Some(subscription) = session.subscriptions.get(filter) else { continue };
        let is_certain = session.standing == Standing::Certain
            && session.expiry_secs == u32::MAX
            && session.attempt.is_none_or(|it| !it.clean_start && it.expiry_secs == u32::MAX)
            && subscription.is_granted
            && subscription.options.iter().all(|it| it.qos > QoS::AtMostOnce);
        if !is_certain {
            return false;
        }
        count += u32::from(client != publisher);
    }
    count > 0
}
