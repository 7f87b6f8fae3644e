//! An MQTT client that does not lose messages: 3.1, 3.1.1 and 5.0 through one API.
//!
//! ```no_run
//! use quelea_client::{Client, Options, Publish};
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let client = Client::connect("mqtt://localhost", Options::new()).await?;
//! let mut readings = client.subscribe("plant/+/temperature").await?;
//! client.publish(&Publish::new("plant/7/temperature", "21.5")).await?.await?;
//! if let Some(reading) = readings.next().await {
//!     println!("{}: {:?}", reading.topic(), reading.text());
//! }
//! # Ok(())
//! # }
//! ```
//!
//! # What is promised
//!
//! - A message that [`publish`](Client::publish) has accepted is sent until the broker has acknowledged it, over as many
//!   connections as that takes; the [handle](PublishHandle) says when. Dropping the handle changes nothing.
//! - At QoS 2 it is published once, as long as the broker keeps the session. If the broker loses it while the message is
//!   under way, the handle says [`Unknown`](PublishError::Unknown), and the message is not sent again.
//! - The connection is driven by a task of its own. No call of the application waits for another, and nothing that the
//!   application does or leaves undone stops it.
//! - Subscriptions are made again when the broker has lost them.
//! - Every queue has a limit, and a rule for what happens there: see [`Queue`] for what is published, [`Buffering`] for
//!   what is received.
//!
//! The [guide] has a section for each task, and there is a page for those who come [from rumqttc](from_rumqttc).

#![forbid(unsafe_code)]

mod authentication;
mod backoff;
pub mod blocking;
mod claims;
mod client;
mod delivery;
mod driver;
mod error;
mod event;
mod handle;
mod http;
mod inbox;
mod journal;
mod link;
mod message;
mod options;
mod proxy;
mod receipt;
mod registry;
mod request;
#[cfg(feature = "scram")]
mod scram;
mod shared;
mod subscription;
#[cfg(feature = "tls")]
mod tls;
mod transport;
mod url;
mod websocket;

#[doc = include_str!("../docs/guide.md")]
pub mod guide {}

#[doc = include_str!("../docs/from-rumqttc.md")]
pub mod from_rumqttc {}

pub use authentication::{Authenticator, Exchange};
pub use backoff::Backoff;
pub use client::Client;
pub use error::{
    ConnectError, ConnectionError, JournalError, PublishError, Reason, RequestError, StartError,
    SubscribeError,
};
pub use event::{Event, Events};
pub use handle::{Acknowledgement, PublishHandle};
pub use inbox::{Acknowledge, Buffering, Overflow};
pub use message::{Message, Publish};
pub use options::{Options, Queue, QueueOverflow};
pub use proxy::Proxy;
pub use quelea_codec::{DecodeError, QoS, ReasonCode, RetainHandling, Version};
pub use quelea_session::client::Fault;
#[cfg(feature = "scram")]
pub use scram::{Scram, ScramError};
pub use subscription::{Subscribe, Subscription};
#[cfg(feature = "tls")]
pub use tls::Tls;
#[cfg(feature = "tls")]
pub use tokio_rustls::rustls;
pub use url::UrlError;
