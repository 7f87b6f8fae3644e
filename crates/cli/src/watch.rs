//! What a client command waits for beside its work: signals, its time, and the state of its connection.

use std::future::Future;
use std::io;
use std::time::Duration;

use quelea_client::{Client, Event, Events, Version};
use tokio::runtime::{Builder, Runtime};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::{Instant, sleep_until};

use crate::failure::{Failure, INTERRUPTED, TIMED_OUT};
use crate::print;
use crate::trouble;

/// Returns the runtime of a client command: everything happens on one thread, so that an output that takes nothing
/// more holds back the broker, and not this process's memory.
pub(crate) fn runtime() -> Result<Runtime, Failure> {
    Builder::new_current_thread().enable_all().build().map_err(no_runtime)
}

/// Runs a client command on a runtime of its own. At the end nothing is waited for that hangs in the system: the look-up
/// of a name may hang for long.
pub(crate) fn block_on<T>(work: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    let runtime = runtime()?;
    let result = runtime.block_on(work);
    runtime.shutdown_background();
    result
}

/// Watches a client from outside.
pub(crate) struct Watch {
    events: Events,
    interrupted: Signal,
    terminated: Signal,
    until: Option<Instant>,
    place: String,
    version: Version,
    tells: Tells,
    /// Whether the loss of a connection is the end.
    on_loss: OnLoss,
}

/// How much a client says on standard error.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Tells {
    Nothing,
    Troubles,
    Everything,
}

/// What follows when a connection is lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OnLoss {
    Reconnect,
    End,
}

/// What happened to a client.
#[derive(Debug)]
pub(crate) enum Happened {
    /// A signal asks for the end.
    Interrupted,
    /// The time given is over.
    TimedOut,
    /// The connection is lost, and that is the end.
    Lost(Failure),
    /// The broker has taken a subscription back.
    SubscriptionLost,
}

impl Watch {
    /// Watches `client`, which has just been started.
    pub(crate) fn new(
        client: &Client,
        place: &str,
        version: Version,
        tells: Tells,
        on_loss: OnLoss,
    ) -> Result<Self, Failure> {
        Ok(Self {
            events: client.events(),
            interrupted: signal(SignalKind::interrupt()).map_err(no_runtime)?,
            terminated: signal(SignalKind::terminate()).map_err(no_runtime)?,
            until: None,
            place: place.to_owned(),
            version,
            tells,
            on_loss,
        })
    }

    /// Sets when the client's time is over, if it ever is.
    pub(crate) fn set_timeout(&mut self, limit: Option<Duration>) {
        self.until = limit.and_then(|it| Instant::now().checked_add(it));
    }

    /// Waits for the broker to accept the first connection.
    pub(crate) async fn connected(&mut self) -> Result<(), Failure> {
        loop {
            let event = tokio::select! {
                event = self.events.next() => event,
                () = end_of(self.until) => return Err(timed_out()),
                _ = self.interrupted.recv() => return Err(interrupted()),
                _ = self.terminated.recv() => return Err(interrupted()),
            };
            match event {
                Some(Event::Connected { .. }) => {
                    self.debug(|it| format!("connected to {}", it.place));
                    return Ok(());
                }
                Some(Event::Disconnected { error, .. }) => {
                    return Err(trouble::not_connected(&self.place, &error, self.version));
                }
                Some(Event::Closed) | None => return Err(Failure::new("the client has ended")),
                Some(_) => {}
            }
        }
    }

    /// Waits for something that the command has to answer; tells what it need not. Nothing is lost when the future is
    /// dropped.
    pub(crate) async fn next(&mut self) -> Happened {
        loop {
            let event = tokio::select! {
                event = self.events.next() => event,
                () = end_of(self.until) => return Happened::TimedOut,
                _ = self.interrupted.recv() => return Happened::Interrupted,
                _ = self.terminated.recv() => return Happened::Interrupted,
            };
            match event {
                Some(Event::Disconnected { error, .. }) if self.on_loss == OnLoss::End => {
                    return Happened::Lost(trouble::ended(&error));
                }
                Some(Event::Disconnected { error, retry_in }) => {
                    let why = trouble::lost(&error);
                    self.tell(&format!("{why}; connecting again in {retry_in:.1?}"));
                }
                Some(Event::Connected { session_present: true }) => {
                    self.tell("connected again");
                }
                Some(Event::Connected { session_present: false }) => {
                    self.tell("connected again, in a new session");
                }
                Some(Event::SubscriptionLost { filter, error }) => {
                    let why = trouble::not_subscribed(&error);
                    self.tell(&format!("the subscription to \"{filter}\" is lost: {why}"));
                    return Happened::SubscriptionLost;
                }
                Some(Event::Closed) | None => {
                    return Happened::Lost(Failure::new("the client has ended"));
                }
                Some(event) => self.debug(|_| format!("{event:?}")),
            }
        }
    }

    /// Waits for a signal alone.
    pub(crate) async fn signal(&mut self) {
        tokio::select! {
            _ = self.interrupted.recv() => {}
            _ = self.terminated.recv() => {}
        }
    }

    /// Closes the client in good order, unless that takes too long or another signal comes. Returns how many messages
    /// were not published for certain.
    pub(crate) async fn close(&mut self, client: &Client) -> usize {
        let unfinished = client.unfinished();
        tokio::select! {
            unfinished = client.close(FAREWELL_TIME_MAX) => unfinished,
            () = self.signal() => unfinished,
        }
    }

    /// Says something about a trouble.
    pub(crate) fn tell(&self, line: &str) {
        if self.tells >= Tells::Troubles {
            print::to_stderr(line);
        }
    }

    /// Says something that only matters to who looks for a fault.
    pub(crate) fn debug(&self, line: impl FnOnce(&Self) -> String) {
        if self.tells == Tells::Everything {
            print::to_stderr(&line(self));
        }
    }
}

/// The failure of a client whose time is over.
pub(crate) fn timed_out() -> Failure {
    Failure::new("timed out").with_code(TIMED_OUT)
}

/// The failure of a client that was interrupted before its work was done.
pub(crate) fn interrupted() -> Failure {
    Failure::new("interrupted").with_code(INTERRUPTED)
}

async fn end_of(time: Option<Instant>) {
    match time {
        Some(time) => sleep_until(time).await,
        None => std::future::pending().await,
    }
}

fn no_runtime(error: io::Error) -> Failure {
    Failure::new(format!("the system does not let the client start: {error}"))
}

/// How long the broker may take to acknowledge what is left, and to hear the last words.
const FAREWELL_TIME_MAX: Duration = Duration::from_secs(5);
