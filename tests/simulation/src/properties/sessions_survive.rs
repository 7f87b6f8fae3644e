//! A session is there as long as it was promised, over crashes too, with its subscriptions; and not longer.

use quelea_codec::ReasonCode;

use super::{Property, Terms};
use crate::fact::{Deed, Fact};
use crate::reference::{Reference, Standing};

/// See the module.
#[derive(Debug)]
pub(super) struct SessionsSurvive {
    may_end: bool,
}

impl SessionsSurvive {
    pub(super) fn new(terms: Terms) -> Self {
        Self { may_end: terms.may_end_sessions }
    }
}

impl Property for SessionsSurvive {
    fn before(&mut self, now: u64, fact: &Fact, known: &Reference) -> Result<(), String> {
        let Fact::Client(client, deed) = fact else { return Ok(()) };
        let session = &known.sessions[*client];
        match deed {
            Deed::Welcomed { is_resumed, .. } => {
                let Some(attempt) = session.attempt else {
                    return Err(format!("client {client} is welcomed without having asked"));
                };
                let is_over = session.gone_after.is_some_and(|at| at < attempt.at);
                let is_absent = session.standing == Standing::Absent || is_over;
                if *is_resumed && (attempt.clean_start || is_absent) {
                    return Err(format!("client {client} is given a session that had ended"));
                }
                let must_be = session.standing == Standing::Certain && now < session.alive_until;
                if !is_resumed && !attempt.clean_start && must_be && !self.may_end {
                    return Err(format!("the session of client {client} is lost"));
                }
                Ok(())
            }
            Deed::Unsubscribed { filter, reason } => {
                let subscription = session.subscriptions.get(filter);
                let was_there = subscription.is_some_and(|it| it.is_granted);
                if was_there && *reason == ReasonCode::NO_SUBSCRIPTION_EXISTED {
                    return Err(format!("the subscription of client {client} to {filter} is lost"));
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }
}
