//! A case: one behaviour, the statements that ask for it, and the verdict on a broker.

use std::fmt;
use std::ops::Range;
use std::panic::Location;
use std::time::Duration;

use crate::client::NOTHING_CAME;
use crate::statement;
use crate::{Broker, Target, Version};

/// One behaviour that the specification asks of a server.
#[derive(Debug)]
pub struct Case {
    /// The behaviour, as an identifier: `delivery_stops_at_receive_maximum`.
    pub name: &'static str,
    /// What is shown, with the statements cited as everywhere in this project: a bare `[MQTT-3.3.4-9]` is of
    /// MQTT 5.0, `v3.1.1 [MQTT-3.1.2-24]` of 3.1.1, and ids that start with `Q` name their version.
    pub doc: &'static str,
    /// The versions it runs for.
    pub versions: &'static [Version],
    pub(crate) run: fn(&Broker<'_>) -> Outcome,
}

/// What a case, or a step of it, comes to.
pub type Outcome<T = ()> = Result<T, Failure>;

/// Why a case did not pass.
#[derive(Clone, Debug)]
pub enum Failure {
    /// The broker did not do what was asked.
    Broken {
        /// What was expected, and what came.
        what: String,
        /// The line of the case that expected it.
        at: &'static Location<'static>,
    },
    /// The broker does not offer, and need not offer, what the case is about.
    Skipped(String),
}

/// A case's judgement of a broker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The broker behaves as the statements ask.
    Pass,
    /// It does not; how, in words.
    Fail(String),
    /// It could not be judged; why, in words.
    Skip(String),
    /// Nothing that a server sends could show it; why, in words. No case comes to this: it is said of statements.
    Unobservable(String),
}

/// A verdict and what led to it.
#[derive(Clone, Debug)]
pub struct Report {
    /// The judgement on the case as a whole: a failure if it found one.
    pub verdict: Verdict,
    /// The judgement on each statement that the case is about. Some may have failed, and others not.
    pub findings: Vec<Finding>,
    /// Each packet sent (`>`) and received (`<`), in order, with the connection's number.
    pub evidence: Vec<String>,
}

/// What a case found about one statement.
#[derive(Clone, Debug)]
pub struct Finding {
    /// The statement's id.
    pub id: &'static str,
    /// The judgement.
    pub verdict: Verdict,
    /// The part of the evidence that led to it.
    pub evidence: Range<usize>,
}

impl Case {
    /// Runs the case for one version against the broker at `target`.
    pub fn run(&self, target: &Target, version: Version) -> Report {
        self.run_with(target, version, target.patience)
    }

    /// Like [`Self::run`], with another patience than the target's.
    pub fn run_with(&self, target: &Target, version: Version, patience: Duration) -> Report {
        let broker = Broker::new(target, version).with_patience(patience);
        let outcome = match target.refusal(version) {
            None => {
                // So that each client knows them.
                target.limits(version);
                (self.run)(&broker)
            }
            Some(why) => {
                Err(Failure::Skipped(format!("no client of MQTT {version} is accepted: {why}")))
            }
        };
        let evidence = broker.evidence();
        let findings = broker.conclude(&outcome, &self.statements(version));
        broker.sweep();
        // What was judged apart did not end the case, but a failure is one.
        let failed = findings.iter().find(|it| matches!(it.verdict, Verdict::Fail(_)));
        let verdict = failed.map_or(Verdict::of(&outcome), |it| it.verdict.clone());
        Report { verdict, findings, evidence }
    }

    /// Returns the ids of the statements that it judges when it runs for `version`.
    ///
    /// MQTT 3.1 has few ids of its own: where it says the same as 3.1.1, the id of 3.1.1 stands for both.
    pub fn statements(&self, version: Version) -> Vec<&'static str> {
        statement::binding(self.doc, version).collect()
    }
}

impl Report {
    /// Says whether it is a failure that an answer was waited for in vain may have led to.
    pub fn is_late_failure(&self) -> bool {
        let is_late = |it: &Finding| {
            matches!(it.verdict, Verdict::Fail(_))
                && self.evidence[it.evidence.clone()].iter().any(|it| it.contains(NOTHING_CAME))
        };
        self.findings.iter().any(is_late)
    }
}

impl Verdict {
    pub(crate) fn of(outcome: &Outcome) -> Self {
        match outcome {
            Ok(()) => Self::Pass,
            Err(Failure::Skipped(why)) => Self::Skip(why.clone()),
            Err(failure @ Failure::Broken { .. }) => Self::Fail(failure.to_string()),
        }
    }

    /// Returns the statements that a failure itself cites for `version`, if it does, and what is left to say of those
    /// that were to be judged: a broker that breaks one rule while another is looked at has not broken that.
    pub(crate) fn other_fault(&self, version: Version) -> Option<(&str, Self)> {
        match self {
            Self::Fail(why) if statement::binding(why, version).next().is_some() => {
                Some((why, Self::skip_after(why)))
            }
            _ => None,
        }
    }

    pub(crate) fn skip_after(why: &str) -> Self {
        Self::Skip(format!("the case ended before it could be judged: {why}"))
    }
}

impl Failure {
    /// Makes the failure of an expectation, with the line of the caller.
    #[track_caller]
    pub(crate) fn broken(what: impl Into<String>) -> Self {
        Self::Broken { what: what.into(), at: Location::caller() }
    }

    /// Makes the reason why the case cannot be judged here.
    pub(crate) fn skipped(why: impl Into<String>) -> Self {
        Self::Skipped(why.into())
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Broken { what, at } => write!(f, "{what} ({}:{})", at.file(), at.line()),
            Self::Skipped(why) => f.write_str(why),
        }
    }
}

/// Fails the case unless the claim holds.
#[track_caller]
pub(crate) fn claim(holds: bool, otherwise: impl Into<String>) -> Outcome {
    if holds { Ok(()) } else { Err(Failure::broken(otherwise)) }
}

/// Fails the case unless both are equal.
#[track_caller]
pub(crate) fn claim_eq<T: PartialEq + fmt::Debug>(what: &str, got: T, want: T) -> Outcome {
    claim(got == want, format!("{what}: got {got:?}, expected {want:?}"))
}

/// Defines the cases of a file and their list, `CASES`.
macro_rules! cases {
    ($(
        $(#[doc = $doc:literal])+
        #[versions($($version:ident),+)]
        fn $name:ident($broker:ident) $body:block
    )+) => {
        /// The cases of this file.
        pub(crate) static CASES: &[$crate::Case] = &[$(
            $crate::Case {
                name: stringify!($name),
                doc: concat!($($doc, "\n"),+),
                versions: &[$($crate::Version::$version),+],
                run: $name,
            },
        )+];
        $(
            $(#[doc = $doc])+
            fn $name($broker: &$crate::Broker<'_>) -> $crate::Outcome {
                $body
                Ok(())
            }
        )+
    };
}
pub(crate) use cases;
