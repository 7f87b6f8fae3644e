//! The lines of an export, which docs/backup.md describes.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use quelea_codec::{PacketId, QoS};
use quelea_session::{Content, Message, Position, SubscriptionIds, Time};
use quelea_store::{
    Attributes, CursorPlace, Item, Presence, RecoveredSession, RecoveredSubscription,
    SessionIdentity, SessionNumber, StoredMessage, StoredSession, StoredTarget, StoredWill,
    WallMillis,
};
use serde::{Deserialize, Serialize};

/// A line of an export.
#[derive(Debug, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Line {
    /// The first line.
    Quelea {
        /// The version of what follows.
        export: u32,
    },
    Mark {
        generation: u32,
        order: u64,
    },
    Session(Session),
    Ghost {
        session: String,
        sent_before: u64,
    },
    Message(Kept),
    Received {
        session: String,
        position: u64,
    },
    /// The last line.
    End {
        /// Lines between the first and the last.
        items: u64,
    },
}

#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Session {
    session: String,
    client_id: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    owner: String,
    expiry_secs: u32,
    /// Milliseconds since the beginning of 1970; none if its client was connected.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    lost_at: Option<u64>,
    sent_before: u64,
    next: u64,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    subscriptions: Vec<Subscription>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    received_packet_ids: Vec<u16>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    will: Option<Will>,
}

#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Subscription {
    filter: String,
    options: u8,
    #[serde(default, skip_serializing_if = "is_zero")]
    subscription_id: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    cursor: Option<Cursor>,
}

#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Cursor {
    until: u64,
    partition: u16,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    after: Option<String>,
}

#[derive(Debug, Deserialize, Serialize)]
struct Will {
    #[serde(flatten)]
    body: Body,
    qos: u8,
    retain: bool,
    delay_secs: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    expiry_secs: Option<u32>,
}

/// A message in queues, or a retained one.
#[derive(Debug, Deserialize, Serialize)]
pub(super) struct Kept {
    #[serde(flatten)]
    body: Body,
    qos: u8,
    /// Milliseconds since the beginning of 1970.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    expires_at: Option<u64>,
    /// Its order, if it is the retained message of its topic.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    retained: Option<u64>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    deliveries: Vec<Delivery>,
    /// Session, position and the index of the delivery.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    queued: Vec<(String, u64, u32)>,
}

#[derive(Debug, Deserialize, Serialize)]
struct Body {
    topic: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    payload: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    payload_base64: Option<String>,
    /// As they stand in a PUBLISH, without their length.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    properties_base64: String,
}

/// How a message is delivered.
#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Delivery {
    qos: u8,
    #[serde(default, skip_serializing_if = "is_false")]
    retain: bool,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    subscription_ids: Vec<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    share: Option<String>,
    #[serde(default, skip_serializing_if = "is_zero_long")]
    retained_order: u64,
}

impl Line {
    /// Returns the first line.
    pub(super) fn begin() -> Self {
        Self::Quelea { export: VERSION }
    }

    /// Returns the line of an item.
    pub(super) fn of(item: &Item) -> Self {
        match item {
            Item::Mark { generation, order } => {
                Self::Mark { generation: *generation, order: *order }
            }
            Item::Session(it) => Self::Session(Session::of(it)),
            Item::Ghost { session, sent_before } => {
                Self::Ghost { session: number(*session), sent_before: sent_before.value() }
            }
            Item::Message(it) => Self::Message(Kept::of(it)),
            Item::Received { session, position } => {
                Self::Received { session: number(*session), position: position.value() }
            }
        }
    }

    /// Returns what a line says; or what is wrong with it.
    pub(super) fn into_item(self) -> Result<Item, String> {
        Ok(match self {
            Self::Mark { generation, order } => Item::Mark { generation, order },
            Self::Session(it) => Item::Session(it.into_session()?),
            Self::Ghost { session, sent_before } => Item::Ghost {
                session: session_number(&session)?,
                sent_before: Position::new(sent_before),
            },
            Self::Message(it) => Item::Message(it.into_message()?),
            Self::Received { session, position } => Item::Received {
                session: session_number(&session)?,
                position: Position::new(position),
            },
            Self::Quelea { .. } | Self::End { .. } => return Err("it is not its place".to_owned()),
        })
    }
}

impl Session {
    fn of(it: &StoredSession) -> Self {
        let StoredSession { session: it, next } = it;
        let lost_at = match it.presence {
            Presence::Connected => None,
            Presence::Lost(at) => Some(at.0),
        };
        Self {
            session: number(it.session),
            client_id: it.identity.client_id.to_string(),
            owner: it.identity.owner.to_string(),
            expiry_secs: it.expiry_secs,
            lost_at,
            sent_before: it.sent_before.value(),
            next: next.value(),
            subscriptions: it.subscriptions.iter().map(Subscription::of).collect(),
            received_packet_ids: it.received.iter().map(|it| it.value()).collect(),
            will: it.will.as_ref().map(Will::of),
        }
    }

    fn into_session(self) -> Result<StoredSession, String> {
        let packet_id = |id: u16| PacketId::new(id).ok_or("a packet identifier is never 0");
        let received = self.received_packet_ids.into_iter().map(packet_id);
        let subscriptions = self.subscriptions.into_iter().map(Subscription::into_subscription);
        let presence =
            self.lost_at.map_or(Presence::Connected, |it| Presence::Lost(WallMillis(it)));
        let (client_id, owner) = (self.client_id.into(), self.owner.into());
        let session = RecoveredSession {
            session: session_number(&self.session)?,
            identity: SessionIdentity { client_id, owner },
            expiry_secs: self.expiry_secs,
            presence,
            sent_before: Position::new(self.sent_before),
            // They follow from the messages.
            queued_messages: 0,
            queued_bytes: 0,
            received: received.collect::<Result<_, _>>()?,
            subscriptions: subscriptions.collect(),
            will: self.will.map(Will::into_will).transpose()?,
        };
        Ok(StoredSession { session, next: Position::new(self.next) })
    }
}

impl Subscription {
    fn of(it: &RecoveredSubscription) -> Self {
        let cursor = it.cursor.as_ref().map(|it| Cursor {
            until: it.until,
            partition: it.partition,
            after: it.after.as_ref().map(|it| it.to_string()),
        });
        let (options, subscription_id) = (it.options, it.subscription_id);
        Self { filter: it.filter.to_string(), options, subscription_id, cursor }
    }

    fn into_subscription(self) -> RecoveredSubscription {
        let Self { filter, options, subscription_id, cursor } = self;
        let cursor = cursor.map(|it| CursorPlace {
            until: it.until,
            partition: it.partition,
            after: it.after.map(Box::from),
        });
        RecoveredSubscription { filter: filter.into(), options, subscription_id, cursor }
    }
}

impl Will {
    fn of(it: &StoredWill) -> Self {
        let (qos, retain) = (it.qos.to_byte(), it.retain);
        let (delay_secs, expiry_secs) = (it.delay_secs, it.expiry_secs);
        Self { body: Body::of(&it.message), qos, retain, delay_secs, expiry_secs }
    }

    fn into_will(self) -> Result<StoredWill, String> {
        let (retain, delay_secs, expiry_secs) = (self.retain, self.delay_secs, self.expiry_secs);
        let (message, qos) = (self.body.into_message(None)?, qos(self.qos)?);
        Ok(StoredWill { message, qos, retain, delay_secs, expiry_secs })
    }
}

impl Kept {
    fn of(it: &StoredMessage) -> Self {
        Self {
            body: Body::of(&it.message),
            qos: it.qos.to_byte(),
            expires_at: it.message.expires_at().map(|it| it.as_millis()),
            retained: it.retain,
            deliveries: it.attributes.iter().map(Delivery::of).collect(),
            queued: it
                .targets
                .iter()
                .map(|it| (number(it.session), it.position.value(), it.attributes))
                .collect(),
        }
    }

    fn into_message(self) -> Result<StoredMessage, String> {
        let count = self.deliveries.len();
        let target = |(session, position, attributes): (String, u64, u32)| {
            if attributes as usize >= count {
                return Err(format!("there is no delivery {attributes}"));
            }
            let (session, position) = (session_number(&session)?, Position::new(position));
            Ok(StoredTarget { session, position, attributes })
        };
        let deliveries = self.deliveries.into_iter().map(Delivery::into_attributes);
        Ok(StoredMessage {
            message: self.body.into_message(self.expires_at)?,
            qos: qos(self.qos)?,
            retain: self.retained,
            attributes: deliveries.collect::<Result<_, _>>()?,
            targets: self.queued.into_iter().map(target).collect::<Result<_, _>>()?,
        })
    }
}

impl Delivery {
    fn of(it: &Attributes) -> Self {
        Self {
            qos: it.qos.to_byte(),
            retain: it.retain,
            subscription_ids: it.subscription_ids.as_slice().to_vec(),
            share: it.share.as_ref().map(|it| it.to_string()),
            retained_order: it.retained_order,
        }
    }

    fn into_attributes(self) -> Result<Attributes, String> {
        let (qos, retain) = (qos(self.qos)?, self.retain);
        let subscription_ids = SubscriptionIds::new(&self.subscription_ids);
        let share = self.share.map(Arc::from);
        let retained_order = self.retained_order;
        Ok(Attributes { qos, retain, subscription_ids, share, retained_order })
    }
}

impl Body {
    fn of(message: &Message) -> Self {
        let Content { topic, payload, forwarded, .. } = message.content();
        let text = std::str::from_utf8(payload).ok().map(str::to_owned);
        let payload_base64 = text.is_none().then(|| STANDARD.encode(payload));
        let properties_base64 = STANDARD.encode(forwarded);
        Self { topic: topic.to_owned(), payload: text, payload_base64, properties_base64 }
    }

    fn into_message(self, expires_at: Option<u64>) -> Result<Arc<Message>, String> {
        let Self { topic, payload, payload_base64, properties_base64 } = self;
        let decode = |text: &str| STANDARD.decode(text).map_err(|it| format!("no Base64: {it}"));
        let payload = match (payload, payload_base64) {
            (Some(text), None) => text.into_bytes(),
            (None, Some(text)) => decode(&text)?,
            (Some(_), Some(_)) | (None, None) => {
                return Err("a message has either payload or payload_base64".to_owned());
            }
        };
        let forwarded = decode(&properties_base64)?;
        if topic.is_empty() || topic.len() + forwarded.len() + payload.len() > MESSAGE_BYTES_MAX {
            return Err("no message has such a topic, or is so large".to_owned());
        }
        let expires_at = expires_at.map(Time::from_millis);
        Ok(Message::new(&Content {
            topic: &topic,
            payload: &payload,
            forwarded: &forwarded,
            expires_at,
        }))
    }
}

/// Writes a session's number: its slot, and how many have had it.
fn number(session: SessionNumber) -> String {
    format!("{}.{}", session.slot(), session.generation())
}

fn session_number(text: &str) -> Result<SessionNumber, String> {
    let parts = text.split_once('.').and_then(|(slot, generation)| {
        Some(SessionNumber::new(slot.parse().ok()?, generation.parse().ok()?))
    });
    parts.ok_or_else(|| format!("{text:?} is no number of a session, such as \"7.1\""))
}

fn qos(byte: u8) -> Result<QoS, String> {
    QoS::from_byte(byte).ok_or_else(|| format!("{byte} is no QoS"))
}

fn is_zero(number: &u32) -> bool {
    *number == 0
}

fn is_zero_long(number: &u64) -> bool {
    *number == 0
}

fn is_false(flag: &bool) -> bool {
    !flag
}

/// The version of what is written.
pub(super) const VERSION: u32 = 1;

/// No packet is larger.
const MESSAGE_BYTES_MAX: usize = 1 << 28;
