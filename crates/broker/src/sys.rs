//! The broker's statistics, under the names that Mosquitto's users know.

use std::time::Duration;

use quelea_store::Statistics;

use crate::clock::Clock;
use crate::counters::Totals;
use crate::shard::Shared;

/// Turns counters into topics and values.
pub(crate) struct Reporter {
    clock: Clock,
    last: Duration,
    before: Totals,
    store_before: Statistics,
    clients_maximum: u64,
    loads: [Load; LOADS.len()],
}

/// Averages over one, five and fifteen minutes, as counts per minute.
#[derive(Clone, Copy, Debug, Default)]
struct Load([f64; 3]);

type Reading = fn(&Totals) -> u64;

impl Reporter {
    pub(crate) fn new() -> Self {
        Self {
            clock: Clock::start(),
            last: Duration::ZERO,
            before: Totals::default(),
            store_before: Statistics::default(),
            clients_maximum: 0,
            loads: [Load::default(); LOADS.len()],
        }
    }

    /// Returns all topics with their values of this moment.
    pub(crate) fn report(&mut self, shared: &Shared) -> Vec<(String, String)> {
        let totals = shared.totals();
        let mut values = Vec::new();
        let mut add =
            |name: &str, value: String| values.push((format!("$SYS/broker/{name}"), value));
        add("version", concat!("quelea version ", env!("CARGO_PKG_VERSION")).to_owned());
        add("uptime", format!("{} seconds", self.clock.elapsed().as_secs()));
        add("subscriptions/count", subscriptions(&totals).to_string());
        add("filters/count", shared.table.filter_count().to_string());
        add("retained messages/count", shared.retained.count().to_string());
        add("retained messages/bytes", shared.retained.bytes().to_string());
        let (messages, bytes) = shared.backlog.size();
        add("queued messages/count", messages.to_string());
        add("queued messages/bytes", bytes.to_string());
        add("store/condition", format!("{:?}", shared.store.condition()).to_lowercase());
        let store = shared.store.statistics();
        add("store/bytes", store.log_bytes.to_string());
        add("store/bytes alive", store.live_bytes.to_string());
        add("store/segments", store.segments.to_string());
        add("store/syncs", store.syncs.to_string());
        let syncs = store.syncs - self.store_before.syncs;
        let micros = store.sync_micros - self.store_before.sync_micros;
        add("store/sync microseconds", (micros / syncs.max(1)).to_string());
        self.store_before = store;
        let refused = shared.connections_refused.load(std::sync::atomic::Ordering::Relaxed);
        add("connections/refused", refused.to_string());
        self.clients_maximum = self.clients_maximum.max(totals.clients_connected);
        let expires_at = shared.entrances.iter().filter_map(|it| it.expires_at()).min();
        if let Some(at) = expires_at {
            let days = at.saturating_sub(self.clock.wall()).as_secs() / 86_400;
            add("tls/days to expiry", days.to_string());
            let refused: u64 = shared.entrances.iter().map(|it| it.refused_files()).sum();
            add("tls/files refused", refused.to_string());
        }
        for (source, name, value) in shared.live.rules().chains.numbers() {
            add(&format!("authentication/{}/{name}", source.as_str()), value.to_string());
        }
        add("clients/maximum", self.clients_maximum.to_string());
        for (name, reading) in COUNTS {
            add(name, reading(&totals).to_string());
        }
        let minutes = (self.clock.elapsed() - self.last).as_secs_f64() / 60.0;
        for (load, (name, reading)) in self.loads.iter_mut().zip(LOADS) {
            load.update(reading(&totals).saturating_sub(reading(&self.before)), minutes);
            for (value, span) in load.0.iter().zip(["1min", "5min", "15min"]) {
                add(&format!("load/{name}/{span}"), format!("{value:.2}"));
            }
        }
        self.before = totals;
        self.last = self.clock.elapsed();
        values
    }
}

impl Load {
    fn update(&mut self, count: u64, minutes: f64) {
        if minutes <= 0.0 {
            return;
        }
        let rate = count as f64 / minutes;
        for (value, span) in self.0.iter_mut().zip([1.0, 5.0, 15.0]) {
            let weight = (-minutes / span).exp();
            *value = rate + weight * (*value - rate);
        }
    }
}

fn subscriptions(totals: &Totals) -> u64 {
    totals.subscriptions_added.saturating_sub(totals.subscriptions_removed)
}

fn dropped(totals: &Totals) -> u64 {
    COUNTS
        .iter()
        .filter(|(name, _)| name.starts_with("dropped/"))
        .map(|(_, reading)| reading(totals))
        .sum()
}

const COUNTS: &[(&str, Reading)] = &[
    ("clients/connected", |it| it.clients_connected),
    ("clients/active", |it| it.clients_connected),
    ("clients/disconnected", |it| it.clients_disconnected),
    ("clients/inactive", |it| it.clients_disconnected),
    ("clients/total", |it| it.clients_connected + it.clients_disconnected),
    ("clients/expired", |it| it.sessions_expired),
    ("clients/ended by full queue", |it| it.sessions_ended_by_limit),
    ("clients/shed", |it| it.clients_shed),
    ("clients/ended by rate", |it| it.clients_ended_by_rate),
    ("clients/paused by rate", |it| it.rate_pauses),
    ("connections/opened", |it| it.connections_opened),
    ("connections/closed", |it| it.connections_closed),
    ("connects/refused", |it| it.connects_refused),
    ("connects/refused busy", |it| it.connects_refused_busy),
    ("protocol errors", |it| it.protocol_errors),
    ("transport errors", |it| it.transport_errors),
    ("tls/handshakes", |it| it.tls_handshakes),
    ("messages/received", |it| it.packets_received),
    ("publish/messages/received", |it| it.publishes_received),
    ("publish/messages/sent", |it| it.publishes_sent),
    ("publish/messages/dropped", dropped),
    ("publish/bytes/received", |it| it.publish_bytes_received),
    ("bytes/received", |it| it.bytes_received),
    ("bytes/sent", |it| it.bytes_sent),
    ("wills/published", |it| it.wills_published),
    ("subscriptions/denied", |it| it.subscriptions_denied),
    ("unmatched", |it| it.unmatched),
    ("turns", |it| it.turns),
    ("turns/assisted", |it| it.turns_assisted),
    ("turns/longest microseconds", |it| it.longest_turn_micros),
    ("dropped/expired", |it| it.dropped_expired),
    ("dropped/queue-full", |it| it.dropped_queue_full),
    ("dropped/packet-too-large", |it| it.dropped_packet_too_large),
    ("dropped/slow-reader", |it| it.dropped_slow_reader),
    ("dropped/not-connected", |it| it.dropped_not_connected),
    ("dropped/not-authorized", |it| it.dropped_not_authorized),
    ("dropped/denied", |it| it.dropped_denied),
    ("dropped/over-limit", |it| it.dropped_over_limit),
    ("dropped/session-ended", |it| it.dropped_session_ended),
    ("dropped/retained-limit", |it| it.dropped_retained_limit),
    ("dropped/no-member", |it| it.dropped_no_member),
    ("dropped/no-space", |it| it.dropped_no_space),
];

const LOADS: [(&str, Reading); 6] = [
    ("messages/received", |it| it.packets_received),
    ("publish/received", |it| it.publishes_received),
    ("publish/sent", |it| it.publishes_sent),
    ("publish/dropped", dropped),
    ("bytes/received", |it| it.bytes_received),
    ("bytes/sent", |it| it.bytes_sent),
];
