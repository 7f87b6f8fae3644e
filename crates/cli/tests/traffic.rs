//! `quelea record` and `quelea replay` with a broker between them.

use std::fs::{self, OpenOptions};
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use quelea_traffic::Reader;
use serde_json::{Value, json};

#[test]
fn a_recording_is_published_again_as_it_was() {
    let broker = Broker::start(&[]);
    let file = path("round.qtr");
    let flags = ["--force", "-t", "a/#", "--count", "4"];
    let recorder = broker.record(&file, &flags, "a/ready");
    let lines = [
        json!({"topic": "a/0", "payload": "zero"}),
        json!({"topic": "a/1", "payload_base64": "AP8=", "qos": 1, "retain": true}),
        json!({"topic": "a/2", "payload": "{}", "qos": 2, "payload_is_text": true, "expiry_secs": 60,
            "content_type": "application/json", "response_topic": "r", "correlation_data_base64": "AQ==",
            "user_properties": [["k", "v"], ["k", "w"]]}),
    ];
    assert_code(&broker.replay_lines(&lines, &[]), 0);
    assert_code(&recorder.wait_with_output().expect("it ran"), 0);

    let mut recorded = json_of(&file, &["-t", "a/0", "-t", "a/1", "-t", "a/2"]);
    let times: Vec<u64> = recorded.iter_mut().map(take_time).collect();
    assert!(times.is_sorted(), "{times:?}");
    // Messages at different QoS may overtake each other.
    recorded.sort_by_key(topic);
    assert_eq!(recorded, lines);

    // To other topics, from another recorder, through a pipe.
    let copy = path("copy.qtr");
    let flags = ["--force", "-t", "b/#", "--count", "4"];
    let recorder = broker.record(&copy, &flags, "b/ready");
    let replayed =
        broker.run(&["replay", name(&file), "--speed", "max", "--map", "a/+=b/$1", "-t", "a/0"]);
    assert_code(&replayed, 0);
    let rest = ["--speed", "max", "--map", "a/+=b/$1", "-q", "0", "--no-retain"];
    let topics = ["-t", "a/1", "-t", "a/2"];
    assert_code(&broker.run(&[&["replay", name(&file)], &rest[..], &topics].concat()), 0);
    assert_code(&recorder.wait_with_output().expect("it ran"), 0);
    let mut copied = json_of(&copy, &["-t", "b/+", "--map", "b/ready=x"]);
    copied.sort_by_key(topic);
    let seen: Vec<_> = copied.iter().map(|it| (topic(it), it.get("qos"))).collect();
    assert_eq!(seen[..3], ["b/0", "b/1", "b/2"].map(|it| (it.to_owned(), None)));
    assert_eq!((topic(&copied[3]), copied.len()), ("x".to_owned(), 4));
}

/// The recording has its own time, of which this is a third.
#[test]
fn time_passes_as_it_did_or_faster() {
    let broker = Broker::start(&[]);
    let lines = [0, 300_000, 600_000].map(|it| json!({"topic": "t", "time_us": it}));
    let begun = Instant::now();
    let output = broker.replay_lines(&lines, &["--speed", "3"]);
    assert_code(&output, 0);
    assert!(begun.elapsed() >= Duration::from_millis(200));
    assert!(text(&output.stderr).contains("late by"), "{output:?}");

    // Twice the second half: what is before is left out of the time, too.
    let file = path("half.jsonl");
    let lines =
        [0, 3_600_000_000_u64, 3_600_100_000].map(|it| json!({"topic": "t", "time_us": it}));
    fs::write(&file, lines.map(|it| it.to_string()).join("\n")).expect("it is ours");
    let begun = Instant::now();
    let output = broker.run(&["replay", name(&file), "--from", "1h", "--loop", "2"]);
    assert_code(&output, 0);
    assert!(begun.elapsed() >= Duration::from_millis(200));
    assert!(text(&output.stderr).contains("published 4 messages"), "{output:?}");
}

/// What is in the file when the process is killed can be read, and gone on with.
#[test]
fn a_recorder_that_is_killed_leaves_a_good_file() {
    let broker = Broker::start(&[]);
    let file = path("killed.qtr");
    let mut recorder = broker.record(&file, &["--force", "-t", "k"], "k");
    recorder.kill().expect("it runs");
    recorder.wait().expect("it ran");
    assert_eq!(json_of(&file, &[]).len(), 1);

    // As if it had been writing.
    let mut torn = OpenOptions::new().append(true).open(&file).expect("it is there");
    torn.write_all(b"QTBL\x20\0\0\0and no more").expect("it is ours");
    let output = quelea(&["replay", name(&file), "--dry-run"]);
    assert_code(&output, 0);
    assert!(text(&output.stderr).contains("was cut off"), "{output:?}");

    let refused = broker.run(&["record", name(&file), "-t", "k"]);
    assert_code(&refused, 2);
    assert!(text(&refused.stderr).contains("--append"), "{refused:?}");
    let recorder = broker.record(&file, &["--append", "-t", "k"], "k");
    for flag in ["--append", "--force"] {
        let refused = broker.run(&["record", name(&file), "-t", "k", flag]);
        assert!(text(&refused.stderr).contains("another process"), "{refused:?}");
    }
    let interrupted = Command::new("kill").args(["-s", "INT", &recorder.id().to_string()]).status();
    assert!(interrupted.expect("kill is there").success());
    assert_code(&recorder.wait_with_output().expect("it ran"), 0);
    let times: Vec<u64> = json_of(&file, &[]).iter_mut().map(take_time).collect();
    assert!(times.len() == 2 && times.is_sorted(), "{times:?}");
}

#[test]
fn a_file_is_not_larger_than_it_may_be() {
    let broker = Broker::start(&[]);
    let file = path("small.qtr");
    let recorder = broker.record(&file, &["--force", "-t", "s", "--size-max", "1K"], "s");
    let lines = vec![json!({"topic": "s", "payload": "x".repeat(100), "qos": 1}); 20];
    assert_code(&broker.replay_lines(&lines, &["--speed", "max"]), 0);
    assert_code(&recorder.wait_with_output().expect("it ran"), 0);
    let size = fs::metadata(&file).expect("it is there").len();
    assert!((800..=1_024).contains(&size), "{size}");
}

#[test]
fn what_the_broker_does_not_take_is_counted() {
    let broker = Broker::start(&["--set", "limits.qos_max=0"]);
    let lines = [json!({"topic": "t", "qos": 1}), json!({"topic": "t"})];
    let output = broker.replay_lines(&lines, &[]);
    assert_code(&output, 1);
    assert!(text(&output.stderr).contains("1 messages were refused"), "{output:?}");
}

#[test]
fn wrong_files_and_flags_are_told() {
    let file = path("wrong");
    fs::write(&file, "hello").expect("it is ours");
    let output = quelea(&["replay", name(&file), "--dry-run"]);
    assert_code(&output, 1);
    assert!(text(&output.stderr).contains("neither"), "{output:?}");
    for words in [
        &["replay", "-", "--loop", "2"][..],
        &["replay", "/nowhere/file"],
        &["replay", "f", "--map", "a/#=b/+"],
        &["replay", "f", "--from", "2", "--until", "1"],
        &["replay", "f", "--speed", "0"],
        &["record", "-", "-t", "a", "--append"],
        &["record", "f", "-t", "a#"],
        &["record", "f"],
    ] {
        assert_code(&quelea(words), 2);
    }
}

struct Broker {
    child: Child,
    port: String,
}

impl Broker {
    fn start(flags: &[&str]) -> Self {
        let words = [&["serve", "--listen", "127.0.0.1:0", "--in-memory"], flags].concat();
        let mut child =
            command(&words).stderr(Stdio::piped()).spawn().expect("the binary is there");
        let mut lines = BufReader::new(child.stderr.take().expect("it is piped")).lines();
        let port = lines
            .by_ref()
            .map_while(Result::ok)
            .find_map(|line| {
                let (_, rest) = line.split_once("listening on 127.0.0.1:")?;
                Some(rest.chars().take_while(char::is_ascii_digit).collect())
            })
            .expect("it says where it listens");
        // Reads on for as long as the broker writes.
        thread::spawn(move || lines.map_while(Result::ok).for_each(drop));
        Self { child, port }
    }

    /// Runs a client to its end.
    fn run(&self, words: &[&str]) -> Output {
        self.command(words).output().expect("the binary is there")
    }

    /// Starts to record, and returns when a retained message has shown that it is being recorded.
    fn record(&self, file: &Path, flags: &[&str], ready: &str) -> Child {
        let published = self.run(&["pub", "-t", ready, "-m", "ready", "-r", "-q", "1"]);
        assert_code(&published, 0);
        let whole = if flags.contains(&"--append") {
            whole_bytes(file)
        } else {
            // Of an earlier run.
            let _ = fs::remove_file(file);
            HEADER_BYTES
        };
        let words = [&["record", name(file)], flags].concat();
        let mut command = self.command(&words);
        let child = command.stderr(Stdio::piped()).spawn().expect("the binary is there");
        let begun = Instant::now();
        while whole_bytes(file) <= whole {
            assert!(begun.elapsed() < Duration::from_secs(30), "nothing is recorded");
            thread::yield_now();
        }
        child
    }

    fn replay_lines(&self, lines: &[Value], flags: &[&str]) -> Output {
        let words = [&["replay", "-"], flags].concat();
        let mut command = self.command(&words);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("the binary is there");
        let mut stdin = child.stdin.take().expect("it is piped");
        for line in lines {
            writeln!(stdin, "{line}").expect("it reads");
        }
        drop(stdin);
        child.wait_with_output().expect("it ran")
    }

    fn command(&self, words: &[&str]) -> Command {
        let mut command = command(words);
        command.args(["-h", "127.0.0.1", "-p", &self.port]);
        command
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Returns the messages of a recording.
fn json_of(file: &Path, flags: &[&str]) -> Vec<Value> {
    let output = quelea(&[&["replay", name(file), "--json"], flags].concat());
    assert_code(&output, 0);
    let lines = text(&output.stdout);
    lines.lines().map(|line| serde_json::from_str(line).expect("a line is JSON")).collect()
}

/// Returns where the last whole block ends.
fn whole_bytes(file: &Path) -> u64 {
    let Ok(bytes) = fs::read(file) else { return 0 };
    let Ok(mut reader) = Reader::new(bytes.as_slice()) else { return 0 };
    while let Ok(Some(_)) = reader.next() {}
    reader.whole_bytes()
}

fn topic(message: &Value) -> String {
    message["topic"].as_str().unwrap_or_default().to_owned()
}

/// Takes the time out of a message: it is never the same.
fn take_time(message: &mut Value) -> u64 {
    let time = message.as_object_mut().and_then(|it| it.remove("time_us"));
    time.and_then(|it| it.as_u64()).expect("a message has a time")
}

#[track_caller]
fn assert_code(output: &Output, code: i32) {
    assert_eq!(output.status.code(), Some(code), "{output:?}");
}

fn quelea(words: &[&str]) -> Output {
    command(words).output().expect("the binary is there")
}

/// The binary, with nothing of this process's environment in its configuration.
fn command(words: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_quelea"));
    command.args(words).env_clear();
    command
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("traffic-{name}"))
}

fn name(file: &Path) -> &str {
    file.to_str().expect("the path is UTF-8")
}

/// A file without a block.
const HEADER_BYTES: u64 = 32;
