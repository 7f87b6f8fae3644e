//! What a broker can do and where its limits are, measured and not asked: `quelea doctor`.
//!
//! Each probe uses topics and client identifiers of its own, sends no more than its constants say, and takes away what
//! it has left: sessions and retained messages. What CONNACK of MQTT 5.0 announces stands beside what was measured.

mod delivery;
mod sessions;
mod sizes;

use std::fmt;

use crate::{Broker, Failure, Outcome, Target, Version};

/// One thing that a broker can do or not, or a limit of it.
#[derive(Clone, Debug)]
pub struct Ability {
    /// What it is, in a few words.
    pub name: &'static str,
    /// The version that clients spoke when it was measured.
    pub version: Version,
    /// What was measured.
    pub measured: Measure,
    /// What CONNACK says of it, or what its silence means; `None` where it has no word for it.
    pub announced: Option<Measure>,
    /// What follows for who uses the broker, if anything does.
    pub advice: Option<&'static str>,
}

/// A result.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Measure {
    /// It is there.
    Yes,
    /// It is not.
    No,
    /// This much and no more.
    Exactly(u64),
    /// This much, and nothing larger was tried.
    AtLeast(u64),
    /// It could not be measured; why, in words.
    Unknown(String),
}

/// What a probe comes to: what was measured, and what was announced.
type Finding = Outcome<(Measure, Option<Measure>)>;

/// Something to be measured.
struct Probe {
    name: &'static str,
    ask: fn(&Broker<'_>) -> Finding,
    advise: fn(&Measure) -> Option<&'static str>,
}

impl Ability {
    /// Says whether CONNACK announces something else than what was measured.
    pub fn is_contradicted(&self) -> bool {
        let Some(announced) = &self.announced else { return false };
        match (&self.measured, announced) {
            (Measure::Unknown(_), _) | (_, Measure::Unknown(_)) => false,
            (Measure::AtLeast(_), Measure::AtLeast(_)) => false,
            (Measure::AtLeast(measured), Measure::Exactly(announced)) => measured > announced,
            (Measure::Exactly(measured), Measure::AtLeast(announced)) => measured < announced,
            (measured, announced) => measured != announced,
        }
    }
}

impl Measure {
    fn of(is_there: bool) -> Self {
        if is_there { Self::Yes } else { Self::No }
    }
}

impl fmt::Display for Measure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Yes => f.write_str("yes"),
            Self::No => f.write_str("no"),
            Self::Exactly(number) => write!(f, "{number}"),
            Self::AtLeast(number) => write!(f, "at least {number}"),
            Self::Unknown(why) => write!(f, "unknown: {why}"),
        }
    }
}

/// Examines the broker at `target`, with the newest version that it speaks. `progress` is told what is measured next.
pub fn examine(target: &Target, progress: &dyn Fn(&str)) -> Vec<Ability> {
    let mut abilities = Vec::new();
    for (version, name) in VERSIONS {
        progress(name);
        let measured = Measure::of(target.speaks(version));
        let advice = (measured == Measure::No && version != Version::V31)
            .then_some("Have clients speak another version.");
        abilities.push(Ability { name, version, measured, announced: None, advice });
    }
    let spoken = Version::ALL.into_iter().rev().find(|version| target.speaks(*version));
    let Some(version) = spoken else { return abilities };
    for Probe { name, ask, advise } in
        delivery::PROBES.iter().chain(sizes::PROBES).chain(sessions::PROBES)
    {
        progress(name);
        let broker = Broker::new(target, version);
        let (measured, announced) = match ask(&broker) {
            Ok(found) => found,
            Err(Failure::Broken { what, .. } | Failure::Skipped(what)) => {
                (Measure::Unknown(what), None)
            }
        };
        broker.sweep();
        let announced = announced.filter(|_| version.is_v5());
        let advice = advise(&measured);
        abilities.push(Ability { name, version, measured, announced, advice });
    }
    abilities
}

const VERSIONS: [(Version, &str); 3] =
    [(Version::V31, "MQTT 3.1"), (Version::V311, "MQTT 3.1.1"), (Version::V5, "MQTT 5.0")];
