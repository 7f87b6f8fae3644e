//! Subscriptions: made, made again, and ended.

use std::time::Duration;

use quelea_client::{
    Buffering, Event, Options, Publish, QoS, RequestError, Subscribe, SubscribeError, Version,
};

use crate::publishing::{connect, hasty};
use crate::support::house::House;
use crate::support::relay::Relay;
use crate::support::soon;

#[tokio::test]
async fn subscriptions_are_made_again_when_the_broker_lost_them() {
    for version in [Version::V311, Version::V5] {
        let (first, second) = (House::new(), House::new());
        let relay = Relay::to(Some(first.address)).await;
        let client = connect(&relay.url(), hasty().version(version)).await;
        let mut events = client.events();
        let mut messages = client.subscribe("t").await.unwrap();
        relay.lead_to(Some(second.address));
        while !matches!(events.next().await, Some(Event::Connected { session_present: false })) {}
        // Sent behind the SUBSCRIBE, on the same connection.
        let handle = client.publish(&Publish::new("t", "again")).await.unwrap();
        soon("the acknowledgement", handle).await.unwrap();
        let message = soon("the message", messages.next()).await.unwrap();
        assert_eq!(message.text(), Some("again"));
    }
}

/// Each gets what it asked for, though the broker sends one copy.
#[tokio::test]
async fn overlapping_subscriptions_each_get_the_message_once() {
    let house = House::new();
    for version in Version::ALL {
        let client = connect(&house.url(), Options::new().version(version)).await;
        let mut exact = client.subscribe("a/b").await.unwrap();
        let mut wildcard = client.subscribe("a/+").await.unwrap();
        let mut twice = client.subscribe("a/+").await.unwrap();
        let mut other = client.subscribe("b/#").await.unwrap();
        for topic in ["a/b", "b/c"] {
            client.publish(&Publish::new(topic, "")).await.unwrap().await.unwrap();
        }
        assert_eq!(soon("b/c", other.next()).await.unwrap().topic(), "b/c");
        for messages in [&mut exact, &mut wildcard, &mut twice] {
            assert_eq!(soon("a/b", messages.next()).await.unwrap().topic(), "a/b");
            if version == Version::V5 {
                assert!(messages.try_next().is_none(), "twice, or what was not asked for");
            }
        }
    }
}

#[tokio::test]
async fn the_last_of_a_filter_ends_it_at_the_broker() {
    let house = House::new();
    let client = connect(&house.url(), Options::new()).await;
    let first = client.subscribe("t").await.unwrap();
    let mut second = client.subscribe("t").await.unwrap();
    soon("the end of the first", first.unsubscribe()).await;
    let subscribers = |client: quelea_client::Client| async move {
        let handle = client.publish(&Publish::new("t", "")).await.unwrap();
        !soon("the acknowledgement", handle).await.unwrap().had_no_subscribers()
    };
    assert!(subscribers(client.clone()).await);
    soon("the message", second.next()).await.unwrap();
    soon("the end of the second", second.unsubscribe()).await;
    assert!(!subscribers(client.clone()).await);
}

#[tokio::test]
async fn shared_subscriptions_share() {
    let house = House::new();
    let client = connect(&house.url(), Options::new()).await;
    let other = connect(&house.url(), Options::new()).await;
    let mut messages = client.subscribe("$share/g/t").await.unwrap();
    let mut others = other.subscribe("$share/g/t").await.unwrap();
    for _ in 0..10 {
        client.publish(&Publish::new("t", "")).await.unwrap().await.unwrap();
    }
    for _ in 0..10 {
        let either = async {
            tokio::select! { it = messages.next() => it, it = others.next() => it }
        };
        soon("a message", either).await.unwrap();
    }
    assert!(messages.try_next().is_none() && others.try_next().is_none());
}

#[tokio::test]
async fn filters_that_are_none_are_refused_at_once() {
    let house = House::new();
    let client = connect(&house.url(), Options::new()).await;
    for filter in ["", "a/#/b", "a+", "$share/g"] {
        let error = client.subscribe(filter).await.expect_err(filter);
        assert_eq!(error, SubscribeError::FilterInvalid);
    }
    let local = Subscribe::new("$share/g/t").no_local();
    assert_eq!(client.subscribe(local).await.err(), Some(SubscribeError::FilterInvalid));
}

#[tokio::test]
async fn requests_are_answered() {
    let house = House::new();
    let client = connect(&house.url(), Options::new()).await;
    let server = connect(&house.url(), Options::new()).await;
    let mut requests = server.subscribe("square").await.unwrap();
    let serving = tokio::spawn(async move {
        while let Some(request) = requests.next().await {
            let number: u64 = request.text().unwrap().parse().unwrap();
            let response = (number * number).to_string();
            let publish = Publish::new(request.response_topic().unwrap(), &response)
                .correlation_data(request.correlation_data().unwrap());
            drop(server.publish(&publish).await.unwrap());
        }
    });
    let ask = |number: u64| {
        let client = client.clone();
        async move {
            let text = number.to_string();
            let response = client.request(Publish::new("square", &text), Duration::from_secs(60));
            assert_eq!(response.await.unwrap().text(), Some(&*(number * number).to_string()));
        }
    };
    soon("the responses", async { tokio::join!(ask(3), ask(4), ask(5)) }).await;
    serving.abort();

    let nobody = client.request(Publish::new("nobody", ""), Duration::from_millis(10)).await;
    assert_eq!(nobody.err(), Some(RequestError::TimedOut));
    let old = connect(&house.url(), Options::new().version(Version::V311)).await;
    let refused = old.request(Publish::new("square", "1"), Duration::from_secs(60)).await;
    assert_eq!(refused.err(), Some(RequestError::VersionTooOld));
}

#[tokio::test]
async fn retained_messages_say_so() {
    let house = House::new();
    let client = connect(&house.url(), Options::new()).await;
    let retained = Publish::new("t", "kept").retain().qos(QoS::AtMostOnce);
    client.publish(&retained).await.unwrap().await.unwrap();
    let mut messages = client.subscribe("t").await.unwrap();
    let message = soon("the message", messages.next()).await.unwrap();
    assert!(message.is_retained());
}

/// As often as the broker sends it, however many filters match: what a tool wants to show.
#[tokio::test]
async fn what_has_no_stream_is_unclaimed() {
    let house = House::new();
    for version in Version::ALL {
        let client = connect(&house.url(), hasty().version(version)).await;
        let mut unclaimed = client.unclaimed(Buffering::default());
        for filter in ["a/b", "a/+", "end"] {
            let granted = client.subscribe_unclaimed(filter).await.unwrap();
            assert_eq!(granted, QoS::AtLeastOnce);
        }
        for topic in ["a/b", "end"] {
            client.publish(&Publish::new(topic, "")).await.unwrap().await.unwrap();
        }
        let first = soon("the message", unclaimed.next()).await.unwrap();
        assert_eq!((first.topic(), first.packet_id()), ("a/b", Some(1)));
        assert_eq!(soon("the end", unclaimed.next()).await.unwrap().topic(), "end");

        let other = client.clone();
        tokio::spawn(async move { other.unsubscribe("a/+").await.unwrap() }).await.unwrap();
        client.unsubscribe("a/b").await.unwrap();
        for topic in ["a/b", "end"] {
            client.publish(&Publish::new(topic, "")).await.unwrap().await.unwrap();
        }
        assert_eq!(soon("the end", unclaimed.next()).await.unwrap().topic(), "end");
        assert_eq!(client.unsubscribe("a#").await, Err(SubscribeError::FilterInvalid));
    }
}

/// An earlier process has subscribed, and this one does not want it any more.
#[tokio::test]
async fn filters_of_a_resumed_session_can_be_ended() {
    let house = House::new();
    let kept = || hasty().client_id("kept").resume_session();
    let client = connect(&house.url(), kept()).await;
    client.subscribe_unclaimed("old").await.unwrap();
    assert_eq!(client.close(Duration::from_secs(5)).await, 0);

    let client = connect(&house.url(), kept()).await;
    let mut unclaimed = client.unclaimed(Buffering::default());
    client.unsubscribe("old").await.unwrap();
    client.subscribe_unclaimed("end").await.unwrap();
    for topic in ["old", "end"] {
        client.publish(&Publish::new(topic, "")).await.unwrap().await.unwrap();
    }
    assert_eq!(soon("the end", unclaimed.next()).await.unwrap().topic(), "end");
    assert_eq!(client.close(Duration::from_secs(5)).await, 0);

    // Begun anew, it has nothing of the old, and is kept all the same.
    for (options, was_there) in [(kept().start_anew(), false), (kept(), true)] {
        let client = quelea_client::Client::start(&house.url(), options).unwrap();
        let mut events = client.events();
        let Some(Event::Connected { session_present }) = soon("the broker", events.next()).await
        else {
            panic!("it connects at once");
        };
        assert_eq!(session_present, was_there);
        client.close(Duration::from_secs(5)).await;
    }
}

#[tokio::test]
async fn connections_come_from_the_address_that_was_chosen() {
    let house = House::new();
    let options = || Options::new().local_address([127, 0, 0, 2].into());
    let client = connect(&house.url(), options()).await;
    assert!(client.is_connected());
    let other = Options::new().local_address("::1".parse().unwrap());
    let error = quelea_client::Client::connect(&house.url(), other).await.unwrap_err();
    assert!(error.to_string().contains("could be reached from ::1"), "{error}");
}
