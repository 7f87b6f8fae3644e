//! What the programs share: what they are told, and what they say.

use std::error::Error;
use std::time::{Duration, Instant};

/// What a load program is told.
pub struct Task {
    pub host: String,
    pub port: u16,
    pub kind: Kind,
    /// Messages, or connections.
    pub count: usize,
}

pub enum Kind {
    /// One publisher and one subscriber, with at most [`WINDOW`] messages between them.
    Pair { qos: u8 },
    /// Connections that do nothing.
    Idle,
}

/// How many messages are under way at most.
pub const WINDOW: usize = 1_000;

pub const PAYLOAD: [u8; 64] = [b'x'; 64];

impl Task {
    /// Reads the arguments: `HOST PORT (0|1|2|idle) COUNT`.
    pub fn of_process() -> Result<Self, Box<dyn Error>> {
        let arguments: Vec<String> = std::env::args().skip(1).collect();
        let [host, port, kind, count] = &arguments[..] else {
            return Err("usage: HOST PORT (0|1|2|idle) COUNT".into());
        };
        let kind = match &**kind {
            "idle" => Kind::Idle,
            qos => Kind::Pair { qos: qos.parse()? },
        };
        Ok(Self { host: host.clone(), port: port.parse()?, kind, count: count.parse()? })
    }
}

/// A measurement that has begun.
pub struct Stopwatch(Instant, Duration);

impl Stopwatch {
    pub fn start() -> Self {
        Self(Instant::now(), cpu())
    }

    /// Says what it took: microseconds that passed, and of the processor.
    pub fn stop(self) {
        let (wall, cpu) = (self.0.elapsed(), cpu() - self.1);
        println!("{} {}", wall.as_micros(), cpu.as_micros());
    }
}

/// Returns the processor's time that this process took, in ticks of ten milliseconds.
fn cpu() -> Duration {
    let stat = std::fs::read_to_string("/proc/self/stat").expect("Linux has it");
    let fields = stat.rsplit_once(')').expect("the name ends").1.split_whitespace();
    let ticks: u64 = fields.skip(11).take(2).map(|it| it.parse::<u64>().expect("a number")).sum();
    Duration::from_millis(10 * ticks)
}

/// Returns the memory of this process, in bytes.
pub fn memory() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux has it");
    let line = status.lines().find_map(|it| it.strip_prefix("VmRSS:")).expect("it is there");
    let kib: usize = line.trim().trim_end_matches(" kB").trim().parse().expect("a number");
    kib * 1024
}
