//! TLS for one connection, over rustls' unbuffered interface.
//!
//! Records are decrypted out of memory that all connections of a shard share, and what is sent is encrypted into
//! such memory once a flush. A connection keeps the start of a record that has not come to its end, and nothing
//! else beside its keys. This module is the only one that knows the interface, which the next major version of
//! rustls changes.

mod credentials;
mod identity;
mod material;
mod validity;

use std::sync::Arc;

use rustls::server::{ServerConnectionData, UnbufferedServerConnection};
use rustls::unbuffered::{
    ConnectionState, EncodeError, EncryptError, InsufficientSizeError, UnbufferedStatus,
};
use rustls::{Error, ServerConfig};

pub(crate) use credentials::Read;
pub(crate) use material::MaterialError;

pub(super) use credentials::Credentials;

/// One connection's TLS, on the server's side.
pub(super) struct Tls {
    connection: UnbufferedServerConnection,
    /// Received and not yet complete: the start of a record, or records of one handshake message.
    partial: Vec<u8>,
    is_handshaking: bool,
    is_closed: bool,
}

/// What has become of some bytes that arrived.
#[derive(Clone, Copy, Debug)]
pub(super) struct Opened {
    /// Bytes of plain text that were written.
    pub(super) plain_bytes: usize,
    /// The peer has said that nothing more comes.
    pub(super) is_end: bool,
    /// Public-key cryptography was done.
    pub(super) was_handshake: bool,
}

impl Tls {
    pub(super) fn new(config: Arc<ServerConfig>) -> Result<Self, Error> {
        let connection = UnbufferedServerConnection::new(config)?;
        Ok(Self { connection, partial: Vec::new(), is_handshaking: true, is_closed: false })
    }

    /// Returns whether the handshake goes on.
    pub(super) fn is_handshaking(&self) -> bool {
        self.is_handshaking
    }

    /// Returns the client's own certificate in DER, if it has shown one that was verified.
    pub(super) fn client_certificate(&self) -> Option<&[u8]> {
        self.connection.peer_certificates()?.first().map(|it| it.as_ref())
    }

    /// Returns what arrived earlier and must lie in front of what arrives next.
    pub(super) fn partial(&self) -> &[u8] {
        &self.partial
    }

    /// Takes in `incoming`, which begins with [`Self::partial`]. Plain text goes to `plain`, which is at least as
    /// long, and what TLS itself has to say to the peer is appended to `answer`, also when this fails.
    pub(super) fn open(
        &mut self,
        incoming: &mut [u8],
        plain: &mut [u8],
        answer: &mut Vec<u8>,
    ) -> Result<Opened, Error> {
        let was_handshaking = self.is_handshaking;
        let answered_before = answer.len();
        let mut used = 0;
        let result = self.process(incoming, &mut used, plain, answer);
        let mut opened = match result {
            Ok(opened) => opened,
            Err(error) => {
                self.is_closed = true;
                append_alert(&mut self.connection, &mut incoming[used..], answer);
                return Err(error);
            }
        };
        if let Err(error) = self.keep(&incoming[used..]) {
            // rustls must not be called again: it remembers places in bytes that are gone.
            self.is_closed = true;
            return Err(error);
        }
        opened.was_handshake =
            was_handshaking && (answer.len() > answered_before || !self.is_handshaking);
        Ok(opened)
    }

    /// Processes all records that are complete, and counts the bytes that are done with in `used`.
    ///
    /// rustls keeps places in what is not done with: whenever it is called again, the same bytes must lie there.
    fn process(
        &mut self,
        incoming: &mut [u8],
        used: &mut usize,
        plain: &mut [u8],
        answer: &mut Vec<u8>,
    ) -> Result<Opened, Error> {
        let mut opened = Opened { plain_bytes: 0, is_end: false, was_handshake: false };
        loop {
            let UnbufferedStatus { mut discard, state } =
                self.connection.process_tls_records(&mut incoming[*used..]);
            let mut is_drained = false;
            let state = match state {
                Ok(state) => state,
                Err(error) => {
                    *used += discard;
                    return Err(error);
                }
            };
            match state {
                ConnectionState::ReadTraffic(mut traffic) => {
                    while let Some(record) = traffic.next_record() {
                        let record = record?;
                        let end = opened.plain_bytes + record.payload.len();
                        plain[opened.plain_bytes..end].copy_from_slice(record.payload);
                        opened.plain_bytes = end;
                        discard += record.discard;
                    }
                }
                ConnectionState::EncodeTlsData(mut data) => append_handshake(answer, &mut data),
                ConnectionState::TransmitTlsData(transmit) => transmit.done(),
                ConnectionState::PeerClosed | ConnectionState::Closed => {
                    opened.is_end = true;
                    is_drained = true;
                }
                ConnectionState::WriteTraffic(_) => {
                    self.is_handshaking = false;
                    is_drained = true;
                }
                ConnectionState::BlockedHandshake => is_drained = true,
                // Early data is not offered, and rustls has no other state.
                _ => return Err(Error::General("TLS is in an unknown state".to_owned())),
            }
            *used += discard;
            if is_drained {
                return Ok(opened);
            }
        }
    }

    /// Keeps the start of what is not complete.
    fn keep(&mut self, rest: &[u8]) -> Result<(), Error> {
        if rest.len() > PARTIAL_BYTES_MAX {
            return Err(Error::General("a handshake message is too long".to_owned()));
        }
        if rest.is_empty() {
            self.partial = Vec::new();
        } else {
            self.partial.clear();
            self.partial.extend_from_slice(rest);
        }
        Ok(())
    }

    /// Appends `plain` to `sealed`, encrypted.
    pub(super) fn seal(&mut self, plain: &[u8], sealed: &mut Vec<u8>) -> Result<(), Error> {
        if self.is_closed {
            return Err(Error::General("this side of TLS is closed".to_owned()));
        }
        loop {
            match self.connection.process_tls_records(&mut self.partial).state? {
                ConnectionState::WriteTraffic(mut traffic) => {
                    return append(sealed, sealed_bytes(plain), |space| {
                        traffic.encrypt(plain, space)
                    });
                }
                ConnectionState::EncodeTlsData(mut data) => append_handshake(sealed, &mut data),
                ConnectionState::TransmitTlsData(transmit) => transmit.done(),
                // A peer from which nothing more comes may still read.
                ConnectionState::PeerClosed => {}
                _ => return Err(Error::HandshakeNotComplete),
            }
        }
    }

    /// Appends the end of this side to `sealed`, once.
    pub(super) fn close(&mut self, sealed: &mut Vec<u8>) {
        if std::mem::replace(&mut self.is_closed, true) {
            return;
        }
        // A peer that cannot be told learns it from the end of the connection.
        if let Ok(ConnectionState::WriteTraffic(mut traffic)) =
            self.connection.process_tls_records(&mut self.partial).state
        {
            let _ = append(sealed, 0, |space| traffic.queue_close_notify(space));
        }
        append_alert(&mut self.connection, &mut self.partial, sealed);
    }
}

/// Appends what is still to be said, after an error an alert. `incoming` is looked at by rustls only when there is
/// nothing to say, so that it is not.
fn append_alert(
    connection: &mut UnbufferedServerConnection,
    incoming: &mut [u8],
    out: &mut Vec<u8>,
) {
    while connection.wants_write()
        && let Ok(ConnectionState::EncodeTlsData(mut data)) =
            connection.process_tls_records(incoming).state
    {
        append_handshake(out, &mut data);
    }
}

fn append_handshake(
    out: &mut Vec<u8>,
    data: &mut rustls::unbuffered::EncodeTlsData<'_, ServerConnectionData>,
) {
    let start = out.len();
    out.resize(start + FLIGHT_BYTES_GUESS, 0);
    let mut encoded = data.encode(&mut out[start..]);
    if let Err(EncodeError::InsufficientSize(InsufficientSizeError { required_size })) = encoded {
        out.resize(start + required_size, 0);
        encoded = data.encode(&mut out[start..]);
    }
    out.truncate(start + encoded.unwrap_or(0));
}

/// Appends what `encrypt` writes, which is about `guess` bytes.
fn append(
    out: &mut Vec<u8>,
    guess: usize,
    mut encrypt: impl FnMut(&mut [u8]) -> Result<usize, EncryptError>,
) -> Result<(), Error> {
    let start = out.len();
    out.resize(start + guess, 0);
    let mut encrypted = encrypt(&mut out[start..]);
    if let Err(EncryptError::InsufficientSize(InsufficientSizeError { required_size })) = encrypted
    {
        out.resize(start + required_size, 0);
        encrypted = encrypt(&mut out[start..]);
    }
    out.truncate(start + encrypted.as_ref().map_or(0, |bytes| *bytes));
    encrypted.map(|_| ()).map_err(|_| Error::EncryptError)
}

/// Returns how many bytes `plain` takes when encrypted, at most.
fn sealed_bytes(plain: &[u8]) -> usize {
    plain.len() + plain.len().div_ceil(RECORD_BYTES_MAX) * RECORD_OVERHEAD
}

/// Plain text in one record.
const RECORD_BYTES_MAX: usize = 16_384;

/// What a record adds to its plain text, at most: header, explicit nonce, content type and tag.
const RECORD_OVERHEAD: usize = 5 + 8 + 1 + 16;

/// A record has up to 16,640 bytes and a header; a handshake message may have more, when a client's chain of
/// certificates is long. What is longer than this ends the connection.
const PARTIAL_BYTES_MAX: usize = 24 * 1024;

/// Most handshake records are shorter, and only one that is longer is tried twice.
const FLIGHT_BYTES_GUESS: usize = 2_048;

#[cfg(test)]
mod tests {
    use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer, ServerName};
    use rustls::version::{TLS12, TLS13};
    use rustls::{ClientConfig, ClientConnection, RootCertStore, SupportedProtocolVersion};

    use super::*;

    /// Whatever a peer sends, in whatever pieces: it is taken, or refused with an error.
    #[test]
    fn mutations_of_a_handshake_are_survived() {
        for version in [&TLS12, &TLS13] {
            let (server, client) = configs(version);
            let mut random = Random(1);
            let mut refused = 0;
            for _ in 0..1_000 {
                let mut pair = Pair::new(&server, &client);
                refused += u32::from(pair.run(&mut random).is_err());
            }
            assert!(refused > 250, "{refused}");
        }
    }

    #[test]
    fn handshake_in_any_pieces_is_completed() {
        for version in [&TLS12, &TLS13] {
            let (server, client) = configs(version);
            for piece in [1, 2, 3, 5, 100, 10_000] {
                let mut pair = Pair::new(&server, &client);
                pair.piece_bytes = piece;
                pair.run(&mut Random(0)).unwrap();
                assert!(!pair.tls.is_handshaking(), "{piece}");
                assert_eq!(pair.plain, b"hello", "{piece}");
                assert!(pair.tls.partial().is_empty(), "{piece}");
            }
        }
    }

    /// One message over two full records, of which the first is kept in vain.
    #[test]
    fn a_handshake_message_that_is_too_long_ends_it_for_good() {
        let (server, _) = configs(&TLS13);
        let mut tls = Tls::new(server).unwrap();
        let mut record = vec![22, 3, 1, 0x40, 0x00];
        record.resize(5 + 0x4000, 0);
        let mut hello = record.clone();
        hello[5..9].copy_from_slice(&[1, 0, 0xFF, 0xF0]);
        let mut incoming = [hello, record].concat();
        let mut plain = vec![0; incoming.len()];
        let mut answer = Vec::new();
        assert!(tls.open(&mut incoming, &mut plain, &mut answer).is_err());
        tls.close(&mut answer);
        assert!(tls.seal(b"hello", &mut answer).is_err());
    }

    struct Pair {
        tls: Tls,
        client: ClientConnection,
        plain: Vec<u8>,
        piece_bytes: usize,
    }

    impl Pair {
        fn new(server: &Arc<ServerConfig>, client: &Arc<ClientConfig>) -> Self {
            let name = ServerName::try_from("localhost").unwrap();
            let client = ClientConnection::new(Arc::clone(client), name).unwrap();
            let tls = Tls::new(Arc::clone(server)).unwrap();
            Self { tls, client, plain: Vec::new(), piece_bytes: 1_000 }
        }

        /// Lets both talk until they have nothing to say. With luck some bytes change on their way.
        fn run(&mut self, random: &mut Random) -> Result<(), Error> {
            use std::io::Write as _;
            let is_mutating = random.0 != 0;
            self.client.writer().write_all(b"hello").unwrap();
            loop {
                let mut sent = Vec::new();
                while self.client.wants_write() {
                    self.client.write_tls(&mut sent).unwrap();
                }
                if sent.is_empty() {
                    return Ok(());
                }
                if is_mutating {
                    random.mutate(&mut sent);
                    self.piece_bytes = 1 + random.below(sent.len() + 1);
                }
                for piece in sent.chunks(self.piece_bytes) {
                    let answer = self.receive(piece)?;
                    let mut answer = answer.as_slice();
                    while !answer.is_empty() {
                        self.client.read_tls(&mut answer).unwrap();
                        self.client.process_new_packets()?;
                    }
                }
                // Both may be called at any time.
                let _ = self.tls.seal(b"answer", &mut Vec::new());
            }
        }

        fn receive(&mut self, piece: &[u8]) -> Result<Vec<u8>, Error> {
            let mut incoming = self.tls.partial().to_vec();
            incoming.extend_from_slice(piece);
            let mut plain = vec![0; incoming.len()];
            let mut answer = Vec::new();
            let opened = self.tls.open(&mut incoming, &mut plain, &mut answer);
            if opened.is_err() {
                self.tls.close(&mut answer);
            }
            self.plain.extend_from_slice(&plain[..opened?.plain_bytes]);
            Ok(answer)
        }
    }

    /// A generator whose numbers need not be good; 0 stays 0.
    struct Random(u64);

    impl Random {
        fn below(&mut self, limit: usize) -> usize {
            self.0 ^= self.0 << 13;
            self.0 ^= self.0 >> 7;
            self.0 ^= self.0 << 17;
            (self.0 % limit as u64) as usize
        }

        fn mutate(&mut self, bytes: &mut Vec<u8>) {
            match self.below(6) {
                0 => {
                    let at = self.below(bytes.len());
                    bytes[at] = self.below(256) as u8;
                }
                1 => bytes.truncate(self.below(bytes.len() + 1)),
                2 => {
                    let at = self.below(bytes.len());
                    bytes.insert(at, self.below(256) as u8);
                }
                // A record once more.
                3 => bytes.extend_from_within(..),
                4 => {
                    let at = self.below(bytes.len().min(64));
                    bytes[at] = self.below(256) as u8;
                }
                _ => {}
            }
        }
    }

    fn configs(
        version: &'static SupportedProtocolVersion,
    ) -> (Arc<ServerConfig>, Arc<ClientConfig>) {
        let key = rcgen::KeyPair::generate().unwrap();
        let params = rcgen::CertificateParams::new(["localhost".to_owned()]).unwrap();
        let certificate: CertificateDer<'static> = params.self_signed(&key).unwrap().into();
        let mut roots = RootCertStore::empty();
        roots.add(certificate.clone()).unwrap();
        let verifier =
            rustls::server::WebPkiClientVerifier::builder(Arc::new(roots.clone())).build().unwrap();
        let key = PrivatePkcs8KeyDer::from(key.serialize_der());
        let server = ServerConfig::builder()
            .with_client_cert_verifier(verifier)
            .with_single_cert(vec![certificate.clone()], key.clone_key().into())
            .unwrap();
        let client = ClientConfig::builder_with_protocol_versions(&[version])
            .with_root_certificates(roots)
            .with_client_auth_cert(vec![certificate], key.into())
            .unwrap();
        (Arc::new(server), Arc::new(client))
    }
}
