//! The address that clients connect to: always the same, whatever becomes of the broker behind it.
//!
//! A thread with a runtime of its own, so that it works in any test.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use tokio::net::TcpListener;
use tokio::runtime;
use tokio::sync::watch;
use tokio::time::{Duration, sleep};

use crate::conditions::{Conditions, Way};
use crate::connection::{Shared, serve};

/// Leads connections to a broker until it is dropped.
pub(crate) struct Relay {
    pub(crate) address: SocketAddr,
    pub(crate) conditions: Shared,
    thread: Option<JoinHandle<()>>,
}

impl Relay {
    pub(crate) fn start() -> io::Result<Self> {
        let conditions = Arc::new(watch::Sender::new(Conditions::new()));
        let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
        let shared = Arc::clone(&conditions);
        let run = move || {
            runtime.block_on(async {
                let listener = TcpListener::from_std(listener);
                accept(listener.expect("the runtime takes a socket that does not block"), shared)
                    .await;
            });
        };
        let thread = thread::Builder::new().name("mqtt-testkit".to_owned()).spawn(run)?;
        Ok(Self { address, conditions, thread: Some(thread) })
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.conditions.send_modify(|it| it.is_over = true);
        if let Some(thread) = self.thread.take() {
            // A panic was printed where it happened.
            let _ = thread.join();
        }
    }
}

async fn accept(listener: TcpListener, shared: Shared) {
    let mut watched = shared.subscribe();
    loop {
        let light = watched.wait_for(|it| it.way != Way::Dark || it.is_over).await;
        if light.is_ok_and(|it| it.is_over) {
            return;
        }
        let client = tokio::select! {
            biased;
            _ = watched.wait_for(|it| it.way == Way::Dark || it.is_over) => continue,
            accepted = listener.accept() => match accepted {
                Ok((client, _)) => client,
                // It was gone again, or there are too many files: then the next one waits a moment.
                Err(_) => {
                    sleep(ACCEPT_AGAIN_AFTER).await;
                    continue;
                }
            },
        };
        let broker = {
            let conditions = shared.borrow();
            conditions.broker.filter(|_| conditions.way == Way::Open)
        };
        if let Some(broker) = broker {
            shared.send_modify(|it| it.connections += 1);
            let shared = Arc::clone(&shared);
            tokio::spawn(async move {
                serve(client, broker, Arc::clone(&shared)).await;
                shared.send_modify(|it| it.connections -= 1);
            });
        }
    }
}

/// How long to wait after a connection that could not be taken.
const ACCEPT_AGAIN_AFTER: Duration = Duration::from_millis(10);
