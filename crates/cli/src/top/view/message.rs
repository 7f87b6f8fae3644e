//! The selected topic: what is known of it, and its last message.

use ratatui_core::buffer::Buffer;
use ratatui_core::layout::Rect;
use ratatui_core::style::Color;
use ratatui_core::text::{Line, Span};

use super::{Setting, faint, put, put_rule, strong};
use crate::top::figures::{age, bytes, counted, grouped, short};
use crate::top::model::Model;
use crate::top::payload::{self, Kind, printable};
use crate::top::screen::Screen;
use crate::top::tree::{Node, NodeId};
use crate::top::value::{Properties, Value};

pub(super) fn draw(
    model: &Model,
    screen: &mut Screen,
    setting: &Setting<'_>,
    area: Rect,
    buffer: &mut Buffer,
) {
    if area.height == 0 {
        return;
    }
    let lines = screen.selected.map(|id| lines(model, id, setting, area.width)).unwrap_or_default();
    let height = usize::from(area.height) - 1;
    screen.message_first = screen.message_first.min(lines.len().saturating_sub(height));
    put_rule(buffer, area, &title(lines.len(), screen.message_first, height));
    let seen = lines.iter().skip(screen.message_first).take(height);
    for (line, y) in seen.zip(area.y + 1..) {
        put(buffer, area.x, y, area.width, line);
    }
}

fn title(count: usize, first: usize, height: usize) -> String {
    if count <= height {
        return "message".to_owned();
    }
    format!("message, lines {} to {} of {count}", first + 1, (first + height).min(count))
}

fn lines(model: &Model, id: NodeId, setting: &Setting<'_>, width: u16) -> Vec<Line<'static>> {
    let node = &model.tree[id];
    let mut lines = wrapped(&printable(&model.tree.topic(id)), width, strong());
    lines.extend(counts(node, width));
    let Some(value) = &node.value else {
        lines.push(Line::styled("no message came to this level itself", faint()));
        return lines;
    };
    let kind = Kind::of(value.payload(), value.is_whole());
    lines.push(attributes(value, kind, setting));
    if let Some(properties) = &value.properties {
        append_properties(&mut lines, properties, setting, width);
    }
    lines.push(Line::default());
    for line in payload::lines(value.payload(), value.is_whole()) {
        match kind {
            // A dump that is too wide is better cut than broken.
            Kind::Bytes => lines.push(Line::raw(line)),
            Kind::Empty | Kind::Json | Kind::Text => {
                lines.extend(wrapped(&line, width, ratatui_core::style::Style::new()));
            }
        }
    }
    if !value.is_whole() {
        let kept = grouped(value.payload().len() as u64);
        lines.push(Line::styled(format!("… only the first {kept} bytes are kept"), faint()));
    }
    lines
}

/// What does not fit into one line takes two.
fn counts(node: &Node, width: u16) -> Vec<Line<'static>> {
    let total = &node.total;
    let below = u32::from(node.is_topic()).abs_diff(total.topics);
    let mut texts = vec![format!(
        "{}, {}, {} msg/s",
        counted(total.messages.max(node.messages()), "message"),
        bytes(total.bytes as f64),
        short(total.message_rate)
    )];
    if below > 0 {
        texts.push(format!("with {} below", counted(below.into(), "topic")));
    }
    let joined = texts.join(", ");
    if joined.len() <= usize::from(width) {
        texts = vec![joined];
    }
    texts.into_iter().map(|it| Line::styled(it, faint())).collect()
}

fn attributes(value: &Value, kind: Kind, setting: &Setting<'_>) -> Line<'static> {
    let mut spans = vec![Span::raw(format!("QoS {}", value.qos.to_byte()))];
    if value.is_retained {
        spans.push(Span::raw(" · "));
        spans.push(Span::styled("retained", setting.colour(Color::Magenta)));
    }
    let size = counted(value.payload_bytes as u64, "byte");
    spans.push(Span::raw(match kind {
        Kind::Empty => " · empty".to_owned(),
        kind => format!(" · {size}, {}", kind.name()),
    }));
    if let Some(at) = value.at {
        let ago = age(setting.now.saturating_duration_since(at));
        spans.push(Span::raw(format!(" · {ago} ago")));
    }
    Line::from(spans)
}

fn append_properties(
    lines: &mut Vec<Line<'static>>,
    properties: &Properties,
    setting: &Setting<'_>,
    width: u16,
) {
    let mut add = |name: &str, value: &str| {
        let name = Span::styled(format!("{name}: "), setting.colour(Color::Cyan));
        let room = usize::from(width).saturating_sub(name.width());
        let value: String = printable(value).chars().take(room).collect();
        lines.push(Line::from(vec![name, Span::raw(value)]));
    };
    if let Some(content_type) = &properties.content_type {
        add("content type", content_type);
    }
    if let Some(topic) = &properties.response_topic {
        add("response topic", topic);
    }
    if let Some(data) = &properties.correlation_data {
        add("correlation data", &payload::on_one_line(data, true, width.into()));
    }
    if let Some(secs) = properties.expiry_secs {
        add("expires in", &format!("{secs} s when it came"));
    }
    for (name, value) in &properties.user {
        add(&printable(name), value);
    }
}

/// Returns a text in lines of at most `width` cells.
fn wrapped(text: &str, width: u16, style: ratatui_core::style::Style) -> Vec<Line<'static>> {
    let mut lines = Vec::new();
    let mut line = String::new();
    let mut used = 0;
    for letter in text.chars() {
        let wide = Span::raw(letter.encode_utf8(&mut [0; 4]) as &str).width();
        if used + wide > width.into() {
            lines.push(Line::styled(std::mem::take(&mut line), style));
            used = 0;
        }
        line.push(letter);
        used += wide;
    }
    lines.push(Line::styled(line, style));
    lines
}
