//! A connection as its client sees it.

use std::collections::{BTreeMap, BTreeSet};

use quelea_codec::{Packet, PacketId, SubscriptionOptions, Version};

/// See the module.
#[derive(Debug)]
pub(super) struct Link {
    pub(super) number: u64,
    pub(super) version: Version,
    pub(super) expiry_secs: u32,
    /// It asked for a session that begins anew.
    pub(super) is_clean: bool,
    pub(super) input: Vec<u8>,
    pub(super) output: Vec<u8>,
    /// CONNACK has come.
    pub(super) is_open: bool,
    /// DISCONNECT is written.
    pub(super) is_leaving: bool,
    pub(super) left_at: u64,
    /// The broker has said why it closes.
    pub(super) is_dismissed: bool,
    /// Messages that the broker takes at once.
    pub(super) quota: usize,
    /// QoS 1 and 2 messages that came on this connection and are not acknowledged.
    pub(super) unacknowledged: BTreeSet<PacketId>,
    /// What topic aliases mean.
    pub(super) aliases: BTreeMap<u16, String>,
    pub(super) asked: BTreeMap<PacketId, Asked>,
    /// Acknowledgements that it takes its time with, in order; with the identifier that is free then.
    pub(super) answers: Vec<(Vec<u8>, Option<PacketId>)>,
    pub(super) last_written_at: u64,
    /// When something had to wait for room last.
    pub(super) stuck_at: u64,
    pub(super) last_read_at: u64,
    /// A PINGREQ is not answered.
    pub(super) is_pinging: bool,
    pub(super) dozes_until: u64,
}

/// What SUBACK or UNSUBACK will answer.
#[derive(Clone, Debug)]
pub(super) enum Asked {
    Subscribe(Vec<(String, SubscriptionOptions)>),
    Unsubscribe(String),
}

impl Link {
    pub(super) fn new(number: u64, version: Version, expiry_secs: u32, now: u64) -> Self {
        Self {
            number,
            version,
            expiry_secs,
            is_clean: false,
            input: Vec::new(),
            output: Vec::new(),
            is_open: false,
            is_leaving: false,
            left_at: 0,
            is_dismissed: false,
            quota: 65_535,
            unacknowledged: BTreeSet::new(),
            aliases: BTreeMap::new(),
            asked: BTreeMap::new(),
            answers: Vec::new(),
            last_written_at: now,
            stuck_at: 0,
            last_read_at: now,
            is_pinging: false,
            dozes_until: 0,
        }
    }

    /// Puts a packet behind what waits to be written.
    pub(super) fn write(&mut self, packet: &Packet<'_>, now: u64) {
        packet.encode(self.version, &mut self.output);
        self.last_written_at = now;
    }

    /// Puts the acknowledgements that it took its time with behind what waits to be written.
    pub(super) fn write_answers(&mut self, now: u64) {
        for (bytes, freed) in std::mem::take(&mut self.answers) {
            self.output.extend(bytes);
            self.last_written_at = now;
            if let Some(freed) = freed {
                self.unacknowledged.remove(&freed);
            }
        }
    }

    /// Returns whether it waits for nothing.
    pub(super) fn is_quiet(&self) -> bool {
        self.output.is_empty() && self.answers.is_empty() && self.unacknowledged.is_empty()
    }
}
