//! What is in the way of a connection, for people, and as exit codes that users of Mosquitto's clients know.

use std::error::Error;
use std::io::{self, ErrorKind};

use quelea_client::{
    ConnectionError, PublishError, Reason, ReasonCode, StartError, SubscribeError, Version,
};

use crate::failure::{CONNECTION_LOST, Failure};
use crate::way;

/// Returns why there is no connection to the broker at `place`.
pub(crate) fn not_connected(place: &str, error: &ConnectionError, version: Version) -> Failure {
    match error {
        ConnectionError::Refused(reason) => refused(reason, version),
        ConnectionError::Io(io) if io.kind() == ErrorKind::UnexpectedEof => {
            without_answer("the broker closed the connection", version)
        }
        ConnectionError::Malformed(fault) => {
            without_answer(&format!("the broker sent what is no MQTT packet: {fault}"), version)
        }
        ConnectionError::Tls(io) if io.kind() == ErrorKind::UnexpectedEof => Failure::new(format!(
            "cannot connect to {place}: the broker closed the connection instead of speaking TLS. Is this its port for \
             TLS?"
        )),
        ConnectionError::Io(io) if is_absence(io) => Failure::new(format!(
            "cannot connect to {place}: {io}. Is a broker running there? `quelea serve` starts one here, and -h and -p \
             say where another is"
        )),
        ConnectionError::TimedOut(_) => {
            Failure::new(format!("cannot connect to {place}: {}", lost(error)))
        }
        ConnectionError::Authentication(_)
        | ConnectionError::Disconnected(_)
        | ConnectionError::Fault(_)
        | ConnectionError::Io(_)
        | ConnectionError::Tls(_)
        | _ => Failure::new(format!("cannot connect to {place}: {}", lost(error))),
    }
}

/// Returns what ended a connection that was there, or was about to be.
pub(crate) fn lost(error: &ConnectionError) -> String {
    match error {
        ConnectionError::Disconnected(reason) => {
            format!("the broker ended the connection: {}{}", said(reason), hint(reason.code))
        }
        ConnectionError::Refused(reason) => {
            format!("the broker refuses the connection: {}{}", said(reason), hint(reason.code))
        }
        ConnectionError::Io(io) if io.kind() == ErrorKind::UnexpectedEof => {
            "the broker closed the connection".to_owned()
        }
        ConnectionError::Io(io) | ConnectionError::Tls(io) => {
            let hint = tls_error(io).map_or("", way::hint);
            format!("{io}{hint}")
        }
        ConnectionError::TimedOut(limit) => {
            format!("no answer from the broker within {limit:?}")
        }
        // What these say is for users, too.
        other => other.to_string(),
    }
}

/// Returns the failure of a client that does not go on without its connection.
pub(crate) fn ended(error: &ConnectionError) -> Failure {
    Failure::new(lost(error)).with_code(CONNECTION_LOST)
}

/// Returns why a client cannot even begin.
pub(crate) fn not_started(error: &StartError) -> Failure {
    match error {
        StartError::System(_) => Failure::new(error),
        _ => Failure::usage(error),
    }
}

/// Returns why a message was not, or may not have been, published.
pub(crate) fn not_published(error: &PublishError) -> String {
    match error {
        PublishError::Refused(reason) => {
            format!("the broker refuses the message: {}", said(reason))
        }
        other => format!("a message is not published: {other}"),
    }
}

/// Returns why a subscription was not made.
pub(crate) fn not_subscribed(error: &SubscribeError) -> String {
    match error {
        SubscribeError::Refused(reason) => said(reason),
        other => other.to_string(),
    }
}

/// Returns what the broker said, as people read it.
pub(crate) fn said(reason: &Reason) -> String {
    let name = reason.code.name().unwrap_or("unknown reason");
    match &reason.text {
        Some(text) => format!("{name} (0x{:02X}), {text}", reason.code.0),
        None => format!("{name} (0x{:02X})", reason.code.0),
    }
}

fn refused(reason: &Reason, version: Version) -> Failure {
    // The exit code is the code of the wire, as it is for Mosquitto's clients.
    let code = if version.is_v5() { Some(reason.code.0) } else { reason.code.to_v3_connack() };
    let said = match (code, reason.code.name()) {
        (Some(code), Some(name)) if !version.is_v5() => format!("{name} ({code})"),
        _ => said(reason),
    };
    let hint = hint(reason.code);
    Failure::new(format!("the broker refuses the connection: {said}{hint}"))
        .with_code(code.unwrap_or(1))
}

/// Brokers close at a version that they do not speak, or say so in a form of another version.
fn without_answer(what: &str, version: Version) -> Failure {
    let hint = match version {
        Version::V5 => {
            "; if it does not speak MQTT 5, try -V 311; if it wants TLS, --tls-use-os-certs or --cafile"
        }
        Version::V31 => "; if it does not speak MQTT 3.1, try -V 311",
        Version::V311 => "; if it wants TLS, --tls-use-os-certs or --cafile speaks it",
    };
    Failure::new(format!("not connected: {what}{hint}")).with_code(CONNECTION_LOST)
}

fn hint(code: ReasonCode) -> &'static str {
    match code {
        ReasonCode::BAD_USER_NAME_OR_PASSWORD | ReasonCode::NOT_AUTHORIZED => {
            "; -u and -P give user name and password"
        }
        ReasonCode::UNSUPPORTED_PROTOCOL_VERSION => "; -V names another version",
        ReasonCode::CLIENT_IDENTIFIER_NOT_VALID => "; -i gives another client id",
        ReasonCode::SESSION_TAKEN_OVER => "; another client uses the same client id",
        _ => "",
    }
}

/// Says whether the system found nobody at the broker's address. What a proxy or a web server said is no such error.
fn is_absence(error: &io::Error) -> bool {
    let is_absence = matches!(
        error.kind(),
        ErrorKind::ConnectionRefused
            | ErrorKind::ConnectionReset
            | ErrorKind::HostUnreachable
            | ErrorKind::NetworkUnreachable
            | ErrorKind::NotFound
            | ErrorKind::TimedOut
    );
    is_absence && error.raw_os_error().is_some()
}

fn tls_error(error: &io::Error) -> Option<&rustls::Error> {
    let mut source: Option<&(dyn Error + 'static)> = error.get_ref().map(|it| it as _);
    // How deep it lies depends on what lies between.
    for _ in 0..SOURCES_MAX {
        let inner = source?;
        if let Some(error) = inner.downcast_ref() {
            return Some(error);
        }
        source = match inner.downcast_ref::<io::Error>() {
            Some(io) => io.get_ref().map(|it| it as _),
            None => inner.source(),
        };
    }
    None
}

const SOURCES_MAX: usize = 8;
