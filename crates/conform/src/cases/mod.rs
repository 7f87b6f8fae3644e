//! The cases, a file for each packet or exchange.

mod connect_accept;
mod connect_format;
mod filters;
mod malformed;
mod ping;
mod publish_qos01;
mod publish_qos2;
mod retain;
mod shared;
mod subscribe;
mod unsubscribe;

use crate::Case;

/// Returns all cases.
pub fn all() -> impl Iterator<Item = &'static Case> {
    let files = [
        connect_accept::CASES,
        connect_format::CASES,
        filters::CASES,
        malformed::CASES,
        ping::CASES,
        publish_qos01::CASES,
        publish_qos2::CASES,
        retain::CASES,
        shared::CASES,
        subscribe::CASES,
        unsubscribe::CASES,
    ];
    files.into_iter().flatten()
}
