//! The first lines: the connection, what comes, and what the broker says of itself.

use ratatui_core::buffer::Buffer;
use ratatui_core::layout::Rect;
use ratatui_core::style::{Color, Style};
use ratatui_core::text::{Line, Span};

use super::{Setting, faint, put, strong};
use crate::top::figures::{age, bytes, counted, short};
use crate::top::model::{Connection, Model};
use crate::top::payload::printable;

pub(super) fn draw(model: &Model, setting: &Setting<'_>, area: Rect, buffer: &mut Buffer) {
    let connection = connection(model, setting);
    let used = connection.width() as u16;
    put(buffer, area.x, area.y, area.width, &connection);
    let room = area.width.saturating_sub(used + 2);
    let traffic = traffic(model, setting, room);
    let width = (traffic.width() as u16).min(room);
    put(buffer, area.x + area.width - width, area.y, width, &traffic);
    if area.height > 1 {
        put(buffer, area.x, area.y + 1, area.width, &broker(model, area.width));
    }
}

fn connection<'a>(model: &'a Model, setting: &Setting<'a>) -> Line<'a> {
    let place = Span::styled(setting.place, strong());
    let state = match &model.connection {
        Connection::Connecting => Span::styled("connecting", setting.colour(Color::Yellow)),
        Connection::Connected { since } => {
            let since = setting.now.saturating_duration_since(*since);
            Span::styled(format!("up {}", age(since)), setting.colour(Color::Green))
        }
        Connection::Lost { .. } => Span::styled("connecting again", setting.trouble()),
        Connection::Ended { .. } => Span::styled("ended", setting.trouble()),
    };
    Line::from(vec![place, "  ".into(), state])
}

/// As much as there is room for, the rates first.
fn traffic<'a>(model: &Model, setting: &Setting<'_>, room: u16) -> Line<'a> {
    let totals = &model.totals;
    let messages = format!("{} msg/s", short(totals.message_rate.per_second()));
    let mut line = Line::from(Span::styled(messages, strong()));
    let bytes = format!("  {}/s", bytes(totals.byte_rate.per_second()));
    let topics = format!("  {}", counted(model.tree.topic_count() as u64, "topic"));
    for (more, style) in [(bytes, strong()), (topics, Style::new())] {
        if line.width() + more.len() <= room.into() {
            line.push_span(Span::styled(more, style));
        }
    }
    let left = usize::from(room).saturating_sub(line.width() + 2);
    if left >= GRAPH_MIN {
        let graph = graph(model, left.min(GRAPH_MAX));
        line.push_span(Span::styled(format!("  {graph}"), setting.colour(Color::Cyan)));
    }
    line
}

/// The rates of the last seconds, the newest last.
fn graph(model: &Model, count: usize) -> String {
    let rates: Vec<f64> = model.history.last(count).collect();
    let highest = rates.iter().copied().fold(0.0, f64::max);
    let bar = |rate: f64| match highest {
        0.0 => BARS[0],
        _ => BARS[((rate / highest) * (BARS.len() - 1) as f64).ceil() as usize],
    };
    let missing = std::iter::repeat_n(' ', count - rates.len());
    missing.chain(rates.iter().map(|&rate| bar(rate))).collect()
}

/// What the broker says of itself, as far as there is room.
fn broker(model: &Model, width: u16) -> Line<'static> {
    let version = model.broker("version").map(|it| it.replace(" version", ""));
    let per_minute = |name, unit: &'static str| {
        let rate: f64 = model.broker(name)?.parse().ok()?;
        Some(format!("{} {unit}", short(rate / 60.0)))
    };
    let number = |name, unit: &'static str| {
        let number: f64 = model.broker(name)?.parse().ok()?;
        Some(format!("{} {unit}", short(number)))
    };
    let facts = [
        version,
        model.broker("uptime").and_then(uptime),
        number("clients/connected", "clients"),
        per_minute("load/publish/received/1min", "in/s"),
        per_minute("load/publish/sent/1min", "out/s"),
        number("retained messages/count", "retained"),
        number("subscriptions/count", "subscriptions"),
        number("queued messages/count", "queued"),
        number("publish/messages/dropped", "dropped"),
        number("heap/current", "B heap"),
    ];
    let mut text = String::new();
    for fact in facts.into_iter().flatten() {
        let fact = printable(&fact);
        let separator = if text.is_empty() { "" } else { " · " };
        if text.chars().count() + separator.len() + fact.chars().count() > width.into() {
            break;
        }
        text.push_str(separator);
        text.push_str(&fact);
    }
    Line::styled(text, faint())
}

/// Brokers say `123 seconds`.
fn uptime(text: &str) -> Option<String> {
    let secs = text.split_ascii_whitespace().next()?.parse().ok()?;
    Some(format!("up {}", age(std::time::Duration::from_secs(secs))))
}

const BARS: [char; 9] = [' ', '▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

const GRAPH_MIN: usize = 8;

const GRAPH_MAX: usize = 60;
