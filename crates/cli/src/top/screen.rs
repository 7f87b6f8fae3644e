//! What the user has chosen to see, and what keys do: a state machine, without terminal and clock.

use ratatui_crossterm::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

use super::field::Field;
use super::form::{Form, FormStep};
use super::model::Model;
use super::rows::{Mark, Opened, Order, Row, Search, rows};
use super::tree::{NodeId, Tree};

/// What is on the screen.
#[derive(Debug, Default)]
pub(crate) struct Screen {
    pub(crate) mode: Mode,
    pub(crate) order: Order,
    opened: Opened,
    pub(crate) search: Search,
    pub(crate) query: Field,
    /// Whether the first that is found is to be selected.
    seeks: bool,
    pub(crate) selected: Option<NodeId>,
    /// The rows that were drawn last.
    pub(crate) rows: Vec<Row>,
    /// The first of them that is seen.
    pub(crate) first: usize,
    /// How many are seen at once.
    height: usize,
    /// The first line of the message that is seen.
    pub(crate) message_first: usize,
    /// Whether the message has the whole screen.
    pub(crate) is_message_large: bool,
}

/// What keys are for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum Mode {
    #[default]
    Browse,
    Search,
    Publish(Form),
    /// Asks whether the retained message of this topic is to be removed.
    Remove(String),
    Help,
}

/// What is to be done beside the screen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    Nothing,
    Publish(Form),
    /// Removes the retained message of a topic.
    Remove(String),
    Quit,
}

impl Screen {
    /// Computes the rows for a tree that is `height` rows high, and keeps the selected one in sight.
    pub(crate) fn lay_out(&mut self, tree: &Tree, height: usize) {
        self.height = height;
        self.search.update(tree, self.query.text());
        self.rows = rows(tree, &self.opened, &self.search, self.order, height);
        if std::mem::take(&mut self.seeks) && self.search.is_active() {
            let found = self.rows.iter().find(|row| self.search.has(tree, row.id));
            self.select(found.map(|row| row.id));
        }
        let at = self.selected_row(tree);
        self.selected = self.rows.get(at).map(|row| row.id);
        let last_first = self.rows.len().saturating_sub(height);
        self.first = self.first.min(at).max((at + 1).saturating_sub(height)).min(last_first);
    }

    /// Returns the row of the selected level; of one above it that is shown, if it is not.
    fn selected_row(&self, tree: &Tree) -> usize {
        let mut at = self.selected;
        while let Some(id) = at {
            if let Some(row) = self.rows.iter().position(|row| row.id == id) {
                return row;
            }
            at = tree.parent(id);
        }
        0
    }

    /// Obeys a key.
    pub(crate) fn on_key(&mut self, key: KeyEvent, model: &Model) -> Action {
        let action = self.obey(key, model);
        // The next key may come before the next picture.
        self.lay_out(&model.tree, self.height);
        action
    }

    fn obey(&mut self, key: KeyEvent, model: &Model) -> Action {
        if key.code == KeyCode::Char('c') && key.modifiers.contains(KeyModifiers::CONTROL) {
            return Action::Quit;
        }
        match &mut self.mode {
            Mode::Browse => return self.browse(key, model),
            Mode::Search => self.on_search_key(key, &model.tree),
            Mode::Publish(form) => match form.on_key(key) {
                FormStep::Open => {}
                FormStep::Cancelled => self.mode = Mode::Browse,
                FormStep::Done => {
                    let form = form.clone();
                    self.mode = Mode::Browse;
                    return Action::Publish(form);
                }
            },
            Mode::Remove(topic) => {
                let topic = std::mem::take(topic);
                self.mode = Mode::Browse;
                if key.code == KeyCode::Char('y') {
                    return Action::Remove(topic);
                }
            }
            Mode::Help => self.mode = Mode::Browse,
        }
        Action::Nothing
    }

    /// Takes what was pasted.
    pub(crate) fn on_paste(&mut self, text: &str) {
        match &mut self.mode {
            Mode::Search => {
                self.query.paste(text);
                self.seeks = true;
            }
            Mode::Publish(form) => form.paste(text),
            Mode::Browse | Mode::Remove(_) | Mode::Help => {}
        }
    }

    fn browse(&mut self, key: KeyEvent, model: &Model) -> Action {
        let tree = &model.tree;
        match key.code {
            KeyCode::Char('q') if !self.is_message_large => return Action::Quit,
            KeyCode::Char('q') | KeyCode::Esc if self.is_message_large => {
                self.is_message_large = false;
            }
            KeyCode::Esc => self.end_search(tree),
            KeyCode::Char('?') | KeyCode::F(1) => self.mode = Mode::Help,
            KeyCode::Char('/') => self.mode = Mode::Search,
            KeyCode::Char('s') => self.order = self.order.next(),
            KeyCode::Char('p') => self.mode = Mode::Publish(self.new_form(tree)),
            KeyCode::Char('x') => self.ask_to_remove(tree),
            KeyCode::Enter | KeyCode::Tab => self.is_message_large = !self.is_message_large,
            KeyCode::Char('J') => self.message_first = self.message_first.saturating_add(1),
            KeyCode::Char('K') => self.message_first = self.message_first.saturating_sub(1),
            // The rest moves; in a message that has the screen it moves there.
            code if self.is_message_large => self.scroll_message(code),
            code => self.move_in_tree(code, tree),
        }
        Action::Nothing
    }

    fn scroll_message(&mut self, code: KeyCode) {
        let page = self.height.max(2) - 1;
        self.message_first = match code {
            KeyCode::Up | KeyCode::Char('k') => self.message_first.saturating_sub(1),
            KeyCode::Down | KeyCode::Char('j') => self.message_first.saturating_add(1),
            KeyCode::PageUp => self.message_first.saturating_sub(page),
            KeyCode::PageDown | KeyCode::Char(' ') => self.message_first.saturating_add(page),
            KeyCode::Home | KeyCode::Char('g') => 0,
            // The view stops at the last line.
            KeyCode::End | KeyCode::Char('G') => usize::MAX,
            _ => return,
        };
    }

    fn move_in_tree(&mut self, code: KeyCode, tree: &Tree) {
        let page = self.height.max(2) - 1;
        let at = self.selected_row(tree);
        let to = match code {
            KeyCode::Up | KeyCode::Char('k') => at.saturating_sub(1),
            KeyCode::Down | KeyCode::Char('j') => at + 1,
            KeyCode::PageUp => at.saturating_sub(page),
            KeyCode::PageDown => at + page,
            KeyCode::Home | KeyCode::Char('g') => 0,
            KeyCode::End | KeyCode::Char('G') => usize::MAX,
            KeyCode::Left | KeyCode::Char('h') => return self.leave(at, tree),
            KeyCode::Right | KeyCode::Char('l') => return self.enter(at, tree),
            KeyCode::Char(' ') => return self.toggle(at, tree),
            KeyCode::Char('e') => return self.open_below(at, tree),
            KeyCode::Char('c') => return self.close_all(tree),
            _ => return,
        };
        self.select(self.rows.get(to.min(self.rows.len().saturating_sub(1))).map(|row| row.id));
    }

    fn select(&mut self, id: Option<NodeId>) {
        if self.selected != id {
            self.selected = id;
            self.message_first = 0;
        }
    }

    /// Closes the level, or goes to the one above.
    fn leave(&mut self, at: usize, tree: &Tree) {
        let Some(&Row { id, mark }) = self.rows.get(at) else { return };
        if mark == Mark::Open && !self.search.is_active() {
            self.opened.chosen(tree, self.height).remove(&id);
        } else if let Some(parent) = tree.parent(id) {
            self.select(Some(parent));
        }
    }

    /// Opens the level, or goes to the first below it.
    fn enter(&mut self, at: usize, tree: &Tree) {
        let Some(&Row { id, mark }) = self.rows.get(at) else { return };
        match mark {
            Mark::Closed => {
                self.opened.chosen(tree, self.height).insert(id);
            }
            Mark::Open => self.select(self.rows.get(at + 1).map(|row| row.id)),
            Mark::Leaf => {}
        }
    }

    fn toggle(&mut self, at: usize, tree: &Tree) {
        let Some(&Row { id, mark }) = self.rows.get(at) else { return };
        let chosen = self.opened.chosen(tree, self.height);
        match mark {
            Mark::Closed => drop(chosen.insert(id)),
            Mark::Open => drop(chosen.remove(&id)),
            Mark::Leaf => {}
        }
    }

    fn open_below(&mut self, at: usize, tree: &Tree) {
        let Some(&Row { id, .. }) = self.rows.get(at) else { return };
        let chosen = self.opened.chosen(tree, self.height);
        let mut pending = vec![id];
        while let Some(id) = pending.pop() {
            if !tree.children(id).is_empty() {
                chosen.insert(id);
                pending.extend(tree.children(id));
            }
        }
    }

    fn close_all(&mut self, tree: &Tree) {
        self.opened.chosen(tree, self.height).clear();
    }

    fn on_search_key(&mut self, key: KeyEvent, tree: &Tree) {
        match key.code {
            KeyCode::Enter => self.mode = Mode::Browse,
            KeyCode::Esc => {
                self.mode = Mode::Browse;
                self.end_search(tree);
            }
            KeyCode::Up | KeyCode::Down | KeyCode::PageUp | KeyCode::PageDown => {
                self.move_in_tree(key.code, tree);
            }
            _ => self.seeks |= self.query.on_key(key),
        }
    }

    /// Shows the whole tree again, and in it what was selected.
    fn end_search(&mut self, tree: &Tree) {
        if self.query.text().is_empty() {
            return;
        }
        self.query = Field::default();
        let chosen = self.opened.chosen(tree, self.height);
        let mut at = self.selected.and_then(|id| tree.parent(id));
        while let Some(id) = at {
            chosen.insert(id);
            at = tree.parent(id);
        }
    }

    fn new_form(&self, tree: &Tree) -> Form {
        Form::new(self.selected.map(|id| tree.topic(id)).unwrap_or_default())
    }

    fn ask_to_remove(&mut self, tree: &Tree) {
        if let Some(id) = self.selected.filter(|&id| tree[id].is_topic()) {
            self.mode = Mode::Remove(tree.topic(id));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::super::testing::message;
    use super::*;

    #[test]
    fn arrows_walk_the_tree() {
        let mut bench = Bench::new(&["a/x/1", "a/x/2", "b"]);
        // All fits, so all is open.
        bench.check("", "a");
        bench.check("jj", "a/x/1");
        bench.check("h", "a/x");
        bench.check("h", "a/x");
        assert_eq!(bench.screen.rows.len(), 3, "it was closed");
        bench.check("h", "a");
        bench.check("l", "a/x");
        bench.check("l", "a/x");
        bench.check("l", "a/x/1");
        bench.check("G", "b");
        bench.check("g", "a");
        bench.check("kk", "a");
        bench.check("jjjjjjjjjjjj", "b");
    }

    #[test]
    fn levels_are_opened_and_closed_together() {
        let mut bench = Bench::new(&["a/x/1", "a/x/2", "b"]);
        bench.check("jjc", "a");
        assert_eq!(bench.screen.rows.len(), 2);
        bench.check("e", "a");
        assert_eq!(bench.screen.rows.len(), 5);
        bench.check("j ", "a/x");
        assert_eq!(bench.screen.rows.len(), 3);
    }

    #[test]
    fn the_selected_row_is_in_sight() {
        let topics: Vec<String> = (0..100).map(|number| format!("{number:02}")).collect();
        let topics: Vec<&str> = topics.iter().map(|it| &**it).collect();
        let mut bench = Bench::new(&topics);
        bench.check("G", "99");
        assert_eq!(bench.screen.first, 90);
        for _ in 0..5 {
            bench.check("k", &bench.topic_before());
        }
        assert_eq!(bench.screen.first, 90);
        bench.press(KeyCode::PageUp);
        assert_eq!((bench.selected(), bench.screen.first), ("85".to_owned(), 85));
    }

    #[test]
    fn search_selects_among_what_it_finds() {
        let mut bench = Bench::new(&["a/x", "b/x", "c"]);
        bench.check("/x", "a/x");
        assert_eq!(bench.screen.mode, Mode::Search);
        bench.press(KeyCode::Down);
        bench.press(KeyCode::Down);
        bench.press(KeyCode::Enter);
        assert_eq!((&bench.screen.mode, bench.screen.rows.len()), (&Mode::Browse, 4));
        bench.check("j", "b/x");
        bench.press(KeyCode::Esc);
        assert_eq!((bench.selected(), bench.screen.rows.len()), ("b/x".to_owned(), 5));
    }

    #[test]
    fn what_was_found_stays_in_sight() {
        let topics: Vec<String> = (0..30).map(|number| format!("a/b/c/{number:02}")).collect();
        let topics: Vec<&str> = topics.iter().map(|it| &**it).collect();
        let mut bench = Bench::new(&topics);
        bench.check("c", "a");
        bench.check("/17", "a/b/c/17");
        bench.press(KeyCode::Esc);
        assert_eq!((bench.selected(), bench.screen.rows.len()), ("a/b/c/17".to_owned(), 33));
    }

    #[test]
    fn q_leaves_what_is_on_top() {
        let mut bench = Bench::new(&["a"]);
        bench.press(KeyCode::Enter);
        assert!(bench.screen.is_message_large);
        assert_eq!(bench.press(KeyCode::Char('q')), Action::Nothing);
        assert!(!bench.screen.is_message_large);
        assert_eq!(bench.press(KeyCode::Char('?')), Action::Nothing);
        assert_eq!(bench.press(KeyCode::Char('q')), Action::Nothing);
        assert_eq!(bench.press(KeyCode::Char('q')), Action::Quit);
        bench.press(KeyCode::Char('/'));
        let control_c = KeyEvent::new(KeyCode::Char('c'), KeyModifiers::CONTROL);
        assert_eq!(bench.screen.on_key(control_c, &bench.model), Action::Quit);
    }

    #[test]
    fn a_retained_message_is_removed_after_a_question() {
        let mut bench = Bench::new(&["a/x"]);
        // There is no topic that ends here.
        bench.check("x", "a");
        assert_eq!(bench.screen.mode, Mode::Browse);
        bench.check("jxn", "a/x");
        assert_eq!(bench.screen.mode, Mode::Browse);
        bench.check("x", "a/x");
        assert_eq!(bench.press(KeyCode::Char('y')), Action::Remove("a/x".to_owned()));
    }

    #[test]
    fn a_new_message_is_for_the_selected_topic() {
        let mut bench = Bench::new(&["a/x"]);
        bench.check("jp", "a/x");
        assert_eq!(bench.screen.mode, Mode::Publish(Form::new("a/x".to_owned())));
        bench.press(KeyCode::Esc);
        assert_eq!(bench.screen.mode, Mode::Browse);
    }

    #[test]
    fn nothing_is_there_to_be_moved_in() {
        let mut bench = Bench::new(&[]);
        for key in "jkhlgGe cxs".chars() {
            assert_eq!(bench.press(KeyCode::Char(key)), Action::Nothing);
        }
        assert_eq!(bench.screen.selected, None);
    }

    /// A screen for ten rows.
    struct Bench {
        screen: Screen,
        model: Model,
    }

    impl Bench {
        fn new(topics: &[&str]) -> Self {
            let now = Instant::now();
            let mut model = Model::new(1_000, now);
            topics.iter().for_each(|topic| model.note(&message(topic, ""), now));
            let mut screen = Screen::default();
            screen.lay_out(&model.tree, 10);
            Self { screen, model }
        }

        fn press(&mut self, code: KeyCode) -> Action {
            let action = self.screen.on_key(code.into(), &self.model);
            self.screen.lay_out(&self.model.tree, 10);
            action
        }

        fn selected(&self) -> String {
            self.screen.selected.map(|id| self.model.tree.topic(id)).unwrap_or_default()
        }

        fn topic_before(&self) -> String {
            let number: u32 = self.selected().parse().expect("topics are numbers");
            format!("{:02}", number - 1)
        }

        #[track_caller]
        fn check(&mut self, keys: &str, selected: &str) {
            keys.chars().for_each(|it| drop(self.press(KeyCode::Char(it))));
            assert_eq!(self.selected(), selected, "after {keys}");
        }
    }
}
