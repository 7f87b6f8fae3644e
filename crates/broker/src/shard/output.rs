//! Writing: each link with something to say is flushed once, at the end of the turn.
//!
//! A peer that does not read costs its link's buffer, which is bounded: beyond the limit QoS 0 is
//! dropped and QoS 1 and 2 wait in the session. A link whose own acknowledgements pile up is not
//! read until they have left.

use std::io;

use super::Shard;
use super::held::Held;
use super::link::{Link, Stage};
use crate::arena::Key;
use crate::mail::{Batch, Letter};
use crate::net::{Io, Neighbours};

/// What a turn has for another shard.
#[derive(Default)]
pub(super) struct Outgoing {
    pub(super) batch: Batch,
    pub(super) letters: Vec<Letter>,
    /// What was posted, of which the shard has not been told yet.
    posted: Posted,
}

/// How much a shard has been posted in a turn.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Posted {
    #[default]
    Nothing,
    /// Little enough to be done for a shard that sleeps.
    Little,
    Much,
}

impl Shard {
    /// Makes sure that a link is flushed.
    #[inline]
    pub(super) fn mark_dirty(&mut self, key: Key) {
        if let Some(link) = self.links.get_mut(key)
            && !link.is_dirty
        {
            link.is_dirty = true;
            self.dirty.push_back(key);
        }
    }

    /// Flushes links with output, a bounded number a turn, by turns one that has just got some and
    /// one that is left from earlier turns. A fan-out to thousands must not make the few messages of
    /// others wait, and one fan-out after the other must not make any of the thousands wait for ever.
    pub(super) fn flush_dirty(&mut self, io: &mut dyn Io) {
        for count in 0..FLUSHES_MAX {
            let next = if count % 2 == 0 {
                self.dirty.pop_front().or_else(|| self.backlog.pop_front())
            } else {
                self.backlog.pop_front().or_else(|| self.dirty.pop_front())
            };
            let Some(key) = next else { return };
            if let Some(link) = self.links.get_mut(key) {
                link.is_dirty = false;
                self.flush(key, io);
            }
        }
        self.backlog.append(&mut self.dirty);
    }

    /// The socket has room again.
    pub(super) fn on_writable(&mut self, key: Key) {
        if let Some(link) = self.links.get_mut(key)
            && link.is_blocked
        {
            link.is_blocked = false;
            self.mark_dirty(key);
        }
    }

    fn flush(&mut self, key: Key, io: &mut dyn Io) {
        let Some(link) = self.links.get_mut(key) else { return };
        if link.is_blocked {
            self.review_pause(key);
            return;
        }
        let end = match &mut link.bounds {
            Some(bounds) if matches!(link.stage, Stage::Open(_)) => {
                bounds.admit_output(self.now, &link.output, &self.rules.config.rates)
            }
            Some(_) | None => link.output.len(),
        };
        let mut sent = 0;
        while (link.written as usize) < end {
            match io.write(key, &link.output[link.written as usize..end]) {
                Ok(0) => {
                    self.lose(key, None, io);
                    return;
                }
                Ok(count) => {
                    link.written += count as u32;
                    sent += count as u64;
                    // It took what it had room for, and reports when there is more.
                    link.is_blocked = (link.written as usize) < end;
                    break;
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    link.is_blocked = true;
                    break;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => {
                    self.lose(key, Some(&error), io);
                    return;
                }
            }
        }
        self.shared.counters[self.index.0 as usize].bytes_sent.add(sent);
        if link.unsent_bytes() > 0 {
            compact(link);
            if let Some(due) = link.bounds.as_ref().and_then(|bounds| bounds.next_deadline()) {
                self.arm_link(key, due);
            }
        } else {
            let buffer = std::mem::take(&mut link.output);
            if let Some(bounds) = &mut link.bounds {
                bounds.forget_output(buffer.len());
            }
            link.written = 0;
            self.keep_buffer(buffer);
        }
        self.after_flush(key, io);
    }

    /// A link's output has shrunk: what waited for that goes on.
    fn after_flush(&mut self, key: Key, io: &mut dyn Io) {
        self.review_pause(key);
        let Some(link) = self.links.get_mut(key) else { return };
        match &link.stage {
            Stage::Open(open) => {
                let session = open.session;
                if link.unsent_bytes() > 0 {
                    return;
                }
                let Some(home) = self.sessions.get(session) else { return };
                if home.protocol.wants_pump() || home.extra.is_some() {
                    self.pump(key, session);
                }
            }
            Stage::Lingering if link.unsent_bytes() == 0 => {
                io.shutdown(key);
                if link.is_closed && io.has_unsent(key) {
                    // Nothing else comes for which it would be looked at again.
                    link.is_blocked = true;
                } else if link.is_closed {
                    self.lose(key, None, io);
                }
            }
            Stage::Lingering | Stage::Connecting | Stage::Authenticating(_) => {}
        }
    }

    /// Stops or resumes reading, as the link's own output and what it holds demand.
    pub(super) fn review_pause(&mut self, key: Key) {
        let bytes_max = self.rules.config.limits.write_buffer_bytes_max as usize;
        let Some(link) = self.links.get_mut(key) else { return };
        // Whoever lingers has its time, and is read from to the end.
        if matches!(link.stage, Stage::Lingering) {
            return;
        }
        let held = link.held.as_ref().map_or(0, |held| held.len());
        // Messages stop at the limit: what goes beyond it are the link's own acknowledgements.
        let last = link.held.as_ref().and_then(|held| held.back());
        let is_stuck = last.is_some_and(|entry| matches!(entry.held, Held::Unstored(_)));
        let is_full = link.unsent_bytes() > 2 * bytes_max || held > HELD_MAX || is_stuck;
        if is_full && !link.is_paused {
            link.is_paused = true;
            link.has_packets |= !link.unread.is_empty();
            let due = self.now.plus_millis(PAUSE_MAX_MILLIS);
            link.stage_ends_at = due;
            self.arm_link(key, due);
        } else if link.is_paused
            && !is_stuck
            && link.unsent_bytes() <= bytes_max + bytes_max / 2
            && held <= HELD_MAX / 2
        {
            link.is_paused = false;
            // Keep alive did not run while nothing was read.
            link.last_packet_at = self.now;
            self.list_readable(key);
        }
    }

    /// Keeps an empty buffer for the next link that has something to say.
    fn keep_buffer(&mut self, mut buffer: Vec<u8>) {
        if self.buffers.len() < BUFFERS_MAX && buffer.capacity() <= BUFFER_BYTES_MAX {
            buffer.clear();
            self.buffers.push(buffer);
        }
    }

    /// Posts what the turn has for other shards, and tells them. A shard that sleeps is woken, or, when there is little to
    /// do for it, done for.
    pub(super) fn post_outgoing(&mut self, neighbours: Option<&dyn Neighbours>) {
        self.post_mail();
        for (index, outgoing) in self.outgoing.iter_mut().enumerate() {
            let posted = std::mem::take(&mut outgoing.posted);
            if posted == Posted::Nothing {
                continue;
            }
            let mailbox = &self.shared.mailboxes[index];
            let is_asleep = mailbox.is_sleeping.load(std::sync::atomic::Ordering::SeqCst);
            let can_assist = posted == Posted::Little && is_asleep;
            if !(can_assist && neighbours.is_some_and(|it| it.assist(index))) {
                mailbox.wake();
            }
        }
    }

    /// Posts what the turn has for other shards so far. The store may tell a shard of what is submitted to it before the
    /// turn is over: what the turn had for it before must be there first.
    pub(super) fn post_mail(&mut self) {
        for (outgoing, mailbox) in self.outgoing.iter_mut().zip(self.shared.mailboxes.iter()) {
            if outgoing.batch.is_empty() && outgoing.letters.is_empty() {
                continue;
            }
            let is_little = outgoing.posted == Posted::Nothing
                && outgoing.letters.is_empty()
                && outgoing.batch.is_small();
            outgoing.posted = if is_little { Posted::Little } else { Posted::Much };
            for letter in outgoing.letters.drain(..) {
                mailbox.post(letter);
            }
            if !outgoing.batch.is_empty() {
                let batch = std::mem::take(&mut outgoing.batch);
                outgoing.batch = mailbox.post_batch(batch);
            }
        }
    }
}

/// Forgets the part of the output that has left, when that is most of it.
fn compact(link: &mut Link) {
    let written = link.written as usize;
    if written >= link.output.len() / 2 {
        link.output.drain(..written);
        if let Some(bounds) = &mut link.bounds {
            bounds.forget_output(written);
        }
        link.written = 0;
    }
}

/// A peer that has not taken its own acknowledgements after this time is given up.
const PAUSE_MAX_MILLIS: u64 = 60_000;

/// Flushes in one turn.
const FLUSHES_MAX: usize = 256;

/// Things that a link may hold before it is not read any more.
const HELD_MAX: usize = 1_024;

/// Empty buffers kept.
const BUFFERS_MAX: usize = 256;

/// The largest buffer kept.
const BUFFER_BYTES_MAX: usize = 64 * 1024;
