//! The clients of every language through the same cases, and the examples as their page says to run them.
//!
//! The programs are in `tests/interop/matrix`; [docs/clients.md] has the table that they make.
//!
//! [docs/clients.md]: ../../docs/clients.md

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::interop::{self, certificates};
use crate::program::{self, Program};
use crate::serving;
use crate::test::Counts;
use crate::tools;

/// How many of the clients take part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Extent {
    /// All: what must be installed for them is large.
    All,
    /// Those that need little beyond what other tests need, too.
    Some,
}

/// Drives clients through the matrix, and writes the table into the document if that is wanted.
pub(crate) fn matrix(extent: Extent, is_documented: bool) -> Result<Counts, String> {
    let binary = serving::build_quelea("dev")?;
    let document = program::root().join("docs/clients.md");
    let mut command = python("matrix.py")?;
    command.arg(&binary).arg(certificates());
    command.arg(if is_documented { document.as_path() } else { Path::new("-") });
    command.args(clients(extent)?);
    interop::follow(Program::start(command)?)
}

/// Runs the examples, and kills the broker under them.
pub(crate) fn examples(extent: Extent) -> Result<Counts, String> {
    let binary = serving::build_quelea("dev")?;
    let mut command = python("examples.py")?;
    command.arg(&binary);
    match extent {
        Extent::All => {
            tools::chromium()?;
            tools::languages()?;
            let page = format!(
                "NODE_PATH={} exec node {}",
                tools::node_modules()?.display(),
                program_file("page.js").display()
            );
            command.arg(page).args(EXAMPLES_OF_SOME).args(OTHER_EXAMPLES);
        }
        Extent::Some => {
            command.arg("").args(EXAMPLES_OF_SOME);
        }
    }
    interop::follow(Program::start(command)?)
}

/// The command of each client's adapter.
fn clients(extent: Extent) -> Result<Vec<String>, String> {
    program::run(program::cargo().args(["build", "--quiet", "--package", "quelea-matrix"]))?;
    let python = tools::python()?;
    let node = |file: &str| {
        let modules = tools::node_modules()?;
        Ok::<_, String>(format!(
            "env NODE_PATH={} node {}",
            modules.display(),
            program_file(file).display()
        ))
    };
    let with = |file: &str| format!("{} {}", python.display(), program_file(file).display());
    let mut commands = vec![
        program::target_directory().join("debug/quelea-matrix").display().to_string(),
        with("paho_python.py"),
        node("mqtt_js.js")?,
        format!("bash {}", program_file("mosquitto_clients.sh").display()),
    ];
    if extent == Extent::All {
        tools::chromium()?;
        tools::languages()?;
        let page =
            format!("{} {}", node("mqtt_js_page.js")?, certificates().join("server.pem").display());
        let all = tools::python_clients()?;
        let with_all = |file: &str| format!("{} {}", all.display(), program_file(file).display());
        commands.extend([
            with_all("aiomqtt_python.py"),
            with_all("gmqtt_python.py"),
            page,
            paho_go()?,
            c("libmosquitto", "mosquitto")?,
            c("paho_c", "paho-mqtt3as")?,
            java()?,
        ]);
    }
    Ok(commands)
}

/// Compiles an adapter in C, and returns the program.
fn c(name: &str, library: &str) -> Result<String, String> {
    let built = directory()?.join(name);
    let mut compiler = Command::new("cc");
    compiler.args(["-O1", "-Wall", "-Wextra", "-Werror", "-o"]).arg(&built);
    compiler.arg(program_file(&format!("{name}.c"))).arg(format!("-l{library}"));
    program::output(&mut compiler)?;
    Ok(built.display().to_string())
}

/// Compiles the adapter in Go, and returns its command.
fn paho_go() -> Result<String, String> {
    let built = directory()?.join("paho_go");
    let mut compiler = Command::new("go");
    compiler.env("GO111MODULE", "off").env("GOPATH", "/usr/share/gocode");
    compiler.args(["build", "-o"]).arg(&built).arg(program_file("paho_go/main.go"));
    program::output(&mut compiler)?;
    let version = tools::debian_version("golang-github-eclipse-paho.mqtt.golang-dev")?;
    Ok(format!("{} {version}", built.display()))
}

/// Compiles the adapter in Java, and returns its command.
fn java() -> Result<String, String> {
    let classes = directory()?;
    let mut compiler = Command::new("javac");
    compiler.args(["-cp", "/usr/share/java/*", "-d"]).arg(&classes);
    program::output(compiler.arg(program_file("java/Adapter.java")))?;
    let version = tools::debian_version("libmqtt-client-java")?;
    Ok(format!("java -cp '{}:/usr/share/java/*' Adapter {version}", classes.display()))
}

fn python(file: &str) -> Result<Command, String> {
    let mut command = Command::new(tools::python()?);
    command.arg(program_file(file));
    Ok(command)
}

fn program_file(name: &str) -> PathBuf {
    program::root().join("tests/interop/matrix").join(name)
}

fn directory() -> Result<PathBuf, String> {
    let directory = program::target_directory().join("matrix");
    std::fs::create_dir_all(&directory)
        .map_err(|error| format!("{}: {error}", directory.display()))?;
    Ok(directory)
}

/// Headings of `examples/README.md`.
const EXAMPLES_OF_SOME: [&str; 4] = ["Rust", "Python: paho-mqtt", "JavaScript: Node", "Shell"];
const OTHER_EXAMPLES: [&str; 6] =
    ["Python: aiomqtt", "Python: gmqtt", "Go", "C: libmosquitto", "C: Paho", "Java"];
