//! Habits that reviewers need not look for.

use std::fs;
use std::path::{Path, PathBuf};

/// A file that grows past this usually holds two concepts.
const LINES_MAX: usize = 600;

/// Names that say nothing about what is inside.
const NAMES_FORBIDDEN: &[&str] =
    &["common", "helper", "helpers", "manager", "misc", "types", "util", "utils"];

#[test]
fn files_hold_one_concept() {
    check(|path, text| {
        let lines = text.lines().count();
        (lines > LINES_MAX).then(|| format!("{} has {lines} lines", path.display()))
    });
}

#[test]
fn names_say_what_is_inside() {
    check(|path, _| {
        let parts = path.iter().map(|it| it.to_string_lossy().replace(".rs", ""));
        let mut forbidden = parts.filter(|it| NAMES_FORBIDDEN.contains(&it.as_str()));
        forbidden.next().map(|it| format!("{}: `{it}` says nothing", path.display()))
    });
}

#[test]
fn files_say_what_they_are_for() {
    check(|path, text| {
        // The tests of the module above.
        if path.ends_with("tests.rs") {
            return None;
        }
        let first = text.lines().find(|it| !it.starts_with("#![")).unwrap_or_default();
        (!first.starts_with("//! ")).then(|| format!("{} begins without `//!`", path.display()))
    });
}

/// `TODO(#12)`: what is left to do is an issue.
#[test]
fn a_todo_names_its_issue() {
    let marker = concat!("TO", "DO");
    check(|path, text| {
        let bare = |line: &str| {
            line.match_indices(marker).any(|(at, _)| !line[at + marker.len()..].starts_with("(#"))
        };
        let line = text.lines().position(bare)?;
        Some(format!("{}:{}: without an issue number", path.display(), line + 1))
    });
}

#[test]
fn pure_crates_say_so() {
    for (package, attributes) in [
        ("acl", &["#![forbid(unsafe_code)]"][..]),
        ("codec", &["#![no_std]", "#![forbid(unsafe_code)]"][..]),
        ("session", &["#![no_std]", "#![forbid(unsafe_code)]"]),
        ("topics", &["#![forbid(unsafe_code)]"]),
        ("traffic", &["#![forbid(unsafe_code)]"]),
        ("transport", &["#![forbid(unsafe_code)]"]),
    ] {
        let path = root().join("crates").join(package).join("src/lib.rs");
        let text = fs::read_to_string(&path).expect("each crate has a lib.rs");
        for attribute in attributes {
            assert!(text.contains(attribute), "{} lacks {attribute}", path.display());
        }
    }
}

/// What a shard must never do, in the words in which it would do it.
#[test]
fn a_shard_has_no_runtime_no_channel_and_no_clock() {
    let shard = Path::new("crates/broker/src/shard");
    check(|path, text| {
        if !path.starts_with(shard) {
            return None;
        }
        let code = text.lines().filter(|it| !it.trim_start().starts_with("//"));
        let forbidden =
            ["tokio::", "mpsc::", "Instant::now", "SystemTime::now", "std::fs", "thread::sleep"];
        let line = code.into_iter().find(|line| forbidden.iter().any(|it| line.contains(it)))?;
        Some(format!("{}: {}", path.display(), line.trim()))
    });
}

/// Links between the documents lead somewhere.
#[test]
fn links_lead_somewhere() {
    let broken: Vec<String> =
        files(&root(), "md").iter().flat_map(|path| broken_links(path)).collect();
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

fn broken_links(path: &Path) -> Vec<String> {
    let text = fs::read_to_string(path).expect("a listed file can be read");
    let targets = text.split("](").skip(1).filter_map(|rest| rest.split([')', '#', ' ']).next());
    let directory = path.parent().expect("a file is in a directory");
    targets
        .filter(|it| !it.is_empty() && !it.contains("://") && !directory.join(it).exists())
        .map(|it| format!("{}: {it}", path.display()))
        .collect()
}

/// Runs `fault` over each source file, with its path below the root, and fails with all it finds.
#[track_caller]
fn check(fault: impl Fn(&Path, &str) -> Option<String>) {
    let root = root();
    let faults: Vec<String> = files(&root, "rs")
        .iter()
        .filter_map(|path| {
            let text = fs::read_to_string(path).expect("a listed file can be read");
            fault(path.strip_prefix(&root).expect("it was found below the root"), &text)
        })
        .collect();
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

fn files(directory: &Path, extension: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).expect("a directory of the repository can be read") {
        let path = entry.expect("an entry can be read").path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if path.is_dir() {
            // What git ignores, and git itself.
            if !name.starts_with('.') && name != "target" && name != "node_modules" {
                found.extend(files(&path, extension));
            }
        } else if path.extension().is_some_and(|it| it == extension) {
            found.push(path);
        }
    }
    found.sort();
    found
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("xtask is in the repository").to_owned()
}
