//! Names with `*`, which stands for any text.

/// A name, or the names that a `*` makes of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Glob {
    text: Box<str>,
    has_stars: bool,
}

impl Glob {
    /// Makes a glob of `text`. Without a `*` it is a name, and every other character stands for itself.
    pub fn new(text: impl Into<Box<str>>) -> Self {
        let text = text.into();
        Self { has_stars: text.contains('*'), text }
    }

    /// Makes a name of `text`, in which a `*` is a `*`.
    pub fn literal(text: impl Into<Box<str>>) -> Self {
        Self { text: text.into(), has_stars: false }
    }

    /// Tells whether `name` is one of these. Takes time in proportion to the product of both lengths at most.
    pub fn matches(&self, name: &str) -> bool {
        let split = self.text.split_once('*').filter(|_| self.has_stars);
        let Some((first, rest)) = split else { return *self.text == *name };
        let Some(mut name) = name.strip_prefix(first) else { return false };
        let mut parts = rest.split('*').peekable();
        while let Some(part) = parts.next() {
            if parts.peek().is_none() {
                return name.ends_with(part);
            }
            // The earliest leaves most for the parts to come.
            let Some(at) = name.find(part) else { return false };
            name = &name[at + part.len()..];
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_is_any_text() {
        check("a", &["a"], &["", "aa", "b"]);
        check("*", &["", "a", "*"], &[]);
        check("a*", &["a", "ab"], &["b", "ba"]);
        check("*a", &["a", "ba", "aa"], &["ab"]);
        check("a*a", &["aa", "aba"], &["a", "ab"]);
        check("a*b*c", &["abc", "axbxbxc"], &["acb", "ac"]);
        check("**", &["", "a"], &[]);
    }

    #[track_caller]
    fn check(glob: &str, hits: &[&str], misses: &[&str]) {
        for name in hits {
            assert!(Glob::new(glob).matches(name), "{glob} should match {name}");
        }
        for name in misses {
            assert!(!Glob::new(glob).matches(name), "{glob} should not match {name}");
        }
    }
}
