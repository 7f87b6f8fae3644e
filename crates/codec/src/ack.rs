//! PUBACK, PUBREC, PUBREL and PUBCOMP: four packets of one form.

use alloc::vec::Vec;

use crate::{PacketId, PacketKind, ReasonCode, UserProperties, Version};

/// An acknowledgement in the exchange of a PUBLISH (sections 3.4 to 3.7).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ack<'a> {
    /// Packet Identifier of the PUBLISH.
    pub packet_id: PacketId,
    /// Reason Code; always success in 3.x.
    pub reason: ReasonCode,
    /// Properties; none in 3.x.
    pub properties: AckProperties<'a>,
}

/// The properties of acknowledgements, SUBACK and UNSUBACK included.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AckProperties<'a> {
    /// Reason String.
    pub reason_string: Option<&'a str>,
    /// User Properties.
    pub user_properties: UserProperties<'a>,
}

impl Ack<'_> {
    /// Returns an acknowledgement without properties.
    pub fn new(packet_id: PacketId, reason: ReasonCode) -> Self {
        Self {
            packet_id,
            reason,
            properties: AckProperties::default(),
        }
    }
}

/// Appends a PUBACK, PUBREC, PUBREL or PUBCOMP to `out`: 4 bytes in 3.x, and for a success without reason
/// string in 5.0.
///
/// In 3.x `reason` and `reason_string` are left out.
///
/// # Panics
///
/// When `kind` is another packet, or the reason string is longer than 65,535 bytes.
pub fn encode_ack(
    kind: PacketKind,
    packet_id: PacketId,
    reason: ReasonCode,
    reason_string: Option<&str>,
    version: Version,
    out: &mut Vec<u8>,
) {
    let _ = (kind, packet_id, reason, reason_string, version, out);
}
