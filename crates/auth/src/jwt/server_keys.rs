//! Keys that a server publishes (JWKS, RFC 7517), and that are fetched again and again.
//!
//! Who fetches them, and how, is for whoever uses this: it asks [`ServerKeys::begin`] whether it is time, and says
//! with [`ServerKeys::finish`] what came of it. Nobody who judges a token waits for that for long.

use std::fmt;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::schedule::Schedule;
use super::{Keyring, Keys, Missing};

/// The keys of a server.
pub struct ServerKeys {
    /// What they are called in logs.
    name: Box<str>,
    state: Mutex<State>,
    /// A fetch has ended.
    news: Condvar,
    wake: Box<dyn Fn() + Send + Sync>,
}

struct State {
    schedule: Schedule,
    keys: Option<Arc<Keys>>,
    /// How many fetches have ended.
    ended_count: u64,
}

/// What a server has answered.
#[derive(Debug)]
pub struct Fetched<'a> {
    /// A set of keys, if it is what it should be.
    pub body: &'a [u8],
    /// How long it says that they are fresh.
    pub fresh: Option<Duration>,
}

impl ServerKeys {
    /// Begins without keys: to fetch them is due. `name` is what they are called in logs, and `keep` how long they stay
    /// good when they cannot be fetched again. `wake` is called when it may be time to fetch them sooner than at the
    /// next look.
    pub fn new(name: &str, keep: Duration, wake: Box<dyn Fn() + Send + Sync>) -> Self {
        let schedule = Schedule::new(keep, Instant::now());
        let state = State { schedule, keys: None, ended_count: 0 };
        Self { name: name.into(), state: Mutex::new(state), news: Condvar::new(), wake }
    }

    /// Begins a fetch if it is time. Whoever gets true calls [`ServerKeys::finish`]; until then it is not time.
    pub fn begin(&self) -> bool {
        self.state().schedule.begin(Instant::now())
    }

    /// Ends a fetch: with what the server has answered, or with why there is no answer. One that is no set of keys
    /// changes nothing.
    pub fn finish(&self, outcome: Result<Fetched<'_>, &dyn fmt::Display>) {
        let server = &*self.name;
        let fetched = outcome.map_err(ToString::to_string).and_then(|it| {
            let keys = Keys::of_server(it.body)
                .map_err(|why| format!("its answer is no set of keys: {why}"))?;
            Ok((keys, it.fresh))
        });
        let mut state = self.state();
        match fetched {
            Ok((keys, fresh)) => {
                state.schedule.succeed(fresh, Instant::now());
                // Those who hold the same keys have no newer ones to look at.
                if state.keys.as_deref() != Some(&keys) {
                    tracing::info!(server, keys = keys.count(), "fetched the keys of tokens");
                    state.keys = Some(Arc::new(keys));
                }
            }
            Err(why) => {
                let delay = state.schedule.fail(Instant::now());
                let what = match state.good_keys() {
                    Some(_) => "those before stay in use",
                    None => "clients with tokens are told that the server is unavailable (0x88)",
                };
                tracing::warn!(
                    server,
                    "the keys of tokens cannot be fetched, and {what}: {why}; trying again in {} s",
                    delay.as_secs()
                );
            }
        }
        state.ended_count += 1;
        self.news.notify_all();
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for a fetch to end, if that may tell more.
    fn after_news(&self) -> MutexGuard<'_, State> {
        let mut state = self.state();
        if !state.schedule.hurry(Instant::now()) {
            return state;
        }
        (self.wake)();
        let ended_count = state.ended_count;
        let is_waiting = |it: &mut State| it.ended_count == ended_count;
        state = self
            .news
            .wait_timeout_while(state, WAIT_MAX, is_waiting)
            .unwrap_or_else(PoisonError::into_inner)
            .0;
        state
    }
}

impl Keyring for ServerKeys {
    fn keys(&self) -> Option<Arc<Keys>> {
        let known = self.state().good_keys();
        known.or_else(|| self.after_news().good_keys())
    }

    fn newer_than(&self, keys: &Arc<Keys>) -> Result<Arc<Keys>, Missing> {
        let is_newer = |it: &Arc<Keys>| !Arc::ptr_eq(it, keys);
        if let Some(known) = self.state().good_keys().filter(is_newer) {
            return Ok(known);
        }
        let ended_before = self.state().ended_count;
        let state = self.after_news();
        let is_told = state.ended_count != ended_before && !state.schedule.is_failing();
        let missing = match is_told || !state.schedule.is_unsure() {
            true => Missing::Unknown,
            false => Missing::Unavailable,
        };
        state.good_keys().filter(is_newer).ok_or(missing)
    }
}

impl State {
    fn good_keys(&self) -> Option<Arc<Keys>> {
        self.keys.clone().filter(|_| self.schedule.is_good(Instant::now()))
    }
}

impl fmt::Debug for ServerKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerKeys").field("name", &self.name).finish_non_exhaustive()
    }
}

/// The longest that a judgement waits for a server.
const WAIT_MAX: Duration = Duration::from_secs(2);

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    #[test]
    fn who_comes_before_the_keys_waits_for_them() {
        let ring = Arc::new(ring(|| {}));
        assert!(ring.begin());
        let waiting = {
            let ring = Arc::clone(&ring);
            thread::spawn(move || ring.keys())
        };
        ring.finish(Ok(answer(A)));
        assert!(waiting.join().unwrap().is_some());
    }

    #[test]
    fn a_missing_key_is_fetched_while_its_token_waits() {
        let (sender, wakes) = std::sync::mpsc::channel();
        let ring = Arc::new(ring(move || sender.send(()).unwrap()));
        assert!(ring.begin());
        ring.finish(Ok(answer(A)));
        let old = ring.keys().unwrap();
        let waiting = {
            let (ring, old) = (Arc::clone(&ring), Arc::clone(&old));
            thread::spawn(move || ring.newer_than(&old))
        };
        wakes.recv().unwrap();
        assert!(ring.begin());
        ring.finish(Ok(answer(B)));
        let new = waiting.join().unwrap().unwrap();
        assert_ne!(new, old);
        // Who still has the old ones has not to wait.
        assert_eq!(ring.newer_than(&old), Ok(new));
        assert!(wakes.try_recv().is_err());
    }

    /// What a server says that lies, or is broken, changes nothing, and nobody waits for one that has failed.
    #[test]
    fn a_server_that_fails_leaves_the_keys() {
        let ring = ring(|| {});
        assert!(ring.begin());
        ring.finish(Err(&"no answer"));
        assert_eq!(ring.keys(), None);
        ring.state().schedule = Schedule::new(Duration::from_secs(60), Instant::now());
        assert!(ring.begin());
        ring.finish(Ok(answer(A)));
        let keys = ring.keys().unwrap();
        for lie in ["", "<html>", "{}", r#"{"keys":[]}"#, r#"{"keys":[{"kty":"RSA"}]}"#] {
            ring.state().schedule = Schedule::new(Duration::from_secs(60), Instant::now());
            assert!(ring.begin());
            ring.finish(Ok(answer(lie)));
            assert_eq!(ring.newer_than(&keys), Err(Missing::Unavailable));
            // It is as if they had come before.
            ring.state().schedule.succeed(None, Instant::now());
            assert_eq!(ring.keys(), Some(Arc::clone(&keys)), "{lie}");
        }
    }

    fn ring(wake: impl Fn() + Send + Sync + 'static) -> ServerKeys {
        ServerKeys::new("test", Duration::from_secs(60), Box::new(wake))
    }

    fn answer(body: &str) -> Fetched<'_> {
        Fetched { body: body.as_bytes(), fresh: None }
    }

    /// The key of RFC 8037, and another.
    const A: &str = r#"{"keys":[{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}"#;
    const B: &str = r#"{"keys":[{"kty":"OKP","kid":"b","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}"#;
}
