//! What the keys do.

use ratatui_core::buffer::Buffer;
use ratatui_core::layout::Rect;
use ratatui_core::text::{Line, Span};

use super::{Setting, faint, put, put_rule, strong};

pub(super) fn draw(_: &Setting<'_>, area: Rect, buffer: &mut Buffer) {
    let height = (KEYS.len() as u16 + 2).min(area.height - 1);
    let width = WIDTH.min(area.width);
    let area = Rect {
        x: area.x + (area.width - width) / 2,
        y: area.y + (area.height - 1 - height) / 2,
        width,
        height,
    };
    for y in area.y..area.y + area.height {
        buffer.set_string(area.x, y, " ".repeat(width.into()), ratatui_core::style::Style::reset());
    }
    put_rule(buffer, Rect { height: 1, ..area }, "keys");
    for ((keys, what), y) in KEYS.iter().zip(area.y + 1..area.y + height - 1) {
        let line = Line::from(vec![
            Span::styled(format!(" {keys:<10}"), strong()),
            Span::styled(*what, faint()),
        ]);
        put(buffer, area.x, y, area.width, &line);
    }
    put_rule(buffer, Rect { y: area.y + height - 1, height: 1, ..area }, "");
}

const WIDTH: u16 = 48;

const KEYS: &[(&str, &str)] = &[
    ("↑ ↓ k j", "up and down; PgUp PgDn g G further"),
    ("→ ← l h", "open and close levels, or go there"),
    ("space", "open or close a level"),
    ("e c", "open all below, close all"),
    ("⏎ tab", "message on the whole screen, back"),
    ("J K", "scroll the message"),
    ("/", "search; ⏎ keeps it, esc ends it"),
    ("s", "sort by name, rates or age"),
    ("p", "publish to the selected topic"),
    ("x", "remove a retained message"),
    ("q ctrl-c", "quit"),
];
