//! A broker for the tests of an application that speaks MQTT: the real one, in the test's own process, on a port of its own,
//! with the faults of the world on demand.
//!
//! ```
//! use quelea_client::{Client, Options, Publish};
//! use quelea_testkit::TestBroker;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let broker = TestBroker::start();
//! let client = Client::connect(&broker.url(), Options::new()).await?;
//! let mut readings = client.subscribe("plant/+/temperature").await?;
//!
//! broker.cut();
//! client.publish(&Publish::new("plant/7/temperature", "21.5")).await?.await?;
//! assert_eq!(readings.next().await.expect("the client goes on").text(), Some("21.5"));
//! # Ok(())
//! # }
//! ```
//!
//! Any client in any language of the test's choice may connect: it is TCP to [`TestBroker::url`]. Each test starts a broker
//! of its own, which takes some milliseconds, so that tests may run at once and need no cleaning up. The methods do not wait
//! for the network and may be called from async code; no runtime is needed.
//!
//! ## What can go wrong, on demand
//!
//! | call | what the application sees | what it stands for |
//! |---|---|---|
//! | [`cut`](TestBroker::cut) | all connections break; new ones are made | a network that changes, a NAT that forgets |
//! | [`refuse`](TestBroker::refuse) | new connections end at once | a broker that is away, or full |
//! | [`black_hole`](TestBroker::black_hole) | nothing comes, nothing leaves, no connection ends | a cable that was pulled, a firewall |
//! | [`delay`](TestBroker::delay) | everything takes longer, each way | a satellite |
//! | [`drop_acknowledgements`](TestBroker::drop_acknowledgements) | PUBACK, PUBREC and PUBCOMP do not come | a broker that is stuck |
//! | [`cut_at_acknowledgements`](TestBroker::cut_at_acknowledgements) | the connection breaks where one was due | the broker has the message, and its publisher cannot know |
//! | [`kill`](TestBroker::kill) | all connections break, and new ones end at once | a broker that crashed |
//! | [`restart`](TestBroker::restart) | a broker with the sessions that it kept | the same, and back again |
//! | [`restart_empty`](TestBroker::restart_empty) | a broker that knows nobody | a disk that was lost |
//! | [`restore`](TestBroker::restore) | all is well again | |
//!
//! They hold for all that connect to [`url`](TestBroker::url). Whoever is only to watch connects to
//! [`direct_url`](TestBroker::direct_url), which no fault but a kill touches.
//!
//! A broker keeps sessions over a restart if it is [`durable`](TestBroker::durable); otherwise it has them in memory, and
//! each restart loses them:
//!
//! ```
//! use quelea_client::{Client, Event, Options};
//! use quelea_testkit::TestBroker;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let mut broker = TestBroker::durable();
//! let options = Options::new().client_id("plant-7").resume_session();
//! let client = Client::connect(&broker.url(), options).await?;
//! let mut events = client.events();
//! for (restart, expected) in [(TestBroker::restart as fn(&mut _), true), (TestBroker::restart_empty, false)] {
//!     restart(&mut broker);
//!     loop {
//!         match events.next().await.expect("the client is not closed") {
//!             Event::Connected { session_present } => break assert_eq!(session_present, expected),
//!             _ => {}
//!         }
//!     }
//! }
//! # Ok(())
//! # }
//! ```
//!
//! ## Settings
//!
//! The broker is the one that serves in production, and has its settings: limits that are reached soon are the way to see
//! what an application does at them.
//!
//! ```
//! use quelea_testkit::TestBroker;
//!
//! let broker = TestBroker::setup().configure(|it| it.limits.queued_messages_max = 10).start();
//! ```
//!
//! ## What it is not
//!
//! The broker runs in the process of the test, so that [`kill`](TestBroker::kill) is not quite `kill -9`: the broker has
//! kept what it was about to, whatever its durability. Faults of the network are made between the client and the broker, not in the kernel: a connection
//! that is refused was made, and ends before a byte has come. Acknowledgements are only recognised on plain TCP, not below
//! TLS or WebSocket.

#![forbid(unsafe_code)]

mod acknowledgements;
mod broker;
mod conditions;
mod connection;
mod directory;
mod relay;

pub use broker::{Setup, TestBroker};
pub use quelea_broker::Config;
