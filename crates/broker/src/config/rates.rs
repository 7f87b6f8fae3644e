//! How fast clients may use the broker.

use super::setting::settings;
use super::value::choice;

settings! {
    /// How much clients, and all clients of one address together, may do in a second. What is not set is not limited,
    /// and costs nothing. So much as comes in one second may come at once. docs/limits.md has a table of what
    /// happens at each limit.
    pub struct Rates in [rates] {
        /// Connections that are accepted in a second, by all listeners together. More wait in the system's queue.
        pub connects_total_per_sec: Option<u32> = None, Count(1..=10_000_000);

        /// Connections at once from one address. One more is closed as soon as it is accepted, and counted. An
        /// address of IPv6 stands for its network of 64 bits. Those who come through a
        /// trusted proxy (`proxy_protocol`, `forwarded_for`) count with the address that it names. Connections by a
        /// Unix socket are not counted.
        pub address_connections_max: Option<u32> = None, Count(1..=10_000_000);

        /// Connections in a second from one address. One more is closed as soon as it is accepted, and counted.
        pub address_connects_per_sec: Option<u32> = None, Count(1..=10_000_000);

        /// Messages in a second from one client.
        pub client_messages_per_sec: Option<u32> = None, Count(1..=1_000_000_000);

        /// Bytes in a second from one client, all packets counted.
        pub client_bytes_per_sec: Option<u32> = None, Bytes(1..=4_294_967_295);

        /// Messages in a second from all clients of one address.
        pub address_messages_per_sec: Option<u32> = None, Count(1..=1_000_000_000);

        /// Bytes in a second from all clients of one address.
        pub address_bytes_per_sec: Option<u32> = None, Bytes(1..=4_294_967_295);

        /// What happens to a client that sends more than the rates allow. `pause`: it is not read from until it has
        /// paid off, and its keep alive does not run meanwhile. `refuse`: the messages beyond are dropped, counted, and
        /// refused where that can be said (5.0 from QoS 1 on: 0x97, Quota exceeded; 3.x: see
        /// `policy.v3_denied_publish`). `disconnect`: it is disconnected (5.0: with 0x96, Message rate too high).
        pub exceeded: RateExceeded = RateExceeded::Pause, Choice(RateExceeded::WORDS);

        /// Messages in a second to one client. More wait, as for a client that reads slowly: QoS 0 is dropped beyond
        /// `limits.write_buffer_bytes_max`, and QoS 1 and 2 wait in the session's queue.
        pub client_messages_out_per_sec: Option<u32> = None, Count(1..=1_000_000_000);

        /// Bytes in a second to one client, all packets counted. More wait, as above.
        pub client_bytes_out_per_sec: Option<u32> = None, Bytes(1..=4_294_967_295);

        /// Bytes of the payload of a message. One with more is dropped, counted, and refused as by `exceeded = "refuse"`,
        /// but the connection stays, other than at `limits.packet_bytes_max`. A will with more is refused with its
        /// CONNECT.
        pub payload_bytes_max: Option<u32> = None, Bytes(0..=268_435_455);

        /// Different topics that a client may publish to during a connection. A message on one more is dropped,
        /// counted, and refused as above. Each topic that is remembered costs some 10 bytes.
        pub topics_per_connection_max: Option<u32> = None, Count(1..=10_000_000);
    }
}

impl Rates {
    /// Returns whether addresses have to be remembered.
    pub(crate) fn counts_addresses(&self) -> bool {
        let rates = [
            self.address_connections_max,
            self.address_connects_per_sec,
            self.address_messages_per_sec,
            self.address_bytes_per_sec,
        ];
        rates.iter().any(Option::is_some)
    }

    /// Returns whether what a connection does has to be counted.
    pub(crate) fn bounds_connections(&self) -> bool {
        let rates = [
            self.client_messages_per_sec,
            self.client_bytes_per_sec,
            self.address_messages_per_sec,
            self.address_bytes_per_sec,
            self.client_messages_out_per_sec,
            self.client_bytes_out_per_sec,
            self.topics_per_connection_max,
        ];
        rates.iter().any(Option::is_some)
    }
}

choice! {
    /// What happens to a client that sends more than it may.
    pub enum RateExceeded {
        /// It is not read from for a while.
        Pause = "pause",
        /// Its messages are refused.
        Refuse = "refuse",
        /// It is disconnected.
        Disconnect = "disconnect",
    }
}
