//! From the session to the application: who gets a message, and who says that it may be forgotten.

use std::sync::{Arc, Weak};
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
        let mut message = message(incoming);
        let mut sinks = std::mem::take(&mut self.sinks);
        let ids = publish.properties.subscription_ids.iter();
        self.registry.receivers(topic, ids, |sink| sinks.push(sink));
        let keeping = sinks.iter().filter(|it| it.keeps_receipt(publish.qos)).count();
        let mut unclaimed = None;
        match *receipt {
            Some(receipt) if sinks.is_empty() && self.claims.has_room() => {
                message.receipt = Some(Whole::new(receipt, weak(shared), 1).part());
                self.claims.hold(message);
            }
            Some(receipt) if keeping > 0 => {
                let whole = Whole::new(receipt, weak(shared), keeping);
                for sink in sinks.drain(..) {
                    message.receipt = sink.keeps_receipt(publish.qos).then(|| whole.part());
                    sink.push(message.clone());
                }
            }
            _ => {
                if let Some(receipt) = *receipt {
                    self.session.acknowledge(receipt, ReasonCode::SUCCESS, &mut self.out);
                }
                unclaimed = sinks.is_empty().then(|| topic.to_string());
                hand_out(&mut sinks, message);
            }
        }
        self.sinks = sinks;
        unclaimed
    }

    /// Gives the messages that wait to be claimed to those who have subscribed since.
    pub(crate) fn hand_out_claims(&mut self) {
        for message in self.claims.take() {
            let mut sinks = Vec::new();
            self.registry.receivers(message.topic(), std::iter::empty(), |sink| sinks.push(sink));
            if sinks.is_empty() {
                self.claims.hold(message);
                continue;
            }
            if !sinks.iter().any(|it| it.keeps_receipt(message.qos)) {
                message.acknowledge();
            }
            hand_out(&mut sinks, message);
        }
    }
}

fn hand_out(sinks: &mut Vec<Sink>, message: Message) {
    let Some(last) = sinks.pop() else {
        return;
    };
    for sink in sinks.drain(..) {
        sink.push(message.clone());
    }
    last.push(message);
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
        expiry: properties.message_expiry_secs.map(|secs| Duration::from_secs(secs.into())),
        receipt: None,
    }
}

fn weak(shared: &Arc<Shared>) -> Weak<Shared> {
    Arc::downgrade(shared)
}
