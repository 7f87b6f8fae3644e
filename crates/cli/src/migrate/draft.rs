//! The `quelea.toml` that is being made.

use std::fmt::{Display, Write as _};

use quelea_broker::Config;
use quelea_broker::config::Kind;

use super::directive::Line;

/// Settings, in the order of the documentation when they are written.
#[derive(Default)]
pub(super) struct Draft {
    /// Key, value as TOML, and where it comes from.
    settings: Vec<(String, String, String)>,
    /// Tables, written between the top of the file and the other tables.
    pub(super) listeners: String,
}

impl Draft {
    /// Sets a number, brought within the bounds that the setting has. Returns false if there is no such setting.
    pub(super) fn number(&mut self, key: &str, value: u64, from: &Line) -> bool {
        let Some(setting) = Config::settings().find(|it| it.key() == key) else { return false };
        let (least, most) = match &setting.kind {
            Kind::Bytes(range) | Kind::Count(range) | Kind::Millis(range) | Kind::Secs(range) => {
                (*range.start(), *range.end())
            }
            Kind::Choice(_) | Kind::List(_) | Kind::Path | Kind::Switch | Kind::Text => {
                return false;
            }
        };
        self.put(key, value.clamp(least, most).to_string(), from);
        true
    }

    /// Sets a text or a path. Returns false if there is no such setting.
    pub(super) fn text(&mut self, key: &str, value: &str, from: &dyn Display) -> bool {
        let is_known = Config::settings().any(|it| it.key() == key);
        if is_known {
            self.put(key, quoted(value), from);
        }
        is_known
    }

    pub(super) fn switch(&mut self, key: &str, value: bool, from: &dyn Display) {
        self.put(key, value.to_string(), from);
    }

    /// Returns whether a setting has been made.
    pub(super) fn has(&self, key: &str) -> bool {
        self.settings.iter().any(|(known, ..)| known == key)
    }

    pub(super) fn list(&mut self, key: &str, values: &[&str], from: &dyn Display) {
        let values: Vec<String> = values.iter().map(|it| quoted(it)).collect();
        self.put(key, format!("[{}]", values.join(", ")), from);
    }

    /// The last one counts, as in Mosquitto.
    fn put(&mut self, key: &str, value: String, from: &dyn Display) {
        self.settings.retain(|(known, ..)| known != key);
        self.settings.push((key.to_owned(), value, from.to_string()));
    }

    /// Returns the file.
    pub(super) fn to_toml(&self) -> String {
        let mut out = "# Made by `quelea migrate`.\n".to_owned();
        let mut section = "";
        let mut has_listeners = false;
        for setting in Config::settings() {
            if !setting.section.is_empty() && !has_listeners {
                has_listeners = true;
                out.push_str(&self.listeners);
            }
            let key = setting.key();
            let Some((_, value, from)) = self.settings.iter().find(|(it, ..)| *it == key) else {
                continue;
            };
            if setting.section != section {
                section = setting.section;
                let _ = write!(out, "\n[{section}]\n");
            }
            let _ = writeln!(out, "{} = {value}  # {from}", setting.name);
        }
        out
    }
}

/// Writes a string of TOML: what JSON escapes is escaped alike there.
pub(super) fn quoted(text: &str) -> String {
    // But for one character, which TOML wants escaped too.
    serde_json::to_string(text).unwrap_or_default().replace('\u{7f}', "\\u007f")
}
