//! Asking a service over HTTP/1.1, for the control plane: whom to let in, which keys are good.
//!
//! An [`Endpoint`] is one URL. A question is one GET or POST, and its answer a status, a few headers and a body that is
//! within a limit; all of it together takes no longer than a timeout. Redirects are not followed: who moves a service
//! that decides on clients says so in the configuration. Nothing here blocks, but for the look-up of names, of which
//! an endpoint has one under way at most, on a thread of the runtime for such.
//!
//! How many questions are asked at once, and whether one is asked again, is for who asks.
//!
//! | module | what it does |
//! |---|---|
//! | `url` | where the service is, and whether that may be asked without TLS |
//! | `trust` | whom it has to be by its certificate, and who the broker is to it |
//! | `names` | the addresses of its name |
//! | `headers` | what goes with a question, out of a file |
//! | `connections` | connections to it, of which some are kept for the next question |
//! | `failure` | why there is no answer |

mod connections;
mod failure;
mod headers;
mod names;
#[cfg(test)]
mod tests;
mod trust;
mod url;

use std::fmt;
use std::time::Duration;

use http_body_util::{BodyExt, Full};
use hyper::body::{Body, Bytes, Incoming};
use hyper::header::{ACCEPT, CONTENT_TYPE, HOST, HeaderMap, HeaderName, HeaderValue, USER_AGENT};
use hyper::{Method, Request, Response, StatusCode};
use tokio::time::timeout;

use connections::{Connection, Connections};
pub(crate) use failure::Failure;
pub(crate) use headers::read_headers;
pub(crate) use trust::{Trust, TrustError, TrustFiles};
pub(crate) use url::{PlainHttp, Url};

/// A service at one URL, and how it is asked.
pub(crate) struct Endpoint {
    url: Url,
    /// What goes with each question.
    headers: HeaderMap,
    connections: Connections,
    bounds: Bounds,
}

/// What a question may take.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    /// From the question to the end of the answer.
    pub(crate) timeout: Duration,
    /// Of that, until there is a connection.
    pub(crate) connect_timeout: Duration,
    /// A longer body is no answer.
    pub(crate) body_bytes_max: usize,
    /// Connections that wait for another question.
    pub(crate) idle_connections_max: usize,
}

/// What a service has answered.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    /// Complete, and within the limit.
    pub(crate) body: Vec<u8>,
}

impl Endpoint {
    /// Makes an endpoint. Nothing is asked yet.
    ///
    /// `headers` go with each question. They may be secrets: nothing prints their values.
    pub(crate) fn new(
        url: Url,
        trust: Trust,
        headers: Vec<(HeaderName, HeaderValue)>,
        bounds: Bounds,
    ) -> Self {
        let mut own = HeaderMap::new();
        own.insert(HOST, url.host_header());
        own.insert(USER_AGENT, HeaderValue::from_static(USER_AGENT_VALUE));
        own.insert(ACCEPT, HeaderValue::from_static(JSON));
        for (name, mut value) in headers {
            value.set_sensitive(true);
            own.insert(name, value);
        }
        let connections = Connections::new(&url, trust, bounds);
        Self { url, headers: own, connections, bounds }
    }

    /// Asks with GET.
    ///
    /// # Errors
    ///
    /// There is no answer, or none within the bounds. An answer may well say that something went wrong.
    pub(crate) async fn get(&self) -> Result<Answer, Failure> {
        self.ask(Method::GET, Bytes::new()).await
    }

    /// Asks with POST and a body of JSON.
    ///
    /// # Errors
    ///
    /// As [`Endpoint::get`].
    pub(crate) async fn post(&self, json: impl Into<Bytes>) -> Result<Answer, Failure> {
        self.ask(Method::POST, json.into()).await
    }

    async fn ask(&self, method: Method, body: Bytes) -> Result<Answer, Failure> {
        let exchange = self.exchange(&method, &body);
        timeout(self.bounds.timeout, exchange).await.unwrap_or(Err(Failure::TimedOut))
    }

    /// Asks once; twice if the service has closed a connection just when it was to be used again.
    async fn exchange(&self, method: &Method, body: &Bytes) -> Result<Answer, Failure> {
        if let Some(mut connection) = self.connections.take_idle() {
            match connection.send(self.request(method, body)).await {
                Ok(response) => return self.receive(response, connection).await,
                // Neither GET nor what is posted here does harm if the service did get it.
                Err(Failure::CutOff) => {}
                Err(failure) => return Err(failure),
            }
        }
        let mut connection = self.connections.open().await?;
        let response = connection.send(self.request(method, body)).await?;
        self.receive(response, connection).await
    }

    fn request(&self, method: &Method, body: &Bytes) -> Request<Full<Bytes>> {
        let mut request = Request::new(Full::new(body.clone()));
        *request.method_mut() = method.clone();
        *request.uri_mut() = self.url.target();
        request.headers_mut().clone_from(&self.headers);
        if !body.is_empty() {
            request.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(JSON));
        }
        request
    }

    /// Reads an answer to its end. A connection whose answer is not read to its end closes.
    async fn receive(
        &self,
        response: Response<Incoming>,
        connection: Connection,
    ) -> Result<Answer, Failure> {
        let (head, mut incoming) = response.into_parts();
        let most = self.bounds.body_bytes_max;
        if incoming.size_hint().lower() > most as u64 {
            return Err(Failure::TooLarge { bytes_max: most });
        }
        let mut body = Vec::new();
        while let Some(frame) = incoming.frame().await {
            let frame = frame.map_err(|error| Failure::of_exchange(&error))?;
            let Ok(data) = frame.into_data() else { continue };
            if body.len() + data.len() > most {
                return Err(Failure::TooLarge { bytes_max: most });
            }
            body.extend_from_slice(&data);
        }
        self.connections.keep(connection);
        Ok(Answer { status: head.status, headers: head.headers, body })
    }
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // No headers: they may be secrets.
        f.debug_struct("Endpoint").field("url", &self.url).finish_non_exhaustive()
    }
}

const USER_AGENT_VALUE: &str = concat!("quelea/", env!("CARGO_PKG_VERSION"));

const JSON: &str = "application/json";
