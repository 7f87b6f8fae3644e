//! What submissions lead to, gathered until it may be told.

use std::sync::Arc;

use quelea_session::Message;

use crate::{
    Attributes, Completions, Dropped, Fetched, Placed, SessionNumber, ShardIndex, Submission,
};

/// What submissions lead to: calls of [`Completions`] to be made.
#[derive(Debug, Default)]
pub struct Outcomes {
    placed: Lists<Placed>,
    dropped: Lists<Dropped>,
    unplaced: Lists<(Attributes, Arc<Message>)>,
    skipped: Vec<(ShardIndex, u64)>,
    fetched: Lists<Fetched>,
    durable: Vec<(ShardIndex, Submission)>,
}

/// A list for each shard that there is something for. There are few shards.
type Lists<T> = Vec<(ShardIndex, Vec<T>)>;

impl Outcomes {
    /// A message was placed in the queue of a session with a client on `home`.
    pub(crate) fn place(&mut self, home: ShardIndex, placed: Placed) {
        list_of(&mut self.placed, home).push(placed);
    }

    /// Messages gave way to newer ones in the queue of a session that was last connected to `home`.
    pub(crate) fn drop_oldest(
        &mut self,
        home: ShardIndex,
        session: SessionNumber,
        messages: u32,
        bytes: u64,
    ) {
        if messages == 0 {
            return;
        }
        let list = list_of(&mut self.dropped, home);
        match list.last_mut() {
            Some(last) if last.session == session => {
                last.messages += messages;
                last.bytes += bytes;
            }
            Some(_) | None => list.push(Dropped { session, messages, bytes }),
        }
    }

    /// A shared group chose a session that is gone.
    pub(crate) fn unplace(
        &mut self,
        shard: ShardIndex,
        attributes: Attributes,
        message: &Arc<Message>,
    ) {
        list_of(&mut self.unplaced, shard).push((attributes, Arc::clone(message)));
    }

    /// The session that a message of `shard` was for is gone.
    #[cold]
    pub(crate) fn skip(&mut self, shard: ShardIndex) {
        match self.skipped.iter_mut().find(|it| it.0 == shard) {
            Some(known) => known.1 += 1,
            None => self.skipped.push((shard, 1)),
        }
    }

    /// `shard` asked for entries.
    pub(crate) fn fetch(&mut self, shard: ShardIndex, fetched: Fetched) {
        list_of(&mut self.fetched, shard).push(fetched);
    }

    /// Everything that `shard` submitted up to `through` is complete.
    pub(crate) fn complete(&mut self, shard: ShardIndex, through: Submission) {
        match self.durable.iter_mut().find(|it| it.0 == shard) {
            Some(known) => known.1 = known.1.max(through),
            None => self.durable.push((shard, through)),
        }
    }

    /// Returns whether there is nothing to tell.
    pub fn is_empty(&self) -> bool {
        // Whatever was submitted is completed, last of all.
        self.durable.is_empty() && self.fetched.is_empty()
    }

    /// Tells the shards.
    pub fn deliver(self, completions: &dyn Completions) {
        for (shard, placed) in self.placed {
            completions.placed(shard, placed);
        }
        for (shard, dropped) in self.dropped {
            completions.dropped(shard, dropped);
        }
        for (shard, unplaced) in self.unplaced {
            completions.unplaced(shard, unplaced);
        }
        for (shard, target_count) in self.skipped {
            completions.skipped(shard, target_count);
        }
        for (shard, fetched) in self.fetched {
            fetched.into_iter().for_each(|it| completions.fetched(shard, it));
        }
        for (shard, through) in self.durable {
            completions.durable(shard, through);
        }
    }
}

fn list_of<T>(lists: &mut Lists<T>, shard: ShardIndex) -> &mut Vec<T> {
    let found = lists.iter().position(|it| it.0 == shard);
    let index = found.unwrap_or_else(|| {
        lists.push((shard, Vec::new()));
        lists.len() - 1
    });
    &mut lists[index].1
}
