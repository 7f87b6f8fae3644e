//! What is wrong with a configuration, and where: all of it at once.

use std::collections::BTreeMap;
use std::fmt;

/// Where a setting was given.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Origin {
    /// A line of the configuration file.
    File {
        /// The file, as it was named.
        file: String,
        /// The line, counted from 1.
        line: usize,
    },
    /// An environment variable.
    Environment(String),
    /// A flag of the command line.
    Flag(String),
}

/// One thing that is wrong, and what would be right.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Mistake {
    /// Where it was written; nothing when it lies in what was left out.
    pub origin: Option<Origin>,
    /// A sentence without a full stop.
    pub message: String,
}

/// Everything that is wrong with a configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mistakes(pub(super) Vec<Mistake>);

/// Where each setting was given, by its key.
pub type Origins = BTreeMap<String, Origin>;

impl Mistakes {
    /// Returns nothing wrong as `Ok`; otherwise all that is, in the order of the file.
    pub(super) fn none_or(mut mistakes: Vec<Mistake>) -> Result<(), Self> {
        if mistakes.is_empty() {
            return Ok(());
        }
        for mistake in &mut mistakes {
            mistake.message = on_one_line(&mistake.message);
        }
        mistakes.sort();
        mistakes.dedup();
        Err(Self(mistakes))
    }

    /// Returns one mistake that lies in no setting.
    pub(crate) fn one(message: String) -> Self {
        Self(vec![Mistake { origin: None, message }])
    }

    /// Returns the mistakes, those of the file first and by line.
    pub fn iter(&self) -> impl Iterator<Item = &Mistake> {
        self.0.iter()
    }
}

/// Spells out what would begin another line, or steer a terminal: a message may quote what was written.
fn on_one_line(message: &str) -> String {
    let spelled = |char: char| {
        let control = char.is_control().then(|| char.escape_default());
        control.into_iter().flatten().chain((!char.is_control()).then_some(char))
    };
    message.chars().flat_map(spelled).collect()
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File { file, line } => write!(f, "{file}:{line}"),
            Self::Environment(variable) => write!(f, "environment variable {variable}"),
            Self::Flag(flag) => f.write_str(flag),
        }
    }
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.origin {
            Some(origin) => write!(f, "{origin}: {}", self.message),
            None => f.write_str(&self.message),
        }
    }
}

impl fmt::Display for Mistakes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, mistake) in self.0.iter().enumerate() {
            let separator = if index == 0 { "" } else { "\n" };
            write!(f, "{separator}{mistake}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Mistakes {}
