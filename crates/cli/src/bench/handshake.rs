//! What a worker does before the traffic: TCP, CONNECT, SUBSCRIBE.
//!
//! Connections begin at a rate, or as soon as one of the open handshakes is done: nothing sleeps.

use mio::Token;
use quelea_codec::{
    ConnAck, Connect, Disconnect, DisconnectProperties, Frame, Packet, PacketId, PacketKind,
    ReasonCode, SubAck, Subscribe, SubscriptionOptions,
};

use super::client::Stage;
use super::pacing::ramped_ns;
use super::worker::{Reception, Worker};

impl Worker<'_> {
    /// Begins the connections whose time has come.
    pub(super) fn begin_connections(&mut self) {
        while self.next_connect < self.clients.len() {
            if self.handshakes_open >= self.settings.handshakes_max {
                return;
            }
            let now_ns = self.control.now_ns();
            let due_ns = self.next_connect_ns().unwrap_or(now_ns);
            if due_ns > now_ns {
                return;
            }
            let index = self.next_connect;
            self.next_connect += 1;
            self.handshakes_open += 1;
            let client = &mut self.clients[index];
            client.began_ns = due_ns;
            let registry = self.poll.registry();
            if let Err(error) = client.connect(self.settings.address, registry, Token(index)) {
                self.lose(index, &format!("connect failed: {error}"));
            }
        }
    }

    /// Returns when the next connection is to begin, if that is a matter of time.
    pub(super) fn next_connect_ns(&self) -> Option<u64> {
        let rate = self.settings.connect_rate?;
        let is_waiting = self.next_connect < self.clients.len()
            && self.handshakes_open < self.settings.handshakes_max;
        let even_ns = self.next_connect as f64 * 1e9 / rate;
        let ramp_ns = self.settings.connect_ramp.as_nanos() as f64;
        is_waiting.then(|| ramped_ns(even_ns, ramp_ns) as u64)
    }

    /// Sends CONNECT when the TCP handshake is done.
    pub(super) fn on_connect_event(&mut self, index: usize) {
        match self.clients[index].finish_connect(&self.settings.way) {
            Ok(false) => {}
            Ok(true) => {
                let plan = &self.plan.clients[index];
                let mut connect = Connect::new(self.settings.version, &plan.client_id);
                connect.username = self.settings.username.as_deref();
                connect.password = self.settings.password.as_deref().map(str::as_bytes);
                if plan.subscription.is_some() {
                    connect.clean_start = self.settings.clean_start;
                    connect.properties.session_expiry_secs = self.settings.session_expiry_secs;
                }
                let client = &mut self.clients[index];
                Packet::Connect(connect).encode(self.settings.version, &mut client.out);
                client.stage = Stage::Greeting;
                self.mark_dirty(index);
            }
            Err(error) => self.lose(index, &format!("connect failed: {error}")),
        }
    }

    /// Handles the packets that are not traffic.
    #[cold]
    pub(super) fn on_rare_frame(&mut self, index: usize, frame: Frame<'_>, now_ns: u64) {
        match Packet::decode(frame, self.settings.version) {
            Ok(Packet::ConnAck(connack)) => self.on_connack(index, connack, now_ns),
            Ok(Packet::SubAck(suback)) => self.on_suback(index, suback),
            Ok(Packet::Disconnect(disconnect)) => self.on_disconnect(index, disconnect),
            Ok(Packet::PingResp) => {}
            Ok(packet) => {
                let name = packet.kind().name();
                self.lose(index, &format!("the broker sent {name}, which is not for a client"));
            }
            Err(error) => {
                let name = PacketKind::of_first_byte(frame.first_byte)
                    .map_or("a packet", PacketKind::name);
                self.lose(index, &format!("the broker sent {name} against the rules: {error}"));
            }
        }
    }

    fn on_connack(&mut self, index: usize, connack: ConnAck<'_>, now_ns: u64) {
        let properties = connack.properties;
        if connack.reason.is_failure() {
            let said = properties.reason_string.map(|it| format!(": {it}")).unwrap_or_default();
            self.outcome.refused_by_connack += 1;
            return self.lose(index, &format!("refused with CONNACK {}{said}", connack.reason));
        }
        if self.clients[index].stage != Stage::Greeting {
            return self.lose(index, "the broker sent a second CONNACK");
        }
        self.outcome.connack.record_ns(now_ns.saturating_sub(self.clients[index].began_ns));
        if let Some(maximum) = properties.receive_maximum {
            self.clients[index].quota = u32::from(maximum.get());
            if !self.sends[index].is_empty() {
                let least = self.outcome.receive_maximum.unwrap_or(u16::MAX);
                self.outcome.receive_maximum = Some(least.min(maximum.get()));
            }
        }
        if let Some(secs) = properties.server_keep_alive_secs.filter(|&it| it > 0) {
            let every_ns = u64::from(secs) * 500_000_000;
            self.ping_every_ns = Some(self.ping_every_ns.unwrap_or(every_ns).min(every_ns));
        }
        if properties.maximum_qos.is_some_and(|it| it < self.settings.subscription_qos) {
            return self.lose(index, "the broker does not offer this QoS");
        }
        if self.settings.reception == Reception::Return {
            // One that is not there leaves its messages missing.
            self.outcome.present += u32::from(connack.session_present);
            return self.on_ready(index);
        }
        self.subscribe(index);
    }

    fn subscribe(&mut self, index: usize) {
        let Some(subscription) = &self.plan.clients[index].subscription else {
            return self.on_ready(index);
        };
        let options = SubscriptionOptions::new(self.settings.subscription_qos);
        let packet_id = PacketId::new(1).expect("it is not 0");
        let filters = [(subscription.filter.as_str(), options)];
        let subscribe = Subscribe::new(packet_id, None, &filters);
        let client = &mut self.clients[index];
        Packet::Subscribe(subscribe).encode(self.settings.version, &mut client.out);
        client.stage = Stage::Subscribing;
        self.mark_dirty(index);
    }

    fn on_suback(&mut self, index: usize, suback: SubAck<'_>) {
        let granted = self.settings.subscription_qos.to_byte();
        match suback.reasons {
            _ if self.clients[index].stage != Stage::Subscribing => {
                self.lose(index, "the broker sent SUBACK for nothing");
            }
            [reason] if *reason == granted => self.on_subscribed(index),
            [reason @ 0..=2] => {
                self.lose(index, &format!("the broker granted QoS {reason} only"));
            }
            [reason] => {
                let reason = ReasonCode(*reason);
                self.lose(index, &format!("subscription refused with SUBACK {reason}"));
            }
            _ => self.lose(index, "the broker sent SUBACK with a wrong number of reasons"),
        }
    }

    fn on_subscribed(&mut self, index: usize) {
        if self.settings.reception != Reception::Visit {
            return self.on_ready(index);
        }
        let client = &mut self.clients[index];
        let disconnect = Disconnect {
            reason: ReasonCode::NORMAL_DISCONNECTION,
            properties: DisconnectProperties::default(),
        };
        Packet::Disconnect(disconnect).encode(self.settings.version, &mut client.out);
        client.stage = Stage::Leaving;
        self.mark_dirty(index);
    }

    /// Notes that the broker has closed the connection of a client that was leaving: its session sleeps.
    pub(super) fn on_left(&mut self, index: usize) {
        self.on_ready(index);
        self.clients[index].close();
    }

    fn on_ready(&mut self, index: usize) {
        self.clients[index].stage = Stage::Ready;
        self.outcome.accepted += 1;
        self.tally.settled += 1;
        self.handshakes_open -= 1;
    }

    fn on_disconnect(&mut self, index: usize, disconnect: Disconnect<'_>) {
        let said = disconnect.properties.reason_string;
        let said = said.map(|it| format!(": {it}")).unwrap_or_default();
        let why = format!("closed by the broker with DISCONNECT {}{said}", disconnect.reason);
        self.lose(index, &why);
    }
}
