//! A listener of Mosquitto, and the tables that become of it.

use std::fmt::Write as _;
use std::net::IpAddr;

use super::directive::{Directive, Line};
use super::draft::quoted;

/// What has been said of a listener.
pub(super) struct Listener {
    pub(super) at: Line,
    port: Option<u16>,
    /// An address, or the path of a Unix socket.
    bind: Option<String>,
    options: Vec<Directive>,
}

impl Listener {
    /// The one that global options are about.
    pub(super) fn default_at(at: Line) -> Self {
        Self { at, port: None, bind: None, options: Vec::new() }
    }

    /// Reads `listener PORT [ADDRESS]`.
    pub(super) fn read(directive: &Directive) -> Result<Self, String> {
        let (port, bind) = match directive.value.split_once(char::is_whitespace) {
            Some((port, bind)) => (port, Some(bind.trim().to_owned())),
            None => (directive.value.as_str(), None),
        };
        let port = port.parse().map_err(|_| {
            format!("{}: {} is no port: this listener is left out", directive.at, quoted(port))
        })?;
        Ok(Self { at: directive.at.clone(), port: Some(port), bind, options: Vec::new() })
    }

    /// Takes an option of the listener.
    pub(super) fn take(&mut self, directive: &Directive) {
        match directive.key.as_str() {
            "port" => self.port = directive.value.parse().ok(),
            "bind_address" => self.bind = Some(directive.value.clone()),
            _ => {
                self.options.retain(|it| it.key != directive.key);
                self.options.push(directive.clone());
            }
        }
    }

    /// Returns an option, if it was given.
    pub(super) fn option(&self, key: &str) -> Option<&Directive> {
        self.options.iter().find(|it| it.key == key)
    }

    /// Returns whether anything was said of where it is.
    pub(super) fn is_placed(&self) -> bool {
        self.port.is_some() || self.bind.is_some()
    }

    /// Returns whether clients must show a certificate.
    pub(super) fn demands_certificate(&self) -> bool {
        self.is("require_certificate") && self.option("certfile").is_some()
    }

    /// Returns the option by which the certificate names the user, and where it does. The password does not count then.
    pub(super) fn identity(&self) -> Option<(&Directive, &'static str)> {
        let option = |key| self.option(key).filter(|it| it.value == "true");
        let by_name = option("use_identity_as_username").map(|it| (it, "cn"));
        by_name.or_else(|| option("use_subject_as_username").map(|it| (it, "subject")))
    }

    fn is(&self, key: &str) -> bool {
        self.option(key).is_some_and(|it| it.value == "true")
    }

    /// Writes its tables: two where Mosquitto would listen on both families.
    pub(super) fn write(&self, out: &mut String, notes: &mut Vec<String>) {
        let addresses = self.addresses(notes);
        let keys = self.keys(notes);
        for address in addresses {
            let _ = write!(
                out,
                "\n[[listener]]\naddress = {}  # {}\n{keys}",
                quoted(&address),
                self.at
            );
        }
    }

    fn addresses(&self, notes: &mut Vec<String>) -> Vec<String> {
        let port = self.port.unwrap_or(1883);
        match self.bind.as_deref() {
            Some(path) if port == 0 && path.starts_with('/') => vec![format!("unix:{path}")],
            Some("localhost") => vec![format!("127.0.0.1:{port}"), format!("[::1]:{port}")],
            Some(host) => match host.parse::<IpAddr>() {
                Ok(ip) => vec![std::net::SocketAddr::new(ip, port).to_string()],
                Err(_) => {
                    notes.push(format!(
                        "{}: {} is no IP address, and names are not looked up: this listener is left out",
                        self.at,
                        quoted(host)
                    ));
                    Vec::new()
                }
            },
            None if !self.is_placed() => vec![format!("127.0.0.1:{port}"), format!("[::1]:{port}")],
            None => {
                let (v4, v6) = (format!("0.0.0.0:{port}"), format!("[::]:{port}"));
                match self.option("socket_domain").map(|it| it.value.as_str()) {
                    Some("ipv4") => vec![v4],
                    Some("ipv6") => vec![v6],
                    _ => vec![v4, v6],
                }
            }
        }
    }

    fn keys(&self, notes: &mut Vec<String>) -> String {
        let mut out = String::new();
        let mut add = |name: &str, value: &str, from: &Line| {
            let _ = writeln!(out, "{name} = {value}  # {from}");
        };
        for option in &self.options {
            let (value, at) = (option.value.as_str(), &option.at);
            let mut lose =
                |why: &str| notes.push(format!("{at}: {} is not carried over: {why}", option.key));
            match option.key.as_str() {
                "protocol" => match value {
                    "mqtt" => {}
                    "websockets" => add("protocol", "\"websocket\"", at),
                    _ => lose("it is neither mqtt nor websockets"),
                },
                "max_connections" => match value.parse::<i64>() {
                    Ok(1..=10_000_000) => add("connections_max", value, at),
                    Ok(_) => {}
                    Err(_) => lose("it is no number"),
                },
                "certfile" => add("tls.certificate", &quoted(value), at),
                "keyfile" => add("tls.key", &quoted(value), at),
                // Without `require_certificate` Mosquitto asks for no certificate, and these are for nothing.
                "cafile" if self.demands_certificate() => add("tls.client_ca", &quoted(value), at),
                "crlfile" if self.demands_certificate() => add("tls.crl", &quoted(value), at),
                "require_certificate"
                    if self.demands_certificate() && self.option("cafile").is_none() =>
                {
                    lose(
                        "it needs the authorities in one file, cafile: write tls.client_ca yourself",
                    );
                    // Without it the listener would ask nobody for a certificate.
                    add("tls.client_certificate", "\"required\"", at);
                }
                "cafile" | "crlfile" | "require_certificate" | "socket_domain" => {}
                "capath" => {
                    lose("write the authorities into one file, and name it with tls.client_ca")
                }
                "tls_version" => match value {
                    "tlsv1.3" => add("tls.version_min", "\"1.3\"", at),
                    "tlsv1.2" => add("tls.version_min", "\"1.2\"", at),
                    _ => lose("TLS begins with version 1.2"),
                },
                "ciphers" | "ciphers_tls1.3" => {
                    lose("cipher suites have other names here: see tls.cipher_suites")
                }
                "mount_point" => lose(
                    "all listeners share their topics: clients of this one see and are seen by all others",
                ),
                "use_identity_as_username" | "use_subject_as_username"
                    if self.identity().is_some_and(|(it, _)| it.key == option.key) =>
                {
                    add("authentication.chain", "[\"certificate\"]", at);
                    // Mosquitto refuses a certificate without a name, whoever may come in without one.
                    add("authentication.allow_anonymous", "false", at);
                }
                "use_username_as_clientid" if value == "true" => {
                    lose("a user can have any client id here, and its sessions are its own");
                }
                "bind_interface" => lose("name the address of the interface instead"),
                "http_dir" => lose("no files are served"),
                "psk_hint" | "psk_file" => lose("TLS with pre-shared keys is not spoken"),
                "tls_engine" | "tls_engine_kpass_sha1" | "tls_keyform" => {
                    lose("keys are read from files only")
                }
                // Said once for all listeners, by the translation.
                _ => {}
            }
        }
        out
    }
}
