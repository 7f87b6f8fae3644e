//! What a setting is: one row for each field of the configuration, written by [`settings!`].
//!
//! A field, its documentation, its default and its bounds are written once. Reading files, environment and
//! flags, naming the nearest known key, `quelea config show` and the reference in the documentation all come
//! from the rows.

use std::ops::RangeInclusive;

use super::Config;
use super::value::Raw;

/// One setting of the configuration, with what a person and the loader must know of it.
#[derive(Debug)]
pub struct Setting {
    /// The table of the file that the setting stands in; empty for the top of the file.
    pub section: &'static str,
    /// The key within its table.
    pub name: &'static str,
    /// The doc comment of the field, a line each.
    pub doc: &'static [&'static str],
    /// What its values are, and which are accepted.
    pub kind: Kind,
    pub(super) read: fn(&mut Config, Raw<'_>, &Kind) -> Result<(), String>,
    pub(super) show: fn(&Config) -> Option<String>,
    pub(super) copy: fn(&Config, &mut Config),
}

/// What values a setting takes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A number of bytes; text such as "64 KiB" is accepted too.
    Bytes(RangeInclusive<u64>),
    /// One of these words.
    Choice(&'static [&'static str]),
    /// A number of things.
    Count(RangeInclusive<u64>),
    /// Several of a kind; in the environment and on the command line with commas between them.
    List(&'static Kind),
    /// A number of milliseconds.
    Millis(RangeInclusive<u64>),
    /// A path of the file system.
    Path,
    /// A number of seconds; where the largest is 4,294,967,295, that and "never" say the same.
    Secs(RangeInclusive<u64>),
    /// true or false.
    Switch,
    /// Any text.
    Text,
}

impl Setting {
    /// Returns the key with its table: `limits.connections_max`.
    pub fn key(&self) -> String {
        if self.section.is_empty() {
            self.name.to_owned()
        } else {
            format!("{}.{}", self.section, self.name)
        }
    }

    /// Returns the environment variable that sets it: `QUELEA_LIMITS_CONNECTIONS_MAX`.
    pub fn variable(&self) -> String {
        format!("QUELEA_{}", self.key().replace('.', "_").to_uppercase())
    }

    /// Returns the value in `config` as TOML; nothing when it is not set and has no default.
    pub fn show(&self, config: &Config) -> Option<String> {
        (self.show)(config)
    }
}

/// Defines a struct of settings: its fields, its `Default` and its rows for the loader.
///
/// `in [limits]` names both the field of [`Config`] that holds the struct and the table of the file; a table in a
/// table is `in [outer.inner]`. The root says `in []`. Fields that are no settings of their own stand after `with`.
macro_rules! settings {
    (
        $(#[$struct_attribute:meta])*
        pub struct $type:ident in $section:tt {
            $(
                $(#[doc = $doc:literal])*
                pub $field:ident: $field_type:ty = $default:expr, $kind:expr;
            )*
        }
        $(with {
            $(
                $(#[$with_attribute:meta])*
                pub $with:ident: $with_type:ty = $with_default:expr;
            )*
        })?
    ) => {
        $(#[$struct_attribute])*
        #[derive(Clone, Debug, PartialEq, Eq)]
        pub struct $type {
            $( $(#[doc = $doc])* pub $field: $field_type, )*
            $( $( $(#[$with_attribute])* pub $with: $with_type, )* )?
        }

        impl Default for $type {
            fn default() -> Self {
                Self {
                    $( $field: $default, )*
                    $( $( $with: $with_default, )* )?
                }
            }
        }

        impl $type {
            /// The settings of this struct, in their order.
            pub(super) const SETTINGS: &'static [$crate::config::setting::Setting] = {
                use $crate::config::setting::{Kind::*, Setting};
                use $crate::config::value::Value;
                &[$(
                    $crate::config::setting::settings!(@row $section $field: $field_type, [$($doc),*], $kind),
                )*]
            };
        }
    };
    (@row [$section:ident $(.$inner:ident)*] $field:ident: $field_type:ty, $doc:expr, $kind:expr) => {
        Setting {
            section: concat!(stringify!($section) $(, ".", stringify!($inner))*),
            name: stringify!($field),
            doc: &$doc,
            kind: $kind,
            read: |config, raw, kind| {
                config.$section$(.$inner)*.$field = <$field_type as Value>::read(raw, kind)?;
                Ok(())
            },
            show: |config| config.$section$(.$inner)*.$field.show(),
            copy: |from, to| {
                to.$section$(.$inner)*.$field.clone_from(&from.$section$(.$inner)*.$field);
            },
        }
    };
    (@row [] $field:ident: $field_type:ty, $doc:expr, $kind:expr) => {
        Setting {
            section: "",
            name: stringify!($field),
            doc: &$doc,
            kind: $kind,
            read: |config, raw, kind| {
                config.$field = <$field_type as Value>::read(raw, kind)?;
                Ok(())
            },
            show: |config| config.$field.show(),
            copy: |from, to| to.$field.clone_from(&from.$field),
        }
    };
}
pub(super) use settings;
