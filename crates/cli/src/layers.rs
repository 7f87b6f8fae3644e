//! What lies between a connection and MQTT, on the client's side: TLS, WebSocket, or both. It moves bytes, and knows
//! neither a socket nor a clock.

use std::io::{self, Read, Write};
use std::sync::Arc;

use quelea_transport::upgrade;
use quelea_transport::websocket::{Decoder, Opcode, Side, append_frame};
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection};

use crate::way::{Way, hint};

/// The layers of one connection.
#[derive(Debug)]
pub(crate) struct Layers {
    tls: Option<ClientConnection>,
    websocket: Option<WebSocket>,
    /// What TLS has opened and WebSocket not yet taken apart.
    opened: Vec<u8>,
}

#[derive(Debug)]
struct WebSocket {
    key: [u8; 16],
    stage: Stage,
    /// What waits for the end of the upgrade.
    held: Vec<u8>,
}

#[derive(Debug)]
enum Stage {
    Upgrading(Vec<u8>),
    Open(Decoder),
}

/// Whether more can come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flow {
    Open,
    /// The broker has said that nothing more comes.
    Ended,
}

impl Layers {
    /// Makes the layers of `way`, if there are any. What is to be sent first is appended to `out`.
    pub(crate) fn new(way: &Way, out: &mut Vec<u8>) -> io::Result<Option<Box<Self>>> {
        if way.tls.is_none() && way.path.is_none() {
            return Ok(None);
        }
        let tls = way.tls.as_ref().map(|config| tls(config, &way.host)).transpose()?;
        let mut layers = Self { tls, websocket: None, opened: Vec::new() };
        let mut request = Vec::new();
        if let Some(path) = &way.path {
            let key = random()?;
            let host =
                if way.host.contains(':') { format!("[{}]", way.host) } else { way.host.clone() };
            request = upgrade::request(&format!("{host}:{}", way.port), path, key);
            let stage = Stage::Upgrading(Vec::new());
            layers.websocket = Some(WebSocket { key, stage, held: Vec::new() });
        }
        layers.send(&request, out)?;
        Ok(Some(Box::new(layers)))
    }

    /// Takes in bytes of MQTT. What is to be sent for them, at once or later, is appended to `out`.
    pub(crate) fn seal(&mut self, plain: &[u8], out: &mut Vec<u8>) -> io::Result<()> {
        match &mut self.websocket {
            Some(WebSocket { stage: Stage::Upgrading(_), held, .. }) => {
                held.extend_from_slice(plain);
                Ok(())
            }
            Some(WebSocket { stage: Stage::Open(_), .. }) => {
                self.send_frame(Opcode::Binary, plain, out)
            }
            None => self.send(plain, out),
        }
    }

    /// Takes in what has arrived. Bytes of MQTT are appended to `plain`, what is to be sent to `out`.
    pub(crate) fn open(
        &mut self,
        arrived: &[u8],
        plain: &mut Vec<u8>,
        out: &mut Vec<u8>,
    ) -> io::Result<Flow> {
        let mut flow = Flow::Open;
        let before = plain.len();
        match &mut self.tls {
            Some(tls) => flow = open_tls(tls, arrived, plain, out)?,
            None => plain.extend_from_slice(arrived),
        }
        if self.websocket.is_some() {
            self.opened.extend_from_slice(&plain[before..]);
            plain.truncate(before);
            flow = self.take_frames(plain, out, flow)?;
        }
        Ok(flow)
    }

    fn take_frames(
        &mut self,
        plain: &mut Vec<u8>,
        out: &mut Vec<u8>,
        flow: Flow,
    ) -> io::Result<Flow> {
        let Some(websocket) = &mut self.websocket else { return Ok(flow) };
        let mut opened = std::mem::take(&mut self.opened);
        if let Stage::Upgrading(head) = &mut websocket.stage {
            head.append(&mut opened);
            let Some(length) = upgrade::find_head(head).map_err(invalid)? else { return Ok(flow) };
            upgrade::check_response(&head[..length], websocket.key).map_err(invalid)?;
            opened = head.split_off(length);
            websocket.stage = Stage::Open(Decoder::new(Side::Server));
            let held = std::mem::take(&mut websocket.held);
            if !held.is_empty() {
                self.send_frame(Opcode::Binary, &held, out)?;
            }
        }
        let Some(WebSocket { stage: Stage::Open(decoder), .. }) = &mut self.websocket else {
            return Ok(flow);
        };
        let length = decoder.decode(&mut opened).map_err(invalid)?;
        let is_over = decoder.close_code().is_some();
        let ping = decoder.take_ping();
        plain.extend_from_slice(&opened[..length]);
        opened.clear();
        self.opened = opened;
        if let Some(payload) = ping {
            self.send_frame(Opcode::Pong, &payload, out)?;
        }
        Ok(if is_over { Flow::Ended } else { flow })
    }

    fn send_frame(&mut self, opcode: Opcode, payload: &[u8], out: &mut Vec<u8>) -> io::Result<()> {
        let mut frame = Vec::with_capacity(payload.len() + 14);
        append_frame(&mut frame, opcode, payload, Some(random()?));
        self.send(&frame, out)
    }

    fn send(&mut self, bytes: &[u8], out: &mut Vec<u8>) -> io::Result<()> {
        let Some(tls) = &mut self.tls else {
            out.extend_from_slice(bytes);
            return Ok(());
        };
        tls.writer().write_all(bytes)?;
        write_tls(tls, out)
    }
}

fn tls(config: &Arc<ClientConfig>, host: &str) -> io::Result<ClientConnection> {
    let name = ServerName::try_from(host.to_owned()).map_err(invalid)?;
    let mut tls = ClientConnection::new(Arc::clone(config), name).map_err(invalid)?;
    // Its user bounds what it gives.
    tls.set_buffer_limit(None);
    Ok(tls)
}

fn open_tls(
    tls: &mut ClientConnection,
    mut arrived: &[u8],
    plain: &mut Vec<u8>,
    out: &mut Vec<u8>,
) -> io::Result<Flow> {
    let mut flow = Flow::Open;
    while !arrived.is_empty() && flow == Flow::Open {
        tls.read_tls(&mut arrived)?;
        let state = match tls.process_new_packets() {
            Ok(state) => state,
            Err(error) => {
                // The broker is told, if that is possible.
                let _ = write_tls(tls, out);
                return Err(invalid(format!("{error}{}", hint(&error))));
            }
        };
        let start = plain.len();
        plain.resize(start + state.plaintext_bytes_to_read(), 0);
        tls.reader().read_exact(&mut plain[start..])?;
        if state.peer_has_closed() {
            flow = Flow::Ended;
        }
    }
    write_tls(tls, out)?;
    Ok(flow)
}

fn write_tls(tls: &mut ClientConnection, out: &mut Vec<u8>) -> io::Result<()> {
    while tls.wants_write() {
        tls.write_tls(out)?;
    }
    Ok(())
}

/// Draws bytes that nobody can foresee.
fn random<const LENGTH: usize>() -> io::Result<[u8; LENGTH]> {
    let mut bytes = [0; LENGTH];
    let random = aws_lc_rs::default_provider().secure_random;
    random.fill(&mut bytes).map_err(|_| io::Error::other("the system has no random numbers"))?;
    Ok(bytes)
}

fn invalid(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}
