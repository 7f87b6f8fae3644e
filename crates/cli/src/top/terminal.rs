//! The terminal: raw while this runs, as it was afterwards, whatever happens.

use std::io::{self, Stdout, stdout};
use std::panic;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use ratatui_core::terminal::Terminal;
use ratatui_crossterm::CrosstermBackend;
use ratatui_crossterm::crossterm::cursor::Show;
use ratatui_crossterm::crossterm::event::{
    self, DisableBracketedPaste, EnableBracketedPaste, Event, KeyEventKind,
};
use ratatui_crossterm::crossterm::execute;
use ratatui_crossterm::crossterm::terminal::{
    EnterAlternateScreen, LeaveAlternateScreen, disable_raw_mode, enable_raw_mode,
};

use super::feed::Running;
use super::screen::{Action, Screen};
use super::view::{self, Colours, Setting};
use crate::failure::Failure;

/// Shows the model until the user or a signal ends it.
pub(crate) fn run(feed: &Running, place: &str, colours: Colours) -> Result<(), Failure> {
    let shown = show(feed, place, colours);
    // The terminal is as it was: whatever else takes time, the user sees the prompt.
    feed.close();
    shown.map_err(|error| Failure::new(format!("the terminal fails: {error}")))
}

fn show(feed: &Running, place: &str, colours: Colours) -> io::Result<()> {
    let mut raw = Raw::enter()?;
    let mut screen = Screen::default();
    let mut drawn = None;
    let mut has_input = false;
    while !feed.is_over() {
        let now = Instant::now();
        let pause = if has_input { INPUT_FRAME } else { FRAME };
        let due: Instant = drawn.map_or(now, |drawn| drawn + pause);
        if due <= now {
            raw.draw(feed, &mut screen, Setting { place, colours, now })?;
            (drawn, has_input) = (Some(now), false);
            continue;
        }
        if !event::poll(due - now)? {
            continue;
        }
        has_input = true;
        let action = match event::read()? {
            Event::Key(key) if key.kind != KeyEventKind::Release => {
                screen.on_key(key, &feed.model())
            }
            Event::Paste(text) => {
                screen.on_paste(&text);
                Action::Nothing
            }
            // The next picture has the new size.
            _ => Action::Nothing,
        };
        match action {
            Action::Nothing => {}
            Action::Publish(form) => feed.publish(&form),
            Action::Remove(topic) => feed.remove_retained(&topic),
            Action::Quit => break,
        }
    }
    Ok(())
}

/// A terminal in raw mode, on its other screen.
struct Raw {
    terminal: Terminal<CrosstermBackend<Stdout>>,
}

impl Raw {
    fn enter() -> io::Result<Self> {
        let before = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            // What is said of the panic is said on the user's own screen.
            restore();
            before(info);
        }));
        IS_RAW.store(true, Ordering::Release);
        let entered = enable_raw_mode()
            .and_then(|()| execute!(stdout(), EnterAlternateScreen, EnableBracketedPaste))
            .and_then(|()| Terminal::new(CrosstermBackend::new(stdout())));
        match entered {
            Ok(terminal) => Ok(Self { terminal }),
            Err(error) => {
                restore();
                Err(error)
            }
        }
    }

    fn draw(
        &mut self,
        feed: &Running,
        screen: &mut Screen,
        setting: Setting<'_>,
    ) -> io::Result<()> {
        self.terminal.draw(|frame| {
            // The lock is gone before anything goes to the terminal, which may be slow.
            let mut model = feed.model();
            model.tick(setting.now);
            let area = frame.area();
            let cursor = view::draw(&model, screen, &setting, area, frame.buffer_mut());
            if let Some(cursor) = cursor {
                frame.set_cursor_position(cursor);
            }
        })?;
        Ok(())
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        restore();
    }
}

/// Leaves the terminal as it was; once.
fn restore() {
    if IS_RAW.swap(false, Ordering::AcqRel) {
        // If it takes nothing, there is nothing left to be done about it.
        let _ = execute!(stdout(), DisableBracketedPaste, LeaveAlternateScreen, Show);
        let _ = disable_raw_mode();
    }
}

/// Whether there is something to be restored: a panic may be on any thread.
static IS_RAW: AtomicBool = AtomicBool::new(false);

/// The time between two pictures, however much comes.
const FRAME: Duration = Duration::from_millis(100);

/// The time until a key is seen to have been obeyed.
const INPUT_FRAME: Duration = Duration::from_millis(30);
