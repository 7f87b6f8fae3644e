//! `quelea passwd`: the users of a password file.
//!
//! A password is asked for twice on the terminal, which does not show it, or read once from standard input.
//! It is never taken from the command line, where others could see it.

use std::fs;
use std::io::{self, BufRead as _, IsTerminal as _, Write as _};
use std::path::PathBuf;

use clap::Args;
use nix::sys::termios::{LocalFlags, SetArg, Termios, tcgetattr, tcsetattr};
use quelea_auth::{Scram, Users, is_user_name};

use crate::failure::Failure;

/// What `quelea passwd` is asked to do.
#[derive(Debug, Args)]
pub(crate) struct PasswdArgs {
    /// The password file. It is made if it is not there.
    file: PathBuf,
    /// The user.
    user: String,
    /// Delete the user.
    #[arg(long, conflicts_with_all = ["check", "groups", "no_scram", "batch"])]
    delete: bool,
    /// Only say by the exit code whether this is the user's password: 0 if it is.
    #[arg(long, conflicts_with_all = ["groups", "no_scram"])]
    check: bool,
    /// Read the password from standard input: its first line, without asking.
    #[arg(long)]
    batch: bool,
    /// Keep nothing for SCRAM-SHA-256: the user needs a password in CONNECT then.
    #[arg(long)]
    no_scram: bool,
    /// Groups that the user is in, with commas between them. Without it they stay as they are.
    #[arg(long, value_name = "GROUPS", value_delimiter = ',')]
    groups: Option<Vec<String>>,
}

pub(crate) fn run(args: &PasswdArgs) -> Result<(), Failure> {
    if !is_user_name(&args.user) {
        let why =
            "a user's name is not empty, has no colon or line break, and does not begin with #";
        return Err(Failure::usage(why));
    }
    let groups = args.groups.as_ref().map(|it| read_groups(it)).transpose()?;
    let is_new = !fs::exists(&args.file).map_err(Failure::new)?;
    let mut users = match is_new && !args.delete && !args.check {
        true => Users::default(),
        false => Users::read(&args.file).map_err(Failure::new)?,
    };
    if args.delete {
        if !users.remove(&args.user) {
            return Err(Failure::new(format!("there is no user {}", args.user)));
        }
        return users.write(&args.file).map_err(Failure::new);
    }
    let is_asked = !args.batch && io::stdin().is_terminal();
    let password = if is_asked { ask(!args.check)? } else { read_line()? };
    if args.check {
        return match users.has(&args.user, password.as_bytes()) {
            true => Ok(()),
            false => Err(Failure::new("that is not the user's password")),
        };
    }
    let scram = if args.no_scram { Scram::LeftOut } else { Scram::Kept };
    users.set(&args.user, password.as_bytes(), scram, groups).map_err(Failure::new)?;
    users.write(&args.file).map_err(Failure::new)
}

fn read_groups(groups: &[String]) -> Result<Vec<Box<str>>, Failure> {
    let named = groups.iter().map(|it| it.trim()).filter(|it| !it.is_empty());
    let named: Vec<Box<str>> = named.map(Into::into).collect();
    match named.iter().all(|it| is_user_name(it)) {
        true => Ok(named),
        false => Err(Failure::usage("a group's name has no colon or line break")),
    }
}

/// Asks on the terminal: twice for a new password, which a slip of the finger would make unknown.
fn ask(is_new: bool) -> Result<String, Failure> {
    let _hidden = Hidden::new()?;
    let password = prompt("Password: ")?;
    if is_new && prompt("Again: ")? != password {
        return Err(Failure::new("the two are not the same"));
    }
    Ok(password)
}

fn prompt(text: &str) -> Result<String, Failure> {
    let mut terminal = io::stderr().lock();
    let said = write!(terminal, "{text}").and_then(|()| terminal.flush());
    said.map_err(Failure::new)?;
    let line = read_line();
    writeln!(terminal).map_err(Failure::new)?;
    line
}

fn read_line() -> Result<String, Failure> {
    let mut line = String::new();
    io::stdin().lock().read_line(&mut line).map_err(Failure::new)?;
    let password = line.trim_end_matches(['\r', '\n']);
    match password.is_empty() {
        true => Err(Failure::new("the password is empty")),
        false => Ok(password.to_owned()),
    }
}

/// The terminal does not show what is typed until this is dropped.
struct Hidden(Termios);

impl Hidden {
    fn new() -> Result<Self, Failure> {
        let before = tcgetattr(io::stdin()).map_err(Failure::new)?;
        let mut hidden = before.clone();
        hidden.local_flags.remove(LocalFlags::ECHO);
        tcsetattr(io::stdin(), SetArg::TCSAFLUSH, &hidden).map_err(Failure::new)?;
        Ok(Self(before))
    }
}

impl Drop for Hidden {
    fn drop(&mut self) {
        // There is nobody left to tell.
        let _ = tcsetattr(io::stdin(), SetArg::TCSAFLUSH, &self.0);
    }
}
