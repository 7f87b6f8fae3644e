//! A session gets only what it is, or was, subscribed to while it was published: nothing of an earlier session of
//! the same client, and nothing from after an acknowledged UNSUBSCRIBE. Only a shared group may have older things for it.

use super::Property;
use crate::fact::{Deed, Fact};
use crate::reference::Reference;

/// See the module. Retained messages are judged by their own property.
#[derive(Debug, Default)]
pub(super) struct NothingResurrected;

impl Property for NothingResurrected {
    fn after(&mut self, _: u64, fact: &Fact, known: &Reference) -> Result<(), String> {
        let Fact::Client(client, Deed::Delivered(delivery)) = fact else { return Ok(()) };
        let id = delivery.id;
        let Some(message) = known.messages.get(&id) else {
            return Err(format!("{id:?} comes to client {client}, and nobody has published it"));
        };
        if message.spec.topic != delivery.topic {
            let (is, was) = (&delivery.topic, message.spec.topic);
            return Err(format!("{id:?} comes on {is}, and was published on {was}"));
        }
        if delivery.qos > message.spec.qos {
            return Err(format!("{id:?} comes at {:?}", delivery.qos));
        }
        let session = &known.sessions[*client];
        let is_claimed = session.claims.contains_key(&id);
        // What a member of a shared group leaves behind goes to those who join later, too.
        let is_shared = session.asked_for(message.spec.topic).any(|it| it.0);
        if is_claimed || is_shared || delivery.retain {
            return Ok(());
        }
        Err(format!("{id:?} on {} comes to client {client}, which it is not for", delivery.topic))
    }
}
