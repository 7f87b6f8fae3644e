//! Waiting for keys that are being fetched, in a task or in a thread.

use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

/// Where those wait who have come before the news.
#[derive(Clone, Default)]
pub(super) struct WaitingRoom(Arc<Mutex<Waiting>>);

#[derive(Default)]
struct Waiting {
    /// How often there were news.
    count: u64,
    wakers: Vec<Waker>,
}

/// Comes with the next news.
pub struct News {
    room: WaitingRoom,
    count_before: u64,
}

impl WaitingRoom {
    /// Lets someone wait; nothing when too many do already.
    pub(super) fn enter(&self) -> Option<News> {
        let waiting = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let has_room = waiting.wakers.len() < WAITING_MAX;
        has_room.then(|| News { room: self.clone(), count_before: waiting.count })
    }

    /// There are news: nobody waits any longer.
    pub(super) fn announce(&self) {
        let mut waiting = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.count += 1;
        let wakers = std::mem::take(&mut waiting.wakers);
        drop(waiting);
        wakers.into_iter().for_each(Waker::wake);
    }
}

impl Future for News {
    type Output = ();

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let mut waiting = self.room.0.lock().unwrap_or_else(PoisonError::into_inner);
        if waiting.count != self.count_before {
            return Poll::Ready(());
        }
        if !waiting.wakers.iter().any(|it| it.will_wake(context.waker())) {
            waiting.wakers.push(context.waker().clone());
        }
        Poll::Pending
    }
}

impl News {
    /// Waits in this thread. Returns whether they have come in that time.
    pub(super) fn wait(self, time: Duration) -> bool {
        let waker = Waker::from(Arc::new(Parked(thread::current())));
        let end = Instant::now() + time;
        let mut news = pin!(self);
        loop {
            if news.as_mut().poll(&mut Context::from_waker(&waker)).is_ready() {
                return true;
            }
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            thread::park_timeout(left);
        }
    }
}

/// A thread that waits.
struct Parked(Thread);

impl Wake for Parked {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// How many wait at once, clients that came while keys are fetched. One more is told to come back.
const WAITING_MAX: usize = 1_024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_waits_is_told() {
        let room = WaitingRoom::default();
        let early = room.enter().unwrap();
        let waiting: Vec<_> = (0..4).map(|_| room.enter().unwrap()).collect();
        let waiting: Vec<_> =
            waiting.into_iter().map(|it| thread::spawn(move || it.wait(LONG))).collect();
        room.announce();
        assert!(waiting.into_iter().all(|it| it.join().unwrap()));
        // Also who begins to wait after they have come.
        assert!(early.wait(LONG));
        assert!(!room.enter().unwrap().wait(Duration::ZERO));
    }

    #[test]
    fn so_many_wait_and_no_more() {
        let room = WaitingRoom::default();
        let mut context = Context::from_waker(Waker::noop());
        let mut waiting = Vec::new();
        // Each with a waker of its own, as tasks have.
        while let Some(news) = room.enter() {
            let mut news = Box::pin(news);
            let waker = Waker::from(Arc::new(Parked(thread::current())));
            assert!(news.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
            waiting.push((news, waker));
            assert!(waiting.len() <= WAITING_MAX);
        }
        assert_eq!(waiting.len(), WAITING_MAX);
        room.announce();
        assert!(waiting.iter_mut().all(|it| it.0.as_mut().poll(&mut context).is_ready()));
        assert!(room.enter().is_some());
    }

    const LONG: Duration = Duration::from_secs(60);
}
