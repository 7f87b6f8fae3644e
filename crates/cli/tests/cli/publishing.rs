//! What `pub` promises: every line arrives, whatever happens to the connection, and what does not is told.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Stdio};
use std::thread::{self, JoinHandle};

use crate::support::{Serve, assert_success, command, signal, temporary_file, text};

#[test]
fn many_lines_arrive_in_order() {
    let broker = Serve::start(&[]);
    let lines: String = (0..10_000).map(|it| format!("line {it}\n")).collect();
    for qos in ["0", "1", "2"] {
        let topic = format!("many/{qos}");
        let mut subscriber = broker.subscribe(&topic, &["-q", qos, "-C", "10001"]);
        let sent = broker.client_with_input("pub", &["-t", &topic, "-q", qos, "-l"], &lines);
        assert_success(&sent);
        // At QoS 0 a broker may drop what comes too fast; ours pauses the publisher instead.
        assert_eq!(subscriber.rest(), lines, "QoS {qos}");
    }
}

/// The broker dies in the middle, and comes back: nothing is lost, on either side.
#[test]
fn a_broker_that_dies_loses_no_line() {
    let data = temporary_file("dies", "").with_extension("data");
    let _ = std::fs::remove_dir_all(&data);
    let data = data.to_str().expect("the path is UTF-8");
    let start =
        |address: &str| Serve::start_with(&["serve", "--listen", address, "--data-dir", data]);
    let broker = start("127.0.0.1:0");
    let address = broker.address.to_string();
    let session = ["-c", "-i", "keeper", "-q", "1"];
    let mut subscriber = broker.subscribe("dies", &session);
    let mut publisher = broker
        .client_command("pub", &["-t", "dies", "-q", "1", "-l"])
        .stdin(Stdio::piped())
        .spawn()
        .expect("the binary is there");
    let mut lines = publisher.stdin.take().expect("it is piped");
    let mut send = |numbers: std::ops::Range<u32>| {
        let text: String = numbers.map(|it| format!("{it}\n")).collect();
        lines.write_all(text.as_bytes()).expect("it reads");
    };
    send(0..1_000);
    subscriber.lines_until(|line| line == "500");
    drop(broker);
    send(1_000..2_000);
    let broker = start(&address);
    send(2_000..3_000);
    drop(lines);
    let output = publisher.wait_with_output().expect("it ran");
    assert_success(&output);
    assert!(text(&output.stderr).contains("connecting again in"), "{output:?}");
    // Some may come twice: that is QoS 1.
    let rest = subscriber.lines_until(|line| line == "2999");
    let came: BTreeSet<u32> = rest.iter().map(|it| it.parse().expect("a number")).collect();
    let lost: Vec<u32> = (501..2_999).filter(|it| !came.contains(it)).collect();
    assert_eq!(lost, [0; 0]);
    assert_eq!(interrupt(subscriber.child).0, Some(0));
    drop(broker);
}

/// A broker that takes everything and acknowledges nothing.
#[test]
fn what_is_not_acknowledged_is_told() {
    let (place, silent) = silent_broker();
    let words = ["pub", "-h", "127.0.0.1", "-p", &place, "-t", "t", "-q", "1", "-l", "-W", "1"];
    let mut child = piped(&words);
    child.stdin.take().expect("it is piped").write_all(b"a\nb\nc\n").expect("it reads");
    let output = child.wait_with_output().expect("it ran");
    assert_eq!(output.status.code(), Some(27), "{output:?}");
    let told = text(&output.stderr);
    assert!(
        told.contains("timed out; 0 published") && told.contains("3 may not have been"),
        "{told}"
    );
    assert_eq!(silent.join().expect("it has no reason to panic").last(), Some(&0xE0));
}

/// In the middle of its work, with a goodbye.
#[test]
fn interrupted_publishers_say_goodbye() {
    let (place, silent) = silent_broker();
    let mut child = piped(&["pub", "-h", "127.0.0.1", "-p", &place, "-t", "t", "-l", "-d"]);
    let stderr = child.stderr.take().expect("it is piped");
    let mut line = String::new();
    BufReader::new(stderr).read_line(&mut line).expect("it is UTF-8");
    assert!(line.starts_with("connected to "), "{line}");
    let (code, _) = interrupt(child);
    assert_eq!(code, Some(130));
    assert_eq!(silent.join().expect("it has no reason to panic"), [0x10, 0xE0]);
}

#[test]
fn interrupted_subscribers_leave_no_will() {
    let broker = Serve::start(&[]);
    let mut watcher = broker.subscribe("gone", &["-C", "2"]);
    let will = ["--will-topic", "gone", "--will-payload", "lost"];
    let subscriber = broker.subscribe("t", &will);
    assert_eq!(interrupt(subscriber.child).0, Some(0));
    assert_success(&broker.client("pub", &["-t", "gone", "-m", "end"]));
    assert_eq!(watcher.rest(), "end\n");
}

/// What was printed is acknowledged, and what was not is there for the next.
#[test]
fn a_limit_leaves_the_rest_to_the_next() {
    let broker = Serve::start(&[]);
    for version in ["311", "5"] {
        let topic = format!("rest/{version}");
        let id = format!("keeper{version}");
        let session = ["-V", version, "-i", &id, "-c", "-q", "2", "-t", &topic];
        let granted = broker.client("sub", &[&session[..], &["-E"]].concat());
        assert_success(&granted);
        let lines: String = (0..100).map(|it| format!("{it}\n")).collect();
        let publish = ["-t", &topic, "-q", "2", "-l"];
        assert_success(&broker.client_with_input("pub", &publish, &lines));
        // To look after its subscriptions takes nothing away.
        let again = broker.client("sub", &[&session[..], &["-E"]].concat());
        assert_eq!((text(&again.stdout), again.status.code()), (String::new(), Some(0)));
        let mut seen = String::new();
        for count in ["1", "9", "90"] {
            let output = broker.client("sub", &[&session[..], &["-C", count]].concat());
            assert_success(&output);
            seen += &text(&output.stdout);
        }
        assert_eq!(seen, lines, "{version}");
        // The session has forgotten the filter, and with it what would have come.
        assert_success(&broker.client("sub", &["-V", version, "-i", &id, "-c", "-U", &topic]));
        assert_success(&broker.client("pub", &["-t", &topic, "-q", "1", "-m", "late"]));
        let after =
            broker.client("sub", &["-V", version, "-i", &id, "-c", "-t", "other", "-W", "1"]);
        assert_eq!((text(&after.stdout), after.status.code()), (String::new(), Some(27)));
    }
}

/// Accepts one client, and returns the first bytes of its packets when it has gone.
fn silent_broker() -> (String, JoinHandle<Vec<u8>>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("there is a free port");
    let port = listener.local_addr().expect("it is bound").port();
    let serving = thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("a client comes");
        let mut packets = Vec::new();
        while let Some(first) = packet(&mut stream) {
            packets.push(first & 0xF0);
            if first & 0xF0 == 0x10 {
                stream.write_all(&[0x20, 2, 0, 0]).expect("the client reads");
            }
        }
        packets
    });
    (port.to_string(), serving)
}

/// Reads a packet of less than 128 bytes, and returns its first.
fn packet(stream: &mut TcpStream) -> Option<u8> {
    let mut head = [0; 2];
    stream.read_exact(&mut head).ok()?;
    assert!(head[1] < 128, "it is short");
    stream.read_exact(&mut vec![0; head[1].into()]).ok()?;
    Some(head[0])
}

fn piped(words: &[&str]) -> Child {
    let mut command = command(words);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command.spawn().expect("the binary is there")
}

/// Sends SIGINT; returns the exit code, and what is left of standard error.
fn interrupt(child: Child) -> (Option<i32>, String) {
    signal(&child, "INT");
    let output = child.wait_with_output().expect("it ran");
    (output.status.code(), text(&output.stderr))
}
