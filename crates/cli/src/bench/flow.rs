//! One publisher's messages on one topic: what may be sent, and what is on its way.
//!
//! A message holds a slot from its sending until all that it waits for has come: its deliveries, in a closed
//! loop, and its acknowledgement, above QoS 0. The slot's number is its packet identifier.

use std::ops::Range;

use quelea_codec::{QoS, Version};

use super::pacing::Pacing;
use super::plan::FlowPlan;
use super::stamp::Stamp;
use super::template::{Payload, Template};

/// A flow and its window.
#[derive(Debug)]
pub(crate) struct Flow {
    /// The publisher, an index into the worker's clients.
    pub client: usize,
    /// How many deliveries one message makes.
    pub receiver_count: u32,
    /// Whether the flow is in the worker's list of those to be looked at.
    pub is_queued: bool,
    template: Template,
    pacing: Pacing,
    qos: QoS,
    /// Number of the flow in the run.
    number: u32,
    /// Number of the next message.
    next: u32,
    /// Messages whose time has come, in an open loop.
    due: u32,
    /// Messages that hold a slot.
    in_flight: u32,
    window: u32,
    /// What each message still waits for, by its number modulo their count, a power of two.
    slots: Box<[u32]>,
    /// When each message was sent, or was to be sent, above QoS 0.
    sent_ns: Box<[u64]>,
    /// What a message waits for when it is sent.
    waits_for: u32,
    /// The topics it goes through, by their number; empty if it has but one.
    topics: Range<u32>,
    messages_max: u32,
}

/// What all flows of a run have in common.
#[derive(Debug, Clone, Copy)]
pub(crate) struct FlowSettings<'a> {
    /// Version of the packets.
    pub version: Version,
    /// What the messages say.
    pub payload: &'a Payload,
    /// The run's epoch, in microseconds since 1970.
    pub epoch_us: u64,
    /// Messages of a flow.
    pub messages_max: u32,
}

impl Flow {
    /// Prepares a flow that has sent nothing.
    pub(crate) fn new(plan: &FlowPlan, number: u32, settings: FlowSettings<'_>) -> Self {
        let is_acknowledged = plan.qos > QoS::AtMostOnce;
        let window = match plan.pacing {
            Pacing::Closed { window } => window,
            Pacing::Even { .. } => OPEN_WINDOW,
            Pacing::Once { .. } => 1,
        };
        // Twice the window, so that a message that is late does not hold up those after it at once.
        let slot_count = (2 * window).next_power_of_two().min(SLOTS_MAX);
        let deliveries = if plan.pacing.is_closed() { plan.receiver_count } else { 0 };
        Self {
            client: plan.client,
            receiver_count: plan.receiver_count,
            is_queued: false,
            template: Template::new(
                settings.version,
                &plan.topic,
                plan.qos,
                settings.payload,
                settings.epoch_us,
            ),
            pacing: plan.pacing,
            qos: plan.qos,
            number,
            next: 0,
            due: 0,
            in_flight: 0,
            window,
            slots: vec![0; slot_count as usize].into(),
            sent_ns: vec![0; if is_acknowledged { slot_count as usize } else { 0 }].into(),
            waits_for: deliveries + u32::from(is_acknowledged),
            topics: plan.topics.clone(),
            messages_max: settings.messages_max,
        }
    }

    /// Notes that the next message's time has come.
    pub(crate) fn on_due(&mut self) {
        self.due += 1;
    }

    /// Returns the time at which the next message is or was to be sent, if it may go: `now_ns` in a closed
    /// loop. Times count from `start_ns`.
    #[inline]
    pub(crate) fn next_stamp(&self, start_ns: u64, now_ns: u64) -> Option<Stamp> {
        if self.in_flight >= self.window || self.slots[self.slot_of(self.next)] != 0 {
            return None;
        }
        if self.next >= self.messages_max {
            return None;
        }
        let sent_ns = if self.pacing.is_closed() {
            now_ns
        } else if self.next < self.due {
            start_ns + self.pacing.due_ns(self.next)?
        } else {
            return None;
        };
        Some(Stamp { sent_ns, flow: self.number, sequence: self.next })
    }

    /// Appends the message that [`Self::next_stamp`] named to `out`.
    #[inline]
    pub(crate) fn send(&mut self, stamp: Stamp, out: &mut Vec<u8>) {
        let slot = self.slot_of(self.next);
        let packet_id = if self.qos == QoS::AtMostOnce { 0 } else { slot as u16 + 1 };
        let topic_count = self.topics.len() as u32;
        let topic = (topic_count > 0).then(|| self.topics.start + self.next % topic_count);
        self.template.append(packet_id, topic, stamp, out);
        self.slots[slot] = self.waits_for;
        if let Some(sent_ns) = self.sent_ns.get_mut(slot) {
            *sent_ns = stamp.sent_ns;
        }
        self.in_flight += u32::from(self.waits_for > 0);
        self.next += 1;
    }

    /// Notes the first arrival of message `sequence` at a receiver. Returns whether a window has opened.
    #[inline]
    pub(crate) fn on_delivery(&mut self, sequence: u32) -> bool {
        self.pacing.is_closed() && self.ease(self.slot_of(sequence))
    }

    /// Notes the end of the exchange `packet_id`. Returns when its message was sent, or was to be sent, or
    /// `None` if it is not open.
    #[inline]
    pub(crate) fn on_acknowledgement(&mut self, packet_id: u16) -> Option<u64> {
        let slot = usize::from(packet_id).checked_sub(1)?;
        let is_open = self.slots.get(slot).is_some_and(|&it| it > 0);
        is_open.then(|| {
            self.ease(slot);
            self.sent_ns[slot]
        })
    }

    /// Returns how many messages were sent.
    pub(crate) fn sent_count(&self) -> u32 {
        self.next
    }

    /// Returns the time of message `sequence`, in nanoseconds from the start, if it has one.
    pub(crate) fn due_ns(&self, sequence: u32) -> Option<u64> {
        self.pacing.due_ns(sequence)
    }

    /// Returns whether the flow waits for its messages to arrive.
    pub(crate) fn is_closed(&self) -> bool {
        self.pacing.is_closed()
    }

    /// Returns whether its messages are acknowledged.
    pub(crate) fn is_acknowledged(&self) -> bool {
        self.qos > QoS::AtMostOnce
    }

    /// Takes one off what the message in `slot` waits for.
    fn ease(&mut self, slot: usize) -> bool {
        let waits_for = &mut self.slots[slot];
        *waits_for = waits_for.saturating_sub(1);
        let is_done = *waits_for == 0;
        self.in_flight -= u32::from(is_done && self.in_flight > 0);
        is_done
    }

    fn slot_of(&self, sequence: u32) -> usize {
        sequence as usize & (self.slots.len() - 1)
    }
}

/// Slots are packet identifiers, of which there are 65,535.
const SLOTS_MAX: u32 = 32_768;

/// Messages that wait for their acknowledgement in an open loop, at most.
const OPEN_WINDOW: u32 = 16_384;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_closed_loop_waits_for_every_receiver_and_the_acknowledgement() {
        let mut flow = flow(Pacing::Closed { window: 1 }, 2, QoS::AtLeastOnce);
        send(&mut flow, 10);
        assert_eq!(flow.next_stamp(0, 20), None);
        assert!(!flow.on_delivery(0));
        assert_eq!(flow.on_acknowledgement(1), Some(10));
        assert!(flow.on_delivery(0));
        assert_eq!(flow.next_stamp(0, 30).unwrap().sequence, 1);
    }

    #[test]
    fn the_window_is_full_when_it_is_full() {
        let mut flow = flow(Pacing::Closed { window: 3 }, 1, QoS::AtMostOnce);
        for _ in 0..3 {
            send(&mut flow, 0);
        }
        assert_eq!(flow.next_stamp(0, 0), None);
        assert!(flow.on_delivery(1));
        send(&mut flow, 0);
        assert_eq!(flow.next_stamp(0, 0), None);
    }

    #[test]
    fn an_open_loop_sends_what_is_due_with_its_intended_time() {
        let mut flow =
            flow(Pacing::even(1_000.0, std::time::Duration::ZERO, 0, 1), 1, QoS::AtMostOnce);
        assert_eq!(flow.next_stamp(50, 9_000_000), None);
        flow.on_due();
        flow.on_due();
        assert_eq!(send(&mut flow, 9_000_000).sent_ns, 0);
        assert_eq!(send(&mut flow, 9_000_000).sent_ns, 1_000_000);
        assert_eq!(flow.next_stamp(50, 9_000_000), None);
    }

    #[test]
    fn an_acknowledgement_of_nothing_is_told() {
        let mut flow = flow(Pacing::Closed { window: 2 }, 1, QoS::AtLeastOnce);
        assert_eq!(flow.on_acknowledgement(1), None);
        assert_eq!(flow.on_acknowledgement(0), None);
        assert_eq!(flow.on_acknowledgement(60_000), None);
        send(&mut flow, 7);
        assert_eq!(flow.on_acknowledgement(1), Some(7));
    }

    #[test]
    fn a_flow_ends_with_its_last_message() {
        let mut flow = flow(Pacing::Closed { window: 9 }, 1, QoS::AtMostOnce);
        flow.messages_max = 2;
        send(&mut flow, 0);
        send(&mut flow, 0);
        assert_eq!(flow.next_stamp(0, 0), None);
    }

    #[test]
    fn a_flow_goes_through_its_topics_in_turn() {
        let mut flow = flow(Pacing::Closed { window: 9 }, 1, QoS::AtMostOnce);
        flow.topics = 41..43;
        let topics = [(); 3].map(|()| {
            let mut out = Vec::new();
            let stamp = flow.next_stamp(0, 0).unwrap();
            flow.send(stamp, &mut out);
            String::from_utf8(out[4..][..TOPIC.len()].to_vec()).unwrap()
        });
        assert_eq!(topics, ["t/00000041", "t/00000042", "t/00000041"]);
    }

    fn flow(pacing: Pacing, receiver_count: u32, qos: QoS) -> Flow {
        let topic = TOPIC.into();
        let plan = FlowPlan { client: 0, topic, topics: 0..0, qos, receiver_count, pacing };
        let settings = FlowSettings {
            version: Version::V311,
            payload: &Payload::Stamp { bytes: 16 },
            epoch_us: 0,
            messages_max: u32::MAX,
        };
        Flow::new(&plan, 0, settings)
    }

    const TOPIC: &str = "t/00000000";

    #[track_caller]
    fn send(flow: &mut Flow, now_ns: u64) -> Stamp {
        let stamp = flow.next_stamp(0, now_ns).expect("the window is open");
        flow.send(stamp, &mut Vec::new());
        stamp
    }
}
