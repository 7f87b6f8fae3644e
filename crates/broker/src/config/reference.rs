//! Writes the reference of all settings, and holds the documentation to it.
//!
//! `UPDATE=1 cargo test -p quelea-broker config` writes what these tests compare.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::{env, fs};

use super::document::wrapped;
use super::{Config, Loaded, Setting, Sources, TakesEffect, acl, listener_keys};

/// Every setting, with its type, unit, default and limit, is in the documentation.
#[test]
fn documentation_has_every_setting() {
    let file = repository().join("docs/configuration.md");
    let text = fs::read_to_string(&file).expect("docs/configuration.md is there");
    let (before, _) = text.split_once(MARK).expect("the reference has its mark");
    check(file, &format!("{before}{MARK}\n{}", reference()));
}

#[test]
fn example_has_every_setting() {
    check(repository().join("quelea.example.toml"), &Config::example());
}

#[test]
fn example_is_the_defaults() {
    let file = Some(("quelea.example.toml".to_owned(), Config::example()));
    let loaded = Loaded::from_sources(&Sources { file, ..Sources::default() })
        .expect("the example is right");
    assert_eq!(loaded.config, Config::default());
}

/// A comment is an invitation to remove it: what the example only shows must be right too.
#[test]
fn example_is_right_when_all_is_uncommented() {
    let mut example = uncommented(&Config::example());
    // Lines one after the other share a line end, so that one pass finds every second.
    for _ in 0..2 {
        for line in listener_lines() {
            example = example.replace(&format!("\n# {line}\n"), &format!("\n{line}\n"));
        }
    }
    let file = Some(("quelea.example.toml".to_owned(), example));
    let loaded = Loaded::from_sources(&Sources { file, ..Sources::default() });
    let listeners = loaded.expect("the example is right").config.listeners;
    assert_eq!(listeners.len(), 4);
    for key in listener_keys::keys() {
        let listener = if key.is_for_unix() { &listeners[3] } else { &listeners[2] };
        assert!((key.show)(listener).is_some(), "{} is not in the example", key.name);
    }
}

/// Sets every setting that the example only shows, each in its table.
fn uncommented(example: &str) -> String {
    let mut hidden: Vec<&Setting> = Config::settings()
        .filter(|it| it.show(&Config::default()).is_none())
        .filter(|it| !ALTERNATIVES.contains(&&*it.key()))
        .collect();
    let mut section = "";
    let mut out = String::new();
    for line in example.lines() {
        if let Some(table) = line.strip_prefix('[') {
            section = table.trim_end_matches(']');
        }
        let shown = line.strip_prefix("# ").and_then(|it| Some((it, it.split_once(" = ")?.0)));
        let is_it = |name: &str, it: &Setting| it.section == section && it.name == name;
        let found = shown.and_then(|(shown, name)| {
            let index = hidden.iter().position(|it| is_it(name, it))?;
            hidden.remove(index);
            Some(shown)
        });
        out.push_str(found.unwrap_or(line));
        out.push('\n');
    }
    let left: Vec<String> = hidden.iter().map(|it| it.key()).collect();
    assert!(left.is_empty(), "not in the example: {left:?}");
    out
}

/// Whoever copies a recipe gets a broker.
#[test]
fn recipes_are_configurations() {
    for (document, least) in
        [("docs/listeners.md", 9), ("docs/authentication.md", 3), ("docs/authorization.md", 4)]
    {
        check_recipes(document, least);
    }
}

fn check_recipes(document: &str, least: usize) {
    let text = fs::read_to_string(repository().join(document)).expect("it is there");
    let recipes: Vec<&str> = text.split("```toml\n").skip(1).collect();
    assert!(recipes.len() >= least);
    for recipe in recipes {
        let (recipe, _) = recipe.split_once("```").expect("it ends");
        let file = match recipe.contains("[[listener]]") {
            true => recipe.to_owned(),
            false if recipe.contains("[[acl]]") || recipe.starts_with("acl_file") => {
                recipe.to_owned()
            }
            false => format!("[[listener]]\naddress = \"127.0.0.1:1883\"\n{recipe}"),
        };
        let file = Some((document.to_owned(), file));
        // What a proxy or the system does in front of the broker is none of its business.
        let environment = vec![("QUELEA_ALLOW_ANONYMOUS".to_owned(), "true".to_owned())];
        let loaded = Loaded::from_sources(&Sources { file, environment, ..Sources::default() });
        assert!(loaded.is_ok(), "{recipe}\n{}", loaded.expect_err("it is wrong"));
    }
}

#[test]
fn recipe_for_limits_is_a_configuration() {
    let text = fs::read_to_string(repository().join("docs/limits.md")).expect("it is there");
    let (_, recipe) = text.split_once("```toml\n").expect("it has one");
    let (recipe, _) = recipe.split_once("```").expect("it ends");
    let file = Some(("docs/limits.md".to_owned(), recipe.to_owned()));
    let loaded = Loaded::from_sources(&Sources { file, ..Sources::default() });
    assert_eq!(loaded.expect("it is right").config.rates.address_connections_max, Some(100));
}

fn listener_lines() -> Vec<String> {
    let plain = [
        "[[listener]]",
        "address = \"127.0.0.1:1883\"",
        "address = \"[::1]:1883\"",
        "address = \"unix:/run/quelea/mqtt.sock\"",
    ];
    let keys = listener_keys::keys().map(|key| format!("{} = {}", key.name, key.sample));
    plain.into_iter().map(str::to_owned).chain(keys).collect()
}

#[track_caller]
fn check(file: PathBuf, expected: &str) {
    if env::var_os("UPDATE").is_some() {
        fs::write(&file, expected).expect("the file can be written");
    }
    let written = fs::read_to_string(&file).unwrap_or_default();
    let name = file.display();
    assert!(
        written == expected,
        "{name} is behind the settings: run `UPDATE=1 cargo test -p quelea-broker config`"
    );
}

fn reference() -> String {
    let defaults = Config::default();
    let mut out = listener_reference() + &acl_reference();
    let mut section = None;
    for setting in Config::settings() {
        if section != Some(setting.section) {
            section = Some(setting.section);
            let _ = match setting.section {
                "" => writeln!(out, "\n## At the top of the file"),
                table => writeln!(out, "\n## `[{table}]`"),
            };
        }
        let _ = write!(
            out,
            "\n### `{}`\n\n{}\n\n{}",
            setting.name,
            facts(setting, &defaults),
            paragraph(setting)
        );
    }
    out
}

fn listener_reference() -> String {
    let mut out = "\n## The keys of a `[[listener]]`\n".to_owned();
    for key in listener_keys::keys() {
        let mut values = key.values.to_owned();
        values[..1].make_ascii_uppercase();
        let _ = write!(out, "\n### `{}`\n\n{values}: `{}`\n\n", key.name, key.sample);
        for line in wrapped(key.doc) {
            let _ = writeln!(out, "{line}");
        }
    }
    out
}

fn acl_reference() -> String {
    let mut out = "\n## The keys of an `[[acl]]`\n".to_owned();
    for key in acl::keys() {
        let mut values = key.values.to_owned();
        values[..1].make_ascii_uppercase();
        let _ = write!(out, "\n### `{}`\n\n{values}: `{}`\n\n", key.name, key.sample);
        for line in wrapped(key.doc) {
            let _ = writeln!(out, "{line}");
        }
    }
    out
}

fn facts(setting: &Setting, defaults: &Config) -> String {
    let mut kind = setting.kind.describe();
    kind[..1].make_ascii_uppercase();
    let default = match setting.show(defaults) {
        Some(value) => format!("default `{value}`"),
        None => "not set by default".to_owned(),
    };
    let restart = match setting.takes_effect() {
        TakesEffect::AtOnce => "",
        TakesEffect::AtRestart => " A change needs a restart.",
    };
    format!("{kind}; {default}. Environment: `{}`.{restart}", setting.variable())
}

fn paragraph(setting: &Setting) -> String {
    setting.doc.iter().map(|line| format!("{}\n", line.trim())).collect()
}

fn repository() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..")
}

const MARK: &str =
    "<!-- From here on the file is written by `UPDATE=1 cargo test -p quelea-broker config`. -->";

/// Settings in whose place the example sets another.
const ALTERNATIVES: &[&str] = &["authentication.jwt.key_file", "authentication.jwt.secret_file"];
