//! What others feel of an abuse: a pair that exchanges messages all the while, and the broker's memory.

use std::sync::mpsc::{RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};

use crate::broker::{Broker, resident_bytes};
use crate::client::Client;

/// What was felt.
pub(crate) struct Felt {
    /// How long messages took, the longest last.
    latencies: Vec<Duration>,
    /// By how much the broker's memory has grown, at its largest.
    grown_bytes: u64,
}

/// Does something to the broker while the pair exchanges messages.
pub(crate) fn beside<T>(broker: &Broker, act: impl FnOnce() -> T) -> (T, Felt) {
    let mut receiver = connect(broker, "bystander-receiver");
    receiver.subscribe("bystander", 1);
    let mut sender = connect(broker, "bystander-sender");
    let process_id = broker.process_id();
    let before = resident_bytes(process_id);
    let (over, is_over) = channel::<()>();
    thread::scope(|scope| {
        let pair = scope.spawn(move || {
            let (mut latencies, mut largest) = (Vec::new(), before);
            // It is over when the other end is gone, also by a panic.
            while is_over.recv_timeout(PAUSE) == Err(RecvTimeoutError::Timeout) {
                let sent_at = Instant::now();
                assert!(sender.publish("bystander", 1, b"still here?") < 0x80);
                receiver.take();
                latencies.push(sent_at.elapsed());
                largest = largest.max(resident_bytes(process_id));
            }
            latencies.sort_unstable();
            Felt { latencies, grown_bytes: largest.max(resident_bytes(process_id)) - before }
        });
        let result = act();
        drop(over);
        (result, pair.join().expect("the pair was served"))
    })
}

impl Felt {
    /// Fails if others could not live with it. The bounds of time are wide, since the machine has other things to do:
    /// what they exclude is a broker that stands still.
    #[track_caller]
    pub(crate) fn assert_bearable(&self, memory_bytes_max: u64) {
        let last = self.latencies.len().saturating_sub(1);
        let at = |part: usize| self.latencies.get(last * part / 100).copied().unwrap_or_default();
        let (p50, p99, most) = (at(50), at(99), at(100));
        let grown = self.grown_bytes;
        println!(
            "{} messages beside it: p50 {p50:?}, p99 {p99:?}, most {most:?}; {} KiB more",
            last + 1,
            grown / 1_024
        );
        assert!(p99 < P99_MAX && most < LATENCY_MAX, "messages took {p99:?} (p99) to {most:?}");
        assert!(grown < memory_bytes_max, "{grown} bytes more are in memory");
    }
}

fn connect(broker: &Broker, client_id: &str) -> Client {
    Client::connect(broker.address, &crate::client::Options::new(client_id))
}

/// Between two messages.
const PAUSE: Duration = Duration::from_millis(2);

const P99_MAX: Duration = Duration::from_secs(1);

const LATENCY_MAX: Duration = Duration::from_secs(5);
