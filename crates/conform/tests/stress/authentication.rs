//! Enhanced authentication with a toy exchange: the broker sends a number, the client answers with its double.

use std::sync::Arc;

use quelea_broker::{EnhancedAuthenticator, Exchange, Extensions, Step};
use quelea_codec::ReasonCode;

use crate::client::{Client, Got, Options};
use crate::house::House;

/// Knows one method.
struct Doubling;

/// One client's exchange.
struct Challenge {
    /// What the answer has to be, once there is a challenge.
    expected: Option<u8>,
}

impl EnhancedAuthenticator for Doubling {
    fn begin(&self, method: &str, client_id: &str) -> Option<Box<dyn Exchange>> {
        let is_known = method == "double" && client_id != "nobody";
        is_known.then(|| Box::new(Challenge { expected: None }) as Box<dyn Exchange>)
    }
}

impl Exchange for Challenge {
    fn step(&mut self, data: &[u8]) -> Step {
        match (self.expected, data) {
            (None, [number]) => {
                self.expected = Some(number.wrapping_mul(2));
                Step::Continue(vec![*number])
            }
            (Some(expected), [answer]) if *answer == expected => Step::Accept(vec![*answer]),
            _ => Step::Refuse(ReasonCode::NOT_AUTHORIZED),
        }
    }
}

#[test]
fn the_right_answer_is_accepted_and_the_wrong_one_refused() {
    let house = house();
    for (answer, reason) in [(42, 0), (43, 0x87)] {
        let mut client = start(&house, "client");
        assert_eq!(client.next(), Got::Auth(0x18, vec![21]));
        client.send_auth(0x18, "double", &[answer]);
        assert_eq!(client.next(), Got::Accepted(false, reason));
        if reason == 0 {
            client.publish("t", 1, b"1");
        } else {
            assert_eq!(client.next(), Got::Closed);
        }
    }
}

#[test]
fn unknown_methods_are_refused() {
    for method in ["triple", ""] {
        let house = house();
        let options = Options::new("client").auth(method, &[1]);
        let mut client = Client::start(house.address, &options);
        assert_eq!(client.next(), Got::Accepted(false, 0x8C));
        assert_eq!(client.next(), Got::Closed);
    }
}

#[test]
fn a_client_authenticates_again() {
    let house = house();
    let mut client = authenticated(&house, "again");
    for number in [3, 100, 255] {
        client.send_auth(0x19, "double", &[number]);
        // It is served meanwhile.
        client.publish("t", 1, b"1");
        client.wait_for("a challenge", |got| match got {
            Got::Auth(0x18, data) => (*data == [number]).then_some(()),
            _ => None,
        });
        client.publish("t", 1, b"2");
        client.send_auth(0x18, "double", &[number.wrapping_mul(2)]);
        client.wait_for("success", |got| matches!(got, Got::Auth(0, _)).then_some(()));
    }
    client.send_auth(0x19, "double", &[1]);
    assert_eq!(client.next(), Got::Auth(0x18, vec![1]));
    client.send_auth(0x18, "double", &[9]);
    assert_eq!(client.closing_reason(), Some(0x87));
}

#[test]
fn another_method_or_an_answer_out_of_turn_ends_the_connection() {
    let house = house();
    let mut client = start(&house, "mismatch");
    assert_eq!(client.next(), Got::Auth(0x18, vec![21]));
    client.send_auth(0x18, "triple", &[42]);
    assert!(client.closing_reason().is_none_or(|reason| reason == 0x82 || reason == 0x8C));
    let mut client = authenticated(&house, "out-of-turn");
    client.send_auth(0x18, "double", &[1]);
    assert_eq!(client.closing_reason(), Some(0x82));
    let mut client = authenticated(&house, "other-method");
    client.send_auth(0x19, "triple", &[1]);
    assert_eq!(client.closing_reason(), Some(0x82));
    // A client that does not use it at all.
    let mut client = house.client("plain");
    client.send_auth(0x19, "double", &[1]);
    assert_eq!(client.closing_reason(), Some(0x82));
    // Something else than AUTH before CONNACK.
    let mut client = start(&house, "hasty");
    client.send_publish("t", 0, b"1");
    while client.next() != Got::Closed {}
}

/// Rule 9: until it has shown who it is, a client touches nobody's session.
#[test]
fn a_stranger_does_not_disturb_the_session() {
    let house = house();
    let mut owner = authenticated(&house, "owner");
    owner.subscribe("t", 1);
    for _ in 0..20 {
        let mut stranger = start(&house, "owner");
        assert_eq!(stranger.next(), Got::Auth(0x18, vec![21]));
        stranger.send_auth(0x18, "double", &[1]);
        assert_eq!(stranger.next(), Got::Accepted(false, 0x87));
        assert_eq!(stranger.next(), Got::Closed);
        owner.publish("t", 1, b"1");
        owner.take();
    }
    // The owner itself takes over.
    let newer = authenticated(&house, "owner");
    assert_eq!(owner.closing_reason(), Some(0x8E));
    newer.disconnect();
    // Many that never answer, and go.
    let waiting: Vec<Client> =
        (0..300).map(|index| start(&house, &format!("waiting-{index}"))).collect();
    house.client("meanwhile").publish("t", 1, b"1");
    drop(waiting);
    house.wait_until_empty();
}

fn house() -> House {
    let extensions =
        Extensions { authenticator: Some(Arc::new(Doubling)), ..Extensions::default() };
    House::with_extensions(3, |_| {}, extensions)
}

fn start(house: &House, client_id: &str) -> Client {
    Client::start(house.address, &Options::new(client_id).auth("double", &[21]))
}

#[track_caller]
fn authenticated(house: &House, client_id: &str) -> Client {
    let mut client = start(house, client_id);
    assert_eq!(client.next(), Got::Auth(0x18, vec![21]));
    client.send_auth(0x18, "double", &[42]);
    assert_eq!(client.next(), Got::Accepted(false, 0));
    client
}
