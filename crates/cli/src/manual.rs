//! `quelea completions` and `quelea man`: what shells and readers want to know of the flags, from the definitions that
//! the flags are parsed by.

use std::fs;
use std::io;
use std::path::PathBuf;

use clap::{Args, Command};
use clap_complete::Shell;

use crate::failure::Failure;
use crate::print;

/// The arguments of `quelea completions`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  source <(quelea completions bash)
  quelea completions bash > ~/.local/share/bash-completion/completions/quelea
  quelea completions zsh > ~/.zfunc/_quelea
  quelea completions fish > ~/.config/fish/completions/quelea.fish")]
pub(crate) struct CompletionsArgs {
    /// The shell.
    #[arg(value_enum)]
    shell: Shell,
}

/// The arguments of `quelea man`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  quelea man | man -l -
  quelea man /usr/local/share/man/man1")]
pub(crate) struct ManArgs {
    /// Writes a page for each command into this directory, instead of the first to standard output.
    directory: Option<PathBuf>,
}

/// Runs `quelea completions`.
pub(crate) fn complete(args: &CompletionsArgs, mut command: Command) -> Result<(), Failure> {
    let name = command.get_name().to_owned();
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut command, name, &mut script);
    print::to_stdout(&String::from_utf8_lossy(&script))
}

/// Runs `quelea man`.
pub(crate) fn man(args: &ManArgs, command: Command) -> Result<(), Failure> {
    let Some(directory) = &args.directory else {
        let mut page = Vec::new();
        clap_mangen::Man::new(command).render(&mut page).map_err(Failure::new)?;
        return print::to_stdout(&String::from_utf8_lossy(&page));
    };
    let written: io::Result<()> =
        fs::create_dir_all(directory).and_then(|()| clap_mangen::generate_to(command, directory));
    written.map_err(|error| {
        Failure::new(format!("cannot write the pages into {}: {error}", directory.display()))
    })
}
