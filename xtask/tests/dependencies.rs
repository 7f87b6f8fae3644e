//! What others have written: under which licenses, from where, and once each.
//!
//! The rules are those of `deny.toml`, as far as they can be checked without a network and in no time.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::process::Command;

#[test]
fn licenses_are_those_that_were_agreed_on() {
    let allowed = strings(&rules()["licenses"]["allow"]);
    let packages = packages();
    assert!(packages.len() > 50, "these are not all");
    for Package { name, license, .. } in &packages {
        assert!(Terms::of(license).are_met(&allowed), "{name} is under {license}");
    }
}

#[test]
fn crates_come_from_the_registry() {
    for Package { name, source, .. } in &packages() {
        assert_eq!(*source, None, "{name}");
    }
}

#[test]
fn no_crate_is_there_twice() {
    let skipped = crates(&rules()["bans"]["skip"]);
    let mut versions = BTreeMap::<_, BTreeSet<_>>::new();
    for Package { name, version, .. } in packages() {
        versions.entry(name).or_default().insert(version);
    }
    let twice: BTreeSet<_> =
        versions.into_iter().filter(|it| it.1.len() > 1).map(|it| it.0).collect();
    assert_eq!(twice, skipped, "these are there twice; those may be");
}

#[test]
fn what_was_banned_stays_away() {
    let banned = crates(&rules()["bans"]["deny"]);
    for Package { name, .. } in &packages() {
        assert!(!banned.contains(name), "{name} is banned");
    }
}

#[test]
fn terms_are_read_as_they_are_meant() {
    let allowed = ["MIT", "ISC"].map(str::to_owned).into();
    for (license, are_met) in [
        ("MIT", true),
        ("MIT/Apache-2.0", true),
        ("Apache-2.0 OR MIT", true),
        ("Apache-2.0 AND MIT", false),
        ("ISC AND (Apache-2.0 OR ISC)", true),
        ("(MIT OR Apache-2.0) AND Unicode-3.0", false),
        ("Apache-2.0 WITH LLVM-exception", false),
        ("", false),
    ] {
        assert_eq!(Terms::of(license).are_met(&allowed), are_met, "{license}");
    }
}

/// An expression of licenses, read from its start.
struct Terms<'a> {
    words: Vec<&'a str>,
    at: usize,
}

impl<'a> Terms<'a> {
    fn of(license: &'a str) -> Self {
        let is_mark = |it: char| "()/".contains(it);
        let pieces = license.split_inclusive(is_mark).flat_map(|it| {
            let (word, mark) =
                it.strip_suffix(is_mark).map_or((it, ""), |word| (word, &it[word.len()..]));
            word.split_whitespace().chain(Some(mark).filter(|it| !it.is_empty()))
        });
        Self { words: pieces.collect(), at: 0 }
    }

    fn are_met(mut self, allowed: &BTreeSet<String>) -> bool {
        self.any(allowed) && self.at == self.words.len()
    }

    fn any(&mut self, allowed: &BTreeSet<String>) -> bool {
        let mut is_met = self.all(allowed);
        while self.take("OR") || self.take("/") {
            is_met |= self.all(allowed);
        }
        is_met
    }

    fn all(&mut self, allowed: &BTreeSet<String>) -> bool {
        let mut is_met = self.one(allowed);
        while self.take("AND") {
            is_met &= self.one(allowed);
        }
        is_met
    }

    fn one(&mut self, allowed: &BTreeSet<String>) -> bool {
        if self.take("(") {
            return self.any(allowed) & self.take(")");
        }
        let Some(license) = self.words.get(self.at).copied() else { return false };
        self.at += 1;
        let exception = self.take("WITH").then(|| self.words.get(self.at).copied()).flatten();
        self.at += usize::from(exception.is_some());
        let license = exception.map_or(license.to_owned(), |it| format!("{license} WITH {it}"));
        allowed.contains(&license)
    }

    fn take(&mut self, word: &str) -> bool {
        let is_next = self.words.get(self.at) == Some(&word);
        self.at += usize::from(is_next);
        is_next
    }
}

/// Returns the crates of others that are built here.
fn packages() -> Vec<Package> {
    let output = Command::new(env!("CARGO"))
        .args(["tree", "--locked", "--workspace", "--edges", "normal,build,dev"])
        .args(["--prefix", "none", "--no-dedupe", "--format", "{p}|{l}"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .expect("cargo runs this test");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let lines: BTreeSet<_> =
        String::from_utf8(output.stdout).expect("names").lines().map(str::to_owned).collect();
    lines.iter().filter_map(|it| Package::read(it)).collect()
}

/// A crate of others.
struct Package {
    name: String,
    version: String,
    license: String,
    /// Where it is from, if that is not the registry.
    source: Option<String>,
}

impl Package {
    /// Reads a line of `cargo tree`. Nothing if the crate is one of ours.
    fn read(line: &str) -> Option<Self> {
        let (package, license) = line.split_once('|').filter(|it| !it.0.is_empty())?;
        let package = package.replace(" (proc-macro)", "");
        let mut words = package.splitn(3, ' ').map(str::to_owned);
        let (name, version) = (words.next()?, words.next()?);
        let source = words.next();
        let is_ours = source.as_ref().is_some_and(|it| it.starts_with("(/"));
        (!is_ours).then(|| Self { name, version, license: license.to_owned(), source })
    }
}

fn rules() -> toml::Table {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deny.toml");
    fs::read_to_string(path).expect("the rules").parse().expect("TOML")
}

/// Returns the crates that a list of `deny.toml` names.
fn crates(list: &toml::Value) -> BTreeSet<String> {
    let list = list.as_array().expect("a list");
    list.iter().map(|it| it["crate"].as_str().expect("a crate").to_owned()).collect()
}

fn strings(list: &toml::Value) -> BTreeSet<String> {
    let list = list.as_array().expect("a list");
    list.iter().map(|it| it.as_str().expect("a text").to_owned()).collect()
}
