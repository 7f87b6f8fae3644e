//! What of a recording is replayed, and how it is changed.

use std::time::Duration;

use clap::Args;
use quelea_codec::QoS;

use super::mapping::{Mapping, captures, check_filter};
use super::message::Message;
use super::parse_secs;
use crate::connection;
use crate::failure::Failure;

/// The flags that choose and change messages.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Messages")]
pub(crate) struct SelectionArgs {
    /// Replays only these topics; may be repeated.
    #[arg(short, long = "topic", value_name = "FILTER")]
    topics: Vec<String>,

    /// Begins so many seconds after the beginning of the recording; with m or h, minutes or hours.
    #[arg(long, value_name = "TIME", value_parser = parse_secs)]
    from: Option<Duration>,

    /// Ends so many seconds after the beginning of the recording.
    #[arg(long, value_name = "TIME", value_parser = parse_secs)]
    until: Option<Duration>,

    /// Publishes to other topics: $1 stands for what the first wildcard matches. The first mapping that matches counts;
    /// may be repeated.
    #[arg(long = "map", value_name = "FILTER=TOPIC", value_parser = Mapping::parse)]
    mappings: Vec<Mapping>,

    /// Publishes with this QoS, whatever was recorded.
    #[arg(short, long, value_parser = connection::qos)]
    qos: Option<QoS>,

    /// Has the broker retain nothing, whatever was recorded.
    #[arg(long)]
    no_retain: bool,
}

/// What is to be done with a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Choice {
    /// It is to be published, so many microseconds after the beginning of what is replayed.
    Publish {
        micros: u64,
        message: Message,
    },
    Skip,
    /// Neither it nor any after it.
    End,
}

impl SelectionArgs {
    /// Checks what the parser cannot.
    pub(super) fn check(&self) -> Result<(), Failure> {
        if let (Some(from), Some(until)) = (self.from, self.until)
            && from >= until
        {
            return Err(Failure::usage("--until has to be after --from"));
        }
        self.topics.iter().try_for_each(|it| check_filter(it)).map_err(Failure::usage)
    }

    /// Decides on a message.
    pub(super) fn choose(&self, mut message: Message) -> Choice {
        let from = self.from.map_or(0, micros);
        if self.until.is_some_and(|until| message.micros >= micros(until)) {
            return Choice::End;
        }
        let is_wanted = self.topics.is_empty()
            || self.topics.iter().any(|it| captures(it, &message.topic).is_some());
        let Some(elapsed) = message.micros.checked_sub(from).filter(|_| is_wanted) else {
            return Choice::Skip;
        };
        if let Some(topic) = self.mappings.iter().find_map(|it| it.apply(&message.topic)) {
            message.topic = topic;
        }
        message.qos = self.qos.unwrap_or(message.qos);
        message.retain &= !self.no_retain;
        Choice::Publish { micros: elapsed, message }
    }
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_counted_from_where_it_begins() {
        let args = SelectionArgs {
            from: Some(Duration::from_micros(10)),
            until: Some(Duration::from_micros(20)),
            ..SelectionArgs::default()
        };
        args.check().expect("it is right");
        for (micros, expected) in [(9, None), (10, Some(0)), (19, Some(9))] {
            let elapsed = match args.choose(message("t", micros)) {
                Choice::Publish { micros, .. } => Some(micros),
                Choice::Skip => None,
                Choice::End => panic!("it ends at {micros}"),
            };
            assert_eq!(elapsed, expected, "{micros}");
        }
        assert_eq!(args.choose(message("t", 20)), Choice::End);
        let turned = SelectionArgs { from: args.until, until: args.from, ..args };
        turned.check().expect_err("it ends before it begins");
    }

    #[test]
    fn topics_are_chosen_before_they_are_changed() {
        let mapping = |text| Mapping::parse(text).expect("it is right");
        let args = SelectionArgs {
            topics: vec!["a/#".to_owned(), "b".to_owned()],
            mappings: vec![mapping("a/+=c/$1"), mapping("#=d")],
            qos: Some(QoS::ExactlyOnce),
            no_retain: true,
            ..SelectionArgs::default()
        };
        for (topic, expected) in [("a/x", Some("c/x")), ("b", Some("d")), ("c/x", None)] {
            let changed = match args.choose(Message { retain: true, ..message(topic, 0) }) {
                Choice::Publish { message, .. } => Some(message),
                Choice::Skip | Choice::End => None,
            };
            assert_eq!(changed.as_ref().map(|it| &*it.topic), expected, "{topic}");
            assert!(changed.is_none_or(|it| it.qos == QoS::ExactlyOnce && !it.retain));
        }
    }

    fn message(topic: &str, micros: u64) -> Message {
        Message { micros, topic: topic.to_owned(), ..Message::default() }
    }
}
