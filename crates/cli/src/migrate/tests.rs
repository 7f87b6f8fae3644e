use quelea_broker::Config;
use quelea_broker::config::{
    Address, CertificateField, Durability, ListenerAuthentication, Loaded, Protocol, SourceName,
    Sources,
};

use super::directive::parse;
use super::translation::Translation;

#[test]
fn a_plain_broker_for_everybody() {
    let (config, notes) = migrate(
        "listener 1883\nallow_anonymous true\npersistence true\npersistence_location /var/lib/mosquitto/\n\
         max_queued_messages 0\nmax_inflight_messages 50\nmessage_size_limit 1000\nlog_type error\nlog_type warning\n\
         persistent_client_expiration 14d\nmax_packet_size 100000\nsys_interval 30\nretain_available false\n",
    );
    assert_eq!(notes, Vec::<String>::new());
    assert_eq!(addresses(&config), ["0.0.0.0:1883", "[::]:1883"]);
    assert_eq!(config.allow_anonymous, Some(true));
    assert_eq!(config.store.durability, Durability::Fsync);
    assert_eq!(config.store.data_dir.to_str(), Some("/var/lib/mosquitto/quelea"));
    let limits = &config.limits;
    assert_eq!((limits.receive_maximum, limits.send_window_max), (50, 50));
    assert_eq!(limits.queued_messages_max, 100_000_000, "as many as there may be");
    assert_eq!((limits.session_expiry_max_secs, limits.packet_bytes_max), (1_209_600, 100_000));
    assert!(!limits.retain_available);
    assert_eq!(config.rates.payload_bytes_max, Some(1_000));
    assert_eq!((config.sys.interval_secs, config.log.level.as_str()), (30, "warn"));
}

#[test]
fn an_empty_file_is_this_machine_only() {
    let (config, notes) = migrate("# nothing\n\n");
    assert_eq!(
        (notes.len(), config.listeners, config.allow_anonymous),
        (0, Config::default().listeners, None)
    );
    assert_eq!(config.store.durability, Durability::Memory);
}

#[test]
fn listeners_of_every_kind() {
    let (config, notes) = migrate(
        "allow_anonymous true\nport 1884\nbind_address 127.0.0.1\nmax_connections 100\n\
         listener 8883 192.0.2.1\ncertfile /c.pem\nkeyfile /k.pem\ncafile /ca.pem\nrequire_certificate true\ntls_version tlsv1.3\n\
         crlfile /crl.pem\nmax_connections -1\n\
         listener 8443\nsocket_domain ipv6\nprotocol websockets\ncafile /ca.pem\ncertfile /c.pem\nkeyfile /k.pem\n\
         listener 0 /run/mosquitto.sock\n",
    );
    assert_eq!(notes, Vec::<String>::new());
    let expected = ["127.0.0.1:1884", "192.0.2.1:8883", "[::]:8443", "unix:/run/mosquitto.sock"];
    assert_eq!(addresses(&config), expected);
    assert_eq!(config.listeners[0].connections_max, Some(100));
    let tls = config.listeners[1].tls.as_ref().expect("it speaks TLS");
    assert_eq!((tls.client_cas.len(), tls.crls.len(), tls.version_min.as_str()), (1, 1, "1.3"));
    assert_eq!(config.listeners[1].connections_max, None);
    // A file of authorities alone asks nobody for a certificate.
    let websocket = &config.listeners[2];
    assert_eq!(websocket.protocol, Protocol::WebSocket);
    assert!(websocket.tls.as_ref().is_some_and(|tls| tls.client_cas.is_empty()));
    assert!(matches!(config.listeners[3].address, Address::Unix(_)));
}

/// A certificate is the proof; nothing else is asked for.
#[test]
fn certificates_alone_let_clients_in() {
    let (config, notes) = migrate(
        "listener 8883\ncertfile /c.pem\nkeyfile /k.pem\ncafile /ca.pem\nrequire_certificate true\nallow_anonymous false\n",
    );
    assert_eq!(notes, Vec::<String>::new());
    assert_eq!(config.allow_anonymous, None);
}

/// Where certificates name the users, no password is asked for; elsewhere nothing but one is.
#[test]
fn certificates_name_users_where_they_did() {
    let tls = "certfile /c.pem\nkeyfile /k.pem\ncafile /ca.pem\nrequire_certificate true\n";
    let (config, notes) = migrate(&format!(
        "password_file /p\nlistener 1883 127.0.0.1\nlistener 8883\n{tls}use_identity_as_username true\n"
    ));
    assert_eq!(notes, Vec::<String>::new());
    let by_password = vec![SourceName::PasswordFile];
    assert_eq!(config.authentication.chain, Some(by_password));
    assert_eq!(config.authentication.certificate.user, Some(CertificateField::CommonName));
    assert_eq!(config.listeners[0].authentication, ListenerAuthentication::default());
    for listener in &config.listeners[1..] {
        let own = &listener.authentication;
        assert_eq!(own.chain, Some(vec![SourceName::Certificate]));
        assert_eq!(own.allow_anonymous, Some(false));
    }
    let (config, notes) = migrate(&format!(
        "listener 8883\n{tls}use_subject_as_username true\nallow_anonymous true\n"
    ));
    assert_eq!(notes, Vec::<String>::new());
    assert_eq!(config.authentication.chain, None);
    assert_eq!(config.authentication.certificate.user, Some(CertificateField::Subject));

    let notes = translate(&format!(
        "listener 8883\n{tls}use_subject_as_username true\nlistener 8884\n{tls}use_identity_as_username true\n"
    ))
    .notes;
    assert!(notes[0].contains("use_identity_as_username is not carried over"), "{notes:?}");
    // Mosquitto lets nobody in here either.
    let notes =
        translate("listener 8883\ncertfile /c\nkeyfile /k\nuse_identity_as_username true\n").notes;
    assert!(notes[0].starts_with("to be done by hand"), "{notes:?}");
}

/// What kept strangers out and cannot be carried over must not let them in.
#[test]
fn what_is_lost_opens_nothing() {
    for text in [
        "listener 1883\n",
        "listener 1883\nallow_anonymous false\n",
        "listener 1883\nallow_anonymous false\nplugin /usr/lib/mosquitto_dynamic_security.so\n",
        "listener 1883\npsk_file /psk\n",
        "listener 1883\nallow_anonymous true\npsk_file /psk\n",
        "plugin /p.so\nlistener 1883\nallow_anonymous true\n",
        "clientid_prefixes a-\nlistener 1883\nallow_anonymous true\n",
        "per_listener_settings true\nlistener 1883\nallow_anonymous true\nlistener 1884\nallow_anonymous false\n",
        "per_listener_settings true\nlistener 1883\nallow_anonymous true\nlistener 1884\n",
        "per_listener_settings true\nlistener 1883\nallow_anonymous true\npassword_file /a\n\
         listener 1884\nallow_anonymous true\npassword_file /b\n",
    ] {
        let text = translate(text).text;
        assert!(!text.contains("allow_anonymous = true"), "{text}");
        assert!(text.contains("allow_anonymous = false"), "{text}");
    }
    // Files that say who may do what are either named in the result, or nobody is let in.
    for (key, line) in [("password_file", "password_file /p"), ("acl_file", "acl_file /a")] {
        let text = translate(&format!("listener 1883\nallow_anonymous true\n{line}\n")).text;
        let is_carried = text.contains(&format!("{key} = \"/"));
        assert!(is_carried || text.contains("allow_anonymous = false"), "{text}");
    }
}

#[test]
fn what_is_not_carried_over_is_said_with_its_line() {
    let notes = translate(
        "listener 1883 localhost\nallow_anonymous true\nmax_inflight_bytes 5\nmax_conections 4\nmount_point a/\n\
         connection bridge-1\naddress mqtt.example.com:8883\ntopic # both 1\nbridge_cafile /ca\n\
         log_dest syslog\nauth_opt_backends files\nmax_keepalive soon\nlistener x\nlistener 1884 my.host\n",
    )
    .notes;
    let expected = [
        "m.conf:3: max_inflight_bytes is not carried over",
        "m.conf:4: max_conections is not carried over: Mosquitto has no such option",
        "m.conf:6: connection is not carried over: bridges are not there yet (bridge bridge-1)",
        "m.conf:7: address is not carried over",
        "m.conf:8: topic is not carried over",
        "m.conf:9: bridge_cafile is not carried over",
        "m.conf:10: log_dest is not carried over",
        "m.conf:11: auth_opt_backends is not carried over: plugins of Mosquitto are not loaded",
        "m.conf:12: max_keepalive is not carried over: it is no number",
        "m.conf:13: \"x\" is no port: this listener is left out",
        "m.conf:5: mount_point is not carried over: all listeners share their topics",
        "m.conf:14: \"my.host\" is no IP address",
    ];
    assert_eq!(notes.len(), expected.len(), "{notes:#?}");
    for (note, start) in notes.iter().zip(expected) {
        assert!(note.starts_with(start), "{note} does not start with {start}");
    }
}

/// Values are texts of TOML whatever is in them.
#[test]
fn nothing_in_a_value_ends_it() {
    let (config, _) = migrate(
        "listener 0 /run/a\"]\n[limits\\u.sock\nlistener 1 127.0.0.1\nallow_anonymous true\n",
    );
    assert_eq!(addresses(&config), ["unix:/run/a\"]", "127.0.0.1:1"]);
}

/// Whatever the values are, the result is TOML: what may be wrong with it is a matter of its settings.
#[test]
fn odd_values_make_no_broken_files() {
    let values = [
        "",
        " ",
        "-1",
        "0",
        "65536",
        "99999999999999999999",
        "true",
        "\"",
        "\\",
        "0 /a",
        "1883 ::1",
        "1 \u{7f}",
        "\u{1}x",
        "a\u{0}b",
        "é",
        "9h",
        "99999999999999999999y",
        "mh",
        "'''",
        "\"\"\"",
        "[x]",
        "#",
        "a = b",
        "tlsv1.2",
    ];
    for key in OPTIONS.split_whitespace() {
        for value in values {
            let text =
                format!("listener 1883\n{key} {value}\n{key} {value}\nallow_anonymous true\n");
            let other = format!("per_listener_settings true\n{text}listener 2\ncertfile {value}\n");
            for text in [text, other] {
                let translation = translate(&text);
                let mut notes = translation.notes.iter();
                let broken = notes.find(|note| note.contains("this is not TOML"));
                assert_eq!(broken, None, "{text}\n{}", translation.text);
            }
        }
    }
    let named = Translation::of(&parse("a\n[b]\u{7f}", "sys_interval 3\n"));
    assert!(named.text.contains("interval_secs = 3  # a\u{fffd}[b]\u{fffd}:1\n"), "{}", named.text);
}

/// Mosquitto's own example: every option there is, each in a comment with its default.
#[test]
fn every_option_of_mosquitto_is_known() {
    let unknown: Vec<&str> =
        OPTIONS.split_whitespace().filter(|it| super::settings::fate_of(it).is_none()).collect();
    assert_eq!(unknown, Vec::<&str>::new());
}

#[track_caller]
fn migrate(text: &str) -> (Config, Vec<String>) {
    let translation = translate(text);
    let file = Some(("result.toml".to_owned(), translation.text.clone()));
    match Loaded::from_sources(&Sources { file, ..Sources::default() }) {
        Ok(loaded) => (loaded.config, translation.notes),
        Err(mistakes) => panic!("{mistakes}\n{}", translation.text),
    }
}

fn translate(text: &str) -> Translation {
    Translation::of(&parse("m.conf", text))
}

fn addresses(config: &Config) -> Vec<String> {
    config.listeners.iter().map(|it| it.address.to_string()).collect()
}

/// The options that mosquitto.conf(5) of Mosquitto 2.0 names, but for `include_dir`.
const OPTIONS: &str = "
    acl_file allow_anonymous allow_duplicate_messages allow_zero_length_clientid auth_plugin
    auth_plugin_deny_special_chars auto_id_prefix autosave_interval autosave_on_changes check_retain_source
    clientid_prefixes connection_messages log_dest log_facility log_timestamp log_timestamp_format log_type
    max_inflight_bytes max_inflight_messages max_keepalive max_packet_size max_queued_bytes max_queued_messages
    memory_limit message_size_limit password_file per_listener_settings persistence persistence_file
    persistence_location persistent_client_expiration pid_file psk_file queue_qos0_messages retain_available
    set_tcp_nodelay sys_interval upgrade_outgoing_qos user bind_address bind_interface http_dir listener
    max_connections max_qos max_topic_alias mount_point port protocol socket_domain use_username_as_clientid
    websockets_log_level websockets_headers_size cafile capath certfile ciphers ciphers_tls1.3 crlfile dhparamfile
    keyfile require_certificate tls_engine tls_engine_kpass_sha1 tls_keyform tls_version use_identity_as_username
    use_subject_as_username psk_hint address addresses bridge_attempt_unsubscribe bridge_bind_address
    bridge_max_packet_size bridge_outgoing_retain bridge_protocol_version cleansession local_cleansession connection
    keepalive_interval idle_timeout local_clientid local_password local_username notifications
    notifications_local_only notification_topic remote_clientid remote_password remote_username restart_timeout
    round_robin start_type threshold topic try_private bridge_alpn bridge_cafile bridge_capath bridge_certfile
    bridge_identity bridge_insecure bridge_keyfile bridge_psk bridge_require_ocsp bridge_tls_version";
