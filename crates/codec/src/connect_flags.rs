//! The Connect Flags (section 3.1.2.3): which fields the payload of a CONNECT has.

use crate::error::Malformed;
use crate::read::Reader;
use crate::{Connect, QoS, Version};

/// The Connect Flags.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ConnectFlags {
    pub(crate) clean_start: bool,
    pub(crate) will: bool,
    pub(crate) will_qos: QoS,
    pub(crate) will_retain: bool,
    pub(crate) password: bool,
    pub(crate) username: bool,
}

impl ConnectFlags {
    /// Reads the flags, and checks those that contradict each other ([MQTT-3.1.2-3], [MQTT-3.1.2-11],
    /// [MQTT-3.1.2-12], [MQTT-3.1.2-13], v3.1.1 [MQTT-3.1.2-22]).
    ///
    /// In 3.1 the reserved bit is not used, and without a will the values of its other flags are disregarded
    /// (v3.1 §3.1).
    pub(crate) fn read(reader: &mut Reader<'_>, version: Version) -> Result<Self, Malformed> {
        let mut byte = reader.byte()?;
        if version.disregards_unused_flags() {
            byte &= if byte & WILL == 0 { !(RESERVED | WILL_QOS | WILL_RETAIN) } else { !RESERVED };
        }
        if byte & RESERVED != 0 {
            return Err(Malformed::ConnectFlags);
        }
        let flags = Self {
            clean_start: byte & CLEAN_START != 0,
            will: byte & WILL != 0,
            will_qos: QoS::from_byte((byte & WILL_QOS) >> 3).ok_or(Malformed::WillFlags)?,
            will_retain: byte & WILL_RETAIN != 0,
            password: byte & PASSWORD != 0,
            username: byte & USER_NAME != 0,
        };
        if !flags.will && (flags.will_qos != QoS::AtMostOnce || flags.will_retain) {
            return Err(Malformed::WillFlags);
        }
        if flags.password && !flags.username && !version.allows_password_alone() {
            return Err(Malformed::PasswordWithoutUserName);
        }
        Ok(flags)
    }

    /// Returns the flags that the fields of `connect` come to.
    pub(crate) fn of(connect: &Connect<'_>) -> Self {
        Self {
            clean_start: connect.clean_start,
            will: connect.will.is_some(),
            will_qos: connect.will.map_or(QoS::AtMostOnce, |will| will.qos),
            will_retain: connect.will.is_some_and(|will| will.retain),
            password: connect.password.is_some(),
            username: connect.username.is_some(),
        }
    }

    pub(crate) fn to_byte(self) -> u8 {
        let flag = |is_set: bool, bit: u8| if is_set { bit } else { 0 };
        flag(self.clean_start, CLEAN_START)
            | flag(self.will, WILL)
            | self.will_qos.to_byte() << 3
            | flag(self.will_retain, WILL_RETAIN)
            | flag(self.password, PASSWORD)
            | flag(self.username, USER_NAME)
    }
}

const RESERVED: u8 = 1;
const CLEAN_START: u8 = 1 << 1;
const WILL: u8 = 1 << 2;
const WILL_QOS: u8 = 0b11 << 3;
const WILL_RETAIN: u8 = 1 << 5;
const PASSWORD: u8 = 1 << 6;
const USER_NAME: u8 = 1 << 7;
