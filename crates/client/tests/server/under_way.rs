//! Messages and requests that are under way when something happens.

use std::num::{NonZeroU16, NonZeroU32};
use std::time::Duration;

use quelea_client::{
    Acknowledge, Buffering, Client, Event, Publish, PublishError, QoS, Reason, ReasonCode,
    SubscribeError,
};
use quelea_codec::{
    Ack, AckProperties, ConnAck, ConnAckProperties, Packet, PacketKind, UserProperties,
};

use crate::connecting::hasty;
use crate::support::server::Server;
use crate::support::soon;

/// [MQTT-3.2.2-5], [MQTT-3.3.1-1]
#[tokio::test]
async fn a_server_that_lost_the_session_gets_qos_1_and_not_qos_2() {
    let server = Server::new().await;
    let client = Client::start(&server.url(), hasty()).unwrap();
    let mut peer = server.serve(ConnAck::default()).await;
    let once = client.try_publish(&Publish::new("t", "once").qos(QoS::ExactlyOnce)).unwrap();
    let least = client.try_publish(&Publish::new("t", "least")).unwrap();
    peer.expect(PacketKind::Publish).await;
    peer.expect(PacketKind::Publish).await;
    drop(peer);
    let mut peer = server.serve(ConnAck::default()).await;
    assert_eq!(soon("the outcome", once).await, Err(PublishError::Unknown));
    let again = peer.expect(PacketKind::Publish).await;
    let publish = again.publish();
    assert_eq!((publish.payload, publish.dup), (&b"least"[..], false));
    peer.send_ack(PacketKind::PubAck, publish.packet_id.unwrap()).await;
    soon("the acknowledgement", least).await.unwrap();
}

/// [MQTT-4.3.3-6], [MQTT-4.4.0-1]
#[tokio::test]
async fn a_server_that_kept_the_session_gets_what_it_does_not_have() {
    let server = Server::new().await;
    let client = Client::start(&server.url(), hasty()).unwrap();
    let mut peer = server.serve(ConnAck::default()).await;
    let publish = Publish::new("t", "").qos(QoS::ExactlyOnce);
    let handles = [client.try_publish(&publish).unwrap(), client.try_publish(&publish).unwrap()];
    let first = peer.expect(PacketKind::Publish).await.publish().packet_id.unwrap();
    let second = peer.expect(PacketKind::Publish).await.publish().packet_id.unwrap();
    peer.send_ack(PacketKind::PubRec, first).await;
    peer.expect(PacketKind::PubRel).await;
    drop(peer);
    let mut peer = server.serve(ConnAck { session_present: true, ..ConnAck::default() }).await;
    assert_eq!(peer.expect(PacketKind::PubRel).await.ack().packet_id, first);
    let again = peer.expect(PacketKind::Publish).await;
    assert_eq!((again.publish().packet_id, again.publish().dup), (Some(second), true));
    peer.send_ack(PacketKind::PubComp, first).await;
    peer.send_ack(PacketKind::PubRec, second).await;
    peer.expect(PacketKind::PubRel).await;
    peer.send_ack(PacketKind::PubComp, second).await;
    for handle in handles {
        soon("the acknowledgement", handle).await.unwrap();
    }
}

#[tokio::test]
async fn the_word_of_the_broker_reaches_the_publisher() {
    let server = Server::new().await;
    let client = Client::start(&server.url(), hasty()).unwrap();
    let mut peer = server.serve(ConnAck::default()).await;
    let properties = AckProperties {
        reason_string: Some("full"),
        user_properties: UserProperties::from_pairs(&[("a", "b")]),
    };
    for reason in [ReasonCode::NO_MATCHING_SUBSCRIBERS, ReasonCode::QUOTA_EXCEEDED] {
        let handle = client.try_publish(&Publish::new("t", "")).unwrap();
        let packet_id = peer.expect(PacketKind::Publish).await.publish().packet_id.unwrap();
        peer.send(&Packet::PubAck(Ack { packet_id, reason, properties })).await;
        match soon("the acknowledgement", handle).await {
            Ok(acknowledgement) => {
                assert!(acknowledgement.had_no_subscribers());
                assert_eq!(acknowledgement.reason_text.as_deref(), Some("full"));
                assert_eq!(acknowledgement.user_properties, [("a".to_owned(), "b".to_owned())]);
            }
            Err(error) => {
                let text = Some("full".to_owned());
                assert_eq!(error, PublishError::Refused(Reason { code: reason, text }));
            }
        }
    }
}

/// [MQTT-3.3.4-7]
#[tokio::test]
async fn the_receive_maximum_of_the_server_is_kept() {
    let server = Server::new().await;
    let client = Client::start(&server.url(), hasty()).unwrap();
    let handles: Vec<_> =
        (0..10).map(|_| client.try_publish(&Publish::new("t", "")).unwrap()).collect();
    let receive_maximum = NonZeroU16::new(3);
    let properties = ConnAckProperties { receive_maximum, ..Default::default() };
    let mut peer = server.serve(ConnAck { properties, ..ConnAck::default() }).await;
    let mut open = Vec::new();
    for _ in 0..3 {
        open.push(peer.expect(PacketKind::Publish).await.publish().packet_id.unwrap());
    }
    // Another packet comes at once, and no further PUBLISH before it.
    let _messages = client.subscribe_later("t").unwrap();
    peer.grant(ReasonCode::GRANTED_QOS_1).await;
    for _ in 0..7 {
        peer.send_ack(PacketKind::PubAck, open.remove(0)).await;
        open.push(peer.expect(PacketKind::Publish).await.publish().packet_id.unwrap());
    }
    for packet_id in open {
        peer.send_ack(PacketKind::PubAck, packet_id).await;
    }
    for handle in handles {
        soon("the acknowledgement", handle).await.unwrap();
    }
}

/// [MQTT-3.2.2-11], [MQTT-3.2.2-14], [MQTT-3.2.2-15]
#[tokio::test]
async fn what_the_server_cannot_do_is_told_and_not_sent() {
    let server = Server::new().await;
    let client = Client::start(&server.url(), hasty()).unwrap();
    let payload = "x".repeat(100);
    let publishes = [
        (Publish::new("t", "").qos(QoS::ExactlyOnce), PublishError::QoSNotSupported),
        (Publish::new("t", "").retain(), PublishError::RetainNotSupported),
        (Publish::new("t", &payload), PublishError::TooLarge),
    ];
    let outcomes = publishes.map(|(publish, error)| (client.try_publish(&publish).unwrap(), error));
    let properties = ConnAckProperties {
        maximum_qos: Some(QoS::AtLeastOnce),
        retain_available: Some(false),
        packet_bytes_max: NonZeroU32::new(100),
        ..Default::default()
    };
    let _peer = server.serve(ConnAck { properties, ..ConnAck::default() }).await;
    for (handle, error) in outcomes {
        assert_eq!(soon("the outcome", handle).await, Err(error));
    }
}

#[tokio::test]
async fn a_refused_subscription_is_an_error_and_its_stream_ends() {
    let server = Server::new().await;
    let client = Client::start(&server.url(), hasty()).unwrap();
    let mut peer = server.serve(ConnAck::default()).await;
    let (result, ()) = tokio::join!(client.subscribe("t"), peer.grant(ReasonCode::NOT_AUTHORIZED));
    let reason = Reason { code: ReasonCode::NOT_AUTHORIZED, text: None };
    assert_eq!(result.err(), Some(SubscribeError::Refused(reason)));

    // One that was granted, and is not on the next connection.
    let mut events = client.events();
    let (result, ()) = tokio::join!(client.subscribe("u"), peer.grant(ReasonCode::GRANTED_QOS_0));
    let mut messages = result.unwrap();
    assert_eq!(messages.granted_qos(), Some(QoS::AtMostOnce));
    drop(peer);
    let mut peer = server.serve(ConnAck::default()).await;
    peer.grant(ReasonCode::QUOTA_EXCEEDED).await;
    assert!(soon("the end", messages.next()).await.is_none());
    let lost = async {
        loop {
            if let Some(Event::SubscriptionLost { filter, .. }) = events.next().await {
                return filter;
            }
        }
    };
    assert_eq!(soon("the event", lost).await, "u");
}

/// Many more than may be under way at once: each is asked for when another was answered.
#[tokio::test]
async fn a_hundred_subscriptions_survive_a_connection_that_breaks_among_them() {
    let server = Server::new().await;
    let client = Client::start(&server.url(), hasty()).unwrap();
    let filters: Vec<String> = (0..100).map(|it| format!("t/{it}")).collect();
    let _subscriptions: Vec<_> =
        filters.iter().map(|it| client.subscribe_later(it.as_str()).unwrap()).collect();
    let mut peer = server.serve(ConnAck::default()).await;
    for _ in 0..50 {
        peer.grant(ReasonCode::GRANTED_QOS_1).await;
    }
    drop(peer);
    let mut peer = server.serve(ConnAck { session_present: true, ..ConnAck::default() }).await;
    let mut asked = std::collections::BTreeSet::new();
    for _ in 0..50 {
        let received = peer.expect(PacketKind::Subscribe).await;
        let Packet::Subscribe(subscribe) = received.packet() else {
            panic!("it is no SUBSCRIBE");
        };
        asked.extend(subscribe.filters().into_iter().map(|it| it.filter.to_owned()));
        let suback = quelea_codec::SubAck {
            packet_id: subscribe.packet_id,
            reasons: &[1],
            properties: AckProperties::default(),
        };
        peer.send(&Packet::SubAck(suback)).await;
    }
    assert_eq!(asked.len(), 50);
}

/// [MQTT-4.6.0-2], [MQTT-4.6.0-3]
#[tokio::test]
async fn acknowledgements_leave_in_the_order_of_the_messages() {
    let server = Server::new().await;
    let client = Client::start(&server.url(), hasty()).unwrap();
    let acknowledge = Acknowledge::Manually;
    let mut rest = client.unclaimed(Buffering { acknowledge, ..Buffering::default() });
    let mut peer = server.serve(ConnAck::default()).await;
    peer.publish(QoS::AtLeastOnce, 1, "a").await;
    peer.publish(QoS::ExactlyOnce, 2, "b").await;
    peer.publish(QoS::AtLeastOnce, 3, "c").await;
    let mut messages = Vec::new();
    for _ in 0..3 {
        messages.push(soon("a message", rest.next()).await.unwrap());
    }
    messages[2].reject(ReasonCode::PAYLOAD_FORMAT_INVALID);
    messages[1].acknowledge();
    messages[0].acknowledge();
    assert_eq!(peer.expect(PacketKind::PubAck).await.ack().packet_id.value(), 1);
    assert_eq!(peer.expect(PacketKind::PubRec).await.ack().packet_id.value(), 2);
    let rejected = peer.expect(PacketKind::PubAck).await;
    assert_eq!(rejected.ack().reason, ReasonCode::PAYLOAD_FORMAT_INVALID);
}

#[tokio::test]
async fn a_message_that_was_dropped_comes_again_at_every_qos() {
    let server = Server::new().await;
    let client = Client::start(&server.url(), hasty()).unwrap();
    let acknowledge = Acknowledge::Manually;
    let mut rest = client.unclaimed(Buffering { acknowledge, ..Buffering::default() });
    for session_present in [false, true] {
        let mut peer = server.serve(ConnAck { session_present, ..ConnAck::default() }).await;
        peer.publish(QoS::ExactlyOnce, 1, "a").await;
        drop(soon("a message", rest.next()).await.unwrap());
    }
}

/// A server that takes nothing does not keep the client from being closed, nor publishers from being told.
#[tokio::test]
async fn a_server_that_reads_nothing() {
    let server = Server::new().await;
    let client = Client::start(&server.url(), hasty()).unwrap();
    let peer = server.serve(ConnAck::default()).await;
    let payload = vec![0; 1_000_000];
    let mut handles = Vec::new();
    for _ in 0..20 {
        handles.push(client.try_publish(&Publish::new("t", &payload)).unwrap());
    }
    let unfinished = soon("the close", client.close(Duration::from_millis(10))).await;
    assert_eq!(unfinished, 20);
    for handle in handles {
        assert_eq!(soon("the outcome", handle).await, Err(PublishError::Closed));
    }
    drop(peer);
}

/// v3.1.1 [MQTT-3.14.4-1], v3.1.1 [MQTT-3.14.4-2]
/// [MQTT-3.14.4-2]
#[tokio::test]
async fn closing_says_goodbye_after_all_is_acknowledged() {
    let server = Server::new().await;
    let client = Client::start(&server.url(), hasty()).unwrap();
    let mut peer = server.serve(ConnAck::default()).await;
    let handle = client.try_publish(&Publish::new("t", "")).unwrap();
    let closing = tokio::spawn(async move { client.close(Duration::from_secs(60)).await });
    let packet_id = peer.expect(PacketKind::Publish).await.publish().packet_id.unwrap();
    peer.send_ack(PacketKind::PubAck, packet_id).await;
    let received = peer.expect(PacketKind::Disconnect).await;
    let Packet::Disconnect(disconnect) = received.packet() else {
        panic!("it is no DISCONNECT");
    };
    // The session was the client's alone, and ends with it.
    assert_eq!(disconnect.properties.session_expiry_secs, Some(0));
    assert!(peer.rest().await.is_empty());
    drop(peer);
    soon("the acknowledgement", handle).await.unwrap();
    assert_eq!(soon("the close", closing).await.unwrap(), 0);
}
