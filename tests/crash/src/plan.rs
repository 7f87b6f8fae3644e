//! What each client of a campaign is there for.
//!
//! Topics: `m/PUBLISHER/N` for ordinary messages, `s/PUBLISHER` for the shared group, `r/PUBLISHER/N` for retained
//! messages, `w/CLIENT` for wills. Each has one publisher, and no filter matches two of the kinds.

use std::ops::RangeInclusive;
use std::rc::Rc;

use quelea_codec::Version;

/// What a client does.
#[derive(Clone, Debug)]
pub struct Plan {
    /// What the client is called.
    pub name: String,
    /// What it speaks.
    pub version: Version,
    /// How long its session outlives a connection: one of these, each time. 3.1.1 knows only for ever.
    pub expiry_secs: &'static [u32],
    /// How often it begins a new session, in percent.
    pub clean_start_percent: u64,
    /// How long it stays.
    pub online_millis: RangeInclusive<u64>,
    /// How long it stays away, also after a crash.
    pub away_millis: RangeInclusive<u64>,
    /// How often it leaves without a word, in percent.
    pub abort_percent: u64,
    /// How often its good-bye asks for its will, in percent.
    pub keeps_will_percent: u64,
    /// How often its good-bye changes the session's expiry, in percent.
    pub new_expiry_percent: u64,
    /// What it publishes.
    pub publishing: Option<Publishing>,
    /// What it is always subscribed to.
    pub filters: Vec<(Rc<str>, u8)>,
    /// What it is subscribed to now and then.
    pub changing: Vec<(Rc<str>, u8)>,
    /// Where its wills go, and which delays they may have.
    pub will: Option<(Rc<str>, &'static [u32])>,
    /// It acknowledges late.
    pub is_slow: bool,
    /// It is there at the end of the campaign.
    pub is_back_at_end: bool,
}

/// What a client publishes.
#[derive(Clone, Debug)]
pub struct Publishing {
    /// Where.
    pub topics: Vec<Rc<str>>,
    /// With which quality of service: one of these, each time.
    pub qos: &'static [u8],
    /// As retained messages, of which some are removals.
    pub retain: bool,
    /// How many may be on their way.
    pub window: usize,
    /// How long it waits between two.
    pub pause_millis: RangeInclusive<u64>,
}

impl Plan {
    fn new(name: impl Into<String>, version: Version) -> Self {
        Self {
            name: name.into(),
            version,
            expiry_secs: &[3_600, u32::MAX],
            clean_start_percent: 0,
            online_millis: 200..=3_000,
            away_millis: 0..=600,
            abort_percent: 50,
            keeps_will_percent: 0,
            new_expiry_percent: 0,
            publishing: None,
            filters: Vec::new(),
            changing: Vec::new(),
            will: None,
            is_slow: false,
            is_back_at_end: true,
        }
    }

    fn always(mut self, filters: &[(&str, u8)]) -> Self {
        self.filters = filters.iter().map(|(filter, qos)| (Rc::from(*filter), *qos)).collect();
        self
    }

    fn sometimes(mut self, filters: &[(&str, u8)]) -> Self {
        self.changing = filters.iter().map(|(filter, qos)| (Rc::from(*filter), *qos)).collect();
        self
    }
}

/// Returns the clients of a campaign.
pub fn fleet() -> Vec<Plan> {
    let mut fleet = Vec::new();
    fleet.extend((0..PUBLISHERS).map(publisher));
    fleet.extend((0..RETAINERS).map(retainer));
    fleet.extend(subscribers());
    fleet.extend((0..MEMBERS).map(member));
    fleet.extend((0..WILL_CARRIERS).map(will_carrier));
    fleet.extend(will_watchers());
    fleet
}

fn publisher(number: u64) -> Plan {
    let mut topics: Vec<Rc<str>> = (0..3).map(|it| format!("m/{number}/{it}").into()).collect();
    topics.push(format!("s/{number}").into());
    let publishing = Publishing {
        topics,
        qos: &[0, 1, 1, 1, 2, 2, 2],
        retain: false,
        window: 4 + 4 * number as usize,
        pause_millis: 2..=8 + 4 * number,
    };
    Plan {
        publishing: Some(publishing),
        clean_start_percent: if number == 0 { 20 } else { 0 },
        away_millis: 0..=200,
        ..Plan::new(format!("publisher-{number}"), alternating(number))
    }
}

fn retainer(number: u64) -> Plan {
    let publishing = Publishing {
        topics: (0..40).map(|it| format!("r/{number}/{it}").into()).collect(),
        qos: &[0, 1, 1, 2, 2],
        retain: true,
        window: 6,
        pause_millis: 2..=20,
    };
    Plan {
        publishing: Some(publishing),
        away_millis: 0..=200,
        ..Plan::new(format!("retainer-{number}"), Version::V5)
    }
}

fn subscribers() -> Vec<Plan> {
    let plan = |name: &str, version| Plan::new(format!("subscriber-{name}"), version);
    let (old, new) = (Version::V311, Version::V5);
    vec![
        plan("steady", old).always(&[("m/#", 2)]),
        Plan { is_slow: true, ..plan("slow", new).always(&[("m/3/#", 1)]) },
        plan("fickle", new).always(&[("m/+/0", 2)]).sometimes(&[
            ("m/+/1", 1),
            ("m/1/#", 2),
            ("m/2/2", 2),
            ("m/3/2", 0),
        ]),
        Plan {
            online_millis: 100..=800,
            away_millis: 500..=4_000,
            ..plan("sleeper", old).always(&[("m/1/#", 1), ("m/2/#", 2)])
        },
        Plan {
            clean_start_percent: 25,
            is_slow: true,
            ..plan("forgetful", new).always(&[("m/0/#", 2)]).sometimes(&[("m/3/+", 1), ("r/#", 1)])
        },
        Plan {
            clean_start_percent: 30,
            ..plan("forgetful-old", old).sometimes(&[("m/+/2", 2), ("m/3/#", 1)])
        },
        plan("collector", new).always(&[("r/#", 2)]).sometimes(&[("r/0/+", 1)]),
        Plan {
            expiry_secs: &[1, 2, 3_600],
            away_millis: 0..=4_000,
            ..plan("brief", new).always(&[("m/2/+", 2)]).sometimes(&[("m/0/0", 1)])
        },
    ]
}

fn member(number: u64) -> Plan {
    let plan = Plan::new(format!("member-{number}"), alternating(number));
    let group = &[("$share/g/s/#", 2)];
    if number == 0 { plan.sometimes(group) } else { plan.always(group) }
}

fn will_carrier(number: u64) -> Plan {
    Plan {
        expiry_secs: &[0, 1, 3_600],
        clean_start_percent: 20,
        online_millis: 50..=1_500,
        away_millis: 0..=3_000,
        keeps_will_percent: 30,
        new_expiry_percent: 30,
        will: Some((format!("w/{number}").into(), &[0, 1, WILL_DELAY_MAX_SECS])),
        is_back_at_end: false,
        ..Plan::new(format!("mortal-{number}"), alternating(number))
    }
}

fn will_watchers() -> [Plan; 2] {
    [Version::V311, Version::V5]
        .map(|version| Plan::new(format!("watcher-{version:?}"), version).always(&[("w/#", 2)]))
}

fn alternating(number: u64) -> Version {
    if number.is_multiple_of(2) { Version::V5 } else { Version::V311 }
}

/// The longest delay of a will.
pub const WILL_DELAY_MAX_SECS: u32 = 2;

const PUBLISHERS: u64 = 4;
const RETAINERS: u64 = 2;
const MEMBERS: u64 = 3;
const WILL_CARRIERS: u64 = 10;
