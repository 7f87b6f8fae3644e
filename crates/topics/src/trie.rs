//! The trie of the filters with wildcards.
//!
//! A node's label is a run of levels, wildcards included: a path along which nothing branches is one node. A node
//! other than the root ends a filter or has two children or more, so there are fewer than twice as many nodes as filters.
//!
//! ```text
//! a/+/b, a/+/c/#, +/b:     root -- "a/+" -- "b"
//!                            \        \---- "c/#"
//!                             "+/b"
//! ```

use std::hint::black_box;

use crate::filter_table::{FilterId, FilterTable};
use crate::label::Label;
use crate::levels::{common_levels, first_level, starts_with_level};
use crate::nodes::{NONE, ROOT};
use crate::states::{Candidate, Lookup, ShortList, State};

impl<V> FilterTable<V> {
    /// Returns the node at which `filter` ends, which is made when it is not there.
    pub(crate) fn place_in_trie(&mut self, filter: &[u8]) -> u32 {
        let mut node = ROOT;
        let mut rest = filter;
        loop {
            let Some(child) = self.child(node, first_level(rest)) else {
                let leaf = self.nodes.add(rest, node);
                self.attach(leaf);
                return leaf;
            };
            let label = self.nodes[child].label.as_bytes();
            let common = common_levels(label, rest);
            node = if common < label.len() { self.split(child, common) } else { child };
            if common == rest.len() {
                return node;
            }
            rest = &rest[common + 1..];
        }
    }

    pub(crate) fn find_in_trie(&self, filter: &[u8]) -> Option<u32> {
        let mut node = ROOT;
        let mut rest = filter;
        loop {
            node = self.child(node, first_level(rest))?;
            let after_label = rest.strip_prefix(self.nodes[node].label.as_bytes())?;
            match after_label.split_first() {
                None => return Some(node),
                Some((b'/', below)) => rest = below,
                Some(_) => return None,
            }
        }
    }

    /// Restores what holds for every node after the filter that ended at this one was removed.
    pub(crate) fn prune(&mut self, index: u32) {
        match self.nodes[index].child_count() {
            0 => {
                let parent = self.nodes[index].parent;
                self.detach(index);
                self.nodes.free(index);
                let above = &self.nodes[parent];
                if parent != ROOT && !above.ends_filter() && above.child_count() == 1 {
                    self.merge_with_child(parent);
                }
            }
            1 => self.merge_with_child(index),
            _ => {}
        }
    }

    /// Appends the ids of the filters in the trie that match `topic`.
    ///
    /// All ways through the trie go forward together, one level of the topic at a time: a level is hashed once, the
    /// cache misses of different ways overlap, and the depth of the trie is no one's stack.
    pub(crate) fn match_in_trie(&self, topic: &[u8], out: &mut Vec<FilterId>) {
        let root = &self.nodes[ROOT];
        let mut wildcards_apply = !topic.starts_with(b"$");
        if wildcards_apply && root.number_sign != NONE {
            out.extend(self.id(root.number_sign));
        }
        let mut states = ShortList::new();
        let mut next = ShortList::new();
        let mut lookups = ShortList::new();
        let mut candidates = ShortList::new();
        states.push(State::at_root());
        for level in topic.split(|byte| *byte == b'/') {
            let mut level_hash = None;
            // What is read without being looked at is read at once, and is in the cache when it is looked at.
            let mut touched = 0;
            next.clear();
            lookups.clear();
            candidates.clear();
            for state in states.iter() {
                let parent = state.node;
                let node = &self.nodes[parent];
                if !state.is_at_end_of(node.label.as_bytes()) {
                    self.advance(state, level, &mut next, out);
                    continue;
                }
                if node.plus != NONE && wildcards_apply {
                    let node = node.plus;
                    candidates.push(Candidate { node, parent });
                }
                if node.literal_count > 0 {
                    let level_hash = *level_hash.get_or_insert_with(|| self.hasher.text(level));
                    let hash = self.hasher.edge(parent, level_hash);
                    lookups.push(Lookup { hash, parent });
                    touched ^= self.edges.touch(hash);
                }
            }
            for Lookup { hash, parent } in lookups.iter() {
                for node in self.edges.candidates(hash) {
                    candidates.push(Candidate { node, parent });
                }
            }
            for Candidate { node, .. } in candidates.iter() {
                touched ^= self.nodes[node].parent;
            }
            black_box(touched);
            for Candidate { node, parent } in candidates.iter() {
                if self.nodes[node].parent == parent {
                    self.advance(State::before(node), level, &mut next, out);
                }
            }
            std::mem::swap(&mut states, &mut next);
            if states.is_empty() {
                return;
            }
            wildcards_apply = true;
        }
        for state in states.iter() {
            if state.is_at_end_of(self.nodes[state.node].label.as_bytes()) {
                out.extend(self.id(state.node));
            }
        }
    }

    /// Takes one level of the topic along a label. A `#` that follows matches whatever comes, and if nothing comes.
    fn advance(
        &self,
        state: State,
        level: &[u8],
        next: &mut ShortList<State>,
        out: &mut Vec<FilterId>,
    ) {
        let node = &self.nodes[state.node];
        let label = node.label.as_bytes();
        let rest = &label[state.label_offset as usize..];
        let state = if starts_with_level(rest, level) {
            state.behind(level)
        } else if starts_with_level(rest, b"+") {
            state.behind(b"+")
        } else {
            return;
        };
        if state.is_at_end_of(label) {
            if node.number_sign != NONE {
                out.extend(self.id(node.number_sign));
            }
            next.push(state);
        } else if &label[state.label_offset as usize..] == b"#" {
            out.extend(self.id(state.node));
        } else {
            next.push(state);
        }
    }

    /// Puts a node between `index` and its parent that takes the first `common` bytes of the label.
    fn split(&mut self, index: u32, common: usize) -> u32 {
        let node = &self.nodes[index];
        let (parent, label) = (node.parent, node.label.as_bytes());
        let below = Label::new(&label[common + 1..]);
        let above = label[..common].to_vec();
        let middle = self.nodes.add(&above, parent);
        self.replace_child(index, middle);
        self.nodes[index].label = below;
        self.nodes[index].parent = middle;
        self.attach(index);
        middle
    }

    /// Gives the place of a node to its only child. The child keeps its index: it is part of an id.
    fn merge_with_child(&mut self, index: u32) {
        let node = &self.nodes[index];
        let (parent, child) = (node.parent, node.only_child());
        let labels = [node.label.as_bytes(), self.nodes[child].label.as_bytes()];
        let label = Label::new(&labels.join(&b'/'));
        self.replace_child(index, child);
        self.detach(child);
        self.nodes[child].label = label;
        self.nodes[child].parent = parent;
        self.nodes.free(index);
    }

    /// Returns the child of a node whose label begins with `level`.
    fn child(&self, parent: u32, level: &[u8]) -> Option<u32> {
        let wildcard = match level {
            b"+" => self.nodes[parent].plus,
            b"#" => self.nodes[parent].number_sign,
            _ => {
                let hash = self.hasher.edge(parent, self.hasher.text(level));
                return self.edges.candidates(hash).find(|child| {
                    let node = &self.nodes[*child];
                    node.parent == parent && first_level(node.label.as_bytes()) == level
                });
            }
        };
        (wildcard != NONE).then_some(wildcard)
    }

    /// Makes a node known to its parent.
    fn attach(&mut self, index: u32) {
        match self.edge_of(index) {
            Edge::Plus(parent) => self.nodes[parent].plus = index,
            Edge::NumberSign(parent) => self.nodes[parent].number_sign = index,
            Edge::Literal { parent, hash } => {
                self.edges.insert(hash, index);
                let above = &mut self.nodes[parent];
                above.literal_count += 1;
                above.literal_xor ^= index;
            }
        }
    }

    fn detach(&mut self, index: u32) {
        match self.edge_of(index) {
            Edge::Plus(parent) => self.nodes[parent].plus = NONE,
            Edge::NumberSign(parent) => self.nodes[parent].number_sign = NONE,
            Edge::Literal { parent, hash } => {
                self.edges.remove(hash, index);
                let above = &mut self.nodes[parent];
                above.literal_count -= 1;
                above.literal_xor ^= index;
            }
        }
    }

    /// Makes `new` known to the parent of `old` in its place. The labels of both begin alike.
    fn replace_child(&mut self, old: u32, new: u32) {
        match self.edge_of(old) {
            Edge::Plus(parent) => self.nodes[parent].plus = new,
            Edge::NumberSign(parent) => self.nodes[parent].number_sign = new,
            Edge::Literal { parent, hash } => {
                self.edges.replace(hash, old, new);
                self.nodes[parent].literal_xor ^= old ^ new;
            }
        }
    }

    fn edge_of(&self, index: u32) -> Edge {
        let node = &self.nodes[index];
        let parent = node.parent;
        match first_level(node.label.as_bytes()) {
            b"+" => Edge::Plus(parent),
            b"#" => Edge::NumberSign(parent),
            level => {
                let hash = self.hasher.edge(parent, self.hasher.text(level));
                Edge::Literal { parent, hash }
            }
        }
    }
}

/// Where a node hangs on its parent.
enum Edge {
    Plus(u32),
    NumberSign(u32),
    Literal { parent: u32, hash: u32 },
}
