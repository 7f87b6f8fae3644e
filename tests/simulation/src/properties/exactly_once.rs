//! At QoS 2 nothing comes twice, from end to end; at QoS 1 and 0 nothing comes more often than it was sent.

use quelea_codec::QoS;

use super::Property;
use crate::fact::{Deed, Fact};
use crate::reference::{Message, Reference, Session};

/// See the module.
#[derive(Debug, Default)]
pub(super) struct ExactlyOnce;

impl Property for ExactlyOnce {
    fn after(&mut self, _: u64, fact: &Fact, known: &Reference) -> Result<(), String> {
        let Fact::Client(client, Deed::Delivered(delivery)) = fact else { return Ok(()) };
        let session = &known.sessions[*client];
        let Some(claim) = session.claims.get(&delivery.id) else { return Ok(()) };
        let message = &known.messages[&delivery.id];
        let Some(copies) = copies_max(session, message) else { return Ok(()) };
        let id = delivery.id;
        if claim.exact > copies && message.spec.qos == QoS::ExactlyOnce {
            return Err(format!("{id:?} comes {} times to client {client} at QoS 2", claim.exact));
        }
        // Who publishes at QoS 1 sends again what was not acknowledged, and that is another copy.
        let is_once = message.spec.qos == QoS::ExactlyOnce;
        let routed_max = if is_once { 1 } else { message.writes };
        if claim.fresh > copies * routed_max {
            let (fresh, writes) = (claim.fresh, message.writes);
            return Err(format!(
                "{id:?} was sent {writes} times and comes {fresh} times to client {client} without DUP"
            ));
        }
        Ok(())
    }
}

/// Returns how many copies of a message a session may get for each time that it is routed: one for its own
/// subscriptions, one for each retained delivery. Nothing if a shared group may give it any number.
fn copies_max(session: &Session, message: &Message) -> Option<u32> {
    let mut copies = 1;
    for (is_shared, asked) in session.asked_for(message.spec.topic) {
        if is_shared {
            return None;
        }
        copies += if message.spec.retain { asked.retained_count } else { 0 };
    }
    Some(copies)
}
