//! `quelea top`: the topics of a broker in a terminal, with their rates and last values.
//!
//! ```text
//!  broker --> feed (a thread) --> Model <-- view --> terminal
//!                                   ^        |
//!                         keys --> Screen ---+
//! ```
//!
//! `model`, `tree`, `rows`, `screen` and `view` know neither clock nor terminal; `feed` and `terminal` know nothing else.

mod feed;
mod field;
mod figures;
mod form;
mod model;
mod payload;
mod rate;
mod rows;
mod screen;
mod table;
mod terminal;
#[cfg(test)]
mod testing;
mod tree;
mod value;
mod view;

use std::io::{self, IsTerminal};
use std::time::{Duration, Instant};

use clap::Args;
use quelea_client::{QoS, Subscribe, Version};

use crate::connection::{self, ConnectionArgs, Role, check_filter};
use crate::failure::Failure;
use crate::print;
use crate::traffic::parse_secs;
use crate::watch;
use feed::Feed;
use model::Model;
use view::Colours;

/// The flags of `quelea top`.
#[derive(Debug, Args)]
#[command(
    disable_help_flag = true,
    args_override_self = true,
    after_help = "\
Examples:
  quelea top
  quelea top broker.example:1883 -u ann --pw-file password
  quelea top mqtts://broker.example -t 'plant/#'
  quelea top --once --for 10 | sort -rn | head

? shows the keys. Nothing is acknowledged or kept for it at QoS 0, and what comes faster than it can be taken in is counted. \
NO_COLOR switches colours off.

Exit codes: 0 ended by q or a signal; 1 no connection, or with --once a subscription that is refused; 2 wrong usage, or no \
terminal; a connection that the broker refuses exits with its reason code."
)]
pub(crate) struct TopArgs {
    /// The broker: HOST, HOST:PORT or a URL.
    #[arg(value_name = "BROKER", conflicts_with_all = ["host", "port", "url", "unix"])]
    broker: Option<String>,

    /// What to look at; may be repeated. [default: '#' and '$SYS/#']
    #[arg(short, long = "topic", value_name = "FILTER")]
    topics: Vec<String>,

    /// The highest QoS to receive: 0, 1 or 2.
    #[arg(short, long, default_value = "0", value_parser = connection::qos)]
    qos: QoS,

    /// How many topics are shown; messages of more are counted.
    #[arg(long, value_name = "COUNT", default_value_t = 50_000, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    topics_max: u32,

    /// Prints a table after some seconds, and leaves: for scripts, and where there is no terminal.
    #[arg(long)]
    once: bool,

    /// How long --once looks.
    #[arg(long = "for", value_name = "TIME", default_value = "2", requires = "once", value_parser = parse_secs)]
    time: Duration,

    #[command(flatten)]
    connection: ConnectionArgs,
}

/// Runs `quelea top`.
pub(crate) fn run(args: &TopArgs) -> Result<(), Failure> {
    args.topics.iter().try_for_each(|it| check_filter(it))?;
    let is_terminal = io::stdout().is_terminal() && io::stdin().is_terminal();
    if !args.once && !is_terminal {
        return Err(Failure::usage("this is no terminal: --once prints a table instead"));
    }
    let connection_args = match &args.broker {
        Some(broker) => args.connection.clone().at(broker),
        None => args.connection.clone(),
    };
    let connection = connection_args.prepare(ROLE)?.silenced();
    let place = connection.place().to_owned();
    let runtime = watch::runtime()?;
    let model = Model::new(args.topics_max as usize, Instant::now());
    let connected = runtime.block_on(Feed::connect(connection, model));
    let mut feed = connected.map_err(|failure| args.connection.tell(failure))?;
    let requests = args.requests();
    if args.once {
        let ended = runtime.block_on(feed.look(&requests, args.time));
        let model = feed.model();
        print::to_stdout(&table::print(&model, Instant::now()))?;
        return ended.and(model.troubles());
    }
    let feed = feed.run_beside(runtime, requests)?;
    terminal::run(&feed, &place, colours())
}

impl Model {
    /// Returns what went wrong while nobody watched.
    fn troubles(&self) -> Result<(), Failure> {
        match &self.notice {
            Some(notice) if notice.is_trouble => Err(Failure::new(&notice.text)),
            Some(_) | None => Ok(()),
        }
    }
}

impl TopArgs {
    /// Returns the filters, and what is wished for with each.
    fn requests(&self) -> feed::Requests {
        let filters = match self.topics.as_slice() {
            // In `#` there is no `$SYS`.
            [] => vec!["#".to_owned(), "$SYS/#".to_owned()],
            topics => topics.to_vec(),
        };
        feed::Requests { filters, qos: self.qos }
    }
}

impl feed::Requests {
    fn subscribe<'a>(&self, filter: &'a str) -> Subscribe<'a> {
        Subscribe::new(filter).qos(self.qos).retain_as_published()
    }
}

/// `NO_COLOR` with anything in it: <https://no-color.org>.
fn colours() -> Colours {
    let is_off = std::env::var_os("NO_COLOR").is_some_and(|it| !it.is_empty());
    if is_off { Colours::None } else { Colours::Terminal }
}

/// MQTT 5 says whether a message that comes live was published to be retained, and has properties.
const ROLE: Role = Role { name: "top", version: Version::V5 };
