//! A service that is asked over HTTP about clients, as a source of identities.
//!
//! Nobody waits for it but the client: a question is a future on the control plane's runtime. So many are asked at once,
//! so many wait, and one more is refused. A service that fails again and again is left alone for a while, so that
//! clients are answered at once and it can come back. Whatever goes wrong, nobody is let in by it.
//!
//! | module | what it does |
//! |---|---|
//! | `breaker` | whether a service is asked, or left alone |
//! | `tally` | what is counted and logged |

mod breaker;
mod tally;

use std::fmt;
use std::hash::BuildHasher;
use std::path::Path;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use hyper::StatusCode;
use hyper::body::Bytes;
use quelea_auth::service::{Fault, question, read_answer};
use quelea_auth::{Credentials, Later, Source, Verdict, Watched};
use quelea_codec::ReasonCode;
use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};

use crate::chains::SourceError;
use crate::clock::Clock;
use crate::config::{Http, OnFailure};
use crate::http::{Bounds, Endpoint, Failure, Trust, TrustError, TrustFiles, Url, read_headers};
use breaker::{Breaker, Change};
use tally::{Pace, Tally, count};

/// A service, and all that is known of it.
struct Service {
    /// Replaced when a file that it was made of has changed.
    endpoint: Mutex<Arc<Endpoint>>,
    files: Vec<Watched>,
    inner: Arc<Inner>,
}

/// What questions under way need.
struct Inner {
    settings: Http,
    url: Url,
    breaker: Breaker,
    /// Those that are asked, and those that wait for it.
    places: Arc<Semaphore>,
    /// Those that are asked.
    slots: Semaphore,
    clock: Clock,
    tally: Tally,
    pace: Pace,
}

/// Why there is no verdict.
#[derive(Debug)]
enum Trouble {
    Fault(Fault),
    None(Failure),
    Status(StatusCode),
}

/// Returns the service of the configuration, if there is one. It is not asked anything yet: one that is down is no error.
///
/// # Errors
///
/// A file that is named is not what it should be.
pub(crate) fn source(settings: &Http) -> Result<Option<Arc<dyn Source>>, SourceError> {
    let wrong = |key, why: String| SourceError { key, why };
    let Some(url) = settings.read_url() else { return Ok(None) };
    let url = url.map_err(|why| wrong("authentication.http.url", why))?;
    let files = files(settings).map(Watched::new).collect();
    let endpoint = endpoint(&url, settings);
    let endpoint = endpoint.map_err(|error| wrong("authentication.http", error.to_string()))?;
    let at_once_max = settings.at_once_max.get();
    let inner = Inner {
        settings: settings.clone(),
        url,
        breaker: Breaker::new(
            settings.failures_max,
            Duration::from_millis(settings.pause_millis.into()),
        ),
        places: Arc::new(Semaphore::new(at_once_max + WAITING_MAX)),
        slots: Semaphore::new(at_once_max),
        clock: Clock::start(),
        tally: Tally::default(),
        pace: Pace::default(),
    };
    let endpoint = Mutex::new(Arc::new(endpoint));
    Ok(Some(Arc::new(Service { endpoint, files, inner: Arc::new(inner) })))
}

impl Source for Service {
    fn judge(&self, credentials: &Credentials) -> Verdict {
        let inner = Arc::clone(&self.inner);
        if inner.breaker.is_open(inner.clock.now()) {
            return inner.spare();
        }
        let Ok(place) = Arc::clone(&inner.places).try_acquire_owned() else {
            count(&inner.tally.busy);
            return Verdict::Refuse(ReasonCode::SERVER_BUSY);
        };
        let endpoint = Arc::clone(&self.endpoint.lock().unwrap_or_else(PoisonError::into_inner));
        let client = credentials.clone();
        Verdict::Later(Later::new(async move {
            let _place = place;
            inner.ask(&endpoint, &client).await
        }))
    }

    fn refresh(&self) {
        // All of them are looked at: `any` would stop at the first.
        let changed = self.files.iter().filter(|it| it.has_changed()).count();
        if changed == 0 {
            return;
        }
        let Inner { url, settings, .. } = &*self.inner;
        match endpoint(url, settings) {
            Ok(next) => {
                *self.endpoint.lock().unwrap_or_else(PoisonError::into_inner) = Arc::new(next);
                tracing::info!(%url, "read the files of authentication.http again");
            }
            Err(error) => {
                tracing::error!(%url, "authentication.http goes on with the files as they were: {error}");
            }
        }
    }

    fn numbers(&self) -> Vec<(&'static str, u64)> {
        let is_down = self.inner.breaker.is_open(self.inner.clock.now());
        let waiting = self.inner.waiting() as u64;
        let mut numbers = vec![("down", is_down.into()), ("waiting", waiting)];
        numbers.extend(self.inner.tally.numbers());
        numbers
    }
}

impl Inner {
    /// Asks about a client, when it is its turn.
    async fn ask(&self, endpoint: &Endpoint, client: &Credentials) -> Verdict {
        let Ok(_slot) = self.slots.acquire().await else { return self.spare() };
        let Some(attempt) = self.breaker.attempt(self.clock.now()) else { return self.spare() };
        let outcome = self.verdict(endpoint, client).await;
        let change = match &outcome {
            Err(trouble) if trouble.is_absence() => attempt.fail(self.clock.now()),
            Ok(_) | Err(_) => attempt.succeed(),
        };
        match outcome {
            Ok(verdict) => {
                count(self.counter_of(&verdict));
                self.log_change(change);
                verdict
            }
            Err(trouble) => {
                count(&self.tally.failed);
                self.log(&trouble);
                self.log_change(change);
                self.verdict_without_answer()
            }
        }
    }

    /// Asks until there is an answer, it is no use, or time is up.
    async fn verdict(&self, endpoint: &Endpoint, client: &Credentials) -> Result<Verdict, Trouble> {
        // Not made before it is asked: what a stranger says may be six times as long in JSON.
        let question = question(client).into();
        let time = Duration::from_millis(self.settings.timeout_millis.into());
        let answer = timeout(time, self.answer(endpoint, question));
        let body = answer.await.unwrap_or(Err(Trouble::None(Failure::TimedOut)))?;
        read_answer(&body, client).map_err(Trouble::Fault)
    }

    async fn answer(&self, endpoint: &Endpoint, question: Bytes) -> Result<Vec<u8>, Trouble> {
        let mut tries = 0;
        loop {
            let trouble = match endpoint.post(question.clone()).await {
                Ok(answer) if answer.status == StatusCode::OK => return Ok(answer.body),
                Ok(answer) => Trouble::Status(answer.status),
                Err(failure) => Trouble::None(failure),
            };
            if tries == self.settings.retries_max || !trouble.may_pass() {
                return Err(trouble);
            }
            sleep(pause_before(tries)).await;
            tries += 1;
            count(&self.tally.retries);
        }
    }

    /// Does not ask a service that is down.
    fn spare(&self) -> Verdict {
        count(&self.tally.spared);
        self.verdict_without_answer()
    }

    fn verdict_without_answer(&self) -> Verdict {
        match self.settings.on_failure {
            OnFailure::Next => Verdict::Unable,
            OnFailure::Refuse => Verdict::Refuse(ReasonCode::SERVER_UNAVAILABLE),
        }
    }

    fn counter_of(&self, verdict: &Verdict) -> &AtomicU64 {
        match verdict {
            Verdict::Accept(_) => &self.tally.allowed,
            Verdict::Refuse(_) => &self.tally.denied,
            Verdict::Next | Verdict::Unable | Verdict::Later(_) => &self.tally.passed,
        }
    }

    /// Clients that wait for an answer, or for their turn.
    fn waiting(&self) -> usize {
        self.settings.at_once_max.get() + WAITING_MAX - self.places.available_permits()
    }

    fn log(&self, trouble: &Trouble) {
        if let Some(others) = self.pace.next(self.clock.now()) {
            let advice = trouble.advice();
            tracing::warn!(
                url = %self.url,
                others,
                "a client could not be judged by the service of authentication.http: {trouble}; {advice}"
            );
        }
    }

    fn log_change(&self, change: Option<Change>) {
        match change {
            Some(Change::Opened) => self.log_opening(),
            Some(Change::Closed) => tracing::info!(url = %self.url, "the service answers again"),
            None => {}
        }
    }

    fn log_opening(&self) {
        let (failures, millis) = (self.settings.failures_max, self.settings.pause_millis);
        let clients = match self.settings.on_failure {
            OnFailure::Next => "are left to the next of the chain",
            OnFailure::Refuse => "are refused",
        };
        tracing::error!(
            url = %self.url,
            "the service of authentication.http has failed {failures} times in a row and is left alone for {millis} ms at a \
             time: clients {clients} until it answers"
        );
    }
}

impl Trouble {
    /// Returns whether the same question may find an answer in a moment.
    fn may_pass(&self) -> bool {
        match self {
            Self::None(failure) => failure.may_pass(),
            Self::Fault(_) | Self::Status(_) => self.is_absence(),
        }
    }

    /// Returns whether the service is not there, or has too much to do. One that answers, however wrongly, is there: it
    /// must not be in the hands of a client, by what makes the service stumble, that nobody else is asked about. A client
    /// that makes it fall silent keeps the others waiting in any case, for as long as it may be waited for.
    fn is_absence(&self) -> bool {
        match self {
            Self::None(Failure::NotHttp | Failure::TooLarge { .. }) | Self::Fault(_) => false,
            Self::None(_) => true,
            Self::Status(status) => matches!(status.as_u16(), 502..=504),
        }
    }

    /// Returns what to do about it.
    fn advice(&self) -> &'static str {
        match self {
            Self::Fault(_) => "docs/authentication.md says what it may answer",
            Self::None(Failure::Tls(_)) => {
                "look at its certificate, and at authentication.http.ca_file"
            }
            Self::None(Failure::TooLarge { .. }) => {
                "it must say less, or authentication.http.answer_bytes_max be more"
            }
            Self::None(_) => "look whether it runs, and at authentication.http.url",
            Self::Status(StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) => {
                "look at authentication.http.headers_file; a client that may not come in is answered with 200 and \
                 \"deny\""
            }
            Self::Status(status) if status.is_redirection() || status.is_client_error() => {
                "look at authentication.http.url"
            }
            Self::Status(_) => "look at what it logs",
        }
    }
}

fn endpoint(url: &Url, settings: &Http) -> Result<Endpoint, TrustError> {
    let identity = settings.certificate_file.as_deref().zip(settings.key_file.as_deref());
    let files = TrustFiles { authorities: settings.ca_file.as_deref(), identity };
    let trust = Trust::load(url, files)?;
    let headers = settings.headers_file.as_deref().map(read_headers).transpose()?;
    let bounds = Bounds {
        timeout: Duration::from_millis(settings.timeout_millis.into()),
        connect_timeout: Duration::from_millis(settings.connect_timeout_millis.into()),
        body_bytes_max: settings.answer_bytes_max as usize,
        idle_connections_max: settings.at_once_max.get(),
    };
    Ok(Endpoint::new(url.clone(), trust, headers.unwrap_or_default(), bounds))
}

fn files(settings: &Http) -> impl Iterator<Item = &Path> {
    let Http { ca_file, certificate_file, key_file, headers_file, .. } = settings;
    [ca_file, certificate_file, key_file, headers_file].into_iter().filter_map(|it| it.as_deref())
}

/// Returns how long to wait before another try: of those who have failed together, some come sooner.
#[expect(clippy::disallowed_types, reason = "that no two brokers come together needs chance")]
fn pause_before(tries: u32) -> Duration {
    let most = FIRST_PAUSE_MILLIS << tries.min(10);
    let drawn = std::hash::RandomState::new().hash_one(tries);
    Duration::from_millis(most / 2 + drawn % (most / 2))
}

/// Clients that wait until they are asked about. One more is refused with 0x89, Server busy.
const WAITING_MAX: usize = 1_024;

/// The longest pause before the second try.
const FIRST_PAUSE_MILLIS: u64 = 100;

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fault(fault) => write!(f, "its answer makes no sense: {fault}"),
            Self::None(failure) => write!(f, "no answer: {failure}"),
            Self::Status(status) => write!(f, "it answers with the status {}", status.as_u16()),
        }
    }
}
