//! `quelea replay`: publishes a recording again, in its own time or another.

use std::collections::VecDeque;
use std::future::Future;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::thread;
use std::time::Duration;

use clap::Args;
use quelea_client::{Acknowledgement, Client, PublishError, PublishHandle, QoS, Version};
use tokio::sync::mpsc::{Receiver, Sender, channel};
use tokio::time::{Instant, sleep_until};

use super::line::Line;
use super::message::Message;
use super::pace::{Lateness, Speed};
use super::selection::{Choice, SelectionArgs};
use super::source::{Source, Step};
use crate::connection::{ConnectionArgs, Role};
use crate::failure::{Failure, INTERRUPTED};
use crate::print::{self, Reader, unless_unread};
use crate::progress::Progress;
use crate::trouble;
use crate::watch::{self, Happened, Watch};

/// The flags of `quelea replay`.
#[derive(Debug, Args)]
#[command(
    disable_help_flag = true,
    args_override_self = true,
    after_help = "\
Examples:
  quelea replay plant.qtr
  quelea replay plant.qtr --speed 10 --map 'plant/#=test/plant/$1'
  quelea replay plant.qtr --from 30 --until 2m -t 'plant/+/temperature' --loop 0
  quelea replay plant.qtr --json | jq 'select(.qos > 0)' -c | quelea replay - --speed max

Exit codes: 0 all published, and acknowledged above QoS 0; 1 not all, or no connection, or the file is damaged; 2 wrong \
usage; 7 connection lost (--no-reconnect); 130 interrupted; a connection that the broker refuses exits with its reason \
code."
)]
pub(crate) struct ReplayArgs {
    /// The recording: a file of `quelea record`, or messages as lines of JSON; - is standard input.
    file: PathBuf,

    /// How fast: 10 is ten times as fast as recorded, 0.5 half as fast, max as fast as the broker takes it.
    #[arg(long, value_name = "FACTOR", default_value = "1", value_parser = Speed::parse)]
    speed: Speed,

    /// Replays it so many times; 0 is for ever.
    #[arg(long = "loop", value_name = "COUNT", default_value_t = 1)]
    rounds: u64,

    /// Prints the messages as lines of JSON, and publishes nothing.
    #[arg(long, conflicts_with_all = ["speed", "rounds"])]
    json: bool,

    /// Says what there is to be published, and publishes nothing.
    #[arg(long, conflicts_with_all = ["speed", "rounds", "json"])]
    dry_run: bool,

    #[command(flatten)]
    selection: SelectionArgs,

    #[command(flatten)]
    connection: ConnectionArgs,
}

/// Runs `quelea replay`.
pub(crate) fn run(args: &ReplayArgs) -> Result<(), Failure> {
    args.selection.check()?;
    if args.rounds != 1 && args.file.as_os_str() == "-" {
        return Err(Failure::usage("--loop needs a file: standard input can be read once"));
    }
    if args.json {
        return print_json(args);
    }
    if args.dry_run {
        return describe(args);
    }
    let connection = args.connection.prepare(ROLE)?;
    // What is no recording is found out before anything is connected.
    let source = Source::open(&args.file)?;
    let is_quiet = connection.is_quiet();
    let replayed = watch::runtime()?.block_on(async {
        let (client, mut watch) = connection.start()?;
        watch.connected().await?;
        let replayer = Replayer {
            args,
            client,
            watch,
            steps: read_ahead(source, &args.file, args.rounds),
            begun: Instant::now(),
            handles: VecDeque::new(),
            counts: Counts::default(),
            lateness: Lateness::new(),
            progress: Progress::new(is_quiet),
        };
        replayer.run().await
    });
    replayed.map_err(|failure| args.connection.tell(failure))
}

/// Calls `each` with every message that is chosen.
fn for_each(
    args: &ReplayArgs,
    mut each: impl FnMut(u64, &Message) -> Result<Reader, Failure>,
) -> Result<(), Failure> {
    let mut source = Source::open(&args.file)?;
    loop {
        match source.next()? {
            Step::Message(message) => match args.selection.choose(message) {
                Choice::Publish { micros, message } => {
                    if each(micros, &message)? == Reader::HasGone {
                        return Ok(());
                    }
                }
                Choice::Skip => {}
                Choice::End => return Ok(()),
            },
            Step::End => return Ok(()),
            Step::Cut(what) => {
                print::to_stderr(&what);
                return Ok(());
            }
        }
    }
}

fn print_json(args: &ReplayArgs) -> Result<(), Failure> {
    let mut out = BufWriter::new(io::stdout().lock());
    for_each(args, |micros, message| {
        let written = serde_json::to_writer(&mut out, &Line::of(message, micros));
        unless_unread(written.map_err(io::Error::from).and_then(|()| out.write_all(b"\n")))
    })?;
    unless_unread(out.flush()).map(drop)
}

fn describe(args: &ReplayArgs) -> Result<(), Failure> {
    let (mut messages, mut bytes, mut last_micros) = (0_u64, 0, 0);
    let mut qos = [0_u64; 3];
    for_each(args, |micros, message| {
        messages += 1;
        bytes += message.payload.len();
        last_micros = micros;
        qos[usize::from(message.qos.to_byte())] += 1;
        Ok(Reader::Listens)
    })?;
    let secs = last_micros as f64 / 1e6;
    let [qos0, qos1, qos2] = qos;
    print::to_stdout(&format!(
        "{messages} messages in {secs:.1} s, {bytes} bytes of payload; {qos0} at QoS 0, {qos1} at QoS 1, {qos2} at QoS 2\n"
    ))
}

/// Reads `rounds` times on a thread of its own: a pipe that is slow must not keep the connection waiting.
fn read_ahead(source: Source, path: &Path, rounds: u64) -> Receiver<Result<Step, Failure>> {
    let (sender, steps) = channel(READ_AHEAD);
    let path = path.to_owned();
    let read_all = move || {
        let mut source = Some(source);
        let mut round = 0;
        while rounds == 0 || round < rounds {
            round += 1;
            let opened = source.take().map_or_else(|| Source::open(&path), Ok);
            if read_round(opened, &sender).is_none() {
                return;
            }
        }
    };
    // Without a thread the sender is gone, and there is nothing to replay.
    drop(thread::Builder::new().name("reader".to_owned()).spawn(read_all));
    steps
}

/// Reads to the end; nothing if it need not go on after that.
fn read_round(
    opened: Result<Source, Failure>,
    sender: &Sender<Result<Step, Failure>>,
) -> Option<()> {
    let mut source = match opened {
        Ok(source) => source,
        Err(failure) => return sender.blocking_send(Err(failure)).ok().and(None),
    };
    loop {
        let step = source.next();
        let (is_end, is_failure) = (!matches!(step, Ok(Step::Message(_))), step.is_err());
        sender.blocking_send(step).ok()?;
        if is_failure {
            return None;
        }
        if is_end {
            return Some(());
        }
    }
}

/// A client that publishes a recording.
struct Replayer<'a> {
    args: &'a ReplayArgs,
    client: Client,
    watch: Watch,
    steps: Receiver<Result<Step, Failure>>,
    /// When the round that is replayed began.
    begun: Instant,
    /// Of messages in their order; as many as the client's queue has room for, and some that are done with.
    handles: VecDeque<PublishHandle>,
    counts: Counts,
    lateness: Lateness,
    progress: Progress,
}

#[derive(Clone, Copy, Debug, Default)]
struct Counts {
    published: u64,
    /// Above QoS 0.
    to_acknowledge: u64,
    acknowledged: u64,
    failed: u64,
}

impl Replayer<'_> {
    async fn run(mut self) -> Result<(), Failure> {
        let first = self.begun;
        let result = self.publish_all().await;
        let result = match result {
            Ok(()) => self.settle_all().await,
            Err(failure) => Err(failure),
        };
        self.watch.close(&self.client).await;
        self.settle_ready();
        drop(self.progress);
        let Counts { published, to_acknowledge, acknowledged, failed } = self.counts;
        let secs = first.elapsed().as_secs_f64();
        let mut told = format!("published {published} messages in {secs:.1} s");
        if matches!(self.args.speed, Speed::Times(_)) && published > 0 {
            told.push_str(&format!("; {}", self.lateness));
        }
        self.watch.tell(&told);
        let missing = to_acknowledge.saturating_sub(acknowledged + failed);
        result?;
        if failed > 0 || missing > 0 {
            return Err(Failure::new(format!(
                "{failed} messages were refused or not published, {missing} have no acknowledgement"
            )));
        }
        Ok(())
    }

    async fn publish_all(&mut self) -> Result<(), Failure> {
        let mut last_due = Duration::ZERO;
        let mut is_round_over = false;
        loop {
            let step = tokio::select! {
                biased;
                happened = self.watch.next() => return end_by(happened),
                step = self.steps.recv() => match step {
                    Some(step) => step?,
                    None => return Ok(()),
                },
            };
            match step {
                Step::Message(_) if is_round_over => {}
                Step::Message(message) => match self.args.selection.choose(message) {
                    Choice::Publish { micros, message } => {
                        let due = self.args.speed.due(micros);
                        last_due = due.unwrap_or_default();
                        self.publish(due, &message).await?;
                    }
                    Choice::Skip => {}
                    Choice::End => is_round_over = true,
                },
                Step::End => {
                    // The next round begins where this one ends.
                    self.begun += last_due;
                    (last_due, is_round_over) = (Duration::ZERO, false);
                }
                Step::Cut(what) => {
                    self.watch.tell(&what);
                    self.begun += last_due;
                    (last_due, is_round_over) = (Duration::ZERO, false);
                }
            }
        }
    }

    /// Publishes a message when it is due.
    async fn publish(&mut self, due: Option<Duration>, message: &Message) -> Result<(), Failure> {
        let due = due.and_then(|due| self.begun.checked_add(due));
        if let Some(due) = due.filter(|&due| due > Instant::now()) {
            // While there is time.
            self.settle_ready();
            tokio::select! {
                () = sleep_until(due) => {}
                happened = self.watch.next() => return end_by(happened),
            }
        }
        let publish = message.to_publish();
        let accepted = tokio::select! {
            accepted = self.client.publish(&publish) => accepted,
            happened = self.watch.next() => return end_by(happened),
        };
        if let Some(due) = due {
            self.lateness.note(Instant::now().saturating_duration_since(due));
        }
        match accepted {
            Ok(handle) => {
                self.counts.published += 1;
                self.counts.to_acknowledge += u64::from(message.qos > QoS::AtMostOnce);
                self.handles.push_back(handle);
            }
            // It may be the message's own fault: it is larger than the broker takes, or no topic there.
            Err(error) => self.fail(&error),
        }
        if self.handles.len() >= SETTLED_EVERY {
            self.settle_ready();
        }
        let published = self.counts.published;
        self.progress.show(format_args!("published {published} messages"));
        Ok(())
    }

    /// Takes what is known of the messages that were published first.
    fn settle_ready(&mut self) {
        let mut context = Context::from_waker(Waker::noop());
        while let Some(handle) = self.handles.front_mut() {
            let Poll::Ready(outcome) = Pin::new(handle).poll(&mut context) else { return };
            self.handles.pop_front();
            self.note(outcome);
        }
    }

    /// Waits for what is to be known of all messages.
    async fn settle_all(&mut self) -> Result<(), Failure> {
        while let Some(handle) = self.handles.front_mut() {
            let outcome = tokio::select! {
                outcome = Pin::new(handle) => outcome,
                happened = self.watch.next() => return end_by(happened),
            };
            self.handles.pop_front();
            self.note(outcome);
        }
        Ok(())
    }

    fn note(&mut self, outcome: Result<Acknowledgement, PublishError>) {
        match outcome {
            Ok(acknowledgement) => {
                self.counts.acknowledged += u64::from(acknowledgement.reason.is_some());
            }
            Err(error) => self.fail(&error),
        }
    }

    fn fail(&mut self, error: &PublishError) {
        self.counts.failed += 1;
        // The first few say what is wrong.
        if self.counts.failed <= TOLD_MAX {
            self.watch.tell(&trouble::not_published(error));
        }
    }
}

/// How a replay ends before its end.
fn end_by(happened: Happened) -> Result<(), Failure> {
    match happened {
        Happened::Interrupted => Err(Failure::new("interrupted").with_code(INTERRUPTED)),
        Happened::Lost(failure) => Err(failure),
        Happened::TimedOut => Err(watch::timed_out()),
        // There is none.
        Happened::SubscriptionLost => Ok(()),
    }
}

/// MQTT 5 has properties.
const ROLE: Role = Role { name: "replay", version: Version::V5 };

/// How many messages are read before they are due.
const READ_AHEAD: usize = 64;

/// How many messages may be done with without being counted.
const SETTLED_EVERY: usize = 1_024;

/// How many failures are told one by one.
const TOLD_MAX: u64 = 5;
