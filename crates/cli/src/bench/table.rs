//! A report for people.

use std::fmt;

use super::latency::Percentiles;
use super::report::{Figures, Report, SleeperFigures};

/// Shows a report as a table.
#[derive(Debug)]
pub(crate) struct Table<'a>(pub &'a Report);

impl fmt::Display for Table<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let report = self.0;
        self.heading(f)?;

        let connect = &report.connect;
        let (accepted, refused, secs) = (connect.accepted, connect.refused, connect.secs);
        writeln!(f, "connections    {accepted} accepted, {refused} refused, in {secs:.2} s")?;
        if let Some(load) = &report.load {
            messages(f, "messages", load)?;
        }
        if let Some(bystander) = &report.bystander {
            messages(f, "bystander", bystander)?;
        }
        if let Some(sleepers) = &report.sleepers {
            let SleeperFigures { acknowledged, acknowledged_per_sec, .. } = sleepers;
            write!(
                f,
                "sleepers       {acknowledged} acknowledged, {acknowledged_per_sec:.0} a second"
            )?;
            writeln!(f, ", each for {} sessions", sleepers.sessions_per_message)?;
        }
        if let Some(drain) = &report.drain {
            messages(f, "return", &drain.load)?;
            let (present, subscribers) = (drain.present, report.subscribers);
            writeln!(
                f,
                "               {present} sessions of {subscribers} in {:.2} s",
                drain.secs
            )?;
        }
        if let Some(idle) = &report.idle {
            let subscribers = report.subscribers;
            writeln!(f, "broadcast      reached {} of {subscribers}", idle.reached)?;
        }
        self.latencies(f)?;
        self.costs(f)?;

        for warning in &report.warnings {
            writeln!(f, "warning        {warning}")?;
        }
        for violation in &report.violations {
            writeln!(f, "VIOLATION      {violation}")?;
        }
        Ok(())
    }
}

impl Table<'_> {
    fn heading(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let report = self.0;
        if let Some(name) = &report.name {
            write!(f, "{name}: ")?;
        }
        write!(f, "{} at {}:{}", report.scenario, report.host, report.port)?;
        write!(f, ", MQTT {}", report.mqtt)?;
        if report.load.is_some() {
            write!(f, ", QoS {}, {} bytes", report.qos, report.size_bytes)?;
            write!(f, ", {} to {} clients", report.publishers, report.subscribers)?;
        }
        match (report.window, report.rate) {
            (Some(window), _) => write!(f, ", {window} in flight each")?,
            (None, Some(rate)) => write!(f, ", {rate} a second")?,
            (None, None) => {}
        }
        match report.load {
            Some(_) => writeln!(f, ", {} s", report.duration_secs),
            None => writeln!(f),
        }
    }

    fn latencies(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let report = self.0;
        let rows = [
            ("connack", report.connect.connack_us),
            ("latency", report.load.as_ref().and_then(|it| it.latency_us)),
            ("acknowledged", report.load.as_ref().and_then(|it| it.acknowledged_us)),
            ("first back", report.drain.as_ref().and_then(|it| it.first_message_us)),
            ("bystander", report.bystander.as_ref().and_then(|it| it.latency_us)),
        ];
        writeln!(
            f,
            "microseconds  {:>10}{:>10}{:>10}{:>10}{:>10}",
            "p50", "p90", "p99", "p99.9", "max"
        )?;
        for (name, figures) in rows {
            if let Some(Percentiles { p50, p90, p99, p99_9, max, .. }) = figures {
                writeln!(f, "  {name:<12}{p50:>10}{p90:>10}{p99:>10}{p99_9:>10}{max:>10}")?;
            }
        }
        Ok(())
    }

    fn costs(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let report = self.0;
        if let Some(broker) = &report.broker {
            write!(f, "broker CPU     {:.1} % of a core", broker.cpu_percent)?;
            match broker.cpu_us_per_delivery {
                Some(micros) => writeln!(f, ", {micros:.3} us per delivery")?,
                None => writeln!(f)?,
            }
            let mebibytes = |it: Option<u64>| {
                it.map_or("?".into(), |it| format!("{:.1} MiB", it as f64 / 1_048_576.0))
            };
            let before = mebibytes(broker.rss_before_bytes);
            let connected = mebibytes(broker.rss_connected_bytes);
            let end = mebibytes(broker.rss_end_bytes);
            write!(f, "broker memory  {before} before, {connected} connected, {end} at the end")?;
            match broker.rss_per_connection_bytes {
                Some(bytes) if report.connections >= CONNECTIONS_FOR_MEMORY => {
                    writeln!(f, ": {bytes:.0} bytes per connection")?;
                }
                Some(_) | None => writeln!(f)?,
            }
        }
        if let Some(sleepers) = &report.sleepers
            && let (Some(message), Some(queued)) =
                (sleepers.cpu_us_per_message, sleepers.cpu_us_per_queued)
        {
            writeln!(
                f,
                "               {message:.1} us per message, {queued:.3} us per session of each"
            )?;
        }
        if let Some(broker) = report.drain.as_ref().and_then(|it| it.broker.as_ref())
            && let Some(micros) = broker.cpu_us_per_delivery
        {
            writeln!(
                f,
                "return CPU     {:.1} % of a core, {micros:.3} us per delivery",
                broker.cpu_percent
            )?;
        }
        if let Some(idle) = &report.idle {
            if let Some(percent) = idle.cpu_percent {
                writeln!(f, "idle CPU       {percent:.2} % of a core")?;
            }
            if let Some(memory) = &idle.memory {
                writeln!(
                    f,
                    "idle memory    {:.0} bytes per connection held, {:.0} after the broadcast, {:.0} 10 s later",
                    memory.per_connection_held_bytes,
                    memory.per_connection_after_bytes,
                    memory.per_connection_settled_bytes,
                )?;
            }
        }
        writeln!(f, "generator CPU  {:.0} % of a core", report.generator.cpu_percent)
    }
}

fn messages(f: &mut fmt::Formatter<'_>, name: &str, figures: &Figures) -> fmt::Result {
    let Figures { published, delivered, delivered_per_sec, .. } = figures;
    write!(
        f,
        "{name:<15}{published} sent, {delivered} delivered, {delivered_per_sec:.0} a second"
    )?;
    for (count, what) in [
        (figures.lost, "LOST"),
        (figures.duplicated, "DUPLICATED"),
        (figures.reordered, "OUT OF ORDER"),
        (figures.refused, "REFUSED"),
    ] {
        if count > 0 {
            write!(f, ", {count} {what}")?;
        }
    }
    writeln!(f)
}

/// With fewer connections, memory per connection is the noise of the broker's pages.
const CONNECTIONS_FOR_MEMORY: u32 = 500;
