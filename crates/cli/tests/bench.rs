//! `quelea bench` against our own broker, and against brokers that cheat.

#![expect(clippy::unwrap_used, reason = "what helpers of tests cannot do, they panic about")]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::{fs, thread};

use quelea_codec::{
    ConnAck, ConnAckProperties, Framing, Packet, QoS, ReasonCode, SubAck, Version, next_frame,
};
use serde_json::Value;

#[test]
fn our_broker_keeps_every_promise() {
    let broker = Broker::start();
    for qos in ["0", "1", "2"] {
        let (status, report) = bench(broker.port, qos, "1");
        assert_eq!(status.code(), Some(0), "QoS {qos}: {report:#}");
        assert_eq!(report["ok"], true);
        let load = &report["load"];
        assert!(load["delivered"].as_u64() > Some(100), "QoS {qos}: {report:#}");
        assert_eq!(load["lost"], 0);
        assert!(load["latency_us"]["p50"].is_u64());
        // All that arrived, also outside the measurement.
        let intervals = load["course_us"]["intervals"].as_array().unwrap();
        let arrived: u64 = intervals.iter().map(|it| it["delivered"].as_u64().unwrap()).sum();
        assert!(arrived >= load["delivered"].as_u64().unwrap(), "QoS {qos}: {report:#}");
    }
}

#[test]
fn a_file_of_scenarios_is_run_in_turn() {
    let broker = Broker::start();
    let file = scratch(
        "scenarios.toml",
        "warmup = 0\nduration = 0.2\nclients = 1\n\
         [[scenario]]\nname = \"first\"\nkind = \"pairs\"\n\
         [[scenario]]\nkind = \"fanin\"\nqos = 1\nrate = 200\nramp = 0.1\n\
         payload = '{\"n\": ${seq}, \"of\": ${flow}, \"t\": ${time_us}, \"pad\": \"${random:100}\"}'\n",
    );
    let (status, reports) = bench_file(&file, &["--port", &broker.port.to_string(), "--qos", "2"]);
    assert_eq!(status.code(), Some(0), "{reports:#}");
    let reports = reports.as_array().unwrap();
    let kinds: Vec<_> = reports.iter().map(|it| it["scenario"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["pairs", "fanin"]);
    assert_eq!(reports[0]["name"], "first");
    assert_eq!((&reports[0]["qos"], &reports[1]["qos"]), (&2.into(), &2.into()));
    // The integral of the rate over a ramp of 0.1 s and 0.1 s at 200 a second.
    assert_eq!(reports[1]["load"]["published"], 30);
}

#[test]
fn a_file_is_checked_before_anything_is_run() {
    let file = scratch(
        "mistakes.toml",
        "[[scenario]]\nkind = \"pairs\"\n[[scenario]]\nkind = \"idle\"\nrat = 5\n",
    );
    let output = Command::new(QUELEA)
        .args(["bench", "--scenario", file.to_str().unwrap()])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(2));
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains(":5: there is no key \"rat\": is \"rate\" meant?"), "{said}");
    assert!(output.stdout.is_empty());
}

#[test]
fn two_brokers_are_compared_in_turn() {
    let (broker, other) = (Broker::start(), Broker::start());
    let page = scratch("comparison.html", "");
    let output = Command::new(QUELEA)
        .args(["bench", "pairs", "--json", "--clients", "1", "--qos", "1", "--rounds", "2"])
        .args(["--warmup", "0", "--duration", "0.2", "--port", &broker.port.to_string()])
        .args(["--pid", &broker.process.id().to_string()])
        .args(["--compare", &format!("127.0.0.1:{}", other.port)])
        .args(["--compare-pid", &other.process.id().to_string()])
        .args(["--name", "<b>old & new</b>", "--html", page.to_str().unwrap()])
        .output()
        .unwrap();
    let comparison: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert!(output.status.success(), "{comparison:#}");
    for (side, broker) in comparison["brokers"].as_array().unwrap().iter().zip([&broker, &other]) {
        let reports = side["reports"].as_array().unwrap();
        assert_eq!(reports.len(), 2);
        assert!(reports.iter().all(|it| it["port"] == broker.port));
        assert!(reports.iter().all(|it| it["broker"]["pid"] == broker.process.id()));
    }
    let figures = comparison["figures"].as_array().unwrap();
    let of = |name| figures.iter().find(|it| it["figure"] == name).unwrap();
    let rate = of("delivered_per_sec");
    let reports = &comparison["brokers"][0]["reports"];
    let rounds = [0, 1].map(|it| reports[it]["load"]["delivered_per_sec"].as_f64().unwrap());
    let median = rate["medians"][0].as_f64().unwrap();
    assert!((median - (rounds[0] + rounds[1]) / 2.0).abs() < 1e-6 * median, "{comparison:#}");
    assert!(of("cpu_us_per_delivery")["ratio"].as_f64() > Some(0.0));

    let page = fs::read_to_string(page).unwrap();
    for broker in [&broker, &other] {
        assert!(page.contains(&format!("127.0.0.1:{}</th>", broker.port)));
    }
    assert!(page.contains("<h2>&lt;b&gt;old &amp; new&lt;/b&gt;</h2>"));
    assert!(page.contains("class=\"line s0\"") && page.contains("class=\"line s1\""));
    for foreign in ["<script", "<link", "src=", "url(", "http:", "https:"] {
        assert!(!page.contains(foreign), "the page has {foreign}");
    }
}

/// What the generator counts is what the broker has counted.
#[test]
fn generator_and_broker_agree() {
    let broker = Broker::start();
    let output = Command::new(QUELEA)
        .args(["bench", "fanout", "--json", "--clients", "5", "--rate", "400", "--qos", "1"])
        .args(["--warmup", "0", "--duration", "1", "--port", &broker.port.to_string()])
        .output()
        .unwrap();
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert!(output.status.success(), "{report:#}");
    let load = &report["load"];
    let published = load["published"].as_u64().unwrap();
    assert_eq!(published, 400, "the rate is kept: {report:#}");

    let (received, sent) = broker.count_once_received(published);
    assert_eq!(received, published);
    let intervals = load["course_us"]["intervals"].as_array().unwrap();
    let arrived: u64 = intervals.iter().map(|it| it["delivered"].as_u64().unwrap()).sum();
    assert_eq!(arrived, 5 * published);
    // The reader of the statistics is a subscriber too.
    assert!((arrived..=arrived + arrived / 10).contains(&sent), "{arrived} arrived, {sent} sent");
    let delivered = load["delivered"].as_u64().unwrap();
    assert!((arrived - arrived / 10..=arrived).contains(&delivered), "{delivered} of {arrived}");
}

#[test]
fn an_honest_double_is_not_accused() {
    let (status, report) = bench(double(|_| &[0]), "0", "0.2");
    assert_eq!(status.code(), Some(0), "{report:#}");
}

#[test]
fn a_duplicate_is_found() {
    check_fault(|number| if number == 7 { &[0, 0] } else { &[0] }, "duplicated");
}

#[test]
fn a_swap_is_found() {
    check_fault(|number| if number % 2 == 0 { &[] } else { &[0, -1] }, "reordered");
}

#[test]
fn a_loss_stalls_the_closed_loop() {
    check_fault(|number| if number == 7 { &[] } else { &[0] }, "lost");
}

#[test]
fn a_broker_that_is_not_there_is_told() {
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let (status, _) = bench(port, "0", "0.2");
    assert_eq!(status.code(), Some(2));
}

/// Runs against a double that passes on what `passes` says, and expects a count under `fault`.
#[track_caller]
fn check_fault(passes: fn(usize) -> &'static [isize], fault: &str) {
    let (status, report) = bench(double(passes), "0", "0.2");
    assert_eq!(status.code(), Some(1), "{report:#}");
    assert!(report["load"][fault].as_u64() > Some(0), "{report:#}");
    assert!(!report["violations"].as_array().unwrap().is_empty());
}

/// Runs `quelea bench pairs` with one pair.
fn bench(port: u16, qos: &str, secs: &str) -> (ExitStatus, Value) {
    let output = Command::new(QUELEA)
        .args(["bench", "pairs", "--json", "--clients", "1", "--window", "10"])
        .args(["--warmup", "0", "--duration", secs, "--qos", qos])
        .args(["--port", &port.to_string()])
        .output()
        .unwrap();
    let report = serde_json::from_slice(&output.stdout).unwrap_or(Value::Null);
    (output.status, report)
}

/// Writes a file that the next run of the tests writes over.
fn scratch(name: &str, text: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("bench-{name}"));
    fs::write(&path, text).unwrap();
    path
}

/// Runs `quelea bench` with a file of scenarios.
fn bench_file(file: &Path, flags: &[&str]) -> (ExitStatus, Value) {
    let output = Command::new(QUELEA)
        .args(["bench", "--json", "--scenario", file.to_str().unwrap()])
        .args(flags)
        .output()
        .unwrap();
    (output.status, serde_json::from_slice(&output.stdout).unwrap_or(Value::Null))
}

/// The real broker, on a port of its own, until it is dropped.
struct Broker {
    process: Child,
    port: u16,
}

impl Broker {
    fn start() -> Self {
        let mut process = Command::new(QUELEA)
            .args(["serve", "--listen", "127.0.0.1:0", "--in-memory"])
            .args(["--set", "sys.interval_secs=1"])
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(process.stderr.take().unwrap()).lines();
        let port = lines
            .by_ref()
            .map_while(Result::ok)
            .find_map(|line| {
                let (_, address) = line.split_once("listening on 127.0.0.1:")?;
                address.split(|it: char| !it.is_ascii_digit()).next()?.parse().ok()
            })
            .expect("the broker says where it listens");
        // A pipe that nobody reads would fill.
        thread::spawn(move || lines.map_while(Result::ok).count());
        Self { process, port }
    }

    /// Returns the publishes that the broker has received and sent, once it has received `least`.
    fn count_once_received(&self, least: u64) -> (u64, u64) {
        let mut reader = Command::new(QUELEA)
            .args(["sub", "-t", "$SYS/broker/publish/messages/+", "-v", "-R", "-W", "20"])
            .args(["-p", &self.port.to_string()])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(reader.stdout.take().unwrap()).lines();
        let mut received = 0;
        let counts = lines.map_while(Result::ok).find_map(|line| {
            let (topic, count) = line.split_once(' ')?;
            let count: u64 = count.parse().ok()?;
            match topic.rsplit('/').next()? {
                "received" => received = count,
                "sent" if received >= least => return Some((received, count)),
                _ => {}
            }
            None
        });
        let _ = reader.kill();
        let _ = reader.wait();
        counts.expect("the broker tells within 20 s")
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Starts a double of a broker and returns its port. When publish number `n` comes, it delivers those that
/// are `passes(n)` away from it.
fn double(passes: fn(usize) -> &'static [isize]) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let subscriber = Arc::new(Mutex::new(None));
    thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let subscriber = Arc::clone(&subscriber);
            thread::spawn(move || serve(stream, &subscriber, passes));
        }
    });
    port
}

fn serve(
    mut stream: TcpStream,
    subscriber: &Mutex<Option<TcpStream>>,
    passes: fn(usize) -> &'static [isize],
) {
    let mut publishes = Vec::new();
    let mut bytes = Vec::new();
    loop {
        let mut part = [0; 4_096];
        let Ok(count @ 1..) = stream.read(&mut part) else {
            return;
        };
        bytes.extend_from_slice(&part[..count]);
        let mut out = Vec::new();
        while let Ok(Framing::Complete { frame, consumed }) = next_frame(&bytes, u32::MAX) {
            match Packet::decode(frame, Version::V311).unwrap() {
                Packet::Connect(_) => answer_connect(&mut out),
                Packet::Subscribe(subscribe) => {
                    *subscriber.lock().unwrap() = stream.try_clone().ok();
                    let granted = [QoS::AtMostOnce.to_byte()];
                    let packet_id = subscribe.packet_id;
                    let properties = Default::default();
                    Packet::SubAck(SubAck { packet_id, reasons: &granted, properties })
                        .encode(Version::V311, &mut out);
                }
                Packet::Publish(_) => {
                    publishes.push(bytes[..consumed].to_vec());
                    let number = publishes.len() - 1;
                    let delivered = passes(number).iter().flat_map(|&away| {
                        publishes[number.checked_add_signed(away).unwrap()].iter().copied()
                    });
                    let delivered: Vec<u8> = delivered.collect();
                    let mut subscriber = subscriber.lock().unwrap();
                    let _ = subscriber.as_mut().unwrap().write_all(&delivered);
                }
                _ => {}
            }
            bytes.drain(..consumed);
        }
        let _ = stream.write_all(&out);
    }
}

fn answer_connect(out: &mut Vec<u8>) {
    let connack = ConnAck {
        session_present: false,
        reason: ReasonCode::SUCCESS,
        properties: ConnAckProperties::default(),
    };
    Packet::ConnAck(connack).encode(Version::V311, out);
}

const QUELEA: &str = env!("CARGO_BIN_EXE_quelea");
