//! What is tried: the broker, or the checker.
//!
//! A checker that has nothing to say may be asleep. So it is also shown brokers whose disk does not keep what it
//! has promised.

use std::fs;
use std::io;
use std::path::Path;

/// What a campaign is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trial {
    /// To find what is wrong with the broker: nothing must be found.
    Broker,
    /// A broker that keeps nothing over a crash: that must be found.
    Forgetful,
    /// A disk that has not written for a while when the broker dies, as after a power cut when nothing was synced:
    /// what is lost must be found.
    PowerCut,
}

impl Trial {
    /// Returns the rule that must be broken, if the checker is tried.
    pub fn expected_finding(self) -> Option<&'static str> {
        match self {
            Self::Broker => None,
            Self::Forgetful => Some("sessions"),
            Self::PowerCut => Some("loss"),
        }
    }
}

/// Keeps the state that the disk has at this moment.
pub fn keep(data: &Path, kept: &Path) -> io::Result<()> {
    remove(kept)?;
    fs::create_dir_all(kept)?;
    let entries: io::Result<Vec<_>> = fs::read_dir(data)?.collect();
    let mut names: Vec<_> = entries?.iter().map(fs::DirEntry::file_name).collect();
    // The newest file first: the older ones then have all that was written before.
    names.sort();
    for name in names.iter().rev() {
        match fs::copy(data.join(name), kept.join(name)) {
            // The broker has removed it meanwhile.
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            Ok(_) | Err(_) => {}
        }
    }
    Ok(())
}

/// Brings the state back that was kept, if one was.
pub fn bring_back(kept: &Path, data: &Path) -> io::Result<()> {
    if !kept.exists() {
        return Ok(());
    }
    remove(data)?;
    fs::rename(kept, data)
}

fn remove(directory: &Path) -> io::Result<()> {
    if directory.exists() { fs::remove_dir_all(directory) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_later_is_lost() -> io::Result<()> {
        let directory = std::env::temp_dir().join(format!("quelea-trial-{}", std::process::id()));
        let (data, kept) = (directory.join("data"), directory.join("kept"));
        fs::create_dir_all(&data)?;
        fs::write(data.join("1"), "early")?;
        keep(&data, &kept)?;
        fs::write(data.join("1"), "late")?;
        fs::write(data.join("2"), "late")?;
        bring_back(&kept, &data)?;
        assert_eq!(fs::read_to_string(data.join("1"))?, "early");
        assert!(!data.join("2").exists());
        // Nothing was kept since.
        bring_back(&kept, &data)?;
        assert_eq!(fs::read_to_string(data.join("1"))?, "early");
        fs::remove_dir_all(directory)
    }
}
