//! Application messages: as they pass through, and as they are kept.
//!
//! A message that everybody receives at once is never copied: it is a [`Content`] that borrows from the
//! packet it came in. Only a receiver that must keep it (a window that is full, a session that may be resumed)
//! makes a [`Message`] of it, and all such receivers share that one through [`Sharing`].

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;

use crate::Time;

/// What a receiver gets, whoever it is.
#[derive(Clone, Copy, Debug)]
pub struct Content<'a> {
    /// Topic Name, never empty.
    pub topic: &'a str,
    /// Application message.
    pub payload: &'a [u8],
    /// The forwarded properties as wire bytes, as the codec's `append_forwarded` writes them.
    pub forwarded: &'a [u8],
    /// When the Message Expiry Interval will have passed.
    pub expires_at: Option<Time>,
}

/// A message that is kept, shared by all who keep it.
#[derive(Debug)]
pub struct Message {
    /// Topic, forwarded properties and payload, one after the other.
    bytes: Box<[u8]>,
    expires_at: Option<Time>,
    topic_bytes: u32,
    forwarded_bytes: u32,
}

/// A message on its way to several receivers, of which none, some or all have to keep it.
///
/// The copy is made for the first that asks.
#[derive(Debug)]
pub struct Sharing<'a> {
    content: Content<'a>,
    kept: Kept<'a>,
}

#[derive(Debug)]
enum Kept<'a> {
    Not,
    Lent(&'a Arc<Message>),
    Made(Arc<Message>),
}

impl Content<'_> {
    /// Returns whether the Message Expiry Interval has passed.
    #[inline]
    pub fn is_expired(&self, now: Time) -> bool {
        self.expires_at.is_some_and(|expires_at| now >= expires_at)
    }

    /// Returns the Message Expiry Interval to be sent ([MQTT-3.3.2-6]).
    ///
    /// Policy: whole seconds of waiting are subtracted, so what has not expired is never sent with an interval
    /// of 0.
    #[inline]
    pub fn remaining_secs(&self, now: Time) -> Option<u32> {
        self.expires_at.map(|expires_at| {
            u32::try_from(expires_at.saturating_since(now).div_ceil(1000)).unwrap_or(u32::MAX)
        })
    }
}

impl Message {
    /// Copies `content`.
    ///
    /// # Panics
    ///
    /// When topic or properties are longer than a packet can be.
    pub fn new(content: &Content<'_>) -> Arc<Self> {
        let part_bytes =
            |len: usize| u32::try_from(len).expect("came in a packet, so below 2^28 bytes");
        let mut bytes = Vec::with_capacity(
            content.topic.len() + content.forwarded.len() + content.payload.len(),
        );
        bytes.extend_from_slice(content.topic.as_bytes());
        bytes.extend_from_slice(content.forwarded);
        bytes.extend_from_slice(content.payload);
        Arc::new(Self {
            bytes: bytes.into_boxed_slice(),
            expires_at: content.expires_at,
            topic_bytes: part_bytes(content.topic.len()),
            forwarded_bytes: part_bytes(content.forwarded.len()),
        })
    }

    /// Returns the message's parts.
    pub fn content(&self) -> Content<'_> {
        let (topic, rest) = self.bytes.split_at(self.topic_bytes as usize);
        let (forwarded, payload) = rest.split_at(self.forwarded_bytes as usize);
        Content {
            topic: core::str::from_utf8(topic).expect("copied from a str"),
            payload,
            forwarded,
            expires_at: self.expires_at,
        }
    }

    /// Returns when the Message Expiry Interval will have passed.
    pub fn expires_at(&self) -> Option<Time> {
        self.expires_at
    }

    /// Returns the memory the message takes, its share of a queue's bytes.
    #[inline]
    pub fn size_bytes(&self) -> usize {
        Self::size_of(self.bytes.len())
    }

    /// Returns the memory a message takes with so many bytes of topic, forwarded properties and payload.
    #[inline]
    pub const fn size_of(content_bytes: usize) -> usize {
        size_of::<Self>() + ARC_BYTES + content_bytes
    }
}

impl<'a> Sharing<'a> {
    /// Returns a message that nobody keeps so far.
    #[inline]
    pub fn borrowed(content: Content<'a>) -> Self {
        Self { content, kept: Kept::Not }
    }

    /// Returns a message that somebody keeps already.
    pub fn kept(message: &'a Arc<Message>) -> Self {
        Self { content: message.content(), kept: Kept::Lent(message) }
    }

    /// Returns the message to be kept, made if it has to be.
    pub fn keep(&mut self) -> Arc<Message> {
        match &self.kept {
            Kept::Lent(message) => Arc::clone(message),
            Kept::Made(message) => Arc::clone(message),
            Kept::Not => {
                let message = Message::new(&self.content);
                self.kept = Kept::Made(Arc::clone(&message));
                message
            }
        }
    }

    /// Returns the message's parts.
    #[inline]
    pub fn content(&self) -> Content<'a> {
        self.content
    }
}

/// The two counters of an `Arc`.
const ARC_BYTES: usize = 2 * size_of::<usize>();

#[cfg(test)]
mod tests {
    use alloc::sync::Arc;

    use super::{Content, Message, Sharing};
    use crate::Time;

    const CONTENT: Content<'static> =
        Content { topic: "a/b", payload: b"payload", forwarded: &[1, 1], expires_at: None };

    #[test]
    fn a_message_gives_back_what_it_was_made_of() {
        let message = Message::new(&CONTENT);
        let content = message.content();
        assert_eq!(content.topic, "a/b");
        assert_eq!(content.payload, b"payload");
        assert_eq!(content.forwarded, [1, 1]);
    }

    #[test]
    fn all_who_keep_a_message_share_it() {
        let mut sharing = Sharing::borrowed(CONTENT);
        let first = sharing.keep();
        assert!(Arc::ptr_eq(&first, &sharing.keep()));
        assert!(Arc::ptr_eq(&first, &Sharing::kept(&first).keep()));
    }

    /// [MQTT-3.3.2-6]
    #[test]
    fn whole_seconds_of_waiting_shorten_the_interval() {
        let content = Content { expires_at: Some(Time::from_millis(10_000)), ..CONTENT };
        for (now, secs, is_expired) in [
            (0, 10, false),
            (999, 10, false),
            (1_000, 9, false),
            (9_999, 1, false),
            (10_000, 0, true),
        ] {
            let now = Time::from_millis(now);
            assert_eq!(content.remaining_secs(now), Some(secs));
            assert_eq!(content.is_expired(now), is_expired);
        }
    }
}
