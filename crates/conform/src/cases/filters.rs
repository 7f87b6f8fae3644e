//! Which topic names a topic filter matches.

use std::collections::BTreeMap;

use crate::case::{cases, claim, claim_eq};
use crate::client::as_publish;
use crate::wire::publish;
use crate::{Broker, Outcome};

cases! {
    /// [MQTT-3.3.2-3, Q5-4.7.1.1-1, Q5-4.7.3-1, Q5-4.7.3-2, Q5-4.7.3-3, Q5-4.7.3-4, MQTT-4.7.3-4] v3.1.1 [MQTT-3.3.2-3, MQTT-4.7.3-4] Filters without
    /// wildcards match their own name, letter by letter.
    #[versions(V31, V311, V5)]
    fn plain_filters_match_letter_by_letter(broker) {
        check(
            broker,
            "a/b",
            &["a/b"],
            &["a", "b", "a/b/", "/a/b", "a//b", "A/b", "a/B", "a/b/c", "a/bb"],
        )?;
        check(
            broker,
            "Accounts payable",
            &["Accounts payable"],
            &["Accounts", "accounts payable", "Accounts  payable"],
        )?;
        check(broker, "/", &["/"], &["//", "a/", "/a"])?;
        check(broker, "/finance", &["/finance"], &["finance", "//finance", "/finance/"])?;
        check(broker, "a//b", &["a//b"], &["a/b", "a///b"])?;
        check(broker, "ö", &["ö"], &["o\u{308}", "Ö"])?;
        check(broker, "a.b\\c%20*?", &["a.b\\c%20*?"], &["a/b", "a.b\\c *?"])?;
    }

    /// [Q5-4.7.1.3-1, Q4-4.7.1.3-1, Q3-A-1] `+` matches one level, an empty one too.
    #[versions(V31, V311, V5)]
    fn single_level_wildcard_matches_one_level(broker) {
        broker.need_wildcards()?;
        check(broker, "+", &["a", ""], &["a/b", "a/", "/a"])?;
        check(broker, "a/+", &["a/b", "a/"], &["a", "a/b/c", "b/a"])?;
        check(broker, "+/b", &["a/b", "/b"], &["b", "a/c", "a/b/c"])?;
        check(broker, "a/+/c", &["a/b/c", "a//c"], &["a/c", "a/b/b/c", "a/b/d"])?;
        check(broker, "+/+", &["/finance", "a/b", "/"], &["finance", "a/b/c"])?;
        check(broker, "/+", &["/finance", "/"], &["finance", "a/finance", "//"])?;
        check(broker, "a/+/+/d", &["a/b/c/d", "a///d"], &["a/d", "a/b/d"])?;
    }

    /// [Q5-4.7.1.2-1, Q4-4.7.1.2-1, Q3-A-2] `#` matches the parent and any number of levels below.
    #[versions(V31, V311, V5)]
    fn multi_level_wildcard_matches_parent_and_below(broker) {
        broker.need_wildcards()?;
        check(broker, "#", &["a", "a/b", "/", "a/b/c/d/e/f", ""], &[])?;
        check(broker, "a/#", &["a", "a/", "a/b", "a/b/c", "a//"], &["b", "ab", "b/a", "A/b"])?;
        check(broker, "a/b/#", &["a/b", "a/b/c", "a/b/c/d"], &["a", "a/c", "a/bc"])?;
        check(broker, "/#", &["/", "/a", "/a/b", ""], &["a", "a/b"])?;
        check(broker, "+/#", &["a", "a/b", "/", "a/b/c"], &[])?;
        check(broker, "+/b/#", &["a/b", "a/b/c", "/b"], &["b", "a/c", "a/c/b"])?;
        check(broker, "a/+/#", &["a/b", "a/", "a/b/c"], &["a", "b/a"])?;
    }

    /// [MQTT-4.7.2-1] v3.1.1 [MQTT-4.7.2-1] A filter that starts with a wildcard does not match topics that start with `$`.
    #[versions(V31, V311, V5)]
    fn leading_wildcard_skips_dollar_topics(broker) {
        broker.need_wildcards()?;
        // What brokers publish of themselves is retained, so it would come at once.
        let mut all = broker.client()?;
        all.subscribe("#", 0)?;
        all.subscribe("+/broker/#", 0)?;
        all.subscribe("+/#", 0)?;
        let mut publisher = broker.client()?;
        let packets = all.drain_after(&mut publisher)?;
        let stray = packets.iter().filter_map(as_publish).find(|it| it.topic.starts_with('$'));
        claim(stray.is_none(), format!("got {stray:?}"))?;
    }

    /// [Q5-4.7.2-1, Q4-4.7.2-1] What a client publishes to `$`-topics does not reach filters that start with a wildcard either.
    #[versions(V31, V311, V5)]
    fn leading_wildcard_skips_dollar_topics_of_clients(broker) {
        broker.need_wildcards()?;
        let mut all = broker.client()?;
        all.subscribe("+/#", 0)?;
        let mut publisher = broker.client()?;
        let topic = format!("${}", broker.topic("t"));
        // A broker may close the connection for this, so the marker comes from another.
        publisher.send_publish(publish(&topic, "hidden"));
        publisher.send_ping();
        let _ = publisher.expect_close_or_packet();
        let mut marker = broker.client()?;
        let packets = all.drain_after(&mut marker)?;
        let stray = packets.iter().filter_map(as_publish).find(|it| it.topic.starts_with('$'));
        claim(stray.is_none(), format!("got {stray:?}"))?;
    }

    /// [Q5-4.7.2-2, Q4-4.7.2-2] Clients do not publish what looks like the broker's own.
    #[versions(V31, V311, V5)]
    fn clients_do_not_publish_to_sys(broker) {
        broker.need_quelea("a server should, but need not, keep clients from using `$`-topics")?;
        let topic = format!("$SYS/{}", broker.topic("t"));
        let mut subscriber = broker.client()?;
        subscriber.subscribe("$SYS/#", 0)?;
        let mut publisher = broker.client()?;
        publisher.send_publish(publish(&topic, "forged"));
        publisher.send_ping();
        let _ = publisher.expect_close_or_packet();
        let mut marker = broker.client()?;
        let packets = subscriber.drain_after(&mut marker)?;
        let forged = packets.iter().filter_map(as_publish).any(|it| it.topic == topic);
        claim(!forged, "the forged message was delivered")?;
    }

    /// [Q5-4.7.3-5, Q4-4.7.3-1] There is no limit to the number of levels but the length of the name.
    #[versions(V31, V311, V5)]
    fn many_levels_are_possible(broker) {
        broker.need_wildcards()?;
        let topic = broker.topic(&vec!["x"; 100].join("/"));
        let mut subscriber = broker.client()?;
        subscriber.subscribe(&broker.topic("x/#"), 0)?;
        subscriber.subscribe(&topic, 0)?;
        broker.client()?.publish(publish(&topic, "deep"))?;
        claim_eq("topic", subscriber.expect_publish("deep")?.topic, topic)?;
    }

    /// [MQTT-4.7.3-3] v3.1.1 [MQTT-4.7.3-3] A topic name of many thousand bytes is delivered whole.
    #[versions(V31, V311, V5)]
    fn long_topic_names_are_delivered(broker) {
        let limit = broker.limits().packet_bytes_max().unwrap_or(u32::MAX);
        broker.need(limit > 70_000, "packets of 64 KiB are too large")?;
        let mut topic = broker.topic("");
        topic.push_str(&"y".repeat(65_535 - topic.len()));
        let mut subscriber = broker.client()?;
        // A broker may set a limit of its own, below the one of the text.
        let suback = subscriber.request_subscribe(&[(&topic, 0)], |it| it)?;
        broker.need(suback.reasons == [0], "the broker refuses a filter of 65,535 bytes")?;
        broker.client()?.publish(publish(&topic, "long"))?;
        match subscriber.expect_publish("long") {
            Ok(delivered) => claim_eq("topic", delivered.topic, topic)?,
            Err(_) => broker.need(broker.is_quelea(), "topic names of 65,535 bytes are not delivered")?,
        }
    }

    /// [MQTT-4.5.0-1] v3.1.1 [MQTT-4.5.0-1] A message reaches every client that has a matching subscription, of whatever version.
    #[versions(V31, V311, V5)]
    fn message_reaches_all_subscribers_of_all_versions(broker) {
        let topic = broker.topic("t");
        let mut subscribers = Vec::new();
        for version in crate::Version::ALL {
            if let Ok(mut subscriber) = broker.connect_as(version, |it| it) {
                subscriber.subscribe(&topic, 1)?;
                subscribers.push(subscriber);
            }
        }
        broker.client()?.publish(publish(&topic, "x").qos(1))?;
        for subscriber in &mut subscribers {
            subscriber.take("x")?;
        }
    }
}

/// Subscribes to `filter` and publishes to each topic, below a root of the case's own.
#[track_caller]
fn check(broker: &Broker<'_>, filter: &str, hits: &[&str], misses: &[&str]) -> Outcome {
    // The filter `a/#` also matches `a`, so the root must not be a level that the filter ends in.
    let root = broker.topic(&broker.id());
    let mut subscriber = broker.client()?;
    subscriber.subscribe(&format!("{root}/{filter}"), 0)?;
    let mut publisher = broker.client()?;
    let topics: BTreeMap<String, bool> = hits
        .iter()
        .map(|topic| (format!("{root}/{topic}"), true))
        .chain(misses.iter().map(|topic| (format!("{root}/{topic}"), false)))
        .collect();
    for topic in topics.keys() {
        publisher.send_publish(publish(topic, "x"));
    }
    let packets = subscriber.drain_after(&mut publisher)?;
    let mut got: Vec<String> = packets.iter().filter_map(as_publish).map(|it| it.topic).collect();
    got.sort();
    let expected =
        topics.into_iter().filter(|(_, is_hit)| *is_hit).map(|(topic, _)| topic).collect();
    claim_eq(&format!("topics that {filter} matches"), got, expected)
}
