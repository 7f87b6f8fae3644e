//! Damage is named, or loses what nobody was promised; it never makes less of a log without a word.
