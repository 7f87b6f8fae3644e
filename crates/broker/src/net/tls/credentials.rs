//! What a listener speaks TLS with, renewed when its files change.
//!
//! Files that are not right, or not written to their end, change nothing: what was read before stays in use, and what
//! is wrong is logged once. Connections keep what they began with. Files that could not be read at all, such as when
//! the broker is out of descriptors, are tried again at each look.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rustls::ServerConfig;

use super::material::{Expiring, Expiry, Material, MaterialError, warn_of_expiries};
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
    /// As they were when they were last read to their end, right or not.
    read: Vec<Stamp>,
    /// As they were when they were last looked at.
    seen: Vec<Stamp>,
    expiries: Vec<Expiry>,
    /// What was last logged to be wrong, while it is.
    wrong: Option<MaterialError>,
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
        warn_of_expiries(&material.expiries, now);
        let files =
            Files { read: stamps.clone(), seen: stamps, expiries: material.expiries, wrong: None };
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
        if read == Read::Now {
            // Whoever asks is told again.
            files.wrong = None;
        }
        let material = Material::load(&self.settings, self.protocol);
        self.take(&mut files, stamps, material, now);
    }

    /// Puts what was read in force if it is right. The files were as `stamps` says before that.
    fn take(
        &self,
        files: &mut Files,
        stamps: Vec<Stamp>,
        material: Result<Material, MaterialError>,
        now: Duration,
    ) {
        match material {
            Ok(material) => {
                files.read = stamps;
                files.wrong = None;
                files.expiries = material.expiries;
                *self.current.lock().unwrap_or_else(PoisonError::into_inner) = material.config;
                for file in &self.settings.certificates {
                    tracing::info!(file = %file.display(), "the certificate was read again");
                }
                warn_of_expiries(&files.expiries, now);
            }
            Err(error) => {
                // What is unread may be right as it is: nothing but another try can tell.
                if !error.is_unread {
                    files.read = stamps;
                } else if files.wrong.as_ref() == Some(&error) {
                    return;
                }
                self.refused.fetch_add(1, Ordering::Relaxed);
                tracing::error!(%error, "the files of TLS are not right: those before stay in use");
                files.wrong = Some(error);
            }
        }
    }

    /// Logs which certificates expire soon.
    pub(in crate::net) fn warn_of_expiries(&self, now: Duration) {
        let files = self.files.lock().unwrap_or_else(PoisonError::into_inner);
        warn_of_expiries(&files.expiries, now);
    }

    /// Returns when the first of the certificates in use expires, since 1970.
    pub(in crate::net) fn expires_at(&self) -> Option<Duration> {
        let files = self.files.lock().unwrap_or_else(PoisonError::into_inner);
        let certificates = files.expiries.iter().filter(|it| it.of == Expiring::Certificate);
        certificates.map(|it| it.at).min()
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

#[cfg(test)]
mod tests {
    use super::*;

    /// As when the broker was out of descriptors for a moment.
    #[test]
    fn files_that_could_not_be_read_are_tried_again() {
        let directory = std::env::temp_dir().join(format!("quelea-unread-{}", std::process::id()));
        fs::create_dir_all(&directory).unwrap();
        let settings = Tls {
            certificates: vec![directory.join("server.pem")],
            keys: vec![directory.join("server.key")],
            ..Tls::default()
        };
        write_identity(&settings);
        let credentials = Credentials::load(&settings, b"mqtt", Duration::ZERO).unwrap();
        let first = credentials.current();

        write_identity(&settings);
        for attempt in [1, 2, 3] {
            let stamps = stamps(&settings);
            let mut files = credentials.files.lock().unwrap();
            files.seen.clone_from(&stamps);
            credentials.take(&mut files, stamps, Err(unread()), Duration::ZERO);
            assert_eq!(credentials.refused(), 1, "it is said once, not {attempt} times");
        }
        assert!(Arc::ptr_eq(&credentials.current(), &first));
        credentials.look(Duration::ZERO, Read::WhenSettled);
        assert!(!Arc::ptr_eq(&credentials.current(), &first), "nobody touched the files since");

        // What was read and is wrong is not read again until it changes.
        fs::write(&settings.certificates[0], "nonsense").unwrap();
        for _ in 0..4 {
            credentials.look(Duration::ZERO, Read::WhenSettled);
        }
        assert_eq!(credentials.refused(), 2);
        fs::remove_dir_all(&directory).unwrap();
    }

    fn unread() -> MaterialError {
        let why = "Too many open files".to_owned();
        MaterialError { file: "server.pem".into(), why, is_unread: true }
    }

    fn write_identity(settings: &Tls) {
        let key = rcgen::KeyPair::generate().unwrap();
        let params = rcgen::CertificateParams::new(["localhost".to_owned()]).unwrap();
        fs::write(&settings.certificates[0], params.self_signed(&key).unwrap().pem()).unwrap();
        fs::write(&settings.keys[0], key.serialize_pem()).unwrap();
    }
}
