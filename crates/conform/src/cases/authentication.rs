//! Enhanced authentication, with a method that the broker was given for this: it sends a challenge, and the
//! client has to send it back.

use crate::case::{cases, claim, claim_eq};
use crate::exchange::reason::PROTOCOL_ERROR;
use crate::wire::{Body, Disconnect, Packet, Properties, property as id, publish};
use crate::{Broker, Client, Failure, Outcome, Version};

cases! {
    /// [MQTT-4.12.0-2, MQTT-4.12.0-5, MQTT-3.15.2-1, MQTT-3.2.0-1] A client that answers the challenge is accepted; AUTH and CONNACK
    /// repeat its method.
    #[versions(V5)]
    fn right_answer_is_accepted(broker) {
        let mut client = authenticate(broker)?;
        let topic = broker.topic("t");
        client.subscribe(&topic, 1)?;
        client.publish(publish(&topic, "x").qos(1))?;
        client.take("x")?;
    }

    /// [MQTT-4.12.0-4, MQTT-3.1.4-2, MQTT-3.2.2-7] A client with a wrong answer is refused.
    #[versions(V5)]
    fn wrong_answer_is_refused(broker) {
        let method = method(broker)?;
        let mut client = begin(broker, &method)?;
        expect_challenge(&mut client, &method)?;
        client.send(&auth(0x18, &method, b"wrong"));
        client.expect_refused(&[0x87])?;
    }

    /// [MQTT-3.1.2-30] Before its CONNACK such a client sends only AUTH and DISCONNECT.
    #[versions(V5)]
    fn other_packets_during_authentication_are_rejected(broker) {
        let method = method(broker)?;
        for packet in [vec![0xC0, 0], publish(&broker.topic("t"), "x").bytes(Version::V5)] {
            let mut client = begin(broker, &method)?;
            expect_challenge(&mut client, &method)?;
            client.send(&packet);
            let packets = client.expect_close()?;
            let is_accepted =
                packets.iter().any(|it| matches!(it, Packet::ConnAck(it) if it.reason == 0));
            claim(!is_accepted, format!("got {packets:?}"))?;
        }
    }

    /// [Q5-4.12-1] A client may leave in the middle of its authentication.
    #[versions(V5)]
    fn client_may_leave_during_authentication(broker) {
        let method = method(broker)?;
        let mut client = begin(broker, &method)?;
        expect_challenge(&mut client, &method)?;
        client.disconnect()?;
    }

    /// [MQTT-4.12.0-5, Q5-3.15-1] An AUTH with another method than CONNECT's is an error.
    #[versions(V5)]
    fn change_of_method_is_rejected(broker) {
        let method = method(broker)?;
        let mut client = begin(broker, &method)?;
        let challenge = expect_challenge(&mut client, &method)?;
        client.send(&auth(0x18, "another", &challenge));
        expect_close_without_success(&mut client)?;
        let mut client = authenticate(broker)?;
        client.expect_rejected(&auth(0x19, "another", b""), &[PROTOCOL_ERROR])?;
    }

    /// [MQTT-4.12.0-3, MQTT-3.15.2-1, Q5-3.15.2.2-1] A client's AUTH has its method, and a reason that fits.
    #[versions(V5)]
    fn wrong_auth_packets_are_rejected(broker) {
        let method = method(broker)?;
        let no_method = Body::new().byte(0x18).properties(&Properties::new()).packet(0xF0);
        for packet in [
            no_method,
            vec![0xF0, 0],
            auth(0x19, &method, b""),
            auth(0x00, &method, b""),
            auth(0x01, &method, b""),
        ] {
            let mut client = begin(broker, &method)?;
            expect_challenge(&mut client, &method)?;
            client.send(&packet);
            expect_close_without_success(&mut client)?;
        }
    }

    /// [Q5-4.12.1-1] A client may authenticate again, and goes on meanwhile.
    #[versions(V5)]
    fn client_may_authenticate_again(broker) {
        let method = method(broker)?;
        let mut client = authenticate(broker)?;
        let topic = broker.topic("t");
        client.subscribe(&topic, 0)?;
        for _ in 0..2 {
            client.send(&auth(0x19, &method, b""));
            let challenge = expect_challenge(&mut client, &method)?;
            client.publish(publish(&topic, "meanwhile"))?;
            client.expect_publish("meanwhile")?;
            client.send(&auth(0x18, &method, &challenge));
            let done = expect_auth(&mut client)?;
            claim_eq("reason of AUTH", done.reason, 0)?;
            claim_eq(
                "method",
                done.properties.text(id::AUTHENTICATION_METHOD),
                Some(method.as_str()),
            )?;
        }
        client.expect_silence()?;
    }

    /// [MQTT-4.12.1-2] A client that fails to authenticate again is thrown out.
    #[versions(V5)]
    fn failed_authentication_again_ends_the_connection(broker) {
        let method = method(broker)?;
        let mut client = authenticate(broker)?;
        client.send(&auth(0x19, &method, b""));
        expect_challenge(&mut client, &method)?;
        // Who decides may take time, in which other packets are answered.
        client.send(&auth(0x18, &method, b"wrong"));
        client.expect_error(&[0x87])?;
    }

    /// [Q5-4.12-2] A session is not touched before its client has authenticated.
    #[versions(V5)]
    fn sessions_are_safe_from_unauthenticated_clients(broker) {
        let method = method(broker)?;
        let client_id = broker.id();
        let mut holder = broker.connect(|it| it.client_id(&client_id).keep_session())?;
        let connect = broker.connect_options(Version::V5).client_id(&client_id);
        let connect = connect.properties(|it| it.text(id::AUTHENTICATION_METHOD, &method));
        let mut intruder = broker.send_connect(&connect)?;
        expect_challenge(&mut intruder, &method)?;
        holder.expect_silence()?;
        intruder.send(&auth(0x18, &method, b"wrong"));
        intruder.expect_refused(&[0x87])?;
        holder.expect_silence()?;
    }
}

/// Returns the method, and skips the case if the broker has none.
fn method(broker: &Broker<'_>) -> Outcome<String> {
    let method = broker.challenge_method().map(str::to_owned);
    method.ok_or_else(|| {
        Failure::skipped("the broker has no authentication method that is known here")
    })
}

/// Sends CONNECT with the method.
#[track_caller]
fn begin(broker: &Broker<'_>, method: &str) -> Outcome<Client> {
    let connect = broker.connect_options(Version::V5);
    broker.send_connect(&connect.properties(|it| it.text(id::AUTHENTICATION_METHOD, method)))
}

/// Connects a client that answers the challenge.
#[track_caller]
fn authenticate(broker: &Broker<'_>) -> Outcome<Client> {
    let method = method(broker)?;
    let mut client = begin(broker, &method)?;
    let challenge = expect_challenge(&mut client, &method)?;
    client.send(&auth(0x18, &method, &challenge));
    client.expect_accepted()?;
    let repeated = client.connack().properties.text(id::AUTHENTICATION_METHOD);
    claim_eq("method in CONNACK", repeated, Some(method.as_str()))?;
    Ok(client)
}

/// Waits for an AUTH that asks for more, and returns its data.
#[track_caller]
fn expect_challenge(client: &mut Client, method: &str) -> Outcome<Vec<u8>> {
    let auth = expect_auth(client)?;
    claim_eq("reason of AUTH", auth.reason, 0x18)?;
    claim_eq("method", auth.properties.text(id::AUTHENTICATION_METHOD), Some(method))?;
    Ok(auth.properties.binary(id::AUTHENTICATION_DATA).unwrap_or_default().to_owned())
}

#[track_caller]
fn expect_auth(client: &mut Client) -> Outcome<Disconnect> {
    match client.expect_packet()? {
        Packet::Auth(auth) => Ok(auth),
        packet => Err(Failure::broken(format!("expected an AUTH, got {packet:?}"))),
    }
}

#[track_caller]
fn expect_close_without_success(client: &mut Client) -> Outcome {
    let packets = client.expect_close()?;
    let is_accepted = packets.iter().any(|it| matches!(it, Packet::ConnAck(it) if it.reason == 0));
    claim(!is_accepted, format!("got {packets:?}"))
}

fn auth(reason: u8, method: &str, data: &[u8]) -> Vec<u8> {
    let properties = Properties::new()
        .text(id::AUTHENTICATION_METHOD, method)
        .binary(id::AUTHENTICATION_DATA, data);
    Body::new().byte(reason).properties(&properties).packet(0xF0)
}
