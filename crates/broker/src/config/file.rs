//! Reads a configuration file: TOML, with the line of each mistake.

use std::ops::Range;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::listener_keys::Given;
use super::load::Loading;
use super::mistake::Origin;
use super::value::Raw;
use super::{AclRule, Ban, Config, Listener, acl, ban, listener, listener_keys};

/// Reads the file `name` with the content `text` into `loading`.
pub(super) fn read_file(name: &str, text: &str, loading: &mut Loading) {
    let (document, errors) = DeTable::parse_recoverable(text);
    let file = File { name, text };
    // What the parser made of a broken file may be nonsense, and so would mistakes in that be.
    if errors.is_empty() {
        file.read_document(document.get_ref(), loading);
    }
    for error in errors {
        let message = error.message().lines().collect::<Vec<_>>().join(", ");
        loading.mistake(
            file.origin(&error.span().unwrap_or_default()),
            format!("this is not TOML: {message}"),
        );
    }
}

struct File<'a> {
    name: &'a str,
    text: &'a str,
}

impl File<'_> {
    fn read_document(&self, document: &DeTable<'_>, loading: &mut Loading) {
        for (key, value) in document {
            let name = key.get_ref().as_ref();
            if name == listener::TABLE {
                self.read_listeners(value, loading);
            } else if name == ban::TABLE {
                self.read_bans(value, loading);
            } else if name == acl::TABLE {
                self.read_acl(value, loading);
            } else if Config::settings().any(|setting| setting.section == name) {
                self.read_section(name, value, loading);
            } else {
                self.read_setting("", key, value, loading);
            }
        }
    }

    fn read_section(&self, section: &str, value: &Spanned<DeValue<'_>>, loading: &mut Loading) {
        let Some(table) = value.get_ref().as_table() else {
            let message =
                format!("\"{section}\" is a table: write [{section}] on a line of its own");
            return loading.mistake(self.origin(&value.span()), message);
        };
        for (key, value) in table {
            let inner = format!("{section}.{}", key.get_ref());
            match Config::settings().any(|setting| setting.section == inner) {
                true => self.read_section(&inner, value, loading),
                false => self.read_setting(section, key, value, loading),
            }
        }
    }

    fn read_setting(
        &self,
        section: &str,
        key: &Spanned<impl AsRef<str>>,
        value: &Spanned<DeValue<'_>>,
        loading: &mut Loading,
    ) {
        let name = key.get_ref().as_ref();
        let origin = self.origin(&key.span());
        let setting = Config::settings().find(|it| it.section == section && it.name == name);
        let Some(setting) = setting else {
            let separator = if section.is_empty() { "" } else { "." };
            return loading.unknown_key(origin, &format!("{section}{separator}{name}"));
        };
        let texts = texts(value.get_ref());
        match texts.as_deref().map(Raw::Strings).or_else(|| raw(value.get_ref())) {
            Some(raw) => loading.set(setting, raw, origin),
            None => {
                let (key, kind) = (setting.key(), setting.kind.describe());
                let written = value.get_ref().type_str();
                loading.mistake(
                    origin,
                    format!("{key} must be {kind}, not a value of type {written}"),
                );
            }
        }
    }

    fn read_listeners(&self, value: &Spanned<DeValue<'_>>, loading: &mut Loading) {
        let Some(array) = value.get_ref().as_array() else {
            let message =
                "listeners are a list: write [[listener]], with two brackets, for each".to_owned();
            return loading.mistake(self.origin(&value.span()), message);
        };
        let listeners = array.iter().filter_map(|it| self.read_listener(it, loading)).collect();
        loading.set_listeners(listeners);
    }

    fn read_bans(&self, value: &Spanned<DeValue<'_>>, loading: &mut Loading) {
        let Some(array) = value.get_ref().as_array() else {
            let message = "bans are a list: write [[ban]], with two brackets, for each".to_owned();
            return loading.mistake(self.origin(&value.span()), message);
        };
        let mut note = |span, message| loading.mistake(self.origin(&span), message);
        let bans: Vec<Ban> = array.iter().filter_map(|it| Ban::read(it, &mut note)).collect();
        loading.set_bans(bans);
    }

    fn read_listener(
        &self,
        listener: &Spanned<DeValue<'_>>,
        loading: &mut Loading,
    ) -> Option<(Origin, Listener)> {
        // Replaced by the address in the file, without which there is no listener.
        let mut read = Listener::new(([127, 0, 0, 1], 0).into());
        let mut address = None;
        let mut is_right = true;
        for (key, value) in listener.get_ref().as_table().into_iter().flatten() {
            let name = key.get_ref().as_ref();
            match value.get_ref().as_table() {
                // What a file may write as a table, its keys call `tls.certificate`.
                Some(table) => {
                    for (inner, value) in table {
                        let name = format!("{name}.{}", inner.get_ref());
                        let origin = self.origin(&inner.span());
                        is_right &=
                            self.read_listener_key(&mut read, &name, origin, value, loading);
                    }
                }
                None => {
                    let origin = self.origin(&key.span());
                    if name == "address" {
                        address = Some(origin.clone());
                    }
                    is_right &= self.read_listener_key(&mut read, name, origin, value, loading);
                }
            }
        }
        if address.is_none() {
            let message =
                "a listener needs an address, such as address = \"127.0.0.1:1883\"".to_owned();
            loading.mistake(self.origin(&listener.span()), message);
        }
        address.filter(|_| is_right).map(|origin| (origin, read))
    }

    /// Reads one key of a listener. Returns false when it is wrong.
    fn read_listener_key(
        &self,
        listener: &mut Listener,
        name: &str,
        origin: Origin,
        value: &Spanned<DeValue<'_>>,
        loading: &mut Loading,
    ) -> bool {
        let full_name = format!("{}.{name}", listener::TABLE);
        let Some(key) = listener_keys::keys().find(|key| key.name == name) else {
            loading.unknown_key(origin, &full_name);
            return false;
        };
        match (key.read)(listener, &Given::new(value, &self.text[value.span()])) {
            Ok(()) => true,
            // An address says itself what is wrong with it.
            Err(message) if full_name == listener::ADDRESS_KEY => {
                loading.mistake(origin, message);
                false
            }
            Err(expected) => {
                loading.mistake(origin, format!("{full_name} {expected}"));
                false
            }
        }
    }

    fn read_acl(&self, value: &Spanned<DeValue<'_>>, loading: &mut Loading) {
        let Some(array) = value.get_ref().as_array() else {
            let message = "rules are a list: write [[acl]], with two brackets, for each".to_owned();
            return loading.mistake(self.origin(&value.span()), message);
        };
        for rule in array {
            self.read_acl_rule(rule, loading);
        }
    }

    fn read_acl_rule(&self, rule: &Spanned<DeValue<'_>>, loading: &mut Loading) {
        let origin = self.origin(&rule.span());
        let mut read = AclRule { origin: origin.to_string(), ..AclRule::default() };
        let mut is_right = true;
        for (key, value) in rule.get_ref().as_table().into_iter().flatten() {
            let origin = self.origin(&key.span());
            let full_name = format!("{}.{}", acl::TABLE, key.get_ref());
            let Some(key) = acl::keys().find(|it| it.name == key.get_ref().as_ref()) else {
                loading.unknown_key(origin, &full_name);
                is_right = false;
                continue;
            };
            let given = Given::new(value, &self.text[value.span()]);
            if let Err(expected) = (key.read)(&mut read, &given) {
                loading.mistake(origin, format!("{full_name} {expected}"));
                is_right = false;
            }
        }
        match read.to_rule() {
            Ok(_) => loading.add_acl_rule(read),
            // What a wrong key leaves out is not missed twice.
            Err(message) if is_right => loading.mistake(origin, message),
            Err(_) => {}
        }
    }

    fn origin(&self, span: &Range<usize>) -> Origin {
        let before = &self.text.as_bytes()[..span.start.min(self.text.len())];
        let line = 1 + before.iter().filter(|byte| **byte == b'\n').count();
        // What is missing at the end of the file is missing on its last line.
        let line = line.min(self.text.lines().count().max(1));
        Origin::File { file: self.name.to_owned(), line }
    }
}

/// Returns a list of texts.
fn texts<'a>(value: &'a DeValue<'_>) -> Option<Vec<&'a str>> {
    value.as_array()?.iter().map(|it| it.get_ref().as_str()).collect()
}

/// Returns a value that settings can have; other lists, tables, fractions and dates are none.
fn raw<'a>(value: &'a DeValue<'_>) -> Option<Raw<'a>> {
    match value {
        DeValue::Boolean(is_on) => Some(Raw::Bool(*is_on)),
        DeValue::String(text) => Some(Raw::String(text)),
        DeValue::Integer(integer) => {
            // Nothing that a setting accepts is out of the bounds of i128.
            let number = i128::from_str_radix(integer.as_str(), integer.radix());
            Some(Raw::Integer(number.unwrap_or(i128::MAX)))
        }
        DeValue::Float(_) | DeValue::Datetime(_) | DeValue::Array(_) | DeValue::Table(_) => None,
    }
}
