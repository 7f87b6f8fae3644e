//! What a client decides to do.

use quelea_codec::{
    Packet, QoS, RetainHandling, Subscribe, SubscriptionOptions, Unsubscribe, Version,
};

use super::{Asked, Client, Exchange, Hands, Mode};
use crate::fact::{Deed, Spec};
use crate::properties::EVERYTHING;
use crate::setting::SECOND;

impl Client {
    /// It is time to do something.
    pub(crate) fn on_wake(&mut self, hands: &mut Hands<'_>) {
        self.wakes_at = hands.now + 1 + self.random.scattered(0..self.profile.idles_for);
        match self.mode {
            Mode::Active => self.act(hands),
            Mode::Settling => self.settle(hands),
            Mode::Inspecting => self.inspect(hands),
            Mode::Clearing => self.clear(hands),
            Mode::Leaving => self.leave(hands),
            Mode::Gone => {}
        }
        let now = hands.now;
        self.link.iter_mut().for_each(|link| link.write_answers(now));
        self.keep_alive(hands);
        self.flush(hands);
        self.read(hands);
    }

    fn act(&mut self, hands: &mut Hands<'_>) {
        let Some(link) = &self.link else {
            self.connect_if_possible(hands);
            return;
        };
        if !link.is_open || link.is_leaving {
            return self.lose_patience(hands);
        }
        let habits = self.profile.habits;
        let weights = [
            habits.publish,
            habits.subscribe,
            habits.unsubscribe,
            habits.disconnect,
            habits.vanish,
            habits.take_over,
            habits.doze,
        ];
        match self.random.weighted(&weights) {
            0 => {
                for _ in 0..1 + self.random.scattered(0..8) {
                    self.publish(hands);
                }
            }
            1 => self.subscribe(hands),
            2 => self.unsubscribe(hands),
            3 => self.say_goodbye(hands),
            4 => self.drop_link(hands, false),
            5 => {
                self.abandon_link(hands);
                self.connect_if_possible(hands);
            }
            _ => {
                let until = hands.now + self.random.scattered(0..2 * SECOND);
                self.link.iter_mut().for_each(|link| link.dozes_until = until);
            }
        }
        self.lose_patience(hands);
    }

    fn settle(&mut self, hands: &mut Hands<'_>) {
        self.wakes_at = hands.now + SECOND / 5;
        match &self.link {
            None if self.has_session() => self.connect_if_possible(hands),
            None => {}
            Some(_) => self.lose_patience(hands),
        }
    }

    fn inspect(&mut self, hands: &mut Hands<'_>) {
        self.wakes_at = hands.now + SECOND / 5;
        match &self.link {
            None => self.connect_if_possible(hands),
            Some(link) if link.is_open && self.filters.is_empty() => {
                let options = SubscriptionOptions::new(QoS::ExactlyOnce);
                self.subscribe_to(vec![(EVERYTHING.to_owned(), options)], hands);
            }
            Some(_) => {}
        }
    }

    fn clear(&mut self, hands: &mut Hands<'_>) {
        self.wakes_at = hands.now + SECOND / 5;
        if self.sent.is_empty() && !self.topics.is_empty() {
            let spec = self.draw_message(true);
            let topic = self.topics.pop().unwrap_or_default();
            let spec = Spec { topic, qos: QoS::AtLeastOnce, is_empty: true, ..spec };
            self.publish_this(spec, 0, hands);
        }
    }

    /// Ends its session: connects anew with one that ends with the connection, and says goodbye.
    fn leave(&mut self, hands: &mut Hands<'_>) {
        self.wakes_at = hands.now + SECOND / 5;
        match &self.link {
            None => self.connect_if_possible(hands),
            Some(link) if link.is_open && !link.is_leaving => {
                let is_last = link.expiry_secs == 0;
                self.disconnect(hands, false, None);
                if is_last {
                    self.mode = Mode::Gone;
                }
            }
            Some(_) => self.lose_patience(hands),
        }
    }

    fn connect_if_possible(&mut self, hands: &mut Hands<'_>) {
        if hands.is_up && hands.now >= self.connects_not_before {
            self.connect(hands);
        } else {
            self.wakes_at = hands.now.max(self.connects_not_before) + SECOND / 4;
        }
    }

    /// Gives up a connection on which nothing comes that should.
    fn lose_patience(&mut self, hands: &mut Hands<'_>) {
        let Some(link) = &self.link else { return };
        let is_waiting = !link.is_open
            || link.is_leaving
            || link.is_pinging
            || !link.asked.is_empty()
            || !self.sent.is_empty();
        let since = link.last_read_at.max(link.dozes_until);
        if is_waiting && since + PATIENCE_MICROS < hands.now {
            hands.judge.say(|| format!("{} has lost its patience", self.index));
            self.drop_link(hands, false);
        }
    }

    fn keep_alive(&mut self, hands: &mut Hands<'_>) {
        let Some(link) = self.link.as_mut() else { return };
        let interval = match (self.mode, self.profile.keep_alive_secs) {
            (Mode::Active, 0) => u64::MAX,
            (Mode::Active, secs) => u64::from(secs) * SECOND / 2,
            (_, _) => SECOND,
        };
        if link.is_open && !link.is_leaving {
            let due = link.last_written_at.saturating_add(interval);
            if due <= hands.now {
                link.write(&Packet::PingReq, hands.now);
                link.is_pinging = true;
            }
            let due = link.last_written_at.saturating_add(interval);
            self.wakes_at = self.wakes_at.min(due);
        }
    }

    fn publish(&mut self, hands: &mut Hands<'_>) {
        let Some(link) = &self.link else { return };
        // As one who does not flood: what does not leave at once is enough.
        if self.sent.len() >= link.quota.min(SENT_MAX) || !link.output.is_empty() {
            return;
        }
        let retain = self.random.percent(self.profile.retain_percent);
        let spec = self.draw_message(retain);
        let padding = self.random.scattered(0..self.profile.payload_bytes_max) as usize;
        self.publish_this(spec, padding, hands);
    }

    fn publish_this(&mut self, spec: Spec, padding: usize, hands: &mut Hands<'_>) {
        if spec.qos == QoS::AtMostOnce {
            return self.write_publish(&spec, None, hands);
        }
        let packet_id = self.draw_packet_id();
        let exchange = Exchange { packet_id, spec: spec.clone(), padding, is_received: false };
        self.write_publish(&spec, Some(&exchange), hands);
        self.sent.push(exchange);
        self.flush(hands);
    }

    fn subscribe(&mut self, hands: &mut Hands<'_>) {
        let count = 1 + self.random.within(0..2);
        let mut filters = Vec::new();
        for _ in 0..count {
            let filter = *self.random.choose(&self.offered);
            if filters.iter().all(|(it, _)| it != filter) && !self.is_asking(filter) {
                filters.push((filter.to_owned(), self.draw_options(filter)));
            }
        }
        self.subscribe_to(filters, hands);
    }

    /// Subscribes to these filters.
    pub(super) fn subscribe_to(
        &mut self,
        filters: Vec<(String, SubscriptionOptions)>,
        hands: &mut Hands<'_>,
    ) {
        if filters.is_empty() || self.link.is_none() {
            return;
        }
        let packet_id = self.draw_packet_id();
        let is_v5 = self.profile.version == Version::V5;
        let wanted: Vec<(&str, SubscriptionOptions)> =
            filters.iter().map(|(filter, options)| (filter.as_str(), *options)).collect();
        let id = (is_v5 && self.random.percent(50)).then(|| self.random.within(1..4) as u32);
        let Some(link) = self.link.as_mut() else { return };
        link.write(&Packet::Subscribe(Subscribe::new(packet_id, id, &wanted)), hands.now);
        for (filter, options) in &filters {
            let (filter, options) = (filter.clone(), *options);
            self.filters.insert(filter.clone());
            hands.judge.note_deed(self.index, Deed::Subscribe { filter, options });
        }
        let Some(link) = self.link.as_mut() else { return };
        link.asked.insert(packet_id, Asked::Subscribe(filters));
    }

    fn draw_options(&mut self, filter: &str) -> SubscriptionOptions {
        let is_shared = filter.starts_with("$share/");
        let qos = match is_shared {
            true => *self.random.choose(&[QoS::AtLeastOnce, QoS::ExactlyOnce]),
            false => *self.random.choose(&[
                QoS::AtMostOnce,
                QoS::AtLeastOnce,
                QoS::AtLeastOnce,
                QoS::ExactlyOnce,
                QoS::ExactlyOnce,
            ]),
        };
        let mut options = SubscriptionOptions::new(qos);
        if self.profile.version == Version::V5 {
            options.no_local = !is_shared && self.random.percent(10);
            options.retain_as_published = self.random.percent(20);
            options.retain_handling = *self.random.choose(&[
                RetainHandling::SendAtSubscribe,
                RetainHandling::SendAtSubscribe,
                RetainHandling::SendIfNew,
                RetainHandling::DoNotSend,
            ]);
        }
        options
    }

    /// Returns whether an answer about a filter is still to come.
    fn is_asking(&self, filter: &str) -> bool {
        let asked = self.link.iter().flat_map(|link| link.asked.values());
        asked.into_iter().any(|it| match it {
            Asked::Subscribe(filters) => filters.iter().any(|(it, _)| it == filter),
            Asked::Unsubscribe(it) => it == filter,
        })
    }

    fn unsubscribe(&mut self, hands: &mut Hands<'_>) {
        let filters: Vec<String> =
            self.filters.iter().filter(|it| !self.is_asking(it)).cloned().collect();
        if filters.is_empty() {
            return;
        }
        let filter = self.random.choose(&filters).clone();
        let packet_id = self.draw_packet_id();
        let Some(link) = self.link.as_mut() else { return };
        let wanted = [filter.as_str()];
        link.write(&Packet::Unsubscribe(Unsubscribe::new(packet_id, &wanted)), hands.now);
        self.filters.remove(&filter);
        hands.judge.note_deed(self.index, Deed::Unsubscribe(filter.clone()));
        link.asked.insert(packet_id, Asked::Unsubscribe(filter));
    }

    fn say_goodbye(&mut self, hands: &mut Hands<'_>) {
        let Some(link) = &self.link else { return };
        let is_v5 = link.version == Version::V5;
        let with_will = is_v5 && self.random.percent(20);
        let may_change = is_v5 && link.expiry_secs > 0 && self.random.percent(20);
        let expiry_secs = may_change.then(|| *self.random.choose(&[0, 2, u32::MAX]));
        self.disconnect(hands, with_will, expiry_secs);
    }
}

/// A client that hears nothing for so long, and should, gives its connection up.
const PATIENCE_MICROS: u64 = 20 * SECOND;

/// Messages that a client has under way at once.
const SENT_MAX: usize = 40;
