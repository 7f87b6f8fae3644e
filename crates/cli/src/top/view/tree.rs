//! The tree: a row for each level that is shown.

use ratatui_core::buffer::Buffer;
use ratatui_core::layout::Rect;
use ratatui_core::style::{Color, Modifier, Style};
use ratatui_core::text::{Line, Span};

use super::{Setting, faint, put};
use crate::top::figures::{age, counted, short, short_bytes};
use crate::top::model::{Connection, Model};
use crate::top::payload::{on_one_line, printable};
use crate::top::rows::{Mark, Order, Row};
use crate::top::screen::Screen;
use crate::top::tree::Node;

/// How wide the columns are; those with 0 are left out.
#[derive(Clone, Copy, Debug)]
struct Columns {
    name: u16,
    messages: u16,
    bytes: u16,
    age: u16,
    value: u16,
}

pub(super) fn draw(
    model: &Model,
    screen: &Screen,
    setting: &Setting<'_>,
    area: Rect,
    buffer: &mut Buffer,
) {
    if area.height == 0 {
        return;
    }
    let columns = Columns::of(area.width);
    draw_titles(screen, columns, area, buffer);
    let body = Rect { y: area.y + 1, height: area.height - 1, ..area };
    if screen.rows.is_empty() {
        put(buffer, body.x, body.y, body.width, &Line::styled(nothing(model, screen), faint()));
        return;
    }
    let seen = screen.rows.iter().skip(screen.first).take(body.height.into());
    for (row, y) in seen.zip(body.y..) {
        draw_row(model, row, setting, columns, Rect { y, height: 1, ..body }, buffer);
        if screen.selected == Some(row.id) {
            let style =
                Style::new().add_modifier(Modifier::REVERSED).remove_modifier(Modifier::DIM);
            buffer.set_style(Rect { y, height: 1, ..body }, style);
        }
    }
    draw_position(screen, body, buffer);
}

/// Why there is nothing to be seen.
fn nothing(model: &Model, screen: &Screen) -> &'static str {
    match model.connection {
        _ if screen.search.is_active() => "no topic has this",
        Connection::Connected { .. } => "waiting for messages",
        Connection::Connecting => "waiting for the connection",
        Connection::Lost { .. } => "waiting for the connection to come back",
        Connection::Ended { .. } => "nothing will come",
    }
}

fn draw_titles(screen: &Screen, columns: Columns, area: Rect, buffer: &mut Buffer) {
    let style = |order| {
        let style = faint();
        if screen.order == order { style.add_modifier(Modifier::UNDERLINED) } else { style }
    };
    let style_of_name = style(Order::Name);
    let mut cells = Cells { x: area.x, y: area.y, buffer };
    cells.left(columns.name, &Line::styled("topic", style_of_name));
    cells.right(columns.messages, &Line::styled("msg/s", style(Order::Messages)));
    cells.right(columns.bytes, &Line::styled("B/s", style(Order::Bytes)));
    cells.right(columns.age, &Line::styled("age", style(Order::Age)));
    cells.left(columns.value, &Line::styled("value", faint()));
}

fn draw_row(
    model: &Model,
    row: &Row,
    setting: &Setting<'_>,
    columns: Columns,
    area: Rect,
    buffer: &mut Buffer,
) {
    let node = &model.tree[row.id];
    let mut cells = Cells { x: area.x, y: area.y, buffer };
    cells.left(columns.name, &name(node, row.mark, setting, columns.name));
    let rate = |text: String| {
        let style = if text == "0" { faint() } else { Style::new() };
        Line::styled(text, style)
    };
    cells.right(columns.messages, &rate(short(node.total.message_rate)));
    cells.right(columns.bytes, &rate(short_bytes(node.total.byte_rate)));
    let last = node.last.map(|last| age(setting.now.saturating_duration_since(last)));
    cells.right(columns.age, &Line::styled(last.unwrap_or_default(), faint()));
    cells.left(columns.value, &value(node, row.mark, columns.value));
}

/// The name of a level behind its mark; levels that are deep keep some room for it.
fn name(node: &Node, mark: Mark, setting: &Setting<'_>, width: u16) -> Line<'static> {
    let indent = (2 * usize::from(node.depth)).min(usize::from(width) / 2);
    let mark = match mark {
        Mark::Leaf => "  ",
        Mark::Closed => "▸ ",
        Mark::Open => "▾ ",
    };
    let name = match &*node.name {
        // A level may be empty.
        "" => "∅".to_owned(),
        name => printable(name),
    };
    let style = match node.is_topic() {
        true => Style::new(),
        false => setting.colour(Color::Blue),
    };
    let mut line = Line::from(vec![
        Span::raw(" ".repeat(indent)),
        Span::styled(mark, faint()),
        Span::styled(name, style),
    ]);
    // What does not fit is said to be there.
    if line.width() > width.into() {
        let text: String = line.to_string();
        let kept: String = fitting(&text, usize::from(width).saturating_sub(1));
        line = Line::styled(format!("{kept}…"), style);
    }
    line
}

fn value(node: &Node, mark: Mark, width: u16) -> Line<'static> {
    let below = match mark {
        Mark::Closed => Some(counted(node.total.topics.into(), "topic")),
        Mark::Leaf | Mark::Open => None,
    };
    match (&node.value, below) {
        (Some(value), _) => Line::raw(on_one_line(value.payload(), value.is_whole(), width.into())),
        (None, below) => Line::styled(below.unwrap_or_default(), faint()),
    }
}

/// Returns the beginning of `text` that has room in `width` cells.
fn fitting(text: &str, width: usize) -> String {
    let mut kept = String::new();
    for letter in text.chars() {
        kept.push(letter);
        if Line::raw(kept.as_str()).width() > width {
            kept.pop();
            break;
        }
    }
    kept
}

/// Shows how much is above and below what is seen.
fn draw_position(screen: &Screen, body: Rect, buffer: &mut Buffer) {
    let (rows, height) = (screen.rows.len(), usize::from(body.height));
    if rows <= height || height < 2 {
        return;
    }
    let length = (height * height / rows).max(1);
    let from = screen.first * (height - length) / (rows - height);
    let x = body.x + body.width - 1;
    for y in from..from + length {
        buffer.set_string(x, body.y + y as u16, "┃", faint());
    }
}

impl Columns {
    fn of(width: u16) -> Self {
        let messages = 6;
        let bytes = if width >= 40 { 6 } else { 0 };
        let age = if width >= 50 { 5 } else { 0 };
        let rest = width.saturating_sub(messages + bytes + age);
        let value = if width >= 52 { rest * 2 / 5 } else { 0 };
        // A cell is left for the position, and two before the value.
        let name = rest - value - 1;
        Self { name, messages, bytes, age, value: value.saturating_sub(2) }
    }
}

/// The cells of a row, from left to right.
struct Cells<'a> {
    x: u16,
    y: u16,
    buffer: &'a mut Buffer,
}

impl Cells<'_> {
    fn left(&mut self, width: u16, line: &Line<'_>) {
        // The value is the only one on the left that is not the first.
        let gap = if self.x == self.buffer.area.x || width == 0 { 0 } else { 2 };
        put(self.buffer, self.x + gap, self.y, width, line);
        self.x += width + gap;
    }

    fn right(&mut self, width: u16, line: &Line<'_>) {
        let used = (line.width() as u16).min(width);
        put(self.buffer, self.x + width - used, self.y, used, line);
        self.x += width;
    }
}
