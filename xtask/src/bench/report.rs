//! The measured table, on the screen and in the documents.

use std::fs;
use std::process::Command;

use crate::program;

use super::{Figure, Measurement, Row};

/// Says in one line what a scenario gave.
pub(crate) fn line(row: &Row) -> String {
    let mut line = format!(
        "{} ({}): Quelea {}, Mosquitto {}",
        row.scenario.name,
        unit(row.scenario.figure),
        figure(row, &row.quelea),
        figure(row, &row.mosquitto),
    );
    for (broker, measurement) in [("Quelea", &row.quelea), ("Mosquitto", &row.mosquitto)] {
        if let Some(violations) = measurement.violations() {
            line += &format!("\n  {broker}: {violations}");
        }
    }
    line
}

/// Returns all rows with latencies, rates and budgets.
pub(crate) fn table(rows: &[Row]) -> String {
    let mut table = String::from(
        "| scenario | unit | Quelea | Mosquitto | ratio | budget | p99 us | its p99 us | deliveries/s | its deliveries/s |\n\
         |---|---|--:|--:|--:|--:|--:|--:|--:|--:|\n",
    );
    for row in rows {
        let cells = [
            row.scenario.name.to_owned(),
            unit(row.scenario.figure).to_owned(),
            figure(row, &row.quelea),
            figure(row, &row.mosquitto),
            ratio(row),
            short(row.scenario.budget),
            row.quelea.latency_p99().map_or_else(none, short),
            row.mosquitto.latency_p99().map_or_else(none, short),
            row.quelea.delivered_per_sec().map_or_else(none, thousands),
            row.mosquitto.delivered_per_sec().map_or_else(none, thousands),
        ];
        table += &format!("| {} |\n", cells.join(" | "));
    }
    table
}

/// Writes the tables between the marks of docs/performance.md and README.md.
pub(crate) fn write(rows: &[Row]) -> Result<(), String> {
    let measured = format!("{}\n\n{}", circumstances()?, table(rows));
    write_between_marks("docs/performance.md", MARKS, &measured)?;
    write_between_marks("README.md", MARKS, &summary(rows))
}

/// Returns the rows as the README shows them.
fn summary(rows: &[Row]) -> String {
    let mut table = String::from("| | Quelea | Mosquitto | |\n|---|--:|--:|--:|\n");
    for row in rows {
        table += &format!(
            "| {}: {} | {} | {} | {} |\n",
            row.scenario.name,
            unit(row.scenario.figure),
            figure(row, &row.quelea),
            figure(row, &row.mosquitto),
            ratio(row),
        );
    }
    table
}

fn circumstances() -> Result<String, String> {
    let mosquitto = shell("PATH=$PATH:/usr/sbin mosquitto -h | head -n 1")?;
    Ok(format!("{}, against {mosquitto}.", place_and_time()?))
}

/// Says where, of what and when the measurement was.
pub(super) fn place_and_time() -> Result<String, String> {
    Ok(format!(
        "Measured on {}, {} cores, Linux {}, at commit {}, on {}",
        shell("sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | head -n 1")?,
        shell("nproc")?,
        shell("uname -r")?,
        shell("git describe --always --dirty")?,
        shell("date -u +%Y-%m-%d")?,
    ))
}

/// Returns what a line of shell says.
pub(crate) fn shell(script: &str) -> Result<String, String> {
    program::output(Command::new("sh").args(["-c", script])).map(|it| it.trim().to_owned())
}

/// Writes `text` between two marks of a document.
pub(crate) fn write_between_marks(
    path: &str,
    marks: (&str, &str),
    text: &str,
) -> Result<(), String> {
    let file = program::root().join(path);
    let told = |error| format!("{path}: {error}");
    let document = fs::read_to_string(&file).map_err(told)?;
    let document = between_marks(&document, marks, text)
        .ok_or_else(|| format!("{path} has lost its marks"))?;
    fs::write(&file, document).map_err(told)
}

fn between_marks(document: &str, (begin, end): (&str, &str), text: &str) -> Option<String> {
    let (before, rest) = document.split_once(begin)?;
    let (_, after) = rest.split_once(end)?;
    Some(format!("{before}{begin}\n{}\n{end}{after}", text.trim_end()))
}

fn figure(row: &Row, measurement: &Measurement) -> String {
    measurement.figure(row.scenario.figure).map_or_else(none, short)
}

fn ratio(row: &Row) -> String {
    let figure = row.scenario.figure;
    match (row.quelea.figure(figure), row.mosquitto.figure(figure)) {
        (Some(ours), Some(theirs)) if ours > 0.0 && theirs >= ours => {
            format!("1/{}", short(theirs / ours))
        }
        (Some(ours), Some(theirs)) if theirs > 0.0 => short(ours / theirs),
        _ => none(),
    }
}

fn unit(figure: Figure) -> &'static str {
    match figure {
        Figure::CpuPerDelivery => "CPU us per delivery",
        Figure::BystanderP99 => "p99, ms",
        Figure::MemoryPerConnection => "bytes per connection",
        Figure::IdleCpu => "% of a core",
    }
}

pub(super) fn short(value: f64) -> String {
    match value {
        it if it >= 100.0 => thousands(it),
        it if it >= 10.0 => format!("{it:.1}"),
        it => format!("{it:.2}"),
    }
}

pub(super) fn thousands(value: f64) -> String {
    let digits = format!("{value:.0}");
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

pub(super) fn none() -> String {
    "-".to_owned()
}

const MARKS: (&str, &str) =
    ("<!-- measured: written by `cargo xtask bench` -->", "<!-- end of measured -->");

#[cfg(test)]
mod tests {
    use super::{MARKS, between_marks, short};

    #[test]
    fn only_the_text_between_the_marks_changes() {
        let (begin, end) = MARKS;
        let document = format!("a\n{begin}\nold\n{end}\nb\n");
        let expected = format!("a\n{begin}\nnew\n{end}\nb\n");
        assert_eq!(between_marks(&document, MARKS, "new\n"), Some(expected));
        assert_eq!(between_marks("no marks", MARKS, "new"), None);
    }

    #[test]
    fn numbers_are_short() {
        assert_eq!(short(0.2), "0.20");
        assert_eq!(short(23.46), "23.5");
        assert_eq!(short(1_234_567.0), "1,234,567");
        assert_eq!(short(700.0), "700");
    }
}
