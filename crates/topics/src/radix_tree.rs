//! Topics in order, as a radix tree over their bytes.
//!
//! A branch says at which byte the topics below it differ for the first time, and leads on by that byte; the text is
//! only in the leaves. So a topic costs a leaf and at most one branch, however long it is, and to find it takes one
//! comparison of text. The order is that of the bytes, except that the separator is the lowest of all, so that a topic
//! comes right before all that is below it. Nothing here recurses.

use crate::slab::{INDEX_END, Slab};

/// Values by topic.
#[derive(Debug)]
pub(crate) struct RadixTree<V> {
    leaves: Slab<Leaf<V>>,
    branches: Slab<Branch>,
    root: Option<Link>,
}

#[derive(Debug)]
struct Leaf<V> {
    topic: Box<str>,
    value: V,
}

#[derive(Debug)]
struct Branch {
    /// The first byte in which the topics below differ.
    position: u32,
    /// At least two, ascending.
    children: Box<[Child]>,
}

#[derive(Clone, Copy, Debug)]
struct Child {
    symbol: Symbol,
    link: Link,
}

/// A byte of a topic as the order sees it: the end of the topic first, then the separator, then all else.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Symbol(u8);

/// Index of a leaf, or of a branch with the highest bit set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Link(u32);

enum Target {
    Leaf(u32),
    Branch(u32),
}

/// A child of a branch, by its place there.
#[derive(Clone, Copy, Debug)]
struct Step {
    branch: u32,
    child: usize,
}

impl<V> RadixTree<V> {
    pub(crate) fn new() -> Self {
        Self { leaves: Slab::new(), branches: Slab::new(), root: None }
    }

    /// Sets the value of `topic` and returns the one it had.
    pub(crate) fn insert(&mut self, topic: &str, value: V) -> Option<V> {
        let Some(root) = self.root else {
            self.root = Some(self.add_leaf(topic, value));
            return None;
        };
        let relative = self.relative(root, topic);
        let Some(position) = difference(&self.leaves[relative].topic, topic) else {
            return Some(std::mem::replace(&mut self.leaves[relative].value, value));
        };
        // All topics that a branch further down leads to are alike up to there: the new one goes above it.
        let mut above = None;
        let mut link = root;
        while let Target::Branch(index) = link.target() {
            let branch = &self.branches[index];
            if branch.position as usize >= position {
                break;
            }
            let child = branch.child_at(Symbol::at(topic, branch.position as usize));
            let child = child.expect("the topic is like its relative up to here");
            link = branch.children[child].link;
            above = Some(Step { branch: index, child });
        }
        let child =
            Child { symbol: Symbol::at(topic, position), link: self.add_leaf(topic, value) };
        match link.target() {
            Target::Branch(index) if self.branches[index].position as usize == position => {
                self.branches[index].add(child);
            }
            Target::Branch(_) | Target::Leaf(_) => {
                let other =
                    Child { symbol: Symbol::at(&self.leaves[relative].topic, position), link };
                let branch = Branch::new(position, child, other);
                let branch = Link::branch(self.branches.insert(branch));
                self.set_link(above, branch);
            }
        }
        None
    }

    /// Removes `topic` and returns its value.
    pub(crate) fn remove(&mut self, topic: &str) -> Option<V> {
        let mut above = None;
        let mut place = None;
        let mut link = self.root?;
        while let Target::Branch(index) = link.target() {
            let branch = &self.branches[index];
            let child = branch.child_at(Symbol::at(topic, branch.position as usize))?;
            link = branch.children[child].link;
            above = place;
            place = Some(Step { branch: index, child });
        }
        let Target::Leaf(leaf) = link.target() else { unreachable!("the loop ends at a leaf") };
        if *self.leaves[leaf].topic != *topic {
            return None;
        }
        match place {
            None => self.root = None,
            Some(place) => {
                let branch = &mut self.branches[place.branch];
                branch.remove(place.child);
                if let [only] = *branch.children {
                    self.branches.remove(place.branch);
                    self.set_link(above, only.link);
                }
            }
        }
        Some(self.leaves.remove(leaf).value)
    }

    pub(crate) fn get(&self, topic: &str) -> Option<&V> {
        let leaf = &self.leaves[self.find(topic)?];
        Some(&leaf.value)
    }

    pub(crate) fn get_mut(&mut self, topic: &str) -> Option<&mut V> {
        let index = self.find(topic)?;
        Some(&mut self.leaves[index].value)
    }

    /// Returns a cursor that stands nowhere yet.
    pub(crate) fn cursor(&self) -> Cursor<'_, V> {
        Cursor { tree: self, path: Vec::new() }
    }

    fn find(&self, topic: &str) -> Option<u32> {
        let mut link = self.root?;
        loop {
            match link.target() {
                Target::Leaf(leaf) => {
                    return (*self.leaves[leaf].topic == *topic).then_some(leaf);
                }
                Target::Branch(index) => {
                    let branch = &self.branches[index];
                    let symbol = Symbol::at(topic, branch.position as usize);
                    link = branch.children[branch.child_at(symbol)?].link;
                }
            }
        }
    }

    /// Returns a leaf below `link` that has as much in common with `text` as any.
    ///
    /// Where a branch has nothing for `text`, all below it have the same in common with it: what leads there.
    fn relative(&self, mut link: Link, text: &str) -> u32 {
        loop {
            match link.target() {
                Target::Leaf(leaf) => return leaf,
                Target::Branch(index) => {
                    let branch = &self.branches[index];
                    let symbol = Symbol::at(text, branch.position as usize);
                    link = branch.children[branch.child_at(symbol).unwrap_or(0)].link;
                }
            }
        }
    }

    fn add_leaf(&mut self, topic: &str, value: V) -> Link {
        let topic = topic.into();
        Link::leaf(self.leaves.insert(Leaf { topic, value }))
    }

    /// Changes what a child is; the root when there is no branch.
    fn set_link(&mut self, place: Option<Step>, link: Link) {
        match place {
            None => self.root = Some(link),
            Some(Step { branch, child }) => self.branches[branch].children[child].link = link,
        }
    }
}

/// A place in the order of a tree.
#[derive(Debug)]
pub(crate) struct Cursor<'a, V> {
    tree: &'a RadixTree<V>,
    /// The way to the leaf where the cursor stands. As long as branches lie above one another: at most the bytes of a topic.
    path: Vec<Step>,
}

impl<'a, V> Cursor<'a, V> {
    /// Goes to the first topic that is not before `bound`.
    pub(crate) fn seek(&mut self, bound: &str) -> Option<(&'a str, &'a V)> {
        self.path.clear();
        let mut link = self.tree.root?;
        let relative = &self.tree.leaves[self.tree.relative(link, bound)];
        let position = difference(&relative.topic, bound);
        while let Target::Branch(index) = link.target() {
            let branch = &self.tree.branches[index];
            if position.is_some_and(|position| branch.position as usize > position) {
                break;
            }
            // Only at the difference is the child not there. The next one then begins behind the bound.
            let symbol = Symbol::at(bound, branch.position as usize);
            let child = branch.children.partition_point(|child| child.symbol < symbol);
            let Some(found) = branch.children.get(child) else {
                return self.next();
            };
            self.path.push(Step { branch: index, child });
            link = found.link;
            if found.symbol > symbol {
                return Some(self.first_below(link));
            }
        }
        // All below are like the relative at the difference: all before the bound, or all behind it.
        let is_before =
            |position| Symbol::at(&relative.topic, position) < Symbol::at(bound, position);
        if position.is_some_and(is_before) {
            return self.next();
        }
        Some(self.first_below(link))
    }

    /// Goes to the next topic.
    pub(crate) fn next(&mut self) -> Option<(&'a str, &'a V)> {
        while let Some(Step { branch, child }) = self.path.pop() {
            let child = child + 1;
            if let Some(found) = self.tree.branches[branch].children.get(child) {
                self.path.push(Step { branch, child });
                return Some(self.first_below(found.link));
            }
        }
        None
    }

    fn first_below(&mut self, mut link: Link) -> (&'a str, &'a V) {
        loop {
            match link.target() {
                Target::Leaf(leaf) => {
                    let leaf = &self.tree.leaves[leaf];
                    return (&leaf.topic, &leaf.value);
                }
                Target::Branch(branch) => {
                    self.path.push(Step { branch, child: 0 });
                    link = self.tree.branches[branch].children[0].link;
                }
            }
        }
    }
}

impl Branch {
    fn new(position: usize, one: Child, other: Child) -> Self {
        let mut children = Box::new([one, other]);
        children.sort_by_key(|child| child.symbol);
        Self {
            position: u32::try_from(position).expect("a topic has at most 65,535 bytes"),
            children,
        }
    }

    fn child_at(&self, symbol: Symbol) -> Option<usize> {
        self.children.iter().position(|child| child.symbol == symbol)
    }

    fn add(&mut self, child: Child) {
        let place = self.children.partition_point(|other| other.symbol < child.symbol);
        let (before, behind) = self.children.split_at(place);
        self.children = [before, &[child], behind].concat().into();
    }

    fn remove(&mut self, child: usize) {
        let (before, behind) = self.children.split_at(child);
        self.children = [before, &behind[1..]].concat().into();
    }
}

impl Symbol {
    /// UTF-8 has no bytes above 0xF4, so there is room for two more.
    fn at(text: &str, position: usize) -> Self {
        match text.as_bytes().get(position) {
            None => Self(0),
            Some(b'/') => Self(1),
            Some(byte) => Self(byte.saturating_add(2)),
        }
    }
}

impl Link {
    fn leaf(index: u32) -> Self {
        Self(index)
    }

    fn branch(index: u32) -> Self {
        Self(index | INDEX_END)
    }

    fn target(self) -> Target {
        if self.0 < INDEX_END { Target::Leaf(self.0) } else { Target::Branch(self.0 - INDEX_END) }
    }
}

/// Returns the first byte in which two texts differ, the end included; `None` when they are the same.
fn difference(one: &str, other: &str) -> Option<usize> {
    let pairs = one.bytes().zip(other.bytes());
    let alike = pairs.take_while(|(a, b)| a == b).count();
    (alike < one.len() || alike < other.len()).then_some(alike)
}
