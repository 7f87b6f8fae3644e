//! Reading the fields of a packet, strictly.

use super::{Kind, PROPERTIES, PropertyList, Value};

/// The rest of a packet.
pub(crate) struct Reader<'a>(pub(crate) &'a [u8]);

/// What is wrong with the bytes, in words.
pub(crate) type Read<T> = Result<T, String>;

/// Finds the first packet in `bytes`: its first byte, its body, and its size; `None` if it is not whole yet.
pub(crate) fn split_packet(bytes: &[u8]) -> Read<Option<(u8, &[u8], usize)>> {
    let Some((first_byte, rest)) = bytes.split_first() else {
        return Ok(None);
    };
    let length_bytes = rest.iter().take(4).position(|byte| byte & 0x80 == 0);
    let Some(last) = length_bytes else {
        return if rest.len() < 4 {
            Ok(None)
        } else {
            Err("a Remaining Length of five bytes".into())
        };
    };
    let mut reader = Reader(rest);
    let length = reader.variable()? as usize;
    let header = last + 2;
    Ok(bytes.get(header..header + length).map(|body| (*first_byte, body, header + length)))
}

impl<'a> Reader<'a> {
    pub(crate) fn take(&mut self, count: usize) -> Read<&'a [u8]> {
        let Some((head, tail)) = self.0.split_at_checked(count) else {
            return Err(format!("a field of {count} bytes where only {} are left", self.0.len()));
        };
        self.0 = tail;
        Ok(head)
    }

    pub(crate) fn byte(&mut self) -> Read<u8> {
        Ok(self.take(1)?[0])
    }

    pub(crate) fn two(&mut self) -> Read<u16> {
        let bytes = self.take(2)?;
        Ok(u16::from_be_bytes([bytes[0], bytes[1]]))
    }

    pub(crate) fn four(&mut self) -> Read<u32> {
        Ok(u32::from(self.two()?) << 16 | u32::from(self.two()?))
    }

    pub(crate) fn variable(&mut self) -> Read<u32> {
        let mut value = 0;
        for index in 0..4 {
            let byte = self.byte()?;
            value |= u32::from(byte & 0x7F) << (7 * index);
            if byte & 0x80 == 0 {
                let is_shortest = byte != 0 || index == 0;
                return if is_shortest {
                    Ok(value)
                } else {
                    Err("an integer longer than needed, [MQTT-1.5.5-1]".into())
                };
            }
        }
        Err("a Variable Byte Integer of five bytes".into())
    }

    pub(crate) fn binary(&mut self) -> Read<&'a [u8]> {
        let length = self.two()?;
        self.take(usize::from(length))
    }

    pub(crate) fn text(&mut self) -> Read<String> {
        let text = std::str::from_utf8(self.binary()?).map_err(|_| "a string that is not UTF-8")?;
        if text.contains('\0') {
            let statements = "[MQTT-1.5.4-2] v3.1.1 [MQTT-1.5.3-2]";
            return Err(format!("a string with U+0000, {statements}"));
        }
        Ok(text.to_owned())
    }

    /// Reads the properties of a packet that a server sends, by Table 2-4.
    pub(crate) fn properties(&mut self, packet_type: u8) -> Read<PropertyList> {
        let length = self.variable()? as usize;
        let mut section = Reader(self.take(length)?);
        let mut list = PropertyList::default();
        while !section.0.is_empty() {
            let id = section.byte()?;
            let row = PROPERTIES
                .iter()
                .find(|(known, _, packets)| *known == id && packets.contains(&packet_type));
            let Some((_, kind, _)) = row else {
                return Err(format!("property {id:#04x}, which packet type {packet_type} has not"));
            };
            let value = section.value(*kind)?;
            // A server may repeat only these: one subscription identifier for each matching subscription.
            let is_repeatable = matches!(value, Value::Pair(..) | Value::Variable(_));
            if !is_repeatable && list.0.iter().any(|(known, _)| *known == id) {
                return Err(format!("property {id:#04x} twice"));
            }
            list.0.push((id, value));
        }
        Ok(list)
    }

    fn value(&mut self, kind: Kind) -> Read<Value> {
        Ok(match kind {
            Kind::Byte => Value::Byte(self.byte()?),
            Kind::Two => Value::Two(self.two()?),
            Kind::Four => Value::Four(self.four()?),
            Kind::Variable => Value::Variable(self.variable()?),
            Kind::Text => Value::Text(self.text()?),
            Kind::Binary => Value::Binary(self.binary()?.to_owned()),
            Kind::Pair => Value::Pair(self.text()?, self.text()?),
        })
    }

    pub(crate) fn end(&self) -> Read<()> {
        if self.0.is_empty() {
            Ok(())
        } else {
            Err(format!("{} bytes after the end", self.0.len()))
        }
    }
}
