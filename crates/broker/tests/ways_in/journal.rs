//! What the broker logs, for tests that look at it.

use std::fmt::{Debug, Write as _};
use std::sync::{Mutex, Once};
use std::time::{Duration, Instant};

use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Metadata, Subscriber};

/// Begins to keep what is logged, for the whole process.
pub(crate) fn keep() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| tracing::subscriber::set_global_default(Journal).unwrap());
}

/// Waits until a line is logged in which all of `words` are.
#[track_caller]
pub(crate) fn expect(words: &[&str]) -> String {
    let end = Instant::now() + Duration::from_secs(20);
    loop {
        let found = {
            let lines = LINES.lock().unwrap();
            lines.iter().rev().find(|line| words.iter().all(|word| line.contains(word))).cloned()
        };
        match found {
            Some(line) => return line,
            None if Instant::now() > end => panic!("nothing was logged with {words:?}"),
            None => std::thread::yield_now(),
        }
    }
}

/// Returns the last line in which all of `words` are.
pub(crate) fn last(words: &[&str]) -> String {
    let lines = LINES.lock().unwrap();
    let found = lines.iter().rev().find(|line| words.iter().all(|word| line.contains(word)));
    found.cloned().unwrap_or_default()
}

struct Journal;

impl Subscriber for Journal {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        *metadata.level() <= Level::INFO && metadata.target().starts_with("quelea")
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        let mut line = Line(event.metadata().level().to_string());
        event.record(&mut line);
        LINES.lock().unwrap().push(line.0);
    }

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

struct Line(String);

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        let _ = write!(self.0, " {field}={value:?}");
    }
}

static LINES: Mutex<Vec<String>> = Mutex::new(Vec::new());
