//! Messages that the application has given us and that are not done with, in the order given.
//!
//! To the session's state machine this is the store of a durable session: it gives a message its position, and keeps
//! the body until the exchange is complete. Which of them were sent is not noted here: it is what comes before
//! [`Session::sent_before`](crate::Session::sent_before). How many there may be is the host's to say.

use alloc::collections::VecDeque;
use alloc::sync::Arc;

use quelea_codec::{PacketId, QoS, ReasonCode};

use super::requests::FIRST_REQUEST_ID;
use crate::message::Message;
use crate::position::Position;

/// The messages, by rising position.
#[derive(Debug)]
pub(super) struct Accepted<T> {
    /// The first is never empty.
    slots: VecDeque<Option<Slot<T>>>,
    /// The positions of the slots, beside them: a slot that is empty has one, too.
    positions: VecDeque<Position>,
    next: Position,
    open_count: usize,
}

/// A message that is not done with.
#[derive(Debug)]
pub(super) struct Slot<T> {
    pub(super) position: Position,
    /// The body, until the broker has it for certain.
    pub(super) message: Option<Arc<Message>>,
    /// What the host knows it by.
    pub(super) ticket: T,
    /// What PUBREC said.
    pub(super) reason: ReasonCode,
    pub(super) qos: QoS,
    pub(super) retain: bool,
}

impl<T> Slot<T> {
    /// Returns whether PUBREC has come: only a PUBREL may be sent for it ([MQTT-4.3.3-6]).
    pub(super) fn is_released(&self) -> bool {
        self.message.is_none()
    }
}

impl<T> Accepted<T> {
    pub(super) fn new() -> Self {
        Self {
            slots: VecDeque::new(),
            positions: VecDeque::new(),
            next: Position::new(0),
            open_count: 0,
        }
    }

    /// Adds a message behind all others, and returns its position.
    pub(super) fn push(
        &mut self,
        message: Arc<Message>,
        qos: QoS,
        retain: bool,
        ticket: T,
    ) -> Position {
        let position = self.next;
        let reason = ReasonCode::SUCCESS;
        self.insert(Slot { position, message: Some(message), ticket, reason, qos, retain });
        position
    }

    /// Adds a message at its position, which is behind all others.
    pub(super) fn insert(&mut self, slot: Slot<T>) {
        debug_assert!(slot.position >= self.next, "{:?} is out of order", slot.position);
        self.next = following(slot.position);
        self.positions.push_back(slot.position);
        self.slots.push_back(Some(slot));
        self.open_count += 1;
    }

    /// Has all further messages come at or behind `position`.
    pub(super) fn pass(&mut self, position: Position) {
        if position > self.next {
            self.next = match is_for_requests(position.packet_id()) {
                true => following(position),
                false => position,
            };
        }
    }

    /// Takes the message at `position` out.
    pub(super) fn remove(&mut self, position: Position) -> Option<Slot<T>> {
        let index = self.index(position)?;
        let slot = self.slots[index].take()?;
        self.open_count -= 1;
        while let Some(None) = self.slots.front() {
            self.slots.pop_front();
            self.positions.pop_front();
        }
        Some(slot)
    }

    pub(super) fn find_mut(&mut self, position: Position) -> Option<&mut Slot<T>> {
        let index = self.index(position)?;
        self.slots[index].as_mut()
    }

    /// Returns the first message at or behind `position`.
    pub(super) fn first_from(&self, position: Position) -> Option<&Slot<T>> {
        let index = self.positions.partition_point(|&it| it < position);
        self.slots.range(index..).find_map(Option::as_ref)
    }

    /// Returns whether no message is at or behind `position`.
    pub(super) fn ends_before(&self, position: Position) -> bool {
        self.positions.back().is_none_or(|&last| last < position)
    }

    /// Returns how many messages are not done with.
    pub(super) fn len(&self) -> usize {
        self.open_count
    }

    fn index(&self, position: Position) -> Option<usize> {
        // Nearly all that is looked for is the oldest.
        if self.positions.front() == Some(&position) {
            return Some(0);
        }
        self.positions.binary_search(&position).ok()
    }
}

/// Returns the position behind `position` that has a packet identifier for a PUBLISH.
fn following(position: Position) -> Position {
    let mut next = position.plus(1);
    while is_for_requests(next.packet_id()) {
        next = next.plus(1);
    }
    next
}

fn is_for_requests(id: PacketId) -> bool {
    id.value() >= FIRST_REQUEST_ID
}

#[cfg(test)]
mod tests {
    use quelea_codec::QoS;

    use super::{Accepted, is_for_requests};
    use crate::message::{Content, Message};
    use crate::position::{PACKET_ID_COUNT, Position};

    #[test]
    fn messages_are_found_whatever_is_gone_around_them() {
        let mut accepted = filled(5);
        for gone in [1, 3, 0] {
            assert_eq!(accepted.remove(Position::new(gone)).map(|it| it.ticket), Some(gone));
            assert!(accepted.remove(Position::new(gone)).is_none(), "{gone} was there twice");
        }
        assert_eq!(accepted.len(), 2);
        let next = |from| accepted.first_from(Position::new(from)).map(|it| it.ticket);
        assert_eq!([next(0), next(2), next(3), next(5)], [Some(2), Some(2), Some(4), None]);
    }

    /// [MQTT-2.2.1-3]
    #[test]
    fn no_message_has_an_identifier_of_a_request() {
        let mut accepted = filled(2 * PACKET_ID_COUNT);
        let mut position = Position::new(0);
        while let Some(slot) = accepted.first_from(position) {
            position = slot.position;
            assert!(!is_for_requests(position.packet_id()), "{position:?}");
            accepted.remove(position);
        }
        assert!(position.value() > 2 * PACKET_ID_COUNT);
    }

    /// The ticket of a message is its number.
    fn filled(count: u64) -> Accepted<u64> {
        let mut accepted = Accepted::new();
        let content = Content { topic: "t", payload: b"", forwarded: &[], expires_at: None };
        let message = Message::new(&content);
        for number in 0..count {
            accepted.push(message.clone(), QoS::AtLeastOnce, false, number);
        }
        accepted
    }
}
