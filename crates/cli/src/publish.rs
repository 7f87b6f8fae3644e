//! `quelea pub`: publishes messages, and leaves when the broker has all of them.

use std::io::{self, BufRead, Read};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::{Duration, Instant};
use std::{fs, thread};

use clap::{ArgGroup, Args};
use quelea_codec::{
    Ack, Packet, PacketId, PacketKind, Publish, PublishProperties, QoS, ReasonCode,
};

use crate::connection::{self, ConnectionArgs, check_topic, lost};
use crate::failure::Failure;
use crate::link::{ANSWER_TIME_MAX, Link, Reason};
use crate::print;

/// The flags of `quelea pub`: Mosquitto's.
#[derive(Debug, Args)]
#[command(
    disable_help_flag = true,
    group = ArgGroup::new("source").required(true),
    after_help = "\
Examples:
  quelea pub -t plant/7/temperature -m 21.5
  quelea pub -t plant/7/firmware -f image.bin -q 1 -r
  dmesg -w | quelea pub -t plant/7/log -l

With QoS 1 and 2 it leaves when the broker has acknowledged everything. Exit codes: 0 all published, \
1 not all, 2 wrong usage, 7 connection lost; a connection that the broker refuses exits with its reason code."
)]
pub(crate) struct PublishArgs {
    /// The topic to publish to.
    #[arg(short, long)]
    topic: String,

    /// The message.
    #[arg(short, long, group = "source", allow_hyphen_values = true)]
    message: Option<String>,

    /// Sends the content of a file.
    #[arg(short, long, value_name = "FILE", group = "source")]
    file: Option<PathBuf>,

    /// Sends each line of standard input as a message of its own.
    #[arg(short = 'l', long, group = "source")]
    stdin_line: bool,

    /// Sends all of standard input as one message.
    #[arg(short = 's', long, group = "source")]
    stdin_file: bool,

    /// Sends an empty message; with -r, this removes the retained one.
    #[arg(short, long, group = "source")]
    null_message: bool,

    /// The QoS: 0, 1 or 2.
    #[arg(short, long, default_value = "0", value_parser = connection::qos)]
    qos: QoS,

    /// Has the broker keep the message for those who subscribe later.
    #[arg(short, long)]
    retain: bool,

    #[command(flatten)]
    connection: ConnectionArgs,
}

/// Runs `quelea pub`.
pub(crate) fn run(args: &PublishArgs) -> Result<(), Failure> {
    check_topic(&args.topic)?;
    // What is to be sent is there before the connection, which would otherwise wait for a slow disk or pipe.
    let message = args.whole_message()?;
    let mut publisher = Publisher {
        link: args.connection.open("pub", None)?,
        topic: &args.topic,
        qos: args.qos,
        retain: args.retain,
        last_id: 0,
        refused_count: 0,
    };
    match message {
        Some(payload) => publisher.publish(&payload)?,
        None => publisher.publish_lines(&lines_of_stdin())?,
    }
    publisher.link.close();
    match publisher.refused_count {
        0 => Ok(()),
        count => Err(Failure::new(format!("{count} of the messages were refused"))),
    }
}

impl PublishArgs {
    /// Returns the one message that there is to send, or nothing when there is one in each line.
    fn whole_message(&self) -> Result<Option<Vec<u8>>, Failure> {
        let mut whole = Vec::new();
        if let Some(message) = &self.message {
            whole.extend_from_slice(message.as_bytes());
        } else if let Some(file) = &self.file {
            whole = read_file(file)?;
        } else if self.stdin_file {
            io::stdin().read_to_end(&mut whole).map_err(stdin_failed)?;
        } else if self.stdin_line {
            return Ok(None);
        }
        Ok(Some(whole))
    }
}

/// A connection for publishing to one topic, one exchange at a time.
struct Publisher<'a> {
    link: Link,
    topic: &'a str,
    qos: QoS,
    retain: bool,
    last_id: u16,
    refused_count: u64,
}

impl Publisher<'_> {
    /// Publishes a message, and completes its exchange.
    fn publish(&mut self, payload: &[u8]) -> Result<(), Failure> {
        let packet_id = (self.qos > QoS::AtMostOnce).then(|| self.next_id());
        let publish = Publish {
            dup: false,
            qos: self.qos,
            retain: self.retain,
            topic: self.topic,
            packet_id,
            properties: PublishProperties::default(),
            payload,
        };
        self.link.send(&Packet::Publish(publish)).map_err(lost)?;
        match (self.qos, packet_id) {
            (QoS::AtLeastOnce, Some(id)) => {
                self.acknowledged(PacketKind::PubAck, id)?;
            }
            (QoS::ExactlyOnce, Some(id)) => {
                if self.acknowledged(PacketKind::PubRec, id)? == Answer::Taken {
                    let release = Ack::new(id, ReasonCode::SUCCESS);
                    self.link.send(&Packet::PubRel(release)).map_err(lost)?;
                    self.acknowledged(PacketKind::PubComp, id)?;
                }
            }
            (_, _) => {}
        }
        Ok(())
    }

    /// Publishes lines as they come, and keeps the connection alive between them.
    fn publish_lines(&mut self, lines: &Receiver<io::Result<Vec<u8>>>) -> Result<(), Failure> {
        loop {
            match lines.recv_timeout(self.patience()) {
                Ok(line) => self.publish(&line.map_err(stdin_failed)?)?,
                Err(RecvTimeoutError::Disconnected) => return Ok(()),
                // Whatever comes meanwhile is not for a publisher; receiving sends the pings that are due.
                Err(RecvTimeoutError::Timeout) => {
                    while self.link.receive(Some(Instant::now() + GLANCE)).map_err(lost)?.is_some()
                    {
                    }
                }
            }
        }
    }

    /// Returns how long it may wait for a line.
    fn patience(&self) -> Duration {
        let ping_in = self.link.ping_at().map(|at| at.saturating_duration_since(Instant::now()));
        ping_in.unwrap_or(LOOK_INTERVAL).min(LOOK_INTERVAL)
    }

    /// Waits for the acknowledgement of `kind`; a refusal is told and counted.
    fn acknowledged(&mut self, kind: PacketKind, id: PacketId) -> Result<Answer, Failure> {
        let patience = Some(Instant::now() + ANSWER_TIME_MAX);
        loop {
            let packet = self.link.receive(patience).map_err(lost)?;
            let packet = packet
                .ok_or_else(|| Failure::new("the broker does not acknowledge the message"))?;
            let (Packet::PubAck(ack) | Packet::PubRec(ack) | Packet::PubComp(ack)) = packet else {
                continue;
            };
            if packet.kind() != kind || ack.packet_id != id {
                continue;
            }
            if !ack.reason.is_failure() {
                return Ok(Answer::Taken);
            }
            let reason = Reason(ack.reason, ack.properties.reason_string);
            print::to_stderr(&format!("the broker refuses the message: {reason}"));
            self.refused_count += 1;
            return Ok(Answer::Refused);
        }
    }

    /// One exchange is open at a time, so any id but the last is free.
    fn next_id(&mut self) -> PacketId {
        self.last_id = self.last_id.checked_add(1).unwrap_or(1);
        PacketId::new(self.last_id).expect("it counts from 1")
    }
}

/// What a broker says to a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Answer {
    Taken,
    Refused,
}

/// Reads standard input in a thread of its own, since a pipe cannot be waited for together with a socket.
fn lines_of_stdin() -> Receiver<io::Result<Vec<u8>>> {
    let (sender, receiver) = sync_channel(LINES_AHEAD_MAX);
    thread::spawn(move || send_lines(io::stdin().lock(), &sender));
    receiver
}

/// Sends lines without their ends, until there is no more, or nobody listens.
fn send_lines(mut input: impl BufRead, lines: &SyncSender<io::Result<Vec<u8>>>) {
    loop {
        let mut line = Vec::new();
        let result = match input.read_until(b'\n', &mut line) {
            Ok(0) => return,
            Ok(_) => {
                line.pop_if(|last| *last == b'\n');
                Ok(line)
            }
            Err(error) => Err(error),
        };
        let is_last = result.is_err();
        if lines.send(result).is_err() || is_last {
            return;
        }
    }
}

fn read_file(file: &Path) -> Result<Vec<u8>, Failure> {
    fs::read(file).map_err(|error| Failure::new(format!("cannot read {}: {error}", file.display())))
}

fn stdin_failed(error: io::Error) -> Failure {
    Failure::new(format!("cannot read standard input: {error}"))
}

/// Lines that are read before the broker has taken the one in work.
const LINES_AHEAD_MAX: usize = 64;

/// How often a publisher that waits for a line looks whether the broker is still there.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);

/// How long such a look takes.
const GLANCE: Duration = Duration::from_millis(1);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_end_at_the_line_feed_and_nowhere_else() {
        check(b"", &[]);
        check(b"one\n\ntwo", &[b"one", b"", b"two"]);
        check(b"one\r\n\xFF\0\n", &[b"one\r", b"\xFF\0"]);
    }

    #[track_caller]
    fn check(input: &[u8], expected: &[&[u8]]) {
        let (sender, receiver) = sync_channel(expected.len());
        send_lines(input, &sender);
        drop(sender);
        let lines: Vec<Vec<u8>> =
            receiver.iter().map(|line| line.expect("memory can be read")).collect();
        assert_eq!(lines, expected);
    }
}
