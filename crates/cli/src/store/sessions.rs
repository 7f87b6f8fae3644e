//! `quelea store sessions`: who is there, and what waits for them.

use std::io::{self, BufWriter, Write};
use std::path::Path;

use quelea_store::{Item, Presence, RecoveredSession, Strictness, WallMillis};

use super::{intact, read};
use crate::failure::Failure;
use crate::print::{Reader, unless_unread};

/// Runs `quelea store sessions`.
pub(super) fn run(dir: &Path) -> Result<(), Failure> {
    let contents = read(dir, Strictness::Whole)?;
    let mut stdout = BufWriter::new(io::stdout().lock());
    let mut reader = unless_unread(writeln!(stdout, "{HEADINGS}"))?;
    for item in contents.sessions() {
        if reader == Reader::HasGone {
            return Ok(());
        }
        if let Item::Session(it) = intact(item)? {
            reader = unless_unread(writeln!(stdout, "{}", row(&it.session)))?;
        }
    }
    unless_unread(stdout.flush())?;
    Ok(())
}

fn row(it: &RecoveredSession) -> String {
    let connection = match it.presence {
        Presence::Connected => "connected".to_owned(),
        Presence::Lost(at) => format!("lost {}", utc(at)),
    };
    let expiry = match it.expiry_secs {
        u32::MAX => "never".to_owned(),
        secs => format!("{secs}s"),
    };
    let (client_id, owner) =
        (it.identity.client_id.escape_debug(), it.identity.owner.escape_debug());
    let (messages, bytes) = (it.queued_messages, it.queued_bytes);
    let subscriptions = it.subscriptions.len();
    format!("{client_id}\t{owner}\t{connection}\t{expiry}\t{messages}\t{bytes}\t{subscriptions}")
}

/// Returns a time as RFC 3339 writes it.
fn utc(at: WallMillis) -> String {
    let (days, secs) = (at.0 / 86_400_000, at.0 / 1000 % 86_400);
    // Counted from March, so that the leap day is the last of its year; 400 years have 146,097 days.
    let day = days + 719_468;
    let (era, day) = (day / 146_097, day % 146_097);
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    let year = era * 400 + year + u64::from(month <= 2);
    let (hour, minute, second) = (secs / 3600, secs / 60 % 60, secs % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}

/// What stands above the columns, with a tab between two.
const HEADINGS: &str = "CLIENT ID\tOWNER\tCONNECTION\tEXPIRY\tQUEUED\tBYTES\tSUBSCRIPTIONS";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_dates() {
        for (millis, text) in [
            (0, "1970-01-01T00:00:00Z"),
            (951_782_400_000, "2000-02-29T00:00:00Z"),
            (1_709_251_199_999, "2024-02-29T23:59:59Z"),
            (1_735_689_600_000, "2025-01-01T00:00:00Z"),
            (4_107_542_400_000, "2100-03-01T00:00:00Z"),
        ] {
            assert_eq!(utc(WallMillis(millis)), text, "{millis}");
        }
    }
}
