//! The broker's own messages.

use quelea_codec::QoS;
use quelea_session::{Content, Sharing};
use quelea_store::Submission;

use super::Shard;
use super::publish::Source;

impl Shard {
    /// Publishes and retains the broker's statistics.
    pub(super) fn publish_statistics(&mut self, values: Vec<(String, String)>) {
        for (topic, value) in values {
            let content = Content {
                topic: &topic,
                payload: value.as_bytes(),
                forwarded: &[],
                expires_at: None,
            };
            let mut sharing = Sharing::borrowed(content);
            let after = Submission::default();
            self.publish_from(Source::Statistics, &mut sharing, QoS::AtMostOnce, true, after);
        }
    }
}
