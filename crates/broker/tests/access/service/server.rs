//! A service of this process that is asked over HTTP, and behaves as a test likes.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use rustls::{ServerConfig, ServerConnection, StreamOwned};
use serde_json::Value;
use socket2::{Domain, Socket, Type};

/// What a service does with a question.
#[derive(Clone, Debug)]
pub(super) enum Reply {
    /// Answers with a status and a body.
    Answer(u16, String),
    /// Writes these bytes and closes.
    Bytes(Vec<u8>),
}

/// A service. Its threads end with the test's process.
pub(super) struct Server {
    pub(super) address: SocketAddr,
    state: Arc<State>,
    /// Bound, and not listening yet.
    asleep: Option<Socket>,
}

struct State {
    answer: Box<dyn Fn(&Value) -> Reply + Send + Sync>,
    /// Heads and bodies of all questions.
    questions: Mutex<Vec<(String, Value)>>,
    at_once: AtomicUsize,
    most_at_once: AtomicUsize,
    tls: Option<Arc<ServerConfig>>,
}

impl Server {
    /// Starts one that gives each question its answer.
    pub(super) fn start(answer: impl Fn(&Value) -> Reply + Send + Sync + 'static) -> Self {
        let mut server = Self::asleep(answer, None);
        server.wake();
        server
    }

    pub(super) fn with_tls(
        answer: impl Fn(&Value) -> Reply + Send + Sync + 'static,
        tls: Arc<ServerConfig>,
    ) -> Self {
        let mut server = Self::asleep(answer, Some(tls));
        server.wake();
        server
    }

    /// Makes one that has an address, at which connections are refused.
    pub(super) fn asleep(
        answer: impl Fn(&Value) -> Reply + Send + Sync + 'static,
        tls: Option<Arc<ServerConfig>>,
    ) -> Self {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        socket.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
        let address = socket.local_addr().unwrap().as_socket().unwrap();
        let state = Arc::new(State {
            answer: Box::new(answer),
            questions: Mutex::default(),
            at_once: AtomicUsize::new(0),
            most_at_once: AtomicUsize::new(0),
            tls,
        });
        Self { address, state, asleep: Some(socket) }
    }

    /// Begins to listen.
    pub(super) fn wake(&mut self) {
        let socket = self.asleep.take().unwrap();
        socket.listen(1_024).unwrap();
        let (listener, state) = (TcpListener::from(socket), Arc::clone(&self.state));
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let (stream, state) = (stream.unwrap(), Arc::clone(&state));
                std::thread::spawn(move || match &state.tls {
                    Some(tls) => {
                        let tls = ServerConnection::new(Arc::clone(tls)).unwrap();
                        state.serve(StreamOwned::new(tls, stream));
                    }
                    None => state.serve(stream),
                });
            }
        });
    }

    pub(super) fn questions(&self) -> Vec<(String, Value)> {
        self.state.questions.lock().unwrap().clone()
    }

    /// Returns how many questions were under way at once at most.
    pub(super) fn most_at_once(&self) -> usize {
        self.state.most_at_once.load(Ordering::SeqCst)
    }
}

impl State {
    fn serve(&self, stream: impl Read + Write) {
        let mut stream = BufReader::new(stream);
        while let Some((head, question)) = read(&mut stream) {
            let at_once = self.at_once.fetch_add(1, Ordering::SeqCst) + 1;
            self.most_at_once.fetch_max(at_once, Ordering::SeqCst);
            self.questions.lock().unwrap().push((head, question.clone()));
            let reply = (self.answer)(&question);
            self.at_once.fetch_sub(1, Ordering::SeqCst);
            let is_done = match reply {
                Reply::Answer(status, body) => {
                    let length = body.len();
                    let head = format!("HTTP/1.1 {status} X\r\nContent-Length: {length}\r\n\r\n");
                    stream.get_mut().write_all((head + &body).as_bytes()).is_err()
                }
                Reply::Bytes(bytes) => {
                    let _ = stream.get_mut().write_all(&bytes);
                    true
                }
            };
            if is_done {
                return;
            }
        }
    }
}

/// Reads a question; nothing at the end of the connection.
fn read(stream: &mut impl BufRead) -> Option<(String, Value)> {
    let mut head = String::new();
    let mut length = 0;
    while !head.ends_with("\r\n\r\n") {
        let start = head.len();
        if stream.read_line(&mut head).ok()? == 0 {
            return None;
        }
        if let Some(value) = head[start..].strip_prefix("content-length: ") {
            length = value.trim().parse().unwrap();
        }
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body).ok()?;
    Some((head, serde_json::from_slice(&body).unwrap()))
}
