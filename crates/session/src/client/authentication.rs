//! Enhanced authentication (section 4.12): with CONNECT, and again on a connection that is there.

use alloc::vec::Vec;

use quelea_codec::{Auth, AuthProperties, Packet, PacketKind, ReasonCode};

use super::event::{Event, Unsent};
use super::fault::Fault;
use super::handshake::Asked;
use super::{ClientSession, Link, Phase, unexpected};

impl<T> ClientSession<T> {
    /// Goes on with an authentication, after [`Event::Authenticate`] ([MQTT-4.12.0-3]).
    ///
    /// # Errors
    ///
    /// [`Unsent::NotConnected`] if no authentication is under way.
    pub fn authenticate(&mut self, data: &[u8], out: &mut Vec<u8>) -> Result<(), Unsent> {
        match &self.phase {
            Phase::Connecting(asked) => {
                write_auth(asked, ReasonCode::CONTINUE_AUTHENTICATION, data, out)
            }
            Phase::Connected(link) if link.is_reauthenticating => {
                write_auth(&link.asked, ReasonCode::CONTINUE_AUTHENTICATION, data, out)
            }
            Phase::Connected(_) | Phase::Offline | Phase::Closing => Err(Unsent::NotConnected),
        }
    }

    /// Begins a re-authentication, with the method of CONNECT ([MQTT-4.12.1-1]).
    ///
    /// # Errors
    ///
    /// [`Unsent::NotConnected`] without a connection; [`Unsent::Busy`] while another one is under way;
    /// [`Unsent::NotSupported`] if CONNECT had no method ([MQTT-4.12.0-7]).
    pub fn reauthenticate(&mut self, data: &[u8], out: &mut Vec<u8>) -> Result<(), Unsent> {
        let link = self.phase.link().ok_or(Unsent::NotConnected)?;
        if link.is_reauthenticating {
            return Err(Unsent::Busy);
        }
        write_auth(&link.asked, ReasonCode::RE_AUTHENTICATE, data, out)?;
        link.is_reauthenticating = true;
        Ok(())
    }

    pub(super) fn on_auth<'p>(&mut self, auth: &Auth<'p>) -> Result<Event<'p, T>, Fault> {
        let is_done = auth.reason == ReasonCode::SUCCESS;
        match &mut self.phase {
            // Success comes as CONNACK.
            Phase::Connecting(asked) if !is_done => {
                check_method(asked, auth)?;
                Ok(Event::Authenticate(*auth))
            }
            Phase::Connected(Link { asked, is_reauthenticating, .. }) if *is_reauthenticating => {
                check_method(asked, auth)?;
                *is_reauthenticating = !is_done;
                Ok(if is_done { Event::Authenticated(*auth) } else { Event::Authenticate(*auth) })
            }
            Phase::Connecting(_) | Phase::Connected(_) | Phase::Offline | Phase::Closing => {
                Err(unexpected(PacketKind::Auth))
            }
        }
    }
}

/// Checks that AUTH has the method of CONNECT ([MQTT-4.12.0-5]). The short form, which has none, is a success.
fn check_method(asked: &Asked, auth: &Auth<'_>) -> Result<(), Fault> {
    let is_asked = match (&asked.method, auth.properties.method) {
        (Some(asked), Some(method)) => **asked == *method,
        (Some(_), None) => auth.reason == ReasonCode::SUCCESS,
        (None, _) => false,
    };
    if is_asked { Ok(()) } else { Err(Fault::AuthenticationMethod) }
}

fn write_auth(
    asked: &Asked,
    reason: ReasonCode,
    data: &[u8],
    out: &mut Vec<u8>,
) -> Result<(), Unsent> {
    let not_supported = Unsent::NotSupported(ReasonCode::BAD_AUTHENTICATION_METHOD);
    let method = asked.method.as_deref().ok_or(not_supported)?;
    let properties = AuthProperties {
        method: Some(method),
        data: Some(data).filter(|data| !data.is_empty()),
        ..AuthProperties::default()
    };
    Packet::Auth(Auth { reason, properties }).encode(asked.version, out);
    Ok(())
}
