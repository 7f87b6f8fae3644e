//! The rows of the tree: which levels are shown, in which order.

use std::collections::HashSet;

use super::tree::{Node, NodeId, Tree};

/// A row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Row {
    pub(crate) id: NodeId,
    pub(crate) mark: Mark,
}

/// What is before a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mark {
    /// There is nothing below.
    Leaf,
    Closed,
    Open,
}

/// The order of levels that are below the same one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Order {
    #[default]
    Name,
    /// Most messages a second first.
    Messages,
    /// Most bytes a second first.
    Bytes,
    /// The newest first.
    Age,
}

/// Which levels are open.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum Opened {
    /// As many whole layers as fit on the screen: nobody has chosen.
    #[default]
    Automatic,
    Chosen(HashSet<NodeId>),
}

/// What is searched for, and which levels have it in their topic or below.
#[derive(Debug, Default)]
pub(crate) struct Search {
    query: String,
    /// By node; as many as have been looked at.
    found: Vec<bool>,
    /// How many topics have it.
    pub(crate) hits: usize,
}

impl Order {
    pub(crate) fn next(self) -> Self {
        match self {
            Self::Name => Self::Messages,
            Self::Messages => Self::Bytes,
            Self::Bytes => Self::Age,
            Self::Age => Self::Name,
        }
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Name => "name",
            Self::Messages => "messages/s",
            Self::Bytes => "bytes/s",
            Self::Age => "age",
        }
    }

    fn sort(self, tree: &Tree, ids: &mut [NodeId]) {
        let falling = |ids: &mut [NodeId], key: fn(&Node) -> f64| {
            // Stable, so that names decide what is equal.
            ids.sort_by(|left, right| key(&tree[*right]).total_cmp(&key(&tree[*left])));
        };
        match self {
            Self::Name => {}
            Self::Messages => falling(ids, |node| node.total.message_rate),
            Self::Bytes => falling(ids, |node| node.total.byte_rate),
            Self::Age => ids.sort_by_key(|&id| std::cmp::Reverse(tree[id].last)),
        }
    }
}

impl Search {
    /// Looks at what is new, or at everything for another `query`. Case does not matter.
    pub(crate) fn update(&mut self, tree: &Tree, query: &str) {
        let query = query.to_lowercase();
        if self.query != query {
            *self = Self { query, ..Self::default() };
        }
        if self.query.is_empty() {
            return;
        }
        let before = self.found.len();
        self.found.resize(tree.len(), false);
        for id in tree.ids().skip(before.saturating_sub(1)) {
            if !self.has(tree, id) {
                continue;
            }
            self.hits += usize::from(tree[id].is_topic());
            let mut at = Some(id);
            while let Some(id) = at.filter(|id| !self.found[id.index()]) {
                self.found[id.index()] = true;
                at = tree.parent(id);
            }
        }
    }

    pub(crate) fn is_active(&self) -> bool {
        !self.query.is_empty()
    }

    /// Returns whether the topic of a level has what is searched for.
    pub(crate) fn has(&self, tree: &Tree, id: NodeId) -> bool {
        tree.topic(id).to_lowercase().contains(&self.query)
    }

    fn shows(&self, id: NodeId) -> bool {
        !self.is_active() || self.found.get(id.index()).copied().unwrap_or(false)
    }
}

impl Opened {
    /// Returns which levels are open on a screen with `height` rows, for them to be changed.
    pub(crate) fn chosen(&mut self, tree: &Tree, height: usize) -> &mut HashSet<NodeId> {
        if let Self::Automatic = self {
            let depth = automatic_depth(tree, height);
            let ids = tree.ids();
            *self = Self::Chosen(ids.filter(|&id| is_opened_by_itself(tree, id, depth)).collect());
        }
        match self {
            Self::Chosen(open) => open,
            Self::Automatic => unreachable!("it was chosen above"),
        }
    }
}

/// Returns the rows, of which `height` are seen at once.
pub(crate) fn rows(
    tree: &Tree,
    opened: &Opened,
    search: &Search,
    order: Order,
    height: usize,
) -> Vec<Row> {
    let depth = automatic_depth(tree, height);
    let is_open = |id| match opened {
        // What is found is shown.
        _ if search.is_active() => true,
        Opened::Automatic => is_opened_by_itself(tree, id, depth),
        Opened::Chosen(open) => open.contains(&id),
    };
    let mut rows = Vec::new();
    let mut pending = Vec::new();
    let descend = |id, pending: &mut Vec<NodeId>| {
        let mut ids: Vec<NodeId> =
            tree.children(id).iter().copied().filter(|&id| search.shows(id)).collect();
        order.sort(tree, &mut ids);
        // What brokers say of themselves comes last.
        ids.sort_by_key(|&id| tree.is_about_the_broker(id));
        pending.extend(ids.into_iter().rev());
    };
    descend(NodeId::ROOT, &mut pending);
    while let Some(id) = pending.pop() {
        let mark = match (tree.children(id).is_empty(), is_open(id)) {
            (true, _) => Mark::Leaf,
            (false, false) => Mark::Closed,
            (false, true) => Mark::Open,
        };
        rows.push(Row { id, mark });
        if mark == Mark::Open {
            descend(id, &mut pending);
        }
    }
    rows
}

/// Returns whether a level is open until someone chooses.
fn is_opened_by_itself(tree: &Tree, id: NodeId, depth: u16) -> bool {
    tree[id].depth < depth && !tree.is_about_the_broker(id)
}

/// Returns how many layers may be open so that all rows fit into `height`.
fn automatic_depth(tree: &Tree, height: usize) -> u16 {
    let mut rows = 0;
    let fitting = tree.depth_counts().iter().take_while(|&&count| {
        rows += count;
        rows <= height
    });
    // The layer that fits last is shown, not open.
    u16::try_from(fitting.count().saturating_sub(1)).unwrap_or(u16::MAX)
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::super::testing::message;
    use super::*;

    const TOPICS: [&str; 5] = ["a/x/1", "a/x/2", "a/y", "b", "c/z/Zeta"];

    #[test]
    fn as_many_layers_are_open_as_fit() {
        check(Opened::Automatic, "", 2, "+a b +c");
        check(Opened::Automatic, "", 3, "+a b +c");
        check(Opened::Automatic, "", 6, "-a +x y b -c +z");
        check(Opened::Automatic, "", 8, "-a +x y b -c +z");
        check(Opened::Automatic, "", 9, "-a -x 1 2 y b -c -z Zeta");
    }

    #[test]
    fn what_was_chosen_stays() {
        let tree = tree();
        let mut opened = Opened::Automatic;
        let a = tree.ids().find(|&id| tree.topic(id) == "a").expect("it is there");
        opened.chosen(&tree, 6).remove(&a);
        check(opened, "", 100, "+a b -c +z");
    }

    #[test]
    fn search_opens_what_it_finds() {
        check(Opened::Automatic, "zeta", 2, "-c -z Zeta");
        check(Opened::Automatic, "A/X", 2, "-a -x 1 2");
        check(Opened::Automatic, "y", 2, "-a y");
        check(Opened::Automatic, "nothing", 2, "");
        let (mut tree, mut search) = (tree(), Search::default());
        search.update(&tree, "new");
        tree.note(&message("b/new", ""), Instant::now()).expect("there is room");
        search.update(&tree, "new");
        assert_eq!(search.hits, 1);
        let rows = rows(&tree, &Opened::Automatic, &search, Order::Name, 10);
        assert_eq!(rows.len(), 2);
    }

    #[test]
    fn rates_order_levels_of_the_same_parent() {
        let mut tree = tree();
        let now = Instant::now() + Duration::from_secs(1);
        for topic in ["a/y", "c/z/Zeta", "c/z/Zeta"] {
            tree.note(&message(topic, "123"), now).expect("there is room");
        }
        tree.tick(1.0);
        let all = Opened::Chosen(tree.ids().collect());
        for (order, expected) in [
            (Order::Messages, "-a -x 1 2 y -c -z Zeta b"),
            (Order::Bytes, "-c -z Zeta -a y -x 1 2 b"),
        ] {
            let rows = rows(&tree, &all, &Search::default(), order, 100);
            assert_eq!(words(&tree, &rows), expected, "{order:?}");
        }
    }

    fn tree() -> Tree {
        let mut tree = Tree::new(100);
        for topic in TOPICS {
            tree.note(&message(topic, ""), Instant::now()).expect("there is room");
        }
        tree
    }

    #[track_caller]
    fn check(opened: Opened, query: &str, height: usize, expected: &str) {
        let (tree, mut search) = (tree(), Search::default());
        search.update(&tree, query);
        let rows = rows(&tree, &opened, &search, Order::Name, height);
        assert_eq!(words(&tree, &rows), expected, "{query:?} at {height}");
    }

    fn words(tree: &Tree, rows: &[Row]) -> String {
        let word = |row: &Row| {
            let mark = match row.mark {
                Mark::Leaf => "",
                Mark::Closed => "+",
                Mark::Open => "-",
            };
            format!("{mark}{}", tree[row.id].name)
        };
        rows.iter().map(word).collect::<Vec<_>>().join(" ")
    }
}
