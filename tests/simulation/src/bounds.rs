//! Memory is bounded: what one connection and one session may have, they don't exceed.

use quelea_broker::config::Limits;
use quelea_broker::simulation::Extent;

/// Checks what was measured.
///
/// # Errors
///
/// What has no bound.
pub(crate) fn check(extent: &Extent, limits: &Limits) -> Result<(), String> {
    // Twice the limit is where a connection is not read any more; what one turn reads is answered all the same.
    let unsent_max = 2 * limits.write_buffer_bytes_max as usize + extent.read_bytes;
    for (name, value, max) in [
        ("bytes to be written", extent.unsent_bytes, unsent_max),
        ("bytes not handled", extent.unread_bytes, 2 * extent.read_bytes),
        ("things held", extent.held, HELD_MAX),
        ("messages of a session in memory", extent.head_messages, HEAD_MESSAGES_MAX),
        ("bytes of a session in memory", extent.head_bytes as usize, HEAD_BYTES_MAX),
    ] {
        if value > max {
            return Err(format!("{value} {name}, more than {max}"));
        }
    }
    Ok(())
}

/// A connection is not read any more when it holds 1,024 things, and one turn adds 4,096.
const HELD_MAX: usize = 1_024 + 4_096;

/// What a fetch brings, behind a head that is half empty.
const HEAD_MESSAGES_MAX: usize = 64 + 128;

/// The same in bytes, and the last message that goes beyond.
const HEAD_BYTES_MAX: usize = 2 * 128 * 1_024 + 16 * 1_024;
