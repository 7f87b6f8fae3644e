//! Messages as people, and programs, want to read them.

mod clock;
mod decode;
mod format;
mod json;
mod shown;
mod tally;

use std::io::{self, IsTerminal, Write};

use clap::Args;
use quelea_client::Message;

use crate::failure::Failure;
use crate::print::{self, Reader, unless_unread};
use clock::Clock;
use decode::{Decode, Payload};
use format::{Format, LOWER, append_hex};
use json::Layout;
use shown::Shown;
use tally::Tally;

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

    /// Prints a line of this form: %t topic, %p payload, %x payload in hex, %l its length, %q QoS, %r retained, %m packet
    /// id, %I time, %U Unix time, %j all as JSON, %J with a JSON payload, MQTT 5: %C content type, %D correlation data, %E
    /// expiry, %F payload format, %P user properties, %R response topic; @H and the like as in strftime; \n, \t, \e, \0.
    #[arg(short = 'F', long, value_name = "FORMAT")]
    format: Option<String>,

    /// Prints each message as a JSON object on a line, with all that is known of it.
    #[arg(long, conflicts_with = "format")]
    json: bool,

    /// Prints JSON over several lines.
    #[arg(long)]
    pretty: bool,

    /// Prints payloads as hexadecimal digits.
    #[arg(long, conflicts_with_all = ["format", "json"])]
    hex: bool,

    /// Prints what payloads say, and what they were decoded as.
    #[arg(long, value_name = "AS", num_args = 0..=1, default_missing_value = "auto", value_enum, conflicts_with_all = ["format", "json", "hex"])]
    decode: Option<Decode>,

    /// Prints how many messages there were, at the end, instead of messages.
    #[arg(long, conflicts_with_all = ["format", "json", "hex", "decode"])]
    count: bool,

    /// Prints how many messages come in each second, instead of messages.
    #[arg(long, conflicts_with_all = ["format", "json", "hex", "decode"])]
    rate: bool,
}

/// Prints messages to standard output.
pub(crate) struct Printer {
    style: Style,
    layout: Layout,
    ends_lines: bool,
    terminal: Terminal,
    /// Whether what is wrong with a message stays unsaid.
    is_quiet: bool,
    clock: Clock,
    /// What is printed and has not left.
    buffer: Vec<u8>,
    reader: Reader,
}

/// How a message looks.
enum Style {
    /// The payload, as Mosquitto's clients print it.
    Plain { with_topic: bool },
    /// As `-F` says.
    Made(Format),
    /// All of it, as JSON.
    Json,
    /// The payload in digits.
    Hex { with_topic: bool },
    /// The payload, read.
    Decoded { decode: Decode, palette: Palette },
    /// Not at all: it is counted.
    Counted { tally: Tally, sum: bool, rates: bool },
}

/// Whether bytes that a terminal would obey are made harmless.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Terminal {
    Yes,
    No,
}

/// What sets the topic off from what is said of it.
#[derive(Clone, Copy, Debug)]
struct Palette {
    topic: &'static str,
    remark: &'static str,
    end: &'static str,
}

impl Printer {
    pub(crate) fn new(args: &OutputArgs, is_quiet: bool) -> Result<Self, Failure> {
        let terminal = if io::stdout().is_terminal() { Terminal::Yes } else { Terminal::No };
        let with_topic = args.verbose;
        let format = args.format.as_deref().map(Format::read).transpose();
        let format = format.map_err(|why| Failure::usage(format!("-F: {why}")))?;
        let style = match (format, args.decode) {
            (Some(format), _) => Style::Made(format),
            (None, Some(decode)) => Style::Decoded { decode, palette: Palette::of(terminal) },
            (None, None) if args.json => Style::Json,
            (None, None) if args.hex => Style::Hex { with_topic },
            (None, None) if args.count || args.rate => {
                Style::Counted { tally: Tally::new(), sum: args.count, rates: args.rate }
            }
            (None, None) => Style::Plain { with_topic },
        };
        let layout = match (args.pretty, &style) {
            (true, Style::Json) => Layout::Indented,
            (true, _) => Layout::Tabs,
            (false, _) => Layout::Compact,
        };
        Ok(Self {
            style,
            layout,
            ends_lines: !args.no_line_end,
            terminal,
            is_quiet,
            clock: Clock::of_system(),
            buffer: Vec::new(),
            reader: Reader::Listens,
        })
    }

    /// Prints a message, at the latest with [`Self::flush`].
    pub(crate) fn print(&mut self, message: &Message) -> Result<(), Failure> {
        let Self { buffer, terminal, layout, .. } = self;
        let (topic, payload) = (message.topic(), message.payload());
        match &mut self.style {
            Style::Plain { with_topic } => {
                append_plain(topic, payload, *with_topic, self.ends_lines, *terminal, buffer);
                // It has a line end of its own, or none.
                return self.flush_if_full();
            }
            Style::Made(format) => {
                let moment = self.clock.now();
                let shown = Shown::of(message, &moment);
                if format.append(&shown, *layout, *terminal, buffer).is_err() && !self.is_quiet {
                    print::to_stderr(&format!("the payload on \"{topic}\" is no JSON"));
                }
            }
            Style::Json => {
                let moment = self.clock.now();
                let mut line = Vec::new();
                json::append_whole(&Shown::of(message, &moment), *layout, &mut line);
                append(buffer, &line, *terminal);
            }
            Style::Hex { with_topic } => {
                if *with_topic {
                    append(buffer, topic.as_bytes(), *terminal);
                    buffer.push(b' ');
                }
                append_hex(payload, LOWER, buffer);
            }
            Style::Decoded { decode, palette } => {
                append_decoded(message, *decode, *palette, *terminal, buffer);
            }
            Style::Counted { tally, .. } => {
                tally.count(message);
                return Ok(());
            }
        }
        if self.ends_lines {
            self.buffer.push(b'\n');
        }
        self.flush_if_full()
    }

    /// Returns whether it is to be told each second.
    pub(crate) fn wants_ticks(&self) -> bool {
        matches!(self.style, Style::Counted { rates: true, .. })
    }

    /// Prints what is to be printed each second.
    pub(crate) fn tick(&mut self) -> Result<(), Failure> {
        if let Style::Counted { tally, .. } = &mut self.style {
            self.buffer.extend_from_slice(tally.rates().as_bytes());
            self.buffer.push(b'\n');
        }
        self.flush()
    }

    /// Prints what is to be printed at the end.
    pub(crate) fn finish(&mut self) -> Result<(), Failure> {
        if let Style::Counted { tally, sum: true, .. } = &self.style {
            self.buffer.extend_from_slice(tally.sum().as_bytes());
            self.buffer.push(b'\n');
        }
        self.flush()
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

    fn flush_if_full(&mut self) -> Result<(), Failure> {
        if self.buffer.len() >= BUFFER_BYTES { self.flush() } else { Ok(()) }
    }
}

impl Palette {
    fn of(terminal: Terminal) -> Self {
        let is_plain = std::env::var_os("NO_COLOR").is_some_and(|it| !it.is_empty())
            || std::env::var_os("TERM").is_some_and(|it| it == "dumb");
        match terminal {
            Terminal::Yes if !is_plain => {
                Self { topic: "\x1b[1m", remark: "\x1b[2m", end: "\x1b[0m" }
            }
            Terminal::Yes | Terminal::No => Self { topic: "", remark: "", end: "" },
        }
    }
}

/// An empty message is nothing, or `(null)` behind its topic: so Mosquitto's client has it.
fn append_plain(
    topic: &str,
    payload: &[u8],
    with_topic: bool,
    ends_line: bool,
    terminal: Terminal,
    out: &mut Vec<u8>,
) {
    if payload.is_empty() && (!with_topic || !ends_line) {
        return;
    }
    if with_topic {
        append(out, topic.as_bytes(), terminal);
        out.push(b' ');
    }
    append(out, if payload.is_empty() { b"(null)" } else { payload }, terminal);
    if ends_line {
        out.push(b'\n');
    }
}

/// A line with the topic and what the payload was taken for, and then what it says.
fn append_decoded(
    message: &Message,
    decode: Decode,
    palette: Palette,
    terminal: Terminal,
    out: &mut Vec<u8>,
) {
    let (topic, bytes) = (message.topic(), message.payload());
    let decoded = decode.apply(Payload { topic, content_type: message.content_type(), bytes });
    let Palette { topic: begin, remark, end } = palette;
    out.extend_from_slice(begin.as_bytes());
    append(out, topic.as_bytes(), terminal);
    out.extend_from_slice(end.as_bytes());
    let mut remarks = format!("{}, {} bytes", decoded.label, bytes.len());
    if message.is_retained() {
        remarks.push_str(", retained");
    }
    if message.is_duplicate() {
        remarks.push_str(", duplicate");
    }
    out.extend_from_slice(format!(" {remark}[{remarks}]{end}").as_bytes());
    if !decoded.text.is_empty() {
        out.push(b'\n');
        append(out, &decoded.text, terminal);
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
