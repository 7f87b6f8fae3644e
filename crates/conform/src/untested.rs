//! Why some statements that bind a server have no case.

/// Groups of statements and the reason that they share.
pub(crate) static REASONS: &[(&str, &str)] = &[];
