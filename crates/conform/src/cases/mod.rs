//! The cases, a file for each packet or exchange.

mod ping;
mod publish_qos2;

use crate::Case;

/// Returns all cases.
pub fn all() -> impl Iterator<Item = &'static Case> {
    [ping::CASES, publish_qos2::CASES].into_iter().flatten()
}
