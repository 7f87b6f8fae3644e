//! Keys that a server publishes (JWKS, RFC 7517), and that are fetched again and again.
//!
//! Who fetches them, and how, is for whoever uses this: it asks [`ServerKeys::begin`] whether it is time, and says
//! with [`ServerKeys::finish`] what came of it.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::news::{News, WaitingRoom};
use super::schedule::Schedule;
use super::{Keyring, Keys};

/// The keys of a server.
pub struct ServerKeys {
    /// What they are called in logs.
    name: Box<str>,
    state: Mutex<State>,
    /// For those who wait for a fetch to end.
    waiting: WaitingRoom,
    wake: Box<dyn Fn() + Send + Sync>,
}

struct State {
    schedule: Schedule,
    keys: Option<Arc<Keys>>,
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
        let state = Mutex::new(State { schedule, keys: None });
        Self { name: name.into(), state, waiting: WaitingRoom::default(), wake }
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
        drop(state);
        self.waiting.announce();
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Keyring for ServerKeys {
    fn keys(&self) -> Option<Arc<Keys>> {
        self.state().good_keys()
    }

    fn is_sure(&self) -> bool {
        !self.state().schedule.is_failing()
    }

    fn news(&self) -> Option<News> {
        let mut state = self.state();
        if !state.schedule.hurry(Instant::now()) {
            return None;
        }
        // While the state is held, no fetch ends unnoticed.
        let news = self.waiting.enter();
        drop(state);
        (self.wake)();
        news
    }
}

/// Who still waits has nothing to wait for.
impl Drop for ServerKeys {
    fn drop(&mut self) {
        self.waiting.announce();
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_comes_before_the_keys_waits_for_them() {
        let ring = ring(|| {});
        assert!(ring.begin() && ring.keys().is_none());
        let news = ring.news().unwrap();
        ring.finish(Ok(answer(A)));
        assert!(news.wait(Duration::ZERO) && ring.keys().is_some());
    }

    #[test]
    fn a_missing_key_is_fetched_while_its_token_waits() {
        let (sender, wakes) = std::sync::mpsc::channel();
        let ring = ring(move || sender.send(()).unwrap());
        assert!(ring.begin());
        ring.finish(Ok(answer(A)));
        let old = ring.keys().unwrap();
        let news = ring.news().unwrap();
        wakes.try_recv().unwrap();
        assert!(ring.begin());
        ring.finish(Ok(answer(B)));
        assert!(news.wait(Duration::ZERO));
        assert_ne!(ring.keys().unwrap(), old);
        // There are two more, and then nobody waits for nothing.
        for _ in 0..2 {
            assert!(ring.news().is_some() && ring.begin());
            ring.finish(Ok(answer(B)));
        }
        assert!(ring.news().is_none() && ring.is_sure());
    }

    #[test]
    fn nobody_waits_for_keys_that_are_gone() {
        let ring = ring(|| {});
        let news = ring.news().unwrap();
        drop(ring);
        assert!(news.wait(Duration::ZERO));
    }

    /// What a server says that lies, or is broken, changes nothing, and nobody waits for one that has failed.
    #[test]
    fn a_server_that_fails_leaves_the_keys() {
        let ring = ring(|| {});
        assert!(ring.begin());
        ring.finish(Err(&"no answer"));
        assert!(ring.keys().is_none() && ring.news().is_none() && !ring.is_sure());
        ring.state().schedule = Schedule::new(Duration::from_secs(60), Instant::now());
        assert!(ring.begin());
        ring.finish(Ok(answer(A)));
        let keys = ring.keys().unwrap();
        for lie in ["", "<html>", "{}", r#"{"keys":[]}"#, r#"{"keys":[{"kty":"RSA"}]}"#] {
            ring.state().schedule = Schedule::new(Duration::from_secs(60), Instant::now());
            assert!(ring.begin());
            ring.finish(Ok(answer(lie)));
            assert!(!ring.is_sure());
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
