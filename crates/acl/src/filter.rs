//! Sets of topics: whether one covers another, and whether two meet.
//!
//! Both are exact. A topic is a filter without wildcards, so that it matches a filter if that covers it.

/// The topics that a rule is about: a filter without placeholders.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Filter {
    text: Box<str>,
    /// A leading wildcard matches topics that begin with `$` too. No filter of a client does
    /// ([MQTT-4.7.2-1]), but a denial that had to be widened must.
    reaches_dollar: bool,
}

impl Filter {
    pub(crate) fn new(text: impl Into<Box<str>>) -> Self {
        Self { text: text.into(), reaches_dollar: false }
    }

    pub(crate) fn reaching_dollar(text: impl Into<Box<str>>) -> Self {
        Self { text: text.into(), reaches_dollar: true }
    }

    /// Tells whether every topic that `filter` matches is one of these. A topic is a filter too.
    pub(crate) fn covers(&self, filter: &str) -> bool {
        if self.skips_dollar() && filter.starts_with('$') {
            return false;
        }
        let mut wide = self.text.split('/');
        let mut narrow = filter.split('/');
        let mut is_first = true;
        loop {
            match (wide.next(), narrow.next()) {
                (Some("#"), _) | (None, None) => return true,
                // No topic is without a first level, so that `+/#` is the same as `#`.
                (Some("+"), Some("#")) => return is_first && wide.next() == Some("#"),
                (Some("+"), Some(_)) => {}
                (Some(level), Some(other)) if level == other => {}
                (_, _) => return false,
            }
            is_first = false;
        }
    }

    /// Tells whether there may be a topic that `filter` matches and that is one of these.
    pub(crate) fn meets(&self, filter: &str) -> bool {
        let skips = self.skips_dollar() && filter.starts_with('$');
        if skips || (starts_with_wildcard(filter) && self.text.starts_with('$')) {
            return false;
        }
        let (mut one, mut other) = (self.text.split('/'), filter.split('/'));
        loop {
            match (one.next(), other.next()) {
                (Some("#"), _) | (_, Some("#")) | (None, None) => return true,
                (Some("+"), Some(_)) | (Some(_), Some("+")) => {}
                (Some(level), Some(same)) if level == same => {}
                (_, _) => return false,
            }
        }
    }

    #[cfg(test)]
    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    fn skips_dollar(&self) -> bool {
        !self.reaches_dollar && starts_with_wildcard(&self.text)
    }
}

fn starts_with_wildcard(filter: &str) -> bool {
    filter.starts_with(['+', '#'])
}

#[cfg(test)]
mod tests {
    use quelea_topics::matches;

    use super::*;

    /// Every filter of up to three levels, with and without `#`, against every other. `z` is in no
    /// filter, and stands for all the topics that nobody thought of.
    #[test]
    fn covering_and_meeting_are_what_the_topics_say() {
        let topics = sequences(&["a", "", "$s", "z"], 5);
        let mut filters = sequences(&["a", "", "$s", "+"], 3);
        let parents: Vec<String> = filters.iter().map(|it| format!("{it}/#")).collect();
        filters.extend(parents);
        filters.push("#".to_owned());
        let hits: Vec<Vec<bool>> = filters
            .iter()
            .map(|filter| topics.iter().map(|topic| matches(filter, topic)).collect())
            .collect();
        for (one, ones) in filters.iter().zip(&hits) {
            let filter = Filter::new(one.as_str());
            for (topic, is_hit) in topics.iter().zip(ones) {
                assert_eq!(filter.covers(topic), *is_hit, "{one} and the topic {topic}");
            }
            for (other, others) in filters.iter().zip(&hits) {
                let mut pairs = ones.iter().zip(others);
                let covers = pairs.clone().all(|(ours, theirs)| *ours || !theirs);
                let meets = pairs.any(|(ours, theirs)| *ours && *theirs);
                assert_eq!(filter.covers(other), covers, "{one} covers {other}");
                assert_eq!(filter.meets(other), meets, "{one} meets {other}");
            }
        }
    }

    #[test]
    fn a_widened_filter_reaches_what_begins_with_a_dollar_sign() {
        let filter = Filter::reaching_dollar("+/a");
        assert!(filter.covers("$s/a") && filter.meets("$s/#") && filter.covers("b/a"));
        assert!(!filter.covers("$s/b") && !filter.meets("$s/b"));
    }

    /// Returns all topics of up to `depth` levels of an alphabet, but the empty one.
    fn sequences(alphabet: &[&str], depth: usize) -> Vec<String> {
        let mut all: Vec<String> = alphabet.iter().map(|it| (*it).to_owned()).collect();
        let mut last = all.clone();
        for _ in 1..depth {
            let longer = last
                .iter()
                .flat_map(|it| alphabet.iter().map(move |level| format!("{it}/{level}")));
            last = longer.collect();
            all.extend(last.iter().cloned());
        }
        all.retain(|it| !it.is_empty());
        all
    }
}
