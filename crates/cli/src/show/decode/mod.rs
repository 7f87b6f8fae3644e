//! Payloads as people read them: which of the formats that devices speak it is, and what it says.
//!
//! What was decoded as what is always said: a guess that is wrong must not pass for the truth. Where two formats fit,
//! neither is chosen.

mod cbor;
mod hexdump;
mod msgpack;
mod notation;
mod sparkplug;

use clap::ValueEnum;

use super::json::{self, Layout};

/// What a payload is decoded as.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Decode {
    /// What it says that it is, or seems to be.
    Auto,
    Json,
    Cbor,
    Msgpack,
    /// Sparkplug B.
    Sparkplug,
}

/// A payload, read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Decoded {
    /// What it was taken for, and what spoke against something else.
    pub(crate) label: String,
    /// Its text, which may have any characters.
    pub(crate) text: Vec<u8>,
}

/// What is known of a payload beside its bytes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Payload<'a> {
    pub(crate) topic: &'a str,
    pub(crate) content_type: Option<&'a str>,
    pub(crate) bytes: &'a [u8],
}

impl Decode {
    /// Decodes a payload; what cannot be is shown as it is.
    pub(crate) fn apply(self, payload: Payload<'_>) -> Decoded {
        if payload.bytes.is_empty() {
            return Decoded { label: "empty".to_owned(), text: Vec::new() };
        }
        if payload.bytes.len() > DECODED_BYTES_MAX {
            return undecoded("too large to be decoded", payload.bytes);
        }
        let Some(wanted) = self.or_declared(payload) else {
            return guess(payload.bytes);
        };
        let mut text = Vec::new();
        match wanted.read(payload.bytes, &mut text) {
            Ok(()) => Decoded { label: wanted.name().to_owned(), text },
            Err(why) => undecoded(&format!("no {}: {why}", wanted.name()), payload.bytes),
        }
    }

    /// Returns what is to be decoded, if it is said: by the user, by the topic or by the message.
    fn or_declared(self, payload: Payload<'_>) -> Option<Self> {
        if self != Self::Auto {
            return Some(self);
        }
        if sparkplug::is_topic(payload.topic) {
            return Some(Self::Sparkplug);
        }
        let media_type = payload.content_type?.split(';').next()?.trim().to_ascii_lowercase();
        match media_type.as_str() {
            "application/json" => Some(Self::Json),
            "application/cbor" => Some(Self::Cbor),
            "application/msgpack" | "application/x-msgpack" | "application/vnd.msgpack" => {
                Some(Self::Msgpack)
            }
            other if other.ends_with("+json") => Some(Self::Json),
            other if other.ends_with("+cbor") => Some(Self::Cbor),
            _ => None,
        }
    }

    fn read(self, bytes: &[u8], out: &mut Vec<u8>) -> Result<(), String> {
        match self {
            Self::Json => json::append_again(bytes, Layout::Indented, out)
                .map_err(|_| "it is not well-formed".to_owned()),
            Self::Cbor => cbor::append(bytes, out),
            Self::Msgpack => msgpack::append(bytes, out),
            Self::Sparkplug => sparkplug::append(bytes, out),
            Self::Auto => Err("nothing says what it is".to_owned()),
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Auto => "payload",
            Self::Json => "JSON",
            Self::Cbor => "CBOR",
            Self::Msgpack => "MessagePack",
            Self::Sparkplug => "Sparkplug B",
        }
    }
}

/// Decodes what nothing is said of.
fn guess(bytes: &[u8]) -> Decoded {
    let mut text = Vec::new();
    // A number or a word is JSON as well, but nobody would call it that.
    if matches!(bytes.trim_ascii_start().first(), Some(b'{' | b'['))
        && Decode::Json.read(bytes, &mut text).is_ok()
    {
        return Decoded { label: Decode::Json.name().to_owned(), text };
    }
    if let Ok(text) = str::from_utf8(bytes)
        && !text.chars().any(|it| it.is_control() && !it.is_whitespace())
    {
        return Decoded { label: "text".to_owned(), text: bytes.to_owned() };
    }
    // Short values of either format could be anything.
    let read = |decode: Decode, is_container: bool| {
        let mut text = Vec::new();
        (is_container && decode.read(bytes, &mut text).is_ok()).then_some(text)
    };
    let as_cbor = read(Decode::Cbor, cbor::is_container(bytes));
    let as_msgpack = read(Decode::Msgpack, msgpack::is_container(bytes));
    match (as_cbor, as_msgpack) {
        (Some(text), None) => Decoded { label: "CBOR, it seems".to_owned(), text },
        (None, Some(text)) => Decoded { label: "MessagePack, it seems".to_owned(), text },
        (Some(_), Some(_)) => undecoded("CBOR or MessagePack: --decode=cbor, =msgpack", bytes),
        (None, None) => undecoded("bytes", bytes),
    }
}

/// Shows a payload as it is: text, or digits.
fn undecoded(label: &str, bytes: &[u8]) -> Decoded {
    let text = match str::from_utf8(bytes) {
        Ok(_) => bytes.to_owned(),
        Err(_) => hexdump::of(bytes),
    };
    Decoded { label: label.to_owned(), text }
}

/// How large a payload may be that is decoded: what it becomes in memory is many times as large.
const DECODED_BYTES_MAX: usize = 1024 * 1024;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_is_said_decides() {
        check("t", Some("application/json; charset=utf-8"), b"1", "JSON");
        check("t", Some("application/cbor"), b"\x01", "CBOR");
        check("t", Some("application/senml+cbor"), b"\x80", "CBOR");
        check("t", Some("application/vnd.msgpack"), b"\x01", "MessagePack");
        check("t", Some("application/json"), b"{", "no JSON: it is not well-formed");
        check("spBv1.0/g/NDATA/n", None, b"\x18\x05", "Sparkplug B");
        check("spBv1.0/STATE/h", None, b"{\"online\":true}", "JSON");
    }

    #[test]
    fn guesses_say_so() {
        check("t", None, b"21.5", "text");
        check("t", None, b" [21.5]", "JSON");
        check("t", None, b"[21.5", "text");
        // {"a": 1} in each.
        check("t", None, b"\xA1\x61a\x01", "CBOR, it seems");
        check("t", None, b"\x81\xA1a\x01", "MessagePack, it seems");
        check("t", None, b"\xD9\xD9\xF7\x01", "CBOR, it seems");
        // [0], and {0: 0} with nothing behind it but in the other's eyes.
        check("t", None, b"\x80", "CBOR or MessagePack: --decode=cbor, =msgpack");
        check("t", None, b"\x01\xFF\x00", "bytes");
        check("t", None, b"", "empty");
    }

    proptest! {
        /// Strangers send what they like.
        #[test]
        fn no_bytes_are_too_odd(bytes in prop::collection::vec(any::<u8>(), 0..200), topic in "(spBv1.0/g/NDATA/n|t)") {
            let payload = Payload { topic: &topic, content_type: None, bytes: &bytes };
            for decode in [Decode::Auto, Decode::Json, Decode::Cbor, Decode::Msgpack, Decode::Sparkplug] {
                prop_assert!(!decode.apply(payload).label.is_empty());
            }
        }
    }

    #[track_caller]
    fn check(topic: &str, content_type: Option<&str>, bytes: &[u8], label: &str) {
        let decoded = Decode::Auto.apply(Payload { topic, content_type, bytes });
        assert_eq!(decoded.label, label, "{bytes:?}");
    }
}
