//! What a listener speaks TLS with, renewed when its files change.
//!
//! Files that are not right, or not written to their end, change nothing: what was read before stays in use, and what
//! is wrong is logged once. Connections keep what they began with.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rustls::ServerConfig;

use super::material::{Material, MaterialError};
use crate::config::Tls;

/// The files of a listener, and what they made when they were last right.
pub(in crate::net) struct Credentials {
    settings: Tls,
    protocol: &'static [u8],
    /// Taken for an instant by each handshake.
    current: Mutex<Arc<ServerConfig>>,
    files: Mutex<Files>,
    refused: AtomicU64,
}

/// What is known of the files.
#[derive(Debug)]
struct Files {
    /// As they were when they were last read, right or not.
    read: Vec<Stamp>,
    /// As they were when they were last looked at.
    seen: Vec<Stamp>,
    expiries: Vec<(PathBuf, Duration)>,
}

/// How a file is told from what it was: its number, and when it was last changed in any way. Nothing when it is not
/// there.
type Stamp = Option<(u64, i64, i64)>;

/// When files that have changed are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Read {
    /// Once they have stayed as they are from one look to the next: whoever changes certificate and key need not
    /// do it at once.
    WhenSettled,
    /// In any case.
    Now,
}

impl Credentials {
    pub(in crate::net) fn load(
        settings: &Tls,
        protocol: &'static [u8],
        now: Duration,
    ) -> Result<Self, MaterialError> {
        // Before they are read: what changes meanwhile is then read once more.
        let stamps = stamps(settings);
        let material = Material::load(settings, protocol)?;
        material.warn_of_expiries(now);
        let files = Files { read: stamps.clone(), seen: stamps, expiries: material.expiries };
        Ok(Self {
            settings: settings.clone(),
            protocol,
            current: Mutex::new(material.config),
            files: Mutex::new(files),
            refused: AtomicU64::new(0),
        })
    }

    /// Returns what a new connection speaks TLS with.
    pub(in crate::net) fn current(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.current.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Looks at the files, and reads them if they have changed. Blocks: not for a shard.
    pub(in crate::net) fn look(&self, now: Duration, read: Read) {
        let mut files = self.files.lock().unwrap_or_else(PoisonError::into_inner);
        let stamps = stamps(&self.settings);
        let is_settled = stamps == files.seen;
        files.seen.clone_from(&stamps);
        let is_due = match read {
            Read::WhenSettled => stamps != files.read && is_settled,
            Read::Now => true,
        };
        if !is_due {
            return;
        }
        files.read = stamps;
        match Material::load(&self.settings, self.protocol) {
            Ok(material) => {
                files.expiries = material.expiries;
                *self.current.lock().unwrap_or_else(PoisonError::into_inner) = material.config;
                for file in &self.settings.certificates {
                    tracing::info!(file = %file.display(), "the certificate was read again");
                }
                super::material::warn_of_expiries(&files.expiries, now);
            }
            Err(error) => {
                self.refused.fetch_add(1, Ordering::Relaxed);
                tracing::error!(%error, "the files of TLS are not right: those before stay in use");
            }
        }
    }

    /// Logs which certificates expire soon.
    pub(in crate::net) fn warn_of_expiries(&self, now: Duration) {
        let files = self.files.lock().unwrap_or_else(PoisonError::into_inner);
        super::material::warn_of_expiries(&files.expiries, now);
    }

    /// Returns when the first of the certificates in use expires, since 1970.
    pub(in crate::net) fn expires_at(&self) -> Option<Duration> {
        let files = self.files.lock().unwrap_or_else(PoisonError::into_inner);
        files.expiries.iter().map(|(_, at)| *at).min()
    }

    /// Returns how often files were refused.
    pub(in crate::net) fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }
}

fn stamps(settings: &Tls) -> Vec<Stamp> {
    let stamp = |file: &Path| {
        let metadata = fs::metadata(file).ok()?;
        Some((metadata.ino(), metadata.ctime(), metadata.ctime_nsec()))
    };
    settings.files().map(stamp).collect()
}
