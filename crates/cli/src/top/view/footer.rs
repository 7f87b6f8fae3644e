//! The last line: what keys do, what is written, and what has to be said.

use ratatui_core::buffer::Buffer;
use ratatui_core::layout::Rect;
use ratatui_core::style::{Color, Modifier, Style};
use ratatui_core::text::{Line, Span};

use super::{Setting, faint, put, strong};
use crate::top::field::Field;
use crate::top::figures::{counted, grouped};
use crate::top::form::{Form, Part};
use crate::top::model::{Connection, Model};
use crate::top::payload::printable;
use crate::top::screen::{Mode, Screen};

/// Draws the line. Returns where the cursor is, if something is written.
pub(super) fn draw(
    model: &Model,
    screen: &Screen,
    setting: &Setting<'_>,
    area: Rect,
    buffer: &mut Buffer,
) -> Option<(u16, u16)> {
    match &screen.mode {
        Mode::Search => {
            let hits = format!("  {}", counted(screen.search.hits as u64, "topic"));
            let mut pen = Pen::new(area, buffer);
            pen.write(&Span::styled("search: ", strong()));
            let cursor = pen.write_field(&screen.query, area.width.saturating_sub(24));
            pen.write(&Span::styled(hits, faint()));
            Some(cursor)
        }
        Mode::Publish(form) => draw_form(form, setting, area, buffer),
        Mode::Remove(topic) => {
            let question = format!("remove the retained message of {}? y/n", printable(topic));
            put(buffer, area.x, area.y, area.width, &Line::styled(question, strong()));
            None
        }
        Mode::Browse | Mode::Help => {
            put(buffer, area.x, area.y, area.width, &status(model, screen, setting, area.width));
            None
        }
    }
}

/// What has to be said, and otherwise what keys do.
fn status(model: &Model, screen: &Screen, setting: &Setting<'_>, width: u16) -> Line<'static> {
    if let Connection::Lost { why } | Connection::Ended { why } = &model.connection {
        return Line::styled(printable(why), setting.trouble());
    }
    let is_fresh = |at| setting.now.saturating_duration_since(at) < NOTICE_TIME;
    if let Some(notice) = model.notice.as_ref().filter(|it| is_fresh(it.at)) {
        let style =
            if notice.is_trouble { setting.trouble() } else { setting.colour(Color::Green) };
        return Line::styled(printable(&notice.text), style);
    }
    let mut line = keys(screen, width);
    let lost = losses(model);
    if !lost.is_empty() {
        line.spans.insert(0, Span::styled(format!("{lost}  "), setting.trouble()));
    }
    line
}

/// What is not shown, and why.
fn losses(model: &Model) -> String {
    let mut losses = Vec::new();
    if model.totals.dropped > 0 {
        losses.push(format!("{} dropped: too fast", grouped(model.totals.dropped)));
    }
    if model.totals.untold > 0 {
        losses.push(format!("{} not shown: too many topics", grouped(model.totals.untold)));
    }
    losses.join(", ")
}

fn keys(screen: &Screen, width: u16) -> Line<'static> {
    let mut line = Line::default();
    if screen.search.is_active() {
        let hits = counted(screen.search.hits as u64, "topic");
        let found = format!("/{}: {hits}  ", printable(screen.query.text()));
        line.push_span(Span::styled(found, strong()));
    }
    let order = format!("sort: {}", screen.order.name());
    let keys: [(&str, &str); 7] = [
        ("?", "help"),
        ("q", "quit"),
        ("/", "search"),
        ("⏎", if screen.is_message_large { "back" } else { "message" }),
        ("p", "publish"),
        ("s", &order),
        ("x", "remove retained"),
    ];
    for (key, what) in keys {
        let cells = key.chars().count() + what.len() + 3;
        if line.width() + cells > width.into() {
            break;
        }
        line.push_span(Span::styled(key, strong()));
        line.push_span(Span::styled(format!(" {what}  "), faint()));
    }
    line
}

fn draw_form(
    form: &Form,
    setting: &Setting<'_>,
    area: Rect,
    buffer: &mut Buffer,
) -> Option<(u16, u16)> {
    if area.width < FORM_WIDTH {
        return draw_part(form, area, buffer);
    }
    let chosen = |part| {
        if form.at == part { Style::new().add_modifier(Modifier::REVERSED) } else { Style::new() }
    };
    let tail = ["  ", form.qos_name(), "  ", form.retain_name(), KEYS_OF_FORM].concat();
    let room = area.width.saturating_sub((tail.chars().count() + "to  ← ".len()) as u16);
    let mut pen = Pen::new(area, buffer);
    pen.write(&Span::styled("to ", strong()));
    let topic_cursor = pen.write_field(&form.topic, room / 2);
    let arrow_style = if form.is_complete() { strong() } else { setting.trouble() };
    pen.write(&Span::styled(" ← ", arrow_style));
    let payload_cursor = pen.write_field(&form.payload, room / 2);
    pen.write(&Span::raw("  "));
    pen.write(&Span::styled(form.qos_name(), chosen(Part::QoS)));
    pen.write(&Span::raw("  "));
    pen.write(&Span::styled(form.retain_name(), chosen(Part::Retain)));
    pen.write(&Span::styled(KEYS_OF_FORM, faint()));
    match form.at {
        Part::Topic => Some(topic_cursor),
        Part::Payload => Some(payload_cursor),
        Part::QoS | Part::Retain => None,
    }
}

/// Draws the part that is written alone, where there is no room for more.
fn draw_part(form: &Form, area: Rect, buffer: &mut Buffer) -> Option<(u16, u16)> {
    let mut pen = Pen::new(area, buffer);
    let (name, field) = match form.at {
        Part::Topic => ("topic: ", &form.topic),
        Part::Payload => ("payload: ", &form.payload),
        Part::QoS => {
            pen.write(&Span::styled(form.qos_name(), strong()));
            pen.write(&Span::styled(KEYS_OF_FORM, faint()));
            return None;
        }
        Part::Retain => {
            pen.write(&Span::styled(form.retain_name(), strong()));
            pen.write(&Span::styled(KEYS_OF_FORM, faint()));
            return None;
        }
    };
    pen.write(&Span::styled(name, strong()));
    Some(pen.write_field(field, area.width.saturating_sub(name.len() as u16)))
}

/// Writes from left to right.
struct Pen<'a> {
    x: u16,
    area: Rect,
    buffer: &'a mut Buffer,
}

impl<'a> Pen<'a> {
    fn new(area: Rect, buffer: &'a mut Buffer) -> Self {
        Self { x: area.x, area, buffer }
    }

    fn write(&mut self, span: &Span<'_>) {
        let room = (self.area.x + self.area.width).saturating_sub(self.x);
        self.x = self.buffer.set_span(self.x, self.area.y, span, room).0;
    }

    /// Writes the part of a field around its cursor that has room in `width` cells. Returns where the cursor is.
    fn write_field(&mut self, field: &Field, width: u16) -> (u16, u16) {
        let (before, behind) = field.split();
        let (before, behind) = (printable(before), printable(behind));
        let mut from = 0;
        let width = usize::from(width).max(1);
        while Span::raw(&before[from..]).width() >= width {
            from += before[from..].chars().next().map_or(1, char::len_utf8);
        }
        let start = self.x;
        self.write(&Span::raw(&before[from..]));
        let cursor = (self.x.min(self.area.x + self.area.width - 1), self.area.y);
        let room = width.saturating_sub(usize::from(self.x - start));
        let seen: String = behind.chars().take(room).collect();
        self.write(&Span::raw(seen));
        cursor
    }
}

/// How long a notice is shown.
const NOTICE_TIME: std::time::Duration = std::time::Duration::from_secs(5);

/// From this width on all parts of a form are seen.
const FORM_WIDTH: u16 = 76;

const KEYS_OF_FORM: &str = "  (tab, ⏎, esc)";
