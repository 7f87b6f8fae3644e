//! What a worker does while messages flow: the hot path.

use quelea_codec::{Frame, PacketId, PacketKind, ReasonCode, encode_ack};

use super::arrivals::Arrival;
use super::client::Stage;
use super::flow::Flow;
use super::template::{Reading, Received};
use super::worker::Worker;

impl Worker<'_> {
    /// Handles one packet of the broker.
    #[inline]
    pub(super) fn on_frame(&mut self, index: usize, frame: Frame<'_>, now_ns: u64) {
        match PacketKind::of_first_byte(frame.first_byte) {
            Some(PacketKind::Publish) => self.on_publish(index, frame, now_ns),
            Some(
                kind @ (PacketKind::PubAck
                | PacketKind::PubRec
                | PacketKind::PubRel
                | PacketKind::PubComp),
            ) => self.on_ack(index, kind, frame, now_ns),
            _ => self.on_rare_frame(index, frame, now_ns),
        }
    }

    /// Returns when the next message of an open loop is due, if there is one.
    pub(super) fn next_due_ns(&self) -> Option<u64> {
        let timeline = self.timeline?;
        let flow = self.flows.get(self.turn.flow)?;
        let due_ns = timeline.start_ns + flow.due_ns(self.turn.sequence)?;
        (due_ns < timeline.measure_to_ns).then_some(due_ns)
    }

    /// Sends what is due, and what the windows allow.
    pub(super) fn send_traffic(&mut self) {
        if self.timeline.is_none() {
            self.timeline = self.control.timeline();
            for flow in 0..self.flows.len() {
                self.queue_flow(flow);
            }
        }
        let Some(timeline) = self.timeline else {
            return;
        };
        let now_ns = self.control.now_ns();
        while let Some(due_ns) = self.next_due_ns() {
            if due_ns > now_ns {
                break;
            }
            self.flows[self.turn.flow].on_due();
            self.tally.behind += 1;
            self.queue_flow(self.turn.flow);
            self.turn = self.turn.following(self.flows.len());
        }
        if now_ns < timeline.start_ns {
            return;
        }
        let mut queued = std::mem::take(&mut self.queued);
        for flow in queued.drain(..) {
            self.flows[flow].is_queued = false;
            self.send_flow(flow, now_ns);
        }
        self.queued = queued;
    }

    /// Returns how many deliveries of the messages sent never came.
    pub(super) fn lost(&self) -> u64 {
        let mut is_counted = vec![false; self.arrivals.len()];
        let mut lost = 0;
        for subscription in self.plan.clients.iter().filter_map(|it| it.subscription.as_ref()) {
            for offset in 0..subscription.flow_count {
                let at = (subscription.first_arrivals + offset) as usize;
                let flow = subscription.first_flow + offset - self.plan.first_flow;
                // The members of a group have their arrivals in common.
                if !std::mem::replace(&mut is_counted[at], true) {
                    let sent_count = subscription.share.count(self.sent_count(flow as usize));
                    lost += self.arrivals[at].missing_of(sent_count);
                }
            }
        }
        lost
    }

    /// Returns how many messages of a flow were sent, by us or before.
    fn sent_count(&self, flow: usize) -> u32 {
        let own = self.flows.get(flow).map(Flow::sent_count);
        own.or_else(|| self.plan.sent_before.get(flow).copied()).unwrap_or(0)
    }

    fn send_flow(&mut self, index: usize, now_ns: u64) {
        let Some(timeline) = self.timeline else {
            return;
        };
        let flow = &mut self.flows[index];
        if flow.is_closed() && now_ns >= timeline.measure_to_ns {
            return;
        }
        let client_index = flow.client;
        let client = &mut self.clients[client_index];
        if client.stage != Stage::Ready {
            return;
        }
        let is_acknowledged = flow.is_acknowledged();
        // Whatever ends the loop queues the flow again when it ends itself: a delivery, an acknowledgement,
        // the schedule, or a socket that takes bytes.
        while client.unsent_bytes() < UNSENT_BYTES_MAX && (client.quota > 0 || !is_acknowledged) {
            let Some(stamp) = flow.next_stamp(timeline.start_ns, now_ns) else {
                break;
            };
            flow.send(stamp, &mut client.out);
            if is_acknowledged {
                client.quota -= 1;
                self.tally.acknowledgements_open += 1;
            }
            if !flow.is_closed() {
                self.tally.behind -= 1;
            }
            let is_measured =
                (timeline.measure_from_ns..timeline.measure_to_ns).contains(&stamp.sent_ns);
            self.outcome.published += u64::from(is_measured);
            self.tally.published += 1;
            self.tally.expected += u64::from(flow.receiver_count);
        }
        if client.unsent_bytes() > 0 {
            self.mark_dirty(client_index);
        }
    }

    fn on_publish(&mut self, index: usize, frame: Frame<'_>, now_ns: u64) {
        let subscription = self.plan.clients[index].subscription.as_ref();
        let reading = Reading {
            version: self.settings.version,
            payload: &self.settings.payload,
            epoch_us: self.control.epoch_us,
            flow: subscription.map_or(0, |it| it.first_flow),
        };
        let Some(received) = reading.read(frame.first_byte, frame.body) else {
            // Without its identifier it cannot be acknowledged either.
            self.outcome.foreign += 1;
            return;
        };
        self.count_arrival(index, received, now_ns);
        let kind = match received.qos {
            0 => return,
            1 => PacketKind::PubAck,
            _ => PacketKind::PubRec,
        };
        self.acknowledge(index, kind, received.packet_id);
    }

    fn count_arrival(&mut self, index: usize, received: Received, now_ns: u64) {
        let stamp = received.stamp;
        let subscription = self.plan.clients[index].subscription.as_ref();
        let place = subscription.and_then(|it| {
            let offset = stamp.flow.checked_sub(it.first_flow)?;
            let is_for_it = offset < it.flow_count;
            let place = it.share.place(stamp.sequence).filter(|_| is_for_it)?;
            Some((it.first_arrivals + offset, place, it.is_ordered))
        });
        let Some((at, place, is_ordered)) = place else {
            self.outcome.foreign += 1;
            return;
        };
        let flow_index = (stamp.flow - self.plan.first_flow) as usize;
        if stamp.sequence >= self.sent_count(flow_index) {
            self.outcome.foreign += 1;
            return;
        }
        match self.arrivals[at as usize].on_message(place) {
            Arrival::Ahead => {}
            Arrival::Late => self.outcome.reordered += u64::from(is_ordered),
            Arrival::Duplicate => {
                self.outcome.duplicated += 1;
                return;
            }
        }
        self.tally.delivered += 1;
        let Some(flow) = self.flows.get_mut(flow_index) else {
            return self.note_first_message(index, now_ns);
        };
        if flow.on_delivery(stamp.sequence) {
            self.queue_flow(flow_index);
        }
        let latency_ns = now_ns.saturating_sub(stamp.sent_ns);
        if self.is_measured(stamp.sent_ns) {
            self.outcome.latency.record_ns(latency_ns);
        }
        if let Some(timeline) = self.timeline {
            self.outcome.series.record(now_ns.saturating_sub(timeline.start_ns), latency_ns);
        }
    }

    fn note_first_message(&mut self, index: usize, now_ns: u64) {
        let client = &mut self.clients[index];
        if !std::mem::replace(&mut client.has_received, true) {
            let waited_ns = now_ns.saturating_sub(client.began_ns);
            self.outcome.first_message.record_ns(waited_ns);
        }
    }

    /// Returns whether a message that was sent, or was to be sent, at `sent_ns` belongs to the measurement.
    fn is_measured(&self, sent_ns: u64) -> bool {
        self.timeline.is_some_and(|it| (it.measure_from_ns..it.measure_to_ns).contains(&sent_ns))
    }

    fn on_ack(&mut self, index: usize, kind: PacketKind, frame: Frame<'_>, now_ns: u64) {
        let Some((packet_id, rest)) = frame.body.split_first_chunk() else {
            return self.lose(index, "the broker sent an acknowledgement without identifier");
        };
        let packet_id = u16::from_be_bytes(*packet_id);
        let reason = ReasonCode(rest.first().copied().unwrap_or(0));
        match kind {
            PacketKind::PubRel => self.acknowledge(index, PacketKind::PubComp, packet_id),
            PacketKind::PubRec if !reason.is_failure() => {
                self.acknowledge(index, PacketKind::PubRel, packet_id);
            }
            _ => self.on_exchange_end(index, kind, (packet_id, reason), now_ns),
        }
    }

    fn on_exchange_end(
        &mut self,
        index: usize,
        kind: PacketKind,
        (packet_id, reason): (u16, ReasonCode),
        now_ns: u64,
    ) {
        let flow = self.sends[index].start;
        let own = self.flows.get_mut(flow).filter(|it| it.client == index);
        let Some(sent_ns) = own.and_then(|it| it.on_acknowledgement(packet_id)) else {
            self.outcome.stray += 1;
            return;
        };
        self.tally.acknowledged += 1;
        if self.is_measured(sent_ns) {
            self.outcome.acknowledging.record_ns(now_ns.saturating_sub(sent_ns));
        }
        if reason.is_failure() {
            self.outcome.refused_publishes += 1;
            self.note_failure(&format!("publish refused with {} {reason}", kind.name()));
        }
        self.clients[index].quota += 1;
        self.tally.acknowledgements_open -= 1;
        // Its quota has grown, even if its window has not.
        self.queue_flow(flow);
    }

    fn acknowledge(&mut self, index: usize, kind: PacketKind, packet_id: u16) {
        let Some(packet_id) = PacketId::new(packet_id) else {
            return self.lose(index, "the broker sent packet identifier 0");
        };
        let out = &mut self.clients[index].out;
        encode_ack(kind, packet_id, ReasonCode::SUCCESS, None, self.settings.version, out);
        self.mark_dirty(index);
    }
}

/// Unsent bytes of a publisher above which it waits for its socket.
pub(super) const UNSENT_BYTES_MAX: usize = 1 << 20;
