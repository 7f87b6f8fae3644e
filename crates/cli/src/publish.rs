//! `quelea pub`: publishes messages, and leaves when the broker has all of them.

use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use clap::{ArgGroup, Args};
use quelea_client::{Acknowledgement, Client, Publish, PublishError, PublishHandle, QoS, Version};
use tokio::time::sleep;

use crate::connection::{self, Connection, ConnectionArgs, Role, check_topic};
use crate::failure::Failure;
use crate::lines::Lines;
use crate::payload::{PayloadArgs, stdin_failed};
use crate::progress::Progress;
use crate::properties::MessageProperties;
use crate::watch::{self, Happened, Watch};

/// The flags of `quelea pub`: Mosquitto's.
#[derive(Debug, Args)]
#[command(
    disable_help_flag = true,
    args_override_self = true,
    group = ArgGroup::new("source").required(true),
    after_help = "\
Examples:
  quelea pub -t plant/7/temperature -m 21.5
  quelea pub -t plant/7/firmware -f image.bin -q 1 -r
  dmesg -w | quelea pub -t plant/7/log -l

With QoS 1 and 2 it leaves when the broker has acknowledged everything, over as many connections as that takes.

Exit codes: 0 all published; 1 not all, or no connection; 2 wrong usage; 7 connection lost; 27 time is up (-W); \
130 interrupted; a connection that the broker refuses exits with its reason code."
)]
pub(crate) struct PublishArgs {
    /// The topic to publish to.
    #[arg(short, long, required_unless_present = "url")]
    topic: Option<String>,

    #[command(flatten)]
    payload: PayloadArgs,

    /// Sends each line of standard input as a message of its own.
    #[arg(short = 'l', long, group = "source")]
    stdin_line: bool,

    /// The QoS: 0, 1 or 2.
    #[arg(short, long, default_value = "0", value_parser = connection::qos)]
    qos: QoS,

    /// Has the broker keep the message for those who subscribe later.
    #[arg(short, long)]
    retain: bool,

    /// Sends the message so many times.
    #[arg(long, value_name = "COUNT", default_value = "1", conflicts_with = "stdin_line", value_parser = clap::value_parser!(u64).range(1..))]
    repeat: u64,

    /// Seconds between a message and its repetition.
    #[arg(long, value_name = "SECS", default_value = "0", conflicts_with = "stdin_line", value_parser = delay)]
    repeat_delay: Duration,

    /// How many messages may be under way at once. [default: 10000]
    #[arg(short = 'M', long, value_name = "COUNT", value_parser = clap::value_parser!(u32).range(1..))]
    max_inflight: Option<u32>,

    /// Gives up after this many seconds, with exit code 27.
    #[arg(short = 'W', long, value_name = "SECS", value_parser = clap::value_parser!(u32).range(1..))]
    timeout: Option<u32>,

    #[command(flatten)]
    connection: ConnectionArgs,
}

/// Runs `quelea pub`.
pub(crate) fn run(args: &PublishArgs) -> Result<(), Failure> {
    let connection = args.connection.prepare(ROLE)?;
    let topic = args.topic.as_deref().or(connection.topic()).map(str::to_owned);
    let topic = topic.ok_or_else(|| Failure::usage("there is no topic in the URL: add -t"))?;
    check_topic(&topic)?;
    // What is to be sent is there before the connection, which would otherwise wait for a slow disk or pipe.
    let message = args.payload.read()?;
    let published = watch::block_on(args.publish(connection, &topic, message));
    published.map_err(|failure| args.connection.tell(failure))
}

impl PublishArgs {
    async fn publish(
        &self,
        mut connection: Connection,
        topic: &str,
        message: Option<Vec<u8>>,
    ) -> Result<(), Failure> {
        if let Some(count) = self.max_inflight {
            connection.limit_queue(count as usize);
        }
        let properties = std::mem::take(&mut connection.properties.publish);
        let progress = Progress::new(connection.is_quiet() || message.is_some());
        let (client, mut watch) = connection.start()?;
        watch.set_timeout(self.timeout.map(|it| Duration::from_secs(it.into())));
        watch.connected().await?;
        let (qos, retain) = (self.qos, self.retain);
        let mut publisher = Publisher {
            client: &client,
            topic,
            qos,
            retain,
            properties: &properties,
            tally: Tally::default(),
            progress,
        };
        let happened = {
            let work = publisher.work(self, message);
            tokio::select! {
                biased;
                done = work => Ok(done),
                happened = ending(&mut watch) => Err(happened),
            }
        };
        let mut tally = publisher.tally;
        drop(publisher.progress);
        let unfinished = watch.close(&client).await;
        tally.take_ready();
        for line in &tally.troubles {
            watch.tell(line);
        }
        tally.verdict(happened, unfinished)
    }
}

/// Waits for what ends a publisher before its work is done.
async fn ending(watch: &mut Watch) -> Failure {
    loop {
        match watch.next().await {
            Happened::Interrupted => return watch::interrupted(),
            Happened::TimedOut => return watch::timed_out(),
            Happened::Lost(failure) => return failure,
            Happened::SubscriptionLost => {}
        }
    }
}

/// Publishes to one topic.
struct Publisher<'a> {
    client: &'a Client,
    topic: &'a str,
    qos: QoS,
    retain: bool,
    properties: &'a MessageProperties,
    tally: Tally,
    progress: Progress,
}

impl Publisher<'_> {
    /// Publishes everything, and waits until it is known what became of it.
    async fn work(&mut self, args: &PublishArgs, message: Option<Vec<u8>>) -> Result<(), Failure> {
        match message {
            Some(payload) => self.publish_repeatedly(&payload, args).await?,
            None => self.publish_lines().await?,
        }
        self.finish().await;
        Ok(())
    }

    async fn publish_repeatedly(
        &mut self,
        payload: &[u8],
        args: &PublishArgs,
    ) -> Result<(), Failure> {
        for round in 0..args.repeat {
            if round > 0 && !args.repeat_delay.is_zero() {
                self.finish().await;
                sleep(args.repeat_delay).await;
            }
            self.publish(payload).await?;
        }
        Ok(())
    }

    async fn publish_lines(&mut self) -> Result<(), Failure> {
        let mut lines = Lines::of_stdin();
        while let Some(block) = lines.next().await {
            for line in block.map_err(stdin_failed)?.lines() {
                self.publish(line).await?;
            }
            self.tally.take_ready();
            self.show();
        }
        Ok(())
    }

    async fn publish(&mut self, payload: &[u8]) -> Result<(), Failure> {
        let mut publish = Publish::new(self.topic, payload).qos(self.qos);
        if self.retain {
            publish = publish.retain();
        }
        match self.client.publish(&self.properties.apply(publish)).await {
            Ok(handle) => self.tally.open(handle).await,
            // Others may fit.
            Err(error @ PublishError::TooLarge) => self.tally.close(Err(error)),
            Err(error) => return Err(Failure::new(crate::trouble::not_published(&error))),
        }
        Ok(())
    }

    /// Waits for everything that is under way.
    async fn finish(&mut self) {
        while self.tally.wait_for_one().await {
            self.show();
        }
    }

    fn show(&mut self) {
        let Tally { published, failed, open, .. } = &self.tally;
        let done = published + failed;
        self.progress.show(format_args!("{done} published, {} under way", open.len()));
    }
}

/// What became of messages.
#[derive(Debug, Default)]
struct Tally {
    published: u64,
    failed: u64,
    /// In the order in which they were accepted. The client's queue has a limit, and with it this.
    open: VecDeque<PublishHandle>,
    /// What to tell of those that failed: of the first few.
    troubles: Vec<String>,
}

impl Tally {
    async fn open(&mut self, handle: PublishHandle) {
        self.open.push_back(handle);
        if self.open.len() >= OPEN_MAX {
            self.take_ready();
            if self.open.len() >= OPEN_MAX {
                self.wait_for_one().await;
            }
        }
    }

    /// Waits for the oldest, and returns whether there was one.
    async fn wait_for_one(&mut self) -> bool {
        let Some(oldest) = self.open.front_mut() else {
            return false;
        };
        // It leaves the queue only with its answer: this may be dropped meanwhile.
        let result = Pin::new(oldest).await;
        self.open.pop_front();
        self.close(result);
        true
    }

    /// Takes the answers that have come, as far as they are in order.
    fn take_ready(&mut self) {
        let mut context = Context::from_waker(Waker::noop());
        while let Some(oldest) = self.open.front_mut() {
            let Poll::Ready(result) = Pin::new(oldest).poll(&mut context) else {
                return;
            };
            self.open.pop_front();
            self.close(result);
        }
    }

    fn close(&mut self, result: Result<Acknowledgement, PublishError>) {
        let Err(error) = result else {
            self.published += 1;
            return;
        };
        // Interrupted before an answer came, it counts among the unfinished.
        if error == PublishError::Closed {
            return;
        }
        self.failed += 1;
        if self.troubles.len() < TROUBLES_TOLD_MAX {
            self.troubles.push(crate::trouble::not_published(&error));
        }
    }

    fn verdict(
        &self,
        work: Result<Result<(), Failure>, Failure>,
        unfinished: usize,
    ) -> Result<(), Failure> {
        let Self { published, failed, .. } = self;
        let rest = match unfinished {
            0 => String::new(),
            count => format!("; {count} may not have been published: no acknowledgement came"),
        };
        match work {
            Ok(Ok(())) if *failed == 0 && unfinished == 0 => Ok(()),
            Ok(Ok(())) => {
                let all = published + failed + unfinished as u64;
                Err(Failure::new(format!("{failed} of {all} messages were not published{rest}")))
            }
            Ok(Err(failure)) | Err(failure) => {
                let code = failure.code();
                let told = format!("{failure}; {published} published, {failed} not{rest}");
                Err(Failure::new(told).with_code(code))
            }
        }
    }
}

fn delay(text: &str) -> Result<Duration, String> {
    let secs = text.parse().ok();
    secs.and_then(|it| Duration::try_from_secs_f64(it).ok())
        .ok_or_else(|| "write a number of seconds, such as 0.5".to_owned())
}

const ROLE: Role = Role { name: "pub", version: Version::V311 };

/// How many messages may be without an answer that was looked at: more than the client's queue takes.
const OPEN_MAX: usize = 16_384;

/// How many refusals are told one by one.
const TROUBLES_TOLD_MAX: usize = 10;
