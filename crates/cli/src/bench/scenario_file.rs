//! Files of scenarios: the flags of `quelea bench` as keys of TOML.
//!
//! A key stands for the flag of its name, and its value for the flag's. What they may be is the business of the
//! flags' parser; this module asks it about each key by itself, so that everything that is wrong with a file is
//! said at once, with its line.

use std::ffi::OsString;
use std::fs::File;
use std::io::Read;
use std::ops::Range;
use std::path::Path;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{ArgAction, CommandFactory, Parser};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::args::Args;

/// Returns the scenarios of the file at `path`. `flags` are those of the command line, which win.
///
/// # Errors
///
/// Everything that is wrong with the file, a line for each mistake.
pub(super) fn read(path: &Path, flags: &[OsString]) -> Result<Vec<Args>, String> {
    let name = path.display().to_string();
    let text = read_text(path).map_err(|it| format!("cannot read {name}: {it}"))?;
    ScenarioFile { name: &name, text: &text, flags }.scenarios()
}

fn read_text(path: &Path) -> Result<String, String> {
    let mut text = String::new();
    let file = File::open(path).map_err(|it| it.to_string())?;
    let mut bounded = file.take(FILE_BYTES_MAX + 1);
    bounded.read_to_string(&mut text).map_err(|it| it.to_string())?;
    if text.len() as u64 > FILE_BYTES_MAX {
        return Err(format!("it is longer than {FILE_BYTES_MAX} bytes"));
    }
    Ok(text)
}

struct ScenarioFile<'a> {
    name: &'a str,
    text: &'a str,
    flags: &'a [OsString],
}

/// A mistake, and the line that it is in.
type Mistake = (usize, String);

/// What a table says: the shape of load, and flags.
#[derive(Default)]
struct Given {
    kind: Option<String>,
    flags: Vec<String>,
}

/// The parser of the flags, as it is for the command line.
#[derive(Parser)]
#[command(name = "quelea bench")]
struct Line {
    #[command(flatten)]
    args: Args,
}

impl ScenarioFile<'_> {
    fn scenarios(&self) -> Result<Vec<Args>, String> {
        let mut mistakes = Vec::new();
        let scenarios = self.read(&mut mistakes);
        if mistakes.is_empty() {
            return Ok(scenarios);
        }
        mistakes.sort();
        let line = |(line, message): &Mistake| format!("{}:{line}: {message}", self.name);
        Err(mistakes.iter().map(line).collect::<Vec<_>>().join("\n"))
    }

    fn read(&self, mistakes: &mut Vec<Mistake>) -> Vec<Args> {
        let (document, errors) = DeTable::parse_recoverable(self.text);
        for error in &errors {
            let message = error.message().lines().collect::<Vec<_>>().join(", ");
            let line = self.line(&error.span().unwrap_or_default());
            mistakes.push((line, format!("this is not TOML: {message}")));
        }
        if !errors.is_empty() {
            return Vec::new();
        }
        let document = document.get_ref();
        let for_all = self.read_table(document, mistakes);
        let tables = document.get(TABLE).map(|it| it.get_ref().as_array());
        let Some(tables) = tables.flatten().filter(|it| !it.is_empty()) else {
            mistakes.push((1, "there is no [[scenario]]".to_owned()));
            return Vec::new();
        };
        let mut scenarios = Vec::new();
        for table in tables.iter() {
            let line = self.line(&table.span());
            let Some(keys) = table.get_ref().as_table() else {
                mistakes.push((line, "a scenario is a table: write [[scenario]]".to_owned()));
                continue;
            };
            let before = mistakes.len();
            let own = self.read_table(keys, mistakes);
            if mistakes.len() > before {
                continue;
            }
            match self.scenario(&for_all, &own) {
                Ok(args) => scenarios.push(args),
                Err(message) => mistakes.push((line, message)),
            }
        }
        scenarios
    }

    /// Returns the scenario that a table makes, with what is said for all and on the command line.
    fn scenario(&self, for_all: &Given, own: &Given) -> Result<Args, String> {
        let kind = own.kind.as_ref().or(for_all.kind.as_ref());
        let kind = kind.ok_or("a scenario needs a kind, such as kind = \"pairs\"")?;
        let flags = for_all.flags.iter().chain(&own.flags).map(OsString::from);
        let words = ["bench".into(), kind.into()].into_iter().chain(flags);
        let line = Line::try_parse_from(words.chain(self.flags.iter().cloned()));
        let args = line.map_err(|it| first_line(&it))?.args;
        args.check()?;
        Ok(args)
    }

    fn read_table(&self, table: &DeTable<'_>, mistakes: &mut Vec<Mistake>) -> Given {
        let mut given = Given::default();
        for (key, value) in table {
            let name = key.get_ref().as_ref();
            if name == TABLE {
                continue;
            }
            match read_key(name, value, &mut given) {
                Ok(()) => {}
                Err(message) => mistakes.push((self.line(&key.span()), message)),
            }
        }
        given
    }

    fn line(&self, span: &Range<usize>) -> usize {
        let before = &self.text.as_bytes()[..span.start.min(self.text.len())];
        1 + before.iter().filter(|byte| **byte == b'\n').count()
    }
}

/// Adds what a key says to `given`, if the parser takes it.
fn read_key(name: &str, value: &Spanned<DeValue<'_>>, given: &mut Given) -> Result<(), String> {
    let text = text_of(value.get_ref()).ok_or_else(|| {
        format!("{name} cannot be a value of type {}", value.get_ref().type_str())
    })?;
    if name == KIND {
        check(&[&text])?;
        given.kind = Some(text);
        return Ok(());
    }
    let flag = name.replace('_', "-");
    if FOR_THE_COMMAND_LINE.contains(&flag.as_str()) {
        return Err(format!("{name} is for the command line: --{flag}"));
    }
    let command = Line::command();
    let known = command.get_arguments().find(|it| it.get_long() == Some(&flag));
    let known = known.ok_or_else(|| unknown(name, &flag))?;
    let word = match (known.get_action(), text.as_str()) {
        (ArgAction::SetTrue, "true") => format!("--{flag}"),
        (ArgAction::SetTrue, "false") => return Ok(()),
        (ArgAction::SetTrue, _) => return Err(format!("{name} must be true or false")),
        _ => format!("--{flag}={text}"),
    };
    check(&["pairs", &word])?;
    given.flags.push(word);
    Ok(())
}

/// Returns whether the parser takes `words`, apart from what they need or exclude.
fn check(words: &[&str]) -> Result<(), String> {
    match Line::try_parse_from(["bench"].iter().chain(words)) {
        Err(error)
            if matches!(error.kind(), ErrorKind::InvalidValue | ErrorKind::ValueValidation) =>
        {
            Err(first_line(&error))
        }
        Ok(_) | Err(_) => Ok(()),
    }
}

/// Says that there is no such key, and which one may be meant.
fn unknown(name: &str, flag: &str) -> String {
    let refused = Line::try_parse_from(["bench", "pairs", &format!("--{flag}")]).err();
    let near = refused.and_then(|it| match it.get(ContextKind::SuggestedArg)? {
        ContextValue::String(flag) => Some(flag.trim_start_matches('-').replace('-', "_")),
        _ => None,
    });
    match near.filter(|it| !FOR_THE_COMMAND_LINE.contains(&it.as_str())) {
        Some(near) => format!("there is no key {name:?}: is {near:?} meant?"),
        None => format!("there is no key {name:?}; the keys are the flags of quelea bench"),
    }
}

fn first_line(error: &clap::Error) -> String {
    let text = error.to_string();
    let line = text.lines().next().unwrap_or_default();
    line.strip_prefix("error: ").unwrap_or(line).to_owned()
}

/// Returns a value as it would be written after a flag; lists, tables and dates are none.
fn text_of(value: &DeValue<'_>) -> Option<String> {
    match value {
        DeValue::Boolean(is_on) => Some(is_on.to_string()),
        DeValue::String(text) => Some(text.to_string()),
        DeValue::Integer(integer) => {
            let number = i128::from_str_radix(integer.as_str(), integer.radix()).ok()?;
            Some(number.to_string())
        }
        DeValue::Float(float) => Some(float.as_str().to_owned()),
        DeValue::Datetime(_) | DeValue::Array(_) | DeValue::Table(_) => None,
    }
}

/// The tables of a file.
const TABLE: &str = "scenario";

/// The key that is no flag: the word after `quelea bench`.
const KIND: &str = "kind";

/// Flags that are about the whole run.
const FOR_THE_COMMAND_LINE: [&str; 5] = ["help", "html", "json", "quiet", "scenario"];

/// More scenarios nobody runs.
const FILE_BYTES_MAX: u64 = 64 * 1024;

#[cfg(test)]
mod tests {
    use super::super::args::Scenario;
    use super::*;

    #[test]
    fn keys_are_flags() {
        let text = "host = \"broker.example\"\nqos = 1\n\n[[scenario]]\nkind = \"pairs\"\nrate = 1_000\n\
                    \n[[scenario]]\nkind = \"sleepers\"\nqos = 2\ndrain = true\nsession_expiry = 60\nwarmup = 0.5\n";
        let scenarios = read(text, &[]).unwrap();
        let kinds: Vec<_> = scenarios.iter().map(Args::scenario).collect();
        assert_eq!(kinds, [Scenario::Pairs, Scenario::Sleepers]);
        assert_eq!(scenarios[0].rate, Some(1_000.0));
        assert_eq!((scenarios[0].qos, scenarios[1].qos), (1, 2));
        assert_eq!(scenarios[1].warmup.as_millis(), 500);
        assert!(scenarios[1].drain && scenarios.iter().all(|it| it.host == "broker.example"));
    }

    #[test]
    fn flags_win() {
        let text = "[[scenario]]\nkind = \"pairs\"\nqos = 1\nclients = 5\n";
        let scenarios = read(text, &["--qos", "2"]).unwrap();
        assert_eq!((scenarios[0].qos, scenarios[0].clients), (2, Some(5)));
    }

    #[test]
    fn every_mistake_is_told_with_its_line() {
        let text = "qoss = 1\njson = true\n[[scenario]]\nkind = \"pears\"\nqos = 3\n\n[[scenario]]\nkind = \"idle\"\nrate = 5\n\
                    [[scenario]]\nqos = 1\nclients = [1]\ndrain = 1\n";
        let mistakes = read(text, &[]).unwrap_err();
        let starts: Vec<_> = mistakes.lines().map(|it| it.split(' ').next().unwrap()).collect();
        let lines = [1, 2, 4, 5, 7, 12, 13].map(|it| format!("b.toml:{it}:"));
        assert_eq!(starts, lines, "{mistakes}");
        assert!(mistakes.contains("is \"qos\" meant?"), "{mistakes}");
    }

    #[test]
    fn a_file_without_scenarios_is_refused() {
        for text in
            ["", "qos = 1", "scenario = 5", "[[scenario]]\n", "[[scenario]\n", "scenario = [1]"]
        {
            assert!(read(text, &[]).is_err(), "{text:?} should be refused");
        }
    }

    fn read(text: &str, flags: &[&str]) -> Result<Vec<Args>, String> {
        let flags: Vec<OsString> = flags.iter().map(OsString::from).collect();
        ScenarioFile { name: "b.toml", text, flags: &flags }.scenarios()
    }
}
