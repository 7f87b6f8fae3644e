//! What must hold for what lies between a socket and MQTT.

use quelea_transport::proxy;
use quelea_transport::upgrade::{self, HEAD_BYTES_MAX, Rules};
use quelea_transport::websocket::{Decoder, Opcode, Side, Violation, append_frame};

/// Frames mean the same however they arrive, and what is framed comes out again.
///
/// # Panics
///
/// When they do not.
pub fn check_websocket(input: &[u8]) {
    let Some((&first, frames)) = input.split_first() else { return };
    let peer = if first & 1 == 0 { Side::Client } else { Side::Server };
    let whole = decode(peer, frames, frames.len().max(1));
    let pieces = decode(peer, frames, usize::from(first >> 1) + 1);
    match (&whole, &pieces) {
        (Ok(whole), Ok(pieces)) => assert_eq!(whole, pieces),
        (whole, pieces) => assert_eq!(whole.as_ref().err(), pieces.as_ref().err()),
    }
    let mask = (peer == Side::Client).then_some([first, 1, 2, 3]);
    let mut framed = Vec::new();
    append_frame(&mut framed, Opcode::Ping, &frames[..frames.len().min(125)], mask);
    append_frame(&mut framed, Opcode::Binary, frames, mask);
    let (data, ping, _) = decode(peer, &framed, framed.len()).expect("it is a frame");
    assert_eq!(data, frames);
    assert_eq!(ping.as_deref(), Some(&frames[..frames.len().min(125)]));
}

type Decoded = (Vec<u8>, Option<Vec<u8>>, Option<u16>);

fn decode(peer: Side, frames: &[u8], piece_bytes: usize) -> Result<Decoded, Violation> {
    let mut decoder = Decoder::new(peer);
    let mut data = Vec::new();
    for piece in frames.chunks(piece_bytes) {
        let mut piece = piece.to_vec();
        let length = decoder.decode(&mut piece)?;
        data.extend_from_slice(&piece[..length]);
    }
    Ok((data, decoder.take_ping(), decoder.close_code()))
}

/// Any request is granted or refused, with a response that is HTTP; nothing panics.
///
/// # Panics
///
/// When a response is not what a client expects.
pub fn check_upgrade(input: &[u8]) {
    let rules = Rules { path: "/mqtt".to_owned(), allowed_origins: vec!["http://a".to_owned()] };
    let key = *b"the sample nonce";
    // After the request of our own client, as far as the first byte says, so that much of it is right.
    let own = upgrade::request("a", "/mqtt", key);
    let kept = input.first().map_or(0, |first| usize::from(*first)).min(own.len());
    let mut request = own[..kept].to_vec();
    request.extend_from_slice(input.get(1..).unwrap_or_default());
    let Ok(Some(length)) = upgrade::find_head(&request) else { return };
    assert!(length <= HEAD_BYTES_MAX && request[..length].ends_with(b"\r\n\r\n"));
    let response = match upgrade::answer(&request[..length], &rules) {
        Ok(granted) => granted.response,
        Err(refusal) => refusal.response(),
    };
    let head = upgrade::find_head(&response).expect("a response is short").expect("it has an end");
    let is_granted = response.starts_with(b"HTTP/1.1 101 ");
    let checked = upgrade::check_response(&response[..head], key);
    assert!(is_granted || checked.is_err());
    let _ = upgrade::check_response(&request[..length], key);
}

/// A header means the same whatever follows it, and nothing before it is complete.
///
/// # Panics
///
/// When it does not.
pub fn check_proxy(input: &[u8]) {
    let whole = proxy::read(input);
    let Ok(Some(proxied)) = &whole else { return };
    let length = proxied.header_bytes;
    assert!(length <= input.len() && length <= proxy::HEADER_BYTES_MAX);
    assert_eq!(proxy::read(&input[..length]), whole);
    for cut in 0..length {
        assert_eq!(proxy::read(&input[..cut]), Ok(None), "{cut}");
    }
}
