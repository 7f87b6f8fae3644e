//! The keys of a `[[listener]]`: a row for each.
//!
//! Reading the file, naming the nearest known key, `quelea config show`, the example and the reference in the
//! documentation all come from the rows.

use std::path::PathBuf;

use toml::Spanned;
use toml::de::DeValue;

use super::listener::{
    Address, ClientCertificate, CrlExpiry, Listener, MqttVersion, Protocol, Tls, TlsVersion,
    read_address,
};
use super::value::{Raw, Value, quoted};
use super::{Kind, Network, SourceName, TakesEffect};

/// A key of a listener.
pub(super) struct ListenerKey {
    /// The key; those of the table `tls` begin with `tls.`.
    pub(super) name: &'static str,
    /// What its values are, in words.
    pub(super) values: &'static str,
    /// What it means.
    pub(super) doc: &'static str,
    /// A value that could be set, as TOML.
    pub(super) sample: &'static str,
    pub(super) read: fn(&mut Listener, &Given) -> Result<(), String>,
    pub(super) show: fn(&Listener) -> Option<String>,
}

impl ListenerKey {
    /// Returns whether only a Unix socket has it.
    pub(super) fn is_for_unix(&self) -> bool {
        matches!(self.name, "mode" | "owner" | "group")
    }

    /// Returns when a change of it takes effect.
    pub(super) fn takes_effect(&self) -> TakesEffect {
        match self.name.starts_with("authentication.") {
            true => TakesEffect::AtOnce,
            false => TakesEffect::AtRestart,
        }
    }
}

/// A value as it was written.
pub(super) enum Given {
    Number(i128),
    Text(String),
    Texts(Vec<String>),
    /// Something that no key takes, as it was written.
    Other(String),
}

impl Given {
    pub(super) fn new(value: &Spanned<DeValue<'_>>, text: &str) -> Self {
        let as_text = |value: &Spanned<DeValue<'_>>| value.get_ref().as_str().map(str::to_owned);
        match value.get_ref() {
            DeValue::String(text) => Self::Text(text.clone().into_owned()),
            DeValue::Integer(integer) => {
                let number = i128::from_str_radix(integer.as_str(), integer.radix());
                Self::Number(number.unwrap_or(i128::MAX))
            }
            DeValue::Array(values) => match values.iter().map(as_text).collect() {
                Some(texts) => Self::Texts(texts),
                None => Self::Other(text.to_owned()),
            },
            DeValue::Boolean(_) | DeValue::Float(_) | DeValue::Datetime(_) | DeValue::Table(_) => {
                Self::Other(text.to_owned())
            }
        }
    }

    pub(super) fn written(&self) -> String {
        match self {
            Self::Number(number) => number.to_string(),
            Self::Text(text) => quoted(text),
            Self::Texts(texts) => list(texts.iter().map(String::as_str)),
            Self::Other(text) => text.clone(),
        }
    }

    pub(super) fn texts(&self) -> Result<Vec<String>, String> {
        match self {
            Self::Text(text) if !text.is_empty() => Ok(vec![text.clone()]),
            Self::Texts(texts) if texts.iter().all(|text| !text.is_empty()) => Ok(texts.clone()),
            _ => Err(format!("must be a text or a list of texts, not {}", self.written())),
        }
    }

    pub(super) fn switch(&self) -> Result<bool, String> {
        let Self::Other(text) = self else {
            return Err(format!("must be true or false, not {}", self.written()));
        };
        text.parse().map_err(|_| format!("must be true or false, not {text}"))
    }

    fn paths(&self) -> Result<Vec<PathBuf>, String> {
        match self.texts() {
            // None at all would switch off what is asked for by its being there.
            Ok(texts) if !texts.is_empty() => Ok(texts.into_iter().map(PathBuf::from).collect()),
            Ok(_) | Err(_) => {
                Err(format!("must be a path or a list of paths, not {}", self.written()))
            }
        }
    }

    fn networks(&self) -> Result<Vec<Network>, String> {
        let networks = self.texts().ok().filter(|texts| !texts.is_empty()).and_then(|texts| {
            texts.iter().map(|text| Network::read(text)).collect::<Option<Vec<_>>>()
        });
        networks.ok_or_else(|| {
            format!(
                "must be a list of addresses and networks, such as \"10.0.0.0/8\", not {}",
                self.written()
            )
        })
    }

    fn versions(&self) -> Result<Vec<MqttVersion>, String> {
        let kind = Kind::Choice(MqttVersion::WORDS);
        let version = |text: &String| MqttVersion::read(Raw::String(text), &kind).ok();
        let versions = self.texts().ok().filter(|texts| !texts.is_empty());
        versions.and_then(|texts| texts.iter().map(version).collect::<Option<Vec<_>>>()).ok_or_else(
            || {
                let words = list(MqttVersion::WORDS.iter().copied());
                format!("must be a list with some of {words}, not {}", self.written())
            },
        )
    }

    fn chain(&self) -> Result<Vec<SourceName>, String> {
        let kind = Kind::List(&Kind::Choice(SourceName::WORDS));
        let expected = || format!("must be {}, not {}", kind.describe(), self.written());
        let Self::Texts(texts) = self else { return Err(expected()) };
        let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
        Vec::read(Raw::Strings(&texts), &kind)
    }

    fn mode(&self) -> Result<u32, String> {
        let mode = match self {
            Self::Text(text) => u32::from_str_radix(text, 8).ok().filter(|mode| *mode <= 0o777),
            _ => None,
        };
        mode.ok_or_else(|| format!("must be permissions such as \"0660\", not {}", self.written()))
    }

    pub(super) fn value<T: Value>(&self, kind: &Kind) -> Result<T, String> {
        match self {
            Self::Text(text) => T::read(Raw::String(text), kind),
            Self::Number(number) => T::read(Raw::Integer(*number), kind),
            Self::Texts(_) | Self::Other(_) => {
                Err(format!("must be {}, not {}", kind.describe(), self.written()))
            }
        }
    }
}

/// Returns every key, in the order of the documentation.
pub(super) fn keys() -> impl Iterator<Item = &'static ListenerKey> {
    KEYS.iter()
}

fn tls(listener: &mut Listener) -> &mut Tls {
    listener.tls.get_or_insert_default()
}

/// Puts a value that was right in its place.
pub(super) fn put<T>(place: &mut T, value: Result<T, String>) -> Result<(), String> {
    *place = value?;
    Ok(())
}

pub(super) fn list<'a>(texts: impl Iterator<Item = &'a str>) -> String {
    let quoted: Vec<String> = texts.map(quoted).collect();
    format!("[{}]", quoted.join(", "))
}

/// Shows one text as a text, several as a list, none not at all.
fn show_paths(paths: &[PathBuf]) -> Option<String> {
    match paths {
        [] => None,
        [path] => Some(quoted(&path.to_string_lossy())),
        paths => {
            let texts: Vec<_> = paths.iter().map(|path| path.to_string_lossy()).collect();
            Some(list(texts.iter().map(AsRef::as_ref)))
        }
    }
}

fn show_networks(networks: &[Network]) -> Option<String> {
    let texts: Vec<String> = networks.iter().map(ToString::to_string).collect();
    (!texts.is_empty()).then(|| list(texts.iter().map(String::as_str)))
}

fn show_tls<T: Value>(
    listener: &Listener,
    field: impl FnOnce(&Tls) -> Option<T>,
) -> Option<String> {
    listener.tls.as_ref().and_then(field)?.show()
}

const CONNECTIONS: Kind = Kind::Count(1..=10_000_000);

const KEEP_ALIVE: Kind = Kind::Secs(1..=65_535);

const PACKET_BYTES: Kind = Kind::Bytes(1_024..=268_435_460);

const RECEIVE_MAXIMUM: Kind = Kind::Count(1..=65_535);

const MESSAGES: Kind = Kind::Count(1..=1_000_000_000);

const BYTES: Kind = Kind::Bytes(1..=4_294_967_295);

const KEYS: &[ListenerKey] = &[
    ListenerKey {
        name: "address",
        values: "an IP address and a port, unix:PATH, or systemd:NAME",
        doc: "Port 0 takes any free port; the log says which. Without any listener the broker takes `127.0.0.1:1883` and \
              `[::1]:1883`, and starts without the latter on a host that has no IPv6. On an address that others can reach it \
              starts only with an `authentication.password_file`, with `allow_anonymous = true`, or if the listener demands a \
              certificate of its clients. `unix:/run/quelea/mqtt.sock` is the file of a Unix socket, and `systemd:mqtt` a \
              socket that systemd has opened, of a `.socket` unit with `FileDescriptorName=mqtt`.",
        sample: "\"0.0.0.0:8883\"",
        read: |listener, given| match given {
            Given::Text(text) => put(&mut listener.address, read_address(text)),
            other => read_address(&other.written()).map(|_| ()),
        },
        show: |listener| Some(quoted(&listener.address.to_string())),
    },
    ListenerKey {
        name: "protocol",
        values: "\"mqtt\" or \"websocket\"",
        doc: "Whether clients speak MQTT on the connection itself, which is the default, or within a WebSocket, as browsers \
              have to. Without `tls` a listener for WebSocket is for `ws://`, with it for `wss://`.",
        sample: "\"websocket\"",
        read: |listener, given| {
            put(&mut listener.protocol, given.value(&Kind::Choice(Protocol::WORDS)))
        },
        show: |listener| listener.protocol.show(),
    },
    ListenerKey {
        name: "versions",
        values: "a list with some of \"3.1\", \"3.1.1\" and \"5.0\"",
        doc: "The versions of MQTT that clients of this listener may speak; by default all. To a client of another one CONNACK \
              says that its version is not supported: 0x84, or 0x01 to one that speaks 3.1 or 3.1.1.",
        sample: "[\"3.1.1\", \"5.0\"]",
        read: |listener, given| put(&mut listener.versions, given.versions()),
        show: |listener| {
            let words = listener.versions.iter().map(|version| version.as_str());
            (!listener.versions.is_empty()).then(|| list(words))
        },
    },
    ListenerKey {
        name: "path",
        values: "a path of a URL",
        doc: "With WebSocket: where MQTT is. By default it is at `/mqtt`, as most clients expect. A request for another path \
              is answered with 404.",
        sample: "\"/mqtt\"",
        read: |listener, given| put(&mut listener.path, given.value(&Kind::Text).map(Some)),
        show: |listener| listener.path.as_deref().map(quoted),
    },
    ListenerKey {
        name: "allowed_origins",
        values: "a list of origins",
        doc: "With WebSocket: the origins of the web pages that may connect, or `*` for all. By default only pages of the \
              host and port that the request itself is for may, since otherwise every page that somebody looks at could speak \
              to a broker on the same machine. Clients that are no browsers name no origin, and always may.",
        sample: "[\"https://app.example.com\"]",
        read: |listener, given| put(&mut listener.allowed_origins, given.texts()),
        show: |listener| {
            let origins = &listener.allowed_origins;
            (!origins.is_empty()).then(|| list(origins.iter().map(String::as_str)))
        },
    },
    ListenerKey {
        name: "forwarded_for.trusted",
        values: "a list of addresses and networks",
        doc: "With WebSocket: the HTTP proxies whose `X-Forwarded-For` is believed. The client's address is the last one in \
              it that is not one of these. From others the field is ignored. By a Unix socket whoever may open it is trusted.",
        sample: "[\"10.0.0.0/8\", \"::1\"]",
        read: |listener, given| put(&mut listener.forwarded_for, given.networks()),
        show: |listener| show_networks(&listener.forwarded_for),
    },
    ListenerKey {
        name: "proxy_protocol.trusted",
        values: "a list of addresses and networks",
        doc: "The proxies that begin each connection with a header of the PROXY protocol, version 1 or 2, which says whom \
              they speak for. With this key nobody else may connect, and a connection without the header is closed. By a Unix \
              socket whoever may open it is trusted.",
        sample: "[\"10.0.0.0/8\"]",
        read: |listener, given| put(&mut listener.proxy_protocol, given.networks()),
        show: |listener| show_networks(&listener.proxy_protocol),
    },
    ListenerKey {
        name: "mode",
        values: "permissions in octal digits",
        doc: "With a Unix socket: the permissions of its file. Who may write to it may connect. \"0660\" by default.",
        sample: "\"0660\"",
        read: |listener, given| put(&mut listener.unix.mode, given.mode()),
        show: |listener| {
            let is_unix = matches!(listener.address, Address::Unix(_));
            is_unix.then(|| format!("\"{:04o}\"", listener.unix.mode))
        },
    },
    ListenerKey {
        name: "owner",
        values: "the name or number of a user",
        doc: "With a Unix socket: whom its file belongs to. By default the user that the broker runs as.",
        sample: "\"quelea\"",
        read: |listener, given| put(&mut listener.unix.owner, given.value(&Kind::Text).map(Some)),
        show: |listener| listener.unix.owner.as_deref().map(quoted),
    },
    ListenerKey {
        name: "group",
        values: "the name or number of a group",
        doc: "With a Unix socket: the group of its file. By default that of the broker.",
        sample: "\"mqtt\"",
        read: |listener, given| put(&mut listener.unix.group, given.value(&Kind::Text).map(Some)),
        show: |listener| listener.unix.group.as_deref().map(quoted),
    },
    ListenerKey {
        name: "connections_max",
        values: "a number from 1 to 10,000,000",
        doc: "Connections through this listener at once. One more is closed as soon as it is accepted, and counted. \
              `limits.connections_max` bounds the connections of all listeners together.",
        sample: "50_000",
        read: |listener, given| put(&mut listener.connections_max, given.value(&CONNECTIONS)),
        show: |listener| listener.connections_max.show(),
    },
    ListenerKey {
        name: "keep_alive_max_secs",
        values: "a number of seconds from 1 to 65,535",
        doc: "For clients of this listener in the place of `limits.keep_alive_max_secs`.",
        sample: "300",
        read: |listener, given| put(&mut listener.keep_alive_max_secs, given.value(&KEEP_ALIVE)),
        show: |listener| listener.keep_alive_max_secs.show(),
    },
    ListenerKey {
        name: "packet_bytes_max",
        values: "a number of bytes from 1,024 to 268,435,460",
        doc: "For clients of this listener in the place of `limits.packet_bytes_max`.",
        sample: "\"64 KiB\"",
        read: |listener, given| put(&mut listener.packet_bytes_max, given.value(&PACKET_BYTES)),
        show: |listener| listener.packet_bytes_max.show(),
    },
    ListenerKey {
        name: "receive_maximum",
        values: "a number from 1 to 65,535",
        doc: "For clients of this listener in the place of `limits.receive_maximum`.",
        sample: "20",
        read: |listener, given| put(&mut listener.receive_maximum, given.value(&RECEIVE_MAXIMUM)),
        show: |listener| listener.receive_maximum.show(),
    },
    ListenerKey {
        name: "connects_per_sec",
        values: "a number from 1 to 10,000,000",
        doc: "Connections that are accepted through this listener in a second. More wait in the system's queue.",
        sample: "500",
        read: |listener, given| put(&mut listener.connects_per_sec, given.value(&CONNECTIONS)),
        show: |listener| listener.connects_per_sec.show(),
    },
    ListenerKey {
        name: "messages_per_sec",
        values: "a number from 1 to 1,000,000,000",
        doc: "Messages in a second from all clients of this listener together. Beyond it `rates.exceeded` decides.",
        sample: "100_000",
        read: |listener, given| put(&mut listener.messages_per_sec, given.value(&MESSAGES)),
        show: |listener| listener.messages_per_sec.show(),
    },
    ListenerKey {
        name: "bytes_per_sec",
        values: "a number of bytes from 1 to 4,294,967,295",
        doc: "Bytes in a second from all clients of this listener together. Beyond it `rates.exceeded` decides.",
        sample: "\"100 MiB\"",
        read: |listener, given| put(&mut listener.bytes_per_sec, given.value(&BYTES)),
        show: |listener| listener.bytes_per_sec.show(),
    },
    ListenerKey {
        name: "authentication.chain",
        values: "a list of those that `authentication.chain` can have",
        doc: "For clients of this listener in the place of `authentication.chain`. With `[]` nobody is asked: they come in as \
              nobody, whatever name they give, unless `authentication.allow_anonymous = false`.",
        sample: "[\"password_file\"]",
        read: |listener, given| put(&mut listener.authentication.chain, given.chain().map(Some)),
        show: |listener| listener.authentication.chain.show(),
    },
    ListenerKey {
        name: "authentication.allow_anonymous",
        values: "true or false",
        doc: "For clients of this listener in the place of `allow_anonymous`.",
        sample: "false",
        read: |listener, given| {
            put(&mut listener.authentication.allow_anonymous, given.switch().map(Some))
        },
        show: |listener| listener.authentication.allow_anonymous.show(),
    },
    ListenerKey {
        name: "tls.certificate",
        values: "a path or a list of paths",
        doc: "The certificate that the broker shows, in PEM, followed by those of the intermediate authorities. With several, \
              the client's SNI chooses; the first is for clients that name no host, or one that no certificate has. This key \
              and `tls.key` make the listener one for TLS. The files are read again when they change, and on SIGHUP; files \
              that are not right are refused and reported, and those before stay in use.",
        sample: "\"/etc/quelea/server.pem\"",
        read: |listener, given| put(&mut tls(listener).certificates, given.paths()),
        show: |listener| listener.tls.as_ref().and_then(|tls| show_paths(&tls.certificates)),
    },
    ListenerKey {
        name: "tls.key",
        values: "a path or a list of paths",
        doc: "The private key of the certificate, in PEM: PKCS #8, PKCS #1 (RSA) or SEC 1 (EC), not encrypted. With several \
              certificates as many keys, in their order.",
        sample: "\"/etc/quelea/server.key\"",
        read: |listener, given| put(&mut tls(listener).keys, given.paths()),
        show: |listener| listener.tls.as_ref().and_then(|tls| show_paths(&tls.keys)),
    },
    ListenerKey {
        name: "tls.client_ca",
        values: "a path or a list of paths",
        doc: "The authorities that issue the certificates of clients, in PEM; a file may have several. With it clients are \
              asked for a certificate.",
        sample: "\"/etc/quelea/devices.pem\"",
        read: |listener, given| put(&mut tls(listener).client_cas, given.paths()),
        show: |listener| listener.tls.as_ref().and_then(|tls| show_paths(&tls.client_cas)),
    },
    ListenerKey {
        name: "tls.client_certificate",
        values: "\"required\" or \"optional\"",
        doc: "Whether a client must have a certificate of `tls.client_ca` (`required`, the default), or may do without \
              (`optional`). One that it shows must be good in either case.",
        sample: "\"required\"",
        read: |listener, given| {
            let given = given.value(&Kind::Choice(ClientCertificate::WORDS));
            put(&mut tls(listener).client_certificate, given.map(Some))
        },
        show: |listener| show_tls(listener, |tls| tls.client_certificate),
    },
    ListenerKey {
        name: "tls.crl",
        values: "a path or a list of paths",
        doc: "Lists of revoked certificates (CRL) of the authorities of `tls.client_ca`, in PEM. A client with a certificate \
              on such a list, or one issued by an authority on it, is refused. Of an authority without a list here nothing is \
              revoked.",
        sample: "\"/etc/quelea/revoked.pem\"",
        read: |listener, given| put(&mut tls(listener).crls, given.paths()),
        show: |listener| listener.tls.as_ref().and_then(|tls| show_paths(&tls.crls)),
    },
    ListenerKey {
        name: "tls.crl_expiry",
        values: "\"warned\" or \"enforced\"",
        doc: "What becomes of clients once a list of `tls.crl` is out of date, because its authority has issued no other by \
              the time that it announced (`nextUpdate`). By default it stays in force and is warned of in the log, once a day. \
              With `enforced` every client of that authority is refused until there is a list that is up to date.",
        sample: "\"enforced\"",
        read: |listener, given| {
            put(&mut tls(listener).crl_expiry, given.value(&Kind::Choice(CrlExpiry::WORDS)))
        },
        show: |listener| show_tls(listener, |tls| (!tls.crls.is_empty()).then_some(tls.crl_expiry)),
    },
    ListenerKey {
        name: "tls.version_min",
        values: "\"1.2\" or \"1.3\"",
        doc: "The lowest version of TLS that is spoken; \"1.2\" by default. There is none below it.",
        sample: "\"1.3\"",
        read: |listener, given| {
            put(&mut tls(listener).version_min, given.value(&Kind::Choice(TlsVersion::WORDS)))
        },
        show: |listener| show_tls(listener, |tls| Some(tls.version_min)),
    },
    ListenerKey {
        name: "tls.cipher_suites",
        values: "a list of names",
        doc: "The only cipher suites that are spoken, by the names of RFC 8446 and RFC 5289. By default all nine that rustls \
              has, which encrypt with AES-GCM or ChaCha20-Poly1305 and are forward secret.",
        sample: "[\"TLS_AES_256_GCM_SHA384\", \"TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384\"]",
        read: |listener, given| put(&mut tls(listener).cipher_suites, given.texts()),
        show: |listener| {
            let tls = listener.tls.as_ref().filter(|tls| !tls.cipher_suites.is_empty())?;
            Some(list(tls.cipher_suites.iter().map(String::as_str)))
        },
    },
];
