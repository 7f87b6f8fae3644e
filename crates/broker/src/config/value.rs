//! Values of settings: from a file or a text to the field's type, and back to TOML.

use std::num::NonZeroUsize;
use std::path::PathBuf;

use super::setting::Kind;

/// A value as it was written, before the setting says what it should be.
#[derive(Clone, Copy, Debug)]
pub(super) enum Raw<'a> {
    /// true or false in a file.
    Bool(bool),
    /// A whole number in a file.
    Integer(i128),
    /// A string in a file.
    String(&'a str),
    /// A list of strings in a file.
    Strings(&'a [&'a str]),
    /// An environment variable or a flag: it may be anything.
    Word(&'a str),
}

/// A type that settings have.
pub(super) trait Value: Sized {
    /// Reads a value; the error says what would have been right.
    fn read(raw: Raw<'_>, kind: &Kind) -> Result<Self, String>;

    /// Returns the value as TOML; nothing when it is not set.
    fn show(&self) -> Option<String>;
}

impl Value for bool {
    fn read(raw: Raw<'_>, _: &Kind) -> Result<Self, String> {
        match raw {
            Raw::Bool(is_on) => Ok(is_on),
            Raw::Word("true" | "1" | "yes" | "on") => Ok(true),
            Raw::Word("false" | "0" | "no" | "off") => Ok(false),
            Raw::Integer(_) | Raw::String(_) | Raw::Strings(_) | Raw::Word(_) => {
                Err(format!("must be true or false, not {}", raw.quoted()))
            }
        }
    }

    fn show(&self) -> Option<String> {
        Some(self.to_string())
    }
}

macro_rules! number_values {
    ($($number:ty),*) => { $(
        impl Value for $number {
            fn read(raw: Raw<'_>, kind: &Kind) -> Result<Self, String> {
                let number = kind.number(raw)?;
                Self::try_from(number).map_err(|_| kind.expected(raw))
            }

            fn show(&self) -> Option<String> {
                Some(underscored(u64::try_from(*self).expect("no setting is wider than 64 bits")))
            }
        }
    )* };
}
number_values!(u8, u16, u32, u64, usize);

impl Value for NonZeroUsize {
    fn read(raw: Raw<'_>, kind: &Kind) -> Result<Self, String> {
        Self::new(usize::read(raw, kind)?).ok_or_else(|| kind.expected(raw))
    }

    fn show(&self) -> Option<String> {
        self.get().show()
    }
}

impl Value for String {
    fn read(raw: Raw<'_>, kind: &Kind) -> Result<Self, String> {
        match raw {
            Raw::String(text) | Raw::Word(text) => Ok(text.to_owned()),
            Raw::Bool(_) | Raw::Integer(_) | Raw::Strings(_) => Err(kind.expected(raw)),
        }
    }

    fn show(&self) -> Option<String> {
        Some(quoted(self))
    }
}

impl Value for PathBuf {
    fn read(raw: Raw<'_>, kind: &Kind) -> Result<Self, String> {
        match String::read(raw, kind)? {
            text if text.is_empty() => Err(kind.expected(raw)),
            text => Ok(text.into()),
        }
    }

    fn show(&self) -> Option<String> {
        Some(quoted(&self.to_string_lossy()))
    }
}

impl<T: Value> Value for Option<T> {
    fn read(raw: Raw<'_>, kind: &Kind) -> Result<Self, String> {
        T::read(raw, kind).map(Some)
    }

    fn show(&self) -> Option<String> {
        self.as_ref().and_then(T::show)
    }
}

impl<T: Value> Value for Vec<T> {
    fn read(raw: Raw<'_>, kind: &Kind) -> Result<Self, String> {
        let Kind::List(of) = kind else { return Err(kind.expected(raw)) };
        let values = match raw {
            Raw::Strings(texts) => texts.iter().map(|it| T::read(Raw::String(it), of)).collect(),
            Raw::Word("") => Ok(Self::new()),
            Raw::Word(words) => {
                words.split(',').map(|it| T::read(Raw::Word(it.trim()), of)).collect()
            }
            Raw::Bool(_) | Raw::Integer(_) | Raw::String(_) => return Err(kind.expected(raw)),
        };
        values.map_err(|_: String| kind.expected(raw))
    }

    fn show(&self) -> Option<String> {
        let shown: Vec<String> = self.iter().filter_map(T::show).collect();
        Some(format!("[{}]", shown.join(", ")))
    }
}

/// Defines an enum that is a setting with a word for each variant.
macro_rules! choice {
    (
        $(#[$attribute:meta])*
        pub enum $type:ident {
            $( $(#[$variant_attribute:meta])* $variant:ident = $word:literal, )*
        }
    ) => {
        $(#[$attribute])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum $type {
            $( $(#[$variant_attribute])* $variant, )*
        }

        impl $type {
            /// The words that the configuration has for the variants.
            pub const WORDS: &'static [&'static str] = &[$($word),*];

            /// Every variant.
            pub const ALL: &'static [Self] = &[$(Self::$variant),*];

            /// Returns the word that the configuration has for it.
            pub fn as_str(self) -> &'static str {
                match self {
                    $( Self::$variant => $word, )*
                }
            }
        }

        impl $crate::config::value::Value for $type {
            fn read(
                raw: $crate::config::value::Raw<'_>,
                kind: &$crate::config::setting::Kind,
            ) -> Result<Self, String> {
                use $crate::config::value::Raw;
                match raw {
                    $( Raw::String($word) | Raw::Word($word) => Ok(Self::$variant), )*
                    Raw::Bool(_) | Raw::Integer(_) | Raw::String(_) | Raw::Strings(_) | Raw::Word(_) => {
                        Err(kind.expected(raw))
                    }
                }
            }

            fn show(&self) -> Option<String> {
                Some(format!("{:?}", self.as_str()))
            }
        }
    };
}
pub(super) use choice;

impl Kind {
    /// Returns the sentence that says what was expected instead of `raw`.
    pub(super) fn expected(&self, raw: Raw<'_>) -> String {
        format!("must be {}, not {}", self.describe(), raw.quoted())
    }

    /// Returns what the values are, in words: "a number of seconds from 1 to 600".
    pub fn describe(&self) -> String {
        match self {
            Self::Bytes(range) => {
                format!(
                    "a number of bytes from {} to {}",
                    grouped(*range.start()),
                    grouped(*range.end())
                )
            }
            Self::Choice(words) => {
                let words: Vec<String> = words.iter().map(|word| quoted(word)).collect();
                match words.split_last() {
                    Some((last, [])) => last.clone(),
                    Some((last, others)) => format!("{} or {last}", others.join(", ")),
                    None => String::new(),
                }
            }
            Self::Count(range) => {
                format!("a number from {} to {}", grouped(*range.start()), grouped(*range.end()))
            }
            Self::List(of) => format!("a list, each {}", of.describe()),
            Self::Millis(range) => {
                format!(
                    "a number of milliseconds from {} to {}",
                    grouped(*range.start()),
                    grouped(*range.end())
                )
            }
            Self::Path => "a path".to_owned(),
            Self::Secs(range) if *range.end() == NEVER_SECS => {
                format!("a number of seconds from {} on, or \"never\"", grouped(*range.start()))
            }
            Self::Secs(range) => {
                format!(
                    "a number of seconds from {} to {}",
                    grouped(*range.start()),
                    grouped(*range.end())
                )
            }
            Self::Switch => "true or false".to_owned(),
            Self::Text => "a text".to_owned(),
        }
    }

    /// Reads a number within the bounds of this kind.
    fn number(&self, raw: Raw<'_>) -> Result<u64, String> {
        let number = match raw {
            Raw::Integer(number) => u64::try_from(number).ok(),
            Raw::String(text) | Raw::Word(text) => self.number_from_text(text, raw),
            Raw::Bool(_) | Raw::Strings(_) => None,
        };
        match (number, self) {
            (
                Some(number),
                Self::Bytes(range) | Self::Count(range) | Self::Millis(range) | Self::Secs(range),
            ) if range.contains(&number) => Ok(number),
            _ => Err(self.expected(raw)),
        }
    }

    /// In a file a plain number stands without quotes, so that a mistaken string is not taken for one.
    fn number_from_text(&self, text: &str, raw: Raw<'_>) -> Option<u64> {
        let digits = text.trim().replace('_', "");
        match self {
            Self::Bytes(_) if !digits.ends_with(|last: char| last.is_ascii_digit()) => {
                bytes_from_text(&digits)
            }
            Self::Secs(range) if *range.end() == NEVER_SECS && digits == "never" => {
                Some(NEVER_SECS)
            }
            _ if matches!(raw, Raw::Word(_)) => digits.parse().ok(),
            _ => None,
        }
    }
}

impl Raw<'_> {
    /// Returns the value as a person would write it, shortened when it is long.
    fn quoted(&self) -> String {
        match self {
            Raw::Bool(is_on) => is_on.to_string(),
            Raw::Integer(number) => number.to_string(),
            Raw::String(text) | Raw::Word(text) => quoted(&shortened(text)),
            Raw::Strings(texts) => {
                let texts: Vec<String> = texts.iter().map(|it| quoted(it)).collect();
                shortened(&format!("[{}]", texts.join(", ")))
            }
        }
    }
}

fn shortened(text: &str) -> String {
    let mut start: String = text.chars().take(QUOTED_CHARS_MAX).collect();
    if start.len() < text.len() {
        start.push('…');
    }
    start
}

/// Reads "64 KiB", "10MiB", "1 GiB" or "512 B".
fn bytes_from_text(text: &str) -> Option<u64> {
    let unit_at = text.find(|character: char| !character.is_ascii_digit())?;
    let (number, unit) = text.split_at(unit_at);
    let factor: u64 = match unit.trim() {
        "B" => 1,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        _ => return None,
    };
    number.parse::<u64>().ok()?.checked_mul(factor)
}

/// Writes a TOML string.
pub(super) fn quoted(text: &str) -> String {
    toml::Value::String(text.to_owned()).to_string()
}

/// Writes a number for reading: 10,485,760.
pub(super) fn grouped(number: u64) -> String {
    in_groups(number, ',')
}

/// Writes a number for TOML: 10_485_760.
fn underscored(number: u64) -> String {
    in_groups(number, '_')
}

fn in_groups(number: u64, separator: char) -> String {
    let digits = number.to_string();
    let mut grouped = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            grouped.push(separator);
        }
        grouped.push(digit);
    }
    grouped
}

/// What MQTT 5.0 writes for "does not expire", and the settings for a session that does not.
const NEVER_SECS: u64 = u32::MAX as u64;

/// How much of a wrong value an error repeats.
const QUOTED_CHARS_MAX: usize = 60;
