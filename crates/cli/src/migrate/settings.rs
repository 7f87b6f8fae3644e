//! What becomes of each option of Mosquitto: a row for each.

/// What becomes of an option.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// Belongs to a listener; `listener.rs` knows more.
    Listener,
    /// Says who may connect; with `per_listener_settings` it belongs to a listener.
    Access,
    /// A number for these settings; the second number stands for 0, which means no limit there.
    Number(&'static [&'static str], u64),
    /// true or false for this setting.
    Switch(&'static str),
    /// Handled by itself, in `translation.rs`.
    Special,
    /// Quelea does without, or always does it: nothing is lost.
    Needless,
    /// Begins a bridge, or belongs to one.
    Bridge,
    /// Cannot be carried over, for this reason.
    Lost(&'static str),
}

/// Returns what becomes of an option; nothing if Mosquitto has none of this name.
pub(super) fn fate_of(key: &str) -> Option<Fate> {
    let known = FATES.iter().find(|(keys, _)| keys.contains(&key)).map(|(_, fate)| *fate);
    let is_plugins = ["plugin_opt_", "auth_opt_"].iter().any(|it| key.starts_with(it));
    let is_bridges = key.starts_with("bridge_");
    known
        .or(is_plugins.then_some(Fate::Lost("plugins of Mosquitto are not loaded")))
        .or(is_bridges.then_some(Fate::Bridge))
}

const FATES: &[(&[&str], Fate)] = &[
    (
        &[
            "listener",
            "port",
            "bind_address",
            "socket_domain",
            "protocol",
            "max_connections",
            "cafile",
            "capath",
            "certfile",
            "keyfile",
            "crlfile",
            "require_certificate",
            "tls_version",
            "ciphers",
            "ciphers_tls1.3",
            "bind_interface",
            "mount_point",
            "http_dir",
            "max_qos",
            "max_topic_alias",
            "use_identity_as_username",
            "use_subject_as_username",
            "use_username_as_clientid",
            "psk_hint",
            "tls_engine",
            "tls_engine_kpass_sha1",
            "tls_keyform",
        ],
        Fate::Listener,
    ),
    (&["allow_anonymous", "password_file", "acl_file", "psk_file"], Fate::Access),
    (
        &["max_inflight_messages"],
        Fate::Number(&["limits.receive_maximum", "limits.send_window_max"], 65_535),
    ),
    (&["max_queued_messages"], Fate::Number(&["limits.queued_messages_max"], u64::MAX)),
    (&["max_queued_bytes"], Fate::Number(&["limits.queued_bytes_max"], u64::MAX)),
    (&["max_packet_size"], Fate::Number(&["limits.packet_bytes_max"], u64::MAX)),
    (&["message_size_limit"], Fate::Number(&["rates.payload_bytes_max"], u64::MAX)),
    (&["max_keepalive"], Fate::Number(&["limits.keep_alive_max_secs"], 0)),
    (&["sys_interval"], Fate::Number(&["sys.interval_secs"], 0)),
    (&["memory_limit"], Fate::Number(&["overload.memory_bytes_max"], u64::MAX)),
    (&["queue_qos0_messages"], Fate::Switch("limits.queue_qos0_offline")),
    (&["retain_available"], Fate::Switch("limits.retain_available")),
    (
        &[
            "persistence",
            "persistence_location",
            "persistent_client_expiration",
            "per_listener_settings",
            "log_type",
        ],
        Fate::Special,
    ),
    (
        &[
            "set_tcp_nodelay",
            "persistence_file",
            "autosave_interval",
            "autosave_on_changes",
            "dhparamfile",
            "allow_duplicate_messages",
            "websockets_headers_size",
            "websockets_log_level",
            "user",
            "pid_file",
            "log_timestamp",
            "log_timestamp_format",
            "connection_messages",
            "check_retain_source",
            "store_clean_interval",
            "retry_interval",
            "enable_control_api",
            "auto_id_prefix",
            "allow_zero_length_clientid",
        ],
        Fate::Needless,
    ),
    (
        &[
            "connection",
            "address",
            "addresses",
            "topic",
            "keepalive_interval",
            "idle_timeout",
            "restart_timeout",
            "start_type",
            "threshold",
            "try_private",
            "round_robin",
            "notifications",
            "notifications_local_only",
            "notification_topic",
            "remote_clientid",
            "remote_username",
            "remote_password",
            "local_clientid",
            "local_username",
            "local_password",
            "local_cleansession",
            "cleansession",
            "clientid",
            "username",
            "password",
        ],
        Fate::Bridge,
    ),
    (&["max_inflight_bytes"], Fate::Lost("what is in flight is limited by messages only")),
    (
        &["clientid_prefixes"],
        Fate::Lost("clients are not told apart by their client ids alone; write an ACL"),
    ),
    (
        &["upgrade_outgoing_qos"],
        Fate::Lost("messages go out with the lower of two QoS, as the specification says"),
    ),
    (
        &["auth_plugin", "plugin", "global_plugin", "auth_plugin_deny_special_chars"],
        Fate::Lost("plugins of Mosquitto are not loaded"),
    ),
    (
        &["log_dest", "log_facility"],
        Fate::Lost("the log goes to standard error, and from there to the journal"),
    ),
];
