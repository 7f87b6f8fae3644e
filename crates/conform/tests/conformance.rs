//! Runs each case, for each of its versions, as a test against brokers of this process: one that offers
//! everything, and for what it does not refuse one that offers little. Both remember in memory, and once more on
//! the disk.
//!
//! `QUELEA_CONFORM_ADDR=HOST:PORT` judges a broker that is there already instead, by the specification alone;
//! with `QUELEA_CONFORM_STRICT` set it has to make Quelea's choices too.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::{env, fs, io, process};

use libtest_mimic::{Arguments, Failed, Trial};
use quelea_broker::config::{Durability, Listener};
use quelea_broker::{Broker, Config, EnhancedAuthenticator, Exchange, Extensions, Step};
use quelea_codec::ReasonCode;
use quelea_conform::{Case, Target, Verdict, Version};

fn main() -> ExitCode {
    let mut arguments = Arguments::from_args();
    // Cases mostly wait: for the broker, and some of them for time to pass.
    arguments.test_threads.get_or_insert(16);
    let (houses, brokers) = match houses() {
        Ok(found) => found,
        Err(error) => {
            eprintln!("no broker to judge: {error}");
            return ExitCode::FAILURE;
        }
    };
    let trials = houses.iter().flat_map(|house| {
        let of_case = |case: &'static Case| case.versions.iter().map(move |it| (case, *it));
        let runs = quelea_conform::cases().flat_map(of_case);
        runs.map(|(case, version)| trial(case, version, house)).collect::<Vec<_>>()
    });
    let conclusion = libtest_mimic::run(&arguments, trials.collect());
    for broker in brokers {
        broker.stop();
    }
    if !conclusion.has_failed() {
        // Directories of runs that failed stay, to be looked at.
        let _ = fs::remove_dir_all(data_dir());
    }
    conclusion.exit_code()
}

/// Brokers that differ in what they offer.
struct House {
    /// Follows the names of its trials.
    suffix: &'static str,
    targets: Arc<[Target]>,
}

/// Returns the broker that the environment names, or starts some.
fn houses() -> io::Result<(Vec<House>, Vec<Broker>)> {
    if let Ok(address) = env::var("QUELEA_CONFORM_ADDR") {
        let mut target = Target::resolve(&address)?;
        target.is_quelea = env::var_os("QUELEA_CONFORM_STRICT").is_some();
        return Ok((vec![House { suffix: "", targets: [target].into() }], Vec::new()));
    }
    let mut houses = Vec::new();
    let mut brokers = Vec::new();
    for (durability, suffix) in [(Durability::Memory, ""), (Durability::Fsync, "::on_disk")] {
        let mut targets = Vec::new();
        for (name, mut config) in [("generous", generous()), ("frugal", frugal())] {
            config.store.durability = durability;
            config.store.data_dir = data_dir().join(name);
            let extensions = Extensions { authenticator: Some(Arc::new(Echo)) };
            let broker = Broker::start_with(config, extensions).map_err(io::Error::other)?;
            let mut target = Target::new(broker.local_addrs()[0]);
            target.is_quelea = true;
            target.challenge_method = Some(METHOD.to_owned());
            targets.push(target);
            brokers.push(broker);
        }
        houses.push(House { suffix, targets: targets.into() });
    }
    Ok((houses, brokers))
}

/// Returns where the brokers of this run keep what they have on the disk.
fn data_dir() -> PathBuf {
    PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("conformance-{}", process::id()))
}

/// What a broker of ours is without a configuration, but for its disk.
fn generous() -> Config {
    let loopback = "127.0.0.1:0".parse().expect("a literal address");
    Config { listeners: vec![Listener::new(loopback)], ..Config::default() }
}

/// Offers as little as can be configured.
fn frugal() -> Config {
    let mut config = generous();
    let limits = &mut config.limits;
    limits.qos_max = 1;
    limits.retain_available = false;
    limits.wildcard_available = false;
    limits.shared_available = false;
    limits.subscription_ids_available = false;
    limits.topic_alias_max = 0;
    limits.keep_alive_max_secs = 2;
    limits.session_expiry_max_secs = 2;
    config
}

/// Makes a test of a case: the first broker that offers what it asks for is judged.
fn trial(case: &'static Case, version: Version, house: &House) -> Trial {
    let targets = Arc::clone(&house.targets);
    Trial::test(format!("{}::v{version}{}", case.name, house.suffix), move || {
        let mut skipped = Vec::new();
        for target in targets.iter() {
            let report = case.run(target, version);
            match report.verdict {
                Verdict::Pass => return Ok(()),
                Verdict::Skip(why) => skipped.push(why),
                Verdict::Fail(what) => {
                    let tail = report.evidence.len().saturating_sub(40);
                    let evidence = report.evidence[tail..].join("\n  ");
                    return Err(Failed::from(format!("{what}\n{}\n  {evidence}", case.doc.trim())));
                }
            }
        }
        if targets.len() > 1 { Err(Failed::from(format!("skipped: {skipped:?}"))) } else { Ok(()) }
    })
}

/// An authentication method that sends a challenge and takes it back as the answer.
struct Echo;

/// The exchange with one client.
struct EchoExchange {
    is_challenged: bool,
}

const METHOD: &str = "quelea-conform-echo";
const CHALLENGE: &[u8] = b"say this";

impl EnhancedAuthenticator for Echo {
    fn begin(&self, method: &str, _client_id: &str) -> Option<Box<dyn Exchange>> {
        (method == METHOD)
            .then(|| Box::new(EchoExchange { is_challenged: false }) as Box<dyn Exchange>)
    }
}

impl Exchange for EchoExchange {
    fn step(&mut self, data: &[u8]) -> Step {
        let was_challenged = std::mem::replace(&mut self.is_challenged, true);
        match was_challenged {
            false => Step::Continue(CHALLENGE.to_owned()),
            true if data == CHALLENGE => Step::Accept(Vec::new()),
            true => Step::Refuse(ReasonCode::NOT_AUTHORIZED),
        }
    }
}
