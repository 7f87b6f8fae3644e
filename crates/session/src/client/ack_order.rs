//! What we owe for messages of the broker, in the order in which they came.
//!
//! The application may acknowledge in any order; what leaves is in order ([MQTT-4.6.0-2], [MQTT-4.6.0-3]). There are
//! at most as many as our Receive Maximum allows, and to 3.x as there are packet identifiers.

use alloc::collections::VecDeque;
use alloc::vec::Vec;

use quelea_codec::{PacketId, QoS, ReasonCode};

/// Stands for a message that the application has to acknowledge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Receipt {
    generation: u32,
    number: u64,
}

/// The acknowledgements of one connection, and what is left of earlier ones.
#[derive(Debug, Default)]
pub(super) struct AckOrder {
    owed: VecDeque<Owed>,
    /// The number of the first of `owed`.
    first: u64,
    /// Counts connections: a receipt of an earlier one answers nothing on this one.
    generation: u32,
    orphans: Vec<Orphan>,
}

/// An acknowledgement that is to leave.
#[derive(Clone, Copy, Debug)]
pub(super) struct Owed {
    pub(super) packet_id: PacketId,
    pub(super) qos: QoS,
    /// What it will say, once that is known.
    pub(super) answer: Option<ReasonCode>,
    /// Nobody will answer: the broker is to send the message again on the next connection.
    is_abandoned: bool,
}

/// A QoS 2 message of an earlier connection that the application has not acknowledged. It must not get it again.
#[derive(Clone, Copy, Debug)]
struct Orphan {
    receipt: Receipt,
    packet_id: PacketId,
    /// The broker has sent it again, and waits for this answer.
    repeated_as: Option<u64>,
}

impl AckOrder {
    /// Adds what is owed for a message.
    pub(super) fn push(
        &mut self,
        packet_id: PacketId,
        qos: QoS,
        answer: Option<ReasonCode>,
    ) -> Receipt {
        let number = self.first + self.owed.len() as u64;
        self.owed.push_back(Owed { packet_id, qos, answer, is_abandoned: false });
        Receipt { generation: self.generation, number }
    }

    /// Notes that a message of an earlier connection has come again, if it is one that still waits for the
    /// application.
    pub(super) fn repeat(&mut self, packet_id: PacketId) {
        let number = self.first + self.owed.len() as u64;
        let mut orphans = self.orphans.iter_mut();
        if let Some(orphan) =
            orphans.find(|it| it.packet_id == packet_id && it.repeated_as.is_none())
        {
            orphan.repeated_as = Some(number);
            self.push(packet_id, QoS::ExactlyOnce, None);
        }
    }

    /// Gives an answer. Returns the packet identifier if the message came on an earlier connection at QoS 2, for the
    /// session to hear of it.
    pub(super) fn answer(&mut self, receipt: Receipt, reason: ReasonCode) -> Option<PacketId> {
        if receipt.generation == self.generation {
            self.set(receipt.number, reason);
            return None;
        }
        let index = self.orphans.iter().position(|it| it.receipt == receipt)?;
        let orphan = self.orphans.swap_remove(index);
        if let Some(number) = orphan.repeated_as {
            self.set(number, reason);
        }
        Some(orphan.packet_id)
    }

    /// Notes that nobody will answer. Returns the packet identifier as [`Self::answer`] does.
    pub(super) fn abandon(&mut self, receipt: Receipt) -> Option<PacketId> {
        if receipt.generation == self.generation {
            if let Some(owed) = self.owed_mut(receipt.number) {
                owed.is_abandoned = true;
            }
            return None;
        }
        let index = self.orphans.iter().position(|it| it.receipt == receipt)?;
        let orphan = self.orphans.swap_remove(index);
        match orphan.repeated_as.and_then(|number| self.owed_mut(number)) {
            Some(owed) => {
                owed.is_abandoned = true;
                None
            }
            None => Some(orphan.packet_id),
        }
    }

    fn set(&mut self, number: u64, reason: ReasonCode) {
        if let Some(owed) = self.owed_mut(number) {
            owed.answer.get_or_insert(reason);
        }
    }

    fn owed_mut(&mut self, number: u64) -> Option<&mut Owed> {
        let index = number.checked_sub(self.first).and_then(|it| usize::try_from(it).ok())?;
        self.owed.get_mut(index)
    }

    /// Takes the next acknowledgement whose turn it is.
    pub(super) fn pop(&mut self) -> Option<(Owed, ReasonCode)> {
        let owed = *self.owed.front()?;
        let reason = owed.answer?;
        self.owed.pop_front();
        self.first += 1;
        Some((owed, reason))
    }

    /// Leaves the connection behind. Calls `settle` for each QoS 2 message that was acknowledged and only waited
    /// for its turn, and with a failure for each that was abandoned: it is to be new when it comes again.
    pub(super) fn disconnect(&mut self, mut settle: impl FnMut(PacketId, ReasonCode)) {
        for orphan in &mut self.orphans {
            orphan.repeated_as = None;
        }
        let owed = core::mem::take(&mut self.owed);
        for (index, owed) in owed.into_iter().enumerate() {
            let receipt =
                Receipt { generation: self.generation, number: self.first + index as u64 };
            let is_known = self.orphans.iter().any(|it| it.packet_id == owed.packet_id);
            match (owed.qos, owed.answer) {
                (QoS::AtMostOnce | QoS::AtLeastOnce, _) => {}
                (QoS::ExactlyOnce, Some(reason)) => settle(owed.packet_id, reason),
                (QoS::ExactlyOnce, None) if owed.is_abandoned => {
                    settle(owed.packet_id, ReasonCode::UNSPECIFIED_ERROR);
                }
                (QoS::ExactlyOnce, None) if is_known => {}
                (QoS::ExactlyOnce, None) => {
                    let packet_id = owed.packet_id;
                    self.orphans.push(Orphan { receipt, packet_id, repeated_as: None });
                }
            }
        }
        self.first = 0;
        self.generation = self.generation.wrapping_add(1);
    }

    /// Forgets what the broker has forgotten.
    pub(super) fn forget_orphans(&mut self) {
        self.orphans.clear();
    }

    /// Returns how many acknowledgements have not left.
    pub(super) fn len(&self) -> usize {
        self.owed.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// [MQTT-4.6.0-2]
    #[test]
    fn acknowledgements_leave_in_order() {
        let mut order = AckOrder::default();
        let receipts: Vec<Receipt> = (1..=3).map(|it| push(&mut order, it)).collect();
        check(&mut order, &[]);
        order.answer(receipts[1], ReasonCode::SUCCESS);
        check(&mut order, &[]);
        order.answer(receipts[0], ReasonCode::SUCCESS);
        check(&mut order, &[1, 2]);
        order.answer(receipts[0], ReasonCode::SUCCESS);
        order.answer(receipts[2], ReasonCode::SUCCESS);
        check(&mut order, &[3]);
    }

    #[test]
    fn a_receipt_of_an_earlier_connection_answers_what_came_again() {
        let mut order = AckOrder::default();
        let old = push(&mut order, 1);
        let acknowledged = push(&mut order, 2);
        order.answer(acknowledged, ReasonCode::SUCCESS);
        let mut settled = Vec::new();
        order.disconnect(|id, _| settled.push(id.value()));
        assert_eq!(settled, [2]);

        let new = push(&mut order, 7);
        order.repeat(id(1));
        order.answer(new, ReasonCode::SUCCESS);
        check(&mut order, &[7]);
        assert_eq!(order.answer(old, ReasonCode::SUCCESS), Some(id(1)));
        check(&mut order, &[1]);
        assert_eq!(order.answer(old, ReasonCode::SUCCESS), None, "it is done with");
        assert_eq!(order.len(), 0);
    }

    fn push(order: &mut AckOrder, packet_id: u16) -> Receipt {
        order.push(id(packet_id), QoS::ExactlyOnce, None)
    }

    fn id(value: u16) -> PacketId {
        PacketId::new(value).unwrap()
    }

    #[track_caller]
    fn check(order: &mut AckOrder, expected: &[u16]) {
        let left: Vec<u16> =
            core::iter::from_fn(|| order.pop()).map(|(owed, _)| owed.packet_id.value()).collect();
        assert_eq!(left, expected);
    }
}
