//! Messages that have been sent and whose exchange is not complete.
//!
//! Session state, in the order sent. What a durable session has open when its connection ends is forgotten here, and
//! comes back from the store on the next one, to be sent again. How many may be under way at once is the connection's
//! business (`SendQuota`); here each exchange only remembers whether it holds a part of that quota.
//!
//! ```text
//!            PUBACK
//! Puback --------------> (done)
//!
//!            PUBREC < 0x80             durable            PUBCOMP
//! Pubrec --------------> Releasing ------------> Pubcomp --------> (done)
//!    |
//!    +--- PUBREC >= 0x80 ---> (done)
//! ```
//!
//! `Puback`, `Pubrec` and `Pubcomp` are what is waited for; `Withdrawn` is a `Puback` whose message is another's. In `Releasing` our PUBREL waits until it is certain
//! that the PUBLISH will never be sent again ([MQTT-4.3.3-6]).

use alloc::boxed::Box;
use alloc::collections::VecDeque;

use quelea_codec::PacketId;

use crate::delivery::Entry;
use crate::position::{GroupId, PACKET_ID_COUNT, Position};

/// The send side of one session's QoS 1 and 2 exchanges.
#[derive(Debug)]
pub(crate) struct Exchanges {
    /// In the order sent, which is the order they are sent again ([MQTT-4.4.0-1]). The first is never done; positions rise, and the last is less than 65,535 after the first, so that no two have the
    /// same packet identifier.
    slots: VecDeque<Slot>,
    /// The position of the first slot.
    first: Position,
    /// Slots that are not done.
    open_count: usize,
    resends: Resends,
}

/// What was restored and has still to be sent again, and where to look for it.
#[derive(Clone, Copy, Debug, Default)]
struct Resends {
    publish_count: usize,
    /// No PUBLISH before this index is to be sent again.
    publish_from: usize,
    pubrel_count: usize,
    /// No PUBREL before this index is to be sent again.
    pubrel_from: usize,
}

/// One exchange: 16 bytes, because there is one for each message on its way to every client.
#[derive(Debug)]
struct Slot {
    /// What it takes to send the PUBLISH again, until that is done, or for a live session to have another member of
    /// the group receive it.
    kept: Option<Box<Entry>>,
    group: Option<GroupId>,
    id: PacketId,
    state: State,
    standing: Standing,
}

/// What an exchange waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    /// A QoS 1 message has been sent.
    Puback,
    /// A QoS 1 message has been sent, and then given to another member of its group: a PUBACK frees the packet
    /// identifier, and that is all.
    Withdrawn,
    /// A QoS 2 message has been sent.
    Pubrec,
    /// PUBREC has come, and PUBREL waits for the host.
    Releasing,
    /// PUBREL has been sent.
    Pubcomp,
    /// Nothing: a hole in the order.
    Done,
}

/// How an exchange stands on the present connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    /// It holds a part of the send quota.
    Counted,
    /// It goes on without holding any.
    Uncounted,
    /// It belongs to an earlier connection, and its PUBLISH or PUBREL is to be sent again.
    Waiting,
}

/// An exchange that is complete.
#[derive(Debug)]
pub(crate) struct Closed {
    pub(crate) position: Position,
    pub(crate) group: Option<GroupId>,
    pub(crate) is_counted: bool,
    /// The message is another's: it is not this session's to take from the store.
    pub(crate) is_withdrawn: bool,
    pub(crate) kept: Option<Box<Entry>>,
}

impl Exchanges {
    pub(crate) fn new() -> Self {
        Self {
            slots: VecDeque::new(),
            first: Position::new(0),
            open_count: 0,
            resends: Resends::default(),
        }
    }

    /// Adds the exchange of the message at `position`. Only after [`Self::may_open`].
    #[inline]
    pub(crate) fn open(
        &mut self,
        position: Position,
        state: State,
        standing: Standing,
        group: Option<GroupId>,
        kept: Option<Box<Entry>>,
    ) {
        debug_assert!(self.may_open(position), "asked before opening");
        if self.slots.is_empty() {
            self.first = position;
        }
        let id = position.packet_id();
        self.slots.push_back(Slot { kept, group, id, state, standing });
        self.open_count += 1;
        self.resends.count(state, standing, 1);
    }

    /// Ends the exchange at `index`.
    #[inline]
    pub(crate) fn close(&mut self, index: usize) -> Closed {
        let position = self.position(index);
        let slot = if index == 0 { self.take_first() } else { self.take_later(index) };
        self.open_count -= 1;
        self.resends.count(slot.state, slot.standing, -1);
        Closed {
            position,
            group: slot.group,
            is_counted: slot.standing == Standing::Counted,
            is_withdrawn: slot.state == State::Withdrawn,
            kept: slot.kept,
        }
    }

    /// Takes out the first slot: the usual case, because acknowledgements come in order.
    #[inline]
    fn take_first(&mut self) -> Slot {
        let slot = self.slots.pop_front().expect("there is a slot at index 0");
        self.resends.shift();
        if let Some(next) = self.slots.front() {
            self.first = self.first.plus(distance(slot.id, next.id) as u64);
            if next.state == State::Done {
                self.drop_done();
            }
        }
        slot
    }

    /// Takes a copy of a slot, and leaves a hole.
    #[cold]
    fn take_later(&mut self, index: usize) -> Slot {
        let slot = &mut self.slots[index];
        let kept = slot.kept.take();
        let taken = Slot { kept, ..*slot };
        slot.state = State::Done;
        taken
    }

    /// Notes that the peer has the QoS 2 message at `index`: its body is of no more use.
    #[inline]
    pub(crate) fn start_release(&mut self, index: usize) {
        let slot = &mut self.slots[index];
        self.resends.count(slot.state, slot.standing, -1);
        slot.state = State::Releasing;
        if slot.standing == Standing::Waiting {
            slot.standing = Standing::Uncounted;
        }
        slot.kept = None;
    }

    /// Notes that the PUBREL at `index` has been sent on the present connection.
    #[inline]
    pub(crate) fn released(&mut self, index: usize) {
        let slot = &mut self.slots[index];
        self.resends.count(slot.state, slot.standing, -1);
        slot.state = State::Pubcomp;
        if slot.standing == Standing::Waiting {
            slot.standing = Standing::Uncounted;
        }
    }

    /// Notes that the PUBLISH at `index` has been sent again: on this connection it will not be once more.
    pub(crate) fn resent(&mut self, index: usize) {
        let slot = &mut self.slots[index];
        self.resends.count(slot.state, slot.standing, -1);
        slot.standing = Standing::Counted;
        slot.kept = None;
    }

    /// Takes the bodies of unacknowledged QoS 1 messages that `is_taken` chooses by their group.
    pub(crate) fn take_unacknowledged(
        &mut self,
        is_taken: impl Fn(GroupId) -> bool,
        mut take: impl FnMut(Entry),
    ) {
        for slot in &mut self.slots {
            if slot.state == State::Puback
                && slot.group.is_some_and(&is_taken)
                && let Some(entry) = slot.withdraw()
            {
                take(*entry);
            }
        }
    }

    /// Gives the QoS 1 message at `index` to another member of its group.
    ///
    /// An exchange that the peer will acknowledge keeps its packet identifier until it does.
    pub(crate) fn withdraw(&mut self, index: usize) {
        let slot = &mut self.slots[index];
        if slot.standing == Standing::Waiting {
            self.close(index);
        } else {
            slot.withdraw();
        }
    }

    /// Forgets the oldest exchange, whatever its state.
    pub(crate) fn forget_first(&mut self) {
        if !self.slots.is_empty() {
            self.close(0);
        }
    }

    /// Gives back room beyond what the slots need.
    pub(crate) fn shrink(&mut self) {
        self.slots.shrink_to_fit();
    }

    /// Returns where the exchange with packet identifier `id` is.
    #[inline]
    pub(crate) fn find(&self, id: PacketId) -> Option<usize> {
        let offset = distance(self.slots.front()?.id, id);
        let index = match self.slots.get(offset) {
            Some(slot) if slot.id == id => offset,
            _ => self.find_behind_gap(offset)?,
        };
        (self.slots[index].state != State::Done).then_some(index)
    }

    /// Returns where the exchange of the message at `position` is.
    pub(crate) fn find_position(&self, position: Position) -> Option<usize> {
        let index = self.find(position.packet_id())?;
        (self.position(index) == position).then_some(index)
    }

    /// Finds the slot that is `offset` positions after the first where positions between them are missing.
    #[cold]
    fn find_behind_gap(&self, offset: usize) -> Option<usize> {
        let first = self.slots.front()?.id;
        let index = self.slots.partition_point(|slot| distance(first, slot.id) < offset);
        (distance(first, self.slots.get(index)?.id) == offset).then_some(index)
    }

    /// Returns whether a message may be sent at `position`: not while one 65,535 positions before is open,
    /// whose packet identifier it would share ([MQTT-4.3.2-1], [MQTT-4.3.3-1]).
    #[inline]
    pub(crate) fn may_open(&self, position: Position) -> bool {
        self.slots.is_empty() || position.distance_from(self.first) < PACKET_ID_COUNT
    }

    /// Returns the next PUBREL to be sent again.
    pub(crate) fn next_pubrel(&mut self) -> Option<usize> {
        if self.resends.pubrel_count == 0 {
            return None;
        }
        let index = self.next_waiting(self.resends.pubrel_from, |state| state == State::Pubcomp)?;
        self.resends.pubrel_from = index;
        Some(index)
    }

    /// Returns the next PUBLISH to be sent again.
    pub(crate) fn next_publish(&mut self) -> Option<usize> {
        if self.resends.publish_count == 0 {
            return None;
        }
        let index = self.next_waiting(self.resends.publish_from, State::needs_publish)?;
        self.resends.publish_from = index;
        Some(index)
    }

    fn next_waiting(&self, from: usize, is_wanted: impl Fn(State) -> bool) -> Option<usize> {
        (from..self.slots.len()).find(|&index| {
            let slot = &self.slots[index];
            slot.standing == Standing::Waiting && is_wanted(slot.state)
        })
    }

    /// Returns how many packets are to be sent again.
    pub(crate) fn resend_count(&self) -> usize {
        self.resends.publish_count + self.resends.pubrel_count
    }

    #[inline]
    pub(crate) fn state(&self, index: usize) -> State {
        self.slots[index].state
    }

    #[inline]
    pub(crate) fn position(&self, index: usize) -> Position {
        let offset = distance(self.slots[0].id, self.slots[index].id);
        self.first.plus(offset as u64)
    }

    pub(crate) fn kept(&self, index: usize) -> Option<&Entry> {
        self.slots[index].kept.as_deref()
    }

    /// Returns the position of the oldest open exchange.
    pub(crate) fn first(&self) -> Option<Position> {
        (!self.slots.is_empty()).then_some(self.first)
    }

    /// Returns the position of the latest exchange, open or not.
    pub(crate) fn last(&self) -> Option<Position> {
        self.slots.len().checked_sub(1).map(|index| self.position(index))
    }

    /// Returns how many exchanges are open.
    #[inline]
    pub(crate) fn open_count(&self) -> usize {
        self.open_count
    }

    /// Keeps the promise that the first slot is open.
    fn drop_done(&mut self) {
        let Some(old_first) = self.slots.front().map(|slot| slot.id) else {
            return;
        };
        while let Some(slot) = self.slots.front() {
            if slot.state != State::Done {
                self.first = self.first.plus(distance(old_first, slot.id) as u64);
                return;
            }
            self.slots.pop_front();
            self.resends.shift();
        }
    }
}

impl Slot {
    /// Leaves the exchange without message and group, and returns what was kept.
    fn withdraw(&mut self) -> Option<Box<Entry>> {
        self.state = State::Withdrawn;
        self.group = None;
        self.kept.take()
    }
}

impl Resends {
    /// Notes that the first slot is gone.
    #[inline]
    fn shift(&mut self) {
        self.publish_from = self.publish_from.saturating_sub(1);
        self.pubrel_from = self.pubrel_from.saturating_sub(1);
    }

    /// Counts an exchange in or out, if it has something to be sent again.
    #[inline]
    fn count(&mut self, state: State, standing: Standing, by: isize) {
        if standing != Standing::Waiting {
            return;
        }
        let count = match state {
            State::Puback | State::Pubrec => &mut self.publish_count,
            State::Pubcomp => &mut self.pubrel_count,
            State::Withdrawn | State::Releasing | State::Done => return,
        };
        *count = count.strict_add_signed(by);
    }
}

impl State {
    /// Returns whether the PUBLISH is what is sent again.
    fn needs_publish(self) -> bool {
        matches!(self, Self::Puback | Self::Pubrec)
    }
}

/// Returns how many identifiers after `first` comes `id`, counting on from 65,535 to 1.
#[inline]
fn distance(first: PacketId, id: PacketId) -> usize {
    let (first, id) = (usize::from(first.value()), usize::from(id.value()));
    if id >= first { id - first } else { id + PACKET_ID_COUNT as usize - first }
}

#[cfg(test)]
mod tests {
    use quelea_codec::PacketId;

    use super::{Exchanges, Slot, Standing, State};
    use crate::position::Position;

    #[test]
    fn a_slot_takes_16_bytes() {
        assert_eq!(size_of::<Slot>(), 16);
    }

    #[test]
    fn acknowledgements_come_in_any_order() {
        for order in [[10, 11, 12, 13], [13, 12, 11, 10], [11, 10, 13, 12], [12, 13, 10, 11]] {
            let mut exchanges = opened([10, 11, 12, 13]);
            for (done, position) in order.into_iter().enumerate() {
                let index = exchanges.find(id(position)).expect("is open");
                assert_eq!(exchanges.close(index).position, Position::new(position));
                assert_eq!(exchanges.find(id(position)), None, "acknowledged twice");
                assert_eq!(exchanges.open_count(), 3 - done);
            }
            assert!(exchanges.slots.is_empty());
        }
    }

    #[test]
    fn positions_may_have_gaps_and_identifiers_wrap() {
        let positions = [65_530, 65_533, 65_534, 65_535, 65_540, 131_064];
        let mut exchanges = opened(positions);
        for missing in [65_531, 65_532, 65_536, 65_541, 131_063] {
            assert_eq!(exchanges.find(id(missing)), None, "{missing}");
        }
        for (index, position) in positions.into_iter().enumerate() {
            assert_eq!(exchanges.find(id(position)), Some(index));
        }
        exchanges.close(0);
        exchanges.close(1);
        assert_eq!(exchanges.find(id(65_533)), Some(0));
        assert_eq!(exchanges.find(id(131_064)), Some(4));
    }

    /// [MQTT-4.3.2-1], [MQTT-4.3.3-1]
    #[test]
    fn an_identifier_in_use_is_not_given_again() {
        let mut exchanges = opened([7, 8]);
        assert!(exchanges.may_open(Position::new(7 + 65_534)));
        assert!(!exchanges.may_open(Position::new(7 + 65_535)));
        exchanges.close(0);
        assert!(exchanges.may_open(Position::new(7 + 65_535)));
        assert!(!exchanges.may_open(Position::new(8 + 65_535)));
    }

    #[track_caller]
    fn opened<const N: usize>(positions: [u64; N]) -> Exchanges {
        let mut exchanges = Exchanges::new();
        for position in positions {
            let position = Position::new(position);
            exchanges.open(position, State::Puback, Standing::Counted, None, None);
        }
        exchanges
    }

    fn id(position: u64) -> PacketId {
        Position::new(position).packet_id()
    }
}
