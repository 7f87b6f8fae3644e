//! From the session to the application: who gets a message, and who says that it may be forgotten.

use std::sync::Arc;
use std::task::Waker;
use std::time::Duration;

use quelea_codec::{PublishProperties, ReasonCode};
use quelea_session::Content;
use quelea_session::client::Incoming;

use crate::message::Message;
use crate::receipt::Whole;
use crate::registry::Sink;
use crate::shared::{Core, Shared};

impl Core {
    /// Gives a message to those who have subscribed to it. Returns its topic if nobody has, and it is dropped.
    pub(crate) fn deliver(
        &mut self,
        shared: &Arc<Shared>,
        incoming: &Incoming<'_>,
    ) -> Option<String> {
        let Incoming { topic, publish, receipt } = incoming;
        let Self { session, registry, claims, out, wakers, .. } = self;
        let mut message = message(incoming);
        registry.find(topic, publish.properties.subscription_ids.iter());
        let is_wanted = registry.receivers().next().is_some();
        let keeps = |sink: &&Sink| sink.keeps_receipt(publish.qos);
        let keeping = match receipt {
            Some(_) => registry.receivers().filter(keeps).count(),
            None => 0,
        };
        match *receipt {
            Some(receipt) if !is_wanted && claims.has_room() => {
                message.receipt = Some(Whole::new(receipt, Arc::downgrade(shared), 1).part());
                claims.hold(message);
                None
            }
            Some(receipt) if keeping > 0 => {
                let whole = Whole::new(receipt, Arc::downgrade(shared), keeping);
                for sink in registry.receivers() {
                    message.receipt = keeps(&sink).then(|| whole.part());
                    sink.push(message.clone(), wakers);
                }
                None
            }
            _ => {
                if let Some(receipt) = *receipt {
                    session.acknowledge(receipt, ReasonCode::SUCCESS, out);
                }
                hand_out(registry.receivers(), message, wakers);
                (!is_wanted).then(|| topic.to_string())
            }
        }
    }

    /// Gives the messages that wait to be claimed to those who have subscribed since.
    pub(crate) fn hand_out_claims(&mut self) {
        for message in self.claims.take() {
            self.registry.find(message.topic(), std::iter::empty());
            if self.registry.receivers().next().is_none() {
                self.claims.hold(message);
                continue;
            }
            if !self.registry.receivers().any(|it| it.keeps_receipt(message.qos)) {
                message.acknowledge();
            }
            hand_out(self.registry.receivers(), message, &mut self.wakers);
        }
        self.wakers.drain(..).for_each(Waker::wake);
    }
}

/// Gives each receiver the message. Nearly always there is one, and nothing is cloned.
fn hand_out<'a>(
    mut sinks: impl Iterator<Item = &'a Sink>,
    message: Message,
    wakers: &mut Vec<Waker>,
) {
    let Some(mut sink) = sinks.next() else {
        return;
    };
    for next in sinks {
        sink.push(message.clone(), wakers);
        sink = next;
    }
    sink.push(message, wakers);
}

fn message(incoming: &Incoming<'_>) -> Message {
    let Incoming { topic, publish, .. } = incoming;
    let properties: &PublishProperties<'_> = &publish.properties;
    let mut scattered = Vec::new();
    let forwarded = properties.forwarded_slice().unwrap_or_else(|| {
        properties.append_forwarded(&mut scattered);
        &scattered
    });
    let content = Content { topic, payload: publish.payload, forwarded, expires_at: None };
    Message {
        content: quelea_session::Message::new(&content),
        qos: publish.qos,
        retain: publish.retain,
        dup: publish.dup,
        packet_id: publish.packet_id,
        topic_alias: properties.topic_alias,
        expiry: properties.message_expiry_secs.map(|secs| Duration::from_secs(secs.into())),
        receipt: None,
    }
}
