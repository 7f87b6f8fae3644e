//! What `quelea sub` makes of messages for people and programs.

use std::fs::File;
use std::io::Read;
use std::process::Stdio;

use nix::pty::openpty;
use serde_json::{Value, json};

use crate::support::{Serve, assert_success, check_usage, temporary_file, text};

#[test]
fn json_says_everything() {
    let broker = Serve::start(&[]);
    retain(
        &broker,
        "j/text",
        b"caf\xC3\xA9 \"1\"",
        &["-V", "5", "-D", "publish", "user-property", "a", "b"],
    );
    retain(&broker, "j/bytes", b"\xFF\x00", &["-V", "5", "-D", "publish", "content-type", "x/y"]);
    let output =
        broker.client("sub", &["-t", "j/text", "-t", "j/bytes", "-V", "5", "-C", "2", "--json"]);
    assert_success(&output);
    let mut messages: Vec<Value> = text(&output.stdout)
        .lines()
        .map(|line| serde_json::from_str(line).expect("it is JSON"))
        .collect();
    messages.sort_by_key(|it| it["topic"].to_string());
    for message in &mut messages {
        let time = message.as_object_mut().and_then(|it| it.remove("time"));
        let time = time.expect("there is a time").to_string();
        assert!(time.starts_with("\"2") && time.contains('T'), "{time}");
    }
    let expected = [
        json!({"topic": "j/bytes", "payload_base64": "/wA=", "qos": 0, "retain": true, "dup": false,
            "properties": {"content_type": "x/y"}}),
        json!({"topic": "j/text", "payload": "caf\u{e9} \"1\"", "qos": 0, "retain": true, "dup": false,
            "properties": {"user_properties": [["a", "b"]]}}),
    ];
    assert_eq!(messages, expected);
}

#[test]
fn payloads_are_decoded_and_what_as_is_said() {
    let broker = Serve::start(&[]);
    retain(&broker, "d/json", b"{\"a\":[1]}", &[]);
    retain(&broker, "d/cbor", b"\xA1\x61a\x01", &[]);
    retain(&broker, "d/msgpack", b"\x81\xA1a\x01", &[]);
    retain(&broker, "d/either", b"\x80", &[]);
    retain(&broker, "spBv1.0/g/NDATA/n", b"\x18\x05", &[]);
    for (topic, flags, expected) in [
        (
            "d/json",
            &["--decode"][..],
            "d/json [JSON, 9 bytes, retained]\n{\n  \"a\": [\n    1\n  ]\n}\n",
        ),
        ("d/cbor", &["--decode"], "d/cbor [CBOR, it seems, 4 bytes, retained]\n{\n  \"a\": 1\n}\n"),
        (
            "d/msgpack",
            &["--decode", "auto"],
            "d/msgpack [MessagePack, it seems, 4 bytes, retained]\n{\n  \"a\": 1\n}\n",
        ),
        (
            "d/either",
            &["--decode"],
            "d/either [CBOR or MessagePack: --decode=cbor, =msgpack, 1 bytes, retained]\n000000  80                                               .\n",
        ),
        ("d/either", &["--decode=msgpack"], "d/either [MessagePack, 1 bytes, retained]\n{}\n"),
        (
            "d/json",
            &["--decode=cbor"],
            "d/json [no CBOR: it ends too early, 9 bytes, retained]\n{\"a\":[1]}\n",
        ),
        (
            "spBv1.0/g/NDATA/n",
            &["--decode"],
            "spBv1.0/g/NDATA/n [Sparkplug B, 2 bytes, retained]\nseq 5\n",
        ),
        ("d/cbor", &["--hex", "-v"], "d/cbor a1616101\n"),
    ] {
        let output = broker.client("sub", &[&["-t", topic, "-C", "1"], flags].concat());
        assert_eq!(text(&output.stdout), expected, "{output:?}");
    }
}

#[test]
fn messages_are_counted_instead_of_printed() {
    let broker = Serve::start(&[]);
    retain(&broker, "c/1", b"one", &[]);
    retain(&broker, "c/2", b"three", &[]);
    let output = broker.client("sub", &["-t", "c/+", "-C", "2", "--count"]);
    assert_success(&output);
    assert!(
        text(&output.stdout).starts_with("2 messages, 8 bytes, 2 retained, 0 duplicates in "),
        "{output:?}"
    );
    let output = broker.client("sub", &["-t", "c/+", "-W", "3", "--rate"]);
    assert_eq!(output.status.code(), Some(27));
    let lines = text(&output.stdout);
    assert!(lines.lines().next().is_some_and(|it| it.ends_with(" bytes/s")), "{lines}");
    check_usage(&["sub", "-t", "t", "--count", "--json"], "cannot be used with");
}

/// What strangers publish must not move the cursor; in a pipe it arrives as it is.
#[test]
fn terminals_are_not_wrecked() {
    let broker = Serve::start(&[]);
    let payload = b"\x1B[2Jboo\xFF";
    retain(&broker, "tty", payload, &[]);
    let piped = broker.client("sub", &["-t", "tty", "-C", "1", "-N"]);
    assert_eq!(piped.stdout, payload);
    assert_eq!(on_terminal(&broker, &["-t", "tty", "-C", "1"], &[]), "\\u{1b}[2Jboo\\xff\r\n");
    let decoded = ["-t", "tty", "-C", "1", "--decode=json"];
    let shown = on_terminal(&broker, &decoded, &[]);
    assert!(shown.starts_with("\x1b[1mtty\x1b[0m \x1b[2m[no JSON"), "{shown}");
    let plain = on_terminal(&broker, &decoded, &[("NO_COLOR", "1")]);
    assert!(plain.starts_with("tty [no JSON"), "{plain}");
}

/// Returns what a client shows on a terminal.
fn on_terminal(broker: &Serve, flags: &[&str], environment: &[(&str, &str)]) -> String {
    let pty = openpty(None, None).expect("there are terminals");
    let mut command = broker.client_command("sub", flags);
    command.envs(environment.iter().copied()).stdout(Stdio::from(pty.slave));
    let status = command.status().expect("the binary is there");
    assert!(status.success());
    // The last holder of the other side.
    drop(command);
    let mut shown = Vec::new();
    match File::from(pty.master).read_to_end(&mut shown) {
        Ok(_) => {}
        // That is how Linux says that nobody writes any more: EIO.
        Err(error) => assert_eq!(error.raw_os_error(), Some(5), "{error}"),
    }
    String::from_utf8(shown).expect("it is UTF-8")
}

fn retain(broker: &Serve, topic: &str, payload: &[u8], flags: &[&str]) {
    let file = temporary_file(&format!("payload-{}", topic.replace('/', "-")), "");
    std::fs::write(&file, payload).expect("it is ours");
    let words = ["-t", topic, "-r", "-q", "1", "-f", file.to_str().expect("the path is UTF-8")];
    assert_success(&broker.client("pub", &[&words, flags].concat()));
}
