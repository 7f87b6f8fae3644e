//! What the tests of this module share.

use quelea_codec::Publish;

/// Returns a message at QoS 0.
pub(crate) fn message<'a>(topic: &'a str, payload: &'a str) -> Publish<'a> {
    Publish { topic, payload: payload.as_bytes(), ..Publish::default() }
}
