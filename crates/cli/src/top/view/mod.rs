//! The picture: a function of what is known, what was chosen and the time, into a buffer of cells.
//!
//! Colours are the terminal's own sixteen, and nothing has a background: what is selected is reversed, so that it can be
//! read on light and dark.

mod footer;
mod header;
mod help;
mod message;
mod tree;

use std::time::Instant;

use ratatui_core::buffer::Buffer;
use ratatui_core::layout::Rect;
use ratatui_core::style::{Color, Modifier, Style};
use ratatui_core::text::Line;

use super::model::Model;
use super::screen::{Mode, Screen};

/// What the whole picture depends on beside model and screen.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Setting<'a> {
    /// The broker, as it was named.
    pub(crate) place: &'a str,
    pub(crate) colours: Colours,
    pub(crate) now: Instant,
}

/// Whether there are colours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Colours {
    Terminal,
    /// `NO_COLOR` is set.
    None,
}

/// Where the parts are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Parts {
    header: Rect,
    tree: Rect,
    message: Rect,
    footer: Rect,
}

/// Draws everything. Returns where the cursor is, if it is to be seen.
pub(crate) fn draw(
    model: &Model,
    screen: &mut Screen,
    setting: &Setting<'_>,
    area: Rect,
    buffer: &mut Buffer,
) -> Option<(u16, u16)> {
    if area.width < WIDTH_MIN || area.height < HEIGHT_MIN {
        if !area.is_empty() {
            put(buffer, area.x, area.y, area.width, &"too small".into());
        }
        return None;
    }
    let parts = Parts::of(area, screen.is_message_large);
    // The first row of the tree has the names of its columns.
    screen.lay_out(&model.tree, usize::from(parts.tree.height.saturating_sub(1)).max(1));
    header::draw(model, setting, parts.header, buffer);
    tree::draw(model, screen, setting, parts.tree, buffer);
    message::draw(model, screen, setting, parts.message, buffer);
    if screen.mode == Mode::Help {
        help::draw(setting, area, buffer);
    }
    footer::draw(model, screen, setting, parts.footer, buffer)
}

impl Parts {
    fn of(area: Rect, is_message_large: bool) -> Self {
        let header_height = if area.height < ROOMY_HEIGHT { 1 } else { 2 };
        let rows = |from: u16, count: u16| Rect { y: area.y + from, height: count, ..area };
        let body = rows(header_height, area.height - header_height - 1);
        let footer = rows(area.height - 1, 1);
        let header = rows(0, header_height);
        let none = Rect { width: 0, height: 0, ..body };
        let (tree, message) = if is_message_large {
            (none, body)
        } else if area.width >= WIDE {
            let width = area.width * 3 / 5;
            let left = Rect { width: width - 1, ..body };
            (left, Rect { x: body.x + width, width: body.width - width, ..body })
        } else if body.height >= TALL {
            let height = body.height * 3 / 5;
            let top = Rect { height, ..body };
            (top, Rect { y: body.y + height, height: body.height - height, ..body })
        } else {
            (body, none)
        };
        Self { header, tree, message, footer }
    }
}

impl Setting<'_> {
    fn colour(&self, colour: Color) -> Style {
        match self.colours {
            Colours::Terminal => Style::new().fg(colour),
            Colours::None => Style::new(),
        }
    }

    fn trouble(&self) -> Style {
        self.colour(Color::Red).add_modifier(Modifier::BOLD)
    }
}

/// For what matters less.
fn faint() -> Style {
    Style::new().add_modifier(Modifier::DIM)
}

/// For what is to be seen first.
fn strong() -> Style {
    Style::new().add_modifier(Modifier::BOLD)
}

/// Puts a line where there is room for `width` characters.
fn put(buffer: &mut Buffer, x: u16, y: u16, width: u16, line: &Line<'_>) {
    buffer.set_line(x, y, line, width);
}

/// Puts a rule with a title.
fn put_rule(buffer: &mut Buffer, area: Rect, title: &str) {
    let rule = "─".repeat(area.width.into());
    buffer.set_stringn(area.x, area.y, rule, area.width.into(), faint());
    if !title.is_empty() && area.width > 6 {
        let title = format!(" {title} ");
        buffer.set_stringn(area.x + 2, area.y, title, usize::from(area.width) - 4, strong());
    }
}

/// From this width on the message is beside the tree.
const WIDE: u16 = 100;

/// From this height on it is below.
const TALL: u16 = 16;

/// From this height on the header has a second line.
const ROOMY_HEIGHT: u16 = 16;

const WIDTH_MIN: u16 = 20;

const HEIGHT_MIN: u16 = 4;

#[cfg(test)]
mod tests;
