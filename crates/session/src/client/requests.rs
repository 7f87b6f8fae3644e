//! SUBSCRIBE and UNSUBSCRIBE under way.
//!
//! They have packet identifiers of their own, the last of all, so that none is ever shared with a PUBLISH
//! ([MQTT-2.2.1-3]).

use quelea_codec::{PacketId, PacketKind};

/// The requests of one connection that are not answered. They do not outlive it: the host asks again.
#[derive(Debug, Default)]
pub(super) struct Requests {
    open: [Option<Request>; REQUESTS_MAX],
}

#[derive(Clone, Copy, Debug)]
struct Request {
    /// SUBACK or UNSUBACK.
    answer: PacketKind,
    filter_count: usize,
}

/// What an answer is to the requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// It answers a request.
    Expected,
    /// It has another number of reason codes than the request has filters.
    Miscounted,
    /// It answers none.
    Unknown,
}

impl Requests {
    /// Finds an identifier for a request, unless there are [`REQUESTS_MAX`].
    pub(super) fn free_id(&self) -> Option<PacketId> {
        let index = self.open.iter().position(Option::is_none)?;
        PacketId::new(FIRST_REQUEST_ID + index as u16)
    }

    /// Notes that a request was sent.
    pub(super) fn open(&mut self, id: PacketId, answer: PacketKind, filter_count: usize) {
        if let Some(place) = self.place(id) {
            *place = Some(Request { answer, filter_count });
        }
    }

    /// Notes an answer. `reason_count` is absent where the version has no reason codes.
    pub(super) fn close(
        &mut self,
        id: PacketId,
        answer: PacketKind,
        reason_count: Option<usize>,
    ) -> Answer {
        let Some(place) = self.place(id) else {
            return Answer::Unknown;
        };
        match *place {
            Some(request) if request.answer == answer => {
                *place = None;
                if reason_count.is_none_or(|count| count == request.filter_count) {
                    Answer::Expected
                } else {
                    Answer::Miscounted
                }
            }
            Some(_) | None => Answer::Unknown,
        }
    }

    pub(super) fn clear(&mut self) {
        self.open = Default::default();
    }

    /// Returns whether no request waits for its answer.
    pub(super) fn is_empty(&self) -> bool {
        self.open.iter().all(Option::is_none)
    }

    fn place(&mut self, id: PacketId) -> Option<&mut Option<Request>> {
        self.open.get_mut(usize::from(id.value().checked_sub(FIRST_REQUEST_ID)?))
    }
}

/// How many requests may be under way. One more waits with the host.
const REQUESTS_MAX: usize = 16;

/// No PUBLISH of a client has this packet identifier or a higher one.
pub(super) const FIRST_REQUEST_ID: u16 = u16::MAX - REQUESTS_MAX as u16 + 1;
