//! A CONNECT packet in the making.

use crate::Version;
use crate::wire::{Body, Properties, property as id};

/// A CONNECT packet. By default: a clean session, no keep alive, no will, no credentials.
#[derive(Clone, Debug)]
pub(crate) struct Connect {
    version: Version,
    client_id: String,
    is_clean: bool,
    keep_alive_secs: u16,
    will: Option<Will>,
    username: Option<String>,
    password: Option<Vec<u8>>,
    properties: Properties,
    session_expiry_secs: u32,
}

/// The will of a CONNECT packet.
#[derive(Clone, Debug)]
pub(crate) struct Will {
    topic: String,
    payload: Vec<u8>,
    qos: u8,
    is_retained: bool,
    properties: Properties,
}

impl Connect {
    pub(crate) fn new(version: Version, client_id: String) -> Self {
        Self {
            version,
            client_id,
            is_clean: true,
            keep_alive_secs: 0,
            will: None,
            username: None,
            password: None,
            properties: Properties::new(),
            session_expiry_secs: 0,
        }
    }

    pub(crate) fn client_id(mut self, client_id: &str) -> Self {
        self.client_id = client_id.to_owned();
        self
    }

    pub(crate) fn keep_alive(mut self, secs: u16) -> Self {
        self.keep_alive_secs = secs;
        self
    }

    /// Takes up the session if there is one, and asks that it outlive the connection.
    pub(crate) fn keep_session(self) -> Self {
        self.resume().session_expiry(120)
    }

    /// Clean Start 0; in 3.x Clean Session 0, which keeps the session afterwards too.
    pub(crate) fn resume(mut self) -> Self {
        self.is_clean = false;
        self
    }

    /// Sets the Session Expiry Interval, which only 5.0 has.
    pub(crate) fn session_expiry(mut self, secs: u32) -> Self {
        if !self.version.is_v5() {
            return self;
        }
        self.session_expiry_secs = secs;
        self.properties(|it| it.four(id::SESSION_EXPIRY_INTERVAL, secs))
    }

    pub(crate) fn receive_maximum(self, count: u16) -> Self {
        self.properties(|it| it.two(id::RECEIVE_MAXIMUM, count))
    }

    pub(crate) fn packet_bytes_max(self, bytes: u32) -> Self {
        self.properties(|it| it.four(id::MAXIMUM_PACKET_SIZE, bytes))
    }

    pub(crate) fn topic_alias_maximum(self, count: u16) -> Self {
        self.properties(|it| it.two(id::TOPIC_ALIAS_MAXIMUM, count))
    }

    pub(crate) fn will(mut self, will: Will) -> Self {
        self.will = Some(will);
        self
    }

    pub(crate) fn username(mut self, username: &str) -> Self {
        self.username = Some(username.to_owned());
        self
    }

    pub(crate) fn password(mut self, password: &[u8]) -> Self {
        self.password = Some(password.to_owned());
        self
    }

    /// Adds properties; for 5.0 only.
    pub(crate) fn properties(mut self, add: impl FnOnce(Properties) -> Properties) -> Self {
        self.properties = add(self.properties);
        self
    }

    pub(crate) fn version(&self) -> Version {
        self.version
    }

    pub(crate) fn id(&self) -> &str {
        &self.client_id
    }

    /// Says whether the broker keeps a session after this connection.
    pub(crate) fn outlives_connection(&self) -> bool {
        if self.version.is_v5() { self.session_expiry_secs > 0 } else { !self.is_clean }
    }

    /// Returns the packet.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        let mut body = Body::new()
            .text(self.version.protocol_name())
            .byte(self.version.level())
            .byte(self.flags())
            .two(self.keep_alive_secs);
        if self.version.is_v5() {
            body = body.properties(&self.properties);
        }
        body = body.text(&self.client_id);
        if let Some(will) = &self.will {
            if self.version.is_v5() {
                body = body.properties(&will.properties);
            }
            body = body.text(&will.topic).binary(&will.payload);
        }
        if let Some(username) = &self.username {
            body = body.text(username);
        }
        if let Some(password) = &self.password {
            body = body.binary(password);
        }
        body.packet(0x10)
    }

    fn flags(&self) -> u8 {
        let mut flags = u8::from(self.is_clean) << 1;
        if let Some(will) = &self.will {
            flags |= 0x04 | will.qos << 3 | u8::from(will.is_retained) << 5;
        }
        flags | u8::from(self.password.is_some()) << 6 | u8::from(self.username.is_some()) << 7
    }
}

impl Will {
    pub(crate) fn new(topic: &str, payload: &str) -> Self {
        Self {
            topic: topic.to_owned(),
            payload: payload.as_bytes().to_owned(),
            qos: 0,
            is_retained: false,
            properties: Properties::new(),
        }
    }

    pub(crate) fn qos(mut self, qos: u8) -> Self {
        self.qos = qos;
        self
    }

    pub(crate) fn retain(mut self) -> Self {
        self.is_retained = true;
        self
    }

    /// Sets the Will Delay Interval, which only 5.0 has.
    pub(crate) fn delay(self, secs: u32) -> Self {
        self.properties(|it| it.four(id::WILL_DELAY_INTERVAL, secs))
    }

    /// Adds properties; for 5.0 only.
    pub(crate) fn properties(mut self, add: impl FnOnce(Properties) -> Properties) -> Self {
        self.properties = add(self.properties);
        self
    }
}
