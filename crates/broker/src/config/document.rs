//! The configuration as a file: the one in force, and an example with every setting explained.

use std::fmt::Write as _;

use super::check::listener_key;
use super::value::quoted;
use super::{Config, Kind, Loaded, Setting};

impl Loaded {
    /// Returns the configuration in force as a file that would make it, with where each setting came from.
    pub fn to_toml(&self) -> String {
        let mut out = String::new();
        let mut section = "";
        for setting in Config::settings() {
            begin_section(&mut out, &mut section, setting.section, || self.listeners_to_toml());
            let key = setting.key();
            let origin =
                self.origins.get(&key).map(|origin| format!("  # {origin}")).unwrap_or_default();
            let _ = match setting.show(&self.config) {
                Some(value) => writeln!(out, "{} = {value}{origin}", setting.name),
                None => writeln!(out, "# {} is not set", setting.name),
            };
        }
        out
    }

    fn listeners_to_toml(&self) -> String {
        let mut out = String::new();
        for listener in &self.config.listeners {
            let address = listener.address;
            let origin = self.origins.get(&listener_key(address));
            let origin = origin.map(|origin| format!("  # {origin}")).unwrap_or_default();
            let _ =
                writeln!(out, "\n[[listener]]\naddress = {}{origin}", quoted(&address.to_string()));
        }
        out
    }
}

impl Config {
    /// Returns a complete configuration file in which everything is set to its default and explained.
    pub fn example() -> String {
        let defaults = Self::default();
        let mut out = EXAMPLE_START.to_owned();
        let mut section = "";
        for setting in Self::settings() {
            begin_section(&mut out, &mut section, setting.section, || EXAMPLE_LISTENERS.to_owned());
            out.push('\n');
            for line in setting.doc {
                let _ = writeln!(out, "#{line}");
            }
            let _ = writeln!(out, "# It is {}.", setting.kind.describe());
            let _ = match setting.show(&defaults) {
                Some(value) => writeln!(out, "{} = {value}", setting.name),
                None => writeln!(out, "# {} = {}", setting.name, setting.sample()),
            };
        }
        out
    }
}

impl Setting {
    /// Returns a value that could be set, for a setting that has no default.
    fn sample(&self) -> &'static str {
        match &self.kind {
            Kind::Switch => "true",
            Kind::Bytes(_) => "\"100 GiB\"",
            Kind::Count(_) | Kind::Millis(_) | Kind::Secs(_) => "4",
            Kind::Choice(_) | Kind::Path | Kind::Text => "\"\"",
        }
    }
}

/// Begins a table when `next` is another than `section`. Tables of TOML end the top of the file, so the
/// listeners stand before the first.
fn begin_section(
    out: &mut String,
    section: &mut &'static str,
    next: &'static str,
    listeners: impl FnOnce() -> String,
) {
    if *section == next {
        return;
    }
    if section.is_empty() {
        out.push_str(&listeners());
    }
    let _ = write!(out, "\n[{next}]\n");
    *section = next;
}

const EXAMPLE_START: &str = "\
# Quelea's configuration: every setting, with its default.
#
# Environment variables win over this file, and flags over both. Numbers of bytes may be written as \"64 KiB\",
# \"10 MiB\" or \"1 GiB\". `quelea config check --config FILE` says everything that is wrong with a file, and
# `quelea config show` what the broker would run with.
";

const EXAMPLE_LISTENERS: &str = "
# Where the broker listens: a [[listener]] for each address. Without any it listens on port 1883 of both loopback
# addresses, so for this machine only. An address that others can reach needs allow_anonymous = true, above. Port 0
# takes any free port, which is logged.
#
# [[listener]]
# address = \"127.0.0.1:1883\"
#
# [[listener]]
# address = \"[::1]:1883\"
";
