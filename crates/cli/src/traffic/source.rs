//! Where a recording is read from: a file or standard input, in the format of `quelea record` or as lines of JSON.

use std::fmt;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Cursor, Read};
use std::path::{Path, PathBuf};

use quelea_traffic::{MAGIC, ReadError, Reader};

use super::line::Line;
use super::message::Message;
use crate::failure::Failure;

/// A recording that is being read.
pub(super) struct Source {
    name: Name,
    form: Form,
}

/// What a recording is called in messages.
#[derive(Clone, Debug)]
enum Name {
    File(PathBuf),
    StandardInput,
}

enum Form {
    Recorded(Box<Reader<Input>>),
    Json(Lines),
}

/// What was read to find out what it is, and the rest.
type Input = BufReader<io::Chain<Cursor<Vec<u8>>, Box<dyn Read + Send>>>;

/// How a recording ends.
#[derive(Debug)]
pub(super) enum Step {
    Message(Message),
    /// In good order.
    End,
    /// Its writer was interrupted: what was read is all there is.
    Cut(String),
}

impl Source {
    /// Opens a file, or standard input if it is `-`.
    pub(super) fn open(path: &Path) -> Result<Self, Failure> {
        let (name, input): (_, Box<dyn Read + Send>) = if path.as_os_str() == "-" {
            (Name::StandardInput, Box::new(io::stdin()))
        } else {
            let file = File::open(path).map_err(|error| {
                Failure::usage(format!("cannot open {}: {error}", path.display()))
            })?;
            (Name::File(path.to_owned()), Box::new(file))
        };
        Self::read(name, input)
    }

    fn read(name: Name, mut input: Box<dyn Read + Send>) -> Result<Self, Failure> {
        let mut begin = Vec::new();
        let read = input.by_ref().take(MAGIC.len() as u64).read_to_end(&mut begin);
        read.map_err(|error| name.failure(error))?;
        let is_json = begin.iter().find(|it| !it.is_ascii_whitespace()) == Some(&b'{');
        let input = BufReader::with_capacity(INPUT_BYTES, Cursor::new(begin).chain(input));
        let form = if is_json {
            Form::Json(Lines { input, text: Vec::new(), number: 0, micros: 0 })
        } else {
            let reader = Reader::new(input).map_err(|error| match error {
                ReadError::NoTraffic => name.failure(
                    "this is neither a file of `quelea record` nor lines of JSON with messages",
                ),
                error => name.failure(error),
            })?;
            Form::Recorded(Box::new(reader))
        };
        Ok(Self { name, form })
    }

    /// Reads on.
    pub(super) fn next(&mut self) -> Result<Step, Failure> {
        match &mut self.form {
            Form::Recorded(reader) => match reader.next() {
                Ok(Some(entry)) => Ok(Step::Message(Message::of(&entry))),
                Ok(None) => Ok(Step::End),
                Err(error @ ReadError::Cut { .. }) => {
                    Ok(Step::Cut(format!("{}: {error}", self.name)))
                }
                Err(error) => Err(self.name.failure(error)),
            },
            Form::Json(lines) => match lines.next() {
                Ok(message) => Ok(message.map_or(Step::End, Step::Message)),
                Err(what) => Err(Failure::new(format!("{}:{}: {what}", self.name, lines.number))),
            },
        }
    }
}

/// Messages as lines of JSON.
struct Lines {
    input: Input,
    text: Vec<u8>,
    /// Of the line that was read last, from 1.
    number: u64,
    /// The time of the message before.
    micros: u64,
}

impl Lines {
    fn next(&mut self) -> Result<Option<Message>, String> {
        loop {
            self.text.clear();
            self.number += 1;
            let read = (&mut self.input).take(LINE_BYTES_MAX).read_until(b'\n', &mut self.text);
            if read.map_err(|error| error.to_string())? == 0 {
                return Ok(None);
            }
            if self.text.last() != Some(&b'\n') && self.text.len() as u64 == LINE_BYTES_MAX {
                return Err("it is too long to be a message".to_owned());
            }
            if self.text.trim_ascii().is_empty() {
                continue;
            }
            let line: Line = serde_json::from_slice(&self.text)
                // It knows of this line alone.
                .map_err(|it| it.to_string().replace(" at line 1 column ", " at column "))?;
            let message = line.into_message()?;
            if message.micros < self.micros {
                return Err("its time_us is before that of the line before".to_owned());
            }
            self.micros = message.micros;
            return Ok(Some(message));
        }
    }
}

impl Name {
    fn failure(&self, what: impl fmt::Display) -> Failure {
        Failure::new(format!("{self}: {what}"))
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => path.display().fmt(f),
            Self::StandardInput => f.write_str("standard input"),
        }
    }
}

const INPUT_BYTES: usize = 65_536;

/// A message can have 256 MiB, and most of them as Base64.
const LINE_BYTES_MAX: u64 = 1 << 30;

#[cfg(test)]
mod tests {
    use quelea_codec::Publish;
    use quelea_traffic::Writer;

    use super::*;

    #[test]
    fn both_forms_are_told_apart() {
        let mut writer = Writer::begin(Vec::new(), 0).expect("a vector takes it");
        let publish = Publish { topic: "t", payload: b"x", ..Publish::default() };
        writer.push(5, &publish).expect("a vector takes it");
        let file = writer.finish().expect("a vector takes it");
        let json = b"\n{\"time_us\":5,\"topic\":\"t\",\"payload\":\"x\"}\n\n".to_vec();
        for bytes in [file.clone(), json] {
            let mut source = open(bytes).expect("it can be read");
            let Ok(Step::Message(message)) = source.next() else { panic!("there is one") };
            assert_eq!((message.micros, &*message.topic, &*message.payload), (5, "t", &b"x"[..]));
            assert!(matches!(source.next(), Ok(Step::End)));
        }
        let mut source = open(file[..file.len() - 1].to_vec()).expect("it begins well");
        assert!(matches!(source.next(), Ok(Step::Cut(_))));
    }

    #[test]
    fn lines_are_named_by_their_number() {
        for (text, what) in [
            ("{\"topic\":\"t\"}\n{\"topic\":\"#\"}", "standard input:2: \"#\" is no topic"),
            (
                "{\"topic\":\"t\",\"time_us\":2}\n\n{\"topic\":\"t\"}\n",
                "standard input:3: its time_us",
            ),
            ("{", "standard input:1: EOF"),
        ] {
            let mut source = open(text.as_bytes().to_vec()).expect("it begins like JSON");
            let error = std::iter::repeat_with(|| source.next()).find_map(Result::err);
            let error = error.expect("a mistake").to_string();
            assert!(error.starts_with(what), "{error}");
        }
        for other in [&b""[..], b"hello", b"QUELEA"] {
            assert!(open(other.to_vec()).is_err());
        }
    }

    fn open(bytes: Vec<u8>) -> Result<Source, Failure> {
        Source::read(Name::StandardInput, Box::new(Cursor::new(bytes)))
    }
}
