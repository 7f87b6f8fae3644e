//! `cargo xtask bench access`: what it costs to ask who clients are, what they may do, and how much.
//!
//! Two things: a storm of clients with passwords, and what others feel of it; and messages of clients that have
//! passwords, rules and rates beside the same messages without. The runs with and without take turns, so that what the
//! machine does meanwhile hits both.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::Duration;

use super::{Measurement, generate, generator, measured, report};
use crate::program;
use crate::serving::{self, Broker};

/// Measures, and writes the tables.
pub(crate) fn run(options: &[&str]) -> Result<(), String> {
    let effort = match options {
        [] => Effort { rounds: 7, duration: "5" },
        ["--quick"] => Effort { rounds: 1, duration: "2" },
        _ => return Err("bench access takes no option but --quick".to_owned()),
    };
    let quelea = serving::build_quelea("release")?;
    let directory = program::target_directory().join("bench-access");
    fs::create_dir_all(&directory).map_err(|error| format!("{}: {error}", directory.display()))?;
    let estate = Estate { quelea, directory };
    estate.make_passwords()?;
    let mut text = storm(&estate)?;
    text.push('\n');
    text += &messages(&estate, &effort)?;
    print!("{text}");
    if options.is_empty() {
        let measured = format!("{}.\n\n{text}", report::place_and_time()?);
        report::write_between_marks("docs/performance.md", MARKS, &measured)?;
    }
    Ok(())
}

struct Effort {
    rounds: usize,
    duration: &'static str,
}

struct Estate {
    quelea: PathBuf,
    directory: PathBuf,
}

impl Estate {
    fn make_passwords(&self) -> Result<(), String> {
        let file = self.passwords();
        // A file of an earlier run has the user already.
        let _ = fs::remove_file(&file);
        let script = format!(
            "printf '%s' {PASSWORD} | {} passwd {} {USER} --batch",
            self.quelea.display(),
            file.display()
        );
        program::output(Command::new("sh").args(["-c", &script])).map(drop)
    }

    fn passwords(&self) -> PathBuf {
        self.directory.join("passwd")
    }

    /// Starts a broker with these settings.
    fn broker(&self, settings: &str) -> Result<Broker, String> {
        let configuration = self.directory.join("quelea.toml");
        let text = format!(
            "allow_anonymous = true\n{settings}\n[[listener]]\naddress = \"127.0.0.1:0\"\n"
        );
        fs::write(&configuration, text)
            .map_err(|it| format!("{}: {it}", configuration.display()))?;
        Broker::quelea_with(&self.quelea, &configuration, 1)
    }

    fn authentication(&self) -> String {
        format!("[authentication]\npassword_file = {:?}\n", self.passwords())
    }
}

/// Everybody connects at once, with a password; others exchange messages meanwhile.
fn storm(estate: &Estate) -> Result<String, String> {
    let broker = estate.broker(&estate.authentication())?;
    let bystanders = "pairs --clients 100 --qos 1 --rate 1000 --warmup 0.5 --duration 12";
    let bystanders = generator(&broker, bystanders, &estate.quelea);
    let bystanders = thread::spawn(|| measured(bystanders));
    // They connect before it begins.
    thread::sleep(BYSTANDERS_BEFORE);
    let before = resident_kib(&broker, "VmRSS")?;
    let arguments = format!("storm --clients {STORM} -u {USER} -P {PASSWORD} --version 5");
    let storm = generate(&broker, &arguments, &estate.quelea)?;
    let most = resident_kib(&broker, "VmHWM")?;
    let bystanders = bystanders.join().map_err(|_| "the bystanders have failed".to_owned())??;
    if let Some(violations) = bystanders.violations() {
        return Err(format!("the bystanders: {violations}"));
    }
    let number = |pointer: &str| storm.number(pointer).unwrap_or_default();
    let accepted = number("/connect/accepted");
    let told = number("/connect/refused_by_connack");
    if accepted + told != f64::from(STORM) {
        return Err(format!("of {STORM} {accepted} were let in and {told} told why not"));
    }
    let p99 = bystanders.latency_p99().map_or_else(report::none, |it| report::short(it / 1000.0));
    let rows = [
        ("p99 of 100 pairs at 1,000 messages/s meanwhile, ms", p99, "20"),
        ("memory that it takes, MiB", report::short((most - before) / 1024.0), "50"),
        ("let in", report::thousands(accepted), "-"),
        ("told that the broker is busy", report::thousands(told), "-"),
        ("not answered", report::thousands(f64::from(STORM) - accepted - told), "0"),
        ("until the last is answered, s", report::short(number("/connect/secs")), "-"),
    ];
    let mut table = format!(
        "| {} connects at once, Argon2id with 19 MiB each | | budget |\n|---|--:|--:|\n",
        report::thousands(f64::from(STORM))
    );
    for (name, figure, budget) in rows {
        let _ = writeln!(table, "| {name} | {figure} | {budget} |");
    }
    Ok(table)
}

/// Messages of clients that nobody knows, of clients with passwords and rules, and with rates on top.
fn messages(estate: &Estate, effort: &Effort) -> Result<String, String> {
    let login = format!(" -u {USER} -P {PASSWORD}");
    let guarded = format!("{}{}", rules(), estate.authentication());
    let kinds = [("", ""), (&guarded, login.as_str()), (&format!("{guarded}{RATES}"), &login)];
    let mut table = "| CPU us per delivery | without | with passwords and 20 rules | ratio | with rates, too | ratio | budget |\n\
                     |---|--:|--:|--:|--:|--:|--:|\n"
        .to_owned();
    for (name, arguments) in LOADS {
        let mut figures = [const { Vec::new() }; 3];
        for _ in 0..effort.rounds {
            for ((settings, login), figures) in kinds.iter().zip(&mut figures) {
                let broker = estate.broker(settings)?;
                let arguments =
                    format!("{arguments} --warmup 1 --duration {}{login}", effort.duration);
                figures.push(cpu_per_delivery(&generate(&broker, &arguments, &estate.quelea)?)?);
            }
        }
        let [without, rules, rates] = figures.map(median);
        let _ = writeln!(
            table,
            "| {name} | {without:.3} | {rules:.3} | {:.2} | {rates:.3} | {:.2} | 1.02 |",
            rules / without,
            rates / without,
        );
    }
    Ok(table)
}

/// Returns rules of which the last allows what the load does, so that all are looked at once.
fn rules() -> String {
    let mut rules = String::new();
    for number in 0..19 {
        let _ = write!(
            rules,
            "[[acl]]\ngroup = \"group-{number}\"\nallow = [\"publish\"]\ntopics = [\"site/{number}/%c/#\"]\n"
        );
    }
    let _ = write!(
        rules,
        "[[acl]]\nuser = \"{USER}\"\nallow = [\"publish\", \"subscribe\"]\ntopics = [\"#\"]\n"
    );
    rules
}

fn cpu_per_delivery(measurement: &Measurement) -> Result<f64, String> {
    if let Some(violations) = measurement.violations() {
        return Err(violations);
    }
    measurement.number("/broker/cpu_us_per_delivery").ok_or_else(|| "nothing arrived".to_owned())
}

fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures[figures.len() / 2]
}

/// Returns what the system says of the broker's memory, in KiB.
fn resident_kib(broker: &Broker, key: &str) -> Result<f64, String> {
    let file = Path::new("/proc").join(broker.id().to_string()).join("status");
    let text = fs::read_to_string(&file).map_err(|it| format!("{}: {it}", file.display()))?;
    let value = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':'));
    let number = value.and_then(|it| it.trim().strip_suffix(" kB")?.parse().ok());
    number.ok_or_else(|| format!("{}: no {key}", file.display()))
}

/// After this time bystanders have connected, and their warm-up is not over.
const BYSTANDERS_BEFORE: Duration = Duration::from_millis(700);

/// Clients that connect at once.
const STORM: u32 = 2_000;

const USER: &str = "bob";
const PASSWORD: &str = "pencil";

/// None of these is reached.
const RATES: &str =
    "[rates]\nclient_messages_per_sec = 1_000_000_000\nclient_bytes_per_sec = \"4000 MiB\"\n";

const LOADS: &[(&str, &str)] = &[
    ("10 pairs, QoS 0, window 100", "pairs --clients 10 --qos 0 --window 100"),
    ("10 pairs, QoS 1, window 100", "pairs --clients 10 --qos 1 --window 100"),
    ("1 to 100, QoS 0", "fanout --clients 100 --qos 0 --window 10"),
];

const MARKS: (&str, &str) =
    ("<!-- access: written by `cargo xtask bench access` -->", "<!-- end of access -->");
