//! The CPU time and memory of a process, the broker's or our own, as the system counts them.

use std::time::Duration;

use nix::time::ClockId;

/// A process that is looked at.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Process {
    pid: i32,
    clock: ClockId,
}

impl Process {
    /// Looks up process `pid`.
    ///
    /// # Errors
    ///
    /// Says why its clock cannot be read: mostly that there is no such process.
    pub(crate) fn of(pid: i32) -> Result<Self, String> {
        let clock = cpu_clock(pid).map_err(|it| format!("process {pid}: {}", it.desc()))?;
        Ok(Self { pid, clock })
    }

    /// Returns our own process.
    pub(crate) fn own() -> Self {
        Self { pid: std::process::id() as i32, clock: ClockId::CLOCK_PROCESS_CPUTIME_ID }
    }

    /// Returns user and system time of all threads so far, those that have ended included.
    ///
    /// The clock counts nanoseconds, unlike the ticks of `/proc/PID/stat`, and is brought up to date when
    /// it is read, unlike `/proc/PID/schedstat`. `None` if the process is gone.
    pub(crate) fn cpu_time(&self) -> Option<Duration> {
        self.clock.now().ok().map(Duration::from)
    }

    /// Returns the resolution of [`Self::cpu_time`].
    pub(crate) fn cpu_resolution(&self) -> Duration {
        self.clock.res().map_or(Duration::ZERO, Duration::from)
    }

    /// Returns the resident memory in bytes, or `None` where the system does not say.
    pub(crate) fn resident_bytes(&self) -> Option<u64> {
        // The rollup is exact; the counters of `status` lag behind by some pages for each thread.
        resident_in(&format!("/proc/{}/smaps_rollup", self.pid), "Rss:")
            .or_else(|| resident_in(&format!("/proc/{}/status", self.pid), "VmRSS:"))
    }
}

/// Returns the clock that counts the CPU time of process `pid`.
#[cfg(target_os = "linux")]
fn cpu_clock(pid: i32) -> nix::Result<ClockId> {
    ClockId::pid_cpu_clock_id(nix::unistd::Pid::from_raw(pid))
}

/// Other systems do not let one process read the clock of another.
#[cfg(not(target_os = "linux"))]
fn cpu_clock(_pid: i32) -> nix::Result<ClockId> {
    Err(nix::errno::Errno::ENOSYS)
}

fn resident_in(path: &str, label: &str) -> Option<u64> {
    kibibytes_after(&std::fs::read_to_string(path).ok()?, label)
}

/// Finds `label` at the start of a line and returns the number of kB after it, in bytes.
fn kibibytes_after(text: &str, label: &str) -> Option<u64> {
    let line = text.lines().find_map(|it| it.strip_prefix(label))?;
    let number = line.trim().strip_suffix("kB")?.trim_end();
    Some(number.parse::<u64>().ok()? * 1_024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_read_from_the_line_with_the_label() {
        let rollup = "00400000-7ffd [rollup]\nRss:                1632 kB\nPss:   900 kB\n";
        assert_eq!(kibibytes_after(rollup, "Rss:"), Some(1_632 * 1_024));
        assert_eq!(kibibytes_after(rollup, "VmRSS:"), None);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn the_own_process_has_time_and_memory() {
        let by_id = Process::of(Process::own().pid).unwrap();
        assert!(by_id.cpu_time().unwrap() > Duration::ZERO);
        assert!(by_id.resident_bytes().unwrap() > 100_000);
    }
}
