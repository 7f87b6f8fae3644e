//! `quelea completions` and `quelea man`: what shells and readers want to know of the flags, from the definitions that
//! the flags are parsed by.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use clap::{Args, Command};
use clap_complete::Shell;
use clap_mangen::Man;

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
    let mut command = command.disable_help_subcommand(true);
    command.build();
    let Some(directory) = &args.directory else {
        return print::to_stdout(&page(Man::new(command)).map_err(Failure::new)?);
    };
    let written = fs::create_dir_all(directory).and_then(|()| write_pages(&command, directory));
    written.map_err(|error| {
        Failure::new(format!("cannot write the pages into {}: {error}", directory.display()))
    })
}

/// Writes the page of a command, and of those below it.
fn write_pages(command: &Command, directory: &Path) -> io::Result<()> {
    for below in command.get_subcommands().filter(|it| !it.is_hide_set()) {
        write_pages(below, directory)?;
    }
    let man = Man::new(command.clone());
    fs::write(directory.join(man.get_filename()), page(man)?)
}

/// Returns a page, with a heading that readers of manuals know for what stands at its end.
fn page(man: Man) -> io::Result<String> {
    let mut page = Vec::new();
    man.source(concat!("quelea ", env!("CARGO_PKG_VERSION"))).render(&mut page)?;
    Ok(String::from_utf8_lossy(&page).replace(".SH EXTRA\n", ".SH NOTES\n"))
}
