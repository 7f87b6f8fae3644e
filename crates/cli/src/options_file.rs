//! Files of flags: what the commands that connect to a broker are always to be told, such as the host.
//!
//! Those of Mosquitto's clients are read where there are none of ours: a flag and its value a line.

use std::ffi::OsString;
use std::fs;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use clap::Command;

use crate::failure::Failure;

/// Puts the flags of a file before those of the command line, which win.
pub(crate) fn expand(words: Vec<OsString>, command: Command) -> Result<Vec<OsString>, Failure> {
    let Some(role) = words.get(1).and_then(|it| it.to_str()).filter(|it| ROLES.contains(it)) else {
        return Ok(words);
    };
    let file = match named(&words, command) {
        Some(file) => Some(file),
        None => default_files(role).into_iter().find(|it| it.is_file()),
    };
    let Some(file) = file else {
        return Ok(words);
    };
    let text = read(&file).map_err(|error| {
        Failure::usage(format!("cannot read the options in {}: {error}", file.display()))
    })?;
    let (before, after) = words.split_at(2);
    let flags = flags_of(&text).map(OsString::from);
    Ok(before.iter().cloned().chain(flags).chain(after.iter().cloned()).collect())
}

/// Returns the file that the command line names, whatever else is wrong with it: the file may mend that.
fn named(words: &[OsString], command: Command) -> Option<PathBuf> {
    let matches = command.ignore_errors(true).try_get_matches_from(words).ok()?;
    let (_, flags) = matches.subcommand()?;
    flags.try_get_one::<PathBuf>("options_file").ok().flatten().cloned()
}

fn default_files(role: &str) -> Vec<PathBuf> {
    let home = std::env::var_os("HOME").map(|it| PathBuf::from(it).join(".config"));
    let directory = std::env::var_os("XDG_CONFIG_HOME").map(PathBuf::from).or(home);
    let names = [format!("quelea/{role}"), format!("mosquitto_{role}")];
    directory.map_or_else(Vec::new, |directory| names.map(|it| directory.join(it)).to_vec())
}

fn read(file: &Path) -> io::Result<String> {
    let text = fs::read_to_string(file)?;
    if text.len() > FILE_BYTES_MAX {
        return Err(io::Error::new(ErrorKind::FileTooLarge, "it is no file of flags"));
    }
    Ok(text)
}

/// Returns the words of a file: of a line the first, and the rest as it is. `-D` has several values.
fn flags_of(text: &str) -> impl Iterator<Item = String> {
    let lines = text.lines().map(str::trim).filter(|it| !it.is_empty() && !it.starts_with('#'));
    lines.flat_map(|line| match line.split_once(char::is_whitespace) {
        None => vec![line.to_owned()],
        Some((flag @ ("-D" | "--property"), values)) => {
            [flag].into_iter().chain(values.split_whitespace()).map(str::to_owned).collect()
        }
        Some((flag, value)) => vec![flag.to_owned(), value.trim_start().to_owned()],
    })
}

/// The commands that read such a file.
const ROLES: [&str; 5] = ["pub", "sub", "rr", "record", "replay"];

/// More flags nobody has.
const FILE_BYTES_MAX: usize = 64 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_a_flag_and_its_value() {
        let text = "# broker\n-h broker.example\n\n  --pw  with two  blanks \n-v\n-D publish user-property a b\n";
        let flags: Vec<String> = flags_of(text).collect();
        let expected = [
            "-h",
            "broker.example",
            "--pw",
            "with two  blanks",
            "-v",
            "-D",
            "publish",
            "user-property",
            "a",
            "b",
        ];
        assert_eq!(flags, expected);
    }
}
