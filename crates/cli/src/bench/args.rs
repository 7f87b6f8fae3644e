//! The options of `quelea bench`, and what a run makes of them.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use clap::ValueEnum;
use quelea_codec::{QoS, Version};

use super::payload_text::PayloadText;
use super::stamp::{self, Stamp};
use super::template::Payload;
use crate::way::{Resume, TlsArgs, Way};

/// Loads a broker, ours or another, and reports latency, loss and the broker's price per delivery.
///
/// Closed loop by default: a publisher sends the next message only when an earlier one has arrived (and is
/// acknowledged, above QoS 0), so that nothing is measured by being dropped. With --rate the loop is open:
/// messages leave on a fixed schedule and latency counts from the time at which each was meant to leave.
#[derive(Debug, Clone, clap::Args)]
#[command(disable_version_flag = true, args_override_self = true)]
pub(crate) struct Args {
    /// What to do to the broker.
    #[arg(value_enum, value_name = "SCENARIO", required_unless_present = "file")]
    pub kind: Option<Scenario>,
    /// Runs the scenarios of this file (TOML) in turn, instead of one. Other flags win over its keys.
    #[arg(long = "scenario", value_name = "FILE")]
    pub file: Option<PathBuf>,
    /// A name for the report.
    #[arg(long)]
    pub name: Option<String>,
    /// The broker's host; or a URL, as mqtts://HOST[:PORT] or wss://HOST[:PORT]/PATH.
    #[arg(long, default_value = "127.0.0.1")]
    pub host: String,
    /// The broker's port. [default: 1883, with TLS 8883, for ws:// 80, for wss:// 443]
    #[arg(long)]
    pub port: Option<u16>,
    /// The user name of all clients.
    #[arg(short, long, value_name = "NAME")]
    pub username: Option<String>,
    /// The password of all clients.
    #[arg(
        short = 'P',
        long,
        value_name = "PASSWORD",
        requires = "username",
        allow_hyphen_values = true
    )]
    pub pw: Option<String>,
    /// Publishers (pairs, fanin, shared), subscribers (fanout), connections (idle, storm), receivers (flood) or
    /// sessions (sleepers).
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub clients: Option<u32>,
    /// Members of the group (shared).
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub members: u32,
    /// Publishers (sleepers).
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub publishers: u32,
    /// Messages of each publisher, instead of a duration (sleepers).
    #[arg(long, conflicts_with = "rate", value_parser = clap::value_parser!(u32).range(1..))]
    pub messages: Option<u32>,
    /// All sleepers come back and take everything.
    #[arg(long)]
    pub drain: bool,
    /// Leaves the sleepers and their messages to a later run with --resume and this number.
    #[arg(long, value_name = "NUMBER", requires = "messages", conflicts_with = "drain")]
    pub keep: Option<u32>,
    /// Only lets those come back that a run with --keep, this number and the same options has left.
    #[arg(long, value_name = "NUMBER", requires = "messages", conflicts_with_all = ["keep", "drain"])]
    pub resume: Option<u32>,
    /// QoS of publishes and subscriptions.
    #[arg(long, default_value_t = 0, value_parser = clap::value_parser!(u8).range(0..=2))]
    pub qos: u8,
    /// Payload bytes: at least 16, for the stamp that finds loss, duplicates and reordering.
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u32).range(16..=16_777_216))]
    pub size: u32,
    /// Payload as text with variables: ${seq} and ${time_us} (microseconds since 1970), which it needs, ${flow} and
    /// ${random:N}, N characters.
    #[arg(long, value_name = "TEXT", conflicts_with = "size", value_parser = parse_payload)]
    pub payload: Option<Arc<PayloadText>>,
    /// MQTT version: 3.1, 3.1.1 or 5.
    #[arg(long = "version", default_value = "3.1.1", value_parser = parse_version)]
    pub mqtt_version: Version,
    /// Closed loop: messages in flight end to end per publisher. For storm: handshakes at once.
    #[arg(long, conflicts_with = "rate", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub window: Option<u32>,
    /// Open loop: messages a second in all, spread evenly over publishers and time. For storm: connects a second.
    #[arg(long, value_parser = parse_rate)]
    pub rate: Option<f64>,
    /// Seconds from the start in which the rate grows from 0 to --rate. For idle: in which the connections begin.
    #[arg(long, value_name = "SECS", value_parser = parse_secs)]
    pub ramp: Option<Duration>,
    /// Seconds that are measured. For idle: seconds that the connections are held before the broadcast.
    #[arg(long, default_value = "10", value_parser = parse_secs)]
    pub duration: Duration,
    /// Seconds of the same load before the measurement.
    #[arg(long, default_value = "2", value_parser = parse_secs)]
    pub warmup: Duration,
    /// The broker's process id, to measure its CPU time and memory (on this machine, Linux).
    #[arg(long)]
    pub pid: Option<i32>,
    /// Another broker, HOST[:PORT] or a URL, that gets the same load in turn; the report compares the two.
    #[arg(long, value_name = "BROKER", conflicts_with_all = ["keep", "resume"], value_parser = parse_place)]
    pub compare: Option<Place>,
    /// The process id of that other broker.
    #[arg(long, value_name = "PID", requires = "compare")]
    pub compare_pid: Option<i32>,
    /// How often each of the two gets the load.
    #[arg(long, default_value_t = 3, requires = "compare", value_parser = clap::value_parser!(u32).range(1..=100))]
    pub rounds: u32,
    /// Whether subscribers start clean: Clean Start, and Clean Session before 5.0.
    #[arg(long, default_value_t = true, action = clap::ArgAction::Set)]
    pub clean: bool,
    /// Seconds for which the broker keeps a subscriber's session. Before 5.0, any number above 0 means Clean Session 0.
    /// For sleepers 3,600 if not given.
    #[arg(long)]
    pub session_expiry: Option<u32>,
    /// Gives each idle connection, or each sleeper, a topic of its own, instead of one filter for all.
    #[arg(long)]
    pub distinct: bool,
    /// Threads of the generator (pairs, idle and storm; the others need one, flood two).
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=64))]
    pub threads: u32,
    /// Prints one JSON object instead of the table.
    #[arg(long)]
    pub json: bool,
    /// Writes a page with the figures and plots of all scenarios to this file (HTML).
    #[arg(long, value_name = "FILE")]
    pub html: Option<PathBuf>,
    /// No progress line.
    #[arg(long)]
    pub quiet: bool,
    #[command(flatten)]
    pub(super) tls: TlsArgs,
}

/// Where a broker is, as it was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Place {
    host: String,
    port: Option<u16>,
}

/// The shapes of load.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Scenario {
    /// N publishers and N subscribers, a topic for each pair.
    Pairs,
    /// One publisher to N subscribers.
    Fanout,
    /// N publishers to one subscriber.
    Fanin,
    /// N publishers to one group that shares a subscription.
    Shared,
    /// N connections with a subscription each, held, then one broadcast to all.
    Idle,
    /// N connections as fast as asked.
    Storm,
    /// A publisher that floods N receivers, beside a pair at 1,000 messages a second.
    Flood,
    /// N durable sessions subscribe and go away; publishers send; the sessions come back (with --drain).
    Sleepers,
}

impl Args {
    /// Returns what to do to the broker.
    ///
    /// # Panics
    ///
    /// If only a file knows.
    pub(crate) fn scenario(&self) -> Scenario {
        self.kind.expect("the parser asks for it, and so does a file of scenarios")
    }

    /// Returns the number of clients, or the scenario's default.
    pub(crate) fn client_count(&self) -> u32 {
        self.clients.unwrap_or(match self.scenario() {
            Scenario::Pairs | Scenario::Shared => 10,
            Scenario::Fanout | Scenario::Fanin => 100,
            Scenario::Idle | Scenario::Storm | Scenario::Flood | Scenario::Sleepers => 1_000,
        })
    }

    /// Returns the closed loop's window, or `None` for an open loop and for scenarios without one.
    pub(crate) fn closed_window(&self) -> Option<u32> {
        match self.scenario() {
            Scenario::Idle | Scenario::Storm => None,
            Scenario::Pairs
            | Scenario::Fanin
            | Scenario::Shared
            | Scenario::Flood
            | Scenario::Sleepers => Some(self.window.unwrap_or(100)),
            Scenario::Fanout => Some(self.window.unwrap_or(10)),
        }
        .filter(|_| self.rate.is_none())
    }

    /// Returns the way to the broker. Each of its connections makes a full TLS handshake.
    pub(crate) fn way(&self) -> Result<Way, String> {
        Way::new(&self.host, self.port, &self.tls, Resume::Never).map_err(|it| it.to_string())
    }

    /// Returns the QoS of publishes and subscriptions.
    pub(crate) fn qos(&self) -> QoS {
        QoS::from_byte(self.qos).expect("the parser accepts 0, 1 and 2 only")
    }

    /// Returns the same for the broker to compare with, if there is one.
    pub(crate) fn for_the_other(&self) -> Option<Self> {
        let Place { host, port } = self.compare.clone()?;
        Some(Self { host, port, pid: self.compare_pid, ..self.clone() })
    }

    /// Returns what the messages say.
    pub(crate) fn payload(&self) -> Payload {
        match &self.payload {
            Some(text) => Payload::Text(Arc::clone(text)),
            None => Payload::Stamp { bytes: self.size as usize },
        }
    }

    /// Returns the bytes of a payload, of the first one if they differ.
    pub(crate) fn payload_bytes(&self) -> u32 {
        let first = Stamp { sent_ns: 0, flow: 0, sequence: 0 };
        self.payload.as_ref().map_or(self.size, |it| it.bytes(first, SOME_TIME_US) as u32)
    }

    /// Returns the seconds for which the broker is asked to keep a subscriber's session.
    pub(crate) fn session_expiry_secs(&self) -> Option<u32> {
        match self.scenario() {
            Scenario::Sleepers => Some(self.session_expiry.unwrap_or(SLEEP_SECS)),
            _ => self.session_expiry,
        }
    }

    /// Returns whether a subscriber's session outlives its connection.
    pub(crate) fn is_durable(&self) -> bool {
        let is_kept = self.session_expiry_secs().is_some_and(|secs| secs > 0);
        is_kept || (!self.clean && !self.mqtt_version.is_v5())
    }

    /// Returns whether a broker may drop messages: QoS 0 promises nothing, and an open loop does not hold back.
    pub(crate) fn is_loss_allowed(&self) -> bool {
        self.qos == 0 && self.rate.is_some()
    }

    /// Returns the version as people write it.
    pub(crate) fn version_name(&self) -> &'static str {
        match self.mqtt_version {
            Version::V31 => "3.1",
            Version::V311 => "3.1.1",
            Version::V5 => "5",
        }
    }

    /// Checks what the parser cannot see in one option alone.
    ///
    /// # Errors
    ///
    /// Says what does not go together.
    pub(crate) fn check(&self) -> Result<(), String> {
        let can_split =
            matches!(self.scenario(), Scenario::Pairs | Scenario::Idle | Scenario::Storm);
        if self.threads > 1 && !can_split {
            return Err("--threads is for pairs, idle and storm: the other scenarios share one publisher or one subscriber".into());
        }
        if self.threads > self.client_count() {
            return Err("--threads is more than --clients".into());
        }
        if self.scenario() == Scenario::Idle && self.rate.is_some() {
            return Err("idle has no rate: it sends one broadcast".into());
        }
        if self.scenario() == Scenario::Flood && self.rate.is_some() {
            return Err("flood is a closed loop: set its --window".into());
        }
        if self.scenario() != Scenario::Storm && self.window.is_some_and(|it| it > WINDOW_MAX) {
            return Err(format!(
                "--window is at most {WINDOW_MAX}: a message in flight has a packet identifier"
            ));
        }
        if self.ramp.is_some() && self.rate.is_none() && self.scenario() != Scenario::Idle {
            return Err("--ramp needs a --rate to grow to".into());
        }
        let has_flow = self.payload.as_ref().is_none_or(|it| it.has_flow());
        if !has_flow
            && matches!(self.scenario(), Scenario::Fanin | Scenario::Shared | Scenario::Sleepers)
        {
            return Err(
                "--payload needs ${flow} here: a receiver gets the messages of several publishers"
                    .into(),
            );
        }
        self.check_sleepers()?;
        if self.duration.is_zero() {
            return Err("--duration must be above 0".into());
        }
        Ok(())
    }

    fn check_sleepers(&self) -> Result<(), String> {
        let is_sleepers = self.scenario() == Scenario::Sleepers;
        if is_sleepers && self.qos == 0 {
            return Err(
                "sleepers need --qos 1 or 2: at QoS 0 nothing has to be kept for them".into()
            );
        }
        if is_sleepers && !self.is_durable() {
            return Err("sleepers need a --session-expiry above 0".into());
        }
        let is_asked = self.publishers > 1
            || self.messages.is_some()
            || self.drain
            || self.keep.is_some()
            || self.resume.is_some();
        if !is_sleepers && is_asked {
            return Err(
                "--publishers, --messages, --drain, --keep and --resume are for sleepers".into()
            );
        }
        if self.distinct && is_sleepers && self.publishers > self.client_count() {
            return Err("with --distinct each publisher needs a sleeper of its own".into());
        }
        Ok(())
    }
}

/// How long sleepers are kept unless it is said.
const SLEEP_SECS: u32 = 3_600;

/// The widest window: a flow gives each of its slots, up to twice the window, a packet identifier.
pub(crate) const WINDOW_MAX: u32 = 16_384;

/// In 2026: its digits are what counts.
const SOME_TIME_US: u64 = 1_780_000_000_000_000;

const _: () = assert!(stamp::BYTES == 16, "the range of --size begins there");

fn parse_version(text: &str) -> Result<Version, String> {
    match text {
        "3" | "3.1.1" | "311" | "4" => Ok(Version::V311),
        "3.1" | "31" => Ok(Version::V31),
        "5" | "5.0" => Ok(Version::V5),
        _ => Err("3.1, 3.1.1 or 5".into()),
    }
}

fn parse_secs(text: &str) -> Result<Duration, String> {
    let secs: f64 = text.parse().map_err(|_| "a number of seconds")?;
    if !(0.0..=1_000_000.0).contains(&secs) {
        return Err("0 to 1,000,000 seconds".into());
    }
    Ok(Duration::from_secs_f64(secs))
}

fn parse_place(text: &str) -> Result<Place, String> {
    let is_url = text.contains("://");
    let (host, port) = match text.rsplit_once(':') {
        // The last part of an IPv6 address is no port.
        Some((host, port)) if !is_url && !text.ends_with(']') => {
            let is_host = !host.contains(':') || host.ends_with(']');
            let port = port.parse().ok().filter(|_| is_host);
            (host, Some(port.ok_or("HOST, HOST:PORT, [ADDRESS]:PORT or a URL")?))
        }
        Some(_) | None => (text, None),
    };
    let host = if is_url { host } else { host.trim_start_matches('[').trim_end_matches(']') };
    if host.is_empty() {
        return Err("the host is missing".into());
    }
    Ok(Place { host: host.to_owned(), port })
}

fn parse_payload(text: &str) -> Result<Arc<PayloadText>, String> {
    PayloadText::parse(text).map(Arc::new)
}

fn parse_rate(text: &str) -> Result<f64, String> {
    let rate: f64 = text.parse().map_err(|_| "a number per second")?;
    if !(0.001..=100_000_000.0).contains(&rate) {
        return Err("0.001 to 100,000,000 per second".into());
    }
    Ok(rate)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(clap::Parser)]
    struct Line {
        #[command(flatten)]
        args: Args,
    }

    #[test]
    fn defaults_make_a_closed_loop() {
        let args = parse("pairs").unwrap();
        assert_eq!(args.closed_window(), Some(100));
        assert_eq!(args.client_count(), 10);
        assert_eq!(args.version_name(), "3.1.1");
        assert!(!args.is_durable());
    }

    #[test]
    fn the_other_broker_is_a_place() {
        for (text, host, port) in [
            ("broker.example", "broker.example", None),
            ("broker.example:1884", "broker.example", Some(1884)),
            ("[::1]:1884", "::1", Some(1884)),
            ("[::1]", "::1", None),
            ("mqtts://broker.example:8884", "mqtts://broker.example:8884", None),
        ] {
            let expected = Place { host: host.to_owned(), port };
            assert_eq!(parse_place(text), Ok(expected), "{text}");
        }
        for text in ["", ":1883", "broker:x", "::1", "broker:99999"] {
            assert!(parse_place(text).is_err(), "{text} should be refused");
        }
    }

    #[test]
    fn a_rate_opens_the_loop() {
        let args = parse("pairs --rate 1000").unwrap();
        assert_eq!(args.closed_window(), None);
        assert!(parse("pairs --rate 1000 --window 5").is_err());
    }

    #[test]
    fn what_does_not_go_together_is_refused() {
        for line in [
            "fanout --threads 2",
            "idle --rate 5",
            "flood --rate 5",
            "pairs --ramp 5",
            "pairs --size 15",
            "pairs --payload ${seq}",
            "pairs --payload ${seq}/${time_us} --size 20",
            "fanin --payload ${seq}/${time_us}",
            "pairs --window 20000",
            "pairs --duration 0",
            "pairs --version 6",
            "pairs --clients 2 --threads 3",
            "pairs --drain",
            "pairs --rounds 2",
            "sleepers",
            "sleepers --qos 1 --session-expiry 0 --version 5",
            "sleepers --qos 1 --keep 7",
            "sleepers --qos 1 --messages 5 --keep 7 --drain",
            "sleepers --qos 1 --distinct --clients 2 --publishers 3",
        ] {
            assert!(parse(line).is_err(), "{line} should be refused");
        }
    }

    #[test]
    fn sessions_are_durable_when_asked() {
        assert!(parse("pairs --clean false").unwrap().is_durable());
        assert!(!parse("pairs --clean false --version 5").unwrap().is_durable());
        assert!(parse("pairs --session-expiry 60 --version 5").unwrap().is_durable());
        assert!(parse("sleepers --qos 1 --version 5").unwrap().is_durable());
    }

    fn parse(line: &str) -> Result<Args, String> {
        let words = std::iter::once("bench").chain(line.split(' '));
        let line = <Line as clap::Parser>::try_parse_from(words).map_err(|it| it.to_string())?;
        line.args.check()?;
        Ok(line.args)
    }
}
