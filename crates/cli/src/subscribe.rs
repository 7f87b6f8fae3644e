//! `quelea sub`: subscribes, and prints what comes.

use std::collections::BTreeSet;
use std::io::{self, BufWriter, StdoutLock, Write};
use std::time::{Duration, Instant};

use clap::Args;
use quelea_codec::{
    Ack, Packet, PacketId, Publish, QoS, ReasonCode, SubAck, Subscribe, SubscriptionOptions,
    check_topic_filter,
};

use crate::connection::{self, ConnectionArgs, lost, timed_out};
use crate::failure::Failure;
use crate::link::{ANSWER_TIME_MAX, Link, Reason};
use crate::print::{self, Reader, unless_unread};

/// The flags of `quelea sub`: Mosquitto's.
#[derive(Debug, Args)]
#[command(
    disable_help_flag = true,
    after_help = "\
Examples:
  quelea sub -t 'plant/+/temperature' -v
  quelea sub -t '$SYS/#' -v -W 5
  quelea sub -t plant/7/alarm -q 1 -C 1 && ring-the-bell

Exit codes: 0 done, 1 no subscription granted, 2 wrong usage, 7 connection lost, 27 time is up (-W); \
a connection that the broker refuses exits with its reason code."
)]
pub(crate) struct SubscribeArgs {
    /// What to subscribe to; may be repeated. + stands for one level, # at the end for all that follow.
    #[arg(short, long = "topic", value_name = "FILTER", required = true)]
    topics: Vec<String>,

    /// The highest QoS to receive: 0, 1 or 2.
    #[arg(short, long, default_value = "0", value_parser = connection::qos)]
    qos: QoS,

    /// Leaves after this many messages.
    #[arg(short = 'C', value_name = "COUNT", value_parser = clap::value_parser!(u64).range(1..))]
    count: Option<u64>,

    /// Leaves after this many seconds, with exit code 27.
    #[arg(short = 'W', value_name = "SECS", value_parser = clap::value_parser!(u32).range(1..))]
    timeout: Option<u32>,

    /// Prints the topic before each message.
    #[arg(short, long)]
    verbose: bool,

    /// Prints no line end after each message.
    #[arg(short = 'N')]
    no_line_end: bool,

    #[command(flatten)]
    connection: ConnectionArgs,
}

/// Runs `quelea sub`.
pub(crate) fn run(args: &SubscribeArgs) -> Result<(), Failure> {
    for filter in &args.topics {
        check_topic_filter(filter).map_err(|_| {
            Failure::usage(format!("\"{filter}\" is no topic filter: {FILTER_RULES}"))
        })?;
    }
    let until = args.timeout.map(|secs| Instant::now() + Duration::from_secs(secs.into()));
    let mut link = args.connection.open("sub", until)?;

    let options = SubscriptionOptions::new(args.qos);
    let filters: Vec<_> = args.topics.iter().map(|filter| (filter.as_str(), options)).collect();
    let packet_id = PacketId::new(1).expect("1 is not 0");
    link.send(&Packet::Subscribe(Subscribe::new(packet_id, None, &filters))).map_err(lost)?;

    let mut subscriber = Subscriber {
        args,
        output: BufWriter::new(io::stdout().lock()),
        left: args.count,
        reader: Reader::Listens,
        unreleased: BTreeSet::new(),
    };
    let result = subscriber.receive_all(&mut link, until);
    link.close();
    result
}

/// Prints messages and answers them.
struct Subscriber<'a> {
    args: &'a SubscribeArgs,
    output: BufWriter<StdoutLock<'static>>,
    /// Messages that are still to be printed; no number prints for ever.
    left: Option<u64>,
    reader: Reader,
    /// QoS 2 messages that have been printed and not released: printed again, they would be there twice.
    unreleased: BTreeSet<PacketId>,
}

/// What is owed to the broker.
#[derive(Clone, Copy, Debug)]
enum Reply {
    Nothing,
    PubAck(PacketId),
    PubRec(PacketId),
    PubComp(PacketId),
}

impl Subscriber<'_> {
    /// Receives until enough has been printed, and the exchanges of that are complete.
    fn receive_all(&mut self, link: &mut Link, until: Option<Instant>) -> Result<(), Failure> {
        let mut end = until;
        loop {
            let Some(packet) = link.receive(end).map_err(lost)? else {
                // The last messages have been printed; that the broker leaves their exchange open changes nothing.
                return if self.is_done() { Ok(()) } else { Err(timed_out()) };
            };
            let was_done = self.is_done();
            let reply = self.on_packet(&packet)?;
            send_reply(link, reply)?;
            if !link.has_received() {
                self.flush()?;
            }
            if self.is_done() && self.unreleased.is_empty() {
                return self.flush();
            }
            if self.is_done() && !was_done {
                let patience = Instant::now() + ANSWER_TIME_MAX;
                end = Some(until.map_or(patience, |until| until.min(patience)));
            }
        }
    }

    fn on_packet(&mut self, packet: &Packet<'_>) -> Result<Reply, Failure> {
        match packet {
            Packet::Publish(publish) => self.on_publish(publish),
            Packet::PubRel(release) => {
                self.unreleased.remove(&release.packet_id);
                Ok(Reply::PubComp(release.packet_id))
            }
            Packet::SubAck(granted) => self.on_suback(granted).map(|()| Reply::Nothing),
            // The rest is not for a subscriber.
            _ => Ok(Reply::Nothing),
        }
    }

    fn on_publish(&mut self, publish: &Publish<'_>) -> Result<Reply, Failure> {
        let is_repeat = publish.packet_id.is_some_and(|id| self.unreleased.contains(&id));
        if self.is_done() && !is_repeat {
            // Not acknowledged, it stays with the broker for the next who asks with this client id.
            return Ok(Reply::Nothing);
        }
        if !is_repeat {
            self.print(publish)?;
        }
        Ok(match (publish.qos, publish.packet_id) {
            (QoS::AtLeastOnce, Some(id)) => Reply::PubAck(id),
            (QoS::ExactlyOnce, Some(id)) => {
                self.unreleased.insert(id);
                Reply::PubRec(id)
            }
            (_, _) => Reply::Nothing,
        })
    }

    /// Says which filters the broker refuses; it is a failure if it refuses all.
    fn on_suback(&self, granted: &SubAck<'_>) -> Result<(), Failure> {
        let refused = |reason: &&u8| ReasonCode(**reason).is_failure();
        for (filter, reason) in
            self.args.topics.iter().zip(granted.reasons).filter(|(_, reason)| refused(reason))
        {
            let reason = Reason(ReasonCode(*reason), granted.properties.reason_string);
            print::to_stderr(&format!(
                "the broker refuses the subscription to \"{filter}\": {reason}"
            ));
        }
        if granted.reasons.iter().all(|reason| refused(&reason)) {
            return Err(Failure::new("no subscription was granted"));
        }
        Ok(())
    }

    fn print(&mut self, publish: &Publish<'_>) -> Result<(), Failure> {
        let written = self.write(publish);
        self.note(written)?;
        self.left = self.left.map(|left| left.saturating_sub(1));
        Ok(())
    }

    fn write(&mut self, publish: &Publish<'_>) -> io::Result<()> {
        if self.args.verbose {
            write!(self.output, "{} ", publish.topic)?;
        }
        self.output.write_all(publish.payload)?;
        if self.args.no_line_end { Ok(()) } else { self.output.write_all(b"\n") }
    }

    fn flush(&mut self) -> Result<(), Failure> {
        let flushed = self.output.flush();
        self.note(flushed)
    }

    fn note(&mut self, written: io::Result<()>) -> Result<(), Failure> {
        if unless_unread(written)? == Reader::HasGone {
            self.reader = Reader::HasGone;
        }
        Ok(())
    }

    fn is_done(&self) -> bool {
        self.left == Some(0) || self.reader == Reader::HasGone
    }
}

fn send_reply(link: &mut Link, reply: Reply) -> Result<(), Failure> {
    let packet = match reply {
        Reply::Nothing => return Ok(()),
        Reply::PubAck(id) => Packet::PubAck(Ack::new(id, ReasonCode::SUCCESS)),
        Reply::PubRec(id) => Packet::PubRec(Ack::new(id, ReasonCode::SUCCESS)),
        Reply::PubComp(id) => Packet::PubComp(Ack::new(id, ReasonCode::SUCCESS)),
    };
    link.send(&packet).map_err(lost)
}

const FILTER_RULES: &str =
    "it must not be empty nor longer than 65,535 bytes, + must fill a level, and # the last one";
