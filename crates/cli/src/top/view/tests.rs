//! Pictures of a model that is always the same, beside those in `pictures`, which `UPDATE=1` writes anew.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use quelea_codec::{Publish, PublishProperties, QoS, UserProperties};
use ratatui_core::buffer::Buffer;
use ratatui_core::layout::Rect;
use ratatui_core::style::{Color, Modifier};
use ratatui_crossterm::crossterm::event::KeyCode;

use super::super::model::{Connection, Model};
use super::super::screen::Screen;
use super::super::testing::message;
use super::{Colours, Setting, draw};

const SIZES: [(u16, u16); 4] = [(40, 12), (80, 24), (110, 30), (200, 60)];

#[test]
fn the_tree_at_every_size() {
    for (width, height) in SIZES {
        check("tree", "", width, height);
    }
}

#[test]
fn a_message_on_the_whole_screen() {
    for (width, height) in [(40, 12), (80, 24)] {
        // The topic with everything.
        check("message", "/json\n\x1b\n", width, height);
    }
}

#[test]
fn what_is_written_is_seen() {
    check("search", "/temp", 80, 24);
    check("found", "/temp\n", 80, 24);
    check("publish", "jp{\"on\":true}", 80, 24);
    check("publish", "jp{\"on\":true}", 40, 12);
    check("remove", "/raw/b\n\x1bx", 80, 24);
}

#[test]
fn keys_are_listed() {
    check("help", "?", 80, 24);
    check("help", "?", 40, 12);
}

#[test]
fn nothing_is_lost_in_silence() {
    let (mut model, now) = model();
    model.totals.dropped = 1_234;
    let lost = picture(&model, "", 80, 24, now);
    assert!(lost.contains("1,234 dropped: too fast"), "{lost}");
    model.connection = Connection::Lost { why: "the broker closed the connection".to_owned() };
    let lost = picture(&model, "", 80, 24, now);
    assert!(lost.contains("the broker closed the connection"), "{lost}");
}

/// Whatever the size, whatever is on top: there is a picture.
#[test]
fn no_size_is_too_small() {
    let (model, now) = model();
    for keys in ["", "?", "/temp", "p", "\n", "G", "Gx"] {
        for (width, height) in (0..60).flat_map(|it| [(it, 8), (50, it), (it, it)]) {
            picture(&model, keys, width, height, now);
        }
    }
}

/// What is behind is the terminal's own, light or dark.
#[test]
fn colours_are_the_terminals_own_and_can_be_off() {
    let (model, now) = model();
    for colours in [Colours::Terminal, Colours::None] {
        let (buffer, _) = drawn(&model, "", 200, 60, now, colours);
        let mut has_colour = false;
        for cell in buffer.content() {
            assert_eq!(cell.bg, Color::Reset);
            assert!(!matches!(
                cell.fg,
                Color::Rgb(..) | Color::Indexed(_) | Color::White | Color::Black
            ));
            has_colour |= cell.fg != Color::Reset;
        }
        assert_eq!(has_colour, colours == Colours::Terminal);
        let is_reversed =
            |cell: &ratatui_core::buffer::Cell| cell.modifier.contains(Modifier::REVERSED);
        assert!(buffer.content().iter().any(is_reversed), "nothing is selected");
    }
}

/// A topic or a value obeys nobody.
#[test]
fn what_came_is_not_obeyed() {
    let (mut model, now) = model();
    model.note(&message("evil/\x1b[2J\u{202E}x", "\x1b]0;title\x07\u{9b}31m"), now);
    let picture = picture(&model, "/evil\n\n", 80, 24, now);
    assert!(picture.chars().all(|it| it == '\n' || !it.is_control()), "{picture:?}");
    assert!(!picture.contains('\u{202E}'));
}

#[track_caller]
fn check(name: &str, keys: &str, width: u16, height: u16) {
    let (model, now) = model();
    let seen = picture(&model, keys, width, height, now);
    let file = format!("src/top/view/pictures/{name}-{width}x{height}.txt");
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(file);
    if std::env::var_os("UPDATE").is_some() {
        fs::create_dir_all(path.parent().expect("it has one")).expect("it can be made");
        fs::write(&path, &seen).expect("it can be written");
    }
    let expected = fs::read_to_string(&path).unwrap_or_default();
    assert!(seen == expected, "{name} is not the picture that was agreed on:\n{seen}");
}

fn picture(model: &Model, keys: &str, width: u16, height: u16, now: Instant) -> String {
    let (buffer, cursor) = drawn(model, keys, width, height, now, Colours::Terminal);
    let mut text = String::new();
    for y in 0..height {
        let mut row = String::new();
        let mut x = 0;
        while x < width {
            let symbol = buffer[(x, y)].symbol();
            let is_cursor = cursor == Some((x, y));
            row.push_str(if is_cursor { "█" } else { symbol });
            x += ratatui_core::text::Span::raw(symbol).width().max(1) as u16;
        }
        text.push_str(row.trim_end());
        text.push('\n');
    }
    text
}

/// Presses each key after a picture, as a user does.
fn drawn(
    model: &Model,
    keys: &str,
    width: u16,
    height: u16,
    now: Instant,
    colours: Colours,
) -> (Buffer, Option<(u16, u16)>) {
    let area = Rect::new(0, 0, width, height);
    let mut screen = Screen::default();
    let setting = Setting { place: "plant.example:1883", colours, now };
    let mut buffer = Buffer::empty(area);
    let mut cursor = draw(model, &mut screen, &setting, area, &mut buffer);
    for key in keys.chars() {
        let code = match key {
            '\n' => KeyCode::Enter,
            '\x1b' => KeyCode::Esc,
            letter => KeyCode::Char(letter),
        };
        screen.on_key(code.into(), model);
        buffer = Buffer::empty(area);
        cursor = draw(model, &mut screen, &setting, area, &mut buffer);
    }
    (buffer, cursor)
}

fn model() -> (Model, Instant) {
    let begun = Instant::now();
    let mut model = Model::new(10_000, begun);
    model.connection = Connection::Connected { since: begun };
    for (name, value) in [
        ("version", "quelea version 0.1.0"),
        ("uptime", "273600 seconds"),
        ("clients/connected", "1250"),
        ("load/publish/received/1min", "300000"),
        ("load/publish/sent/1min", "1200000"),
        ("retained messages/count", "321"),
        ("publish/messages/dropped", "0"),
    ] {
        model.note(&message(&format!("$SYS/broker/{name}"), value), begun);
    }
    for line in 1..=3 {
        for name in ["temperature", "pressure", "state"] {
            let topic = format!("plant/north/line {line}/{name}");
            let value = match name {
                "temperature" => "21.5",
                "pressure" => "1013.25",
                _ => "running",
            };
            model.note(&message(&topic, value), begun);
        }
    }
    model.note(&message("empty//level", ""), begun);
    model.note(&message("grüße/世界", "héllo 世界"), begun);
    let bytes = Publish { topic: "raw/bytes", payload: b"\0\x01\x02\xFFABC", ..Publish::default() };
    model.note(&bytes, begun);
    let pairs = [("unit", "°C"), ("source", "gateway-7")];
    let properties = PublishProperties {
        content_type: Some("application/json"),
        response_topic: Some("plant/north/answers"),
        correlation_data: Some(b"\x01\x02"),
        message_expiry_secs: Some(3_600),
        user_properties: UserProperties::from_pairs(&pairs),
        ..PublishProperties::default()
    };
    let json = Publish {
        topic: "plant/north/json",
        payload: br#"{"line":3,"values":[1,2.5,{"x":null}],"text":"a, b","ok":true}"#,
        qos: QoS::AtLeastOnce,
        retain: true,
        properties,
        ..Publish::default()
    };
    model.note(&json, begun);
    for secs in 1..=20_u64 {
        let now = begun + Duration::from_secs(secs);
        for index in 0..(secs * 7) % 10 * 20 {
            let topic = format!("plant/north/line {}/temperature", index % 3 + 1);
            model.note(&message(&topic, &format!("{}.5", 20 + index % 5)), now);
        }
        model.tick(now);
    }
    (model, begun + Duration::from_secs(20))
}
