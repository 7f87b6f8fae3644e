//! An MQTT client that does not lose messages: 3.1, 3.1.1 and 5.0 through one API.
//!
//! # The first five minutes
//!
//! Programs that speak MQTT do not speak to each other, but to a **broker**. One publishes a message on a **topic**, such
//! as `plant/7/temperature`; the broker passes it on to all who have **subscribed** to a filter that matches:
//! `plant/7/temperature` itself, `plant/+/temperature` (`+` is any one level), or `plant/#` (`#` is all that follows).
//! Nobody has to know who else is there, and topics need not be made before they are used.
//!
//! Any broker will do. `quelea`, without more, is one for the programs of this machine.
//!
//! ```toml
//! [dependencies]
//! quelea-client = "0.1"
//! tokio = { version = "1", features = ["macros", "rt-multi-thread"] }
//! ```
//!
//! ```no_run
//! use std::error::Error;
//! use std::time::Duration;
//!
//! use quelea_client::{Client, Options, Publish};
//!
//! #[tokio::main]
//! async fn main() -> Result<(), Box<dyn Error>> {
//!     let client = Client::connect("mqtt://localhost", Options::new()).await?;
//!
//!     // From here on whatever is published below `greetings/` comes.
//!     let mut greetings = client.subscribe("greetings/#").await?;
//!
//!     // The first `await` ends when the client has the message, the second when the broker has it.
//!     let handle = client.publish(&Publish::new("greetings/world", "hello")).await?;
//!     handle.await?;
//!
//!     if let Some(greeting) = greetings.next().await {
//!         println!("{}: {}", greeting.topic(), greeting.text().unwrap_or("no text"));
//!     }
//!     client.close(Duration::from_secs(5)).await;
//!     Ok(())
//! }
//! ```
//!
//! It prints `greetings/world: hello`. A program without async does the same with [`blocking`].
//!
//! # How sure is it that a message arrives?
//!
//! Each message has a QoS (Quality of Service), and so has each subscription; a message comes with the lower of the two.
//!
//! | [`QoS`] | the message | when its handle is ready | take it for |
//! |---|---|---|---|
//! | 0, `AtMostOnce` | is sent, and forgotten: what is on its way when a connection breaks is lost | it is about to be sent | readings, of which the next will do |
//! | 1, `AtLeastOnce` | is sent until the broker says that it has it, so that it may come twice | the broker has it | nearly everything: this is the default |
//! | 2, `ExactlyOnce` | comes once, for twice as many packets | the broker has it, and will not take it again | what must not count twice |
//!
//! "The broker has it" does not say that a subscriber has: the broker passes it on when it can, and keeps it for those
//! who are away and have a session (see [`Options::resume_session`]). Who subscribes later gets nothing of what was
//! published before, but for the last message of a topic that was published with [`Publish::retain`].
//!
//! # What if there is no connection?
//!
//! Nothing that you would have to do. The client connects again, for as long as it is there, and makes the subscriptions
//! again that the broker has lost. Meanwhile [`publish`](Client::publish) goes on accepting messages, until the [`Queue`]
//! is full: 10,000 messages, unless you say otherwise, and then it waits for room, or does what you have chosen. They are
//! sent in their order when the broker is back. To have them survive your own process, too, give the client a
//! [file](Options::queue_file) for them. To watch all this, ask for the [`events`](Client::events).
//!
//! [`Client::connect`] alone fails when there is no broker, because then it is most often the address that is wrong.
//! [`Client::start`] waits for one.
//!
//! # What does the handle tell?
//!
//! Await the [`PublishHandle`] to learn what became of a message, and drop it if you need not know: the message is
//! published all the same. To publish many messages, don't await each before the next, which costs a round trip for
//! each; publish them all, and then await the handles, or only `close`.
//!
//! # What often goes wrong
//!
//! - **Two clients with the same client id**, for example two instances of a program with [`Options::client_id`]: the
//!   broker keeps the one that came last, the other connects again, and so on. The event says
//!   `Session taken over`. Without `client_id` each gets one of its own.
//! - **The subscription was dropped.** `let _ = client.subscribe("a").await?;` ends it at once. Keep the
//!   [`Subscription`] for as long as you want its messages.
//! - **The program ends too soon.** What was published last may still be on its way when `main` returns:
//!   [`close`](Client::close) waits for it, and returns how many messages were left.
//! - **Messages go missing in a slow program.** A subscription holds 1,000 messages, and drops and counts what comes
//!   beyond ([`Subscription::dropped`]). [`Overflow::HoldBack`] has the broker wait instead.
//! - **The runtime is blocked.** The client's task runs on your tokio runtime: `std::thread::sleep` in a task of a
//!   runtime with one thread stops the client, too. Use `tokio::time::sleep`, or [`blocking`].
//! - **A slash too many.** `/plant/7` has an empty first level, and is another topic than `plant/7`.
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
//! What is lost when, in a table, is at the end of the [guide], which has a section for each task. There is a page for
//! those who come [from rumqttc](from_rumqttc).

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
