//! `quelea config`, and the flags of everything that has a configuration.

use std::ffi::OsString;
use std::path::PathBuf;
use std::{env, fs};

use clap::{Args, Subcommand};
use quelea_broker::config::{Flag, Loaded, Sources};
use quelea_broker::{Config, read_rules};

use crate::failure::Failure;
use crate::print;

/// Where the broker's configuration comes from.
#[derive(Clone, Debug, Args)]
pub(crate) struct ConfigArgs {
    /// Reads the configuration from this file.
    #[arg(short, long, value_name = "FILE", env = "QUELEA_CONFIG", hide_env_values = true)]
    config: Option<PathBuf>,

    /// Listens on this address, such as 127.0.0.1:1883 or [::1]:1883; may be repeated. Port 0 takes any free port.
    #[arg(short, long, value_name = "ADDR")]
    listen: Vec<String>,

    /// Lets in clients that do not say who they are, also from other machines.
    #[arg(long)]
    allow_anonymous: bool,

    /// Keeps sessions and messages in this directory, instead of quelea-data.
    #[arg(long, value_name = "DIR")]
    data_dir: Option<String>,

    /// Keeps sessions and messages in memory only: they are gone when the broker stops.
    #[arg(long, conflicts_with = "data_dir")]
    in_memory: bool,

    /// Serves with this many threads, instead of one for each processor core.
    #[arg(long, value_name = "N")]
    shards: Option<String>,

    /// Logs from this level on: error, warn, info, debug or trace.
    #[arg(long, value_name = "LEVEL")]
    log_level: Option<String>,

    /// Writes the log for people (human) or for machines (json).
    #[arg(long, value_name = "FORMAT")]
    log_format: Option<String>,

    /// Sets any setting, such as limits.packet_bytes_max=1MiB; may be repeated.
    #[arg(long, value_name = "KEY=VALUE", value_parser = key_and_value)]
    set: Vec<(String, String)>,
}

/// What can be done with a configuration.
#[derive(Debug, Subcommand)]
pub(crate) enum ConfigCommand {
    /// Says everything that is wrong with the configuration; exits with 2 if anything is.
    Check(ConfigArgs),
    /// Prints the configuration that the broker would run with, and where each setting comes from.
    Show(ConfigArgs),
    /// Prints a configuration file with every setting, its default, and what it means.
    Example,
}

/// Runs `quelea config`.
pub(crate) fn run(command: &ConfigCommand) -> Result<(), Failure> {
    match command {
        ConfigCommand::Check(args) => {
            let loaded = args.load()?;
            // The ACL file is a part of it that lies elsewhere.
            read_rules(&loaded.config).map_err(Failure::usage)?;
            print::to_stdout("nothing is wrong with the configuration\n")
        }
        ConfigCommand::Show(args) => print::to_stdout(&args.load()?.to_toml()),
        ConfigCommand::Example => print::to_stdout(&Config::example()),
    }
}

impl ConfigArgs {
    /// Loads the configuration from file, environment and flags.
    pub(crate) fn load(&self) -> Result<Loaded, Failure> {
        let sources =
            Sources { file: self.read_file()?, environment: environment(), flags: self.flags() };
        Loaded::from_sources(&sources).map_err(Failure::usage)
    }

    fn read_file(&self) -> Result<Option<(String, String)>, Failure> {
        let Some(path) = &self.config else { return Ok(None) };
        let name = path.display().to_string();
        let text = fs::read_to_string(path).map_err(|error| {
            Failure::usage(format!("cannot read the configuration file {name}: {error}"))
        })?;
        Ok(Some((name, text)))
    }

    fn flags(&self) -> Vec<Flag> {
        let one = |flag: &str, key: &str, value: &str| Flag {
            flag: flag.to_owned(),
            key: key.to_owned(),
            value: value.to_owned(),
        };
        let switch = |is_given: bool| is_given.then_some("true");
        let mut flags: Vec<Flag> =
            self.listen.iter().map(|it| one("--listen", "listener.address", it)).collect();
        let settings = [
            ("--allow-anonymous", "allow_anonymous", switch(self.allow_anonymous)),
            ("--data-dir", "store.data_dir", self.data_dir.as_deref()),
            ("--in-memory", "store.durability", self.in_memory.then_some("memory")),
            ("--shards", "shards", self.shards.as_deref()),
            ("--log-level", "log.level", self.log_level.as_deref()),
            ("--log-format", "log.format", self.log_format.as_deref()),
        ];
        let given = |(flag, key, value): (&str, &str, Option<&str>)| Some(one(flag, key, value?));
        flags.extend(settings.into_iter().filter_map(given));
        flags.extend(self.set.iter().map(|(key, value)| one("--set", key, value)));
        flags
    }
}

/// Returns the environment. What is no UTF-8 becomes a value that no setting accepts.
fn environment() -> Vec<(String, String)> {
    let text = |it: OsString| it.to_string_lossy().into_owned();
    env::vars_os().map(|(variable, value)| (text(variable), text(value))).collect()
}

fn key_and_value(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or("write KEY=VALUE, with an equals sign")?;
    Ok((key.trim().to_owned(), value.trim().to_owned()))
}
