//! A look at the retained messages while the campaign runs: none that must be there is missing.
//!
//! What a new subscription is owed depends on the moment at which it is made, and nothing says that all of it has
//! come. So it is looked at as it happens, with patience: each topic whose last acknowledged message is no removal
//! owes that message, or a newer one.

use std::collections::BTreeMap;
use std::rc::Rc;

use quelea_codec::Version;

use crate::actor::Scene;
use crate::client::{Client, State, Wish};
use crate::history::{Act, ClientIndex, Entry, Event, History, MessageId};

/// A client that now and then looks at the retained messages.
#[derive(Debug)]
pub struct Inspector {
    /// Who looks.
    pub client: Client,
    shelf: Shelf,
    filter: Rc<str>,
    stage: Stage,
    /// How many entries of the history it has seen.
    seen: usize,
}

#[derive(Debug)]
enum Stage {
    Idle,
    Asked,
    /// Since this time it has been waiting for the rest.
    Waiting(u64),
}

/// What is retained, as far as the history tells, and what an inspection still has to see of it.
#[derive(Debug, Default)]
struct Shelf {
    topics: BTreeMap<Rc<str>, Topic>,
    /// Of messages that were sent: topic, and whether they are removals.
    sent: BTreeMap<MessageId, (Rc<str>, bool)>,
    /// The number that is owed, or a greater one.
    owed: BTreeMap<Rc<str>, u32>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Topic {
    /// The last acknowledged message, and whether it is a removal.
    accepted: (u32, bool),
    /// The last removal that was sent.
    removal: u32,
    /// The last message that was sent.
    newest: u32,
    /// A message that was sent again after the second one: either may have been taken last.
    resent: (u32, u32),
}

impl Inspector {
    /// Makes one.
    pub fn new(index: ClientIndex) -> Self {
        Self {
            client: Client::new(index, Version::V5, "inspector".to_owned()),
            shelf: Shelf::default(),
            filter: "r/#".into(),
            stage: Stage::Idle,
            seen: 0,
        }
    }

    /// Begins an inspection.
    pub fn begin(&mut self) {
        self.stage = Stage::Asked;
    }

    /// Says whether there is none under way.
    pub fn is_idle(&self) -> bool {
        matches!(self.stage, Stage::Idle)
    }

    /// The broker has gone: what was not seen will not be.
    pub fn give_up(&mut self) {
        self.stage = Stage::Idle;
    }

    /// Does what is due.
    pub fn act(&mut self, scene: &mut Scene<'_>) {
        self.catch_up(scene.history);
        match (&self.stage, self.client.state()) {
            (Stage::Asked, State::Away) => {
                let wish =
                    Wish { clean_start: true, expiry_secs: 0, receive_maximum: 20, will: None };
                self.client.connect(&wish, scene.address, scene.registry, scene.history);
            }
            (Stage::Asked, State::Connected) => {
                self.shelf.begin();
                self.client.subscribe(&self.filter, 1, scene.history);
                self.stage = Stage::Waiting(scene.history.now());
            }
            (Stage::Waiting(since), State::Connected) => {
                let is_answered = self.client.is_subscribed(&self.filter) == Some(true);
                let is_over = scene.history.now() - since > PATIENCE_MILLIS;
                if is_over {
                    let what = format!("retained messages did not come: {:?}", self.shelf.owed);
                    self.client.complain(what, scene.history);
                }
                if is_over || (is_answered && self.shelf.owed.is_empty()) {
                    self.stage = Stage::Idle;
                    self.client.disconnect(false, None, scene.history);
                }
            }
            (Stage::Idle | Stage::Asked | Stage::Waiting(_), _) => {}
        }
        self.client.acknowledge(usize::MAX, scene.history);
        self.client.flush();
    }

    fn catch_up(&mut self, history: &History) {
        for entry in &history.entries[self.seen..] {
            self.shelf.take(self.client.index(), entry);
        }
        self.seen = history.entries.len();
    }
}

impl Shelf {
    /// A subscription is about to be made: it is owed what is there.
    fn begin(&mut self) {
        let is_there = |topic: &Topic| {
            let (number, is_removal) = topic.accepted;
            // A removal that was sent later may have been carried out.
            !is_removal && number > topic.removal
        };
        let topics = self.topics.iter().filter(|(_, topic)| is_there(topic));
        self.owed = topics.map(|(name, topic)| (name.clone(), topic.least())).collect();
    }

    fn take(&mut self, inspector: ClientIndex, entry: &Entry) {
        match &entry.event {
            Event::Of(_, Act::PublishSent(publish)) if publish.retain => {
                let number = publish.message.number;
                let sent = (publish.topic.clone(), publish.is_clear);
                self.sent.insert(publish.message, sent);
                let topic = self.topics.entry(publish.topic.clone()).or_default();
                topic.newest = topic.newest.max(number);
                if publish.is_clear {
                    topic.removal = topic.newest;
                    self.owed.remove(&publish.topic);
                } else if number < topic.newest {
                    let (resent, newest) = topic.resent;
                    let oldest = if newest == topic.newest { number.min(resent) } else { number };
                    topic.resent = (oldest, topic.newest);
                    self.owed.entry(publish.topic.clone()).and_modify(|it| *it = number.min(*it));
                }
            }
            Event::Of(_, Act::Accepted(message)) => {
                let Some((topic, is_clear)) = self.sent.get(message) else { return };
                let topic = self.topics.entry(topic.clone()).or_default();
                // Acknowledgements of QoS 1 and 2 overtake each other.
                topic.accepted = topic.accepted.max((message.number, *is_clear));
            }
            Event::Of(client, Act::Received(receipt)) if *client == inspector => {
                if self.owed.get(&receipt.topic).is_some_and(|it| *it <= receipt.message.number) {
                    self.owed.remove(&receipt.topic);
                }
            }
            Event::Started | Event::Killed | Event::Of(..) => {}
        }
    }
}

impl Topic {
    /// Returns the number of the oldest message that may be there.
    fn least(&self) -> u32 {
        let (accepted, _) = self.accepted;
        let (resent, newest) = self.resent;
        if accepted <= newest { accepted.min(resent) } else { accepted }
    }
}

/// A full inspection takes some milliseconds.
const PATIENCE_MILLIS: u64 = 20_000;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::{Publish, Receipt};

    #[test]
    fn what_is_acknowledged_is_owed_until_it_comes() {
        let mut shelf = Shelf::default();
        send(&mut shelf, 1, false);
        check(&mut shelf, false);
        accept(&mut shelf, 1);
        check(&mut shelf, true);
        receive(&mut shelf, 1);
        assert!(shelf.owed.is_empty());
    }

    #[test]
    fn older_messages_are_not_enough() {
        let mut shelf = Shelf::default();
        for number in [1, 2] {
            send(&mut shelf, number, false);
            accept(&mut shelf, number);
        }
        check(&mut shelf, true);
        receive(&mut shelf, 1);
        assert!(!shelf.owed.is_empty());
        receive(&mut shelf, 2);
        assert!(shelf.owed.is_empty());
    }

    #[test]
    fn removal_may_have_been_carried_out() {
        let mut shelf = Shelf::default();
        send(&mut shelf, 1, false);
        accept(&mut shelf, 1);
        send(&mut shelf, 2, true);
        check(&mut shelf, false);
        accept(&mut shelf, 2);
        check(&mut shelf, false);
        send(&mut shelf, 3, false);
        accept(&mut shelf, 3);
        check(&mut shelf, true);
    }

    #[test]
    fn removal_during_the_inspection() {
        let mut shelf = Shelf::default();
        send(&mut shelf, 1, false);
        accept(&mut shelf, 1);
        check(&mut shelf, true);
        send(&mut shelf, 2, true);
        assert!(shelf.owed.is_empty());
    }

    #[test]
    fn older_message_that_is_sent_again_may_be_taken_last() {
        let mut shelf = Shelf::default();
        for number in [1, 2, 1] {
            send(&mut shelf, number, false);
        }
        accept(&mut shelf, 1);
        accept(&mut shelf, 2);
        check(&mut shelf, true);
        receive(&mut shelf, 1);
        assert!(shelf.owed.is_empty());
    }

    #[track_caller]
    fn check(shelf: &mut Shelf, is_owed: bool) {
        shelf.begin();
        assert_eq!(!shelf.owed.is_empty(), is_owed, "{shelf:?}");
    }

    fn send(shelf: &mut Shelf, number: u32, is_clear: bool) {
        let (message, topic) = (id(number), "r/a".into());
        let publish = Publish { message, topic, qos: 1, retain: true, is_clear, is_again: false };
        take(shelf, PUBLISHER, Act::PublishSent(publish));
    }

    fn accept(shelf: &mut Shelf, number: u32) {
        take(shelf, PUBLISHER, Act::Accepted(id(number)));
    }

    fn receive(shelf: &mut Shelf, number: u32) {
        let (message, topic) = (id(number), "r/a".into());
        let receipt = Receipt { message, topic, qos: 1, retain: true, dup: false };
        take(shelf, INSPECTOR, Act::Received(receipt));
    }

    fn take(shelf: &mut Shelf, client: ClientIndex, act: Act) {
        shelf.take(INSPECTOR, &Entry { at: 0, event: Event::Of(client, act) });
    }

    fn id(number: u32) -> MessageId {
        MessageId { publisher: PUBLISHER, number }
    }

    const PUBLISHER: ClientIndex = ClientIndex(0);
    const INSPECTOR: ClientIndex = ClientIndex(1);
}
