//! Who may not connect: the `[[ban]]` tables of the configuration file, and when the broker bans by itself.

use std::fmt::Write as _;

use toml::Spanned;
use toml::de::DeValue;
use toml::value::{Datetime, Offset};

use super::setting::settings;
use super::value::quoted;
use super::{Network, nearest_of};

/// Somebody who may not connect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ban {
    /// Who.
    pub subject: BanSubject,
    /// Until when; nothing for ever.
    pub until: Option<Moment>,
}

/// Whom a ban is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BanSubject {
    /// Clients with one of these addresses.
    Address(Network),
    /// The client with this identifier.
    ClientId(String),
    /// Clients that give this user name.
    User(String),
}

/// A moment of the wall clock.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Moment {
    /// As it was written.
    text: String,
    /// Milliseconds since 1970.
    pub(crate) unix_millis: u64,
}

settings! {
    /// When the broker bans by itself. A banned client is refused with 0x8A, Banned (3.x: return code 5); a connection
    /// from a banned address is closed as soon as it is accepted. The log says whom it concerns, and for how long.
    pub struct Bans in [bans] {
        /// Sessions that a client id may begin or resume within `window_secs`. One more, and it is banned, by that
        /// id. Unset, nobody is.
        pub connects_max: Option<u32> = None, Count(1..=1_000_000);

        /// CONNECT packets from one address that may be refused for who they say they are (0x86, 0x87 and 0x8C)
        /// within `window_secs`. One more, and the address is banned; one of IPv6 with its network of 64 bits.
        /// Unset, none is.
        pub failures_max: Option<u32> = None, Count(1..=1_000_000);

        /// The time in which connects and failures are counted.
        pub window_secs: u32 = 60, Secs(1..=86_400);

        /// How long a ban lasts that the broker has made.
        pub ban_secs: u32 = 300, Secs(1..=31_536_000);

        /// Bans of the broker's own making at once. At the limit the one that ends first gives way.
        pub bans_max: u32 = 10_000, Count(1..=1_000_000);
    }
}

impl Ban {
    /// Reads a table of the file; `note` is told of each thing that is wrong, with where it stands.
    pub(super) fn read(
        table: &Spanned<DeValue<'_>>,
        note: &mut impl FnMut(std::ops::Range<usize>, String),
    ) -> Option<Self> {
        let mut subjects = Vec::new();
        let mut until = None;
        let mut is_right = true;
        for (key, value) in table.get_ref().as_table().into_iter().flatten() {
            let name = key.get_ref().as_ref();
            let text = value.get_ref().as_str().filter(|text| !text.is_empty());
            let subject = match name {
                "address" => text.and_then(Network::read).map(BanSubject::Address),
                "client_id" => text.map(|text| BanSubject::ClientId(text.to_owned())),
                "user" => text.map(|text| BanSubject::User(text.to_owned())),
                "until" => {
                    until = value.get_ref().as_datetime().and_then(Moment::read);
                    if until.is_some() {
                        continue;
                    }
                    None
                }
                _ => {
                    let mut message = format!("there is no setting \"ban.{name}\"");
                    if let Some(nearest) = nearest_of(name, &KEYS) {
                        message.push_str(&format!("; the nearest is \"ban.{nearest}\""));
                    }
                    note(key.span(), message);
                    is_right = false;
                    continue;
                }
            };
            match subject {
                Some(subject) => subjects.push(subject),
                None => {
                    is_right = false;
                    note(key.span(), format!("ban.{name} must be {}", expected(name)));
                }
            }
        }
        if is_right && subjects.len() != 1 {
            let message = "a ban needs one of client_id, user and address".to_owned();
            note(table.span(), message);
        }
        let subject = subjects.pop().filter(|_| is_right && subjects.is_empty())?;
        Some(Self { subject, until })
    }

    /// Writes the table that makes it.
    pub(super) fn to_toml(&self) -> String {
        let (key, value) = match &self.subject {
            BanSubject::Address(network) => ("address", network.to_string()),
            BanSubject::ClientId(client_id) => ("client_id", client_id.clone()),
            BanSubject::User(user) => ("user", user.clone()),
        };
        let mut out = format!("\n[[ban]]\n{key} = {}\n", quoted(&value));
        if let Some(until) = &self.until {
            let _ = writeln!(out, "until = {}", until.text);
        }
        out
    }
}

impl Moment {
    /// Reads a date with a time and an offset from UTC; without these it would depend on where the broker runs.
    fn read(datetime: &Datetime) -> Option<Self> {
        let (date, time, offset) = (datetime.date?, datetime.time?, datetime.offset?);
        let minutes = match offset {
            Offset::Z => 0,
            Offset::Custom { minutes } => i64::from(minutes),
        };
        let days = days_since_1970(date.year.into(), date.month.into(), date.day.into());
        let second = i64::from(time.second.unwrap_or(0));
        let secs = days * 86_400
            + i64::from(time.hour) * 3_600
            + (i64::from(time.minute) - minutes) * 60
            + second;
        let unix_millis = u64::try_from(secs).unwrap_or(0).saturating_mul(1_000);
        Some(Self { text: datetime.to_string(), unix_millis })
    }
}

/// Counts days in the Gregorian calendar. A year begins in March here, so that a leap day is its last.
fn days_since_1970(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    365 * year + year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400) + day_of_year
        - 719_468
}

fn expected(key: &str) -> &'static str {
    match key {
        "address" => "an address or a network, such as \"203.0.113.7\" or \"2001:db8::/32\"",
        "until" => "a date and time with an offset, such as 2027-01-31T12:00:00Z",
        _ => "a text that is not empty",
    }
}

/// The table of the file that a ban is.
pub(super) const TABLE: &str = "ban";

const KEYS: [&str; 4] = ["address", "client_id", "until", "user"];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Loaded, Sources};

    #[test]
    fn bans_are_read_and_shown() {
        let text = "[[ban]]\nclient_id = \"a\"\nuntil = 2027-03-01T12:00:00+02:00\n[[ban]]\nuser = \"b\"\n\
                    [[ban]]\naddress = \"203.0.113.0/24\"\n";
        let bans = load(text).unwrap().config.banned;
        assert_eq!(bans.len(), 3);
        assert_eq!(bans[0].until.as_ref().unwrap().unix_millis, 1_803_895_200_000);
        let shown = load(text).unwrap().to_toml();
        assert_eq!(load(&shown).unwrap().config.banned, bans);
    }

    #[test]
    fn mistakes_in_bans_are_told() {
        let text = "[[ban]]\n[[ban]]\nuser = \"a\"\nclient_id = \"b\"\n[[ban]]\naddress = \"host\"\nuntil = 2027-03-01\n\
                    [[ban]]\nclient = \"c\"\n";
        let mistakes = load(text).unwrap_err().to_string();
        let expected = "q.toml:1: a ban needs one of client_id, user and address\n\
                        q.toml:2: a ban needs one of client_id, user and address\n\
                        q.toml:6: ban.address must be an address or a network, such as \"203.0.113.7\" or \"2001:db8::/32\"\n\
                        q.toml:7: ban.until must be a date and time with an offset, such as 2027-01-31T12:00:00Z\n\
                        q.toml:9: there is no setting \"ban.client\"; the nearest is \"ban.client_id\"";
        assert_eq!(mistakes, expected);
        assert!(load("ban = 1").unwrap_err().to_string().contains("write [[ban]]"));
    }

    #[test]
    fn days_are_counted_as_the_calendar_does() {
        for (date, days) in [
            ((1970, 1, 1), 0),
            ((1972, 2, 29), 789),
            ((2000, 3, 1), 11_017),
            ((2027, 12, 31), 21_183),
        ] {
            assert_eq!(days_since_1970(date.0, date.1, date.2), days, "{date:?}");
        }
    }

    fn load(text: &str) -> Result<Loaded, crate::config::Mistakes> {
        let file = Some(("q.toml".to_owned(), text.to_owned()));
        Loaded::from_sources(&Sources { file, ..Sources::default() })
    }
}
