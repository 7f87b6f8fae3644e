//! A link that breaks on demand: TCP connections to it lead to a broker, which may be another one later.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// Forwards connections until it is dropped.
pub struct Relay {
    pub address: SocketAddr,
    target: Arc<Mutex<Option<SocketAddr>>>,
    /// Counts the cuts: each ends the connections that there are.
    cuts: watch::Sender<u64>,
    accepting: JoinHandle<()>,
}

impl Relay {
    pub async fn to(target: Option<SocketAddr>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("port 0 is always free");
        let address = listener.local_addr().expect("it is bound");
        let target = Arc::new(Mutex::new(target));
        let cuts = watch::Sender::new(0);
        let accepting = tokio::spawn(accept(listener, Arc::clone(&target), cuts.clone()));
        Self { address, target, cuts, accepting }
    }

    pub fn url(&self) -> String {
        format!("mqtt://{}", self.address)
    }

    /// Breaks all connections. New ones are made.
    pub fn cut(&self) {
        self.cuts.send_modify(|count| *count += 1);
    }

    /// Breaks all connections, and leads new ones elsewhere, or nowhere.
    pub fn lead_to(&self, target: Option<SocketAddr>) {
        *self.target.lock().unwrap() = target;
        self.cut();
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.accepting.abort();
        self.cut();
    }
}

async fn accept(
    listener: TcpListener,
    target: Arc<Mutex<Option<SocketAddr>>>,
    cuts: watch::Sender<u64>,
) {
    while let Ok((client, _)) = listener.accept().await {
        let mut cut = cuts.subscribe();
        let target = *target.lock().unwrap();
        let Some(target) = target else {
            continue;
        };
        tokio::spawn(async move {
            tokio::select! {
                _ = cut.changed() => {}
                () = forward(client, target) => {}
            }
        });
    }
}

async fn forward(mut client: TcpStream, target: SocketAddr) {
    if let Ok(mut broker) = TcpStream::connect(target).await {
        // However it ends, it ends.
        let _ = copy_bidirectional(&mut client, &mut broker).await;
    }
}
