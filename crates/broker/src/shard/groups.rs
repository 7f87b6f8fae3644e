//! Messages that move from one member of a shared group to another.

use std::sync::{Arc, PoisonError};

use quelea_codec::QoS;
use quelea_session::{GroupId, Message, Sharing};
use quelea_store::{Attributes, Body, Operation, Target};

use super::Shard;
use crate::mail::Direct;
use crate::table::Group;

impl Shard {
    /// Gives a message to another member: the one that was chosen has left since.
    #[cold]
    pub(super) fn hand_on(
        &mut self,
        sharing: &mut Sharing<'_>,
        group: GroupId,
        qos: QoS,
        retain: bool,
    ) {
        let topic = sharing.content().topic;
        let route = self.routes.find(topic, &self.shared.table, self.index);
        let group = route.addressed.iter().find_map(|addressed| {
            let groups = addressed.groups.read().unwrap_or_else(PoisonError::into_inner);
            groups.iter().find(|it| it.id == group).cloned()
        });
        match group {
            Some(group) => self.hand_to_member(&group, &sharing.keep(), qos, retain),
            None => self.counters().dropped_no_member.add(1),
        }
    }

    /// The store found the sessions gone that these messages were for.
    pub(super) fn on_unplaced(&mut self, unplaced: Vec<(Target, Body)>) {
        for (target, body) in unplaced {
            let Target { attributes: Attributes { qos, retain, group, .. }, .. } = target;
            if let (Some(group), Body::Message(message)) = (group, body) {
                self.hand_on(&mut Sharing::kept(&message), group, qos, retain);
            }
        }
    }

    /// Gives a message to a member that the group chooses.
    pub(super) fn hand_to_member(
        &mut self,
        group: &Group,
        message: &Arc<Message>,
        qos: QoS,
        retain: bool,
    ) {
        let is_queueable = qos != QoS::AtMostOnce;
        let Some(member) = group.choose(self.shared.strategy(), 0, is_queueable) else {
            self.counters().dropped_no_member.add(1);
            return;
        };
        let qos = qos.min(member.options.qos);
        let id = [member.subscription_id];
        match member.durable {
            Some(session) if qos != QoS::AtMostOnce => {
                // It had its room in a queue before: the move is not refused for the lack of it.
                member.gauge.reserve(message.size_bytes() as u64, u32::MAX, u64::MAX);
                let subscription_ids = if id[0] == 0 { &[][..] } else { &id }.into();
                let group = Some(group.id);
                let attributes = Attributes { qos, retain, subscription_ids, group };
                self.submit(Operation::Publish {
                    body: Body::Message(Arc::clone(message)),
                    targets: vec![Target { session, home: member.home, attributes }],
                    received: None,
                    retain: false,
                });
            }
            Some(_) | None => {
                let direct = Direct {
                    session: member.session,
                    qos,
                    retain,
                    subscription_id: member.subscription_id,
                    group: group.id,
                };
                let mut sharing = Sharing::kept(message);
                if member.home == self.index {
                    self.deliver_direct(&mut sharing, &direct);
                } else {
                    let batch = &mut self.outgoing[member.home.0 as usize].batch;
                    batch.push(&sharing.content(), qos, retain, &[], &[direct]);
                }
            }
        }
    }
}
