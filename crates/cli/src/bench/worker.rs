//! A thread of the generator: its connections, and the loop that serves them.
//!
//! One turn of the loop waits, reads every ready socket, sends what windows and schedule allow, and writes
//! each connection's bytes once. `handshake` has what happens before the traffic, `traffic` the traffic.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use mio::event::Event;
use mio::{Events, Poll, Token, Waker};
use quelea_codec::{
    Disconnect, DisconnectProperties, Framing, Packet, ReasonCode, Version, next_frame,
};

use super::alarm::Alarm;
use super::arrivals::Arrivals;
use super::client::{Client, ReadOutcome, Stage};
use super::control::{Control, Gauges, Timeline};
use super::flow::{Flow, FlowSettings};
use super::latency::Latency;
use super::pacing::Turn;
use super::plan::{Stream, WorkerPlan};
use super::series::Series;
use super::template::Payload;
use super::traffic::UNSENT_BYTES_MAX;
use crate::way::Way;

/// What all workers of a run have in common.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    /// The broker.
    pub address: SocketAddr,
    /// What lies between a connection and MQTT.
    pub way: Way,
    /// Version of all connections.
    pub version: Version,
    /// User name and password of all connections.
    pub username: Option<String>,
    pub password: Option<String>,
    /// QoS of subscriptions.
    pub subscription_qos: quelea_codec::QoS,
    /// What the messages say.
    pub payload: Payload,
    /// Clean Start or Clean Session of subscribers.
    pub clean_start: bool,
    /// Session Expiry Interval of subscribers, in 5.0.
    pub session_expiry_secs: Option<u32>,
    /// Handshakes that a worker has open at once.
    pub handshakes_max: usize,
    /// Connections a second that a worker begins, or as many as the handshakes allow.
    pub connect_rate: Option<f64>,
    /// How long that rate takes to grow, from nothing.
    pub connect_ramp: Duration,
    /// Messages of a flow.
    pub messages_max: u32,
    /// What those do that subscribe.
    pub reception: Reception,
}

/// What a subscriber does when it is connected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reception {
    /// It subscribes, and stays.
    Subscribe,
    /// It subscribes, and leaves.
    Visit,
    /// It has subscribed earlier, and stays.
    Return,
}

/// One thread's part of a run.
#[derive(Debug)]
pub(crate) struct Worker<'a> {
    pub(super) plan: &'a WorkerPlan,
    pub(super) settings: &'a Settings,
    pub(super) control: &'a Control,
    pub(super) poll: Poll,
    pub(super) clients: Vec<Client>,
    pub(super) flows: Vec<Flow>,
    /// For each client, the flows that it sends.
    pub(super) sends: Vec<Range<usize>>,
    pub(super) arrivals: Vec<Arrivals>,
    pub(super) timeline: Option<Timeline>,
    /// Next message of an open loop.
    pub(super) turn: Turn,
    /// The first client that has not begun to connect.
    pub(super) next_connect: usize,
    pub(super) handshakes_open: usize,
    /// Half the shortest keep alive that the broker has asked for.
    pub(super) ping_every_ns: Option<u64>,
    pub(super) tally: Tally,
    pub(super) outcome: Outcome,
    gauges: &'a Gauges,
    alarm: Alarm,
    alarm_at_ns: u64,
    next_ping_ns: u64,
    buffer: Vec<u8>,
    /// Clients with something to send, with something to read, and flows that may send.
    dirty: Vec<usize>,
    unread: Vec<usize>,
    /// Empty: the other half of `unread`, which grows while it is worked through.
    reading: Vec<usize>,
    pub(super) queued: Vec<usize>,
}

/// Sums that the gauges show.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    pub(super) settled: u64,
    pub(super) failed: u64,
    pub(super) published: u64,
    pub(super) delivered: u64,
    pub(super) acknowledged: u64,
    /// Deliveries that the messages sent so far make.
    pub(super) expected: u64,
    pub(super) acknowledgements_open: u64,
    pub(super) behind: u64,
}

/// What a worker has to report.
#[derive(Debug)]
pub(crate) struct Outcome {
    /// Whose figures these are.
    pub stream: Stream,
    /// Connections that became ready.
    pub accepted: u32,
    /// Connections that failed before.
    pub refused: u32,
    /// Of these, the ones that were told why, in CONNACK.
    pub refused_by_connack: u32,
    /// From the beginning of a connection to its CONNACK.
    pub connack: Latency,
    /// From sending, or from the intended time, to arrival, of the messages of the measurement.
    pub latency: Latency,
    /// The same of all messages, by the time of arrival.
    pub series: Series,
    /// From sending, or from the intended time, to the end of the exchange, of the measured messages.
    pub acknowledging: Latency,
    /// From the beginning of a connection to its first message, of those that return.
    pub first_message: Latency,
    /// Sessions that were there when their clients returned.
    pub present: u32,
    /// Messages of each flow in the whole run.
    pub sent: Vec<u32>,
    /// Messages of the measurement.
    pub published: u64,
    /// First arrivals in the whole run.
    pub delivered: u64,
    /// Deliveries that never came.
    pub lost: u64,
    /// Second arrivals.
    pub duplicated: u64,
    /// Arrivals after a later message of the same flow, where order is promised.
    pub reordered: u64,
    /// Messages that are not of this run, or came to the wrong receiver.
    pub foreign: u64,
    /// Acknowledgements of nothing.
    pub stray: u64,
    /// Publishes that the broker has refused.
    pub refused_publishes: u64,
    /// The smallest Receive Maximum that a publisher has to keep.
    pub receive_maximum: Option<u16>,
    /// Reasons of failed connections and refused publishes, with their counts.
    pub failures: BTreeMap<String, u32>,
}

impl<'a> Worker<'a> {
    /// Prepares the worker of `plan`, and returns it with what wakes it.
    ///
    /// # Errors
    ///
    /// Those of the poll.
    pub(crate) fn new(
        plan: &'a WorkerPlan,
        settings: &'a Settings,
        control: &'a Control,
        gauges: &'a Gauges,
    ) -> io::Result<(Self, Arc<Waker>)> {
        let poll = Poll::new()?;
        let waker = Arc::new(Waker::new(poll.registry(), WAKER)?);
        let alarm = Alarm::new(&poll, ALARM)?;
        let flow_settings = FlowSettings {
            version: settings.version,
            payload: &settings.payload,
            epoch_us: control.epoch_us,
            messages_max: settings.messages_max,
        };
        let flows: Vec<Flow> = (plan.first_flow..)
            .zip(&plan.flows)
            .map(|(number, flow)| Flow::new(flow, number, flow_settings))
            .collect();
        let mut worker = Self {
            plan,
            settings,
            control,
            poll,
            clients: plan.clients.iter().map(|_| Client::new()).collect(),
            sends: flows_of_clients(plan),
            flows,
            arrivals: (0..plan.arrivals_count).map(|_| Arrivals::default()).collect(),
            timeline: None,
            turn: Turn::default(),
            next_connect: 0,
            handshakes_open: 0,
            ping_every_ns: None,
            tally: Tally::default(),
            outcome: Outcome::new(plan.stream),
            gauges,
            alarm,
            alarm_at_ns: u64::MAX,
            next_ping_ns: 0,
            buffer: vec![0; BUFFER_BYTES + 2 * settings.payload.bytes_max()],
            dirty: Vec::new(),
            unread: Vec::new(),
            reading: Vec::new(),
            queued: Vec::new(),
        };
        // What was sent before is all still to come.
        worker.tally.expected = worker.lost();
        Ok((worker, waker))
    }

    /// Connects, takes part in the traffic once there is a timeline, and ends when told to stop.
    ///
    /// # Errors
    ///
    /// Those of the poll. What goes wrong with a connection is in the outcome.
    pub(crate) fn run(mut self) -> io::Result<Outcome> {
        let mut events = Events::with_capacity(EVENTS_MAX);
        self.begin_connections();
        while !self.control.is_stopped() {
            let timeout = self.timeout()?;
            match self.poll.poll(&mut events, Some(timeout)) {
                Err(error) if error.kind() != io::ErrorKind::Interrupted => return Err(error),
                Ok(()) | Err(_) => {}
            }
            for event in &events {
                self.on_event(event);
            }
            self.read_all();
            self.begin_connections();
            self.ping_if_due();
            self.send_traffic();
            self.flush_all();
            self.show();
        }
        Ok(self.finish())
    }

    pub(super) fn mark_dirty(&mut self, index: usize) {
        if !std::mem::replace(&mut self.clients[index].is_dirty, true) {
            self.dirty.push(index);
        }
    }

    pub(super) fn queue_flow(&mut self, index: usize) {
        if !std::mem::replace(&mut self.flows[index].is_queued, true) {
            self.queued.push(index);
        }
    }

    /// Notes that connection `index` has failed, and why.
    #[cold]
    pub(super) fn lose(&mut self, index: usize, why: &str) {
        let stage = self.clients[index].stage;
        if stage == Stage::Gone {
            return;
        }
        if stage != Stage::Ready {
            self.outcome.refused += 1;
            self.tally.settled += 1;
            self.handshakes_open -= 1;
        }
        self.tally.failed += 1;
        self.note_failure(why);
        self.clients[index].close();
    }

    pub(super) fn note_failure(&mut self, why: &str) {
        let count = self.outcome.failures.entry(why.to_owned()).or_insert(0);
        *count += 1;
    }

    fn on_event(&mut self, event: &Event) {
        let index = event.token().0;
        let Some(client) = self.clients.get_mut(index) else {
            return;
        };
        let has_more = event.is_readable() || event.is_read_closed() || event.is_error();
        client.is_read_closed |= event.is_read_closed() || event.is_error();
        if client.stage == Stage::Connecting {
            self.on_connect_event(index);
        } else if event.is_writable() {
            client.on_writable();
            if client.unsent_bytes() > 0 {
                self.mark_dirty(index);
                for flow in self.sends[index].clone() {
                    self.queue_flow(flow);
                }
            }
        }
        if has_more {
            self.mark_unread(index);
        }
    }

    fn mark_unread(&mut self, index: usize) {
        if !std::mem::replace(&mut self.clients[index].is_unread, true) {
            self.unread.push(index);
        }
    }

    /// Reads once from each connection that has something; those that may have more stay in the list.
    fn read_all(&mut self) {
        let mut reading = std::mem::take(&mut self.reading);
        std::mem::swap(&mut reading, &mut self.unread);
        for index in reading.drain(..) {
            self.clients[index].is_unread = false;
            self.read(index);
        }
        self.reading = reading;
    }

    fn flush_all(&mut self) {
        let mut dirty = std::mem::take(&mut self.dirty);
        for index in dirty.drain(..) {
            self.clients[index].is_dirty = false;
            let was_full = self.clients[index].unsent_bytes() >= UNSENT_BYTES_MAX;
            if let Err(error) = self.clients[index].flush() {
                self.lose(index, &format!("write failed: {error}"));
            }
            if was_full && self.clients[index].unsent_bytes() < UNSENT_BYTES_MAX {
                // Flows that found no room have nothing else to wait for.
                for flow in self.sends[index].clone() {
                    self.queue_flow(flow);
                }
            }
        }
        self.dirty = dirty;
    }

    fn read(&mut self, index: usize) {
        let mut buffer = std::mem::take(&mut self.buffer);
        match self.clients[index].read(&mut buffer) {
            Ok(ReadOutcome::Drained(length)) => self.on_bytes(index, &buffer[..length]),
            Ok(ReadOutcome::MayHaveMore(length)) => {
                self.mark_unread(index);
                self.on_bytes(index, &buffer[..length]);
            }
            Ok(ReadOutcome::Closed) if self.clients[index].stage == Stage::Leaving => {
                self.on_left(index);
            }
            Ok(ReadOutcome::Closed) => self.lose(index, "closed by the broker, without a word"),
            Err(error) => self.lose(index, &format!("read failed: {error}")),
        }
        self.buffer = buffer;
    }

    fn on_bytes(&mut self, index: usize, bytes: &[u8]) {
        let now_ns = self.control.now_ns();
        let packet_bytes_max = self.buffer_bytes() as u32;
        let mut rest = bytes;
        while self.clients[index].stage != Stage::Gone {
            match next_frame(rest, packet_bytes_max) {
                Ok(Framing::Complete { frame, consumed }) => {
                    self.on_frame(index, frame, now_ns);
                    rest = &rest[consumed..];
                }
                Ok(Framing::Incomplete { .. }) => break,
                Err(error) => self.lose(index, &format!("the broker sent no packet: {error}")),
            }
        }
        self.clients[index].keep(rest);
    }

    /// The size of the read buffer, also while it is lent.
    fn buffer_bytes(&self) -> usize {
        BUFFER_BYTES + 2 * self.settings.payload.bytes_max()
    }

    /// Returns how long the poll may wait.
    fn timeout(&mut self) -> io::Result<Duration> {
        if !self.unread.is_empty() {
            return Ok(Duration::ZERO);
        }
        let due_ns = [self.next_connect_ns(), self.next_due_ns()].into_iter().flatten().min();
        let Some(due_ns) = due_ns else {
            return Ok(IDLE_WAIT);
        };
        let delay = Duration::from_nanos(due_ns.saturating_sub(self.control.now_ns()));
        if delay.is_zero() || delay > IDLE_WAIT {
            return Ok(delay.min(IDLE_WAIT));
        }
        if self.alarm_at_ns != due_ns {
            self.alarm_at_ns = due_ns;
            return self.alarm.set(delay);
        }
        Ok(IDLE_WAIT)
    }

    fn ping_if_due(&mut self) {
        let Some(every_ns) = self.ping_every_ns else {
            return;
        };
        let now_ns = self.control.now_ns();
        if self.next_ping_ns == 0 {
            self.next_ping_ns = now_ns + every_ns;
        }
        if now_ns < self.next_ping_ns {
            return;
        }
        self.next_ping_ns = now_ns + every_ns;
        for index in 0..self.clients.len() {
            if self.clients[index].stage == Stage::Ready {
                Packet::PingReq.encode(self.settings.version, &mut self.clients[index].out);
                self.mark_dirty(index);
            }
        }
    }

    fn show(&self) {
        let tally = &self.tally;
        let gauges = self.gauges;
        let deliveries = tally.expected.saturating_sub(tally.delivered);
        gauges.settled.store(tally.settled, Relaxed);
        gauges.failed.store(tally.failed, Relaxed);
        gauges.published.store(tally.published, Relaxed);
        gauges.delivered.store(tally.delivered, Relaxed);
        gauges.acknowledged.store(tally.acknowledged, Relaxed);
        gauges.outstanding.store(deliveries + tally.acknowledgements_open + tally.behind, Relaxed);
    }

    /// Says good-bye, and counts what never came.
    fn finish(mut self) -> Outcome {
        for index in 0..self.clients.len() {
            if self.clients[index].stage == Stage::Ready {
                let farewell = self.farewell(index);
                let client = &mut self.clients[index];
                farewell.encode(self.settings.version, &mut client.out);
                // Whether the broker takes the last bytes changes no figure.
                let _ = client.flush();
            }
        }
        self.outcome.lost = self.lost();
        self.outcome.delivered = self.tally.delivered;
        self.outcome.sent = self.flows.iter().map(Flow::sent_count).collect();
        self.outcome
    }

    /// Returns the DISCONNECT of client `index`. In 5.0 it ends a session that was to outlive it.
    fn farewell(&self, index: usize) -> Packet<'static> {
        let is_kept = self.plan.clients[index].subscription.is_some()
            && self.settings.session_expiry_secs.is_some_and(|it| it > 0);
        let properties = DisconnectProperties {
            session_expiry_secs: is_kept.then_some(0),
            ..DisconnectProperties::default()
        };
        Packet::Disconnect(Disconnect { reason: ReasonCode::NORMAL_DISCONNECTION, properties })
    }
}

impl Outcome {
    fn new(stream: Stream) -> Self {
        Self {
            stream,
            accepted: 0,
            refused: 0,
            refused_by_connack: 0,
            connack: Latency::new(),
            latency: Latency::new(),
            series: Series::new(),
            acknowledging: Latency::new(),
            first_message: Latency::new(),
            present: 0,
            sent: Vec::new(),
            published: 0,
            delivered: 0,
            lost: 0,
            duplicated: 0,
            reordered: 0,
            foreign: 0,
            stray: 0,
            refused_publishes: 0,
            receive_maximum: None,
            failures: BTreeMap::new(),
        }
    }
}

/// Returns for each client the flows that it sends, which follow each other in the plan.
fn flows_of_clients(plan: &WorkerPlan) -> Vec<Range<usize>> {
    let mut sends = vec![0..0; plan.clients.len()];
    for (index, flow) in plan.flows.iter().enumerate() {
        let range = &mut sends[flow.client];
        if range.start == range.end {
            *range = index..index;
        }
        range.end = index + 1;
    }
    sends
}

const WAKER: Token = Token(usize::MAX);
const ALARM: Token = Token(usize::MAX - 1);

/// Events of one turn.
const EVENTS_MAX: usize = 1_024;

/// One read, at least.
const BUFFER_BYTES: usize = 256 * 1_024;

/// How long a worker waits when nothing is due; the waker ends the wait.
const IDLE_WAIT: Duration = Duration::from_millis(100);
