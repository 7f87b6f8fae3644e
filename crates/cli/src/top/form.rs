//! A message that is being written.

use quelea_codec::{QoS, is_valid_topic_name};
use ratatui_crossterm::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

use super::field::Field;

/// A message that is being written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Form {
    pub(crate) topic: Field,
    pub(crate) payload: Field,
    pub(crate) qos: QoS,
    pub(crate) retain: bool,
    pub(crate) at: Part,
}

/// A part of the form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    Topic,
    Payload,
    QoS,
    Retain,
}

/// What a key has led to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FormStep {
    Open,
    Cancelled,
    /// The message is to be published.
    Done,
}

impl Form {
    /// Returns a form for a message to `topic`; without one it begins there.
    pub(crate) fn new(topic: String) -> Self {
        let at = if topic.is_empty() { Part::Topic } else { Part::Payload };
        let (topic, payload) = (Field::new(topic), Field::default());
        Self { topic, payload, qos: QoS::AtMostOnce, retain: false, at }
    }

    /// Obeys a key.
    pub(crate) fn on_key(&mut self, key: KeyEvent) -> FormStep {
        let shift = key.modifiers.contains(KeyModifiers::SHIFT);
        match (key.code, self.at) {
            (KeyCode::Esc, _) => return FormStep::Cancelled,
            (KeyCode::Enter, _) if self.is_complete() => return FormStep::Done,
            (KeyCode::Enter, _) => self.at = Part::Topic,
            (KeyCode::Tab, _) if shift => self.at = self.at.before(),
            (KeyCode::BackTab | KeyCode::Up, _) => self.at = self.at.before(),
            (KeyCode::Tab | KeyCode::Down, _) => self.at = self.at.next(),
            (_, Part::Topic) => drop(self.topic.on_key(key)),
            (_, Part::Payload) => drop(self.payload.on_key(key)),
            (KeyCode::Char(digit @ '0'..='2'), Part::QoS) => {
                self.qos = QoS::from_byte(digit as u8 - b'0').unwrap_or(self.qos);
            }
            (KeyCode::Char(' ') | KeyCode::Right, Part::QoS) => {
                self.qos = QoS::from_byte(self.qos.to_byte() + 1).unwrap_or_default();
            }
            (KeyCode::Char(' ') | KeyCode::Left | KeyCode::Right, Part::Retain) => {
                self.retain = !self.retain;
            }
            _ => {}
        }
        FormStep::Open
    }

    /// Takes what was pasted.
    pub(crate) fn paste(&mut self, text: &str) {
        match self.at {
            Part::Topic => self.topic.paste(text),
            Part::Payload => self.payload.paste(text),
            Part::QoS | Part::Retain => {}
        }
    }

    pub(crate) fn qos_name(&self) -> &'static str {
        match self.qos {
            QoS::AtMostOnce => "QoS 0",
            QoS::AtLeastOnce => "QoS 1",
            QoS::ExactlyOnce => "QoS 2",
        }
    }

    pub(crate) fn retain_name(&self) -> &'static str {
        if self.retain { "retained" } else { "not retained" }
    }

    /// Returns whether the topic is one to publish to.
    pub(crate) fn is_complete(&self) -> bool {
        is_valid_topic_name(self.topic.text())
    }
}

impl Part {
    fn next(self) -> Self {
        match self {
            Self::Topic => Self::Payload,
            Self::Payload => Self::QoS,
            Self::QoS => Self::Retain,
            Self::Retain => Self::Topic,
        }
    }

    fn before(self) -> Self {
        self.next().next().next()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_written_part_by_part() {
        let mut form = Form::new(String::new());
        type_in(&mut form, "a/b");
        form.on_key(KeyCode::Tab.into());
        type_in(&mut form, "hi q?");
        form.on_key(KeyCode::Down.into());
        type_in(&mut form, "1");
        form.on_key(KeyCode::Tab.into());
        type_in(&mut form, " ");
        assert_eq!(form.on_key(KeyCode::Enter.into()), FormStep::Done);
        let Form { topic, payload, qos, retain, .. } = &form;
        assert_eq!((topic.text(), payload.text()), ("a/b", "hi q?"));
        assert_eq!((*qos, *retain), (QoS::AtLeastOnce, true));
        form.on_key(KeyCode::Tab.into());
        assert_eq!(form.at, Part::Topic);
        form.on_key(KeyCode::BackTab.into());
        assert_eq!(form.at, Part::Retain);
    }

    #[test]
    fn what_is_no_topic_is_not_published() {
        let mut form = Form::new("a/#".to_owned());
        assert_eq!(form.on_key(KeyCode::Enter.into()), FormStep::Open);
        assert_eq!(form.at, Part::Topic);
        assert_eq!(form.on_key(KeyCode::Esc.into()), FormStep::Cancelled);
    }

    #[test]
    fn qos_goes_round() {
        let mut form = Form { at: Part::QoS, ..Form::new("t".to_owned()) };
        let seen: Vec<u8> = (0..3)
            .map(|_| {
                form.on_key(KeyCode::Char(' ').into());
                form.qos.to_byte()
            })
            .collect();
        assert_eq!(seen, [1, 2, 0]);
    }

    fn type_in(form: &mut Form, text: &str) {
        for letter in text.chars() {
            assert_eq!(form.on_key(KeyCode::Char(letter).into()), FormStep::Open);
        }
    }
}
