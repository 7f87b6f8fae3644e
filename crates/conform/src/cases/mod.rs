//! The cases, a file for each packet or exchange.

mod authentication;
mod connect_accept;
mod connect_format;
mod filters;
mod flow_control;
mod framing;
mod leaving;
mod limits;
mod malformed;
mod message;
mod ping;
mod property_format;
mod publish_qos01;
mod publish_qos2;
mod retain;
mod session;
mod shared;
mod subscribe;
mod unsubscribe;
mod websocket;
mod will;

use crate::Case;

/// Returns all cases.
pub fn all() -> impl Iterator<Item = &'static Case> {
    let files = [
        authentication::CASES,
        connect_accept::CASES,
        connect_format::CASES,
        filters::CASES,
        flow_control::CASES,
        framing::CASES,
        leaving::CASES,
        limits::CASES,
        malformed::CASES,
        message::CASES,
        ping::CASES,
        property_format::CASES,
        publish_qos01::CASES,
        publish_qos2::CASES,
        retain::CASES,
        session::CASES,
        shared::CASES,
        subscribe::CASES,
        unsubscribe::CASES,
        websocket::CASES,
        will::CASES,
    ];
    files.into_iter().flatten()
}
