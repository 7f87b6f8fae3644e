//! What only the operating system can do.

use std::env;
use std::io;
use std::os::fd::{FromRawFd as _, OwnedFd, RawFd};

use nix::unistd::{Group, User};
use rustix::process::{Resource, getrlimit, setrlimit};

/// Raises the soft limit of open files to the hard one, as far as it goes.
pub(crate) fn raise_file_limit() {
    let mut limit = getrlimit(Resource::Nofile);
    if limit.current != limit.maximum {
        limit.current = limit.maximum;
        if let Err(error) = setrlimit(Resource::Nofile, limit) {
            tracing::warn!(%error, "the limit of open files cannot be raised");
        }
    }
    match limit.current {
        Some(files) => tracing::info!("up to {files} open files, so somewhat fewer connections"),
        None => tracing::debug!("no limit of open files"),
    }
}

/// Makes the thread that calls it wait for those that serve clients.
pub(crate) fn yield_to_others() {
    // On Linux a niceness is a thread's own; elsewhere it would be the whole broker's.
    #[cfg(target_os = "linux")]
    if let Err(error) = rustix::process::setpriority_process(None, NICENESS) {
        tracing::debug!(%error, "a thread cannot be made to yield");
    }
}

/// How much a thread yields: it gets about a tenth of what another one gets.
#[cfg(target_os = "linux")]
const NICENESS: i32 = 10;

/// Returns the memory that this process has in use (its resident set); 0 where that is not told.
pub(crate) fn resident_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let kib = status.lines().find_map(|line| line.strip_prefix("VmRSS:")?.strip_suffix("kB"));
    kib.and_then(|kib| kib.trim().parse::<u64>().ok()).unwrap_or(0).saturating_mul(1_024)
}

/// Returns the number of a user, who is given by name or by number.
pub(crate) fn user_id(name: &str) -> io::Result<u32> {
    if let Ok(number) = name.parse() {
        return Ok(number);
    }
    let user = User::from_name(name)?;
    user.map(|user| user.uid.as_raw())
        .ok_or_else(|| io::Error::other(format!("there is no user {name}")))
}

/// Returns the number of a group, which is given by name or by number.
pub(crate) fn group_id(name: &str) -> io::Result<u32> {
    if let Ok(number) = name.parse() {
        return Ok(number);
    }
    let group = Group::from_name(name)?;
    group
        .map(|group| group.gid.as_raw())
        .ok_or_else(|| io::Error::other(format!("there is no group {name}")))
}

/// Listening sockets that systemd, or who does the same, has opened for this process.
#[derive(Debug, Default)]
pub(crate) struct InheritedSockets(Vec<(String, Option<socket2::Socket>)>);

impl InheritedSockets {
    /// Takes over the sockets that the environment tells of. To be called once in a process.
    pub(crate) fn of_process() -> Self {
        let number = |name: &str| env::var(name).ok()?.parse::<u32>().ok();
        if number("LISTEN_PID") != Some(std::process::id()) {
            return Self::default();
        }
        let names = env::var("LISTEN_FDNAMES").unwrap_or_default();
        let mut names = names.split(':').map(str::to_owned);
        let count = number("LISTEN_FDS").unwrap_or(0).min(INHERITED_MAX);
        let sockets = (FIRST_INHERITED..).take(count as usize).map(|descriptor| {
            #[allow(unsafe_code)]
            // SAFETY: by the protocol of systemd these descriptors were opened for this process alone, which is
            // the one that LISTEN_PID names, and nothing else here has taken them.
            let descriptor = unsafe { OwnedFd::from_raw_fd(descriptor) };
            let socket = socket2::Socket::from(descriptor);
            // Programs that this one starts do not listen.
            let _ = socket.set_cloexec(true);
            (names.next().unwrap_or_default(), Some(socket))
        });
        Self(sockets.collect())
    }

    /// Returns the next socket with this name.
    pub(crate) fn take(&mut self, name: &str) -> io::Result<socket2::Socket> {
        let mut named = self.0.iter_mut().filter(|(it, _)| it == name);
        named.find_map(|(_, socket)| socket.take()).ok_or_else(|| {
            io::Error::other("systemd has passed no such socket: is there a .socket unit with this FileDescriptorName?")
        })
    }
}

/// The first descriptor that is passed on.
const FIRST_INHERITED: RawFd = 3;

/// More sockets than this are none.
const INHERITED_MAX: u32 = 256;

/// Returns freed memory to the system. glibc keeps it otherwise, where the heap has holes.
pub(crate) fn trim_memory() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    #[allow(unsafe_code)]
    // SAFETY: malloc_trim takes no pointers, may be called from any thread at any time, and only
    // changes memory that the allocator itself owns.
    unsafe {
        libc::malloc_trim(0);
    }
}

/// Has large blocks come from the system, and go back to it as soon as they are freed.
///
/// glibc would learn from the first that is freed to take the next from its heap. There a small one is cut out of the
/// hole that it leaves, the next large one does not fit any more, and a storm of password hashes, with 19 MiB for each
/// though there are two at a time, takes hundreds of them.
pub(crate) fn keep_large_blocks_apart() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    #[allow(unsafe_code)]
    // SAFETY: mallopt takes no pointers, locks what it changes, and concerns only where later blocks come from. That
    // it fails is no harm.
    unsafe {
        libc::mallopt(libc::M_MMAP_THRESHOLD, LARGE_BLOCK_BYTES);
        // It is not learned any more either, once the other is set.
        libc::mallopt(libc::M_TRIM_THRESHOLD, 2 * LARGE_BLOCK_BYTES);
    }
}

/// Far above what is allocated all the time, and below a hash.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
const LARGE_BLOCK_BYTES: libc::c_int = 4 << 20;

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn memory_in_use_is_told() {
        let before = resident_bytes();
        let block = vec![1_u8; 64 << 20];
        let after = resident_bytes();
        assert!(
            before > 0 && after >= before + (32 << 20),
            "{before} then {after} of {}",
            block.len()
        );
    }
}
