//! What is counted. One set per shard, written by its thread alone, summed by whoever reads.

use std::sync::atomic::{AtomicU64, Ordering};

macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// Counts since the start of the broker.
        #[derive(Debug, Default)]
        pub struct Counters {
            $($(#[$doc])* pub $name: Counter,)*
        }

        /// Sums over all shards at one moment.
        #[derive(Clone, Debug, Default, PartialEq, Eq)]
        pub struct Totals {
            $($(#[$doc])* pub $name: u64,)*
        }

        impl Totals {
            /// Adds what `counters` say.
            pub fn add(&mut self, counters: &Counters) {
                $(self.$name = self.$name.wrapping_add(counters.$name.value());)*
            }
        }
    };
}

counters! {
    /// Bytes read from sockets.
    bytes_received,
    /// Bytes written to sockets.
    bytes_sent,
    /// Packets of any kind received.
    packets_received,
    /// PUBLISH packets received.
    publishes_received,
    /// PUBLISH packets written for receivers.
    publishes_sent,
    /// Payload bytes received in PUBLISH packets.
    publish_bytes_received,
    /// Connections that were accepted.
    connections_opened,
    /// Connections that ended.
    connections_closed,
    /// Connections that got past CONNECT.
    connects_accepted,
    /// CONNECT packets that were refused.
    connects_refused,
    /// Of these, those that were refused because the broker had too much to do.
    connects_refused_busy,
    /// Clients disconnected because memory was short.
    clients_shed,
    /// Sessions that began.
    sessions_started,
    /// Sessions that ended.
    sessions_ended,
    /// Sessions that ended because their expiry ran out.
    sessions_expired,
    /// Sessions that ended because their queue was full.
    sessions_ended_by_limit,
    /// Clients with a connection (begun minus ended).
    clients_connected,
    /// Clients without one that left it.
    clients_disconnected,
    /// Subscriptions made.
    subscriptions_added,
    /// Subscriptions ended.
    subscriptions_removed,
    /// Subscriptions that the rules did not allow.
    subscriptions_denied,
    /// Wills published.
    wills_published,
    /// Messages that nobody was subscribed to.
    unmatched,
    /// Connections closed because the peer broke the protocol.
    protocol_errors,
    /// Connections closed because the peer broke the rules of what lies below MQTT, as TLS.
    transport_errors,
    /// TLS handshakes that came to their end, good or bad.
    tls_handshakes,
    /// Times that a client was not read from, because it had sent more than a rate allows.
    rate_pauses,
    /// Clients disconnected because they had sent more than a rate allows.
    clients_ended_by_rate,
    /// Turns of the shard's loop.
    turns,
    /// Turns run by another shard's thread while this shard slept.
    turns_assisted,
    /// Longest turn, microseconds. Not a sum: the reader takes what it needs.
    longest_turn_micros,
    /// Drops: the message expired before it could be sent.
    dropped_expired,
    /// Drops: the session's queue was full.
    dropped_queue_full,
    /// Drops: the packet would exceed the receiver's Maximum Packet Size.
    dropped_packet_too_large,
    /// Drops: QoS 0 to a receiver that does not read.
    dropped_slow_reader,
    /// Drops: QoS 0 to a session without a connection.
    dropped_not_connected,
    /// Drops: publishes that the publisher was not allowed to make.
    dropped_not_authorized,
    /// Drops: messages that their receiver may not have.
    dropped_denied,
    /// Drops: messages beyond a rate, with too large a payload, or on a topic too many.
    dropped_over_limit,
    /// Drops: the session ended before the store had the message.
    dropped_session_ended,
    /// Drops: retained messages beyond the limit.
    dropped_retained_limit,
    /// Drops: the disk was full.
    dropped_no_space,
    /// Drops: messages of a shared group without a member that could take them.
    dropped_no_member,
}

/// A number with one writer.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Adds `n`. Only the thread that holds the shard may call this.
    #[inline]
    pub fn add(&self, n: u64) {
        self.0.store(self.0.load(Ordering::Relaxed).wrapping_add(n), Ordering::Relaxed);
    }

    /// Keeps the greatest of what was offered.
    pub fn raise(&self, to: u64) {
        if to > self.value() {
            self.0.store(to, Ordering::Relaxed);
        }
    }

    /// Returns the current value.
    pub fn value(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}
