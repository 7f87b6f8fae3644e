//! Histories for the tests of the rules: a publisher, a subscriber and another one, every two acts a millisecond
//! apart.

use std::collections::BTreeSet;
use std::rc::Rc;

use crate::history::{
    Act, ClientIndex, Connect, Entry, Event, History, MessageId, Publish, Receipt, Will,
};

pub(super) const PUBLISHER: ClientIndex = ClientIndex(0);
pub(super) const SUBSCRIBER: ClientIndex = ClientIndex(1);
pub(super) const OTHER: ClientIndex = ClientIndex(2);

/// A history in the making.
pub(super) struct Script {
    history: History,
    at: u64,
    connected: BTreeSet<ClientIndex>,
    forgiven: Option<&'static str>,
}

impl Script {
    /// A broker that runs, and a publisher with a session that is kept.
    pub(super) fn new() -> Self {
        Self::with_grace(0)
    }

    pub(super) fn with_grace(grace_millis: u64) -> Self {
        let history = History::new(grace_millis);
        let mut it = Self { history, at: 0, connected: BTreeSet::new(), forgiven: None };
        it.add(Event::Started);
        it.connect(PUBLISHER);
        it
    }

    /// With a subscriber whose session is kept.
    pub(super) fn with_subscription(filter: &str, qos: u8) -> Self {
        let mut it = Self::new();
        it.connect(SUBSCRIBER);
        it.subscribe(filter, qos);
        it
    }

    /// Lets time pass, until something happens that concerns nobody.
    pub(super) fn wait(&mut self, millis: u64) {
        self.at += millis;
        self.act(OTHER, Act::Completed(MessageId { publisher: OTHER, number: 0 }));
    }

    /// Does not expect a finding of `rule`.
    pub(super) fn forgive(&mut self, rule: &'static str) {
        self.forgiven = Some(rule);
    }

    /// Kills the broker, which closes all connections, and starts it again.
    pub(super) fn crash(&mut self) {
        self.kill();
        self.restart();
    }

    pub(super) fn kill(&mut self) {
        self.add(Event::Killed);
    }

    pub(super) fn restart(&mut self) {
        for client in std::mem::take(&mut self.connected) {
            self.act(client, Act::Closed);
        }
        self.add(Event::Started);
    }

    pub(super) fn connect(&mut self, client: ClientIndex) {
        self.connect_for(client, false, u32::MAX, false);
    }

    pub(super) fn connect_clean(&mut self, client: ClientIndex) {
        self.connect_for(client, true, u32::MAX, false);
    }

    pub(super) fn resume(&mut self, client: ClientIndex, session_present: bool) {
        self.connect_for(client, false, u32::MAX, session_present);
    }

    pub(super) fn connect_for(
        &mut self,
        client: ClientIndex,
        clean_start: bool,
        expiry_secs: u32,
        session_present: bool,
    ) {
        self.leave(client);
        self.act(client, Act::ConnectSent(Connect { clean_start, expiry_secs, will: None }));
        self.act(client, Act::Connected { session_present });
        self.connected.insert(client);
    }

    pub(super) fn connect_unanswered(&mut self, client: ClientIndex, expiry_secs: u32) {
        let connect = Connect { clean_start: false, expiry_secs, will: None };
        self.act(client, Act::ConnectSent(connect));
        self.connected.insert(client);
    }

    pub(super) fn connect_with_will(&mut self, client: ClientIndex, number: u32, delay_secs: u32) {
        self.leave(client);
        let message = MessageId { publisher: client, number };
        let will = Some(Will { message, topic: "w/a".into(), qos: 2, delay_secs });
        let connect = Connect { clean_start: false, expiry_secs: u32::MAX, will };
        self.act(client, Act::ConnectSent(connect));
        self.act(client, Act::Connected { session_present: true });
        self.connected.insert(client);
    }

    /// Closes the client's connection, if it has one.
    pub(super) fn leave(&mut self, client: ClientIndex) {
        if self.connected.remove(&client) {
            self.act(client, Act::Left);
        }
    }

    pub(super) fn disconnect(&mut self, client: ClientIndex) {
        self.disconnect_for(client, None);
    }

    pub(super) fn disconnect_for(&mut self, client: ClientIndex, expiry_secs: Option<u32>) {
        self.act(client, Act::DisconnectSent { keeps_will: false, expiry_secs });
        self.act(client, Act::Closed);
        self.connected.remove(&client);
    }

    pub(super) fn disconnect_unanswered(&mut self, client: ClientIndex) {
        self.act(client, Act::DisconnectSent { keeps_will: false, expiry_secs: None });
    }

    pub(super) fn subscribe(&mut self, filter: &str, qos: u8) {
        self.subscribe_by(SUBSCRIBER, filter, qos);
    }

    pub(super) fn subscribe_by(&mut self, client: ClientIndex, filter: &str, qos: u8) {
        self.act(client, Act::SubscribeSent { filter: filter.into(), qos });
        self.act(client, Act::Subscribed { filter: filter.into() });
    }

    pub(super) fn subscribe_sent(&mut self, filter: &str, qos: u8) {
        self.act(SUBSCRIBER, Act::SubscribeSent { filter: filter.into(), qos });
    }

    pub(super) fn subscribed(&mut self, filter: &str) {
        self.act(SUBSCRIBER, Act::Subscribed { filter: filter.into() });
    }

    pub(super) fn unsubscribe_sent(&mut self, filter: &str) {
        self.act(SUBSCRIBER, Act::UnsubscribeSent { filter: filter.into() });
    }

    pub(super) fn unsubscribed(&mut self, filter: &str) {
        self.act(SUBSCRIBER, Act::Unsubscribed { filter: filter.into() });
    }

    pub(super) fn publish(&mut self, number: u32, topic: &str, qos: u8) {
        self.send(Publish { qos, ..publish(number, topic) });
    }

    pub(super) fn publish_again(&mut self, number: u32, topic: &str, qos: u8) {
        self.send(Publish { qos, is_again: true, ..publish(number, topic) });
    }

    pub(super) fn retain(&mut self, number: u32, topic: &str, qos: u8) {
        self.send(Publish { qos, retain: true, ..publish(number, topic) });
    }

    pub(super) fn clear(&mut self, number: u32, topic: &str) {
        self.send(Publish { retain: true, is_clear: true, ..publish(number, topic) });
    }

    pub(super) fn accept(&mut self, number: u32) {
        self.act(PUBLISHER, Act::Accepted(id(number)));
    }

    pub(super) fn receive(&mut self, number: u32, topic: &str, qos: u8) {
        self.receive_by(SUBSCRIBER, number, topic, qos);
    }

    pub(super) fn receive_by(&mut self, client: ClientIndex, number: u32, topic: &str, qos: u8) {
        self.act(client, Act::Received(Receipt { qos, ..receipt(number, topic) }));
    }

    pub(super) fn receive_again(&mut self, number: u32, topic: &str, qos: u8) {
        let receipt = Receipt { qos, dup: true, ..receipt(number, topic) };
        self.act(SUBSCRIBER, Act::Received(receipt));
    }

    pub(super) fn receive_retained(&mut self, number: u32, topic: &str, qos: u8) {
        let receipt = Receipt { qos, retain: true, ..receipt(number, topic) };
        self.act(SUBSCRIBER, Act::Received(receipt));
    }

    pub(super) fn receive_retained_again(&mut self, number: u32, topic: &str, qos: u8) {
        let receipt = Receipt { qos, retain: true, dup: true, ..receipt(number, topic) };
        self.act(SUBSCRIBER, Act::Received(receipt));
    }

    pub(super) fn receive_will(&mut self, number: u32) {
        self.receive(number, "w/a", 2);
    }

    pub(super) fn ack(&mut self, number: u32) {
        self.act(SUBSCRIBER, Act::AckSent(id(number)));
    }

    pub(super) fn ping(&mut self, client: ClientIndex) {
        self.ping_sent(client);
        self.pinged(client);
    }

    pub(super) fn ping_sent(&mut self, client: ClientIndex) {
        self.act(client, Act::PingSent);
    }

    pub(super) fn pinged(&mut self, client: ClientIndex) {
        self.act(client, Act::Pinged);
    }

    /// Asserts that the history up to here breaks exactly these rules.
    #[track_caller]
    pub(super) fn check(&self, rules: &[&str]) {
        let verdict = super::check(&self.history);
        let broken: BTreeSet<&str> = verdict.findings.iter().map(|it| it.rule).collect();
        let expected: BTreeSet<&str> = rules.iter().copied().collect();
        let unforgiven = broken.iter().copied().filter(|it| Some(*it) != self.forgiven);
        assert_eq!(unforgiven.collect::<BTreeSet<_>>(), expected, "{:?}", verdict.findings);
    }

    fn send(&mut self, publish: Publish) {
        self.act(PUBLISHER, Act::PublishSent(publish));
    }

    fn act(&mut self, client: ClientIndex, act: Act) {
        self.add(Event::Of(client, act));
    }

    fn add(&mut self, event: Event) {
        self.at += 1;
        self.history.entries.push(Entry { at: self.at, event });
    }
}

fn publish(number: u32, topic: &str) -> Publish {
    let topic = Rc::from(topic);
    Publish { message: id(number), topic, qos: 1, retain: false, is_clear: false, is_again: false }
}

fn receipt(number: u32, topic: &str) -> Receipt {
    Receipt { message: id(number), topic: topic.into(), qos: 1, retain: false, dup: false }
}

fn id(number: u32) -> MessageId {
    MessageId { publisher: PUBLISHER, number }
}
