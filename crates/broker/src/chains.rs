//! Who is asked about the clients of each listener: sources made of the configuration, and chains of them.
//!
//! A source is made once, however many chains it is in, and outlives a reload that does not change its settings: what
//! it has learned is not lost.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use quelea_auth::{Chain, Exchange, PasswordFile, Source, Strangers};

use crate::config::{Authentication, Config, SourceName};
use crate::service;
use crate::tokens;

/// The chains of all listeners.
#[derive(Default)]
pub(crate) struct Chains {
    /// By a listener's place in the configuration.
    doors: Vec<Door>,
    /// What no listener has brought in: connections of a simulation.
    elsewhere: Door,
    made: BTreeMap<SourceName, Arc<dyn Source>>,
    /// Those that the configuration does not know. They are asked after the others, where a listener has no chain of
    /// its own.
    extra: Vec<Arc<dyn Source>>,
}

/// How clients come in by a listener.
#[derive(Clone, Debug, Default)]
pub(crate) struct Door {
    /// The listener's address, as configured.
    pub(crate) name: Arc<str>,
    /// Absent when there is nobody to ask: a CONNECT then costs nothing more.
    pub(crate) chain: Option<Arc<Chain>>,
    allow_anonymous: Option<bool>,
}

/// Why there is nobody to ask.
#[derive(Debug)]
pub struct SourceError {
    /// The setting that names or makes the source.
    pub key: &'static str,
    /// What is wrong.
    pub why: String,
}

impl Chains {
    /// Makes the sources that `config` asks, and their chains. `extra` are those of the application.
    ///
    /// # Errors
    ///
    /// A source cannot be made, or is not configured.
    pub(crate) fn new(config: &Config, extra: Vec<Arc<dyn Source>>) -> Result<Self, SourceError> {
        Self { extra, ..Self::default() }.renewed(None, config)
    }

    /// Makes the chains of another configuration than `before`.
    ///
    /// # Errors
    ///
    /// As [`Chains::new`].
    pub(crate) fn renewed(
        &self,
        before: Option<&Config>,
        config: &Config,
    ) -> Result<Self, SourceError> {
        let mut next = Self { extra: self.extra.clone(), ..Self::default() };
        for name in SourceName::ALL.iter().copied() {
            let is_same = before.is_some_and(|it| has_same_settings(name, it, config));
            let source = match self.made.get(&name).filter(|_| is_same) {
                Some(known) => Some(Arc::clone(known)),
                None => make(name, &config.authentication)?,
            };
            next.made.extend(source.map(|source| (name, source)));
        }
        let common = next.chain(&config.authentication.default_chain(), &next.extra)?;
        next.elsewhere.chain.clone_from(&common);
        for listener in &config.listeners {
            let own = &listener.authentication;
            let chain = match &own.chain {
                Some(names) => next.chain(names, &[])?,
                None => common.clone(),
            };
            let allow_anonymous = own.allow_anonymous.or(config.allow_anonymous);
            let name = listener.address.to_string().into();
            next.doors.push(Door { name, chain, allow_anonymous });
        }
        next.elsewhere.allow_anonymous = config.allow_anonymous;
        Ok(next)
    }

    fn chain(
        &self,
        names: &[SourceName],
        extra: &[Arc<dyn Source>],
    ) -> Result<Option<Arc<Chain>>, SourceError> {
        let mut sources = Vec::new();
        for name in names {
            let source = self.made.get(name).ok_or_else(|| SourceError {
                key: "authentication.chain",
                why: format!("nothing is configured for \"{}\"", name.as_str()),
            })?;
            sources.push(Arc::clone(source));
        }
        sources.extend_from_slice(extra);
        Ok((!sources.is_empty()).then(|| Arc::new(Chain::new(sources))))
    }

    /// Returns how clients come in by the listener with this place in the configuration.
    pub(crate) fn door(&self, listener: u16) -> &Door {
        self.doors.get(usize::from(listener)).unwrap_or(&self.elsewhere)
    }

    /// Returns what those who are asked have counted, by their names.
    pub(crate) fn numbers(&self) -> impl Iterator<Item = (SourceName, &'static str, u64)> {
        self.made.iter().flat_map(|(name, source)| {
            source.numbers().into_iter().map(|(number, value)| (*name, number, value))
        })
    }

    /// Has those who are asked look whether what they go by has changed. Blocks: not for a shard.
    pub(crate) fn refresh(&self) {
        for source in self.made.values().chain(&self.extra) {
            source.refresh();
        }
    }
}

impl Door {
    /// Begins an enhanced authentication with the first who has it.
    pub(crate) fn begin(&self, method: &str, client_id: &str) -> Option<Box<dyn Exchange>> {
        self.chain.as_ref()?.begin(method, client_id)
    }

    /// Returns what becomes of those who bring nothing to say who they are, where somebody is asked.
    pub(crate) fn strangers(&self) -> Strangers {
        match self.allow_anonymous {
            Some(true) => Strangers::Admitted,
            Some(false) | None => Strangers::Refused,
        }
    }

    /// Returns whether nobody may come in, as long as nobody is asked.
    pub(crate) fn is_shut(&self) -> bool {
        self.allow_anonymous == Some(false)
    }
}

/// Makes a source, if it is configured.
fn make(
    name: SourceName,
    settings: &Authentication,
) -> Result<Option<Arc<dyn Source>>, SourceError> {
    match name {
        SourceName::Certificate => {
            let source = settings.certificate.source();
            Ok(source.map(|source| Arc::new(source) as Arc<dyn Source>))
        }
        SourceName::Jwt => tokens::source(&settings.jwt),
        SourceName::Http => service::source(&settings.http),
        SourceName::PasswordFile => {
            let Some(path) = &settings.password_file else { return Ok(None) };
            let file = PasswordFile::open(path).map_err(|error| SourceError {
                key: "authentication.password_file",
                why: error.to_string(),
            })?;
            Ok(Some(Arc::new(file)))
        }
    }
}

/// Returns whether two configurations say the same of a source, in its key or its table.
fn has_same_settings(name: SourceName, before: &Config, next: &Config) -> bool {
    let (key, name) = ("authentication", name.as_str());
    let table = format!("{key}.{name}");
    let is_its = |section: &str, it: &str| section == table || (section == key && it == name);
    Config::settings()
        .filter(|it| is_its(it.section, it.name))
        .all(|it| it.show(before) == it.show(next))
}

impl fmt::Debug for Chains {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Chains").field("doors", &self.doors).finish_non_exhaustive()
    }
}

impl fmt::Display for SourceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} cannot be used: {}", self.key, self.why)
    }
}

impl std::error::Error for SourceError {}
