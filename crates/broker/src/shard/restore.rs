//! Sessions as they were before a restart.
//!
//! Who was connected when the broker died counts as having lost its connection at the start, plus a
//! grace: a restart neither ends a fleet's sessions nor announces its wills.

use quelea_codec::SubscriptionOptions;
use quelea_session::{Class, Position, Session, Time};
use quelea_store::{
    Operation, Presence, RecoveredSession, RecoveredSubscription, SessionNumber, WallMillis,
};

use super::Shard;
use super::access::{Way, owner_identity};
use super::queues::Kept;
use super::retained::Cursor;
use super::sessions::{Extra, HomeSession};
use crate::arena::Key;

impl Shard {
    /// Takes in a session that was there before the restart.
    pub(crate) fn restore(&mut self, recovered: RecoveredSession) {
        let number = recovered.session;
        let key = self.restore_state(&recovered);
        for packet_id in recovered.received {
            if let Some(session) = self.sessions.get_mut(key) {
                session.protocol.restore_received(packet_id);
            }
        }
        for subscription in recovered.subscriptions {
            self.restore_one(key, subscription);
        }
        self.counters().clients_disconnected.add(1);
        if recovered.expiry_secs == 0 {
            // It ends with the connection that it had: what shared groups gave it goes to others.
            self.begin_sweep(number, None, recovered.sent_before);
        }
        let expiry_secs = recovered.expiry_secs;
        let grace_secs = self.shared.config.store.restart_grace_secs;
        let lost_at = match recovered.presence {
            Presence::Lost(at) => at,
            Presence::Connected => {
                let at = self.shared.wall(self.now.plus_secs(grace_secs));
                let (presence, sent_before) = (Presence::Lost(at), recovered.sent_before);
                self.submit_lazy(Operation::SessionChange {
                    session: number,
                    expiry_secs,
                    presence,
                    sent_before,
                });
                at
            }
        };
        self.restore_deadlines(key, lost_at);
    }

    /// Has messages of shared groups moved on that were in the queue of a session that has ended.
    pub(crate) fn restore_ghost(&mut self, session: SessionNumber, sent_before: Position) {
        self.begin_sweep(session, None, sent_before);
    }

    fn restore_state(&mut self, recovered: &RecoveredSession) -> Key {
        let is_durable = recovered.expiry_secs > 0;
        let class = if is_durable { Class::Durable } else { Class::Live };
        let mut protocol = Session::new(class);
        let mut extra = Extra {
            expiry_secs: recovered.expiry_secs,
            owner: recovered.identity.owner.clone(),
            will: recovered.will.clone(),
            was_cut: recovered.presence == Presence::Connected,
            ..Extra::default()
        };
        if is_durable {
            protocol.set_sent_before(recovered.sent_before);
            let mut kept = Kept::new(recovered.session);
            kept.forget();
            kept.set_shared();
            extra.kept = Some(kept);
            let (messages, bytes) = (recovered.queued_messages, recovered.queued_bytes);
            let gauge = extra.gauge.get_or_insert_default();
            gauge.reserve_all(messages, bytes);
            self.shared.backlog.add(messages.into(), bytes);
        } else {
            extra.will_number = Some(recovered.session);
        }
        let identity = &recovered.identity;
        let owner = owner_identity(&identity.owner);
        let mut access = self.access_of(&identity.client_id, owner.as_ref(), Way::default());
        if let Some(access) = &mut access {
            access.check_deliveries();
        }
        let key = self.add_session(HomeSession {
            protocol,
            client_id: recovered.identity.client_id.clone(),
            link: None,
            subscriptions: Default::default(),
            access,
            extra: Some(Box::new(extra)),
        });
        if is_durable {
            self.numbers.insert(recovered.session, key);
        }
        key
    }

    fn restore_one(&mut self, key: Key, subscription: RecoveredSubscription) {
        let RecoveredSubscription { filter, options, subscription_id, cursor } = subscription;
        // It was checked before it was stored: an options byte that is none would be a damaged log, and
        // those are found by their checksums.
        let Some(options) = SubscriptionOptions::from_byte(options) else { return };
        let plain = self.restore_subscription(key, &filter, options, subscription_id);
        if let (Some(plain), Some(place)) = (plain, cursor) {
            let cursor = Cursor::new(plain, options.qos, subscription_id, place, true);
            self.restore_cursor(key, cursor);
        }
    }

    /// Sets the end of a session, and the time of its will, by when it lost its connection.
    fn restore_deadlines(&mut self, key: Key, lost_at: WallMillis) {
        let now = self.now;
        let Some(session) = self.sessions.get_mut(key) else { return };
        let Some(extra) = &mut session.extra else { return };
        let expiry_secs = extra.expiry_secs;
        let due = |secs: u32| -> Time {
            let wall = lost_at.0.saturating_add(u64::from(secs) * 1_000);
            now.plus_millis(wall.saturating_sub(self.shared.wall(now).0))
        };
        if expiry_secs != u32::MAX {
            extra.ends_at = Some(due(expiry_secs));
        }
        if let Some(will) = &extra.will {
            extra.will_at = Some(due(will.delay_secs.min(expiry_secs)));
        }
        if let Some(deadline) = extra.ends_at.into_iter().chain(extra.will_at).min() {
            self.arm_session(key, deadline);
        }
    }
}
