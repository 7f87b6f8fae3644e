//! Reads Mosquitto's configuration: a word and its value on each line.

use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::rc::Rc;

/// A line that says something.
#[derive(Clone, Debug)]
pub(super) struct Directive {
    pub(super) at: Line,
    pub(super) key: String,
    /// The rest of the line; empty if there is none.
    pub(super) value: String,
}

/// Where a directive stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Line {
    file: Rc<str>,
    number: usize,
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.file, self.number)
    }
}

/// Reads a file, and those that it includes. Returns also what cannot be read of those.
pub(super) fn read(path: &Path) -> io::Result<(Vec<Directive>, Vec<String>)> {
    let mut reading = Reading::default();
    let text = fs::read_to_string(path)?;
    reading.take(&path.display().to_string(), &text);
    Ok((reading.directives, reading.notes))
}

#[derive(Default)]
struct Reading {
    directives: Vec<Directive>,
    notes: Vec<String>,
    includes: usize,
}

impl Reading {
    fn take(&mut self, name: &str, text: &str) {
        for directive in parse(name, text) {
            if directive.key == "include_dir" {
                self.include(&directive);
            } else {
                self.directives.push(directive);
            }
        }
    }

    /// Reads the files of a directory in the order in which Mosquitto does: by name.
    fn include(&mut self, directive: &Directive) {
        let directory = Path::new(&directive.value);
        let mut files: Vec<PathBuf> = match fs::read_dir(directory) {
            Ok(entries) => entries.flatten().map(|entry| entry.path()).collect(),
            Err(error) => {
                let value = &directive.value;
                self.notes
                    .push(format!("{}: cannot read the directory {value}: {error}", directive.at));
                return;
            }
        };
        files.retain(|path| path.extension().is_some_and(|it| it == "conf"));
        files.sort();
        for path in files {
            self.includes += 1;
            if self.includes > INCLUDES_MAX {
                self.notes
                    .push(format!("{}: more than {INCLUDES_MAX} files are included", directive.at));
                return;
            }
            match fs::read_to_string(&path) {
                Ok(text) => self.take(&path.display().to_string(), &text),
                Err(error) => self.notes.push(format!("cannot read {}: {error}", path.display())),
            }
        }
    }
}

/// Returns what the lines of a file say. Comments stand on lines of their own.
pub(super) fn parse(name: &str, text: &str) -> Vec<Directive> {
    // The name stands in comments of the result, which no name may end.
    let file: Rc<str> = name.replace(char::is_control, "\u{fffd}").into();
    let lines = text.lines().enumerate().map(|(index, line)| (index + 1, line.trim()));
    let lines = lines.filter(|(_, line)| !line.is_empty() && !line.starts_with('#'));
    let directive = |(number, line): (usize, &str)| {
        let (key, value) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
        let (key, value) = (key.to_owned(), value.trim().to_owned());
        Directive { at: Line { file: Rc::clone(&file), number }, key, value }
    };
    lines.map(directive).collect()
}

/// Files that are included, by each other or by themselves.
const INCLUDES_MAX: usize = 1_000;
