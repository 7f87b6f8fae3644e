//! The project's own commands, run as `cargo xtask COMMAND`.
//!
//! Everything is done through the tools a developer would type; what a command needs beside Rust it installs
//! itself, below `target/` where that is possible. No command asks anything or reads standard input.

use std::env;
use std::process::ExitCode;

mod audit;
mod bench;
mod conform;
mod crash;
mod fuzz;
mod interop;
mod matrix;
mod program;
mod serving;
mod simulate;
mod soak;
mod test;
mod tools;

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let outcome = match arguments.as_slice() {
        ["test"] => test::run(),
        ["audit", options @ ..] => audit::run(options),
        ["interop", options @ ..] => interop::run(options),
        ["bench", "access", options @ ..] => bench::access::run(options),
        ["bench", "client", options @ ..] => bench::client::run(options),
        ["bench", "durable", options @ ..] => bench::durable::run(options),
        ["bench", "tls", options @ ..] => bench::tls::run(options),
        ["bench", options @ ..] => bench::run(options),
        ["conform"] => conform::run(),
        ["crash", options @ ..] => crash::run(options),
        ["fuzz", target] => fuzz::run(target, fuzz::SECONDS_DEFAULT),
        ["fuzz", target, seconds] => fuzz::run(target, seconds),
        ["simulate", options @ ..] => simulate::run(options),
        ["soak"] => soak::run(soak::MINUTES_DEFAULT),
        ["soak", minutes] => soak::run(minutes),
        ["help" | "--help" | "-h"] => {
            print!("{USAGE}");
            Ok(())
        }
        _ => Err(format!("no such command\n\n{USAGE}")),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("xtask: {message}");
            ExitCode::FAILURE
        }
    }
}

const USAGE: &str = "\
Usage: cargo xtask COMMAND

  test                     everything that must pass: format, clippy, tests, clients of other projects,
                           crashes
  interop [--document | --mosquitto]
                           clients of other projects, in every language, against Quelea, and the
                           examples (--document: writes the table of docs/clients.md; --mosquitto: the
                           programs themselves are checked, against Mosquitto)
  bench [--quick]          the scenarios of docs/performance.md against Quelea and Mosquitto in turn;
                           writes the table there (--quick: short runs, and nothing is written)
  bench access [--quick]   what passwords, rules and rates cost, and a storm of passwords; writes the
                           tables there
  bench client [--quick] [--broker PROGRAM]
                           our client library beside rumqttc and Paho's for C; writes the table there
                           (--broker: a broker that is built already)
  bench durable [--quick] [--large]
                           what durability costs: Quelea, NATS and Mosquitto with their data on disk;
                           writes the tables there (--large: a restart with 10,000,000 messages, too)
  bench tls [--quick]      what TLS costs, beside Mosquitto; writes the table there
  conform                  what quelea conform says of Quelea, Mosquitto, NATS Server and Aedes; writes
                           docs/conform.md
  crash [--kills N] [--seed S] [--forgetful | --power-cut]
                           kills the broker again and again, 200 times unless told otherwise, and
                           accounts for every acknowledged message; to try the checker, with a broker
                           that keeps nothing, or with a disk that has written nothing for a while
  simulate [--seeds N] [--from S]
                           the simulation with many seeds; --seed S [--trace] shows one of them;
                           --log runs it on the real log
  audit [--offline]        dependencies held against deny.toml and, but for --offline, the newest advisories
  soak [MINUTES]           the client library against Quelea, Mosquitto and NATS in turn, over links that
                           break, for 2 minutes each unless told otherwise
  fuzz TARGET [SECONDS]    cargo-fuzz on one target, for 60 seconds unless told otherwise
";
