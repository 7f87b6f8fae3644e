//! When the broker has more to do than it can.

use super::setting::settings;

settings! {
    /// When the broker protects itself: beyond one of these bounds CONNECT packets are refused with 0x89, Server busy (3.x:
    /// return code 3), so that those who are connected are served; until it is a tenth below. It is looked at twice a
    /// second, and the log says when it begins and ends.
    pub struct Overload in [overload] {
        /// Memory of the process (its resident set). Beyond it the newest connections are ended too (5.0: with 0x89),
        /// one in a hundred at each look, but no more than half of them for one excess.
        pub memory_bytes_max: Option<u64> = None, Bytes(16_777_216..=1_099_511_627_776_000);

        /// Longest turn of a shard: nobody on it is served meanwhile.
        pub turn_millis_max: Option<u32> = None, Millis(1..=60_000);

        /// Time in which the store has not made anything durable, though something waits for that.
        pub store_millis_max: Option<u32> = None, Millis(1..=600_000);
    }
}
