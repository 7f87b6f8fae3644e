//! The `quelea` command: the broker, small clients, and tools, in one binary.
//!
//! Each subcommand is a module with its arguments and a `run`. What they print to standard output is their
//! result; everything else, and every reason for failing, goes to standard error.

mod address;
mod bench;
mod config;
mod conform;
mod connection;
mod doctor;
mod failure;
mod layers;
mod lines;
mod logging;
mod manual;
mod migrate;
mod options_file;
mod passwd;
mod payload;
mod print;
mod progress;
mod properties;
mod publish;
mod received;
mod request;
mod serve;
mod show;
mod store;
mod subscribe;
mod target;
mod top;
mod traffic;
mod trouble;
mod watch;
mod way;

use std::process::ExitCode;

use clap::{Args, CommandFactory, Parser, Subcommand};

use config::{ConfigArgs, ConfigCommand};

/// An MQTT broker, and the tools to go with it.
///
/// Without a command it serves: on port 1883 of this machine, to everybody on it, with sessions and messages
/// kept in the directory quelea-data.
#[derive(Debug, Parser)]
#[command(
    name = "quelea",
    version,
    args_conflicts_with_subcommands = true,
    after_help = "\
A first try, in three terminals:
  quelea
  quelea sub -t 'greetings/#' -v
  quelea pub -t greetings/world -m hello

`quelea COMMAND --help` tells more about a command."
)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    serve: ConfigArgs,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Runs the broker; this is also what no command at all does.
    #[command(after_help = serve::AFTER_HELP)]
    Serve(ConfigArgs),
    /// Publishes a message, or each line of standard input.
    Pub(publish::PublishArgs),
    /// Subscribes, and prints the messages that come.
    Sub(subscribe::SubscribeArgs),
    /// Publishes a request, and prints the response.
    Rr(request::RequestArgs),
    /// Writes the messages that come to a file, with their times.
    Record(traffic::record::RecordArgs),
    /// Publishes a recording again, in its own time or faster, to the same topics or others.
    Replay(traffic::replay::ReplayArgs),
    /// Shows a broker's topics in the terminal, with their rates and last values.
    Top(top::TopArgs),
    /// Loads a broker, this one or another, and measures it.
    Bench(bench::Args),
    /// Judges any broker by the statements of the MQTT standards.
    #[command(after_help = conform::AFTER_HELP)]
    Conform(conform::ConformArgs),
    /// Measures what a broker can do and where its limits are, and says what follows.
    #[command(after_help = doctor::AFTER_HELP)]
    Doctor(doctor::DoctorArgs),
    /// Checks or shows the broker's configuration.
    Config(ConfigSubcommand),
    /// Prints a configuration made from one of Mosquitto's, and what could not be carried over.
    Migrate(migrate::MigrateArgs),
    /// Adds, changes, checks or deletes a user of a password file.
    Passwd(passwd::PasswdArgs),
    /// Looks at a data directory while no broker has it, and copies it.
    Store(store::StoreArgs),
    /// Prints what a shell needs to complete the flags.
    Completions(manual::CompletionsArgs),
    /// Prints the manual, or writes its pages.
    Man(manual::ManArgs),
}

#[derive(Debug, Args)]
struct ConfigSubcommand {
    #[command(subcommand)]
    command: ConfigCommand,
}

fn main() -> ExitCode {
    let words = match options_file::expand(std::env::args_os().collect(), Cli::command()) {
        Ok(words) => words,
        Err(failure) => return failure.tell(),
    };
    let cli = Cli::parse_from(&words);
    let result = match cli.command {
        None => serve::run(&cli.serve),
        Some(Command::Serve(args)) => serve::run(&args),
        Some(Command::Pub(args)) => publish::run(&args),
        Some(Command::Sub(args)) => subscribe::run(&args),
        Some(Command::Record(args)) => traffic::record::run(&args),
        Some(Command::Replay(args)) => traffic::replay::run(&args),
        Some(Command::Rr(args)) => request::run(&args),
        Some(Command::Top(args)) => top::run(&args),
        // What a file of scenarios says stands before the flags of the command line.
        Some(Command::Bench(args)) => return bench::run(&args, words.get(2..).unwrap_or_default()),
        Some(Command::Conform(args)) => {
            return conform::run(&args).unwrap_or_else(|failure| failure.tell());
        }
        Some(Command::Doctor(args)) => {
            return doctor::run(&args).unwrap_or_else(|failure| failure.tell());
        }
        Some(Command::Config(config)) => config::run(&config.command),
        Some(Command::Migrate(args)) => migrate::run(&args),
        Some(Command::Passwd(args)) => passwd::run(&args),
        Some(Command::Store(args)) => store::run(&args),
        Some(Command::Completions(args)) => manual::complete(&args, Cli::command()),
        Some(Command::Man(args)) => manual::man(&args, Cli::command()),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.tell(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_do_not_contradict_each_other() {
        Cli::command().debug_assert();
    }

    /// `quelea` is `quelea serve`, with its flags too.
    #[test]
    fn no_command_serves() {
        let cli = Cli::try_parse_from(["quelea", "--listen", "127.0.0.1:0"])
            .expect("it is a broker's flag");
        assert!(cli.command.is_none());
        Cli::try_parse_from(["quelea", "--shards", "1", "sub", "-t", "t"])
            .expect_err("shards are not for sub");
    }
}
