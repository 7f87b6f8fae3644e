//! Reports as one page of HTML: figures and plots, without a script and with nothing from elsewhere.

use std::fmt::Write as _;
use std::fs::OpenOptions;
use std::path::Path;
use std::{fs, slice};

use jiff::Timestamp;

use super::Played;
use super::compare::{FIGURES, Figure, median, middle, shown};
use super::latency::Percentiles;
use super::plot::{Line, Plot, Scale, escaped};
use super::report::Report;
use super::series::{Course, Interval};

/// Returns whether a page can be written to `file`, before anything is measured for it.
///
/// # Errors
///
/// Says why not.
pub(super) fn check_writable(file: &Path) -> Result<(), String> {
    // What is there stays until there is something better.
    let opened = OpenOptions::new().append(true).create(true).open(file);
    opened.map(|_| ()).map_err(|it| cannot_write(file, &it))
}

/// Writes the page.
///
/// # Errors
///
/// Says why it could not be written.
pub(super) fn write(file: &Path, results: &[Played]) -> Result<(), String> {
    let made = Timestamp::now().strftime("%Y-%m-%d %H:%M UTC").to_string();
    fs::write(file, page(results, &made)).map_err(|it| cannot_write(file, &it))
}

fn cannot_write(file: &Path, error: &std::io::Error) -> String {
    format!("cannot write {}: {error}", file.display())
}

fn page(results: &[Played], made: &str) -> String {
    let mut out = START.to_owned();
    let version = env!("CARGO_PKG_VERSION");
    let made = escaped(made);
    let _ = writeln!(out, "<h1>quelea bench</h1>\n<p class=\"soft\">{made}, quelea {version}</p>");
    for result in results {
        section(&mut out, &subjects(result));
    }
    out.push_str("</main></body></html>\n");
    out
}

/// A broker, with a report of each round.
struct Subject<'a> {
    place: String,
    reports: &'a [Report],
}

fn subjects(result: &Played) -> Vec<Subject<'_>> {
    match result {
        Played::Alone(report) => {
            let is_url = report.host.contains("://");
            let port = if is_url { String::new() } else { format!(":{}", report.port) };
            let place = format!("{}{port}", report.host);
            vec![Subject { place, reports: slice::from_ref(&**report) }]
        }
        Played::Compared(comparison) => {
            let sides = comparison.brokers.iter();
            sides.map(|it| Subject { place: it.place.clone(), reports: &it.reports }).collect()
        }
    }
}

fn section(out: &mut String, subjects: &[Subject<'_>]) {
    let Some(report) = subjects.first().and_then(|it| it.reports.first()) else {
        return;
    };
    let title = escaped(report.name.as_ref().unwrap_or(&report.scenario));
    let _ = writeln!(out, "<section>\n<h2>{title}</h2>");
    let _ = writeln!(out, "<p class=\"soft\">{}</p>", escaped(&description(report, subjects)));
    faults(out, subjects);
    figures(out, subjects);
    out.push_str("<div class=\"plots\">\n");
    for plot in percentiles(subjects).into_iter().chain(courses(subjects)) {
        let _ = write!(out, "{plot}");
    }
    out.push_str("</div>\n</section>\n");
}

/// Says what was asked for.
fn description(report: &Report, subjects: &[Subject<'_>]) -> String {
    let mut parts = vec![report.scenario.clone(), format!("MQTT {}", report.mqtt)];
    if report.load.is_some() {
        parts.push(format!("QoS {}", report.qos));
        parts.push(format!("{} bytes", grouped(f64::from(report.size_bytes))));
        let [publishers, subscribers] =
            [report.publishers, report.subscribers].map(|it| grouped(f64::from(it)));
        parts.push(format!("{publishers} to {subscribers} clients"));
    } else {
        parts.push(format!("{} connections", grouped(f64::from(report.connections))));
    }
    match (report.window, report.rate) {
        (Some(window), _) => parts.push(format!("closed loop, {window} in flight each")),
        (None, Some(rate)) => parts.push(format!("{} a second", grouped(rate))),
        (None, None) => {}
    }
    if let Some(ramp) = report.ramp_secs {
        parts.push(format!("growing for {ramp} s"));
    }
    if report.load.is_some() {
        parts.push(format!("{} s after {} s", report.duration_secs, report.warmup_secs));
    }
    let rounds = subjects.iter().map(|it| it.reports.len()).max().unwrap_or(0);
    if rounds > 1 {
        parts.push(format!("medians of {rounds} rounds"));
    }
    parts.join(" · ")
}

fn faults(out: &mut String, subjects: &[Subject<'_>]) {
    let mut list = |class: &str, of: fn(&Report) -> &[String]| {
        let mut is_empty = true;
        for subject in subjects {
            for text in subject.reports.iter().flat_map(of) {
                let (place, text) = (escaped(&subject.place), escaped(text));
                let _ = writeln!(out, "<p class=\"{class}\">{place}: {text}</p>");
                is_empty = false;
            }
        }
        is_empty
    };
    let is_ok = list("violation", |it| &it.violations);
    list("warning", |it| &it.warnings);
    if is_ok {
        out.push_str("<p class=\"kept\">Every promise was kept.</p>\n");
    }
}

/// Writes the table of what a run comes to, which is the key to the colours too.
fn figures(out: &mut String, subjects: &[Subject<'_>]) {
    out.push_str("<table>\n<tr><th></th>");
    for (index, subject) in subjects.iter().enumerate() {
        let place = escaped(&subject.place);
        let _ = write!(out, "<th><span class=\"dot s{index}\"></span>{place}</th>");
    }
    out.push_str(if subjects.len() == 2 { "<th>second / first</th></tr>\n" } else { "</tr>\n" });
    for Figure { label, read, .. } in &FIGURES {
        let medians: Vec<Option<f64>> =
            subjects.iter().map(|it| median(it.reports.iter(), *read)).collect();
        if medians.iter().all(Option::is_none) {
            continue;
        }
        let _ = write!(out, "<tr><th>{label}</th>");
        for median in &medians {
            let _ = write!(out, "<td>{}</td>", median.map_or("–".to_owned(), grouped));
        }
        if let [Some(first), Some(second)] = medians[..] {
            let ratio =
                if first > 0.0 { format!("{:.2}", second / first) } else { "–".to_owned() };
            let _ = write!(out, "<td>{ratio}</td>");
        }
        out.push_str("</tr>\n");
    }
    out.push_str("</table>\n");
}

/// Plots the latency, or where no messages flow the time to CONNACK.
fn percentiles(subjects: &[Subject<'_>]) -> Option<Plot> {
    let is_there =
        |read: Reading| subjects.iter().flat_map(|it| it.reports).any(|it| read(it).is_some());
    let readings: [(&str, Reading); 2] = [("Latency", latency), ("Time to CONNACK", connack)];
    let (what, read) = readings.into_iter().find(|it| is_there(it.1))?;
    let line = |(subject, of): (usize, &Subject<'_>)| {
        let point = |(place, quantile): (usize, &Quantile)| {
            let rounds = of.reports.iter().filter_map(read);
            (place as f64, middle(rounds.map(|it| quantile.1(it) as f64).collect()))
        };
        let points = QUANTILES.iter().enumerate().map(point).collect();
        Line { subject, is_dashed: false, points }
    };
    let marks = QUANTILES.iter().enumerate();
    Some(Plot {
        title: format!("{what} by percentile"),
        marks: marks.map(|(place, it)| (place as f64, it.0.to_owned())).collect(),
        range: (-0.25, QUANTILES.len() as f64 - 0.75),
        shaded_to: f64::NEG_INFINITY,
        scale: Scale::Micros,
        lines: subjects.iter().enumerate().map(line).collect(),
    })
}

fn latency(report: &Report) -> Option<Percentiles> {
    report.load.as_ref()?.latency_us
}

fn connack(report: &Report) -> Option<Percentiles> {
    report.connect.connack_us
}

/// Plots the deliveries and their latency over time, each round with a line of its own.
fn courses(subjects: &[Subject<'_>]) -> Vec<Plot> {
    let mut rates = Vec::new();
    let mut latencies = Vec::new();
    let (mut end_secs, mut warmup_secs) = (0.0_f64, 0.0_f64);
    for (subject, of) in subjects.iter().enumerate() {
        for report in of.reports {
            let load = report.load.as_ref().filter(|_| report.idle.is_none());
            let Some(course) = load.and_then(|it| it.course_us.as_ref()) else {
                continue;
            };
            end_secs = end_secs.max(report.warmup_secs + report.duration_secs);
            warmup_secs = warmup_secs.max(report.warmup_secs);
            let line = |is_dashed, points| Line { subject, is_dashed, points };
            let secs = f64::from(course.interval_secs);
            rates
                .push(line(false, points(course, end_secs, |it| Some(it.delivered as f64 / secs))));
            latencies.push(line(false, points(course, end_secs, |it| Some(it.p99? as f64))));
            latencies.push(line(true, points(course, end_secs, |it| Some(it.p50? as f64))));
        }
    }
    // One point is no course.
    if rates.iter().all(|it| it.points.len() < 2) {
        return Vec::new();
    }
    let plot = |title: &str, scale, lines| Plot {
        title: title.to_owned(),
        marks: Plot::seconds(end_secs),
        range: (0.0, end_secs),
        shaded_to: warmup_secs,
        scale,
        lines,
    };
    vec![
        plot("Deliveries a second", Scale::Counts, rates),
        plot("Latency over time: p99, and p50 dashed", Scale::Micros, latencies),
    ]
}

/// Returns a point in the middle of each interval that was not cut short.
fn points(
    course: &Course,
    end_secs: f64,
    value: impl Fn(&Interval) -> Option<f64>,
) -> Vec<(f64, Option<f64>)> {
    let secs = f64::from(course.interval_secs);
    let whole = course.intervals.iter().filter(|it| f64::from(it.from_secs) + secs <= end_secs);
    whole.map(|it| (f64::from(it.from_secs) + secs / 2.0, value(it))).collect()
}

/// Writes a number with its thousands apart.
fn grouped(figure: f64) -> String {
    let text = shown(figure);
    let (whole, rest) = text.split_at(text.find('.').unwrap_or(text.len()));
    let mut out = String::new();
    for (index, digit) in whole.chars().enumerate() {
        if index > 0 && (whole.len() - index).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out + rest.strip_suffix(".00").unwrap_or(rest)
}

/// A distribution of a report.
type Reading = fn(&Report) -> Option<Percentiles>;

/// A name and how it is read.
type Quantile = (&'static str, fn(Percentiles) -> u64);

const QUANTILES: [Quantile; 5] = [
    ("p50", |it| it.p50),
    ("p90", |it| it.p90),
    ("p99", |it| it.p99),
    ("p99.9", |it| it.p99_9),
    ("max", |it| it.max),
];

const START: &str = r#"<!doctype html>
<html lang="en"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>quelea bench</title>
<style>
:root { color-scheme: light dark; --back: #ffffff; --card: #f6f7f9; --text: #1b2230; --soft: #5c6675;
  --grid: #dde1e8; --first: #2463d6; --second: #c4570a; --good: #19734a; --bad: #b3261e; }
@media (prefers-color-scheme: dark) { :root { --back: #12151b; --card: #1a1e26; --text: #e5e8ee; --soft: #9ba5b4;
  --grid: #323945; --first: #74a9ff; --second: #ffab5c; --good: #6cd3a0; --bad: #ff8a80; } }
body { margin: 0; background: var(--back); color: var(--text); font: 15px/1.5 system-ui, sans-serif; }
main { max-width: 72rem; margin: 0 auto; padding: 2rem 1.25rem 4rem; }
h1 { font-size: 1.5rem; margin: 0; }
h2 { font-size: 1.2rem; margin: 0; }
p { margin: .25rem 0; }
section { margin-top: 2rem; border-top: 1px solid var(--grid); padding-top: 1.5rem; }
.soft { color: var(--soft); }
.kept { color: var(--good); }
.violation { color: var(--bad); font-weight: 600; }
.warning::before { content: "Warning: "; font-weight: 600; }
table { border-collapse: collapse; margin: 1rem 0 1.5rem; font-variant-numeric: tabular-nums; }
th { font-weight: 500; text-align: left; padding: .25rem 2rem .25rem 0; }
td, tr:first-child th:not(:first-child) { text-align: right; padding: .25rem 0 .25rem 2rem; }
tr + tr { border-top: 1px solid var(--grid); }
tr + tr th { color: var(--soft); font-weight: 400; }
.dot { display: inline-block; width: .7em; height: .7em; border-radius: 50%; margin-right: .5em; background: currentColor; }
.plots { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 30rem), 1fr)); gap: 1.25rem; }
figure { margin: 0; background: var(--card); border-radius: .5rem; padding: 1rem 1rem .5rem; }
figcaption { font-weight: 500; }
svg { display: block; width: 100%; height: auto; }
svg text { fill: var(--soft); font-size: 12px; }
.end { text-anchor: end; }
.middle { text-anchor: middle; }
.grid { stroke: var(--grid); fill: none; }
.shade { fill: var(--grid); opacity: .45; }
.line { fill: none; stroke: currentColor; stroke-width: 2; stroke-linejoin: round; }
.dashed { stroke-dasharray: 5 4; }
circle { fill: currentColor; }
.s0 { color: var(--first); }
.s1 { color: var(--second); }
</style></head><body><main>
"#;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thousands_are_apart() {
        for (figure, expected) in [
            (0.5, "0.50"),
            (3.0, "3"),
            (999.0, "999"),
            (1_000.0, "1,000"),
            (1_234_567.0, "1,234,567"),
        ] {
            assert_eq!(grouped(figure), expected);
        }
    }

    #[test]
    fn a_page_of_nothing_is_a_page() {
        let page = page(&[], "today <now>");
        assert!(page.contains("today &lt;now&gt;") && page.ends_with("</main></body></html>\n"));
    }
}
