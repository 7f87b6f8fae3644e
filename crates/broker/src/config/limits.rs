//! How much clients may use. Every bound that a user may set stands here, with what happens there.

use super::setting::settings;
use super::value::choice;

settings! {
    /// The bounds that the broker keeps its clients within.
    pub struct Limits in [limits] {
        /// Client connections at once. One more is closed as soon as it is accepted, and counted. The system's
        /// limit of open files may lie lower; the broker raises its soft limit as far as it may, and says at
        /// start how many connections fit.
        pub connections_max: u32 = 100_000, Count(1..=10_000_000);

        /// Time from the connection to a complete CONNECT. A connection that takes longer is closed.
        pub connect_timeout_secs: u32 = 10, Secs(1..=600);

        /// Bytes that a connection may send before its CONNECT has been answered. A connection that sends more
        /// is not read from until the answer is out; a CONNECT packet that is larger is refused. By default there
        /// is room for a CONNECT with a will and every field at its longest.
        pub before_connack_bytes_max: u32 = 524_288, Bytes(1_024..=268_435_460);

        /// Size of one packet from a client, announced to MQTT 5.0 clients as Maximum Packet Size. A larger one
        /// closes the connection (5.0: with 0x95, Packet too large) before any of its content is kept.
        pub packet_bytes_max: u32 = 10_485_760, Bytes(1_024..=268_435_460);

        /// QoS 1 and QoS 2 messages that a client may have unacknowledged on their way to the broker, announced
        /// to MQTT 5.0 clients as Receive Maximum. A 5.0 client that sends more is disconnected with 0x93.
        pub receive_maximum: u16 = 1_000, Count(1..=65_535);

        /// QoS 1 and QoS 2 messages in flight to one client; its own Receive Maximum may lower it. More wait in
        /// the queue of the session.
        pub send_window_max: u16 = 65_535, Count(1..=65_535);

        /// Topic aliases that an MQTT 5.0 client may define, announced as Topic Alias Maximum. One beyond it
        /// closes the connection with 0x94. 0 allows none.
        pub topic_alias_max: u16 = 32, Count(0..=65_535);

        /// Topic aliases that the broker defines towards an MQTT 5.0 client that allows them. The least used one
        /// gives way to a new one. 0 uses none.
        pub topic_alias_out_max: u16 = 32, Count(0..=65_535);

        /// Messages that wait for one session. At the limit `queue_overflow` decides.
        pub queued_messages_max: u32 = 10_000, Count(0..=100_000_000);

        /// Bytes of the messages that wait for one session. At the limit `queue_overflow` decides.
        pub queued_bytes_max: u64 = 67_108_864, Bytes(0..=1_099_511_627_776);

        /// Messages that wait for all durable sessions together. At the limit the message that arrives is
        /// rejected, and counted under `$SYS/broker/dropped`; with `queue_overflow = "end-session"` the session
        /// that it is for ends, if its client is away. A message costs some 20 bytes of memory for each session
        /// that it waits for; the rest of it is on the disk.
        pub queued_messages_total_max: u64 = 100_000_000, Count(0..=10_000_000_000);

        /// Bytes of the messages that wait for all durable sessions together, each counted for each session that it
        /// waits for. At the limit as for `queued_messages_total_max`.
        pub queued_bytes_total_max: u64 = 68_719_476_736, Bytes(0..=1_099_511_627_776_000);

        /// What gives way when the queue of a session is full: the message that arrives (`reject-newest`), the
        /// one that has waited longest and has not been sent (`drop-oldest`), or the session, with all that it
        /// has, if its client is away (`end-session`; if its client is there, the message that arrives). A
        /// publisher whose message is rejected by every receiver gets 0x97 (5.0; 3.x: see
        /// `policy.v3_queues_full`). All that is dropped is counted under `$SYS/broker/dropped`.
        pub queue_overflow: QueueOverflow = QueueOverflow::RejectNewest, Choice(QueueOverflow::WORDS);

        /// Whether QoS 0 messages are kept for durable sessions whose client is away. They count, and give way,
        /// like those of QoS 1 and 2. If not, they are not for who is not there.
        pub queue_qos0_offline: bool = false, Switch;

        /// Bytes that wait to be written to one connection. Beyond it QoS 0 messages for that client are dropped
        /// and counted, and QoS 1 and 2 wait in the session's queue.
        pub write_buffer_bytes_max: u32 = 1_048_576, Bytes(4_096..=1_073_741_824);

        /// Sessions, connected or not. A client that would need a new one is refused (5.0: 0x97, Quota exceeded;
        /// 3.x: return code 3).
        pub sessions_max: u32 = 1_000_000, Count(1..=1_000_000_000);

        /// Subscriptions of one session. One more is refused in SUBACK (5.0: 0x97, Quota exceeded; 3.1.1: 0x80).
        pub subscriptions_per_session_max: u32 = 1_000_000, Count(1..=100_000_000);

        /// Levels of a topic filter, which are separated by `/`. A deeper filter is refused in SUBACK (5.0: 0x8F,
        /// Topic Filter invalid; 3.1.1: 0x80).
        pub filter_levels_max: u16 = 256, Count(1..=65_535);

        /// Levels of a topic name. A message on a deeper topic is dropped, counted, and refused where that can be
        /// said (5.0 from QoS 1 on: 0x90, Topic Name invalid; 3.x: see `v3_denied_publish`).
        pub topic_levels_max: u16 = 256, Count(1..=65_535);

        /// Retained messages in all. The next one on a topic that has none is not retained, though it is
        /// delivered, and counted under `$SYS/broker/dropped`.
        pub retained_messages_max: u64 = 10_000_000, Count(0..=10_000_000_000);

        /// Bytes of all retained messages. The next one that adds to them is not retained, though it is
        /// delivered, and counted under `$SYS/broker/dropped`.
        pub retained_bytes_max: u64 = 4_294_967_296, Bytes(0..=1_099_511_627_776_000);

        /// The longest keep alive. An MQTT 5.0 client that asks for a longer one, or none, is told this (Server Keep
        /// Alive); one of MQTT 3.x, which cannot be told, keeps its own. 0 leaves the choice to all clients.
        pub keep_alive_max_secs: u16 = 0, Secs(0..=65_535);

        /// The longest time that a session outlives its connection. An MQTT 5.0 client that asks for longer is
        /// told in CONNACK.
        pub session_expiry_max_secs: u32 = u32::MAX, Secs(0..=4_294_967_295);

        /// How long the session of an MQTT 3.x client that connects with Clean Session 0 outlives its connection;
        /// those versions cannot say it. `session_expiry_max_secs` bounds it too.
        pub v3_session_expiry_secs: u32 = u32::MAX, Secs(0..=4_294_967_295);

        /// The highest QoS of messages to the broker. A client that uses a higher one is disconnected (5.0: with
        /// 0x9B, QoS not supported); subscriptions are granted no higher one.
        pub qos_max: u8 = 2, Count(0..=2);

        /// Whether messages may be retained. If not, a client that tries is disconnected (5.0: with 0x9A, Retain
        /// not supported).
        pub retain_available: bool = true, Switch;

        /// Whether filters may have `+` and `#`. If not, such a filter is refused in SUBACK (5.0: 0xA2; 3.1.1: 0x80).
        pub wildcard_available: bool = true, Switch;

        /// Whether `$share/group/filter` may be subscribed to. If not, it is refused in SUBACK (5.0: 0x9E; 3.1.1: 0x80).
        pub shared_available: bool = true, Switch;

        /// Whether MQTT 5.0 clients may give identifiers to subscriptions. If not, a SUBSCRIBE with one closes the
        /// connection with 0xA1.
        pub subscription_ids_available: bool = true, Switch;
    }
}

choice! {
    /// What gives way when the queue of a session is full.
    pub enum QueueOverflow {
        /// The message that arrives.
        RejectNewest = "reject-newest",
        /// The one that has waited longest among those never sent.
        DropOldest = "drop-oldest",
        /// The session, if its client is away; otherwise the message that arrives.
        EndSession = "end-session",
    }
}
