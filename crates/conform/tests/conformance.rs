//! Runs each case, for each of its versions, as a test against brokers of this process: one that offers
//! everything, and for what it does not refuse one that offers little; over TCP, over TLS and over WebSocket. They
//! remember in memory; two others, over TCP, on the disk.
//!
//! `QUELEA_CONFORM_ADDR=HOST:PORT` judges a broker that is there already instead, by the specification alone;
//! with `QUELEA_CONFORM_STRICT` set it has to make Quelea's choices too.

#[path = "conformance/ways.rs"]
mod ways;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::{env, fs, io, process};

use libtest_mimic::{Arguments, Failed, Trial};
use quelea_broker::config::Durability;
use quelea_broker::{Broker, Config, EnhancedAuthenticator, Exchange, Extensions, Step};
use quelea_codec::ReasonCode;
use quelea_conform::{Case, Dial, Target, Verdict, Version};

use self::ways::Ways;

fn main() -> ExitCode {
    let mut arguments = Arguments::from_args();
    // Cases mostly wait: for the broker, and some of them for time to pass.
    arguments.test_threads.get_or_insert(16);
    let ways = Ways::new();
    let (targets, brokers) = match targets(&ways) {
        Ok(found) => found,
        Err(error) => {
            eprintln!("no broker to judge: {error}");
            return ExitCode::FAILURE;
        }
    };
    let mut trials = Vec::new();
    for (prefix, targets) in targets {
        let targets: Arc<[Target]> = targets.into();
        let cases = quelea_conform::cases()
            .flat_map(|case| case.versions.iter().map(move |version| (case, *version)));
        trials.extend(
            cases.map(|(case, version)| trial(prefix, case, version, Arc::clone(&targets))),
        );
    }
    let conclusion = libtest_mimic::run(&arguments, trials);
    for broker in brokers {
        broker.stop();
    }
    if !conclusion.has_failed() {
        // Those of runs that failed stay, to be looked at.
        let _ = fs::remove_dir_all(data_dir());
    }
    conclusion.exit_code()
}

/// A way in: the prefix of its tests, and the brokers by that way.
type Way = (&'static str, Vec<Target>);

/// Returns the broker that the environment names, or starts two; by each way in.
fn targets(ways: &Ways) -> io::Result<(Vec<Way>, Vec<Broker>)> {
    if let Ok(address) = env::var("QUELEA_CONFORM_ADDR") {
        let mut target = Target::resolve(&address)?;
        target.is_quelea = env::var_os("QUELEA_CONFORM_STRICT").is_some();
        return Ok((vec![("", vec![target])], Vec::new()));
    }
    let mut targets = vec![("", Vec::new()), ("tls/", Vec::new()), ("websocket/", Vec::new())];
    let mut brokers = Vec::new();
    let mut on_disk = Vec::new();
    for (name, mut config) in [("generous", generous()), ("frugal", frugal())] {
        config.listeners = ways.listeners();
        let (broker, [tcp, tls, websocket]) = start(config.clone())?;
        for ((_, targets), dial) in targets.iter_mut().zip(ways.dials(tls, websocket)) {
            let mut target = target(tcp, websocket);
            target.dial = dial;
            targets.push(target);
        }
        brokers.push(broker);
        config.store.durability = Durability::Fsync;
        config.store.data_dir = data_dir().join(name);
        let (broker, [tcp, _, websocket]) = start(config)?;
        on_disk.push(target(tcp, websocket));
        brokers.push(broker);
    }
    targets.push(("disk/", on_disk));
    Ok((targets, brokers))
}

fn start(config: Config) -> io::Result<(Broker, [SocketAddr; 3])> {
    let extensions = Extensions { authenticator: Some(Arc::new(Echo)), ..Extensions::default() };
    let broker = Broker::start_with(config, extensions).map_err(io::Error::other)?;
    let addresses = broker.local_addrs().try_into();
    let addresses = addresses.map_err(|_| io::Error::other("the broker has other listeners"))?;
    Ok((broker, addresses))
}

fn target(address: SocketAddr, websocket: SocketAddr) -> Target {
    let mut target = Target::new(address);
    target.websocket = Some((Dial::tcp(websocket, target.patience), "/mqtt".to_owned()));
    target.is_quelea = true;
    target.challenge_method = Some(METHOD.to_owned());
    target
}

/// Returns where the brokers of this run keep what they have on the disk.
fn data_dir() -> PathBuf {
    PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("conformance-{}", process::id()))
}

/// What a broker of ours is without a configuration, but for its disk.
fn generous() -> Config {
    let mut config = Config::default();
    config.store.durability = Durability::Memory;
    config
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
fn trial(prefix: &str, case: &'static Case, version: Version, targets: Arc<[Target]>) -> Trial {
    Trial::test(format!("{prefix}{}::v{version}", case.name), move || {
        let mut skipped = Vec::new();
        for target in targets.iter() {
            let report = case.run(target, version);
            match report.verdict {
                Verdict::Pass => return Ok(()),
                Verdict::Skip(why) | Verdict::Unobservable(why) => skipped.push(why),
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
