//! The acknowledgement that is owed for a message, by all who have received it.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use quelea_codec::ReasonCode;
use quelea_session::client::Receipt;

use crate::shared::Shared;

/// One receiver's part in acknowledging a message. The last clone that is dropped without an answer abandons it.
#[derive(Clone)]
pub(crate) struct SharedReceipt(Arc<Part>);

struct Part {
    whole: Arc<Whole>,
    is_answered: AtomicBool,
}

/// The acknowledgement of a message that went to one subscription or several: it leaves when all have answered.
pub(crate) struct Whole {
    receipt: Receipt,
    shared: Weak<Shared>,
    state: Mutex<State>,
}

struct State {
    /// Receivers that have not answered.
    open: usize,
    is_abandoned: bool,
    /// The worst that one of them said.
    reason: ReasonCode,
}

impl Whole {
    /// Returns what `receivers` have to answer.
    pub(crate) fn new(receipt: Receipt, shared: Weak<Shared>, receivers: usize) -> Arc<Self> {
        let reason = ReasonCode::SUCCESS;
        let state = State { open: receivers, is_abandoned: false, reason };
        Arc::new(Self { receipt, shared, state: Mutex::new(state) })
    }

    /// Returns the part of one receiver.
    pub(crate) fn part(self: &Arc<Self>) -> SharedReceipt {
        let whole = Arc::clone(self);
        SharedReceipt(Arc::new(Part { whole, is_answered: AtomicBool::new(false) }))
    }

    /// Notes the answer of one receiver, `None` if it will never give one.
    fn settle(&self, answer: Option<ReasonCode>) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.open = state.open.saturating_sub(1);
        match answer {
            Some(reason) => state.reason = state.reason.max(reason),
            None => state.is_abandoned = true,
        }
        if state.open > 0 {
            return;
        }
        let outcome = (!state.is_abandoned).then_some(state.reason);
        drop(state);
        if let Some(shared) = self.shared.upgrade() {
            shared.settle(self.receipt, outcome);
        }
    }
}

impl SharedReceipt {
    /// Answers for this receiver, unless it has.
    pub(crate) fn answer(&self, reason: ReasonCode) {
        if !self.0.is_answered.swap(true, Ordering::Relaxed) {
            self.0.whole.settle(Some(reason));
        }
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        if !*self.is_answered.get_mut() {
            self.whole.settle(None);
        }
    }
}

impl fmt::Debug for SharedReceipt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SharedReceipt").finish_non_exhaustive()
    }
}
