//! A full disk refuses what needs space, and nothing else; and it loses nothing.
