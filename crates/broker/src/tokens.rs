//! Signed tokens as a source of identities, made of the configuration, and the keys that a server publishes for them.
//!
//! Those are fetched by a task of the control plane, one fetch at a time, whatever clients do. When it is time, and what
//! becomes of an answer, is for [`ServerKeys`]. The task ends when a reload drops the source.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use hyper::header::{CACHE_CONTROL, HeaderMap};
use quelea_auth::Source;
use quelea_auth::jwt::{
    Checks, Expiry, Fetched, KeyFile, KeyFormat, Keyring, Keys, Mapping, News, ServerKeys,
    Template, TokenRules, Tokens, UserName,
};
use tokio::runtime::Handle;
use tokio::sync::Notify;
use tokio::time::timeout;

use crate::chains::SourceError;
use crate::config::Jwt;
use crate::http::{Answer, Bounds, Endpoint, Failure, Trust, TrustFiles, Url};

/// Returns the source that judges tokens, if it is configured.
///
/// # Errors
///
/// A file that it names is not what it should be. A server that does not answer is no error: it may later.
pub(crate) fn source(settings: &Jwt) -> Result<Option<Arc<dyn Source>>, SourceError> {
    let Some(keyring) = keyring(settings)? else { return Ok(None) };
    Ok(Some(Arc::new(Tokens::new(rules(settings)?, keyring))))
}

fn keyring(settings: &Jwt) -> Result<Option<Arc<dyn Keyring>>, SourceError> {
    let file = |path, format, key| {
        let file = KeyFile::open(path, format).map_err(|error| error_of(key, error.to_string()))?;
        Ok(Some(Arc::new(file) as Arc<dyn Keyring>))
    };
    if let Some(url) = settings.jwks_url() {
        let url = url.map_err(|why| error_of(JWKS, why))?;
        return Ok(Some(Arc::new(Published::new(url, settings)?)));
    }
    match (&settings.key_file, &settings.secret_file) {
        (Some(path), _) => file(path, KeyFormat::Public, "authentication.jwt.key_file"),
        (None, Some(path)) => {
            file(path, settings.secret_format(), "authentication.jwt.secret_file")
        }
        (None, None) => Ok(None),
    }
}

fn rules(settings: &Jwt) -> Result<TokenRules, SourceError> {
    let template =
        |key, text: &str| Template::parse(text).map_err(|error| error_of(key, error.to_string()));
    let maybe =
        |key, text: &Option<String>| text.as_deref().map(|it| template(key, it)).transpose();
    Ok(TokenRules {
        checks: Checks {
            issuer: settings.issuer.as_deref().map(Into::into),
            audience: settings.audience.as_deref().map(Into::into),
            leeway: Duration::from_secs(settings.leeway_secs.into()),
            expiry: if settings.require_expiry { Expiry::Required } else { Expiry::Optional },
        },
        mapping: Mapping {
            user: template("authentication.jwt.user", &settings.user)?,
            client_id: maybe("authentication.jwt.client_id", &settings.client_id)?,
            groups: maybe("authentication.jwt.groups", &settings.groups)?,
            acl: maybe("authentication.jwt.acl", &settings.acl)?,
        },
        user_name: if settings.match_user_name { UserName::Matches } else { UserName::Ignored },
    })
}

fn error_of(key: &'static str, why: String) -> SourceError {
    SourceError { key, why }
}

/// Keys that a server publishes.
struct Published {
    keys: Arc<ServerKeys>,
    endpoint: Arc<Endpoint>,
    /// It may be time to fetch them sooner than at the next look.
    wake: Arc<Notify>,
    /// There is a task that fetches them.
    has_begun: AtomicBool,
}

impl Published {
    fn new(url: Url, settings: &Jwt) -> Result<Self, SourceError> {
        let files = TrustFiles { authorities: settings.ca_file.as_deref(), identity: None };
        let trust = Trust::load(&url, files);
        let trust =
            trust.map_err(|error| error_of("authentication.jwt.ca_file", error.to_string()))?;
        let wake = Arc::new(Notify::new());
        let notify = Arc::clone(&wake);
        let keep = Duration::from_secs(settings.keep_keys_secs.into());
        let keys = ServerKeys::new(&url.to_string(), keep, Box::new(move || notify.notify_one()));
        let endpoint = Arc::new(Endpoint::new(url, trust, Vec::new(), BOUNDS));
        Ok(Self { keys: Arc::new(keys), endpoint, wake, has_begun: AtomicBool::new(false) })
    }
}

impl Keyring for Published {
    fn keys(&self) -> Option<Arc<Keys>> {
        self.keys.keys()
    }

    fn is_sure(&self) -> bool {
        self.keys.is_sure()
    }

    fn news(&self) -> Option<News> {
        self.keys.news()
    }

    /// Begins to fetch them. The control plane looks at its sources as soon as it runs, and every second.
    fn refresh(&self) {
        let Ok(runtime) = Handle::try_current() else { return };
        if !self.has_begun.swap(true, Ordering::Relaxed) {
            let (endpoint, wake) = (Arc::clone(&self.endpoint), Arc::clone(&self.wake));
            runtime.spawn(fetch_when_due(Arc::downgrade(&self.keys), endpoint, wake));
        }
    }
}

/// Fetches keys, each time that they are due, for as long as anyone has them.
async fn fetch_when_due(keys: Weak<ServerKeys>, endpoint: Arc<Endpoint>, wake: Arc<Notify>) {
    while let Some(keys) = keys.upgrade() {
        if keys.begin() {
            match content_of(endpoint.get().await) {
                Ok(answer) => {
                    let fresh = freshness(&answer.headers);
                    keys.finish(Ok(Fetched { body: &answer.body, fresh }));
                }
                Err(why) => keys.finish(Err(&why)),
            }
        }
        drop(keys);
        // It makes no difference which of them it was.
        let _ = timeout(LOOK_EVERY, wake.notified()).await;
    }
}

fn content_of(answer: Result<Answer, Failure>) -> Result<Answer, String> {
    let answer = answer.map_err(|failure| failure.to_string())?;
    let status = answer.status;
    match status.as_u16() {
        200 => Ok(answer),
        300..=399 => Err(format!(
            "it answers {status}, and redirects are not followed: set jwks to where they lead"
        )),
        _ => Err(format!("it answers {status}")),
    }
}

/// Returns how long an answer is fresh, if it says so (RFC 9111).
fn freshness(headers: &HeaderMap) -> Option<Duration> {
    let directives = || {
        let values = headers.get_all(CACHE_CONTROL).iter().filter_map(|it| it.to_str().ok());
        values.flat_map(|it| it.split(',')).map(str::trim)
    };
    let is_stale = |it: &str| ["no-cache", "no-store"].iter().any(|no| it.eq_ignore_ascii_case(no));
    if directives().any(is_stale) {
        return Some(Duration::ZERO);
    }
    directives().find_map(|it| {
        let (name, value) = it.split_once('=')?;
        let secs = value.trim_matches('"').parse().ok()?;
        name.eq_ignore_ascii_case("max-age").then(|| Duration::from_secs(secs))
    })
}

const JWKS: &str = "authentication.jwt.jwks";

const BOUNDS: Bounds = Bounds {
    timeout: Duration::from_secs(5),
    connect_timeout: Duration::from_secs(3),
    body_bytes_max: 256 * 1024,
    // The next question is minutes away.
    idle_connections_max: 0,
};

/// How often it is looked whether keys are due; they are so to the second.
const LOOK_EVERY: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use hyper::header::HeaderValue;

    use super::*;

    #[test]
    fn a_server_says_how_long_its_keys_are_fresh() {
        check(&[], None);
        check(&["max-age=600"], Some(600));
        check(&["public, Max-Age=\"600\", must-revalidate"], Some(600));
        check(&["public", "s-maxage=7, max-age=600"], Some(600));
        check(&["max-age=600, no-cache"], Some(0));
        check(&["no-store"], Some(0));
        check(&["max-age=x"], None);
        check(&["max-age=-1, max-age=99999999999999999999"], None);
    }

    #[track_caller]
    fn check(values: &[&'static str], secs: Option<u64>) {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(CACHE_CONTROL, HeaderValue::from_static(value));
        }
        assert_eq!(freshness(&headers), secs.map(Duration::from_secs), "{values:?}");
    }
}
