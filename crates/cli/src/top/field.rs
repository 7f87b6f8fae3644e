//! A line of text that is being written.

use ratatui_crossterm::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

/// A line of text with a cursor.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Field {
    text: String,
    /// A boundary of characters in the text.
    cursor: usize,
}

impl Field {
    /// Returns a field with the cursor behind `text`.
    pub(crate) fn new(text: impl Into<String>) -> Self {
        let text = text.into();
        Self { cursor: text.len(), text }
    }

    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    /// Returns what is before the cursor and what is behind it.
    pub(crate) fn split(&self) -> (&str, &str) {
        self.text.split_at(self.cursor)
    }

    /// Obeys a key, if it is one for lines of text.
    pub(crate) fn on_key(&mut self, key: KeyEvent) -> bool {
        let is_control = key.modifiers.contains(KeyModifiers::CONTROL);
        match key.code {
            KeyCode::Char('a') if is_control => self.cursor = 0,
            KeyCode::Char('e') if is_control => self.cursor = self.text.len(),
            KeyCode::Char('u') if is_control => {
                self.text.drain(..self.cursor);
                self.cursor = 0;
            }
            KeyCode::Char('k') if is_control => self.text.truncate(self.cursor),
            KeyCode::Char('w') if is_control => self.delete_word(),
            KeyCode::Char(_) if is_control || key.modifiers.contains(KeyModifiers::ALT) => {
                return false;
            }
            KeyCode::Char(letter) => self.insert(letter),
            KeyCode::Backspace => {
                let from = self.before();
                self.text.drain(from..self.cursor);
                self.cursor = from;
            }
            KeyCode::Delete => drop(self.text.drain(self.cursor..self.behind())),
            KeyCode::Left => self.cursor = self.before(),
            KeyCode::Right => self.cursor = self.behind(),
            KeyCode::Home => self.cursor = 0,
            KeyCode::End => self.cursor = self.text.len(),
            _ => return false,
        }
        true
    }

    /// Inserts what was pasted, as one line.
    pub(crate) fn paste(&mut self, text: &str) {
        text.chars().for_each(|it| self.insert(if it.is_control() { ' ' } else { it }));
    }

    fn insert(&mut self, letter: char) {
        if self.text.len() + letter.len_utf8() <= TEXT_BYTES_MAX {
            self.text.insert(self.cursor, letter);
            self.cursor += letter.len_utf8();
        }
    }

    fn delete_word(&mut self) {
        let before = self.text[..self.cursor].trim_end_matches(is_break);
        let from = before.rfind(is_break).map_or(0, |at| at + 1);
        self.text.drain(from..self.cursor);
        self.cursor = from;
    }

    fn before(&self) -> usize {
        self.text[..self.cursor].char_indices().next_back().map_or(0, |(at, _)| at)
    }

    fn behind(&self) -> usize {
        self.text[self.cursor..]
            .chars()
            .next()
            .map_or(self.cursor, |it| self.cursor + it.len_utf8())
    }
}

/// Levels of topics are words.
fn is_break(letter: char) -> bool {
    matches!(letter, ' ' | '/')
}

/// The longest topic of MQTT.
const TEXT_BYTES_MAX: usize = 65_535;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_edited_where_the_cursor_is() {
        check("ab", &[KeyCode::Left, KeyCode::Char('x')], "ax", "b");
        check("äö", &[KeyCode::Backspace], "ä", "");
        check("äö", &[KeyCode::Home, KeyCode::Delete], "", "ö");
        check("ä", &[KeyCode::Left, KeyCode::Left, KeyCode::Right, KeyCode::Right], "ä", "");
        check("", &[KeyCode::Backspace, KeyCode::Delete, KeyCode::End], "", "");
    }

    #[test]
    fn control_keys_are_those_of_a_shell() {
        for (letter, before, behind) in
            [('a', "", "a/bc d"), ('u', "", ""), ('w', "a/bc ", ""), ('e', "a/bc d", "")]
        {
            let mut field = Field::new("a/bc d");
            assert!(field.on_key(control(letter)));
            assert_eq!(field.split(), (before, behind), "{letter}");
        }
        let mut field = Field::new("a/bc");
        field.on_key(control('w'));
        assert_eq!(field.text(), "a/");
        field.on_key(control('w'));
        assert_eq!(field.text(), "");
        assert!(!field.on_key(control('c')));
    }

    #[test]
    fn what_is_pasted_is_one_line_and_has_an_end() {
        let mut field = Field::default();
        field.paste("a\nb\x1b[2J");
        assert_eq!(field.text(), "a b [2J");
        field.paste(&"x".repeat(100_000));
        assert_eq!(field.text().len(), TEXT_BYTES_MAX);
    }

    fn control(letter: char) -> KeyEvent {
        KeyEvent::new(KeyCode::Char(letter), KeyModifiers::CONTROL)
    }

    #[track_caller]
    fn check(text: &str, keys: &[KeyCode], before: &str, behind: &str) {
        let mut field = Field::new(text);
        keys.iter().for_each(|&key| assert!(field.on_key(key.into()), "{key:?}"));
        assert_eq!(field.split(), (before, behind), "{text} {keys:?}");
    }
}
