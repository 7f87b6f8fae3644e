//! What the commands print, and how they exit.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::support::{
    Serve, Subscriber, assert_success, check_usage, command, free_port, quelea, temporary_file,
    text,
};

#[test]
fn messages_go_round_at_every_version_and_qos() {
    let broker = Serve::start(&[]);
    for version in ["31", "mqttv311", "5"] {
        for qos in ["0", "1", "2"] {
            let flags = ["-V", version, "-q", qos];
            let topic = format!("round/{version}/{qos}");
            let mut subscriber =
                broker.subscribe(&topic, &[&flags[..], &["-C", "4", "-v"]].concat());

            let sent = broker.client_with_input(
                "pub",
                &[&flags[..], &["-t", &topic, "-l"]].concat(),
                "one\ntwo",
            );
            assert_success(&sent);
            assert_success(&broker.client("pub", &[&flags[..], &["-t", &topic, "-n"]].concat()));

            assert_eq!(
                subscriber.rest(),
                format!("{topic} one\n{topic} two\n{topic} (null)\n"),
                "{flags:?}"
            );
            assert_eq!(subscriber.child.wait().expect("it ran").code(), Some(0), "{flags:?}");
        }
    }
}

#[test]
fn whole_files_and_whole_input_are_one_message() {
    let broker = Serve::start(&[]);
    let content = "no\nline\nend";
    let file = temporary_file("payload", content);
    let mut subscriber = broker.subscribe("whole", &["-C", "3", "-N"]);

    let from_file = ["-t", "whole", "-q", "1", "-f", file.to_str().expect("the path is UTF-8")];
    assert_success(&broker.client("pub", &from_file));
    assert_success(&broker.client_with_input("pub", &["-t", "whole", "-q", "1", "-s"], content));

    assert_eq!(subscriber.rest(), format!("{content}{content}"));
}

#[test]
fn messages_go_through_tls_and_websocket() {
    let key = rcgen::KeyPair::generate().expect("a key can be made");
    let params = rcgen::CertificateParams::new(["localhost".to_owned(), "127.0.0.1".to_owned()]);
    let params = params.expect("these are names");
    let certificate = params.self_signed(&key).expect("a certificate can be made");
    let other_key = rcgen::KeyPair::generate().expect("a key can be made");
    let mut other = rcgen::CertificateParams::default();
    other.distinguished_name.push(rcgen::DnType::CommonName, "another");
    let other = other.self_signed(&other_key).expect("a certificate can be made");
    let certificate = temporary_file("ways.pem", &certificate.pem());
    let other = temporary_file("other.pem", &other.pem());
    let key = temporary_file("ways.key", &key.serialize_pem());
    let name = |path: &Path| path.to_str().expect("the path is UTF-8").to_owned();
    let (certificate, other, key) = (name(&certificate), name(&other), name(&key));
    let tls = format!(
        r#"tls = {{ certificate = "{certificate}", key = "{key}", client_ca = "{certificate}" }}"#
    );
    let config = format!(
        "[[listener]]\naddress = \"127.0.0.1:0\"\n{tls}\n[[listener]]\naddress = \"127.0.0.1:0\"\nprotocol = \"websocket\"\n\
         [[listener]]\naddress = \"127.0.0.1:0\"\nprotocol = \"websocket\"\n{tls}\n"
    );
    let config = temporary_file("ways.toml", &config);
    let broker = Serve::start_with(&["serve", "--in-memory", "--config", &name(&config)]);
    let mut ports = vec![broker.address.port()];
    ports.extend((0..2).map(|_| broker.next_address().port()));

    let own = ["--cafile", &certificate, "--cert", &certificate, "--key", &key];
    let ways: [(String, &[&str]); 4] = [
        (format!("mqtts://127.0.0.1:{}", ports[0]), &own),
        (format!("ws://127.0.0.1:{}", ports[1]), &[]),
        (format!("wss://localhost:{}/mqtt", ports[2]), &own),
        (
            format!("mqtts://127.0.0.1:{}", ports[0]),
            &["--insecure", "--cert", &certificate, "--key", &key],
        ),
    ];
    let large = "x".repeat(200_000);
    for (url, flags) in &ways {
        for (other_url, other_flags) in &ways {
            let (topic, retained) = ("t", ["-r", "-q", "1", "-t"]);
            let publish = [&["pub", "-h", url], *flags, &retained, &[topic, "-s"]].concat();
            let mut child =
                command(&publish).stdin(Stdio::piped()).spawn().expect("the binary is there");
            child.stdin.take().expect("it is piped").write_all(large.as_bytes()).expect("it reads");
            assert_eq!(child.wait().expect("it ran").code(), Some(0), "{url}");
            let subscribe =
                [&["sub", "-h", other_url], *other_flags, &["-t", topic, "-C", "1", "-N"]].concat();
            let received = quelea(&subscribe);
            assert_success(&received);
            assert_eq!(text(&received.stdout), large, "{url} to {other_url}");
        }
        let bench = [
            &["bench", "pairs", "--host", url, "--qos", "1", "--duration", "0.2", "--quiet"],
            *flags,
        ];
        let measured = quelea(
            &[&bench.concat()[..], &["--warmup", "0", "--size", "3000", "--clients", "2"]].concat(),
        );
        assert_success(&measured);
    }
    let refuse = |url: &str, flags: &[&str], why: &str| {
        let output = quelea(&[&["pub", "-h", url, "-t", "t", "-m", "m"], flags].concat());
        // In TLS 1.3 a client is connected before it is refused.
        assert!(matches!(output.status.code(), Some(1 | 7)), "{output:?}");
        assert!(text(&output.stderr).contains(why), "{output:?}");
    };
    let url = &ways[0].0;
    refuse(url, &["--cafile", &certificate], "CertificateRequired");
    refuse(
        url,
        &["--cafile", &other, "--cert", &certificate, "--key", &key],
        "--cafile names the authority",
    );
    refuse(&ways[1].0.replace("ws:", "mqtt:"), &[], "the broker");
    refuse(&format!("{}/elsewhere", ways[1].0), &[], "404 Not Found");
}

#[test]
fn session_that_is_kept_gets_what_it_missed() {
    let broker = Serve::start(&[]);
    for (version, id) in [("311", "keeper3"), ("5", "keeper5")] {
        let session = ["-V", version, "-i", id, "-c", "-q", "1", "-C", "1"];
        let topic = format!("missed/{version}");
        broker.subscribe(&topic, &session).child.wait().expect("the retained message ends it");
        assert_success(
            &broker.client("pub", &["-t", &topic, "-q", "1", "-m", "later", "-V", version]),
        );

        // What it missed comes before what its new SUBSCRIBE brings.
        let received = broker.client("sub", &[&session[..], &["-t", &topic]].concat());
        assert_success(&received);
        assert_eq!(text(&received.stdout), "later\n");
    }
}

#[test]
fn will_is_published_when_the_client_is_lost() {
    let broker = Serve::start(&[]);
    let mut watcher = broker.subscribe("will", &["-C", "2", "-q", "2"]);
    let will = ["--will-topic", "will", "--will-payload", "gone", "--will-qos", "2"];
    let mut lost = broker.subscribe("other", &will);
    lost.child.kill().expect("it runs");
    assert_eq!(watcher.rest(), "gone\n");
}

#[test]
fn time_that_is_up_is_27() {
    let broker = Serve::start(&[]);
    let output = broker.client("sub", &["-t", "silence", "-W", "1"]);
    assert_eq!(output.status.code(), Some(27));
    assert_eq!(text(&output.stderr), "timed out\n");
}

#[test]
fn reader_that_has_gone_is_no_panic() {
    let broker = Serve::start(&[]);
    let Subscriber { mut child, output } = broker.subscribe("pipe", &["-q", "1"]);
    drop(output);
    assert_success(&broker.client("pub", &["-t", "pipe", "-m", "unread", "-q", "1"]));
    assert_eq!(child.wait().expect("it ran").code(), Some(0));
}

/// The shell waits for both ends of a pipe: `quelea sub … | head -1` would hang till the next message.
#[test]
fn reader_that_has_gone_is_the_end_though_nothing_comes() {
    let broker = Serve::start(&[]);
    let Subscriber { mut child, output } = broker.subscribe("pipe", &[]);
    drop(output);
    assert_eq!(child.wait().expect("it ran").code(), Some(0));
}

#[test]
fn filters_are_not_both_begun_and_ended() {
    let output = quelea(&["sub", "-t", "a", "-t", "b", "-U", "b"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).contains("\"b\" is to be subscribed to"), "{output:?}");
}

#[test]
fn port_without_tls_is_told_from_a_broker_that_is_not_there() {
    let broker = Serve::start(&[]);
    let output = broker.client("pub", &["--insecure", "-t", "t", "-m", "m"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("instead of speaking TLS"), "{output:?}");
}

#[test]
fn refused_connection_exits_with_its_reason() {
    let nobody = temporary_file("nobody.passwd", "");
    let nobody = nobody.to_str().expect("the path is UTF-8");
    let broker = Serve::start(&["--set", &format!("authentication.password_file={nobody}")]);
    let message = ["-t", "t", "-m", "m"];
    for (version, code, shown) in [("31", 5, "(5)"), ("311", 5, "(5)"), ("5", 0x87, "(0x87)")] {
        let output = broker.client("pub", &[&["-V", version], &message[..]].concat());
        assert_eq!(output.status.code(), Some(code), "{output:?}");
        let why = text(&output.stderr);
        assert!(why.contains(shown) && why.contains("-u and -P give"), "{output:?}");
        let quiet = broker.client("sub", &["-V", version, "-t", "t", "--quiet"]);
        assert_eq!((quiet.status.code(), &quiet.stderr[..]), (Some(code), &b""[..]));
    }
}

#[test]
fn nobody_there_is_said_with_what_to_do() {
    let port = free_port().to_string();
    let output = quelea(&["pub", "-h", "127.0.0.1", "-p", &port, "-t", "t", "-m", "m"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("`quelea serve` starts one"), "{output:?}");
}

#[test]
fn wrong_usage_is_2() {
    check_usage(&["pub", "-t", "a/#", "-m", "m"], "is no topic to publish to");
    check_usage(&["sub", "-t", "a#"], "is no topic filter");
    check_usage(&["sub", "-t", "a", "-x", "5"], "add -V 5");
    check_usage(&["sub", "-t", "a", "-c"], "--id");
    check_usage(&["pub", "-t", "a"], "--message");
    check_usage(&["pub", "-t", "a", "-m", "m", "-q", "3"], "QoS is 0, 1 or 2");
}

#[test]
fn configuration_is_checked_as_a_whole() {
    let file = temporary_file("wrong.toml", "shards = 0\n[limits]\nmax_connections = 5\n");
    let name = file.to_str().expect("the path is UTF-8");
    let output = quelea(&["config", "check", "--config", name, "--set", "log.format=xml"]);
    assert_eq!(output.status.code(), Some(2));
    let expected = format!(
        "{name}:1: shards must be a number from 1 to 64, not 0\n\
         {name}:3: there is no setting \"limits.max_connections\"; the nearest is \"limits.connections_max\"\n\
         --set: log.format must be \"human\" or \"json\", not \"xml\"\n"
    );
    assert_eq!(text(&output.stderr), expected);
}

#[test]
fn example_and_what_is_shown_are_configurations() {
    for words in [&["config", "example"][..], &["config", "show", "--shards", "3"]] {
        let printed = quelea(words);
        assert_success(&printed);
        let file = temporary_file(&words.join("-"), &text(&printed.stdout));
        let name = file.to_str().expect("the path is UTF-8");
        assert_success(&quelea(&["config", "check", "--config", name]));
    }
}

#[test]
fn serve_refuses_what_it_cannot_do() {
    check_usage(&["serve", "--data-dir", "d", "--in-memory"], "cannot be used with");
    let memory = ["serve", "--data-dir", "d", "--set", "store.durability=memory"];
    check_usage(&memory, "nothing is kept in d");
    check_usage(&["--listen", "0.0.0.0:0"], "allow_anonymous = true");
    check_usage(
        &["serve", "--config", "/nowhere/quelea.toml"],
        "cannot read the configuration file",
    );

    let broker = Serve::start(&[]);
    let output = quelea(&["serve", "--listen", &broker.address.to_string()]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("cannot listen on"), "{output:?}");
}

#[test]
fn sigterm_ends_in_good_order() {
    let broker = Serve::start(&[]);
    let mut subscriber = broker.subscribe("end", &["-V", "5", "--no-reconnect"]);
    let (status, log) = broker.stop();
    assert_eq!(status, Some(0), "{log}");
    assert!(log.contains("sessions and messages live in memory"), "{log}");
    assert_eq!(subscriber.child.wait().expect("it ran").code(), Some(7));
    let mut why = String::new();
    let mut stderr = subscriber.child.stderr.take().expect("it is piped");
    stderr.read_to_string(&mut why).expect("it is UTF-8");
    assert!(why.contains("Server shutting down (0x8B)"), "{why}");
}

/// The socket is there before the broker is, and the broker finds it by its name.
#[test]
fn socket_of_systemd_is_served() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("there is a free port");
    let address = listener.local_addr().expect("it is bound");
    let config = temporary_file("systemd.toml", "[[listener]]\naddress = \"systemd:mqtt\"\n");
    let config = config.to_str().expect("the path is UTF-8");
    let serve = ["serve", "--in-memory", "--allow-anonymous", "--config", config];
    // As systemd does it: descriptors from 3 on, for the process with this number.
    let script =
        "LISTEN_PID=$$ LISTEN_FDS=1 LISTEN_FDNAMES=mqtt exec \"$0\" \"$@\" 3<&0 </dev/null";
    let mut shell = Command::new("/bin/sh");
    shell.args(["-c", script, env!("CARGO_BIN_EXE_quelea")]).args(serve).env_clear();
    shell.stdin(OwnedFd::from(listener)).stderr(Stdio::piped());
    let broker = Serve::of(shell.spawn().expect("the shell is there"));
    assert_eq!(broker.address, address);
    assert_success(&broker.client("pub", &["-t", "t", "-m", "m", "-q", "1"]));
    assert_eq!(broker.stop().0, Some(0));
}

#[test]
fn sighup_reads_the_configuration_again() {
    let file = temporary_file("reload.toml", "[log]\nlevel = \"info\"\n");
    let broker = Serve::start(&["--config", file.to_str().expect("the path is UTF-8")]);
    broker.client("pub", &["-t", "t", "-m", "m", "-q", "1"]);
    fs::write(&file, "[log]\nlevel = \"info,quelea_broker=warn\"\n[limits]\nqos_max = 1\n[store]\ninterval_millis = 7\n")
        .expect("it is ours");
    broker.signal("HUP");
    broker.wait_for("limits.qos_max changes from 2 to 1, from here on");
    broker.wait_for("log.level changes from \"info\" to \"info,quelea_broker=warn\", from here on");
    broker.wait_for("store.interval_millis changes from 100 to 7, which needs a restart");
    broker.wait_for("the configuration is reloaded");
    let refused = broker.client("pub", &["-t", "t", "-m", "m", "-q", "2"]);
    assert!(!refused.status.success(), "QoS 2 is not served any more");
    fs::write(&file, "[log]\nlevel = \"loud\"\n[limits]\nqos_max = 3\n").expect("it is ours");
    broker.signal("HUP");
    broker.wait_for("\"loud\" in log.level is no level");
    broker.wait_for("limits.qos_max must be a number from 0 to 2, not 3");
    assert_success(&broker.client("pub", &["-t", "t", "-m", "m", "-q", "1"]));
    assert_eq!(broker.stop().0, Some(0));
}

/// The result goes to standard output, and is a configuration; what is lost goes to standard error.
#[test]
fn a_configuration_of_mosquitto_is_migrated() {
    let directory = temporary_file("mosquitto.conf.d", "").with_extension("included");
    fs::create_dir_all(&directory).expect("it is ours");
    fs::write(directory.join("b.conf"), "sys_interval 20\n").expect("it is ours");
    fs::write(directory.join("a.conf"), "sys_interval 15\nmax_keepalive 600\n")
        .expect("it is ours");
    fs::write(directory.join("c.conf~"), "sys_interval 1\n").expect("it is ours");
    let include = directory.display();
    let mosquitto = format!(
        "# a comment\nuser mosquitto\nlistener 18883 127.0.0.1\nprotocol websockets\nmax_connections 100\n\
         include_dir {include}\npersistence true\nconnection up\naddress example.com\n"
    );
    let file = temporary_file("mosquitto.conf", &format!("{mosquitto}allow_anonymous true\n"));
    let output = quelea(&["migrate", file.to_str().expect("the path is UTF-8")]);
    assert_success(&output);
    let lost = text(&output.stderr);
    let lost: Vec<&str> = lost.lines().collect();
    assert_eq!(lost.len(), 2, "{lost:?}");
    assert!(lost[0].contains("mosquitto.conf:8: connection is not carried over"), "{lost:?}");
    let migrated = temporary_file("migrated.toml", &text(&output.stdout));
    let migrated = migrated.to_str().expect("the path is UTF-8");
    assert_success(&quelea(&["config", "check", "--config", migrated]));
    let shown = text(&quelea(&["config", "show", "--config", migrated]).stdout);
    for line in
        ["address = \"127.0.0.1:18883\"", "interval_secs = 20 ", "keep_alive_max_secs = 600 "]
    {
        assert!(shown.contains(line), "{line} is not in {shown}");
    }
    let missing = quelea(&["migrate", "/nowhere/mosquitto.conf"]);
    assert_eq!(missing.status.code(), Some(2));
}

#[test]
fn log_can_be_json() {
    let broker = Serve::start(&["--log-format", "json"]);
    broker.client("pub", &["-t", "t", "-m", "m", "-q", "1"]);
    let (_, log) = broker.stop();
    for line in log.lines() {
        assert!(serde_json::from_str::<serde_json::Value>(line).is_ok(), "{line}");
    }
}

#[test]
fn version_is_told() {
    let output = quelea(&["--version"]);
    assert_eq!(text(&output.stdout), format!("quelea {}\n", env!("CARGO_PKG_VERSION")));
}
