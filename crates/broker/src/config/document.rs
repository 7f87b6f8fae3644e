//! The configuration as a file: the one in force, and an example with every setting explained.

use std::fmt::Write as _;

use super::check::listener_key;
use super::{Ban, Config, Http, Jwt, Kind, Loaded, Setting, acl, listener_keys};

impl Loaded {
    /// Returns the configuration in force as a file that would make it, with where each setting came from.
    pub fn to_toml(&self) -> String {
        let mut out = String::new();
        let mut section = "";
        for setting in Config::settings() {
            begin_section(&mut out, &mut section, setting.section, || {
                self.listeners_to_toml() + &self.acl_to_toml()
            });
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
            let origin = self.origins.get(&listener_key(listener));
            let mut origin = origin.map(|origin| format!("  # {origin}")).unwrap_or_default();
            out.push_str("\n[[listener]]\n");
            for key in listener_keys::keys() {
                if let Some(value) = (key.show)(listener) {
                    let _ = writeln!(out, "{} = {value}{}", key.name, take(&mut origin));
                }
            }
        }
        out.extend(self.config.banned.iter().map(Ban::to_toml));
        out
    }

    fn acl_to_toml(&self) -> String {
        let mut out = String::new();
        for rule in &self.config.acl {
            let _ = writeln!(out, "\n[[acl]]  # {}", rule.origin);
            for key in acl::keys() {
                if let Some(value) = (key.show)(rule) {
                    let _ = writeln!(out, "{} = {value}", key.name);
                }
            }
        }
        out
    }
}

/// Returns an example of the rules.
fn example_acl() -> String {
    let mut out = EXAMPLE_ACL.to_owned();
    for key in acl::keys() {
        explain(&mut out, key.values, key.doc, key.name, key.sample);
    }
    out
}

/// Returns the text the first time, nothing later.
fn take(text: &mut String) -> String {
    std::mem::take(text)
}

impl Config {
    /// Returns a complete configuration file in which everything is set to its default and explained.
    pub fn example() -> String {
        let defaults = Self::default();
        let mut out = EXAMPLE_START.to_owned();
        let mut section = "";
        for setting in Self::settings() {
            begin_section(&mut out, &mut section, setting.section, example_listeners);
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

fn example_listeners() -> String {
    let mut out = EXAMPLE_LISTENERS.to_owned();
    for key in listener_keys::keys().filter(|key| !key.is_for_unix()) {
        explain(&mut out, key.values, key.doc, key.name, key.sample);
    }
    out.push_str(EXAMPLE_UNIX);
    for key in listener_keys::keys().filter(|key| key.is_for_unix()) {
        explain(&mut out, key.values, key.doc, key.name, key.sample);
    }
    out.push_str(EXAMPLE_BANS);
    out + &example_acl()
}

fn explain(out: &mut String, values: &str, doc: &str, name: &str, sample: &str) {
    let mut explained = values.to_owned();
    explained[..1].make_ascii_uppercase();
    out.push_str("#\n");
    for line in wrapped(&format!("{explained}. {doc}")) {
        let _ = writeln!(out, "# {line}");
    }
    let _ = writeln!(out, "# {name} = {sample}");
}

/// Breaks a text into lines for a file.
pub(super) fn wrapped(text: &str) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        match lines.last_mut() {
            Some(line) if line.len() + 1 + word.len() <= LINE_CHARS_MAX => {
                line.push(' ');
                line.push_str(word);
            }
            Some(_) | None => lines.push(word.to_owned()),
        }
    }
    lines
}

impl Setting {
    /// Returns a value that could be set, for a setting that has no default.
    fn sample(&self) -> String {
        match &self.kind {
            Kind::Path | Kind::Text if self.section == Jwt::SECTION => {
                Jwt::sample(self.name).to_owned()
            }
            Kind::Path | Kind::Text if self.section == Http::SECTION => {
                Http::sample(self.name).to_owned()
            }
            Kind::Switch => "true".to_owned(),
            Kind::Bytes(range) if *range.end() <= u64::from(u32::MAX) => "\"1 MiB\"".to_owned(),
            Kind::Bytes(_) => "\"100 GiB\"".to_owned(),
            Kind::Count(_) | Kind::Millis(_) | Kind::Secs(_) => "4".to_owned(),
            Kind::Path if self.key() == "acl_file" => "\"/etc/quelea/acl\"".to_owned(),
            Kind::Path => "\"/etc/quelea/passwd\"".to_owned(),
            Kind::Choice(words) => format!("{:?}", words.first().unwrap_or(&"")),
            Kind::List(Kind::Choice(words)) => format!("{words:?}"),
            Kind::List(_) => "[\"\"]".to_owned(),
            Kind::Text => "\"\"".to_owned(),
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

/// How long the lines of a file become.
const LINE_CHARS_MAX: usize = 116;

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
#
# One with all that a listener of TCP can have:
#
# [[listener]]
";

const EXAMPLE_BANS: &str = "
# Who may not connect: a [[ban]] for each client_id, user (the name that a client gives) or address (or network), for
# ever or until a moment. On reload it holds for those who are connected too.
#
# [[ban]]
# address = \"203.0.113.0/24\"
# until = 2027-01-31T12:00:00Z
";

const EXAMPLE_UNIX: &str = "\
#
# And a Unix socket:
#
# [[listener]]
# address = \"unix:/run/quelea/mqtt.sock\"
";

const EXAMPLE_ACL: &str = "
# Who may publish and subscribe to what: an [[acl]] for each rule. The first that matches decides, and with any rule
# at all, what none allows is denied. All that a rule says of a client must be so; what it does not say is anything.
#
# [[acl]]
# allow = [\"publish\", \"subscribe\"]
# topics = [\"public/#\"]
#
# The keys of a rule:
";
