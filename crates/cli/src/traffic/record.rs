//! `quelea record`: writes what comes to a file of traffic.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use clap::Args;
use quelea_client::{
    Acknowledge, Buffering, Client, Message, Overflow, QoS, RetainHandling, Subscribe,
    Subscription, Version,
};
use quelea_traffic::Writer;
use tokio::time::{MissedTickBehavior, interval};

use super::output::{Output, Place};
use super::{parse_bytes, parse_secs};
use crate::connection::{self, ConnectionArgs, Role, check_filter};
use crate::failure::{CONNECTION_LOST, Failure};
use crate::print::{Departure, Reader};
use crate::progress::Progress;
use crate::received::with_packet;
use crate::trouble;
use crate::watch::{self, Happened, Watch};

/// The flags of `quelea record`.
#[derive(Debug, Args)]
#[command(
    disable_help_flag = true,
    args_override_self = true,
    after_help = "\
Examples:
  quelea record plant.qtr -t 'plant/#'
  quelea record night.qtr -h broker.example -t '#' --for 8h --size-max 2G
  quelea record - -t 'plant/#' --count 1000 | gzip > plant.qtr.gz

`quelea replay FILE` publishes it again, `quelea replay FILE --json` prints it. The format is documented; after a crash a file \
is good up to its last second, and --append goes on with it.

Exit codes: 0 done, or ended by a signal; 1 it cannot be written, or no subscription is granted; 2 wrong usage; 7 \
connection lost (--no-reconnect); a connection that the broker refuses exits with its reason code."
)]
pub(crate) struct RecordArgs {
    /// The file, which must not be there; - is standard output.
    file: PathBuf,

    /// What to record; may be repeated. + stands for one level, # at the end for all that follow.
    #[arg(short, long = "topic", value_name = "FILTER", required = true)]
    topics: Vec<String>,

    /// The highest QoS to receive: 0, 1 or 2.
    #[arg(short, long, default_value = "2", value_parser = connection::qos)]
    qos: QoS,

    /// Leaves out what the broker has retained from before.
    #[arg(long)]
    no_retained: bool,

    /// Goes on with the file if it is there, after what a crash may have cut off.
    #[arg(long, conflicts_with = "force")]
    append: bool,

    /// Replaces the file if it is there.
    #[arg(long)]
    force: bool,

    /// Ends after so many seconds; with m or h, minutes or hours.
    #[arg(long = "for", value_name = "TIME", value_parser = parse_secs)]
    time_max: Option<Duration>,

    /// Ends after so many messages.
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u64).range(1..))]
    count: Option<u64>,

    /// Ends before the file is larger; with K, M or G for its unit.
    #[arg(long, value_name = "BYTES", value_parser = parse_bytes)]
    size_max: Option<u64>,

    #[command(flatten)]
    connection: ConnectionArgs,
}

/// Runs `quelea record`.
pub(crate) fn run(args: &RecordArgs) -> Result<(), Failure> {
    args.topics.iter().try_for_each(|it| check_filter(it))?;
    let connection = args.connection.prepare(ROLE)?;
    let place = Place::new(&args.file, args.append, args.force)?;
    let is_quiet = connection.is_quiet();
    let version = connection.version();
    let recorded = watch::runtime()?.block_on(async {
        let (client, mut watch) = connection.start()?;
        let messages = client.unclaimed(BUFFERING);
        let opened = match watch.connected().await {
            Ok(()) => place.open(),
            Err(failure) => Err(failure),
        };
        let (writer, base_micros) = opened?;
        let recorder = Recorder {
            args,
            version,
            client,
            watch,
            messages,
            writer,
            base_micros,
            begun: Instant::now(),
            recorded: 0,
            granted: 0,
            unsettled: Vec::new(),
            is_done: false,
            progress: Progress::new(is_quiet),
            departure: (args.file.as_os_str() == "-").then(Departure::watch),
        };
        recorder.run().await
    });
    recorded.map_err(|failure| args.connection.tell(failure))
}

/// A client that writes down what it receives.
struct Recorder<'a> {
    args: &'a RecordArgs,
    version: Version,
    client: Client,
    watch: Watch,
    /// Each message once, whatever the number of filters that match.
    messages: Subscription,
    writer: Writer<Output>,
    /// The time of `begun` in the file.
    base_micros: u64,
    begun: Instant,
    recorded: u64,
    /// Subscriptions that there are.
    granted: usize,
    /// Messages at QoS 1 and 2 that will be acknowledged when they are in the file.
    unsettled: Vec<Message>,
    is_done: bool,
    progress: Progress,
    /// Whether the reader goes while there is nothing to write, if there is one.
    departure: Option<Departure>,
}

impl Recorder<'_> {
    async fn run(mut self) -> Result<(), Failure> {
        self.watch.set_timeout(self.args.time_max);
        let result = match self.subscribe().await {
            Ok(()) => self.receive().await,
            Err(failure) => Err(failure),
        };
        let settled = self.settle();
        let size = self.writer.bytes();
        // Before `messages` is dropped, which would acknowledge what nobody has written down.
        self.watch.close(&self.client).await;
        drop(self.progress);
        let finished = self.writer.finish().and_then(Output::sync);
        let secs = self.begun.elapsed().as_secs_f64();
        let recorded = self.recorded;
        self.watch.tell(&format!("recorded {recorded} messages in {secs:.1} s, {size} bytes"));
        let dropped = self.messages.dropped();
        if dropped > 0 {
            self.watch.tell(&format!("{dropped} messages at QoS 0 came too fast and are missing"));
        }
        let finished = finished.or_else(|error| self.args.unless_unread(error).map(drop));
        result.and(settled).and(finished)
    }

    async fn subscribe(&mut self) -> Result<(), Failure> {
        for filter in &self.args.topics {
            let subscribing = self.client.subscribe_unclaimed(self.args.subscribe(filter));
            let granted = tokio::select! {
                granted = subscribing => granted,
                happened = self.watch.next() => match happened {
                    Happened::Lost(failure) => return Err(failure),
                    Happened::Interrupted | Happened::TimedOut => {
                        self.is_done = true;
                        return Ok(());
                    }
                    Happened::SubscriptionLost => return Err(nothing_granted()),
                },
            };
            match granted {
                Ok(_) => self.granted += 1,
                Err(error) => {
                    let why = trouble::not_subscribed(&error);
                    let refused = format!("the broker refuses the subscription to \"{filter}\": ");
                    self.watch.tell(&(refused + &why));
                }
            }
        }
        if self.granted == 0 { Err(nothing_granted()) } else { Ok(()) }
    }

    async fn receive(&mut self) -> Result<(), Failure> {
        let mut flush = interval(FLUSH_EVERY);
        flush.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            // As many as there are, without waiting for anything.
            while !self.is_done
                && let Some(message) = self.messages.try_next()
            {
                self.on_message(message)?;
            }
            if self.is_done {
                return Ok(());
            }
            // A broker may wait for these before it sends more.
            if !self.unsettled.is_empty() {
                self.settle()?;
            }
            tokio::select! {
                biased;
                happened = self.watch.next() => match happened {
                    Happened::Interrupted | Happened::TimedOut => return Ok(()),
                    Happened::Lost(failure) => return Err(failure),
                    Happened::SubscriptionLost => {
                        self.granted = self.granted.saturating_sub(1);
                        if self.granted == 0 {
                            return Err(nothing_granted());
                        }
                    }
                },
                () = departed(self.departure.as_ref()) => self.is_done = true,
                _ = flush.tick() => {
                    self.settle()?;
                    self.show_progress();
                }
                message = self.messages.next() => match message {
                    Some(message) => self.on_message(message)?,
                    None => return Err(Failure::new("the client has ended").with_code(CONNECTION_LOST)),
                },
            }
        }
    }

    fn on_message(&mut self, message: Message) -> Result<(), Failure> {
        // MQTT 3.x has no other way to leave them out: there only these say that they are retained.
        let is_unwanted = self.args.no_retained && message.is_retained() && !self.version.is_v5();
        let is_settled = is_unwanted || self.record(&message)?;
        if !is_settled {
            // Not acknowledged, it stays with the broker.
            self.is_done = true;
            return Ok(());
        }
        if message.qos() > QoS::AtMostOnce {
            self.unsettled.push(message);
            if self.unsettled.len() >= UNSETTLED_MAX {
                self.settle()?;
            }
        }
        self.is_done |= self.args.count.is_some_and(|count| self.recorded >= count);
        Ok(())
    }

    /// Writes a message down, unless the file would be too large.
    fn record(&mut self, message: &Message) -> Result<bool, Failure> {
        let elapsed = u64::try_from(self.begun.elapsed().as_micros()).unwrap_or(u64::MAX);
        let micros = self.base_micros.saturating_add(elapsed);
        let written = with_packet(message, |packet| {
            let size = self.writer.bytes_with(packet);
            if self.args.size_max.is_some_and(|size_max| size > size_max) {
                return Ok(false);
            }
            self.writer.push(micros, packet).map(|()| true)
        });
        match written {
            Ok(is_recorded) => {
                self.recorded += u64::from(is_recorded);
                Ok(is_recorded)
            }
            Err(error) => self.args.unless_unread(error).map(|_| false),
        }
    }

    /// Has what was recorded leave this process, and only then acknowledges it.
    fn settle(&mut self) -> Result<(), Failure> {
        if let Err(error) = self.writer.flush() {
            self.args.unless_unread(error)?;
            self.is_done = true;
            self.unsettled.clear();
            return Ok(());
        }
        self.unsettled.drain(..).for_each(|it| it.acknowledge());
        Ok(())
    }

    fn show_progress(&mut self) {
        let (recorded, size) = (self.recorded, self.writer.bytes());
        self.progress.show(format_args!("{recorded} messages, {size} bytes"));
    }
}

impl RecordArgs {
    fn subscribe<'a>(&self, filter: &'a str) -> Subscribe<'a> {
        let subscribe = Subscribe::new(filter).qos(self.qos).retain_as_published();
        if self.no_retained {
            return subscribe.retain_handling(RetainHandling::DoNotSend);
        }
        subscribe
    }

    /// Tells a reader that has gone from a file that cannot be written.
    fn unless_unread(&self, error: std::io::Error) -> Result<Reader, Failure> {
        if error.kind() == std::io::ErrorKind::BrokenPipe {
            return Ok(Reader::HasGone);
        }
        Err(Failure::new(format!("cannot write {}: {error}", self.file.display())))
    }
}

async fn departed(departure: Option<&Departure>) {
    match departure {
        Some(departure) => departure.wait().await,
        None => std::future::pending().await,
    }
}

fn nothing_granted() -> Failure {
    Failure::new("no subscription was granted")
}

/// MQTT 5 has properties, and says whether a message that comes live was published to be retained.
const ROLE: Role = Role { name: "record", version: Version::V5 };

/// A message at QoS 1 or 2 is acknowledged when it is in the file. Of those at QoS 0 as many wait as can come between two
/// turns of the one thread: while it writes, nothing is read from the broker.
const BUFFERING: Buffering = Buffering {
    capacity: 4 * 1024 * 1024,
    overflow: Overflow::DropNewest,
    acknowledge: Acknowledge::Manually,
};

/// A crash loses no more than this of what came at QoS 0.
const FLUSH_EVERY: Duration = Duration::from_secs(1);

/// How many messages may be in no file and unacknowledged, if more are there.
const UNSETTLED_MAX: usize = 256;
