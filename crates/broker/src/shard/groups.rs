//! Messages that move from one member of a shared group to another.

use std::sync::{Arc, PoisonError};

use quelea_codec::QoS;
use quelea_session::{GroupId, Message, Sharing, SubscriptionIds};
use quelea_store::{Attributes, Operation, Target};

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
        self.hand_on_where(sharing, qos, retain, |it| it.id == group);
    }

    /// Gives a message to another member of the group that is known by its `$share` filter.
    #[cold]
    pub(super) fn hand_on_share(
        &mut self,
        sharing: &mut Sharing<'_>,
        share: &str,
        qos: QoS,
        retain: bool,
    ) {
        self.hand_on_where(sharing, qos, retain, |it| *it.text == *share);
    }

    fn hand_on_where(
        &mut self,
        sharing: &mut Sharing<'_>,
        qos: QoS,
        retain: bool,
        is_meant: impl Fn(&Group) -> bool,
    ) {
        let topic = sharing.content().topic;
        let route = self.routes.find(topic, &self.shared.table, self.index);
        let group = route.addressed.iter().find_map(|addressed| {
            let groups = addressed.groups.read().unwrap_or_else(PoisonError::into_inner);
            groups.iter().find(|it| is_meant(it)).cloned()
        });
        match group {
            Some(group) => self.hand_to_member(&group, &sharing.keep(), qos, retain),
            None => self.counters().dropped_no_member.add(1),
        }
    }

    /// The store found the sessions gone that these messages were for.
    pub(super) fn on_unplaced(&mut self, unplaced: Vec<(Attributes, Arc<Message>)>) {
        for (Attributes { qos, retain, share, .. }, message) in unplaced {
            if let Some(share) = share {
                self.hand_on_share(&mut Sharing::kept(&message), &share, qos, retain);
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
        let Some(member) = group.choose(self.rules.strategy, 0, is_queueable) else {
            self.counters().dropped_no_member.add(1);
            return;
        };
        let qos = qos.min(member.options.qos);
        let id = [member.subscription_id];
        match member.durable {
            Some(session) if qos != QoS::AtMostOnce => {
                // It had its room in a queue before: the move is not refused for the lack of it.
                let size = message.size_bytes() as u64;
                if member.gauge.reserve(size, u32::MAX, u64::MAX) {
                    self.shared.backlog.add(1, size);
                }
                let attributes = Attributes {
                    qos,
                    retain,
                    subscription_ids: SubscriptionIds::new(if id[0] == 0 { &[] } else { &id }),
                    share: Some(Arc::clone(&group.text)),
                    retained_order: 0,
                };
                self.submit(Operation::Publish {
                    message: Arc::clone(message),
                    qos,
                    targets: vec![Target { session, attributes: 0 }],
                    attributes: vec![attributes],
                    received: None,
                    retain: None,
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
