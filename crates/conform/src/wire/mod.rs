//! MQTT bytes, as the suite writes and reads them.
//!
//! Writing accepts anything, because cases send what no client may send. Reading accepts only what a server
//! may send: each packet received is checked whole, so that every case also judges the broker's encoding.

mod property_table;
mod publish;
mod reader;
mod received;

pub use property_table::{Kind, PROPERTIES, property};
pub use publish::{Publish, publish};
pub(crate) use reader::split_packet;
pub use received::{Ack, ConnAck, Disconnect, Packet, PropertyList, SubAck, Value};

/// The part of a packet after the fixed header, in the making.
#[derive(Clone, Debug, Default)]
pub struct Body(Vec<u8>);

/// The properties of a packet, in the making, without their length.
#[derive(Clone, Debug, Default)]
pub struct Properties(Vec<u8>);

impl Body {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    pub(crate) fn byte(self, value: u8) -> Self {
        self.raw(&[value])
    }

    pub(crate) fn two(self, value: u16) -> Self {
        self.raw(&value.to_be_bytes())
    }

    pub(crate) fn text(self, text: &str) -> Self {
        self.binary(text.as_bytes())
    }

    /// Two bytes of length, and the bytes.
    pub(crate) fn binary(self, bytes: &[u8]) -> Self {
        let length = u16::try_from(bytes.len()).expect("cases keep strings below 64 KiB");
        self.two(length).raw(bytes)
    }

    pub(crate) fn properties(self, properties: &Properties) -> Self {
        self.raw(&variable_int(properties.0.len())).raw(&properties.0)
    }

    pub(crate) fn raw(mut self, bytes: &[u8]) -> Self {
        self.0.extend_from_slice(bytes);
        self
    }

    /// Puts the fixed header before it.
    pub(crate) fn packet(self, first_byte: u8) -> Vec<u8> {
        packet(first_byte, &self.0)
    }
}

impl Properties {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    pub(crate) fn byte(self, id: u8, value: u8) -> Self {
        self.raw(&[id, value])
    }

    pub(crate) fn two(self, id: u8, value: u16) -> Self {
        self.raw(&[id]).raw(&value.to_be_bytes())
    }

    pub(crate) fn four(self, id: u8, value: u32) -> Self {
        self.raw(&[id]).raw(&value.to_be_bytes())
    }

    pub(crate) fn variable(self, id: u8, value: u32) -> Self {
        self.raw(&[id]).raw(&variable_int(value as usize))
    }

    pub(crate) fn text(self, id: u8, text: &str) -> Self {
        self.binary(id, text.as_bytes())
    }

    pub(crate) fn binary(self, id: u8, bytes: &[u8]) -> Self {
        self.raw(&[id]).raw(&Body::new().binary(bytes).0)
    }

    /// A User Property.
    pub(crate) fn pair(self, name: &str, value: &str) -> Self {
        self.raw(&[property::USER_PROPERTY]).raw(&Body::new().text(name).text(value).0)
    }

    /// Leaves out the last byte.
    pub(crate) fn cut(mut self) -> Self {
        self.0.pop();
        self
    }

    /// Adds all of `others`.
    pub(crate) fn all(self, others: &Self) -> Self {
        self.raw(&others.0)
    }

    pub(crate) fn raw(mut self, bytes: &[u8]) -> Self {
        self.0.extend_from_slice(bytes);
        self
    }
}

/// Returns a packet: the first byte, the length, the body.
pub(crate) fn packet(first_byte: u8, body: &[u8]) -> Vec<u8> {
    let mut bytes = vec![first_byte];
    bytes.extend(variable_int(body.len()));
    bytes.extend_from_slice(body);
    bytes
}

fn variable_int(mut value: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    loop {
        let low = (value % 128) as u8;
        value /= 128;
        if value == 0 {
            bytes.push(low);
            return bytes;
        }
        bytes.push(low | 0x80);
    }
}
