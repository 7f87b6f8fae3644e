//! `quelea rr`: publishes a request, and prints the response, or all that come.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::time::Duration;

use clap::{ArgGroup, Args};
use quelea_client::{Client, Message, Overflow, Publish, QoS, Subscribe, Subscription, Version};

use crate::connection::{self, Connection, ConnectionArgs, Role, check_topic};
use crate::failure::Failure;
use crate::payload::PayloadArgs;
use crate::print::Reader;
use crate::properties::MessageProperties;
use crate::show::{OutputArgs, Printer};
use crate::trouble;
use crate::watch::{self, Happened, Watch};

/// The flags of `quelea rr`: Mosquitto's.
#[derive(Debug, Args)]
#[command(
    disable_help_flag = true,
    args_override_self = true,
    group = ArgGroup::new("source").required(true),
    after_help = "\
Examples:
  quelea rr -t plant/7/read -m temperature
  quelea rr -t plant/all/read -m temperature -C 0 -W 5 -v
  quelea rr -t old/request -e old/response -V 311 -m ping

The request names the topic for responses, and has data by which they are told from those to others (MQTT 5, section \
4.10); a responder has to send both back. In MQTT 3 there is neither, and everything on -e is a response.

Exit codes: 0 as many responses as were wanted; 1 the request or the subscription was refused, or no connection; 2 \
wrong usage; 7 connection lost (--no-reconnect); 27 time is up (-W), or with -C 0 no response came till then; 130 \
interrupted; a connection that the broker refuses exits with its reason code."
)]
pub(crate) struct RequestArgs {
    /// The topic to send the request to.
    #[arg(short, long, required_unless_present = "url")]
    topic: Option<String>,

    /// The topic for responses. [default: one of its own]
    #[arg(short = 'e', long, value_name = "TOPIC")]
    response_topic: Option<String>,

    #[command(flatten)]
    payload: PayloadArgs,

    /// The QoS of request and responses: 0, 1 or 2.
    #[arg(short, long, default_value = "0", value_parser = connection::qos)]
    qos: QoS,

    /// Has the broker keep the request for those who subscribe later.
    #[arg(short, long)]
    retain: bool,

    /// Takes no retained message for a response.
    #[arg(short = 'R', long)]
    no_retained: bool,

    /// How many responses to wait for; 0 is all that come until -W.
    #[arg(short = 'C', long, value_name = "COUNT", default_value = "1")]
    responses: u64,

    /// How many seconds to wait for responses.
    #[arg(short = 'W', long, value_name = "SECS", value_parser = clap::value_parser!(u32).range(1..), required_if_eq("responses", "0"))]
    timeout: Option<u32>,

    #[command(flatten)]
    output: OutputArgs,

    #[command(flatten)]
    connection: ConnectionArgs,
}

/// Runs `quelea rr`.
pub(crate) fn run(args: &RequestArgs) -> Result<(), Failure> {
    let mut connection = args.connection.prepare(ROLE)?;
    let topic = args.topic.as_deref().or(connection.topic()).map(str::to_owned);
    let topic = topic.ok_or_else(|| Failure::usage("there is no topic in the URL: add -t"))?;
    check_topic(&topic)?;
    let is_v5 = connection.version().is_v5();
    let mut properties = std::mem::take(&mut connection.properties.publish);
    let token = format!("{:016x}", RandomState::new().build_hasher().finish());
    let response_topic = match args.response_topic.clone().or(properties.response_topic.take()) {
        Some(topic) => topic,
        None if is_v5 => format!("response/{token}"),
        None => {
            return Err(Failure::usage(
                "in MQTT 3 a responder cannot be told where to respond: -e says where it does",
            ));
        }
    };
    check_topic(&response_topic)?;
    properties.response_topic = Some(response_topic.clone());
    properties.correlation_data.get_or_insert(token);
    let payload = args.payload.read()?.unwrap_or_default();
    let printer = Printer::new(&args.output, connection.is_quiet())?;
    let request = Request { args, topic, response_topic, properties, payload };
    let answered = watch::block_on(request.run(connection, printer));
    answered.map_err(|failure| args.connection.tell(failure))
}

/// What is asked, and where.
struct Request<'a> {
    args: &'a RequestArgs,
    topic: String,
    response_topic: String,
    properties: MessageProperties,
    payload: Vec<u8>,
}

impl Request<'_> {
    async fn run(&self, connection: Connection, mut printer: Printer) -> Result<(), Failure> {
        let is_v5 = connection.version().is_v5();
        let (client, mut watch) = connection.start()?;
        watch.set_timeout(self.args.timeout.map(|it| Duration::from_secs(it.into())));
        let mut come = 0;
        let result = match watch.connected().await {
            Ok(()) => {
                let work = self.ask(&client, is_v5, &mut printer, &mut come);
                tokio::select! {
                    biased;
                    done = work => done,
                    failure = ending(&mut watch) => Err(failure),
                }
            }
            Err(failure) => Err(failure),
        };
        watch.close(&client).await;
        printer.finish()?;
        match result {
            // That is how "all" ends.
            Err(failure) if failure.is_timeout() && self.args.responses == 0 && come > 0 => Ok(()),
            result => result,
        }
    }

    async fn ask(
        &self,
        client: &Client,
        is_v5: bool,
        printer: &mut Printer,
        come: &mut u64,
    ) -> Result<(), Failure> {
        let subscribe = Subscribe::new(&self.response_topic).qos(self.args.qos);
        let subscribe = subscribe.overflow(Overflow::DropNewest).acknowledge_manually();
        let mut responses = client.subscribe(subscribe).await.map_err(|error| {
            let (topic, why) = (&self.response_topic, trouble::not_subscribed(&error));
            Failure::new(format!(
                "responses cannot be received, because the broker refuses the subscription to \"{topic}\": {why}; -e \
                 names another topic"
            ))
        })?;
        let mut request = Publish::new(&self.topic, &self.payload).qos(self.args.qos);
        if self.args.retain {
            request = request.retain();
        }
        let request = self.properties.apply(request);
        let not_published = |error| Failure::new(trouble::not_published(&error));
        let handle = client.publish(&request).await.map_err(not_published)?;
        let acknowledged = handle.await.map_err(not_published)?;
        if acknowledged.had_no_subscribers() {
            return Err(Failure::new(format!("nobody has subscribed to {}", self.topic)));
        }
        self.print_all(&mut responses, is_v5, printer, come).await
    }

    async fn print_all(
        &self,
        responses: &mut Subscription,
        is_v5: bool,
        printer: &mut Printer,
        come: &mut u64,
    ) -> Result<(), Failure> {
        while let Some(message) = responses.next().await {
            if self.is_response(&message, is_v5) {
                printer.print(&message)?;
                printer.flush()?;
                *come += 1;
            }
            message.acknowledge();
            if *come == self.args.responses || printer.reader() == Reader::HasGone {
                return Ok(());
            }
        }
        Err(Failure::new("the broker has taken the subscription back"))
    }

    /// Policy: a message without correlation data counts, because many responders know nothing of it.
    fn is_response(&self, message: &Message, is_v5: bool) -> bool {
        let ours = self.properties.correlation_data.as_deref().map(str::as_bytes);
        let is_ours = !is_v5 || message.correlation_data().is_none_or(|it| Some(it) == ours);
        is_ours && !(self.args.no_retained && message.is_retained())
    }
}

/// Waits for what ends a requester before its responses are there.
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

const ROLE: Role = Role { name: "rr", version: Version::V5 };
