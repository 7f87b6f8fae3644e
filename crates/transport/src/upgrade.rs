//! The HTTP request and response that a WebSocket begins with (RFC 6455 section 4).

use std::fmt;

use crate::base64;
use crate::http::{Head, head_len};

/// What a server asks of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rules {
    /// The path that MQTT is at.
    pub path: String,
    /// The origins of the pages that may connect, such as `https://app.example.com`; `*` stands for all. Empty,
    /// only pages of the server's own host may. Clients that are no browsers name none, and always may.
    pub allowed_origins: Vec<String>,
}

/// A request that is granted.
#[derive(Debug, PartialEq, Eq)]
pub struct Granted {
    /// The response.
    pub response: Vec<u8>,
    /// The elements of `X-Forwarded-For`: whom proxies say that they speak for.
    pub forwarded_for: Vec<String>,
}

/// Why a request is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Refusal {
    /// It is no request of HTTP.
    BadRequest,
    /// The key of the handshake is missing or wrong.
    Key,
    /// Another method than GET.
    Method,
    /// A page of an origin that may not connect.
    Origin,
    /// Another path.
    Path,
    /// MQTT is not among the subprotocols ([MQTT-6.0.0-3]).
    Subprotocol,
    /// More bytes than a head may have.
    TooLarge,
    /// No request for a WebSocket, or not for the one version of it.
    Upgrade,
    /// Another version of HTTP than 1.1.
    Version,
}

/// Returns how long the head at the start of `bytes` is; nothing while it is not complete.
///
/// # Errors
///
/// It has more bytes than any head may have.
pub fn find_head(bytes: &[u8]) -> Result<Option<usize>, Refusal> {
    match head_len(&bytes[..bytes.len().min(HEAD_BYTES_MAX)]) {
        Some(length) => Ok(Some(length)),
        None if bytes.len() >= HEAD_BYTES_MAX => Err(Refusal::TooLarge),
        None => Ok(None),
    }
}

/// Answers a client's request, which is `head`.
///
/// # Errors
///
/// It is refused; [`Refusal::response`] tells the client.
pub fn answer(head: &[u8], rules: &Rules) -> Result<Granted, Refusal> {
    let head = Head::parse(head).ok_or(Refusal::BadRequest)?;
    let [method, target, version] = head.start;
    let host = head.one("Host").ok_or(Refusal::BadRequest)?;
    let path = target.split_once('?').map_or(target, |(path, _)| path);
    if version != "HTTP/1.1" {
        return Err(Refusal::Version);
    }
    if path != rules.path {
        return Err(Refusal::Path);
    }
    if method != "GET" {
        return Err(Refusal::Method);
    }
    let is_upgrade = head.lists("Upgrade", "websocket") && head.lists("Connection", "Upgrade");
    if !is_upgrade || head.one("Sec-WebSocket-Version") != Some("13") {
        return Err(Refusal::Upgrade);
    }
    let key = head.one("Sec-WebSocket-Key").filter(|it| base64::is_16_bytes(it));
    let key = key.ok_or(Refusal::Key)?;
    let origins = head.all("Origin").collect::<Vec<_>>();
    if !origins.iter().all(|origin| rules.allows(origin, host)) {
        return Err(Refusal::Origin);
    }
    let offered = |it: &&&str| head.list("Sec-WebSocket-Protocol").any(|offer| offer == **it);
    let subprotocol = SUBPROTOCOLS.iter().find(offered).ok_or(Refusal::Subprotocol)?;
    let response = format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Accept: {}\r\nSec-WebSocket-Protocol: {subprotocol}\r\n\r\n",
        accept_of(key)
    );
    let forwarded_for = head.list("X-Forwarded-For").map(str::to_owned).collect();
    Ok(Granted { response: response.into_bytes(), forwarded_for })
}

impl Rules {
    fn allows(&self, origin: &str, host: &str) -> bool {
        if self.allowed_origins.is_empty() {
            return origin.split_once("://").is_some_and(|(_, it)| it.eq_ignore_ascii_case(host));
        }
        let is_it = |allowed: &String| allowed == "*" || allowed.eq_ignore_ascii_case(origin);
        self.allowed_origins.iter().any(is_it)
    }
}

impl Refusal {
    /// Returns the response that tells the client. The connection ends with it.
    pub fn response(self) -> Vec<u8> {
        let (status, field) = match self {
            Self::BadRequest | Self::Key | Self::Subprotocol => ("400 Bad Request", ""),
            Self::Method => ("405 Method Not Allowed", "Allow: GET\r\n"),
            Self::Origin => ("403 Forbidden", ""),
            Self::Path => ("404 Not Found", ""),
            Self::TooLarge => ("431 Request Header Fields Too Large", ""),
            Self::Upgrade => {
                ("426 Upgrade Required", "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n")
            }
            Self::Version => ("505 HTTP Version Not Supported", ""),
        };
        format!(
            "HTTP/1.1 {status}\r\n{field}Connection: close\r\nContent-Type: text/plain\r\nContent-Length: {}\r\n\r\n{self}\n",
            self.to_string().len() + 1
        )
        .into_bytes()
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::BadRequest => "this is no HTTP request",
            Self::Key => "Sec-WebSocket-Key is missing or wrong",
            Self::Method => "the method is not GET",
            Self::Origin => "pages of this origin may not connect",
            Self::Path => "MQTT is at another path",
            Self::Subprotocol => "the subprotocol mqtt is not offered in Sec-WebSocket-Protocol",
            Self::TooLarge => "the request is too large",
            Self::Upgrade => "only WebSocket (version 13) is spoken here",
            Self::Version => "the version is not HTTP/1.1",
        })
    }
}

impl std::error::Error for Refusal {}

/// Returns the request of a client, with a `key` of random bytes.
pub fn request(host: &str, path: &str, key: [u8; 16]) -> Vec<u8> {
    format!(
        "GET {path} HTTP/1.1\r\nHost: {host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Key: {}\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: mqtt\r\n\r\n",
        base64::encode(&key)
    )
    .into_bytes()
}

/// Checks a server's response, which is `head`, to a request with `key`.
///
/// # Errors
///
/// The server does not go on with MQTT over WebSocket: what it said instead, or what is wrong.
pub fn check_response(head: &[u8], key: [u8; 16]) -> Result<(), String> {
    let head = Head::parse(head).ok_or("the server does not answer in HTTP")?;
    if head.start[1] != "101" {
        return Err(format!("the server answers {} {}", head.start[1], head.start[2]));
    }
    let is_upgrade = head.lists("Upgrade", "websocket") && head.lists("Connection", "Upgrade");
    let accept = accept_of(&base64::encode(&key));
    if !is_upgrade || head.one("Sec-WebSocket-Accept") != Some(&accept) {
        return Err("the server's answer is not that to a WebSocket".to_owned());
    }
    if head.one("Sec-WebSocket-Protocol") != Some(SUBPROTOCOLS[0]) {
        return Err("the server does not speak MQTT there".to_owned());
    }
    Ok(())
}

/// Returns what proves that a server has read the key.
fn accept_of(key: &str) -> String {
    let mut hash = sha1_smol::Sha1::new();
    hash.update(key.as_bytes());
    hash.update(GUID);
    base64::encode(&hash.digest().bytes())
}

/// The names of MQTT among the subprotocols, the preferred one first. Clients of MQTT 3.1 used the second.
const SUBPROTOCOLS: &[&str] = &["mqtt", "mqttv3.1"];

const GUID: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// Bytes of a head. Cookies of a page may make it long.
pub const HEAD_BYTES_MAX: usize = 8_192;

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of RFC 6455 section 1.3.
    #[test]
    fn example_of_the_standard() {
        assert_eq!(accept_of("dGhlIHNhbXBsZSBub25jZQ=="), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    }

    #[test]
    fn both_sides_agree() {
        let request = request("localhost:8083", "/mqtt", [7; 16]);
        assert_eq!(find_head(&request), Ok(Some(request.len())));
        let granted = answer(&request, &rules()).unwrap();
        assert_eq!(check_response(&granted.response, [7; 16]), Ok(()));
        check_response(&granted.response, [8; 16]).expect_err("it is the answer to another key");
        for cut in 0..request.len() {
            assert_eq!(find_head(&request[..cut]), Ok(None));
        }
    }

    #[test]
    fn requests_are_refused_for_a_reason() {
        check(&[], Ok(()));
        check(&[("GET /mqtt", "GET /mqtt?token=1")], Ok(()));
        check(&[("Upgrade: websocket", "upgrade: h2c, WebSocket")], Ok(()));
        check(&[("Connection: Upgrade", "Connection: keep-alive, upgrade")], Ok(()));
        check(&[("Protocol: mqtt", "Protocol: mqttv3.1, mqtt")], Ok(()));
        check(&[("Protocol: mqtt", "Protocol: mqttv3.1")], Ok(()));
        check(&[("HTTP/1.1", "HTTP/1.0")], Err(Refusal::Version));
        check(&[("GET", "POST")], Err(Refusal::Method));
        check(&[("GET /mqtt", "GET /other")], Err(Refusal::Path));
        check(&[("Host: a\r\n", "")], Err(Refusal::BadRequest));
        check(&[("Host: a\r\n", "Host: a\r\nHost: b\r\n")], Err(Refusal::BadRequest));
        check(&[("Upgrade: websocket\r\n", "")], Err(Refusal::Upgrade));
        check(&[("Connection: Upgrade", "Connection: close")], Err(Refusal::Upgrade));
        check(&[("Version: 13", "Version: 8")], Err(Refusal::Upgrade));
        check(&[("Key: ", "Key: x")], Err(Refusal::Key));
        check(&[("Sec-WebSocket-Key", "Sec-WebSocket-Kez")], Err(Refusal::Key));
        check(&[("Protocol: mqtt", "Protocol: chat")], Err(Refusal::Subprotocol));
        check(&[("Sec-WebSocket-Protocol: mqtt\r\n", "")], Err(Refusal::Subprotocol));
    }

    #[test]
    fn origins_are_those_that_were_allowed() {
        let origin = |origin: &str| format!("Host: a\r\nOrigin: {origin}\r\n");
        let allowed = |origins: &[&str]| Rules {
            allowed_origins: origins.iter().map(|&it| it.to_owned()).collect(),
            ..rules()
        };
        let ask = |rules: &Rules, named: &str| {
            let text = request_text().replace("Host: a\r\n", &origin(named));
            answer(text.as_bytes(), rules).map(|_| ())
        };
        let some = allowed(&["https://app.example.com", "http://localhost:8000"]);
        assert_eq!(ask(&some, "https://app.example.com"), Ok(()));
        assert_eq!(ask(&some, "https://APP.example.com"), Ok(()));
        assert_eq!(ask(&some, "http://app.example.com"), Err(Refusal::Origin));
        assert_eq!(ask(&some, "null"), Err(Refusal::Origin));
        assert_eq!(ask(&allowed(&["*"]), "null"), Ok(()));
        assert_eq!(ask(&allowed(&[]), "https://a"), Ok(()));
        assert_eq!(ask(&allowed(&[]), "https://b"), Err(Refusal::Origin));
        assert_eq!(ask(&allowed(&[]), "null"), Err(Refusal::Origin));
    }

    #[test]
    fn proxies_are_passed_on() {
        let text = request_text().replace(
            "Host: a\r\n",
            "Host: a\r\nX-Forwarded-For: 1.1.1.1\r\nx-forwarded-for: 2.2.2.2, 3.3.3.3\r\n",
        );
        let granted = answer(text.as_bytes(), &rules()).unwrap();
        assert_eq!(granted.forwarded_for, ["1.1.1.1", "2.2.2.2", "3.3.3.3"]);
    }

    #[test]
    fn heads_are_bounded() {
        let mut bytes = b"GET / HTTP/1.1\r\nA: ".to_vec();
        bytes.resize(HEAD_BYTES_MAX - 1, b'a');
        assert_eq!(find_head(&bytes), Ok(None));
        bytes.push(b'a');
        assert_eq!(find_head(&bytes), Err(Refusal::TooLarge));
        bytes.extend(b"\r\n\r\n");
        assert_eq!(find_head(&bytes), Err(Refusal::TooLarge));
    }

    #[test]
    fn refusals_are_http() {
        for refusal in [Refusal::BadRequest, Refusal::Method, Refusal::Origin, Refusal::Upgrade] {
            let response = refusal.response();
            let length = find_head(&response).unwrap().unwrap();
            let head = Head::parse(&response[..length]).unwrap();
            let body = &response[length..];
            assert_eq!(head.one("Content-Length"), Some(body.len().to_string().as_str()));
            let error = check_response(&response[..length], [0; 16]).unwrap_err();
            assert!(error.starts_with("the server answers 4"), "{error}");
        }
    }

    fn rules() -> Rules {
        Rules { path: "/mqtt".to_owned(), allowed_origins: Vec::new() }
    }

    fn request_text() -> String {
        String::from_utf8(request("a", "/mqtt", *b"the sample nonce")).unwrap()
    }

    #[track_caller]
    fn check(changes: &[(&str, &str)], expected: Result<(), Refusal>) {
        let mut text = request_text();
        for (from, to) in changes {
            assert!(text.contains(from), "{from}");
            text = text.replace(from, to);
        }
        assert_eq!(answer(text.as_bytes(), &rules()).map(|_| ()), expected, "{text}");
    }
}
