//! Files of traffic: `quelea record` and `quelea replay`, and messages as lines of JSON beside them.
//!
//! The format is `quelea-traffic`'s, and in docs/traffic-format.md.

mod line;
mod mapping;
mod message;
mod output;
mod pace;
pub(crate) mod record;
pub(crate) mod replay;
mod selection;
mod source;

use std::time::Duration;

/// Reads a time in seconds, such as `90`, `0.5` or `2m`.
pub(crate) fn parse_secs(text: &str) -> Result<Duration, String> {
    let (number, unit) = match text.char_indices().next_back() {
        Some((at, 's')) => (&text[..at], 1.0),
        Some((at, 'm')) => (&text[..at], 60.0),
        Some((at, 'h')) => (&text[..at], 3_600.0),
        _ => (text, 1.0),
    };
    let secs = number.parse::<f64>().ok().map(|it| it * unit);
    secs.and_then(|it| Duration::try_from_secs_f64(it).ok())
        .ok_or_else(|| "write a number of seconds, or one with s, m or h".to_owned())
}

/// Reads a number of bytes, such as `500`, `64K`, `10M` or `2G`.
pub(crate) fn parse_bytes(text: &str) -> Result<u64, String> {
    let (number, unit) = match text.char_indices().next_back() {
        Some((at, 'k' | 'K')) => (&text[..at], 1 << 10),
        Some((at, 'm' | 'M')) => (&text[..at], 1 << 20),
        Some((at, 'g' | 'G')) => (&text[..at], 1 << 30),
        _ => (text, 1),
    };
    let bytes = number.parse::<u64>().ok().and_then(|it| it.checked_mul(unit));
    bytes
        .filter(|&it| it > 0)
        .ok_or_else(|| "write a number of bytes, or one with K, M or G".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_and_sizes_have_units() {
        let secs = |text| parse_secs(text).map(|it| it.as_secs_f64());
        assert_eq!(["0.5", "90s", "2m", "1h"].map(secs), [0.5, 90.0, 120.0, 3_600.0].map(Ok));
        for wrong in ["", "-1", "m", "1d", "NaN", "1e300", "2µ"] {
            secs(wrong).expect_err(wrong);
        }
        assert_eq!(["7", "2K", "1m", "1G"].map(parse_bytes), [7, 2_048, 1 << 20, 1 << 30].map(Ok));
        for wrong in ["", "0", "-1", "K", "1.5M", "99999999999G"] {
            parse_bytes(wrong).expect_err(wrong);
        }
    }
}
