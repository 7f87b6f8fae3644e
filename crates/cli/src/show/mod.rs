//! Messages as people, and programs, want to read them.

use std::io::{self, IsTerminal, Write};

use clap::Args;
use quelea_client::Message;

use crate::failure::Failure;
use crate::print::{Reader, unless_unread};

/// The flags that say how messages are printed.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Output")]
pub(crate) struct OutputArgs {
    /// Prints the topic before each message.
    #[arg(short, long)]
    verbose: bool,

    /// Prints no line end after each message.
    #[arg(short = 'N', long = "no-line-end")]
    no_line_end: bool,
}

/// Prints messages to standard output.
pub(crate) struct Printer {
    style: Style,
    ends_lines: bool,
    /// What is printed and has not left.
    buffer: Vec<u8>,
    reader: Reader,
}

/// How a message looks.
enum Style {
    /// The payload, as Mosquitto's clients print it.
    Plain { with_topic: bool, terminal: Terminal },
}

/// Whether bytes that a terminal would obey are made harmless.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Terminal {
    Yes,
    No,
}

impl Printer {
    pub(crate) fn new(args: &OutputArgs, _is_quiet: bool) -> Result<Self, Failure> {
        let terminal = if io::stdout().is_terminal() { Terminal::Yes } else { Terminal::No };
        let style = Style::Plain { with_topic: args.verbose, terminal };
        Ok(Self {
            style,
            ends_lines: !args.no_line_end,
            buffer: Vec::new(),
            reader: Reader::Listens,
        })
    }

    /// Prints a message, at the latest with [`Self::flush`].
    pub(crate) fn print(&mut self, message: &Message) -> Result<(), Failure> {
        match &self.style {
            Style::Plain { with_topic, terminal } => {
                self.print_plain(message.topic(), message.payload(), *with_topic, *terminal);
            }
        }
        if self.buffer.len() >= BUFFER_BYTES { self.flush() } else { Ok(()) }
    }

    /// Has everything leave that was printed.
    pub(crate) fn flush(&mut self) -> Result<(), Failure> {
        if self.buffer.is_empty() {
            return Ok(());
        }
        let mut stdout = io::stdout().lock();
        let written = stdout.write_all(&self.buffer).and_then(|()| stdout.flush());
        self.buffer.clear();
        self.reader = unless_unread(written)?;
        Ok(())
    }

    /// Returns whether anyone reads what is printed.
    pub(crate) fn reader(&self) -> Reader {
        self.reader
    }

    /// An empty message is nothing, or `(null)` behind its topic: so Mosquitto's client has it.
    fn print_plain(&mut self, topic: &str, payload: &[u8], with_topic: bool, terminal: Terminal) {
        if payload.is_empty() && (!with_topic || !self.ends_lines) {
            return;
        }
        if with_topic {
            append(&mut self.buffer, topic.as_bytes(), terminal);
            self.buffer.push(b' ');
        }
        let payload = if payload.is_empty() { b"(null)" } else { payload };
        append(&mut self.buffer, payload, terminal);
        if self.ends_lines {
            self.buffer.push(b'\n');
        }
    }
}

/// Appends what came from others. On a terminal only letters, blanks and line ends are left as they are: the rest
/// could move the cursor, or worse.
pub(crate) fn append(out: &mut Vec<u8>, bytes: &[u8], terminal: Terminal) {
    if terminal == Terminal::No {
        out.extend_from_slice(bytes);
        return;
    }
    for chunk in bytes.utf8_chunks() {
        for letter in chunk.valid().chars() {
            if letter.is_control() && !matches!(letter, '\n' | '\t') {
                out.extend_from_slice(letter.escape_default().to_string().as_bytes());
            } else {
                out.extend_from_slice(letter.encode_utf8(&mut [0; 4]).as_bytes());
            }
        }
        for byte in chunk.invalid() {
            out.extend_from_slice(format!("\\x{byte:02x}").as_bytes());
        }
    }
}

/// How much is printed at once.
const BUFFER_BYTES: usize = 64 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn terminals_are_not_wrecked() {
        check(b"caf\xC3\xA9\t1\n", "caf\u{e9}\t1\n");
        check(b"\x1B[2J\0\xFF\r", "\\u{1b}[2J\\u{0}\\xff\\r");
    }

    #[track_caller]
    fn check(bytes: &[u8], shown: &str) {
        let mut out = Vec::new();
        append(&mut out, bytes, Terminal::Yes);
        assert_eq!(String::from_utf8_lossy(&out), shown);
        out.clear();
        append(&mut out, bytes, Terminal::No);
        assert_eq!(out, bytes);
    }
}
