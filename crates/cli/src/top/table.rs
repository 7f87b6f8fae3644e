//! All topics as a table of text.

use std::fmt::Write as _;
use std::time::Instant;

use super::figures::{age, grouped, short, short_bytes};
use super::model::Model;
use super::payload::{on_one_line, printable};

/// Returns a line for each topic, by name.
pub(crate) fn print(model: &Model, now: Instant) -> String {
    let mut text =
        format!("{:>6} {:>6} {:>9} {:>5}  topic = value\n", "msg/s", "B/s", "messages", "age");
    let mut pending: Vec<_> = model.roots().iter().rev().copied().collect();
    while let Some(id) = pending.pop() {
        pending.extend(model.tree.children(id).iter().rev());
        let node = &model.tree[id];
        let Some(value) = &node.value else { continue };
        let own = node.own_sum();
        let last = value.at.map(|at| age(now.saturating_duration_since(at))).unwrap_or_default();
        let _ = writeln!(
            text,
            "{:>6} {:>6} {:>9} {:>5}  {} = {}",
            short(own.message_rate),
            short_bytes(own.byte_rate),
            grouped(own.messages),
            last,
            printable(&model.tree.topic(id)),
            on_one_line(value.payload(), value.is_whole(), VALUE_CHARS_MAX),
        );
    }
    text
}

const VALUE_CHARS_MAX: usize = 80;

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::testing::message;
    use super::*;

    #[test]
    fn each_topic_has_a_line() {
        let begun = Instant::now();
        let mut model = Model::new(10, begun);
        for (topic, payload) in
            [("a/b", "1"), ("a/b", "{ \"x\": 2 }"), ("a", "\x1b[2J"), ("$SYS/x", "")]
        {
            model.note(&message(topic, payload), begun);
        }
        let now = begun + Duration::from_secs(2);
        model.tick(now);
        let expected = [
            " msg/s    B/s  messages   age  topic = value",
            "   0.5      0         1    2s  $SYS/x = ",
            "   0.5      2         1    2s  a = ·[2J",
            "     1      6         2    2s  a/b = { \"x\": 2 }",
        ];
        assert_eq!(print(&model, now).lines().collect::<Vec<_>>(), expected);
    }
}
