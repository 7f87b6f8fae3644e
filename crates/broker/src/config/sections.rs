//! The smaller tables of the configuration file.

use std::path::PathBuf;

use super::setting::settings;
use super::value::choice;

settings! {
    /// The broker's own topics, `$SYS/broker/…`.
    pub struct Sys in [sys] {
        /// Time between two publications of the statistics under `$SYS/broker`. 0 publishes none.
        pub interval_secs: u32 = 10, Secs(0..=86_400);
    }
}

settings! {
    /// What is logged, to standard error.
    pub struct Log in [log] {
        /// The least important messages that are logged: `error`, `warn`, `info`, `debug` or `trace`, or `off`.
        /// Also levels by module, as `info,quelea_broker::net=debug`. Client data is logged at `debug` and below only.
        pub level: String = "info".to_owned(), Text;

        /// How lines are written: for people (`human`), or a JSON object a line (`json`).
        pub format: LogFormat = LogFormat::Human, Choice(LogFormat::WORDS);

        /// Lines that wait to be written. Beyond it lines are dropped, so that a slow terminal or pipe never
        /// stops the broker; how many is logged as soon as there is room.
        pub queued_lines_max: u32 = 10_000, Count(1..=10_000_000);
    }
}

settings! {
    /// Where sessions, queued messages and retained messages are kept.
    pub struct Store in [store] {
        /// The directory of the durable log, which is made if it is not there. A relative path begins at the working
        /// directory. A broker that finds another one using it does not start.
        pub data_dir: PathBuf = PathBuf::from("quelea-data"), Path;

        /// What an acknowledgement promises. `fsync`: that the disk has it, so that it outlives everything but the
        /// disk. `interval`: that the system has it, which outlives the end of the broker, but not that of the
        /// machine; the disk has it `interval_millis` later. `memory`: only that the broker has it; nothing is
        /// written, and everything is gone when the broker stops.
        pub durability: Durability = Durability::Fsync, Choice(Durability::WORDS);

        /// With the durability `interval`: the longest time between a write and the fsync that makes it safe.
        pub interval_millis: u32 = 100, Millis(1..=60_000);

        /// Size of a file of the log. Space comes back in whole files: small ones give it back sooner, large ones
        /// cost less to change over. A message that is larger than a file gets a larger file.
        pub segment_bytes: u64 = 16_777_216, Bytes(65_536..=1_073_741_824);

        /// Bytes of the disk that the log uses at most, at least six times `segment_bytes`. At the limit all is as on
        /// a full disk: messages that have to be kept are refused (5.0: 0x97, Quota exceeded; 3.x: not
        /// acknowledged), while acknowledgements and ends of sessions are taken, until there is room again. Unset,
        /// the disk is the limit.
        pub disk_bytes_max: Option<u64> = None, Bytes(393_216..=1_099_511_627_776_000);

        /// How many times larger than what it holds the log grows before its oldest file is cleaned: what is
        /// alive in it is written anew, and its space is free again. Lower values save disk, and write more.
        pub cleaning_ratio: u32 = 3, Count(2..=100);

        /// Bytes that the log may have beyond `cleaning_ratio`, so that a small log is not cleaned for nothing.
        pub cleaning_slack_bytes: u64 = 67_108_864, Bytes(0..=1_099_511_627_776);

        /// After a restart, clients that were connected have so much longer to come back: only then do the delays
        /// of their wills and the expiries of their sessions begin.
        pub restart_grace_secs: u32 = 30, Secs(0..=86_400);
    }
}

impl Store {
    /// Returns whether everything is kept in memory only.
    pub fn is_in_memory(&self) -> bool {
        self.durability == Durability::Memory
    }
}

settings! {
    /// What happens when the broker is told to stop.
    pub struct Stop in [stop] {
        /// Whether the wills of clients that are connected at a graceful stop are published.
        pub publish_wills: bool = false, Switch;

        /// Time that clients are given to take what is already on its way to them. Then the broker stops all
        /// the same.
        pub flush_timeout_secs: u32 = 5, Secs(0..=600);
    }
}

settings! {
    /// Answers where MQTT leaves a choice, most of them because MQTT 3.x has no way to say no.
    pub struct Policy in [policy] {
        /// What an MQTT 3.x client gets for a QoS 1 or 2 message that it may not publish: the acknowledgement,
        /// though the message goes nowhere and is counted (`acknowledge`), or the end of the connection
        /// (`close`), upon which many clients send it again, for ever.
        pub v3_denied_publish: V3Refusal = V3Refusal::Acknowledge, Choice(V3Refusal::WORDS);

        /// What an MQTT 3.x client gets for a QoS 1 or 2 message for which no receiver's queue had room.
        pub v3_queues_full: V3Refusal = V3Refusal::Acknowledge, Choice(V3Refusal::WORDS);

        /// What an MQTT 3.1 client gets for a subscription that is denied, which its SUBACK cannot say: the end
        /// of the connection (`close`), or a SUBACK that grants what nothing will come of (`grant-nothing`).
        pub v31_denied_subscribe: V31DeniedSubscribe = V31DeniedSubscribe::Close, Choice(V31DeniedSubscribe::WORDS);

        /// Response Information for MQTT 5.0 clients that ask for it: by convention the beginning of the topics on
        /// which they expect responses. `%c` stands for the client id. Empty, none is given.
        pub response_information: String = String::new(), Text;
    }
}

choice! {
    /// What outlives what, once it is acknowledged.
    pub enum Durability {
        /// It is on the disk.
        Fsync = "fsync",
        /// It is with the operating system, and on the disk a little later.
        Interval = "interval",
        /// It is in memory only.
        Memory = "memory",
    }
}

choice! {
    /// How log lines are written.
    pub enum LogFormat {
        /// For people.
        Human = "human",
        /// A JSON object a line.
        Json = "json",
    }
}

choice! {
    /// Which member of a shared subscription gets a message.
    pub enum SharedStrategy {
        /// The one with the fewest messages in flight relative to its window; ties rotate.
        LeastInFlight = "least-in-flight",
        /// Each in turn.
        RoundRobin = "round-robin",
        /// By the publisher's client id: one publisher's messages go to one member.
        HashPublisher = "hash-publisher",
        /// The same one, as long as it is there.
        Sticky = "sticky",
    }
}

choice! {
    /// How a message of an MQTT 3.x client is refused.
    pub enum V3Refusal {
        /// It is acknowledged, dropped and counted.
        Acknowledge = "acknowledge",
        /// The connection is closed.
        Close = "close",
    }
}

choice! {
    /// How a subscription of an MQTT 3.1 client is denied.
    pub enum V31DeniedSubscribe {
        /// The connection is closed.
        Close = "close",
        /// SUBACK grants QoS 0, and nothing is ever delivered.
        GrantNothing = "grant-nothing",
    }
}
