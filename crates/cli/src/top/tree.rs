//! The topics that have been seen, as a tree, with what is counted of each.
//!
//! A message costs one look-up and its counters; what a level sums up of those below it is computed at each
//! [`tick`](Tree::tick). Nothing is ever removed, and everything has a limit: topics, levels of one, bytes of names, bytes
//! of values.

use std::collections::HashMap;
use std::time::Instant;

use quelea_codec::Publish;

use super::rate::Rate;
use super::value::{Value, ValueLimits};

/// A level in the tree.
#[derive(Clone, Copy, Debug, Hash, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct NodeId(u32);

/// All topics that have been seen.
#[derive(Debug)]
pub(crate) struct Tree {
    /// The root, which is no level, and then levels in the order in which they were seen: those above come first.
    nodes: Vec<Node>,
    by_topic: HashMap<Box<str>, NodeId>,
    /// How many levels there are at each depth, but below `$SYS` and the like.
    depth_counts: Vec<usize>,
    names_bytes: usize,
    values: ValueLimits,
    topics_max: usize,
}

/// A level of one topic or of several.
#[derive(Debug)]
pub(crate) struct Node {
    parent: NodeId,
    /// 0 for the first level of a topic.
    pub(crate) depth: u16,
    pub(crate) name: Box<str>,
    /// By name.
    children: Vec<NodeId>,
    /// What came to the topic that ends here; nothing if none has come.
    pub(crate) value: Option<Value>,
    /// When the last message came to it or below it.
    pub(crate) last: Option<Instant>,
    /// Of the topic that ends here.
    own: Counted,
    /// Of that and of all below, as of the last tick.
    pub(crate) total: Sum,
}

/// What is counted of a topic.
#[derive(Clone, Copy, Debug, Default)]
struct Counted {
    messages: u64,
    bytes: u64,
    /// Before the last tick.
    messages_before: u64,
    bytes_before: u64,
    message_rate: Rate,
    byte_rate: Rate,
}

/// What is known of a level and all below it.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Sum {
    pub(crate) topics: u32,
    pub(crate) messages: u64,
    pub(crate) bytes: u64,
    /// A second.
    pub(crate) message_rate: f64,
    /// A second.
    pub(crate) byte_rate: f64,
}

/// Why a message is not in the tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Full;

impl Tree {
    /// Returns a tree for up to `topics_max` topics.
    pub(crate) fn new(topics_max: usize) -> Self {
        let root = Node::new(NodeId::ROOT, 0, "");
        Self {
            nodes: vec![root],
            by_topic: HashMap::new(),
            depth_counts: Vec::new(),
            names_bytes: 0,
            values: ValueLimits::default(),
            topics_max,
        }
    }

    /// Takes in a message.
    pub(crate) fn note(&mut self, message: &Publish<'_>, now: Instant) -> Result<NodeId, Full> {
        let id = match self.by_topic.get(message.topic) {
            Some(&id) => id,
            None => self.add(message.topic).ok_or(Full)?,
        };
        let node = &mut self.nodes[id.index()];
        node.own.messages += 1;
        node.own.bytes += message.payload.len() as u64;
        node.last = Some(now);
        node.value.get_or_insert_default().set(message, now, &mut self.values);
        Ok(id)
    }

    /// Adds a topic, if there is room for it.
    fn add(&mut self, topic: &str) -> Option<NodeId> {
        // The topic is there as a key and as names.
        let names_bytes = self.names_bytes + 2 * topic.len();
        if self.by_topic.len() >= self.topics_max || names_bytes > NAMES_BYTES_MAX {
            return None;
        }
        let mut id = NodeId::ROOT;
        for name in topic.splitn(LEVELS_MAX, '/') {
            id = match self.child(id, name) {
                Ok(child) => child,
                Err(_) if self.nodes.len() > LEVELS_PER_TOPIC * self.topics_max => return None,
                Err(at) => self.add_child(id, at, name),
            };
        }
        self.names_bytes = names_bytes;
        self.by_topic.insert(topic.into(), id);
        Some(id)
    }

    fn add_child(&mut self, parent: NodeId, at: usize, name: &str) -> NodeId {
        let id = NodeId(self.nodes.len() as u32);
        let depth = if parent == NodeId::ROOT { 0 } else { self[parent].depth + 1 };
        self.nodes.push(Node::new(parent, depth, name));
        if self.depth_counts.len() <= depth.into() {
            self.depth_counts.push(0);
        }
        let is_hidden = depth > 0 && self.is_about_the_broker(self.first_level(id));
        self.depth_counts[usize::from(depth)] += usize::from(!is_hidden);
        self.nodes[parent.index()].children.insert(at, id);
        id
    }

    fn child(&self, parent: NodeId, name: &str) -> Result<NodeId, usize> {
        let children = &self[parent].children;
        children.binary_search_by(|it| (*self[*it].name).cmp(name)).map(|at| children[at])
    }

    /// Computes rates and sums, `secs` after the last time.
    pub(crate) fn tick(&mut self, secs: f64) {
        for node in &mut self.nodes {
            node.own.tick(secs);
            node.total = node.own.sum(node.value.is_some());
        }
        // Those below are behind those above.
        for index in (1..self.nodes.len()).rev() {
            let Node { total, last, parent, .. } = self.nodes[index];
            let parent = &mut self.nodes[parent.index()];
            parent.total.add(&total);
            parent.last = parent.last.max(last);
        }
    }

    /// Returns what is below a level, by name.
    pub(crate) fn children(&self, id: NodeId) -> &[NodeId] {
        &self[id].children
    }

    /// Returns the level above; nothing for a first one.
    pub(crate) fn parent(&self, id: NodeId) -> Option<NodeId> {
        Some(self[id].parent).filter(|&parent| parent != NodeId::ROOT)
    }

    /// Returns whether a level is the first one of topics such as `$SYS`.
    pub(crate) fn is_about_the_broker(&self, id: NodeId) -> bool {
        self[id].depth == 0 && self[id].name.starts_with('$')
    }

    fn first_level(&self, mut id: NodeId) -> NodeId {
        while let Some(parent) = self.parent(id) {
            id = parent;
        }
        id
    }

    /// Returns the whole name of a level.
    pub(crate) fn topic(&self, id: NodeId) -> String {
        let mut names = Vec::new();
        let mut at = Some(id).filter(|&id| id != NodeId::ROOT);
        while let Some(id) = at {
            names.push(&*self[id].name);
            at = self.parent(id);
        }
        names.reverse();
        names.join("/")
    }

    /// Returns the level of a topic, if it has been seen.
    #[cfg(test)]
    pub(crate) fn find(&self, topic: &str) -> Option<NodeId> {
        self.by_topic.get(topic).copied()
    }

    /// Returns all levels in the order in which they were seen: those above come first.
    pub(crate) fn ids(&self) -> impl DoubleEndedIterator<Item = NodeId> + use<> {
        (1..self.nodes.len() as u32).map(NodeId)
    }

    /// Returns how many levels there are, for tables beside the tree.
    pub(crate) fn len(&self) -> usize {
        self.nodes.len()
    }

    /// Returns how many levels there are at each depth, but below `$SYS` and the like.
    pub(crate) fn depth_counts(&self) -> &[usize] {
        &self.depth_counts
    }

    /// Returns how many topics have been seen.
    pub(crate) fn topic_count(&self) -> usize {
        self.by_topic.len()
    }
}

impl std::ops::Index<NodeId> for Tree {
    type Output = Node;

    fn index(&self, id: NodeId) -> &Node {
        &self.nodes[id.index()]
    }
}

impl NodeId {
    /// Above all first levels.
    pub(crate) const ROOT: Self = Self(0);

    pub(crate) fn index(self) -> usize {
        self.0 as usize
    }
}

impl Node {
    fn new(parent: NodeId, depth: u16, name: &str) -> Self {
        Self {
            parent,
            depth,
            name: name.into(),
            children: Vec::new(),
            value: None,
            last: None,
            own: Counted::default(),
            total: Sum::default(),
        }
    }

    /// Returns what is known of the topic that ends here alone.
    pub(crate) fn own_sum(&self) -> Sum {
        self.own.sum(self.is_topic())
    }

    /// Returns whether a topic ends here.
    pub(crate) fn is_topic(&self) -> bool {
        self.value.is_some()
    }

    /// Returns how many messages have come to the topic that ends here.
    pub(crate) fn messages(&self) -> u64 {
        self.own.messages
    }
}

impl Counted {
    fn tick(&mut self, secs: f64) {
        self.message_rate.tick(self.messages - self.messages_before, secs);
        self.byte_rate.tick(self.bytes - self.bytes_before, secs);
        (self.messages_before, self.bytes_before) = (self.messages, self.bytes);
    }

    fn sum(&self, is_topic: bool) -> Sum {
        Sum {
            topics: u32::from(is_topic),
            messages: self.messages,
            bytes: self.bytes,
            message_rate: self.message_rate.per_second(),
            byte_rate: self.byte_rate.per_second(),
        }
    }
}

impl Sum {
    fn add(&mut self, other: &Self) {
        self.topics += other.topics;
        self.messages += other.messages;
        self.bytes += other.bytes;
        self.message_rate += other.message_rate;
        self.byte_rate += other.byte_rate;
    }
}

/// Levels beyond are one: a topic can have 65,535.
const LEVELS_MAX: usize = 64;

/// Levels in all, for each topic that there is room for: topics share most of theirs.
const LEVELS_PER_TOPIC: usize = 4;

/// Bytes of names in all.
const NAMES_BYTES_MAX: usize = 32 << 20;

#[cfg(test)]
mod tests {
    use super::super::testing::message;
    use super::*;

    #[test]
    fn levels_sum_up_what_is_below() {
        let mut tree = Tree::new(10);
        let now = Instant::now();
        for (topic, payload) in [("a/b/c", "123"), ("a/b/c", "4"), ("a/b", "56"), ("z", "")] {
            tree.note(&message(topic, payload), now).expect("there is room");
        }
        tree.tick(2.0);
        let sum = |topic: &str| {
            let id = tree.ids().find(|&id| tree.topic(id) == topic).expect("it is there");
            let sum = tree[id].total;
            (sum.topics, sum.messages, sum.bytes, sum.message_rate)
        };
        assert_eq!(sum("a/b/c"), (1, 2, 4, 1.0));
        assert_eq!(sum("a/b"), (2, 3, 6, 1.5));
        assert_eq!(sum("a"), (2, 3, 6, 1.5));
        assert_eq!(tree[NodeId::ROOT].total.messages, 4);
        assert_eq!(tree[tree.find("z").expect("it is there")].last, Some(now));
        assert_eq!(tree.topic_count(), 3);
    }

    #[test]
    fn children_are_in_order_however_they_came() {
        let mut tree = Tree::new(10);
        for topic in ["c", "a/x", "b", "a"] {
            tree.note(&message(topic, ""), Instant::now()).expect("there is room");
        }
        let names: Vec<_> = tree.children(NodeId::ROOT).iter().map(|&id| &*tree[id].name).collect();
        assert_eq!(names, ["a", "b", "c"]);
        let deepest = tree.find("a/x").expect("it is there");
        assert_eq!(tree.parent(deepest), tree.find("a"));
        assert_eq!(tree.parent(tree.find("a").expect("it is there")), None);
    }

    #[test]
    fn a_full_tree_takes_no_more_topics() {
        let mut tree = Tree::new(2);
        let now = Instant::now();
        tree.note(&message("a", "1"), now).expect("there is room");
        tree.note(&message("b", "1"), now).expect("there is room");
        assert_eq!(tree.note(&message("c", "1"), now), Err(Full));
        // Those that are there go on.
        tree.note(&message("a", "2"), now).expect("it is there");
        assert_eq!(tree.topic_count(), 2);
    }

    #[test]
    fn names_are_bounded_in_levels_and_bytes() {
        let mut tree = Tree::new(1_000);
        let now = Instant::now();
        let deep = "/".repeat(65_535);
        let id = tree.note(&message(&deep, ""), now).expect("there is room");
        assert_eq!((tree.len(), tree.topic(id)), (LEVELS_MAX + 1, deep));
        let taken = (0..1_000)
            .take_while(|number| {
                let topic = format!("{number:04}{}", "x".repeat(65_000));
                tree.note(&message(&topic, ""), now).is_ok()
            })
            .count();
        assert!((200..300).contains(&taken), "{taken}");
    }

    #[test]
    fn levels_are_bounded_together() {
        let mut tree = Tree::new(100);
        let now = Instant::now();
        for number in 0..100 {
            let _ = tree.note(&message(&format!("{number}/a/b/c/d/e/f"), ""), now);
        }
        assert!(tree.topic_count() < 100 && tree.len() <= 4 * 100 + 1, "{}", tree.len());
    }
}
