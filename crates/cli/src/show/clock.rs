//! When a message came, in the time of this machine, as strftime(3) writes it.

use jiff::fmt::strtime;
use jiff::tz::TimeZone;
use jiff::{Timestamp, ZonedDateTime};

/// Tells the time.
#[derive(Clone, Debug)]
pub(crate) struct Clock(TimeZone);

/// A point in time.
#[derive(Clone, Debug)]
pub(crate) struct Moment(ZonedDateTime);

impl Clock {
    /// Returns the clock of this machine. Its time zone is looked up once.
    pub(crate) fn of_system() -> Self {
        Self(TimeZone::system())
    }

    pub(crate) fn now(&self) -> Moment {
        Moment(Timestamp::now().to_zoned_datetime(self.0.clone()))
    }
}

impl Moment {
    /// Writes a part of the time, as `strftime` does for `%` and the letter in the locale "C". What is no part of the time
    /// is written as it stands.
    pub(crate) fn append(&self, letter: u8, out: &mut Vec<u8>) {
        let format = match letter {
            b'c' => "%a %b %e %H:%M:%S %Y",
            b'x' => "%m/%d/%y",
            b'X' => "%H:%M:%S",
            b'r' => "%I:%M:%S %p",
            b'%' => return out.push(b'%'),
            _ if PARTS.contains(&letter) => {
                let format = [b'%', letter];
                let format = str::from_utf8(&format).expect("letters are ASCII");
                return self.append_as(format, out);
            }
            _ => return out.extend_from_slice(&[b'%', letter]),
        };
        self.append_as(format, out);
    }

    /// Writes the date and the time with the offset from UTC, as ISO 8601 has it without a colon.
    pub(crate) fn append_iso(&self, out: &mut Vec<u8>) {
        self.append_as("%Y-%m-%dT%H:%M:%S%z", out);
    }

    /// Writes the time as in RFC 3339, in microseconds.
    pub(crate) fn append_rfc3339(&self, out: &mut Vec<u8>) {
        self.append_as("%Y-%m-%dT%H:%M:%S.%6f%:z", out);
    }

    /// Writes the time as Mosquitto's clients do in JSON: in microseconds, with a Z, and then the offset.
    pub(crate) fn append_of_mosquitto(&self, out: &mut Vec<u8>) {
        self.append_as("%Y-%m-%dT%H:%M:%S.%6fZ%z", out);
    }

    /// Returns the nanoseconds of the second.
    pub(crate) fn nanos(&self) -> i32 {
        self.0.timestamp().subsec_nanosecond()
    }

    /// Returns the seconds since 1970.
    pub(crate) fn unix_secs(&self) -> i64 {
        self.0.timestamp().as_second()
    }

    fn append_as(&self, format: &str, out: &mut Vec<u8>) {
        // It fails for letters that are no part of the time, and those do not come here.
        if let Ok(text) = strtime::format(format, &self.0) {
            out.extend_from_slice(text.as_bytes());
        }
    }
}

/// The parts of a time that are the same in every library.
const PARTS: &[u8] = b"aAbBCdDeFgGhHIjklmMnpPRsStTuUVwWyYzZ";

#[cfg(test)]
impl Moment {
    /// 2026-03-05 07:08:09.123456789, an hour east of Greenwich.
    pub(super) fn example() -> Self {
        let time = jiff::civil::date(2026, 3, 5).at(7, 8, 9, 123_456_789);
        Self(time.to_zoned_datetime(TimeZone::fixed(jiff::tz::offset(1))).expect("it exists"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As `date -d '2026-03-05 07:08:09 +0100'` writes it with TZ=UTC-1 and LC_ALL=C.
    #[test]
    fn letters_mean_what_they_mean_to_strftime() {
        let parts = [
            ("a", "Thu"),
            ("A", "Thursday"),
            ("b", "Mar"),
            ("B", "March"),
            ("C", "20"),
            ("d", "05"),
            ("D", "03/05/26"),
            ("e", " 5"),
            ("F", "2026-03-05"),
            ("g", "26"),
            ("G", "2026"),
            ("h", "Mar"),
            ("H", "07"),
            ("I", "07"),
            ("j", "064"),
            ("k", " 7"),
            ("l", " 7"),
            ("m", "03"),
            ("M", "08"),
            ("n", "\n"),
            ("p", "AM"),
            ("P", "am"),
            ("r", "07:08:09 AM"),
            ("R", "07:08"),
            ("s", "1772690889"),
            ("S", "09"),
            ("t", "\t"),
            ("T", "07:08:09"),
            ("u", "4"),
            ("U", "09"),
            ("V", "10"),
            ("w", "4"),
            ("W", "09"),
            ("x", "03/05/26"),
            ("X", "07:08:09"),
            ("y", "26"),
            ("Y", "2026"),
            ("z", "+0100"),
            ("c", "Thu Mar  5 07:08:09 2026"),
            ("Q", "%Q"),
            ("%", "%"),
        ];
        for (letter, expected) in parts {
            let mut out = Vec::new();
            Moment::example().append(letter.as_bytes()[0], &mut out);
            assert_eq!(String::from_utf8_lossy(&out), expected, "%{letter}");
        }
    }
}
