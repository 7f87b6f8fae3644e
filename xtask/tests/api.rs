//! What the libraries for applications promise, in files that change with it: nobody breaks it without seeing so.
//!
//! In these crates `pub` means public, because the lint `unreachable_pub` allows it nowhere else, and formatted code has
//! each item at its place in the line. So the files are made of the text of the sources: `UPDATE=1` writes them.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

#[test]
fn interfaces_are_as_they_were() {
    let mut stale = Vec::new();
    for library in LIBRARIES {
        let directory = workspace().join("crates").join(library);
        let mut expected = format!(
            "# What users of quelea-{library} can name. `UPDATE=1 cargo test -p xtask --test api` writes it.\n"
        );
        for path in sources(&directory.join("src")) {
            append(&path, |_| true, &mut expected);
        }
        for (path, items) in REEXPORTED.iter().filter(|_| *library == "client") {
            let path = workspace().join("crates").join(path);
            append(&path, |name| items.contains(&name), &mut expected);
        }
        let path = directory.join("api.txt");
        if std::env::var_os("UPDATE").is_some() {
            fs::write(&path, &expected).expect("the file can be written");
        }
        let found = fs::read_to_string(&path).unwrap_or_default();
        let changes = changes(&found, &expected);
        if !changes.is_empty() {
            stale.push(format!("{}:\n{}", path.display(), changes.join("\n")));
        }
    }
    assert!(
        stale.is_empty(),
        "UPDATE=1 writes the files; say in CHANGELOG.md what changes for users, and whether it breaks.\n{}",
        stale.join("\n")
    );
}

#[test]
fn what_is_public_is_seen() {
    let source = "\
//! Documentation.

/// Documentation.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Fault {
    /// Documentation.
    Broken(u8),
}

pub(crate) struct Hidden {
    pub(crate) field: u8,
}

pub struct Shown {
    pub field: u8,
    other: u8,
}

pub struct Opaque(u8);

pub struct Clear(pub u8);

impl Shown {
    pub(crate) fn hidden(&self) {}

    /// Documentation.
    pub fn shown(
        &self,
        long: u8,
    ) -> u8 {
        pub_in_a_body();
    }
}

impl Clone for Hidden {}

impl Drop for Shown {}

pub trait Asked {
    /// Documentation.
    fn ask(&self) -> u8 {
        let x = 1;
    }
}

pub use crate::a::{
    B, C,
};

#[cfg(test)]
mod tests {
    pub fn not_this() {}
}
";
    let seen = "\
#[derive(Clone, Debug)] #[non_exhaustive] pub enum Fault {
    Broken(u8),
}
pub struct Shown {
    pub field: u8,
    ..
}
pub struct Opaque(..)
pub struct Clear(pub u8)
impl Shown { pub fn shown( &self, long: u8, ) -> u8
impl Drop for Shown
pub trait Asked {
    fn ask(&self) -> u8
}
pub use crate::a::{ B, C, };
";
    assert_eq!(interface(source, |_| true), seen.lines().collect::<Vec<_>>());
}

/// Appends what a file has that is public.
fn append(path: &Path, is_meant: impl Fn(&str) -> bool, out: &mut String) {
    let source = fs::read_to_string(path).expect("it was listed");
    let lines = interface(&source, is_meant);
    if !lines.is_empty() {
        let name = path.strip_prefix(workspace().join("crates")).expect("it is in a crate");
        *out += &format!("\n## {}\n\n{}\n", name.display(), lines.join("\n"));
    }
}

/// Returns the public items of a source, as far as `is_meant` says so of the type or trait that they belong to.
fn interface(source: &str, is_meant: impl Fn(&str) -> bool) -> Vec<String> {
    let code = source.split("\n#[cfg(test)]\nmod tests").next().unwrap_or_default();
    let lines: Vec<&str> = code.lines().filter(|it| !it.trim_start().starts_with("//")).collect();
    let types: BTreeSet<&str> = lines
        .iter()
        .filter_map(|it| it.strip_prefix("pub struct ").or(it.strip_prefix("pub enum ")))
        .map(name)
        .collect();
    let mut seen = Vec::new();
    let mut attributes = String::new();
    let mut at = 0;
    while let Some(&line) = lines.get(at) {
        let (head, end) = signature(&lines, at);
        if line.starts_with("#[") {
            let is_told = ["#[derive", "#[non_exhaustive", "#[must_use", "#[cfg"];
            if is_told.iter().any(|it| line.starts_with(it)) {
                attributes += &format!("{head} ");
            }
            at = end + 1;
            continue;
        }
        let attributes = std::mem::take(&mut attributes);
        let item = line.strip_prefix("pub ").unwrap_or_default();
        let (kind, rest) = item.split_once(' ').unwrap_or((item, ""));
        let body = lines[end + 1..].iter().take_while(|it| !it.starts_with('}'));
        match kind {
            "enum" | "struct" | "trait" if !is_meant(name(rest)) => {}
            "enum" => {
                seen.push(format!("{attributes}{head} {{"));
                seen.extend(body.filter(|it| !it.is_empty()).map(|it| it.to_string()));
                seen.push("}".to_owned());
            }
            "struct" if line.ends_with('{') => {
                seen.push(format!("{attributes}{head} {{"));
                let fields: Vec<&str> = body.copied().filter(|it| it.ends_with(',')).collect();
                let is_public = |it: &&str| it.starts_with("    pub ");
                seen.extend(fields.iter().copied().filter(is_public).map(str::to_owned));
                let is_open = fields.iter().all(is_public);
                seen.extend((!is_open).then(|| "    ..".to_owned()));
                seen.push("}".to_owned());
            }
            "struct" => {
                // None has fields of both kinds.
                let shown = match head.split_once('(') {
                    Some((shown, fields)) if !fields.starts_with("pub ") => format!("{shown}(..)"),
                    Some(_) | None => head.trim_end_matches(';').to_owned(),
                };
                seen.push(format!("{attributes}{shown}"));
            }
            "trait" => {
                seen.push(format!("{attributes}{head} {{"));
                seen.extend(members(&lines, end + 1, "    fn ").map(|it| format!("    {it}")));
                seen.push("}".to_owned());
            }
            "" if line.starts_with("impl") => {
                let shown = implementor(&head);
                if types.contains(shown) && is_meant(shown) {
                    if head.contains(" for ") {
                        seen.push(head.clone());
                    }
                    let members = members(&lines, end + 1, "    pub ");
                    seen.extend(members.map(|it| format!("{head} {{ {it}")));
                }
            }
            "" => {}
            // A module, a function, a constant or what comes from elsewhere.
            _ if is_meant(name(rest)) => seen.push(format!("{attributes}{head}")),
            _ => {}
        }
        at = match kind {
            "" if !line.starts_with("impl") => at + 1,
            _ => end + 1,
        };
    }
    seen
}

/// Returns the signatures in the block that begins at `from`, of what begins with `marker`.
fn members<'a>(lines: &'a [&str], from: usize, marker: &'a str) -> impl Iterator<Item = String> {
    let length = lines[from..].iter().take_while(|it| !it.starts_with('}')).count();
    let starts = (from..from + length)
        .filter(move |&at| lines[at].starts_with(marker) && !lines[at].starts_with("    pub("));
    starts.map(|at| signature(lines, at).0)
}

/// Returns an item up to its body, in one line, and the last of its lines.
fn signature(lines: &[&str], from: usize) -> (String, usize) {
    let is_end = |line: &str| line.ends_with(['{', ';', '}', ']']) && !line.ends_with("::{");
    let length = lines[from..].iter().position(|it| is_end(it)).unwrap_or_default();
    let parts = lines[from..=from + length].iter().map(|it| it.trim());
    let text = parts.collect::<Vec<_>>().join(" ");
    let text = text.trim_end_matches("{}").trim_end_matches('{').trim_end();
    (text.to_owned(), from + length)
}

/// Returns the type that an `impl` is for.
fn implementor(head: &str) -> &str {
    if let Some((_, after)) = head.rsplit_once(" for ") {
        return name(after);
    }
    let after = head.trim_start_matches("impl");
    // Its own parameters have no others in them.
    name(after.split_once("> ").map_or(after, |it| it.1).trim_start())
}

/// Returns the name at the beginning of a text.
fn name(text: &str) -> &str {
    let end = text.find(|it: char| !it.is_alphanumeric() && it != '_').unwrap_or(text.len());
    &text[..end]
}

/// Returns what two texts do not have in common, marked.
fn changes(old: &str, new: &str) -> Vec<String> {
    let lines = |text: &str| text.lines().map(str::to_owned).collect::<BTreeSet<_>>();
    let (before, after) = (lines(old), lines(new));
    let gone = before.difference(&after).map(|it| format!("- {it}"));
    let come = after.difference(&before).map(|it| format!("+ {it}"));
    let mut changes: Vec<String> = gone.chain(come).collect();
    if changes.is_empty() && old != new {
        changes.push("the order".to_owned());
    }
    changes
}

/// Returns the sources below a directory, in order.
fn sources(directory: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).expect("it is a directory of sources");
    let mut paths: Vec<PathBuf> = entries.map(|it| it.expect("it can be read").path()).collect();
    paths.sort();
    let paths = paths.into_iter().flat_map(|path| match path.is_dir() {
        true => sources(&path),
        false => vec![path],
    });
    paths.filter(|it| it.extension().is_some_and(|it| it == "rs")).collect()
}

fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("it is in the workspace").to_owned()
}

const LIBRARIES: &[&str] = &["client", "testkit"];

/// What `quelea-client` shows of other crates.
const REEXPORTED: &[(&str, &[&str])] = &[
    ("codec/src/error.rs", &["DecodeError"]),
    ("codec/src/qos.rs", &["QoS"]),
    ("codec/src/reason_code.rs", &["ReasonCode"]),
    ("codec/src/subscribe.rs", &["RetainHandling"]),
    ("codec/src/version.rs", &["Version"]),
    ("session/src/client/fault.rs", &["Fault"]),
];
