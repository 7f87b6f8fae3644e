//! Arrows point down: which crate may depend on which, and what the pure ones may use at all.
//!
//! The picture is in ARCHITECTURE.md. A new crate, or a new arrow, is a row here and a decision there.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use serde_json::Value;

/// For each crate, the crates of ours that it may depend on. Tests of a crate are held to the
/// same, but for those below.
const MAY_USE: &[(&str, &[&str])] = &[
    ("quelea-codec", &[]),
    ("quelea-acl", &["quelea-codec"]),
    ("quelea-session", &["quelea-codec"]),
    ("quelea-topics", &["quelea-codec"]),
    ("quelea-client", &["quelea-codec", "quelea-session", "quelea-topics"]),
    ("quelea-store", &["quelea-codec", "quelea-session"]),
    ("quelea-traffic", &["quelea-codec"]),
    ("quelea-transport", &[]),
    // An identity brings rules.
    ("quelea-auth", &["quelea-acl", "quelea-codec"]),
    (
        "quelea-broker",
        &[
            "quelea-acl",
            "quelea-auth",
            "quelea-codec",
            "quelea-session",
            "quelea-store",
            "quelea-topics",
            "quelea-transport",
        ],
    ),
    // The suite speaks to a broker over a socket; its own tests start ours.
    ("quelea-conform", &["quelea-broker", "quelea-codec"]),
    (
        "quelea-cli",
        &[
            "quelea-auth",
            "quelea-broker",
            "quelea-client",
            "quelea-codec",
            "quelea-conform",
            "quelea-session",
            "quelea-store",
            "quelea-topics",
            "quelea-traffic",
            "quelea-transport",
        ],
    ),
    // For the tests of applications: a broker in their process.
    ("quelea-testkit", &["quelea-broker", "quelea-codec"]),
    // It kills the broker's process: nothing of the broker is in its own.
    ("quelea-crash", &["quelea-codec"]),
    // Drives the shards, plays the clients, and has a store of its own.
    ("quelea-simulation", &["quelea-broker", "quelea-codec", "quelea-session", "quelea-store"]),
    // An example, and the client library as one of the clients that are driven.
    ("quelea-matrix", &["quelea-client"]),
    ("thermometer", &["quelea-client"]),
    ("xtask", &[]),
];

/// What tests may depend on beside: the client's start a broker, and a broker's kit is tried with a client.
const MAY_USE_IN_TESTS: &[(&str, &str)] = &[
    ("quelea-acl", "quelea-topics"),
    ("quelea-client", "quelea-broker"),
    ("quelea-testkit", "quelea-client"),
];

/// For each pure crate, the crates of others that it may use: none that does I/O, tells the time or draws
/// random numbers. Tests may use more.
const PURE: &[(&str, &[&str])] = &[
    // Rules of tokens and services are JSON.
    ("quelea-acl", &["serde", "serde_json"]),
    ("quelea-codec", &[]),
    ("quelea-session", &["hashbrown"]),
    ("quelea-topics", &["foldhash", "hashbrown"]),
    ("quelea-traffic", &["crc32fast"]),
    ("quelea-transport", &["sha1_smol"]),
];

/// Crates that only the named ones may use: what a socket, a runtime or a command line needs stays there.
const ONLY_IN: &[(&str, &[&str])] = &[
    ("clap", &["quelea-cli"]),
    ("hyper", &["quelea-broker"]),
    ("mio", &["quelea-broker", "quelea-cli", "quelea-crash"]),
    ("ratatui-core", &["quelea-cli"]),
    ("ratatui-crossterm", &["quelea-cli"]),
    ("rustls", &["quelea-broker", "quelea-cli"]),
    ("socket2", &["quelea-broker", "quelea-cli"]),
    (
        "tokio",
        &[
            "quelea-broker",
            "quelea-cli",
            "quelea-client",
            "quelea-matrix",
            "quelea-testkit",
            "thermometer",
        ],
    ),
];

#[test]
fn arrows_point_down() {
    let allowed: BTreeMap<_, _> = MAY_USE.iter().copied().collect();
    let dependencies = dependencies();
    for (package, used) in &dependencies {
        let Some(allowed) = allowed.get(package.as_str()) else {
            // Fuzz targets look at whatever they like; nothing depends on them.
            assert!(package.ends_with("-fuzz"), "{package} has no row in MAY_USE");
            continue;
        };
        for it in used.iter().filter(|it| dependencies.contains_key(&it.name)) {
            let for_tests = (package.as_str(), it.name.as_str());
            assert!(
                allowed.contains(&it.name.as_str())
                    || (it.is_for_tests && MAY_USE_IN_TESTS.contains(&for_tests)),
                "{package} must not depend on {}",
                it.name
            );
        }
    }
}

#[test]
fn pure_crates_use_nothing_impure() {
    let dependencies = dependencies();
    for (package, allowed) in PURE {
        let used = &dependencies[*package];
        for it in used.iter().filter(|it| !it.is_for_tests && !it.name.starts_with("quelea-")) {
            assert!(
                allowed.contains(&it.name.as_str()),
                "{package} is pure and must not use {}",
                it.name
            );
        }
    }
}

#[test]
fn some_crates_stay_where_they_are_needed() {
    let allowed: BTreeMap<_, _> = ONLY_IN.iter().copied().collect();
    for (package, used) in dependencies() {
        for it in used.iter().filter(|it| !it.is_for_tests) {
            let Some(users) = allowed.get(it.name.as_str()) else {
                continue;
            };
            assert!(users.contains(&package.as_str()), "{package} must not use {}", it.name);
        }
    }
}

#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Dependency {
    name: String,
    is_for_tests: bool,
}

/// Returns the direct dependencies of each crate of the workspace.
fn dependencies() -> BTreeMap<String, BTreeSet<Dependency>> {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version", "1", "--no-deps"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .expect("cargo runs this test");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: Value = serde_json::from_slice(&output.stdout).expect("cargo writes JSON");
    let packages = metadata["packages"].as_array().expect("a list of packages");
    packages.iter().map(|it| (text(&it["name"]), dependencies_of(it))).collect()
}

fn dependencies_of(package: &Value) -> BTreeSet<Dependency> {
    let dependencies = package["dependencies"].as_array().expect("a list of dependencies");
    dependencies
        .iter()
        .map(|it| Dependency { name: text(&it["name"]), is_for_tests: it["kind"] == "dev" })
        .collect()
}

fn text(value: &Value) -> String {
    value.as_str().expect("a string").to_owned()
}
