//! Enhanced authentication (MQTT 5.0 section 4.12): several steps, each an AUTH packet each way.

use quelea_codec::ReasonCode;

use crate::Identity;

/// One authentication of one client, step by step.
pub trait Exchange: Send {
    /// Takes what the client sent. Called where it may take its time.
    fn step(&mut self, data: &[u8]) -> Step;
}

/// What an exchange says to the client's latest data.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Not yet: this goes to the client, who answers ([MQTT-4.12.0-2]).
    Continue(Vec<u8>),
    /// The client may come in, whoever it is; this goes to it with the CONNACK.
    Accept(Vec<u8>),
    /// The client is this one; the data goes to it with the CONNACK.
    Identify(Box<Identity>, Vec<u8>),
    /// It is not who it says, for this reason ([MQTT-4.12.0-1]).
    Refuse(ReasonCode),
}
