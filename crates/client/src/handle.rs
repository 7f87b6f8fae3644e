//! What became of a message, once it is known.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use quelea_codec::{AckProperties, ReasonCode};
use tokio::sync::oneshot;

use crate::error::PublishError;

/// A message that was accepted, and will be published. Await it to learn what became of it; drop it, and the message
/// is published all the same.
#[derive(Debug)]
#[must_use = "await it to learn what became of the message, or drop it on purpose"]
pub struct PublishHandle(Answer);

#[derive(Debug)]
enum Answer {
    /// The message was at QoS 0, and is on its way.
    Sent,
    Awaited(oneshot::Receiver<Result<Acknowledgement, PublishError>>),
}

/// What is known of a message that was published.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Acknowledgement {
    /// What the broker said; `None` at QoS 0, which is not acknowledged: the message is on its way.
    pub reason: Option<ReasonCode>,
    /// What the broker adds for people.
    pub reason_text: Option<String>,
    /// Properties that the broker added.
    pub user_properties: Vec<(String, String)>,
}

impl PublishHandle {
    pub(crate) fn new(receiver: oneshot::Receiver<Result<Acknowledgement, PublishError>>) -> Self {
        Self(Answer::Awaited(receiver))
    }

    /// Returns the handle of a message at QoS 0 that is on its way.
    pub(crate) fn sent() -> Self {
        Self(Answer::Sent)
    }
}

impl Future for PublishHandle {
    type Output = Result<Acknowledgement, PublishError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        match &mut self.0 {
            Answer::Sent => Poll::Ready(Ok(Acknowledgement::sent())),
            Answer::Awaited(receiver) => {
                let answer = Pin::new(receiver).poll(context);
                answer.map(|it| it.unwrap_or(Err(PublishError::Closed)))
            }
        }
    }
}

impl Acknowledgement {
    /// A message at QoS 0 is on its way.
    pub(crate) fn sent() -> Self {
        Self { reason: None, reason_text: None, user_properties: Vec::new() }
    }

    pub(crate) fn by_broker(reason: ReasonCode, properties: &AckProperties<'_>) -> Self {
        let pairs = properties.user_properties.iter();
        Self {
            reason: Some(reason),
            reason_text: properties.reason_string.map(str::to_owned),
            user_properties: pairs.map(|(name, value)| (name.into(), value.into())).collect(),
        }
    }

    /// Returns whether the broker says that nobody had subscribed to the topic. Brokers need not say it.
    pub fn had_no_subscribers(&self) -> bool {
        self.reason == Some(ReasonCode::NO_MATCHING_SUBSCRIBERS)
    }
}
