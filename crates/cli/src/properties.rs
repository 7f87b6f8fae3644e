//! `-D COMMAND PROPERTY VALUE`: properties of MQTT 5, in the spelling of Mosquitto's clients.

use std::num::{NonZeroU16, NonZeroU32};
use std::time::Duration;

use quelea_client::{Options, Publish};

use crate::failure::Failure;

/// The properties that a command line asks for, in the packets that they go into.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Properties {
    pub(crate) connect: ConnectProperties,
    pub(crate) publish: MessageProperties,
    pub(crate) will: MessageProperties,
}

/// The properties of CONNECT.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct ConnectProperties {
    packet_bytes_max: Option<NonZeroU32>,
    receive_maximum: Option<NonZeroU16>,
    pub(crate) session_expiry_secs: Option<u32>,
    topic_alias_maximum: Option<u16>,
    user: Vec<(String, String)>,
}

/// The properties of a message, or of a will.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct MessageProperties {
    content_type: Option<String>,
    pub(crate) correlation_data: Option<String>,
    /// Of a will only.
    pub(crate) delay_secs: u32,
    expiry_secs: Option<u32>,
    is_text: bool,
    pub(crate) response_topic: Option<String>,
    user: Vec<(String, String)>,
}

impl Properties {
    /// Reads the values of each `-D`.
    pub(crate) fn read(flags: &[Vec<String>]) -> Result<Self, Failure> {
        let mut properties = Self::default();
        for words in flags {
            let words: Vec<&str> = words.iter().map(String::as_str).collect();
            properties
                .add(&words)
                .map_err(|why| Failure::usage(format!("-D {}: {why}", words.join(" "))))?;
        }
        Ok(properties)
    }

    fn add(&mut self, words: &[&str]) -> Result<(), String> {
        let &[command, name, ref values @ ..] = words else {
            return Err(SHAPE.to_owned());
        };
        match command.to_ascii_lowercase().as_str() {
            "connect" => self.connect.add(name, values),
            "publish" => self.publish.add(name, values),
            "will" if name == "will-delay-interval" => {
                self.will.delay_secs = number(one(values)?)?;
                Ok(())
            }
            "will" => self.will.add(name, values),
            "subscribe" | "unsubscribe" | "disconnect" | "auth" | "puback" | "pubrec"
            | "pubrel" | "pubcomp" => {
                Err("only the properties of connect, publish and will can be set".to_owned())
            }
            _ => Err(format!("\"{command}\" is none of connect, publish and will")),
        }
    }
}

impl ConnectProperties {
    fn add(&mut self, name: &str, values: &[&str]) -> Result<(), String> {
        match name {
            "maximum-packet-size" => self.packet_bytes_max = Some(number(one(values)?)?),
            "receive-maximum" => self.receive_maximum = Some(number(one(values)?)?),
            "session-expiry-interval" => self.session_expiry_secs = Some(number(one(values)?)?),
            "topic-alias-maximum" => self.topic_alias_maximum = Some(number(one(values)?)?),
            "user-property" => self.user.push(pair(values)?),
            "authentication-method" | "authentication-data" => {
                return Err("--scram authenticates by SCRAM-SHA-256".to_owned());
            }
            "request-problem-information" | "request-response-information" => {
                return Err("this cannot be set".to_owned());
            }
            _ => return Err(format!("\"{name}\" is no property of CONNECT")),
        }
        Ok(())
    }

    /// Adds the properties to a client's options.
    pub(crate) fn apply(&self, mut options: Options) -> Options {
        // Unless it is asked for, a broker abbreviates nothing: what is shown is what others would get.
        options = options.topic_alias_maximum(self.topic_alias_maximum.unwrap_or(0));
        if let Some(bytes) = self.packet_bytes_max {
            options = options.packet_bytes_max(bytes);
        }
        if let Some(count) = self.receive_maximum {
            options = options.receive_maximum(count);
        }
        for (name, value) in &self.user {
            options = options.user_property(name, value);
        }
        options
    }
}

impl MessageProperties {
    fn add(&mut self, name: &str, values: &[&str]) -> Result<(), String> {
        match name {
            "content-type" => self.content_type = Some(one(values)?.to_owned()),
            "correlation-data" => self.correlation_data = Some(one(values)?.to_owned()),
            "message-expiry-interval" => self.expiry_secs = Some(number(one(values)?)?),
            "payload-format-indicator" => match one(values)? {
                // Unspecified bytes, which is what no indicator means.
                "0" => self.is_text = false,
                "1" => self.is_text = true,
                _ => return Err("it is 0 or 1".to_owned()),
            },
            "response-topic" => self.response_topic = Some(one(values)?.to_owned()),
            "user-property" => self.user.push(pair(values)?),
            "topic-alias" => {
                return Err("the client chooses aliases by itself".to_owned());
            }
            _ => return Err(format!("\"{name}\" is no property of a message")),
        }
        Ok(())
    }

    /// Returns whether there is nothing that needs MQTT 5.
    pub(crate) fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Adds the properties to a message.
    pub(crate) fn apply<'a>(&'a self, mut publish: Publish<'a>) -> Publish<'a> {
        if let Some(content_type) = &self.content_type {
            publish = publish.content_type(content_type);
        }
        if let Some(data) = &self.correlation_data {
            publish = publish.correlation_data(data);
        }
        if let Some(secs) = self.expiry_secs {
            publish = publish.expiry(Duration::from_secs(secs.into()));
        }
        if self.is_text {
            publish = publish.text();
        }
        if let Some(topic) = &self.response_topic {
            publish = publish.response_topic(topic);
        }
        for (name, value) in &self.user {
            publish = publish.user_property(name, value);
        }
        publish
    }
}

fn one<'a>(values: &[&'a str]) -> Result<&'a str, String> {
    match values {
        [value] => Ok(value),
        _ => Err(SHAPE.to_owned()),
    }
}

fn pair(values: &[&str]) -> Result<(String, String), String> {
    match values {
        [name, value] => Ok(((*name).to_owned(), (*value).to_owned())),
        _ => Err("a user property has a name and a value".to_owned()),
    }
}

fn number<T: std::str::FromStr>(text: &str) -> Result<T, String> {
    text.parse().map_err(|_| format!("\"{text}\" is no number that this property can have"))
}

const SHAPE: &str = "write -D COMMAND PROPERTY VALUE, or -D COMMAND user-property NAME VALUE";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn properties_are_read_as_mosquitto_reads_them() {
        let read = read(&[
            "connect receive-maximum 7",
            "CONNECT user-property a b",
            "publish content-type text/plain",
            "publish user-property a b",
            "publish user-property a c",
            "publish payload-format-indicator 1",
            "will will-delay-interval 5",
            "will message-expiry-interval 6",
        ]);
        let read = read.expect("they are right");
        assert_eq!(read.connect.receive_maximum, NonZeroU16::new(7));
        assert_eq!(read.publish.user.len(), 2);
        assert!(read.publish.is_text && !read.publish.is_empty());
        assert_eq!((read.will.delay_secs, read.will.expiry_secs), (5, Some(6)));
    }

    #[test]
    fn what_is_wrong_is_said() {
        for (flag, why) in [
            ("publish content-type", "write -D COMMAND"),
            ("publish content-type a b", "write -D COMMAND"),
            ("publish user-property a", "a name and a value"),
            ("publish receive-maximum 1", "is no property of a message"),
            ("publish topic-alias 1", "by itself"),
            ("connect receive-maximum 0", "is no number"),
            ("connect receive-maximum 65536", "is no number"),
            ("connect authentication-method x", "--scram"),
            ("subscribe user-property a b", "only the properties"),
            ("pubish content-type a", "is none of"),
        ] {
            let error = read(&[flag]).expect_err(flag).to_string();
            assert!(error.contains(why), "{error}");
        }
    }

    fn read(flags: &[&str]) -> Result<Properties, Failure> {
        let words = |flag: &&str| flag.split(' ').map(str::to_owned).collect();
        Properties::read(&flags.iter().map(words).collect::<Vec<_>>())
    }
}
