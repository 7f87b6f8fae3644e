//! Starting and stopping a broker.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use mio::{Poll, Waker};
use quelea_auth::Source;
use quelea_store::{OpenError, Recovered, RecoveredRetained, SessionNumber, ShardIndex};

use crate::access::{AccessError, read_rules};
use crate::auth::{Authority, EnhancedAuthenticator};
use crate::backend::Backend;
use crate::chains::{Chains, SourceError};
use crate::clock::Clock;
use crate::config::{Address, Change, Config, Listener, Mistakes};
use crate::control::{Control, Signal};
use crate::counters::Totals;
use crate::mail::{Letter, Mailbox, Reloaded};
use crate::net::{Acceptor, Entrance, Home, MaterialError, Read, Sockets, WAKE, bind, spawn};
use crate::os::{self, InheritedSockets};
use crate::post::Post;
use crate::shard::{Shard, Shared};

/// A running broker. Dropping it leaves it running until the process ends; [`Broker::stop`] ends it.
pub struct Broker {
    shared: Arc<Shared>,
    homes: Arc<[Arc<Home>]>,
    shards: Vec<JoinHandle<()>>,
    acceptors: Vec<Acceptor>,
    addresses: Vec<SocketAddr>,
    control: Control,
    signals: Receiver<Signal>,
    backend: Backend,
}

/// What a broker can be given beside its configuration.
#[derive(Clone, Default)]
pub struct Extensions {
    /// Serves MQTT 5.0 enhanced authentication. Without it every method is refused with 0x8C.
    pub authenticator: Option<Arc<dyn EnhancedAuthenticator>>,
    /// Who is asked about clients that connect, in this order, after those of the configuration.
    pub sources: Vec<Arc<dyn Source>>,
}

/// Why a broker did not start.
#[derive(Debug)]
#[non_exhaustive]
pub enum StartError {
    /// The rules about who may do what are not what they should be.
    Access(AccessError),
    /// Somebody who is to be asked who clients are cannot be.
    Authentication(SourceError),
    /// A listener's address cannot be listened on.
    Listen {
        /// The address.
        address: Address,
        /// What the system said.
        source: io::Error,
    },
    /// Others than this machine could connect, and it was not said that anyone may.
    Open {
        /// The listener's address.
        address: Address,
    },
    /// The data directory cannot be used.
    Store(OpenError),
    /// The system has no more threads, files or memory.
    System(io::Error),
    /// A file that TLS needs is not what it should be.
    Tls {
        /// The file.
        file: PathBuf,
        /// What is wrong with it.
        why: String,
    },
}

impl StartError {
    fn tls(error: MaterialError) -> Self {
        Self::Tls { file: error.file, why: error.why }
    }
}

impl Broker {
    /// Starts a broker. It serves clients when this returns.
    ///
    /// # Errors
    ///
    /// [`StartError`] says what is in the way. The caller should end the process then: threads may
    /// have been started before the system refused another.
    pub fn start(config: Config) -> Result<Self, StartError> {
        Self::start_with(config, Extensions::default())
    }

    /// Starts a broker with extensions.
    ///
    /// # Errors
    ///
    /// As [`Broker::start`].
    pub fn start_with(config: Config, extensions: Extensions) -> Result<Self, StartError> {
        check_exposure(&config, &extensions)?;
        let access = read_rules(&config).map_err(StartError::Access)?;
        os::raise_file_limit();
        os::keep_large_blocks_apart();
        let clock = Clock::start();
        let is_inherited = |it: &Listener| matches!(it.address, Address::Inherited(_));
        let mut inherited = match config.listeners.iter().any(is_inherited) {
            true => InheritedSockets::of_process(),
            false => InheritedSockets::default(),
        };
        let mut listeners = Vec::new();
        for (index, listener) in config.listeners.iter().enumerate() {
            // There are no more than fit in: `Config::check`. Who comes in by another is treated as by none.
            let index = u16::try_from(index).unwrap_or(u16::MAX);
            let entrance =
                Entrance::open(listener, index, clock.wall()).map_err(StartError::tls)?;
            let entrance = Arc::new(entrance);
            match bind(listener, &mut inherited) {
                Ok(socket) => listeners.push((socket, entrance)),
                Err(error) if listener.may_be_absent && !is_taken(&error) => {
                    tracing::warn!(address = %listener.address, %error, "not listening");
                }
                Err(source) => {
                    let address = listener.address.clone();
                    return Err(StartError::Listen { address, source });
                }
            }
        }
        let addresses = listeners.iter().map(|(it, _)| it.local_addr());
        let addresses: Vec<_> = addresses.flat_map(Result::transpose).collect::<io::Result<_>>()?;
        let shard_count = config.shards.map_or_else(default_shards, usize::from).min(SHARDS_MAX);
        let mut polls = Vec::new();
        let mut mailboxes = Vec::new();
        for _ in 0..shard_count {
            let poll = Poll::new()?;
            mailboxes.push(Mailbox::new(Some(Waker::new(poll.registry(), WAKE)?)));
            polls.push(poll);
        }
        let mailboxes: Arc<[Mailbox]> = mailboxes.into();
        let (sender, signals) = channel();
        let completions = Arc::new(Post::new(Arc::clone(&mailboxes), sender.clone()));
        let wall_at_zero = clock.wall_at_zero();
        let others: Vec<String> = config
            .listeners
            .iter()
            .filter(|it| !matches!(it.address, Address::Tcp(_)))
            .map(|it| it.address.to_string())
            .collect();
        let entrances = listeners.iter().map(|(_, entrance)| Arc::clone(entrance)).collect();
        let (backend, recovered) = Backend::open(&config, completions, wall_at_zero)?;
        let chains = Chains::new(&config, extensions.sources)?;
        let authenticators_max = config.authentication.at_once_max;
        let authenticators_max = authenticators_max.map_or_else(default_shards, usize::from);
        let (authority, authenticators) = Authority::new(extensions.authenticator);
        let seed = random_seed();
        let store = backend.store();
        let shared =
            Shared::new(config, entrances, mailboxes, store, authority, seed, wall_at_zero);
        shared.apply(shared.config.clone(), access, Arc::new(chains));
        let shared = Arc::new(shared);
        let new_shard = |index| Shard::new(ShardIndex(index), Arc::clone(&shared), clock.now());
        let mut shards: Vec<Shard> = (0..polls.len() as u16).map(new_shard).collect();
        let places = restore(&shared, &mut shards, recovered);
        let mut homes = Vec::new();
        for (index, (shard, poll)) in shards.into_iter().zip(&polls).enumerate() {
            let registry = poll.registry().try_clone()?;
            let sockets = Sockets::new(registry, Arc::clone(&shared), index);
            homes.push(Arc::new(Home::new(shard, sockets, clock)));
        }
        let homes: Arc<[Arc<Home>]> = homes.into();
        backend.start(&places)?;
        let control = Control::start(Arc::clone(&shared), sender, clock)?;
        let runtime = control.runtime();
        authenticators.start(authenticators_max, clock, &shared.mailboxes, runtime)?;
        let mut shards = Vec::new();
        for (index, poll) in polls.into_iter().enumerate() {
            shards.push(spawn(index, poll, Arc::clone(&shared), Arc::clone(&homes))?);
        }
        let mut acceptors = Vec::new();
        for (listener, entrance) in listeners {
            acceptors.push(Acceptor::start(listener, entrance, Arc::clone(&shared), clock)?);
        }
        for address in &addresses {
            tracing::info!("listening on {address}");
        }
        for address in others {
            tracing::info!("listening on {address}");
        }
        Ok(Self { shared, homes, shards, acceptors, addresses, control, signals, backend })
    }

    /// Returns the addresses of TCP that clients can connect to, in the order of the configuration.
    pub fn local_addrs(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// Returns what was counted since the start.
    pub fn totals(&self) -> Totals {
        self.shared.totals()
    }

    /// Reads the files of TLS again: certificates, keys, authorities and lists of revocations. This happens by itself
    /// soon after they change; here it has happened on return. Files that are not right are logged, and change nothing.
    pub fn reload_files(&self) {
        let now = Clock::start().wall();
        // What a source begins is for the control plane, on whatever runtime the caller is.
        let runtime = self.control.runtime();
        let guard = runtime.enter();
        self.shared.live.rules().chains.refresh();
        drop(guard);
        for entrance in &self.shared.entrances {
            entrance.look_at_files(now, Read::Now);
        }
    }

    /// Puts what a running broker can take up of `next` in force. Returns all that `next` changes, with when each
    /// change takes effect. A configuration that is no good changes nothing. On return every shard goes by it: what is
    /// published from then on is judged by the new rules, and no subscription is left that they deny, but of who is away
    /// since a restart: those are judged when their client is back.
    ///
    /// # Errors
    ///
    /// What is wrong with it, also together with what only a restart would change.
    pub fn reload(&self, next: &Config) -> Result<Vec<Change>, Mistakes> {
        next.check()?;
        let rules = self.shared.live.rules();
        let running = &rules.config;
        let changes = running.changes(next);
        let config = running.reloaded(next)?;
        let access = read_rules(&config).map_err(|error| Mistakes::one(error.to_string()))?;
        let chains = rules.chains.renewed(Some(running), &config);
        let chains = chains.map_err(|error| Mistakes::one(error.to_string()))?;
        self.shared.apply(config, access, Arc::new(chains));
        self.wait_for_shards();
        Ok(changes)
    }

    /// Waits until every shard goes by the configuration in force.
    fn wait_for_shards(&self) {
        let (pledge, pledges) = channel();
        let generation = self.shared.live.rules().generation;
        for mailbox in self.shared.mailboxes.iter() {
            let _pledge = pledge.clone();
            mailbox.send(Letter::Reloaded(Reloaded { generation, _pledge }));
        }
        drop(pledge);
        if pledges.recv_timeout(RELOAD_PATIENCE) == Err(RecvTimeoutError::Timeout) {
            tracing::warn!("a shard is too busy to take up the configuration yet");
        }
    }

    /// Waits for SIGTERM, SIGINT or SIGHUP, or for the disk to fail: the process must end then, with
    /// [`Broker::stop`] or without.
    pub fn wait_for_signal(&self) -> Signal {
        self.signals.recv().unwrap_or(Signal::Stop)
    }

    /// Stops in good order: nobody new is let in, 5.0 clients are told (0x8B), and what is on its
    /// way to clients is given `stop.flush_timeout_secs` to leave. A stop signal cuts that short.
    pub fn stop(self) {
        self.shared.is_stopping.store(true, Ordering::SeqCst);
        for acceptor in self.acceptors {
            acceptor.stop();
        }
        for mailbox in self.shared.mailboxes.iter() {
            mailbox.send(Letter::Stop);
        }
        let flush_timeout_secs = self.shared.live.rules().config.stop.flush_timeout_secs;
        let timeout = Duration::from_secs(flush_timeout_secs.into());
        let clock = Clock::start();
        while self.shared.connection_count.load(Ordering::Relaxed) > 0 && clock.elapsed() < timeout
        {
            if let Ok(Signal::Stop | Signal::Failed(_)) = self.signals.recv_timeout(STOP_CHECK) {
                tracing::warn!("told to stop a second time: leaving at once");
                break;
            }
        }
        for (home, mailbox) in self.homes.iter().zip(self.shared.mailboxes.iter()) {
            home.finish();
            mailbox.wake();
        }
        for shard in self.shards {
            if shard.join().is_err() {
                tracing::error!("a shard had panicked");
            }
        }
        self.backend.close();
        self.control.stop();
        tracing::info!("stopped");
    }
}

/// Puts what was there before a restart in its place. Returns which session lives on which shard.
pub(crate) fn restore(
    shared: &Shared,
    shards: &mut [Shard],
    recovered: Recovered,
) -> Vec<(SessionNumber, ShardIndex)> {
    shared.continue_orders(recovered.next_order);
    let mut left_out = 0;
    for RecoveredRetained { message, qos, order } in recovered.retained {
        // Beyond a limit that was lowered it is gone from memory, and stays on the disk until it is replaced.
        left_out += u64::from(!shared.retained.set(message, qos, order));
    }
    if left_out > 0 {
        tracing::warn!(
            messages = left_out,
            "retained messages left out: limits.retained_* forbid so many"
        );
        shared.counters[0].dropped_retained_limit.add(left_out);
    }
    let mut places = Vec::with_capacity(recovered.sessions.len());
    for session in recovered.sessions {
        let home = shared.home_of(&session.identity.client_id);
        places.push((session.session, home));
        shards[usize::from(home.0)].restore(session);
    }
    for (session, sent_before) in recovered.ghosts {
        shards[0].restore_ghost(session, sent_before);
    }
    places
}

/// Refuses to serve strangers unless that is what was asked for.
fn check_exposure(config: &Config, extensions: &Extensions) -> Result<(), StartError> {
    let is_decided = |it: &Listener| {
        let is_asked = match &it.authentication.chain {
            Some(own) => !own.is_empty(),
            None => {
                !config.authentication.default_chain().is_empty() || !extensions.sources.is_empty()
            }
        };
        is_asked || it.authentication.allow_anonymous.or(config.allow_anonymous).is_some()
    };
    match config.listeners.iter().find(|it| it.is_open() && !is_decided(it)) {
        Some(listener) => Err(StartError::Open { address: listener.address.clone() }),
        None => Ok(()),
    }
}

fn is_taken(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::AddrInUse
}

/// Returns a number that nobody outside can guess.
#[expect(clippy::disallowed_types, reason = "this is where the broker's seed comes from")]
fn random_seed() -> u64 {
    use std::hash::{BuildHasher, RandomState};
    RandomState::new().hash_one(std::process::id())
}

fn default_shards() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Access(error) => error.fmt(f),
            Self::Listen { address, source } => write!(f, "cannot listen on {address}: {source}"),
            Self::Open { address } => write!(
                f,
                "{address} can be reached from other machines, and nobody is asked who they are: \
                 name an authentication.password_file, set allow_anonymous = true if that is meant, or listen on a \
                 loopback address"
            ),
            Self::Authentication(error) => error.fmt(f),
            Self::Store(error) => write!(f, "{error}"),
            Self::Tls { file, why } => write!(f, "TLS cannot use {}: {why}", file.display()),
            Self::System(error) => write!(f, "the system refuses what the broker needs: {error}"),
        }
    }
}

impl std::error::Error for StartError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Access(error) => Some(error),
            Self::Listen { source, .. } | Self::System(source) => Some(source),
            Self::Store(error) => Some(error),
            Self::Authentication(error) => Some(error),
            Self::Open { .. } | Self::Tls { .. } => None,
        }
    }
}

impl From<SourceError> for StartError {
    fn from(error: SourceError) -> Self {
        Self::Authentication(error)
    }
}

impl From<OpenError> for StartError {
    fn from(error: OpenError) -> Self {
        Self::Store(error)
    }
}

impl From<io::Error> for StartError {
    fn from(error: io::Error) -> Self {
        Self::System(error)
    }
}

/// The shared table has a bit for each shard.
const SHARDS_MAX: usize = 64;

/// How long a reload waits for the shards. They take it up in any case.
const RELOAD_PATIENCE: Duration = Duration::from_secs(10);

/// How often a stopping broker looks whether everyone has gone.
const STOP_CHECK: Duration = Duration::from_millis(5);
