//! What the client says when it connects, and what it makes of the answer.

use std::sync::Arc;
use std::time::Duration;

use quelea_client::{
    Authenticator, Backoff, Client, ConnectError, ConnectionError, Event, Exchange, Options,
    Publish, QoS, ReasonCode, Version,
};
use quelea_codec::{
    Auth, AuthProperties, ConnAck, ConnAckProperties, Disconnect, DisconnectProperties, Packet,
    PacketKind,
};

use crate::support::server::Server;
use crate::support::soon;

/// [MQTT-3.1.0-1], [MQTT-3.1.2-9], [MQTT-3.1.2-17], [MQTT-3.1.2-19], v3.1.1 [MQTT-3.1.2-9]
/// v3.1.1 [MQTT-3.1.2-19, MQTT-3.1.2-21, MQTT-3.1.3-1, MQTT-3.1.3-3, Q4-3.1.2.2-1] [Q3-3.1-3, Q3-3.1-4]
#[tokio::test]
async fn connect_says_what_the_options_say() {
    for version in Version::ALL {
        let server = Server::new().await;
        let options = Options::new()
            .version(version)
            .client_id("me")
            .credentials("user", "secret")
            .keep_alive(Duration::from_secs(30))
            .will(&Publish::new("gone", "bye").retain().qos(QoS::ExactlyOnce));
        let _client = Client::start(&server.url(), options).unwrap();
        let mut peer = server.accept_version(version).await;
        let received = peer.expect(PacketKind::Connect).await;
        let connect = received.connect();
        assert_eq!(
            (connect.version, connect.client_id, connect.keep_alive_secs),
            (version, "me", 30)
        );
        assert_eq!((connect.username, connect.password), (Some("user"), Some(&b"secret"[..])));
        let will = connect.will.expect("there is a will");
        assert_eq!(
            (will.topic, will.payload, will.qos, will.retain),
            ("gone", &b"bye"[..], QoS::ExactlyOnce, true)
        );
        assert!(connect.clean_start);
    }
}

#[tokio::test]
async fn refusals_are_told_with_advice() {
    for (code, advice) in [
        (ReasonCode::NOT_AUTHORIZED, "Options::credentials"),
        (ReasonCode::CLIENT_IDENTIFIER_NOT_VALID, "Options::client_id"),
        (ReasonCode::UNSUPPORTED_PROTOCOL_VERSION, "Options::version"),
        (ReasonCode::SERVER_BUSY, "Server busy"),
    ] {
        let server = Server::new().await;
        let properties = ConnAckProperties { reason_string: Some("no."), ..Default::default() };
        let refusal = ConnAck { reason: code, properties, ..ConnAck::default() };
        let text = failure(&server, refusal).await.to_string();
        assert!(
            text.contains(advice) && text.contains("no.") && text.contains(&server.url()),
            "{text}"
        );
    }
}

#[tokio::test]
async fn whoever_started_tries_again_after_a_refusal() {
    let server = Server::new().await;
    let client = Client::start(&server.url(), hasty()).unwrap();
    let mut events = client.events();
    for _ in 0..3 {
        let refusal = ConnAck { reason: ReasonCode::SERVER_BUSY, ..ConnAck::default() };
        server.serve(refusal).await;
        let event = soon("the refusal", events.next()).await;
        assert!(matches!(
            event,
            Some(Event::Disconnected { error: ConnectionError::Refused(_), .. })
        ));
    }
    let _peer = server.serve(ConnAck::default()).await;
    assert!(matches!(soon("an event", events.next()).await, Some(Event::Connected { .. })));
}

#[tokio::test]
async fn a_broker_that_does_not_answer_is_given_up_in_time() {
    let server = Server::new().await;
    let options = Options::new().connect_timeout(Duration::from_millis(50));
    let url = server.url();
    let connecting = Client::connect(&url, options);
    let (result, mut peer) = tokio::join!(connecting, server.accept());
    let Err(ConnectError::Connection { source, .. }) = result else {
        panic!("nobody has answered");
    };
    assert!(matches!(source, ConnectionError::TimedOut(_)));
    assert_eq!(peer.rest().await, [PacketKind::Connect]);
}

/// Section 4.11
#[tokio::test]
async fn a_reference_to_another_server_is_followed() {
    for reason in [ReasonCode::USE_ANOTHER_SERVER, ReasonCode::SERVER_MOVED] {
        let (first, second) = (Server::new().await, Server::new().await);
        let client = Client::start(&first.url(), hasty()).unwrap();
        let reference = second.address.to_string();
        let server_reference = Some(&*reference);
        let properties = ConnAckProperties { server_reference, ..Default::default() };
        first.serve(ConnAck { reason, properties, ..ConnAck::default() }).await;
        let mut peer = second.serve(ConnAck::default()).await;
        let properties = DisconnectProperties { server_reference: None, ..Default::default() };
        let disconnect = Disconnect { reason: ReasonCode::SERVER_SHUTTING_DOWN, properties };
        peer.send(&Packet::Disconnect(disconnect)).await;
        // For good, or for once.
        let next = if reason == ReasonCode::SERVER_MOVED { &second } else { &first };
        next.serve(ConnAck::default()).await;
        drop(client);
    }
}

/// The identifier that the broker assigned is used again, or the session would not be there.
#[tokio::test]
async fn an_assigned_client_id_is_kept() {
    let server = Server::new().await;
    let _client = Client::start(&server.url(), hasty()).unwrap();
    let properties =
        ConnAckProperties { assigned_client_id: Some("assigned"), ..Default::default() };
    drop(server.serve(ConnAck { properties, ..ConnAck::default() }).await);
    let mut peer = server.accept().await;
    let received = peer.expect(PacketKind::Connect).await;
    assert_eq!((received.connect().client_id, received.connect().clean_start), ("assigned", false));
}

/// [MQTT-4.12.0-3], [MQTT-4.12.1-1]
/// [MQTT-4.12.1-2]
#[tokio::test]
async fn an_authenticator_speaks_for_the_client() {
    let server = Server::new().await;
    let options = hasty().authenticator(Arc::new(Echo));
    let client = Client::start(&server.url(), options).unwrap();
    let mut events = client.events();
    let mut peer = server.accept().await;
    let received = peer.expect(PacketKind::Connect).await;
    let asked = received.connect().properties;
    assert_eq!(
        (asked.authentication_method, asked.authentication_data),
        (Some("ECHO"), Some(&b"first"[..]))
    );
    peer.send(&auth(ReasonCode::CONTINUE_AUTHENTICATION, b"hello")).await;
    assert_auth(&mut peer, ReasonCode::CONTINUE_AUTHENTICATION, b"hello").await;
    let properties = ConnAckProperties {
        authentication_method: Some("ECHO"),
        authentication_data: Some(b"done"),
        ..Default::default()
    };
    peer.send(&Packet::ConnAck(ConnAck { properties, ..ConnAck::default() })).await;
    assert!(matches!(soon("an event", events.next()).await, Some(Event::Connected { .. })));

    client.reauthenticate();
    assert_auth(&mut peer, ReasonCode::RE_AUTHENTICATE, b"first").await;
    peer.send(&auth(ReasonCode::CONTINUE_AUTHENTICATION, b"again")).await;
    assert_auth(&mut peer, ReasonCode::CONTINUE_AUTHENTICATION, b"again").await;
    // What the broker says last is not what it should.
    peer.send(&auth(ReasonCode::SUCCESS, b"wrong")).await;
    let event = soon("an event", events.next()).await;
    let Some(Event::Disconnected { error: ConnectionError::Authentication(why), .. }) = event
    else {
        panic!("{event:?}");
    };
    assert_eq!(why, "the broker is another one");
}

/// Repeats what the broker says.
struct Echo;

impl Authenticator for Echo {
    fn method(&self) -> &str {
        "ECHO"
    }

    fn begin(&self) -> Box<dyn Exchange> {
        Box::new(Self)
    }
}

impl Exchange for Echo {
    fn first(&mut self) -> Vec<u8> {
        b"first".to_vec()
    }

    fn answer(&mut self, data: &[u8]) -> Result<Vec<u8>, String> {
        Ok(data.to_vec())
    }

    fn finish(&mut self, data: Option<&[u8]>) -> Result<(), String> {
        match data {
            Some(b"done") => Ok(()),
            _ => Err("the broker is another one".to_owned()),
        }
    }
}

async fn assert_auth(peer: &mut crate::support::server::Peer, reason: ReasonCode, data: &[u8]) {
    let received = peer.expect(PacketKind::Auth).await;
    let Packet::Auth(auth) = received.packet() else {
        panic!("it is no AUTH");
    };
    assert_eq!((auth.reason, auth.properties.data), (reason, Some(data)));
    assert_eq!(auth.properties.method, Some("ECHO"));
}

fn auth(reason: ReasonCode, data: &[u8]) -> Packet<'_> {
    let properties =
        AuthProperties { method: Some("ECHO"), data: Some(data), ..AuthProperties::default() };
    Packet::Auth(Auth { reason, properties })
}

/// Connects to a server that answers with this, and returns the error.
async fn failure(server: &Server, connack: ConnAck<'_>) -> ConnectError {
    let url = server.url();
    let (result, _peer) =
        tokio::join!(Client::connect(&url, Options::new()), server.serve(connack));
    result.expect_err("the server has refused")
}

/// Does not wait long before it connects again.
pub(crate) fn hasty() -> Options {
    Options::new().backoff(Backoff::new(Duration::from_millis(1), Duration::from_millis(20)))
}
