//! Plots as SVG, for a page that needs no script and nothing from elsewhere.
//!
//! Colours are those of the page: classes name them.

use std::fmt::{self, Display};

/// Lines over a horizontal axis.
#[derive(Debug)]
pub(super) struct Plot {
    pub title: String,
    /// Places on the horizontal axis, and what is written there.
    pub marks: Vec<(f64, String)>,
    /// The axis' left and right end.
    pub range: (f64, f64),
    /// The part of the axis, from its left end, that is shaded.
    pub shaded_to: f64,
    pub scale: Scale,
    pub lines: Vec<Line>,
}

/// What the vertical axis measures.
#[derive(Clone, Copy, Debug)]
pub(super) enum Scale {
    /// Numbers, from 0.
    Counts,
    /// Microseconds, by powers of ten.
    Micros,
}

/// One line.
#[derive(Debug)]
pub(super) struct Line {
    /// Whose it is: the first broker's, or the second's.
    pub subject: usize,
    pub is_dashed: bool,
    /// It is broken where there is no value.
    pub points: Vec<(f64, Option<f64>)>,
}

/// The vertical axis: its ends, and its marks.
#[derive(Debug)]
struct Axis {
    scale: Scale,
    bottom: f64,
    top: f64,
    marks: Vec<f64>,
}

impl Plot {
    /// Returns the marks of an axis of seconds from 0 to `end`.
    pub(super) fn seconds(end: f64) -> Vec<(f64, String)> {
        let step = step(end / 6.0).max(1.0);
        multiples(step, end).map(|it| (it, format!("{it} s"))).collect()
    }

    fn x(&self, value: f64) -> f64 {
        let (left, right) = self.range;
        LEFT + (value - left) / (right - left).max(f64::MIN_POSITIVE) * (RIGHT - LEFT)
    }

    fn axis(&self) -> Axis {
        let values = self.lines.iter().flat_map(|it| &it.points).filter_map(|it| it.1);
        let (mut least, mut most) = (f64::INFINITY, 0.0_f64);
        for value in values {
            (least, most) = (least.min(value), most.max(value));
        }
        Axis::of(self.scale, least, most)
    }

    fn write_line(&self, axis: &Axis, line: &Line, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let subject = line.subject;
        let dashed = if line.is_dashed { " dashed" } else { "" };
        write!(f, "<path class=\"line s{subject}{dashed}\" d=\"")?;
        let mut pen = 'M';
        for &(place, value) in &line.points {
            let Some(value) = value else {
                pen = 'M';
                continue;
            };
            write!(f, "{pen}{:.1} {:.1}", self.x(place), axis.y(value))?;
            pen = 'L';
        }
        writeln!(f, "\"/>")?;
        if line.points.len() > DOTS_MAX {
            return Ok(());
        }
        for (place, value) in line.points.iter().filter_map(|&(place, value)| Some((place, value?)))
        {
            let (x, y) = (self.x(place), axis.y(value));
            let value = axis.label(value);
            writeln!(
                f,
                "<circle class=\"s{subject}\" cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"3\"><title>{value}</title></circle>"
            )?;
        }
        Ok(())
    }
}

impl Display for Plot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let axis = self.axis();
        let title = escaped(&self.title);
        writeln!(f, "<figure><figcaption>{title}</figcaption>")?;
        writeln!(f, "<svg viewBox=\"0 0 640 {HEIGHT}\" role=\"img\" aria-label=\"{title}\">")?;
        if self.shaded_to > self.range.0 {
            let width = self.x(self.shaded_to.min(self.range.1)) - LEFT;
            let height = BOTTOM - TOP;
            writeln!(
                f,
                "<rect class=\"shade\" x=\"{LEFT}\" y=\"{TOP}\" width=\"{width:.1}\" height=\"{height}\"/>"
            )?;
        }
        for &mark in &axis.marks {
            let (y, label) = (axis.y(mark), axis.label(mark));
            writeln!(f, "<path class=\"grid\" d=\"M{LEFT} {y:.1}H{RIGHT}\"/>")?;
            let (x, y) = (LEFT - 8.0, y + 4.0);
            writeln!(f, "<text class=\"end\" x=\"{x}\" y=\"{y:.1}\">{label}</text>")?;
        }
        for (place, label) in &self.marks {
            let (x, y, label) = (self.x(*place), BOTTOM + 20.0, escaped(label));
            writeln!(f, "<text class=\"middle\" x=\"{x:.1}\" y=\"{y}\">{label}</text>")?;
        }
        for line in &self.lines {
            self.write_line(&axis, line, f)?;
        }
        writeln!(f, "</svg></figure>")
    }
}

impl Axis {
    /// Returns an axis that has room for values from `least` to `most`.
    fn of(scale: Scale, least: f64, most: f64) -> Self {
        match scale {
            Scale::Counts => {
                let step = step(most / 4.0);
                let top = (most / step).ceil().max(1.0) * step;
                Self { scale, bottom: 0.0, top, marks: multiples(step, top).collect() }
            }
            Scale::Micros => {
                // Without a value there is nothing to have room for.
                let least = if least.is_finite() { least.max(1.0) } else { 1.0 };
                let first = least.log10().floor() as i32;
                let last = (most.max(1.0).log10().ceil() as i32).max(first + 1);
                let marks = (first..=last).map(|it| 10_f64.powi(it)).collect();
                Self { scale, bottom: 10_f64.powi(first), top: 10_f64.powi(last), marks }
            }
        }
    }

    fn y(&self, value: f64) -> f64 {
        let part = match self.scale {
            Scale::Counts => value / self.top,
            Scale::Micros => {
                (value.max(self.bottom) / self.bottom).log10() / (self.top / self.bottom).log10()
            }
        };
        BOTTOM - part * (BOTTOM - TOP)
    }

    fn label(&self, value: f64) -> String {
        match self.scale {
            Scale::Counts => in_units(value, &[(1e6, "M"), (1e3, "k"), (1.0, "")]),
            Scale::Micros => in_units(value, &[(1e6, " s"), (1e3, " ms"), (1.0, " µs")]),
        }
    }
}

/// Makes a text that is nothing but text in HTML, also in an attribute.
pub(super) fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for char in text.chars() {
        match char {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            _ => out.push(char),
        }
    }
    out
}

/// Writes a number in the largest unit that it fills, with three digits at most behind the point.
fn in_units(value: f64, units: &[(f64, &str)]) -> String {
    let unit = units.iter().find(|(size, _)| value >= *size).or(units.last());
    let (size, name) = unit.copied().unwrap_or((1.0, ""));
    let rounded = (value / size * 1_000.0).round() / 1_000.0;
    format!("{rounded}{name}")
}

/// Returns the least of 1, 2, 5, 10, 20 … (or of 0.1, 0.2 …) that is not below `least`.
fn step(least: f64) -> f64 {
    if least <= 0.0 || !least.is_finite() {
        return 1.0;
    }
    let decade = 10_f64.powf(least.log10().floor());
    let factor = [1.0, 2.0, 5.0].into_iter().find(|it| it * decade >= least);
    factor.unwrap_or(10.0) * decade
}

/// Returns the multiples of `step` from 0 to `end`.
fn multiples(step: f64, end: f64) -> impl Iterator<Item = f64> {
    let count = (end / step + 1e-9).floor().clamp(0.0, 1_000.0) as u32;
    (0..=count).map(move |it| f64::from(it) * step)
}

const LEFT: f64 = 64.0;
const RIGHT: f64 = 620.0;
const TOP: f64 = 12.0;
const BOTTOM: f64 = 212.0;
const HEIGHT: u32 = 244;

/// More points have no room for a dot each.
const DOTS_MAX: usize = 61;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_are_round() {
        for (least, expected) in
            [(0.0, 1.0), (0.3, 0.5), (1.0, 1.0), (1.1, 2.0), (37.0, 50.0), (51.0, 100.0)]
        {
            assert!((step(least) - expected).abs() < 1e-9 * expected, "{least}: {}", step(least));
        }
    }

    #[test]
    fn axes_have_room_for_all_values() {
        let counts = Axis::of(Scale::Counts, 0.0, 950.0);
        assert_eq!((counts.top, counts.marks.len()), (1_000.0, 3));
        let micros = Axis::of(Scale::Micros, 150.0, 4_000.0);
        assert_eq!(micros.marks, [100.0, 1_000.0, 10_000.0]);
        assert_eq!((micros.y(100.0), micros.y(10_000.0)), (BOTTOM, TOP));
    }

    #[test]
    fn an_axis_of_nothing_is_one() {
        for scale in [Scale::Counts, Scale::Micros] {
            let axis = Axis::of(scale, f64::INFINITY, 0.0);
            assert!(axis.top > axis.bottom && axis.marks.len() == 2, "{axis:?}");
        }
    }

    #[test]
    fn numbers_are_written_in_their_unit() {
        let micros = Axis::of(Scale::Micros, 1.0, 1.0);
        assert_eq!([5.0, 1_500.0, 2e6].map(|it| micros.label(it)), ["5 µs", "1.5 ms", "2 s"]);
        let counts = Axis::of(Scale::Counts, 0.0, 1.0);
        assert_eq!([0.0, 999.0, 25_000.0].map(|it| counts.label(it)), ["0", "999", "25k"]);
    }

    #[test]
    fn a_line_is_broken_where_nothing_is() {
        let points = vec![(0.0, Some(1.0)), (1.0, None), (2.0, Some(2.0)), (3.0, Some(2.0))];
        let plot = Plot {
            title: "a < b".to_owned(),
            marks: Plot::seconds(3.0),
            range: (0.0, 3.0),
            shaded_to: 0.0,
            scale: Scale::Counts,
            lines: vec![Line { subject: 1, is_dashed: true, points }],
        };
        let svg = plot.to_string();
        assert!(
            svg.contains("class=\"line s1 dashed\" d=\"M64.0 112.0M434.7 12.0L620.0 12.0\""),
            "{svg}"
        );
        assert!(svg.contains("a &lt; b") && !svg.contains("a < b"));
    }
}
