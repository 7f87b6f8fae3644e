//! Loading, from all sources, right and wrong.

use std::path::PathBuf;

use super::*;

#[test]
fn nothing_said_is_the_default() {
    assert_eq!(load("", &[], &[]).expect("nothing is wrong").config, Config::default());
}

#[test]
fn flags_win_over_environment_over_file() {
    let file = "shards = 1\n[limits]\nconnections_max = 1\nreceive_maximum = 1\n[[listener]]\naddress = \"127.0.0.1:1\"";
    let environment = [
        ("QUELEA_LIMITS_CONNECTIONS_MAX", "2"),
        ("QUELEA_SHARDS", "2"),
        ("QUELEA_LISTEN", "127.0.0.1:2"),
    ];
    let flags =
        [("shards", "3"), ("listener.address", "127.0.0.1:3"), ("listener.address", "[::1]:3")];
    let config = load(file, &environment, &flags).expect("nothing is wrong").config;

    assert_eq!(config.limits.receive_maximum, 1);
    assert_eq!(config.limits.connections_max, 2);
    assert_eq!(config.shards.map(NonZeroUsize::get), Some(3));
    let ports: Vec<String> =
        config.listeners.iter().map(|listener| listener.address.to_string()).collect();
    assert_eq!(ports, ["127.0.0.1:3", "[::1]:3"]);
}

#[test]
fn values_of_every_kind_are_read() {
    let file = "
        allow_anonymous = true
        shared_strategy = \"sticky\"
        [limits]
        packet_bytes_max = \"2 MiB\"
        queued_bytes_max = 1_000
        session_expiry_max_secs = \"never\"
        queue_overflow = \"drop-oldest\"
        [log]
        level = \"warn,quelea_broker=debug\"
        format = \"json\"
        [store]
        data_dir = \"/var/lib/quelea\"
        durability = \"interval\"
        interval_millis = 20
        disk_bytes_max = \"10 GiB\"";
    let config = load(file, &[("QUELEA_LIMITS_RETAINED_BYTES_MAX", "1GiB")], &[])
        .expect("nothing is wrong")
        .config;

    assert_eq!(config.allow_anonymous, Some(true));
    assert_eq!(config.shared_strategy, SharedStrategy::Sticky);
    assert_eq!(config.limits.packet_bytes_max, 2 << 20);
    assert_eq!(config.limits.queued_bytes_max, 1_000);
    assert_eq!(config.limits.retained_bytes_max, 1 << 30);
    assert_eq!(config.limits.session_expiry_max_secs, u32::MAX);
    assert_eq!(config.limits.queue_overflow, QueueOverflow::DropOldest);
    assert_eq!(config.log.level, "warn,quelea_broker=debug");
    assert_eq!(config.log.format, LogFormat::Json);
    let store = Store {
        data_dir: "/var/lib/quelea".into(),
        durability: Durability::Interval,
        interval_millis: 20,
        disk_bytes_max: Some(10 << 30),
        ..Store::default()
    };
    assert_eq!(config.store, store);
}

#[test]
fn all_mistakes_are_told_at_once() {
    let file = "
shard = 2
[limits]
conections_max = 5
receive_maximum = 0
qos_max = \"2\"
retain_available = 1
[stop]
flush_timeout_secs = [1]
[[listener]]
adress = \"127.0.0.1:1883\"
[[listener]]
address = 1883
[sis]
interval_secs = 1
";
    let environment = [("QUELEA_LIMIT_QOS_MAX", "1"), ("QUELEA_SHARDS", "many")];
    check(
        load(file, &environment, &[("limits.topic_alias_max", "-1")]),
        &[
            "q.toml:2: there is no setting \"shard\"; the nearest is \"shards\"",
            "q.toml:4: there is no setting \"limits.conections_max\"; the nearest is \"limits.connections_max\"",
            "q.toml:5: limits.receive_maximum must be a number from 1 to 65,535, not 0",
            "q.toml:6: limits.qos_max must be a number from 0 to 2, not \"2\"",
            "q.toml:7: limits.retain_available must be true or false, not 1",
            "q.toml:9: stop.flush_timeout_secs must be a number of seconds from 0 to 600, not a value of type array",
            "q.toml:10: a listener needs an address, such as address = \"127.0.0.1:1883\"",
            "q.toml:11: there is no setting \"listener.adress\"; the nearest is \"listener.address\"",
            "q.toml:13: 1883 is no address: write an IP address and a port, such as \"127.0.0.1:1883\" or \"[::1]:1883\"",
            "q.toml:14: there is no setting \"sis\"; the nearest is \"sys\"",
            "environment variable QUELEA_LIMIT_QOS_MAX: sets nothing; the nearest is QUELEA_LIMITS_QOS_MAX",
            "environment variable QUELEA_SHARDS: shards must be a number from 1 to 64, not \"many\"",
            "--set: limits.topic_alias_max must be a number from 0 to 65,535, not \"-1\"",
        ],
    );
}

#[test]
fn broken_toml_is_told_with_its_line() {
    let mistakes =
        load("shards = 1\n[limits\nqos_max = 1", &[], &[]).expect_err("the bracket is missing");
    assert!(mistakes.to_string().starts_with("q.toml:2: this is not TOML: "), "{mistakes}");
}

#[test]
fn open_listener_needs_consent() {
    let open = "[[listener]]\naddress = \"0.0.0.0:1883\"";
    let refusal = "q.toml:2: clients on other machines can reach 0.0.0.0:1883, and no authentication is configured: listen on \
                   127.0.0.1 or [::1] instead, or name an authentication.password_file, or let everybody in with allow_anonymous = true (--allow-anonymous)";
    check(load(open, &[], &[]), &[refusal]);
    load(open, &[("QUELEA_ALLOW_ANONYMOUS", "yes")], &[]).expect("everybody is let in");
    load("[[listener]]\naddress = \"127.3.2.1:1883\"", &[], &[]).expect("this is loopback too");
}

/// A proxy on the same machine lets in whoever it lets in.
#[test]
fn listener_for_proxies_is_open_wherever_it_is() {
    let proxied = "proxy_protocol.trusted = [\"127.0.0.1\"]";
    let forwarded = "protocol = \"websocket\"\nforwarded_for.trusted = [\"127.0.0.1\"]";
    for (address, settings) in [
        ("127.0.0.1:1884", proxied),
        ("unix:/run/mqtt.sock", proxied),
        ("127.0.0.1:8083", forwarded),
        ("unix:/run/ws.sock", forwarded),
    ] {
        let file = format!("[[listener]]\naddress = \"{address}\"\n{settings}");
        let refusal = format!(
            "q.toml:2: clients on other machines can reach {address} through its proxies, and no authentication is configured: \
             name an authentication.password_file, or let everybody in with allow_anonymous = true (--allow-anonymous)"
        );
        check(load(&file, &[], &[]), &[&refusal]);
        load(&file, &[("QUELEA_ALLOW_ANONYMOUS", "yes")], &[]).expect("everybody is let in");
    }
}

#[test]
fn tls_of_a_listener_is_read() {
    let file = r#"
        [[listener]]
        address = "0.0.0.0:8883"
        connections_max = 7
        versions = ["5.0", "3.1.1"]
        keep_alive_max_secs = 300
        packet_bytes_max = "64 KiB"
        receive_maximum = 20
        tls = { certificate = ["a.pem", "b.pem"], key = ["a.key", "b.key"], client_ca = "ca.pem" }
        [[listener]]
        address = "127.0.0.1:8884"
        [listener.tls]
        certificate = "a.pem"
        key = "a.key"
        client_ca = "ca.pem"
        client_certificate = "optional"
        crl = "crl.pem"
        crl_expiry = "enforced"
        version_min = "1.3"
    "#;
    let loaded = load(file, &[], &[]).expect("it is not open: it demands certificates");
    let [first, second] = loaded.config.listeners.as_slice() else { panic!("there are two") };
    let tls = first.tls.as_ref().expect("it has TLS");
    assert_eq!(first.connections_max, Some(7));
    assert_eq!(first.versions, [MqttVersion::V5, MqttVersion::V311]);
    assert_eq!(tls.certificates, ["a.pem", "b.pem"].map(PathBuf::from));
    assert_eq!(tls.client_certificate, None);
    let tls = second.tls.as_ref().expect("it has TLS");
    assert_eq!(tls.client_certificate, Some(ClientCertificate::Optional));
    assert_eq!(tls.crl_expiry, CrlExpiry::Enforced);
    assert_eq!(tls.version_min, TlsVersion::V13);

    let shown = load(&loaded.to_toml(), &[], &[]).expect("what is shown is right");
    assert_eq!(shown.config, loaded.config);
}

#[test]
fn mistakes_in_tls_are_told() {
    check(
        load(
            r#"
[[listener]]
address = "127.0.0.1:1"
tls = { certificat = "a.pem", key = 7, version_min = "1.1" }
[[listener]]
address = "127.0.0.1:2"
connections_max = 0
versions = ["5"]
[[listener]]
address = "127.0.0.1:3"
tls = { certificate = ["a", "b"], key = "a", crl = "c" }
[[listener]]
address = "127.0.0.1:4"
tls.version_min = "1.2"
tls.crl_expiry = "enforced"
[[listener]]
address = "0.0.0.0:5"
tls = { certificate = "a", key = "b", client_ca = "c", client_certificate = "optional" }
"#,
            &[],
            &[],
        ),
        &[
            "q.toml:4: listener.tls.key must be a path or a list of paths, not 7",
            "q.toml:4: listener.tls.version_min must be \"1.2\" or \"1.3\", not \"1.1\"",
            "q.toml:4: there is no setting \"listener.tls.certificat\"; the nearest is \"listener.tls.certificate\"",
            "q.toml:7: listener.connections_max must be a number from 1 to 10,000,000, not 0",
            "q.toml:8: listener.versions must be a list with some of [\"3.1\", \"3.1.1\", \"5.0\"], not [\"5\"]",
            "q.toml:10: listener.tls.certificate has 2 files and listener.tls.key has 1: each certificate needs its key",
            "q.toml:10: listener.tls.crl is about clients: it needs listener.tls.client_ca",
            "q.toml:13: TLS needs listener.tls.certificate and listener.tls.key",
            "q.toml:13: listener.tls.crl_expiry is about lists: it needs listener.tls.crl",
            "q.toml:17: clients on other machines can reach 0.0.0.0:5, and no authentication is configured: listen on 127.0.0.1 \
             or [::1] instead, or name an authentication.password_file, or let everybody in with allow_anonymous = true (--allow-anonymous)",
        ],
    );
}

#[test]
fn websocket_of_a_listener_is_read() {
    let file = r#"
        allow_anonymous = true
        [[listener]]
        address = "127.0.0.1:8083"
        protocol = "websocket"
        path = "/ws"
        allowed_origins = ["https://app.example.com"]
        forwarded_for = { trusted = ["10.0.0.0/8", "::1"] }
    "#;
    let loaded = load(file, &[], &[]).expect("nothing is wrong");
    let listener = &loaded.config.listeners[0];
    assert_eq!(listener.protocol, Protocol::WebSocket);
    assert_eq!(listener.upgrade_rules().expect("it is one").path, "/ws");
    assert_eq!(listener.forwarded_for.len(), 2);
    let shown = load(&loaded.to_toml(), &[], &[]).expect("what is shown is right");
    assert_eq!(shown.config, loaded.config);

    check(
        load(
            r#"
[[listener]]
address = "127.0.0.1:1"
path = "/mqtt"
[[listener]]
address = "127.0.0.1:2"
protocol = "websocket"
path = "mqtt"
allowed_origins = ["app.example.com", "https://app.example.com/"]
[[listener]]
address = "127.0.0.1:3"
forwarded_for = { trusted = ["10.0.0.0/80"] }
"#,
            &[],
            &[],
        ),
        &[
            "q.toml:3: listener.path, listener.allowed_origins and listener.forwarded_for need protocol = \"websocket\"",
            "q.toml:6: app.example.com in listener.allowed_origins is no origin: write one as \"https://app.example.com\", or \
             \"*\" for all",
            "q.toml:6: https://app.example.com/ in listener.allowed_origins is no origin: write one as \
             \"https://app.example.com\", or \"*\" for all",
            "q.toml:6: listener.path must begin with /, and mqtt does not",
            "q.toml:12: listener.forwarded_for.trusted must be a list of addresses and networks, such as \"10.0.0.0/8\", not \
             [\"10.0.0.0/80\"]",
        ],
    );
}

#[test]
fn sockets_of_other_kinds_are_read() {
    let file = r#"
        [[listener]]
        address = "unix:/run/quelea/mqtt.sock"
        mode = "0666"
        owner = "quelea"
        group = "7"
        [[listener]]
        address = "systemd:mqtt"
        proxy_protocol = { trusted = ["10.0.0.1"] }
    "#;
    let loaded = load(file, &[("QUELEA_ALLOW_ANONYMOUS", "true")], &[]).expect("nothing is wrong");
    let [unix, inherited] = loaded.config.listeners.as_slice() else { panic!("there are two") };
    assert_eq!(unix.address, Address::Unix("/run/quelea/mqtt.sock".into()));
    let owner = Some("quelea".to_owned());
    assert_eq!(unix.unix, UnixFile { mode: 0o666, owner, group: Some("7".to_owned()) });
    assert_eq!(inherited.address, Address::Inherited("mqtt".to_owned()));
    assert_eq!(inherited.proxy_protocol.len(), 1);
    let shown = load(&loaded.to_toml(), &[], &[]).expect("what is shown is right");
    assert_eq!(shown.config, loaded.config);

    check(
        load(
            r#"
[[listener]]
address = "unix:a"
mode = "0888"
[[listener]]
address = "127.0.0.1:1"
mode = "0600"
[[listener]]
address = "systemd:mqtt"
[[listener]]
address = "unix:b"
[[listener]]
address = "unix:b"
"#,
            &[],
            &[],
        ),
        &[
            "q.toml:4: listener.mode must be permissions such as \"0660\", not \"0888\"",
            "q.toml:6: listener.mode, listener.owner and listener.group need an address that begins with unix:",
            "q.toml:9: clients on other machines can reach systemd:mqtt, and no authentication is configured: listen on \
             127.0.0.1 or [::1] instead, or name an authentication.password_file, or let everybody in with allow_anonymous = true (--allow-anonymous)",
            "q.toml:13: the listeners unix:b and unix:b are in each other's way",
        ],
    );
}

#[test]
fn contradictions_are_refused() {
    check(
        load("allow_anonymous = false", &[], &[]),
        &[
            "q.toml:1: allow_anonymous = false lets nobody in: name an authentication.password_file too",
        ],
    );
    check(
        load("[store]\nsegment_bytes = \"1 MiB\"\ndisk_bytes_max = 4_194_303", &[], &[]),
        &[
            "q.toml:3: store.disk_bytes_max is 4194303, which is less than 6 times store.segment_bytes, and that is 6291456",
        ],
    );
    check(
        load("", &[], &[("shards", "2"), ("shards", "3"), ("--shards", "4")]),
        &["--shards: shards is set by --set too"],
    );
    check(
        load("[limits]\nsession_expiry_max_secs = 60\nv3_session_expiry_secs = 61", &[], &[]),
        &["q.toml:3: limits.v3_session_expiry_secs is more than limits.session_expiry_max_secs"],
    );
    check(
        load(
            "",
            &[],
            &[("listener.address", "127.0.0.1:1883"), ("listener.address", "127.0.0.1:1883")],
        ),
        &["--set: the listeners 127.0.0.1:1883 and 127.0.0.1:1883 are in each other's way"],
    );
    check(
        load("[log]\nlevel = \"info,net=verbose\"", &[], &[]),
        &[
            "q.toml:2: \"verbose\" in log.level is no level: the levels are off, error, warn, info, debug, trace",
        ],
    );
    load("", &[("QUELEA_LISTEN", "127.0.0.1:0, 127.0.0.1:0")], &[])
        .expect("each gets its own port");
}

#[test]
fn flag_for_a_directory_needs_a_log() {
    check(
        load("[store]\ndurability = \"memory\"", &[], &[("--data-dir", "d")]),
        &[
            "--data-dir: nothing is kept in d with store.durability = \"memory\" (--in-memory): leave out one of them",
        ],
    );
    let directory = [("QUELEA_STORE_DATA_DIR", "d")];
    let loaded = load("[store]\ndata_dir = \"e\"", &directory, &[("store.durability", "memory")]);
    assert!(loaded.expect("the directory waits").config.store.is_in_memory());
}

/// A pod beside a Kubernetes service named `quelea` has these, whoever wrote its configuration.
#[test]
fn variables_of_others_are_passed_over() {
    let environment = [
        ("QUELEA_PORT", "tcp://10.0.0.1:1883"),
        ("QUELEA_PORT_1883_TCP_ADDR", "10.0.0.1"),
        ("QUELEA_SERVICE_HOST", "10.0.0.1"),
        ("QUELEA_CONFIG", "quelea.toml"),
        ("PATH", "/bin"),
    ];
    assert_eq!(load("", &environment, &[]).expect("nothing is wrong").config, Config::default());
}

#[test]
fn what_is_shown_loads_again() {
    let shown = load(
        "shards = 3\n[[listener]]\naddress = \"127.0.0.1:7\"\n[log]\nlevel = \"debug\"",
        &[],
        &[],
    );
    let shown = shown.expect("nothing is wrong");
    let text = shown.to_toml();
    assert!(text.contains("shards = 3  # q.toml:1\n"), "{text}");
    assert_eq!(load(&text, &[], &[]).expect("nothing is wrong").config, shown.config);
}

#[track_caller]
fn check(loaded: Result<Loaded, Mistakes>, expected: &[&str]) {
    let mistakes = loaded.expect_err("something is wrong");
    let messages: Vec<String> = mistakes.iter().map(ToString::to_string).collect();
    assert_eq!(messages, expected);
}

fn load(
    file: &str,
    environment: &[(&str, &str)],
    flags: &[(&str, &str)],
) -> Result<Loaded, Mistakes> {
    let pair = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
    // What is no key is a flag that has one.
    let flag = |(key, value): &(&str, &str)| {
        let (flag, key) = match *key {
            "--shards" => ("--shards", "shards"),
            "--data-dir" => ("--data-dir", "store.data_dir"),
            key => ("--set", key),
        };
        Flag { flag: flag.to_owned(), key: key.to_owned(), value: (*value).to_owned() }
    };
    Loaded::from_sources(&Sources {
        file: Some(("q.toml".to_owned(), file.to_owned())),
        environment: environment.iter().map(pair).collect(),
        flags: flags.iter().map(flag).collect(),
    })
}

#[test]
fn rules_are_read_in_their_order() {
    let file = "[[acl]]\nuser = \"admin\"\nallow = [\"publish\", \"subscribe\"]\ntopics = [\"#\", \"$SYS/#\"]\n\
        [[acl]]\ngroup = \"device\"\nallow = [\"publish\"]\ntopics = [\"site/${site}/device/%c/#\"]\nqos_max = 1\nretain = false\n\
        [[acl]]\ndeny = [\"subscribe\"]\ntopics = [\"+/private/#\"]\n";
    let loaded = load(file, &[], &[]).expect("nothing is wrong");
    let rules = &loaded.config.acl;
    assert_eq!(rules.len(), 3);
    assert_eq!((rules[1].qos_max, rules[1].retain), (Some(1), Some(false)));
    assert!(rules[2].origin.ends_with(":11"), "{}", rules[2].origin);
    // What is shown would make the same.
    let again = load(&loaded.to_toml(), &[], &[]).expect("it can be read").config;
    let without_lines = |rules: &[AclRule]| -> Vec<AclRule> {
        rules.iter().map(|it| AclRule { origin: String::new(), ..it.clone() }).collect()
    };
    assert_eq!(without_lines(&again.acl), without_lines(rules));
}

#[test]
fn every_mistake_of_a_rule_is_named() {
    let file = "[[acl]]\nusr = \"a\"\nallow = [\"publish\"]\ntopics = [\"a\"]\n\
        [[acl]]\nallow = [\"write\"]\ntopics = [\"a\"]\n\
        [[acl]]\nallow = [\"publish\"]\ntopics = [\"a/#/b\"]\n\
        [[acl]]\ndeny = [\"publish\"]\ntopics = [\"a\"]\nretain = false\n\
        [[acl]]\ntopics = [\"$share/g/a\"]\n\
        [[acl]]\nallow = [\"publish\"]\ntopics = [\"$share/g/a\"]\nqos_max = 3\n";
    let mistakes = load(file, &[], &[]).expect_err("much is wrong").to_string();
    for (line, text) in [
        (2, "there is no setting \"acl.usr\"; the nearest is \"acl.user\""),
        (6, "\"write\" is neither"),
        (8, "\"a/#/b\" in topics is no topic filter"),
        (11, "qos_max and retain bound"),
        (15, "needs allow or deny"),
        (20, "acl.qos_max must be a number from 0 to 2"),
    ] {
        let is_there = |it: &str| it.contains(&format!(":{line}: ")) && it.contains(text);
        assert!(mistakes.lines().any(is_there), "{line} {text}\n{mistakes}");
    }
}
