//! Waking a poll at a time finer than its timeout's milliseconds.

use std::io;
use std::time::Duration;

use mio::{Poll, Token};

/// A timer among the poll's sources. Its event carries no data: the caller looks at the clock.
#[derive(Debug)]
pub(crate) struct Alarm {
    #[cfg(target_os = "linux")]
    timer: nix::sys::timerfd::TimerFd,
}

#[cfg(target_os = "linux")]
impl Alarm {
    /// Registers an alarm that is not set.
    ///
    /// # Errors
    ///
    /// Those of the system's timer and of the registration.
    pub(crate) fn new(poll: &Poll, token: Token) -> io::Result<Self> {
        use nix::sys::timerfd::{ClockId, TimerFd, TimerFlags};
        use std::os::fd::{AsFd, AsRawFd};

        let timer = TimerFd::new(ClockId::CLOCK_MONOTONIC, TimerFlags::TFD_NONBLOCK)?;
        let descriptor = timer.as_fd().as_raw_fd();
        let mut source = mio::unix::SourceFd(&descriptor);
        let registry = poll.registry();
        registry.register(&mut source, token, mio::Interest::READABLE)?;
        Ok(Self { timer })
    }

    /// Makes the poll return after `delay`, once, and returns the timeout to poll with.
    ///
    /// # Errors
    ///
    /// Those of the system's timer.
    pub(crate) fn set(&self, delay: Duration) -> io::Result<Duration> {
        use nix::sys::time::TimeSpec;
        use nix::sys::timerfd::{Expiration, TimerSetTimeFlags};

        // Zero would switch the timer off.
        let delay = delay.max(Duration::from_nanos(1));
        let once = Expiration::OneShot(TimeSpec::from_duration(delay));
        // Setting it also forgets an expiration that was not read: each one is a new edge for the poll.
        self.timer.set(once, TimerSetTimeFlags::empty())?;
        Ok(delay + Duration::from_millis(10))
    }
}

#[cfg(not(target_os = "linux"))]
impl Alarm {
    /// Does nothing: the poll's own timeout serves.
    ///
    /// # Errors
    ///
    /// None.
    pub(crate) fn new(_poll: &Poll, _token: Token) -> io::Result<Self> {
        Ok(Self {})
    }

    /// Returns the timeout to poll with.
    ///
    /// # Errors
    ///
    /// None.
    pub(crate) fn set(&self, delay: Duration) -> io::Result<Duration> {
        Ok(delay)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_wakes_the_poll_each_time_it_is_set() {
        let mut poll = Poll::new().unwrap();
        let alarm = Alarm::new(&poll, Token(7)).unwrap();
        let mut events = mio::Events::with_capacity(4);
        for _ in 0..3 {
            alarm.set(Duration::from_micros(50)).unwrap();
            poll.poll(&mut events, Some(Duration::from_secs(5))).unwrap();
            #[cfg(target_os = "linux")]
            assert_eq!(events.iter().next().unwrap().token(), Token(7));
        }
    }
}
