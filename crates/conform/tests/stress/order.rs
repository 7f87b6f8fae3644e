//! One publisher's messages on one topic at one QoS arrive in order at every subscriber, on any shard, while
//! subscriptions change and durable subscribers come and go. Nothing of QoS 1 or 2 is missing, and QoS 2 comes
//! exactly once.

use std::collections::{HashMap, HashSet};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use quelea_codec::{PacketKind, Version};

use crate::client::{Client, Got, Message, Options};
use crate::house::House;
use crate::random::Random;

#[test]
fn messages_arrive_in_order_across_two_shards() {
    check(2);
}

#[test]
fn messages_arrive_in_order_across_three_shards() {
    check(3);
}

#[test]
fn messages_arrive_in_order_across_four_shards() {
    check(4);
}

/// Who listens, and how.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Habit {
    /// Connected all the time, with a session that ends with the connection.
    Steady,
    /// Connected all the time, with a session that stays.
    SteadyDurable,
    /// Breaks its connection every now and then.
    Restless,
    /// Every now and then another connection takes its session over.
    TakenOver,
}

/// What one subscriber has had.
struct Log {
    name: String,
    /// The last number by topic and QoS.
    last: HashMap<(String, u8), u64>,
    /// QoS 2 messages by packet identifier, from PUBLISH to PUBREL.
    exchanges: HashSet<u16>,
    has_reconnected: bool,
    complete_count: usize,
}

fn check(shards: usize) {
    let house = House::new(shards);
    let address = house.address;
    let habits = [
        Habit::Steady,
        Habit::Steady,
        Habit::SteadyDurable,
        Habit::Restless,
        Habit::Restless,
        Habit::TakenOver,
    ];
    let subscribers: Vec<_> = habits
        .into_iter()
        .enumerate()
        .map(|(index, habit)| {
            let options = options_of(habit, index);
            let mut client = Client::connect(address, &options);
            client.subscribe("order/#", 2);
            if index % 2 == 0 {
                // A second filter that matches too: still one delivery each.
                client.subscribe("order/+/0", 2);
            }
            (habit, options, client)
        })
        .collect();
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        for seed in 0..2 {
            let is_over = &is_over;
            scope.spawn(move || change_subscriptions(address, seed, is_over));
        }
        let subscribers: Vec<_> = subscribers
            .into_iter()
            .map(|(habit, options, client)| {
                scope.spawn(move || listen(address, habit, &options, client))
            })
            .collect();
        for publisher in 0..PUBLISHERS {
            scope.spawn(move || publish(address, publisher));
        }
        let results: Vec<_> = subscribers.into_iter().map(|it| it.join()).collect();
        is_over.store(true, Ordering::Relaxed);
        for result in results {
            if let Err(panic) = result {
                std::panic::resume_unwind(panic);
            }
        }
    });
    let totals = house.totals();
    assert_eq!(totals.dropped_queue_full, 0);
    assert_eq!(totals.dropped_slow_reader, 0);
    assert_eq!(totals.protocol_errors, 0);
}

fn options_of(habit: Habit, index: usize) -> Options {
    let version = [Version::V5, Version::V311, Version::V5, Version::V31][index % 4];
    let options = Options::new(format!("subscriber-{index}")).version(version);
    match habit {
        Habit::Steady => options,
        Habit::SteadyDurable | Habit::Restless | Habit::TakenOver => {
            options.durable().receive_maximum(50)
        }
    }
}

/// Publishes on each topic at each QoS, many before the first is acknowledged.
fn publish(address: SocketAddr, publisher: usize) {
    let version = if publisher.is_multiple_of(2) { Version::V5 } else { Version::V311 };
    let mut options = Options::new(format!("publisher-{publisher}")).version(version);
    if publisher.is_multiple_of(3) {
        options = options.durable();
    }
    let mut client = Client::connect(address, &options);
    let mut open = 0;
    for number in 0..NUMBERS {
        for topic in 0..TOPICS {
            let topic = format!("order/{publisher}/{topic}");
            for qos in 0..3 {
                client.send_publish(&topic, qos, number.to_string().as_bytes());
                open += usize::from(qos > 0);
            }
        }
        while open > WINDOW {
            open -= answer(&mut client);
        }
    }
    while open > 0 {
        open -= answer(&mut client);
    }
    client.disconnect();
}

/// Handles one acknowledgement; returns how many exchanges it ended.
fn answer(client: &mut Client) -> usize {
    match client.next() {
        Got::Ack(PacketKind::PubRec, id, 0) => {
            client.send_ack(PacketKind::PubRel, id);
            0
        }
        Got::Ack(PacketKind::PubAck | PacketKind::PubComp, _, 0) => 1,
        got => panic!("{got:?} at a publisher"),
    }
}

fn listen(address: SocketAddr, habit: Habit, options: &Options, mut client: Client) {
    let mut random = Random::new(options.client_id.len() as u64 + habit as u64);
    let mut log = Log {
        name: options.client_id.clone(),
        last: HashMap::new(),
        exchanges: HashSet::new(),
        has_reconnected: false,
        complete_count: 0,
    };
    let wanted = PUBLISHERS * TOPICS * if log.counts_all(habit) { 3 } else { 2 };
    while log.complete_count < wanted || !log.exchanges.is_empty() {
        match client.next() {
            Got::Message(message) => log.take(&mut client, &message, habit),
            Got::Ack(PacketKind::PubRel, id, _) => {
                log.exchanges.remove(&id);
                client.send_ack(PacketKind::PubComp, id);
            }
            got => panic!("{}: {got:?} with {:?}", log.name, log.last),
        }
        let is_moving = matches!(habit, Habit::Restless | Habit::TakenOver);
        if is_moving && random.one_in(150) {
            log.has_reconnected = true;
            if habit == Habit::Restless {
                client.crash();
            }
            let (newer, is_present) = Client::resume(address, options);
            // MQTT 3.1 cannot say it.
            assert!(is_present || options.version == Version::V31);
            client = newer;
        }
    }
    client.disconnect();
}

impl Log {
    /// Whether QoS 0 has to be complete too.
    fn counts_all(&self, habit: Habit) -> bool {
        matches!(habit, Habit::Steady | Habit::SteadyDurable)
    }

    fn take(&mut self, client: &mut Client, message: &Message, habit: Habit) {
        if message.qos == 2 && !self.exchanges.insert(message.packet_id) {
            assert!(message.is_dup, "{}: a packet identifier in use: {message:?}", self.name);
            client.send_ack(PacketKind::PubRec, message.packet_id);
            return;
        }
        let place = (message.topic.clone(), message.qos);
        let number = message.number();
        let last = self.last.get(&place).copied();
        let next = last.map_or(0, |last| last + 1);
        let is_again = message.qos == 1 && number < next;
        if is_again {
            assert!(
                message.is_dup && self.has_reconnected,
                "{}: {number} after {last:?}: {message:?}",
                self.name
            );
        } else if message.qos == 0 && !self.counts_all(habit) {
            assert!(number >= next, "{}: {number} after {last:?}: {message:?}", self.name);
        } else {
            assert_eq!(number, next, "{}: {message:?}", self.name);
        }
        if !is_again {
            self.last.insert(place, number);
            let counts = message.qos > 0 || self.counts_all(habit);
            self.complete_count += usize::from(counts && number + 1 == NUMBERS);
        }
        match message.qos {
            0 => {}
            1 => client.send_ack(PacketKind::PubAck, message.packet_id),
            _ => client.send_ack(PacketKind::PubRec, message.packet_id),
        }
    }
}

/// Subscribes and unsubscribes, so that routes are made anew all the time.
fn change_subscriptions(address: SocketAddr, seed: u64, is_over: &AtomicBool) {
    let mut random = Random::new(seed);
    let options = Options::new(format!("changer-{seed}"));
    let options = if seed.is_multiple_of(2) { options } else { options.durable() };
    let mut client = Client::connect(address, &options);
    let mut last: HashMap<(String, u8), u64> = HashMap::new();
    while !is_over.load(Ordering::Relaxed) {
        let publisher = random.below(PUBLISHERS);
        let filter = [format!("order/{publisher}/+"), "order/+/1".to_owned(), "#".to_owned()];
        let filter = &filter[random.below(3)];
        let id = if random.one_in(2) {
            client.send_subscribe(&[(filter, 0x20 | random.below(3) as u8)])
        } else {
            client.send_unsubscribe(filter)
        };
        loop {
            match client.next() {
                Got::Message(message) => {
                    let place = (message.topic.clone(), message.qos);
                    // Of the same QoS as published, or lowered by the subscription: then a number comes for
                    // several of them, and order holds for what was published alike only.
                    if message.topic.starts_with("order/") && message.qos == 2 {
                        let number = message.number();
                        let before = last.insert(place, number);
                        assert!(
                            before.is_none_or(|it| it < number),
                            "{message:?} after {before:?}"
                        );
                    }
                    client.acknowledge(&message);
                }
                Got::Subscribed(it, _) | Got::Unsubscribed(it) if it == id => break,
                got => panic!("{got:?}"),
            }
        }
    }
}

const PUBLISHERS: usize = 5;
const TOPICS: usize = 2;
const NUMBERS: u64 = 60;
const WINDOW: usize = 60;
