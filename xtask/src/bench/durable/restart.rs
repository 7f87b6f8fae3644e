//! How a broker comes back with messages that wait for sessions, and how it gets rid of them.

use std::path::Path;
use std::process::Command;
use std::time::Instant;

use serde_json::Value;

use super::contender::{self, Contender, Programs};
use super::{Measurement, generate, megabytes, recovered, remove};
use crate::program;
use crate::serving::Broker;

/// One restart.
pub(super) struct Restart {
    pub(super) contender: Contender,
    pub(super) messages: u32,
    /// Of the log: megabytes, where the broker says it.
    pub(super) log_mb: Option<f64>,
    /// Until it listens: seconds.
    pub(super) start_secs: f64,
    /// Resident memory when it listens, with all messages waiting: megabytes.
    pub(super) resident_mb: Option<f64>,
    drain: Measurement,
}

/// Measures restarts with a million messages, with ten if `is_large`, and with few if `is_quick`.
pub(super) fn measure(
    programs: &Programs,
    is_quick: bool,
    is_large: bool,
) -> Result<Vec<Restart>, String> {
    let sizes: &[u32] = match (is_quick, is_large) {
        (true, _) => &[100_000],
        (false, false) => &[100_000, 1_000_000],
        (false, true) => &[100_000, 1_000_000, 10_000_000],
    };
    let mut restarts = Vec::new();
    for &messages in sizes {
        for contender in [Contender::Quelea, Contender::Mosquitto] {
            // Mosquitto holds them in memory.
            if contender == Contender::Quelea || messages <= 1_000_000 {
                let restart = restart(contender, messages, programs)?;
                println!("{}", super::report::restart_line(&restart));
                restarts.push(restart);
            }
        }
    }
    Ok(restarts)
}

fn restart(contender: Contender, messages: u32, programs: &Programs) -> Result<Restart, String> {
    let directory = contender::empty_directory("data")?;
    let arguments = format!(
        "sleepers --clients 10000 --publishers {PUBLISHERS} --distinct --qos 1 --size 200 --window 100 --messages {}",
        messages / PUBLISHERS
    );
    let broker = contender.start(programs, &directory)?;
    let fill = generate(&broker, &format!("{arguments} --keep 1"), &programs.quelea)?;
    if let Some(violations) = fill.violations() {
        return Err(format!("{}: {violations}", contender.name()));
    }
    end(contender, broker)?;
    forget_cached(&directory)?;

    let begun = Instant::now();
    let broker = contender.start(programs, &directory)?;
    let start_secs = begun.elapsed().as_secs_f64();
    let drain = generate(&broker, &format!("{arguments} --resume 1"), &programs.quelea)?;
    let restart = Restart {
        contender,
        messages,
        log_mb: recovered(&broker.said, "bytes").map(|it| it / 1e6),
        start_secs,
        resident_mb: megabytes(&drain.0, "/drain/broker/rss_before_bytes"),
        drain,
    };
    drop(broker);
    remove(&directory);
    Ok(restart)
}

/// Ends a broker in the worst way after which it still has its data.
fn end(contender: Contender, broker: Broker) -> Result<(), String> {
    match contender {
        // Killed.
        Contender::Quelea | Contender::QueleaInterval | Contender::Nats => Ok(()),
        // Its data is written when it stops.
        Contender::Mosquitto => broker.stop(),
    }
}

/// Makes the system forget what it has in memory of the files, as after a reboot.
fn forget_cached(directory: &Path) -> Result<(), String> {
    let script = "sync -f \"$0\" && find \"$0\" -type f -exec dd if={} iflag=nocache count=0 status=none \\;";
    program::run(Command::new("sh").args(["-c", script]).arg(directory))
}

impl Restart {
    pub(super) fn delivered_per_sec(&self) -> Option<f64> {
        self.drain.number("/drain/load/delivered_per_sec")
    }

    pub(super) fn cpu_us_per_delivery(&self) -> Option<f64> {
        self.drain.number("/drain/broker/cpu_us_per_delivery")
    }

    /// Returns the median time until a session had its first message, and the longest: seconds.
    pub(super) fn first_message_secs(&self) -> Option<(f64, f64)> {
        let median = self.drain.number("/drain/first_message_us/p50")?;
        let longest = self.drain.number("/drain/first_message_us/max")?;
        Some((median / 1e6, longest / 1e6))
    }

    /// Returns how many sessions were there, and how many messages were lost, doubled or out of order.
    pub(super) fn verdict(&self) -> String {
        let count = |pointer: &str| self.drain.0.pointer(pointer).and_then(Value::as_u64);
        let faults = ["lost", "duplicated", "reordered"]
            .map(|it| count(&format!("/drain/load/{it}")).unwrap_or(0));
        format!(
            "{} sessions, {} faults",
            count("/drain/present").unwrap_or(0),
            faults.iter().sum::<u64>()
        )
    }

    pub(super) fn quelea_violations(&self) -> Option<String> {
        self.drain.violations().filter(|_| self.contender.is_quelea())
    }
}

const PUBLISHERS: u32 = 10;
