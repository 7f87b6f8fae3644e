//! Which of the messages that come are printed.

use std::hash::{BuildHasher, RandomState};

use clap::Args;
use quelea_topics::matches;

use crate::connection::check_filter;
use crate::failure::Failure;

/// The flags that choose among messages.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Selection")]
pub(crate) struct SelectionArgs {
    /// Prints no messages on topics that match; may be repeated.
    #[arg(short = 'T', long = "filter-out", value_name = "FILTER")]
    filter_out: Vec<String>,

    /// Prints no messages that were retained.
    #[arg(short = 'R', long = "no-retained", conflicts_with = "retained_only")]
    no_retained: bool,

    /// Prints only messages that were retained, and leaves with the first that was not.
    #[arg(long)]
    retained_only: bool,

    /// Removes each message from the broker that was retained, unless -T filters it out.
    #[arg(long)]
    remove_retained: bool,

    /// Prints no messages that the broker has sent before (DUP).
    #[arg(long, conflicts_with = "duplicates_only")]
    no_duplicates: bool,

    /// Prints only messages that the broker has sent before (DUP).
    #[arg(long)]
    duplicates_only: bool,

    /// Prints so many of a hundred messages, chosen at random.
    #[arg(long, value_name = "PERCENT", value_parser = percent)]
    random_filter: Option<f64>,
}

/// Chooses among messages.
#[derive(Debug)]
pub(crate) struct Selection {
    args: SelectionArgs,
    random: RandomState,
    drawn: u64,
}

/// What there is to do with a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Print,
    Skip,
    /// The first message that is not wanted any more.
    End,
}

/// What matters of a message here.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Candidate<'a> {
    pub(crate) topic: &'a str,
    pub(crate) retained: bool,
    pub(crate) duplicate: bool,
}

impl Selection {
    pub(crate) fn new(args: &SelectionArgs) -> Result<Self, Failure> {
        args.filter_out.iter().try_for_each(|it| check_filter(it))?;
        Ok(Self { args: args.clone(), random: RandomState::new(), drawn: 0 })
    }

    /// Returns what is to be done, in the order in which Mosquitto's client decides it. A message that is filtered out by
    /// its topic is not removed.
    pub(crate) fn judge(&mut self, it: Candidate<'_>) -> (Verdict, bool) {
        let args = &self.args;
        if args.retained_only && !it.retained {
            return (Verdict::End, false);
        }
        if args.filter_out.iter().any(|filter| matches(filter, it.topic)) {
            return (Verdict::Skip, false);
        }
        let removes = args.remove_retained && it.retained;
        let is_hidden = (args.no_retained && it.retained)
            || (args.no_duplicates && it.duplicate)
            || (args.duplicates_only && !it.duplicate);
        let is_printed = !is_hidden && self.draw();
        (if is_printed { Verdict::Print } else { Verdict::Skip }, removes)
    }

    fn draw(&mut self) -> bool {
        let Some(percent) = self.args.random_filter else {
            return true;
        };
        self.drawn += 1;
        // Out of 10,000, as Mosquitto's client draws it.
        let drawn = self.random.hash_one(self.drawn) % 10_000;
        (drawn as f64) < percent * 100.0
    }
}

fn percent(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(percent) if (0.1..=100.0).contains(&percent) => Ok(percent),
        _ => Err("write a number from 0.1 to 100".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retained_messages_are_chosen_and_removed() {
        let none = SelectionArgs::default;
        check(none(), "a", true, (Verdict::Print, false));
        check(SelectionArgs { no_retained: true, ..none() }, "a", true, (Verdict::Skip, false));
        check(SelectionArgs { no_retained: true, ..none() }, "a", false, (Verdict::Print, false));
        check(SelectionArgs { retained_only: true, ..none() }, "a", false, (Verdict::End, false));
        let removes = SelectionArgs { remove_retained: true, no_retained: true, ..none() };
        check(removes.clone(), "a", true, (Verdict::Skip, true));
        let spares = SelectionArgs { filter_out: vec!["a/#".to_owned()], ..removes };
        check(spares.clone(), "a/b", true, (Verdict::Skip, false));
        check(spares, "b", true, (Verdict::Skip, true));
    }

    #[test]
    fn chance_keeps_its_share() {
        let args = SelectionArgs { random_filter: Some(25.0), ..SelectionArgs::default() };
        let mut selection = Selection::new(&args).expect("it is right");
        let printed = (0..10_000).filter(|_| selection.draw()).count();
        // Seven standard deviations.
        assert!((2_200..2_800).contains(&printed), "{printed}");
        percent("0").expect_err("nothing would be printed");
        percent("101").expect_err("there are no more");
    }

    #[track_caller]
    fn check(args: SelectionArgs, topic: &str, retained: bool, expected: (Verdict, bool)) {
        let mut selection = Selection::new(&args).expect("it is right");
        let candidate = Candidate { topic, retained, duplicate: false };
        assert_eq!(selection.judge(candidate), expected, "{args:?}");
    }
}
