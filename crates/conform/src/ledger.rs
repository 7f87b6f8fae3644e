//! The ledger: for each statement, the cases that judge it, or the reason why none does.
