//! What only the operating system can do.

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
