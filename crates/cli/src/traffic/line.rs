//! A message as a line of JSON, which docs/traffic-format.md describes.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use quelea_codec::{QoS, is_valid_topic_name};
use serde::{Deserialize, Serialize};

use super::message::Message;

/// A line.
#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Line {
    #[serde(default)]
    time_us: u64,
    topic: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    payload: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    payload_base64: Option<String>,
    #[serde(default, skip_serializing_if = "is_zero")]
    qos: u8,
    #[serde(default, skip_serializing_if = "is_false")]
    retain: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    payload_is_text: Option<bool>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    expiry_secs: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    content_type: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    response_topic: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    correlation_data_base64: Option<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    user_properties: Vec<(String, String)>,
}

impl Line {
    /// Returns the line of a message that came after `micros`.
    pub(super) fn of(message: &Message, micros: u64) -> Self {
        let (payload, payload_base64) = match str::from_utf8(&message.payload) {
            Ok("") => (None, None),
            Ok(text) => (Some(text.to_owned()), None),
            Err(_) => (None, Some(STANDARD.encode(&message.payload))),
        };
        Self {
            time_us: micros,
            topic: message.topic.clone(),
            payload,
            payload_base64,
            qos: message.qos.to_byte(),
            retain: message.retain,
            payload_is_text: message.is_text,
            expiry_secs: message.expiry_secs,
            content_type: message.content_type.clone(),
            response_topic: message.response_topic.clone(),
            correlation_data_base64: message
                .correlation_data
                .as_ref()
                .map(|data| STANDARD.encode(data)),
            user_properties: message.user_properties.clone(),
        }
    }

    /// Returns the message of the line; or what is wrong with it.
    pub(super) fn into_message(self) -> Result<Message, String> {
        if !is_valid_topic_name(&self.topic) {
            return Err(format!("\"{}\" is no topic to publish to", self.topic));
        }
        let payload = match (self.payload, self.payload_base64) {
            (Some(text), None) => text.into_bytes(),
            (None, Some(base64)) => decode(&base64)?,
            (None, None) => Vec::new(),
            (Some(_), Some(_)) => return Err("the payload is there twice".to_owned()),
        };
        Ok(Message {
            micros: self.time_us,
            topic: self.topic,
            payload,
            qos: QoS::from_byte(self.qos).ok_or("QoS is 0, 1 or 2")?,
            retain: self.retain,
            is_text: self.payload_is_text,
            expiry_secs: self.expiry_secs,
            content_type: self.content_type,
            response_topic: self.response_topic,
            correlation_data: self.correlation_data_base64.as_deref().map(decode).transpose()?,
            user_properties: self.user_properties,
        })
    }
}

fn decode(base64: &str) -> Result<Vec<u8>, String> {
    STANDARD.decode(base64).map_err(|error| format!("\"{base64}\" is no Base64: {error}"))
}

fn is_zero(number: &u8) -> bool {
    *number == 0
}

fn is_false(flag: &bool) -> bool {
    !flag
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_short_where_there_is_little_to_say() {
        check(
            Message { topic: "t".to_owned(), ..Message::default() },
            r#"{"time_us":0,"topic":"t"}"#,
        );
        check(
            Message {
                micros: 7,
                topic: "t".to_owned(),
                payload: b"\xFF".into(),
                ..Message::default()
            },
            r#"{"time_us":7,"topic":"t","payload_base64":"/w=="}"#,
        );
    }

    #[test]
    fn everything_is_carried() {
        let message = Message {
            micros: 1_500_000,
            topic: "a/b".to_owned(),
            payload: b"{\"x\":1}".into(),
            qos: QoS::ExactlyOnce,
            retain: true,
            is_text: Some(true),
            expiry_secs: Some(60),
            content_type: Some("application/json".to_owned()),
            response_topic: Some("r".to_owned()),
            correlation_data: Some(vec![0, 255]),
            user_properties: vec![
                ("k".to_owned(), "v".to_owned()),
                ("k".to_owned(), String::new()),
            ],
        };
        check(
            message,
            r#"{"time_us":1500000,"topic":"a/b","payload":"{\"x\":1}","qos":2,"retain":true,"payload_is_text":true,"expiry_secs":60,"content_type":"application/json","response_topic":"r","correlation_data_base64":"AP8=","user_properties":[["k","v"],["k",""]]}"#,
        );
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (line, what) in [
            (r#"{"topic":"a/#"}"#, "is no topic"),
            (r#"{"topic":"a","qos":3}"#, "QoS is"),
            (r#"{"topic":"a","payload":"","payload_base64":""}"#, "twice"),
            (r#"{"topic":"a","payload_base64":"?"}"#, "Base64"),
        ] {
            let line: Line = serde_json::from_str(line).expect("it is JSON");
            let error = line.into_message().expect_err(what);
            assert!(error.contains(what), "{error}");
        }
        serde_json::from_str::<Line>(r#"{"topic":"a","payloads":"x"}"#)
            .expect_err("a misspelt key");
    }

    #[track_caller]
    fn check(message: Message, line: &str) {
        let written =
            serde_json::to_string(&Line::of(&message, message.micros)).expect("it can be written");
        assert_eq!(written, line);
        let read: Line = serde_json::from_str(line).expect("it can be read");
        assert_eq!(read.into_message(), Ok(message));
    }
}
