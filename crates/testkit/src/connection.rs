//! One connection to the broker, as the conditions are.

use std::io;
use std::net::SocketAddr;
use std::ops::ControlFlow;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep_until};

use crate::acknowledgements::Sieve;
use crate::conditions::{Conditions, Way};

/// What connections know of the conditions, and tell them.
pub(crate) type Shared = std::sync::Arc<watch::Sender<Conditions>>;

/// Bytes that are under way, and when they are to arrive.
type Parcel = (Instant, Vec<u8>);

/// Leads `client` to the broker at `address` until one of the two ends it, or the conditions do.
pub(crate) async fn serve(mut client: TcpStream, address: SocketAddr, shared: Shared) {
    let mut watched = shared.subscribe();
    let (cuts, buried) = (watched.borrow().cuts, watched.borrow().buried);
    let Ok(mut broker) = TcpStream::connect(address).await else {
        return;
    };
    // Without it what is small waits for what is behind it. If that cannot be had it is only slower.
    let _ = (client.set_nodelay(true), broker.set_nodelay(true));
    {
        let (from_client, to_client) = client.split();
        let (from_broker, to_broker) = broker.split();
        tokio::select! {
            biased;
            _ = watched.wait_for(|it| it.cuts != cuts) => {}
            () = pass(from_client, to_broker, &shared, None) => {}
            () = pass(from_broker, to_client, &shared, Some(Sieve::default())) => {}
        }
    }
    drop(client);
    if shared.borrow().broker != Some(address) {
        // A broker that crashes does not see its clients go.
        let _ = watched.wait_for(|it| it.buried != buried).await;
    }
}

/// Passes bytes on in one direction, until one side has had enough.
async fn pass(
    from: ReadHalf<'_>,
    to: WriteHalf<'_>,
    shared: &watch::Sender<Conditions>,
    sieve: Option<Sieve>,
) {
    let (parcels, due) = mpsc::channel(PARCELS_MAX);
    // However the two end, the connection has ended.
    let _ = tokio::join!(take(from, parcels, shared, sieve), deliver(to, due, shared));
}

async fn take(
    mut from: ReadHalf<'_>,
    parcels: mpsc::Sender<Parcel>,
    shared: &watch::Sender<Conditions>,
    mut sieve: Option<Sieve>,
) -> io::Result<()> {
    let mut watched = shared.subscribe();
    let mut buffer = vec![0; PARCEL_BYTES_MAX];
    loop {
        until_light(&mut watched).await;
        let count = tokio::select! {
            biased;
            // It is looked at again.
            _ = watched.wait_for(|it| it.way == Way::Dark) => continue,
            count = from.read(&mut buffer) => count?,
        };
        let due = Instant::now() + shared.borrow().delay;
        let mut parcel = Vec::with_capacity(count);
        let goes_on = match &mut sieve {
            Some(sieve) => sieve.sift(&buffer[..count], &mut parcel, || {
                let mut verdict = None;
                shared.send_modify(|it| verdict = Some(it.judge_acknowledgement()));
                verdict.expect("it was just judged")
            }),
            None => {
                parcel.extend_from_slice(&buffer[..count]);
                ControlFlow::Continue(())
            }
        };
        // The receiver is gone when it cannot write any more.
        let sent = parcels.send((due, parcel)).await;
        if count == 0 || goes_on.is_break() || sent.is_err() {
            return Ok(());
        }
    }
}

async fn deliver(
    mut to: WriteHalf<'_>,
    mut parcels: mpsc::Receiver<Parcel>,
    shared: &watch::Sender<Conditions>,
) -> io::Result<()> {
    let mut watched = shared.subscribe();
    while let Some((due, parcel)) = parcels.recv().await {
        sleep_until(due).await;
        until_light(&mut watched).await;
        to.write_all(&parcel).await?;
    }
    Ok(())
}

/// Waits while nothing passes.
async fn until_light(watched: &mut watch::Receiver<Conditions>) {
    // Whoever would say so is there as long as the connection.
    let _ = watched.wait_for(|it| it.way != Way::Dark).await;
}

/// How much is read at once.
const PARCEL_BYTES_MAX: usize = 16 * 1024;

/// How many parcels are under way in one direction: 1 MiB. More wait with who sent them, as with any long way.
const PARCELS_MAX: usize = 64;
