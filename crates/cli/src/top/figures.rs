//! Numbers in few characters.

use std::time::Duration;

/// Returns a number in at most five characters: `0.1`, `12`, `9999`, `12.3k`, `1.2M`.
pub(crate) fn short(number: f64) -> String {
    if number < 0.05 {
        return "0".to_owned();
    }
    let mut scaled = number;
    let mut unit = UNITS.iter();
    let mut letter = "";
    while scaled >= 9_999.5 || (!letter.is_empty() && scaled >= 999.5) {
        let Some(next) = unit.next() else { break };
        letter = next;
        scaled /= 1_000.0;
    }
    match (letter, scaled) {
        ("", scaled) if scaled < 9.95 && scaled.fract() > 0.0 => format!("{scaled:.1}"),
        ("", scaled) => format!("{scaled:.0}"),
        (letter, scaled) if scaled < 99.95 => format!("{scaled:.1}{letter}"),
        (letter, scaled) => format!("{scaled:.0}{letter}"),
    }
}

/// Returns bytes in at most seven characters: `12 B`, `1.2 kB`.
pub(crate) fn bytes(count: f64) -> String {
    let text = short_bytes(count);
    match text.find(|it: char| it.is_ascii_alphabetic()) {
        Some(at) => format!("{} {}B", &text[..at], &text[at..]),
        None => format!("{text} B"),
    }
}

/// Returns bytes in at most five characters: `12`, `1.2k`.
pub(crate) fn short_bytes(count: f64) -> String {
    // Of bytes there are no fractions.
    short(count.round())
}

/// Returns a number with separators: `1,234,567`.
pub(crate) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Returns a number of things: `1 topic`, `1,234 topics`.
pub(crate) fn counted(number: u64, thing: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{} {thing}{plural}", grouped(number))
}

/// Returns a time in at most four characters: `0s`, `59s`, `59m`, `23h`, `99d`.
pub(crate) fn age(age: Duration) -> String {
    let secs = age.as_secs();
    match secs {
        0..60 => format!("{secs}s"),
        60..3_600 => format!("{}m", secs / 60),
        3_600..86_400 => format!("{}h", secs / 3_600),
        _ => format!("{}d", (secs / 86_400).min(999)),
    }
}

const UNITS: &[&str] = &["k", "M", "G", "T", "P"];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_short() {
        for (number, expected) in [
            (0.0, "0"),
            (0.04, "0"),
            (0.06, "0.1"),
            (1.0, "1"),
            (9.94, "9.9"),
            (9.96, "10"),
            (999.6, "1000"),
            (9_999.4, "9999"),
            (9_999.6, "10.0k"),
            (99_960.0, "100k"),
            (999_600.0, "1.0M"),
            (1e18, "1000P"),
        ] {
            assert_eq!(short(number), expected, "{number}");
            assert!(expected.len() <= 5);
        }
        assert_eq!([0.0, 12.3, 12_345.0].map(bytes), ["0 B", "12 B", "12.3 kB"]);
        assert_eq!(
            [0, 1, 1_000].map(|it| counted(it, "topic")),
            ["0 topics", "1 topic", "1,000 topics"]
        );
        assert_eq!([7, 1_000, 1_234_567].map(grouped), ["7", "1,000", "1,234,567"]);
    }

    #[test]
    fn ages_are_short() {
        let text = |secs| age(Duration::from_secs(secs));
        assert_eq!(
            [0, 59, 60, 3_599, 3_600, 86_400].map(text),
            ["0s", "59s", "1m", "59m", "1h", "1d"]
        );
        assert_eq!(text(u64::MAX), "999d");
    }
}
