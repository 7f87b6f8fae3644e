//! Which subscriptions match a topic, and which retained messages match a filter.
//!
//! Three things live here, none of which knows a session, a shard or a packet:
//!
//! - [`FilterTable`]: topic filter to value; finds all filters that match one topic.
//! - [`RetainedStore`]: topic to value, in a fixed order; finds all topics that one filter matches, in slices.
//! - [`choose_member`]: which member of a shared subscription gets a message.
//!
//! [`matches()`] says the same as both in the most obvious way, and is what they are tested against.
//!
//! Filters and topics are taken as the codec has checked them: a filter is well formed, a topic has no wildcard,
//! and neither is longer than 65,535 bytes. Text that breaks this is never a panic, but what it matches is unspecified.
//! `$share/{group}/` is stripped by the caller. Text is compared byte by byte, with no normalization ([MQTT-4.7.3-4]).

#![forbid(unsafe_code)]

mod chunks;
mod filter_table;
mod hash_index;
mod label;
mod levels;
mod nodes;
mod radix_tree;
mod retained;
mod shared;
mod slab;
mod states;
mod trie;

pub use filter_table::{FilterId, FilterTable};
pub use levels::matches;
pub use retained::RetainedStore;
pub use shared::{MemberLoad, SharedStrategy, choose_member};
