//! `quelea sub`: subscribes, and prints what comes.

mod receiver;
mod selection;

use std::time::Duration;

use clap::{Args, ValueEnum};
use quelea_client::{QoS, RetainHandling, Subscribe, Version};

use crate::connection::{self, ConnectionArgs, Role, check_filter};
use crate::failure::Failure;
use crate::show::{OutputArgs, Printer};
use crate::watch;
use receiver::Receiver;
use selection::{Selection, SelectionArgs};

/// The flags of `quelea sub`: Mosquitto's.
#[derive(Debug, Args)]
#[command(
    disable_help_flag = true,
    args_override_self = true,
    after_help = "\
Examples:
  quelea sub -t 'plant/+/temperature' -v
  quelea sub -t '$SYS/#' -v -W 5
  quelea sub -t plant/7/alarm -q 1 -C 1 && ring-the-bell
  quelea sub -t 'spBv1.0/#' --decode
  quelea sub -t '#' -F '%I %q%r %t %l bytes'

When the connection is lost it connects again, and with -c gets what it missed.

Exit codes: 0 done, or ended by a signal; 1 no subscription granted, or no connection; 2 wrong usage; 7 connection \
lost (--no-reconnect); 27 time is up (-W); a connection that the broker refuses exits with its reason code."
)]
pub(crate) struct SubscribeArgs {
    /// What to subscribe to; may be repeated. + stands for one level, # at the end for all that follow.
    #[arg(short, long = "topic", value_name = "FILTER", required_unless_present_any = ["url", "unsubscribe"])]
    topics: Vec<String>,

    /// The highest QoS to receive: 0, 1 or 2.
    #[arg(short, long, default_value = "0", value_parser = connection::qos)]
    qos: QoS,

    /// Has the broker end an earlier subscription of a kept session; may be repeated.
    #[arg(short = 'U', long, value_name = "FILTER")]
    unsubscribe: Vec<String>,

    /// Leaves when the broker has granted the subscriptions: with -c it keeps them.
    #[arg(short = 'E', long)]
    exit_after_subscribe: bool,

    /// Leaves after this many messages.
    #[arg(short = 'C', long, value_name = "COUNT", value_parser = clap::value_parser!(u64).range(1..))]
    messages: Option<u64>,

    /// Leaves after this many seconds, with exit code 27.
    #[arg(short = 'W', long, value_name = "SECS", value_parser = clap::value_parser!(u32).range(1..))]
    timeout: Option<u32>,

    /// MQTT 5: leaves out what this client publishes itself.
    #[arg(long)]
    no_local: bool,

    /// MQTT 5: has messages say that they are retained though they come live.
    #[arg(long)]
    retain_as_published: bool,

    /// MQTT 5: when the broker sends what it retains.
    #[arg(long, value_name = "WHEN", default_value = "always", value_enum)]
    retain_handling: Retained,

    #[command(flatten)]
    selection: SelectionArgs,

    #[command(flatten)]
    output: OutputArgs,

    #[command(flatten)]
    connection: ConnectionArgs,
}

/// When a broker sends what it retains.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Retained {
    /// At every subscription.
    Always,
    /// When the subscription is new.
    New,
    /// Never.
    Never,
}

/// Runs `quelea sub`.
pub(crate) fn run(args: &SubscribeArgs) -> Result<(), Failure> {
    let connection = args.connection.prepare(ROLE)?;
    let filters: Vec<&str> =
        args.topics.iter().map(String::as_str).chain(connection.topic()).collect();
    filters
        .iter()
        .copied()
        .chain(args.unsubscribe.iter().map(String::as_str))
        .try_for_each(check_filter)?;
    if filters.is_empty() && args.unsubscribe.is_empty() {
        return Err(Failure::usage("there is no topic in the URL: add -t"));
    }
    if let Some(both) = filters.iter().find(|it| args.unsubscribe.iter().any(|other| other == **it))
    {
        return Err(Failure::usage(format!(
            "\"{both}\" is to be subscribed to (-t), and its subscription is to end (-U): leave one of them out"
        )));
    }
    let is_v5 = connection.version().is_v5();
    let needs_v5 =
        args.no_local || args.retain_as_published || args.retain_handling != Retained::Always;
    if needs_v5 && !is_v5 {
        return Err(Failure::usage(
            "--no-local, --retain-as-published and --retain-handling need MQTT 5: add -V 5",
        ));
    }
    let plan = Plan {
        filters: filters.iter().map(|&it| it.to_owned()).collect(),
        unsubscribes: args.unsubscribe.clone(),
        wishes: args.wishes(),
        leaves_when_granted: args.exit_after_subscribe,
        messages_max: args.messages,
        timeout: args.timeout.map(|it| Duration::from_secs(it.into())),
        selection: Selection::new(&args.selection)?,
    };
    let printer = Printer::new(&args.output, connection.is_quiet())?;
    let received =
        watch::block_on(async { Receiver::start(connection, plan, printer)?.run().await });
    received.map_err(|failure| args.connection.tell(failure))
}

/// What a receiver is to do.
struct Plan {
    filters: Vec<String>,
    unsubscribes: Vec<String>,
    wishes: Wishes,
    leaves_when_granted: bool,
    messages_max: Option<u64>,
    timeout: Option<Duration>,
    selection: Selection,
}

/// What is wished for with every subscription.
#[derive(Clone, Copy, Debug)]
struct Wishes {
    qos: QoS,
    no_local: bool,
    retain_as_published: bool,
    retain_handling: RetainHandling,
}

impl SubscribeArgs {
    fn wishes(&self) -> Wishes {
        Wishes {
            qos: self.qos,
            no_local: self.no_local,
            retain_as_published: self.retain_as_published,
            retain_handling: match self.retain_handling {
                Retained::Always => RetainHandling::SendAtSubscribe,
                Retained::New => RetainHandling::SendIfNew,
                Retained::Never => RetainHandling::DoNotSend,
            },
        }
    }
}

impl Wishes {
    fn subscribe(self, filter: &str) -> Subscribe<'_> {
        let mut subscribe =
            Subscribe::new(filter).qos(self.qos).retain_handling(self.retain_handling);
        if self.no_local {
            subscribe = subscribe.no_local();
        }
        if self.retain_as_published {
            subscribe = subscribe.retain_as_published();
        }
        subscribe
    }
}

const ROLE: Role = Role { name: "sub", version: Version::V311 };
