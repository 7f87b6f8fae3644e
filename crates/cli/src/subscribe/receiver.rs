//! Receiving: every message is printed before it is acknowledged, so that none is lost with this process.

use std::collections::VecDeque;
use std::pin::Pin;

use quelea_client::{
    Acknowledge, Buffering, Client, Message, Overflow, Publish, PublishHandle, QoS, SubscribeError,
    Subscription,
};
use tokio::task::JoinSet;
use tokio::time::{Duration, Instant, interval_at};

use super::Plan;
use super::selection::{Candidate, Verdict};
use crate::connection::Connection;
use crate::failure::Failure;
use crate::print::{Departure, Reader};
use crate::show::Printer;
use crate::trouble;
use crate::watch::{self, Happened, Watch};

/// A client that prints.
pub(super) struct Receiver {
    client: Client,
    watch: Watch,
    /// Each message once, whatever the number of filters that match.
    messages: Subscription,
    plan: Plan,
    printer: Printer,
    /// Whether the reader goes while there is nothing to print.
    departure: Departure,
    /// What is asked of the broker, and not answered.
    asked: JoinSet<Answer>,
    /// Subscriptions that there are.
    granted: usize,
    /// Messages that are still to be printed; no number prints for ever.
    left: Option<u64>,
    /// What is printed and will be acknowledged when it has left this process.
    unflushed: Vec<Message>,
    /// Retained messages that are being removed.
    removals: VecDeque<PublishHandle>,
    is_done: bool,
}

/// The broker's word on a filter.
enum Answer {
    Granted(String, Result<QoS, SubscribeError>),
    Ended,
}

impl Receiver {
    /// Starts to connect.
    pub(super) fn start(
        connection: Connection,
        plan: Plan,
        printer: Printer,
    ) -> Result<Self, Failure> {
        let (client, mut watch) = connection.start()?;
        watch.set_timeout(plan.timeout);
        // What waits in a session that is resumed comes at once.
        let messages = client.unclaimed(BUFFERING);
        Ok(Self {
            client,
            watch,
            messages,
            left: plan.messages_max,
            plan,
            printer,
            departure: Departure::watch(),
            asked: JoinSet::new(),
            granted: 0,
            unflushed: Vec::new(),
            removals: VecDeque::new(),
            is_done: false,
        })
    }

    /// Receives until there is enough, and leaves in good order.
    pub(super) async fn run(mut self) -> Result<(), Failure> {
        let result = match self.watch.connected().await {
            Ok(()) => {
                self.ask();
                self.receive().await
            }
            Err(failure) => Err(failure),
        };
        let shown = self.printer.finish().and(self.settle());
        // Before `messages` is dropped, which would acknowledge what nobody has seen.
        self.watch.close(&self.client).await;
        let dropped = self.messages.dropped();
        if dropped > 0 {
            self.watch
                .tell(&format!("{dropped} messages at QoS 0 came faster than they were printed"));
        }
        result.and(shown)
    }

    /// Asks for all subscriptions, and for the end of some.
    fn ask(&mut self) {
        let wishes = self.plan.wishes;
        for filter in self.plan.filters.clone() {
            let client = self.client.clone();
            self.asked.spawn(async move {
                let granted = client.subscribe_unclaimed(wishes.subscribe(&filter)).await;
                Answer::Granted(filter, granted)
            });
        }
        for filter in self.plan.unsubscribes.clone() {
            let client = self.client.clone();
            self.asked.spawn(async move {
                // It was checked, and a client that is closed has heard of the end.
                let _ = client.unsubscribe(&filter).await;
                Answer::Ended
            });
        }
    }

    async fn receive(&mut self) -> Result<(), Failure> {
        let mut ticks = interval_at(Instant::now() + TICK, TICK);
        let wants_ticks = self.printer.wants_ticks();
        // What waits in a session stays there, if only its subscriptions are to change.
        let takes = !self.plan.leaves_when_granted && !self.plan.filters.is_empty();
        loop {
            // As many as there are, without waiting for anything.
            while takes
                && !self.is_done
                && let Some(message) = self.messages.try_next()
            {
                self.on_message(message).await?;
            }
            self.settle()?;
            if self.is_done {
                return self.finish_removals().await;
            }
            tokio::select! {
                biased;
                happened = self.watch.next() => match happened {
                    Happened::Interrupted => return Ok(()),
                    Happened::TimedOut => return Err(watch::timed_out()),
                    Happened::Lost(failure) => return Err(failure),
                    Happened::SubscriptionLost => {
                        self.granted = self.granted.saturating_sub(1);
                        self.check_grants()?;
                    }
                },
                () = self.departure.wait(), if takes => self.is_done = true,
                _ = ticks.tick(), if wants_ticks => self.printer.tick()?,
                Some(answer) = self.asked.join_next() => {
                    if let Ok(answer) = answer {
                        self.on_answer(answer)?;
                    }
                }
                message = self.messages.next(), if takes => match message {
                    Some(message) => self.on_message(message).await?,
                    None => return Err(Failure::new("the client has ended")),
                },
            }
        }
    }

    fn on_answer(&mut self, answer: Answer) -> Result<(), Failure> {
        match answer {
            Answer::Granted(filter, Ok(qos)) => {
                self.granted += 1;
                self.watch.debug(|_| format!("subscribed to \"{filter}\" at {qos:?}"));
            }
            Answer::Granted(filter, Err(error)) => {
                let why = trouble::not_subscribed(&error);
                self.watch
                    .tell(&format!("the broker refuses the subscription to \"{filter}\": {why}"));
            }
            Answer::Ended => {}
        }
        self.check_grants()
    }

    /// Ends when nothing can come any more, or nothing more is wanted than the grants.
    fn check_grants(&mut self) -> Result<(), Failure> {
        if !self.asked.is_empty() {
            return Ok(());
        }
        if self.granted == 0 && !self.plan.filters.is_empty() {
            return Err(Failure::new("no subscription was granted"));
        }
        // Without filters it came to end subscriptions.
        self.is_done |= self.plan.leaves_when_granted || self.plan.filters.is_empty();
        Ok(())
    }

    async fn on_message(&mut self, message: Message) -> Result<(), Failure> {
        let candidate = Candidate {
            topic: message.topic(),
            retained: message.is_retained(),
            duplicate: message.is_duplicate(),
        };
        let (verdict, removes) = self.plan.selection.judge(candidate);
        if removes {
            self.remove_retained(message.topic()).await?;
        }
        match verdict {
            Verdict::End => {
                // It is not wanted, and was not seen.
                self.is_done = true;
                return Ok(());
            }
            Verdict::Print => {
                self.printer.print(&message)?;
                self.left = self.left.map(|left| left.saturating_sub(1));
            }
            Verdict::Skip => {}
        }
        if message.qos() > QoS::AtMostOnce {
            self.unflushed.push(message);
        }
        self.is_done |= self.left == Some(0) || self.printer.reader() == Reader::HasGone;
        if self.unflushed.len() >= UNFLUSHED_MAX {
            self.settle()?;
        }
        Ok(())
    }

    async fn remove_retained(&mut self, topic: &str) -> Result<(), Failure> {
        let empty = Publish::new(topic, "").retain();
        let handle = self.client.publish(&empty).await;
        let handle = handle.map_err(|it| Failure::new(trouble::not_published(&it)))?;
        self.removals.push_back(handle);
        if self.removals.len() >= REMOVALS_MAX {
            self.finish_removals().await?;
        }
        Ok(())
    }

    async fn finish_removals(&mut self) -> Result<(), Failure> {
        while let Some(oldest) = self.removals.front_mut() {
            let removed = Pin::new(oldest).await;
            self.removals.pop_front();
            removed.map_err(|it| Failure::new(trouble::not_published(&it)))?;
        }
        Ok(())
    }

    /// Lets go of what is printed, and only then acknowledges it. A reader that has gone has not read it.
    fn settle(&mut self) -> Result<(), Failure> {
        self.printer.flush()?;
        if self.printer.reader() == Reader::HasGone {
            self.is_done = true;
            return Ok(());
        }
        self.unflushed.drain(..).for_each(|it| it.acknowledge());
        Ok(())
    }
}

/// A message at QoS 1 or 2 is acknowledged when it is printed. Of those at QoS 0 as many wait as can come between two
/// turns of the one thread, which are far fewer: while it prints, nothing is read from the broker.
const BUFFERING: Buffering = Buffering {
    capacity: 4 * 1024 * 1024,
    overflow: Overflow::DropNewest,
    acknowledge: Acknowledge::Manually,
};

/// How often rates are printed.
const TICK: Duration = Duration::from_secs(1);

/// How many messages may be printed before they are acknowledged, if more are there.
const UNFLUSHED_MAX: usize = 256;

/// How many retained messages are removed at once.
const REMOVALS_MAX: usize = 1_000;
