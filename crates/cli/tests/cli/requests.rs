//! `quelea rr`: requests and their responses.

use std::fs;
use std::io::BufReader;
use std::path::Path;
use std::process::{Child, Output};

use serde_json::Value;

use crate::support::{Serve, Subscriber, assert_success, check_usage, command, text};

#[test]
fn a_response_is_told_from_those_to_others() {
    let broker = Serve::start(&[]);
    let mut responder = Responder::start(&broker, "5");
    let requester = responder.ask(&["-m", "how warm", "-q", "1", "-v"]);
    let request = responder.next();
    assert_eq!(request["payload"], "how warm");
    let properties = &request["properties"];
    let topic = properties["response_topic"].as_str().expect("it names one");
    let data = properties["correlation_data"].as_str().expect("there is some");
    responder.respond(topic, Some("another's"), "99");
    responder.respond(topic, Some(data), "21.5");
    let output = requester.wait_with_output().expect("it ran");
    assert_success(&output);
    assert_eq!(text(&output.stdout), format!("{topic} 21.5\n"));
}

#[test]
fn several_responses_are_waited_for() {
    let broker = Serve::start(&[]);
    for (count, code) in [("2", 0), ("0", 0), ("3", 27)] {
        let mut responder = Responder::start(&broker, "5");
        let requester = responder.ask(&["-n", "-C", count, "-W", "2", "-e", "answers"]);
        let request = responder.next();
        assert_eq!(request["properties"]["response_topic"], "answers");
        let data = request["properties"]["correlation_data"].as_str().expect("there is some");
        responder.respond("answers", Some(data), "one");
        // From one who knows nothing of correlation data.
        responder.respond("answers", None, "two");
        let output = requester.wait_with_output().expect("it ran");
        assert_eq!(output.status.code(), Some(code), "{output:?}");
        assert_eq!(text(&output.stdout), "one\ntwo\n");
    }
}

#[test]
fn mqtt_3_needs_an_agreed_topic() {
    let broker = Serve::start(&[]);
    check_usage(&["rr", "-V", "311", "-t", "t", "-m", "m"], "-e says where");
    check_usage(&["rr", "-t", "t", "-m", "m", "-C", "0"], "--timeout");
    let mut responder = Responder::start(&broker, "311");
    let requester = responder.ask(&["-V", "311", "-m", "ping", "-e", "agreed"]);
    responder.next();
    responder.respond("agreed", None, "pong");
    let output = requester.wait_with_output().expect("it ran");
    assert_eq!((text(&output.stdout), output.status.code()), ("pong\n".to_owned(), Some(0)));
}

/// The broker knows that nobody will respond.
#[test]
fn requests_to_nobody_end_at_once() {
    let broker = Serve::start(&[]);
    let output = broker.client("rr", &["-t", "nobody", "-m", "m", "-q", "1"]);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(text(&output.stderr).contains("nobody has subscribed to nobody"), "{output:?}");
}

/// What is always to be told stands in a file: ours, or that of Mosquitto's client.
#[test]
fn flags_may_stand_in_files() {
    let broker = Serve::start(&[]);
    let home = Path::new(env!("CARGO_TARGET_TMPDIR")).join("cli-home");
    let _ = fs::remove_dir_all(&home);
    fs::create_dir_all(home.join("quelea")).expect("it is ours");
    let [_, _, _, port] = broker.place();
    let flags = format!("# the broker\n-h 127.0.0.1\n-p {port}\n-q 1\n");
    let write = |name: &str, text: &str| fs::write(home.join(name), text).expect("it is ours");
    write("mosquitto_pub", &format!("{flags}-t from/file\n-r\n"));
    write("mosquitto_sub", "--no-such-flag\n");
    write("quelea/sub", &format!("{flags}-t from/file\n-F %t=%p\n"));
    write("other", &format!("{flags}-t from/other\n"));
    let run = |words: &[&str]| -> Output {
        command(words).env("XDG_CONFIG_HOME", &home).output().expect("the binary is there")
    };
    assert_success(&run(&["pub", "-m", "by file"]));
    assert_success(&run(&["pub", "-m", "by flag", "-t", "by/flag"]));
    let seen = run(&["sub", "-t", "by/flag", "-C", "2"]);
    assert_success(&seen);
    let seen = text(&seen.stdout);
    assert!(seen.contains("from/file=by file\n") && seen.contains("by/flag=by flag\n"), "{seen}");

    let other = home.join("other");
    let other = other.to_str().expect("the path is UTF-8");
    assert_success(&run(&["pub", "-o", other, "-m", "m", "-r"]));
    assert_eq!(text(&run(&["sub", "-o", other, "-C", "1"]).stdout), "m\n");
    assert_eq!(run(&["sub", "-o", "/nowhere", "-t", "t"]).status.code(), Some(2));
}

/// One who responds as the test says.
struct Responder<'a> {
    broker: &'a Serve,
    requests: Subscriber,
    version: &'static str,
}

impl<'a> Responder<'a> {
    fn start(broker: &'a Serve, version: &'static str) -> Self {
        let ready = ["-t", "ask", "-m", "ready", "-r", "-q", "1"];
        assert_success(&broker.client("pub", &ready));
        let flags = ["-V", version, "-t", "ask", "--json"];
        let mut child = broker.client_command("sub", &flags).spawn().expect("the binary is there");
        let output = BufReader::new(child.stdout.take().expect("it is piped"));
        let mut responder = Self { broker, requests: Subscriber { child, output }, version };
        assert_eq!(responder.next()["payload"], "ready");
        responder
    }

    fn ask(&self, flags: &[&str]) -> Child {
        let mut command = self.broker.client_command("rr", &["-t", "ask"]);
        command.args(flags).spawn().expect("the binary is there")
    }

    fn next(&mut self) -> Value {
        serde_json::from_str(&self.requests.line()).expect("it is JSON")
    }

    fn respond(&self, topic: &str, data: Option<&str>, answer: &str) {
        let mut words = vec!["-V", self.version, "-t", topic, "-m", answer, "-q", "1"];
        if let Some(data) = data {
            words.extend(["-D", "publish", "correlation-data", data]);
        }
        assert_success(&self.broker.client("pub", &words));
    }
}

impl Drop for Responder<'_> {
    fn drop(&mut self) {
        let _ = self.requests.child.kill();
        let _ = self.requests.child.wait();
    }
}
