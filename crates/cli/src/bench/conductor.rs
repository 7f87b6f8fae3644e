//! A run from beginning to end: starts the workers, sets the times, and looks at the broker's process when
//! it has to be looked at.

use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use mio::Waker;
use nix::sys::resource::{Resource, getrlimit, setrlimit};

use super::args::{Args, Scenario};
use super::control::{Control, Timeline};
use super::plan::{Plan, Stream};
use super::process::Process;
use super::report::{Observations, Report};
use super::sleepers;
use super::worker::{Outcome, Reception, Settings, Worker};
use crate::progress::Progress;
use crate::way::Way;

/// Makes the run that `args` ask for.
///
/// # Errors
///
/// Says in words why it could not be made.
pub(crate) fn run(args: &Args) -> Result<Report, String> {
    let broker = args.pid.map(Process::of).transpose()?;
    let run_number = Instant::now().elapsed().subsec_nanos() ^ started_at() ^ std::process::id();
    if args.scenario() == Scenario::Sleepers {
        return sleepers::run(args, run_number, broker);
    }
    let plan = Plan::new(args, run_number);
    let settings = settings(args, &plan)?;
    let act = match args.scenario() {
        Scenario::Storm => Act::Storm,
        Scenario::Idle => Act::Broadcast,
        _ => Act::Load,
    };
    let (outcomes, seen) = play(args, &plan, &settings, act, broker)?;
    let port = settings.way.port;
    // In 5.0 the DISCONNECT has ended the session; before, only a clean one ends it.
    if args.is_durable() && !args.mqtt_version.is_v5() {
        sweep(args, &plan, &settings)?;
    }
    Ok(Report::new(args, port, &plan, &outcomes, seen))
}

/// What happens once the connections are there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Act {
    /// Nothing: the connections are what is measured.
    Storm,
    /// Nothing: each leaves when it has subscribed.
    Visit,
    /// They are held for a while, and one message goes to all.
    Broadcast,
    /// Messages flow for the given time, or until all are sent.
    Load,
    /// Messages arrive that were sent before.
    Return,
}

/// Ends the sessions of `plan`.
pub(super) fn sweep(args: &Args, plan: &Plan, settings: &Settings) -> Result<(), String> {
    let settings = Settings {
        clean_start: true,
        connect_rate: None,
        session_expiry_secs: None,
        reception: Reception::Subscribe,
        ..settings.clone()
    };
    play(args, &plan.without_traffic(), &settings, Act::Storm, None).map(|_| ())
}

/// Runs the workers of `plan` through all phases.
pub(super) fn play(
    args: &Args,
    plan: &Plan,
    settings: &Settings,
    act: Act,
    broker: Option<Process>,
) -> Result<(Vec<Outcome>, Observations), String> {
    // Those who visit are there for a moment only.
    raise_file_limit(match act {
        Act::Visit => HANDSHAKES_MAX as u32,
        _ => plan.connection_count(),
    })?;
    let control = Control::new(plan.workers.len());
    let mut wakers = Vec::new();
    let mut workers = Vec::new();
    for (part, gauges) in plan.workers.iter().zip(&control.gauges) {
        let (worker, waker) = Worker::new(part, settings, &control, gauges)
            .map_err(|it| format!("the generator cannot start: {it}"))?;
        workers.push(worker);
        wakers.push(waker);
    }
    let mut conductor = Conductor {
        args,
        plan,
        act,
        broker,
        control: &control,
        wakers,
        progress: Progress::new(args.quiet),
        seen: Observations { rss_before: resident(broker), ..Observations::default() },
    };
    let outcomes = thread::scope(|scope| {
        let threads: Vec<_> =
            workers.into_iter().map(|worker| scope.spawn(move || worker.run())).collect();
        conductor.conduct();
        control.stop();
        conductor.wake();
        let results = threads.into_iter().map(|it| it.join().expect("a worker does not panic"));
        results.collect::<Result<Vec<Outcome>, _>>()
    });
    let outcomes = outcomes.map_err(|it| format!("the generator failed: {it}"))?;
    // Without its connections, a scenario has not been played: there is nothing to report.
    let refused: u32 = outcomes.iter().map(|it| it.refused).sum();
    if act != Act::Storm && refused > 0 {
        let reasons = outcomes.iter().flat_map(|it| it.failures.keys().cloned());
        return Err(format!(
            "{refused} connections to {} failed: {}",
            settings.address,
            reasons.collect::<Vec<_>>().join("; ")
        ));
    }
    Ok((outcomes, conductor.seen))
}

/// The one that looks at the clock.
struct Conductor<'a> {
    args: &'a Args,
    plan: &'a Plan,
    act: Act,
    broker: Option<Process>,
    control: &'a Control,
    wakers: Vec<Arc<Waker>>,
    progress: Progress,
    seen: Observations,
}

/// What is compared at the two ends of the measurement.
struct Sample {
    at_ns: u64,
    delivered: u64,
    delivered_to_bystander: u64,
    acknowledged: u64,
    broker_cpu: Option<Duration>,
    generator_cpu: Duration,
}

impl Conductor<'_> {
    fn conduct(&mut self) {
        let begin = self.sample();
        let is_connected = self.await_connections();
        self.seen.connect_time = Duration::from_nanos(self.control.now_ns());
        self.seen.rss_connected = resident(self.broker);
        match self.act {
            Act::Storm | Act::Visit => self.measured_between(&begin),
            Act::Return => {
                // The first messages come before the last connection.
                if is_connected {
                    self.drain();
                }
                self.measured_between(&begin);
            }
            Act::Load if is_connected && self.args.messages.is_some() => self.conduct_messages(),
            Act::Load | Act::Broadcast if is_connected => self.conduct_traffic(),
            Act::Load | Act::Broadcast => {}
        }
        self.seen.rss_end = resident(self.broker);
    }

    /// Waits until every connection is ready or has failed. Returns whether all are ready.
    fn await_connections(&mut self) -> bool {
        let total = u64::from(self.plan.connection_count());
        let mut patience = Patience::new(CONNECT_PATIENCE);
        loop {
            let settled = self.control.sum(|it| &it.settled);
            let failed = self.control.sum(|it| &it.failed);
            self.progress.show(format_args!("connecting: {settled} of {total}"));
            if settled == total {
                return failed == 0;
            }
            if failed > 0 && self.act != Act::Storm {
                return false;
            }
            if patience.is_lost_at(settled) {
                let waiting = total - settled;
                self.seen.violations.push(format!("{waiting} connections were never answered"));
                return false;
            }
            thread::sleep(Duration::from_millis(1));
        }
    }

    fn conduct_traffic(&mut self) {
        let is_idle = self.act == Act::Broadcast;
        let timeline = self.timeline(is_idle);
        self.control.set_timeline(timeline);
        self.wake();

        self.wait_until(timeline.start_ns, "starting");
        let started = self.sample();
        let mut is_alive =
            self.wait_until(timeline.measure_from_ns - 1_000_000, "before the measurement");
        if is_idle {
            self.seen.idle_cpu_percent = self.cpu_percent_since(&started);
            self.seen.rss_idle_held = resident(self.broker);
        }
        is_alive = is_alive && self.wait_until(timeline.measure_from_ns, "before the measurement");
        let begin = self.sample();
        is_alive = is_alive && self.wait_until(timeline.measure_to_ns, "measuring");
        if is_idle {
            is_alive = is_alive && self.drain();
            self.measured_between(&begin);
            self.seen.rss_idle_after = resident(self.broker);
            if is_alive {
                let settled_ns = self.control.now_ns() + SETTLE.as_nanos() as u64;
                self.wait_until(settled_ns, "letting the broker settle");
                self.seen.rss_idle_settled = resident(self.broker);
            }
            return;
        }
        self.measured_between(&begin);
        if is_alive {
            self.drain();
        }
    }

    /// Lets the publishers send all their messages, and waits for the last acknowledgement.
    fn conduct_messages(&mut self) {
        let start_ns = self.control.now_ns() + START_DELAY.as_nanos() as u64;
        let timeline = Timeline { start_ns, measure_from_ns: start_ns, measure_to_ns: u64::MAX };
        let total = u64::from(self.args.publishers) * u64::from(self.args.messages.unwrap_or(0));
        self.control.set_timeline(timeline);
        let begin = self.sample();
        self.wake();
        let mut patience = Patience::new(STALL_PATIENCE);
        while self.control.sum(|it| &it.acknowledged) < total && self.is_going_on(&mut patience) {
            let acknowledged = self.control.sum(|it| &it.acknowledged);
            self.progress.show(format_args!("sending: {acknowledged} of {total}"));
            thread::sleep(Duration::from_millis(2));
        }
        self.measured_between(&begin);
    }

    fn timeline(&self, is_idle: bool) -> Timeline {
        let start_ns = self.control.now_ns() + START_DELAY.as_nanos() as u64;
        let (before, duration) = if is_idle {
            // The broadcast has one intended time, and the measurement is the moment around it.
            (self.args.duration, BROADCAST)
        } else {
            (self.args.warmup, self.args.duration)
        };
        let measure_from_ns = start_ns + before.as_nanos() as u64;
        let measure_to_ns = measure_from_ns + duration.as_nanos() as u64;
        Timeline { start_ns, measure_from_ns, measure_to_ns }
    }

    /// Waits for a time. Returns false, with the reason noted, if the run is over before.
    fn wait_until(&mut self, until_ns: u64, doing: &str) -> bool {
        let mut patience = Patience::new(STALL_PATIENCE);
        let mut last = (self.control.now_ns(), self.control.sum(|it| &it.delivered));
        loop {
            let now_ns = self.control.now_ns();
            if now_ns >= until_ns {
                return true;
            }
            if !self.is_going_on(&mut patience) {
                return false;
            }
            let left = Duration::from_nanos(until_ns - now_ns);
            let delivered = self.control.sum(|it| &it.delivered);
            if now_ns - last.0 > 500_000_000 {
                let per_sec = (delivered - last.1) as f64 * 1e9 / (now_ns - last.0) as f64;
                let left_secs = left.as_secs_f64();
                self.progress.show(format_args!(
                    "{doing}: {left_secs:.0} s left, {per_sec:.0} deliveries a second"
                ));
                last = (now_ns, delivered);
            }
            thread::sleep(left.min(LOOK_EVERY));
        }
    }

    /// Waits until nothing is on its way any more.
    fn drain(&mut self) -> bool {
        let mut patience = Patience::new(DRAIN_PATIENCE);
        let limit = if self.act == Act::Return { RETURN_MAX } else { DRAIN_MAX };
        let deadline = Instant::now() + limit;
        while self.control.sum(|it| &it.outstanding) > 0 {
            let failed = self.control.sum(|it| &it.failed);
            if failed > 0 {
                return false;
            }
            if patience.is_lost_at(self.control.progress()) || Instant::now() > deadline {
                if !self.args.is_loss_allowed() {
                    self.note_stall(DRAIN_PATIENCE);
                }
                return false;
            }
            self.progress.show("waiting for the last messages");
            thread::sleep(Duration::from_millis(2));
        }
        true
    }

    /// Returns whether no connection has failed, and messages that are on their way still arrive.
    fn is_going_on(&mut self, patience: &mut Patience) -> bool {
        if self.control.sum(|it| &it.failed) > 0 {
            return false;
        }
        let outstanding = self.control.sum(|it| &it.outstanding);
        let is_stalled = patience.is_lost_at(self.control.progress()) && outstanding > 0;
        if is_stalled {
            self.note_stall(STALL_PATIENCE);
        }
        !is_stalled
    }

    fn note_stall(&mut self, waited: Duration) {
        let outstanding = self.control.sum(|it| &it.outstanding);
        let secs = waited.as_secs();
        self.seen.violations.push(format!(
            "stalled: {outstanding} deliveries or acknowledgements were still to come after {secs} s of silence"
        ));
    }

    fn sample(&self) -> Sample {
        let delivered_of = |stream: Stream| -> u64 {
            let gauges = self.control.gauges.iter().zip(&self.plan.workers);
            let of_stream = gauges.filter(|(_, worker)| worker.stream == stream);
            let values =
                of_stream.map(|(it, _)| it.delivered.load(std::sync::atomic::Ordering::Relaxed));
            values.sum()
        };
        let delivered_to_bystander = delivered_of(Stream::Bystander);
        Sample {
            at_ns: self.control.now_ns(),
            delivered: delivered_of(Stream::Load) + delivered_to_bystander,
            delivered_to_bystander,
            acknowledged: self.control.sum(|it| &it.acknowledged),
            broker_cpu: self.broker.and_then(|it| it.cpu_time()),
            generator_cpu: Process::own().cpu_time().unwrap_or_default(),
        }
    }

    fn measured_between(&mut self, begin: &Sample) {
        let end = self.sample();
        let seen = &mut self.seen;
        seen.measured = Duration::from_nanos(end.at_ns - begin.at_ns);
        seen.delivered = end.delivered - begin.delivered;
        seen.delivered_to_bystander = end.delivered_to_bystander - begin.delivered_to_bystander;
        seen.acknowledged = end.acknowledged - begin.acknowledged;
        seen.broker_cpu = spent(begin.broker_cpu, end.broker_cpu);
        seen.broker_cpu_resolution = self.broker.map(|it| it.cpu_resolution()).unwrap_or_default();
        seen.generator_cpu = end.generator_cpu.saturating_sub(begin.generator_cpu);
    }

    fn cpu_percent_since(&self, begin: &Sample) -> Option<f64> {
        let end = self.sample();
        let cpu = spent(begin.broker_cpu, end.broker_cpu)?;
        Some(100.0 * cpu.as_nanos() as f64 / (end.at_ns - begin.at_ns).max(1) as f64)
    }

    fn wake(&self) {
        for waker in &self.wakers {
            // A worker that cannot be woken looks by itself, ten times a second.
            let _ = waker.wake();
        }
    }
}

/// How long a figure may stay as it is.
struct Patience {
    limit: Duration,
    last: Option<u64>,
    since: Instant,
}

impl Patience {
    fn new(limit: Duration) -> Self {
        Self { limit, last: None, since: Instant::now() }
    }

    /// Notes the figure. Returns whether it has stayed as it is for too long.
    fn is_lost_at(&mut self, figure: u64) -> bool {
        if self.last != Some(figure) {
            self.last = Some(figure);
            self.since = Instant::now();
        }
        self.since.elapsed() > self.limit
    }
}

fn spent(begin: Option<Duration>, end: Option<Duration>) -> Option<Duration> {
    begin.zip(end).map(|(begin, end)| end.saturating_sub(begin))
}

fn resident(process: Option<Process>) -> Option<u64> {
    process?.resident_bytes()
}

pub(super) fn settings(args: &Args, plan: &Plan) -> Result<Settings, String> {
    let is_storm = args.scenario() == Scenario::Storm;
    let workers = plan.workers.len();
    let handshakes_max = match args.window {
        Some(window) if is_storm => (window as usize).div_ceil(workers),
        None if is_storm => usize::MAX,
        Some(_) | None => HANDSHAKES_MAX.div_ceil(workers),
    };
    let way = args.way()?;
    Ok(Settings {
        address: address(&way)?,
        way,
        version: args.mqtt_version,
        username: args.username.clone(),
        password: args.pw.clone(),
        subscription_qos: args.qos(),
        payload: args.payload(),
        clean_start: args.clean && (args.mqtt_version.is_v5() || !args.is_durable()),
        session_expiry_secs: args.session_expiry_secs().filter(|_| args.mqtt_version.is_v5()),
        handshakes_max,
        connect_rate: connect_rate(args, plan).map(|it| it / workers as f64),
        connect_ramp: args.ramp.filter(|_| is_storm).unwrap_or_default(),
        messages_max: args.messages.unwrap_or(u32::MAX),
        reception: Reception::Subscribe,
    })
}

/// Returns the connections a second, if they are not to begin all at once.
fn connect_rate(args: &Args, plan: &Plan) -> Option<f64> {
    match args.scenario() {
        Scenario::Storm => args.rate,
        Scenario::Idle => {
            let ramp = args.ramp.filter(|it| !it.is_zero())?;
            Some(f64::from(plan.connection_count()) / ramp.as_secs_f64())
        }
        _ => None,
    }
}

fn address(way: &Way) -> Result<SocketAddr, String> {
    let host = way.host.as_str();
    let mut addresses =
        (host, way.port).to_socket_addrs().map_err(|it| format!("cannot find {host}: {it}"))?;
    addresses.next().ok_or_else(|| format!("cannot find {host}"))
}

/// Raises the soft limit of open files to what `connections` need.
fn raise_file_limit(connections: u32) -> Result<(), String> {
    let needed = u64::from(connections) + FILES_BESIDE;
    let (soft, hard) =
        getrlimit(Resource::RLIMIT_NOFILE).map_err(|it| format!("no limit of open files: {it}"))?;
    if needed <= soft {
        return Ok(());
    }
    if needed > hard {
        return Err(format!(
            "{connections} connections need {needed} open files, and this process may have {hard}: \
             ask for fewer, or raise `ulimit -Hn`"
        ));
    }
    setrlimit(Resource::RLIMIT_NOFILE, needed, hard)
        .map_err(|it| format!("cannot raise the limit of open files to {needed}: {it}"))
}

/// Returns a number that differs between runs.
fn started_at() -> u32 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.map_or(0, |it| it.subsec_nanos() ^ it.as_secs() as u32)
}

/// Handshakes open at once where they are not what is measured. Small listen queues hold about as many.
const HANDSHAKES_MAX: usize = 64;

/// Open files beside the connections.
const FILES_BESIDE: u64 = 32;

/// From the last connection to the first message.
const START_DELAY: Duration = Duration::from_millis(20);

/// How finely the conductor looks at the gauges.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// Without a connection being settled. A lost SYN is sent again after 1, 3, 7 and 15 s.
const CONNECT_PATIENCE: Duration = Duration::from_secs(20);

/// Without an arrival, while messages are on their way.
const STALL_PATIENCE: Duration = Duration::from_secs(5);

/// The same after the measurement.
const DRAIN_PATIENCE: Duration = Duration::from_secs(3);

/// For the last messages, however slowly they come.
const DRAIN_MAX: Duration = Duration::from_secs(30);

/// For all that sleepers have missed, as long as it comes.
const RETURN_MAX: Duration = Duration::from_secs(600);

/// The intended times that count as those of an idle fleet's one broadcast.
const BROADCAST: Duration = Duration::from_millis(1);

/// How long after the broadcast memory is looked at again.
const SETTLE: Duration = Duration::from_secs(10);
