//! Messages as JSON: in the form of Mosquitto's clients, and in one that loses nothing.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde::de::IgnoredAny;

use super::format::NoJson;
use super::shown::Shown;

/// How JSON is laid out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Layout {
    /// On one line, without a blank.
    #[default]
    Compact,
    /// A member a line, with tabs, and arrays on one: so Mosquitto's `--pretty` has it.
    Tabs,
    /// A value a line, indented by two blanks.
    Indented,
}

/// Appends a message as `%j` has it: the payload is a string.
pub(crate) fn append_escaped(it: &Shown<'_>, layout: Layout, out: &mut Vec<u8>) {
    let mut writer = Writer::new(layout, out);
    begin_of_mosquitto(it, &mut writer);
    writer.key("payload");
    if it.payload.is_empty() {
        writer.raw("null");
    } else {
        // Bytes that are no text have no form in JSON.
        writer.string(&String::from_utf8_lossy(it.payload));
    }
    writer.close(b'}');
}

/// Appends a message as `%J` has it: the payload is JSON itself. Nothing is appended if it is not.
pub(crate) fn append_embedded(
    it: &Shown<'_>,
    layout: Layout,
    out: &mut Vec<u8>,
) -> Result<(), NoJson> {
    let payload = if it.payload.is_empty() { "null" } else { check(it.payload).ok_or(NoJson)? };
    let mut writer = Writer::new(layout, out);
    begin_of_mosquitto(it, &mut writer);
    writer.key("payload");
    writer.copy(payload);
    writer.close(b'}');
    Ok(())
}

/// Appends JSON in another layout. Nothing is appended if it is none.
pub(crate) fn append_again(text: &[u8], layout: Layout, out: &mut Vec<u8>) -> Result<(), NoJson> {
    let text = check(text).ok_or(NoJson)?;
    Writer::new(layout, out).copy(text);
    Ok(())
}

/// Appends everything that is known of a message.
pub(crate) fn append_whole(it: &Shown<'_>, layout: Layout, out: &mut Vec<u8>) {
    let mut writer = Writer::new(layout, out);
    writer.open(b'{');
    let mut time = Vec::new();
    it.moment.append_rfc3339(&mut time);
    writer.member("time", &String::from_utf8_lossy(&time));
    writer.member("topic", it.topic);
    writer.bytes_member("payload", it.payload);
    writer.raw_member("qos", it.qos);
    writer.raw_member("retain", it.is_retained);
    writer.raw_member("dup", it.is_duplicate);
    if let Some(id) = it.packet_id {
        writer.raw_member("packet_id", id);
    }
    if it.has_properties() {
        writer.key("properties");
        writer.open(b'{');
        if let Some(is_text) = it.is_text {
            writer.raw_member("payload_format_indicator", u8::from(is_text));
        }
        if let Some(secs) = it.expiry_secs {
            writer.raw_member("message_expiry_interval", secs);
        }
        if let Some(content_type) = it.content_type {
            writer.member("content_type", content_type);
        }
        if let Some(topic) = it.response_topic {
            writer.member("response_topic", topic);
        }
        if let Some(data) = it.correlation_data {
            writer.bytes_member("correlation_data", data);
        }
        if !it.user_properties.is_empty() {
            writer.key("user_properties");
            writer.open(b'[');
            for (name, value) in &it.user_properties {
                writer.next();
                writer.open(b'[');
                for text in [name, value] {
                    writer.next();
                    writer.string(text);
                }
                writer.close(b']');
            }
            writer.close(b']');
        }
        writer.close(b'}');
    }
    writer.close(b'}');
}

fn begin_of_mosquitto(it: &Shown<'_>, writer: &mut Writer<'_>) {
    writer.open(b'{');
    let mut time = Vec::new();
    it.moment.append_of_mosquitto(&mut time);
    writer.member("tst", &String::from_utf8_lossy(&time));
    writer.member("topic", it.topic);
    writer.raw_member("qos", it.qos);
    writer.raw_member("retain", u8::from(it.is_retained));
    writer.raw_member("payloadlen", it.payload.len());
    if let Some(id) = it.packet_id {
        writer.raw_member("mid", id);
    }
    if it.has_properties() {
        writer.key("properties");
        writer.open(b'{');
        if let Some(is_text) = it.is_text {
            writer.raw_member("payload-format-indicator", u8::from(is_text));
        }
        if let Some(content_type) = it.content_type {
            writer.member("content-type", content_type);
        }
        if let Some(topic) = it.response_topic {
            writer.member("response-topic", topic);
        }
        if let Some(data) = it.correlation_data {
            writer.member("correlation-data", &String::from_utf8_lossy(data));
        }
        if !it.user_properties.is_empty() {
            writer.key("user-properties");
            writer.open(b'{');
            it.user_properties.iter().for_each(|(name, value)| writer.member(name, value));
            writer.close(b'}');
        }
        if let Some(secs) = it.expiry_secs {
            writer.raw_member("message-expiry-interval", secs);
        }
        writer.close(b'}');
    }
}

/// Returns the text if it is JSON, of a depth that people write.
fn check(text: &[u8]) -> Option<&str> {
    serde_json::from_slice::<IgnoredAny>(text).ok()?;
    str::from_utf8(text).ok()
}

/// Writes one value.
struct Writer<'a> {
    layout: Layout,
    out: &'a mut Vec<u8>,
    /// For each that is open: its bracket, and whether there is something in it.
    open: Vec<(u8, bool)>,
}

impl<'a> Writer<'a> {
    fn new(layout: Layout, out: &'a mut Vec<u8>) -> Self {
        Self { layout, out, open: Vec::new() }
    }

    fn member(&mut self, name: &str, value: &str) {
        self.key(name);
        self.string(value);
    }

    fn raw_member(&mut self, name: &str, value: impl ToString) {
        self.key(name);
        self.raw(&value.to_string());
    }

    /// Writes bytes as text, or if they are none as base64, under a name that says so.
    fn bytes_member(&mut self, name: &str, bytes: &[u8]) {
        match str::from_utf8(bytes) {
            Ok(text) => self.member(name, text),
            Err(_) => self.member(&format!("{name}_base64"), &BASE64_STANDARD.encode(bytes)),
        }
    }

    fn key(&mut self, name: &str) {
        self.next();
        self.string(name);
        self.out.extend_from_slice(match self.layout {
            Layout::Compact => b":",
            Layout::Tabs => b":\t",
            Layout::Indented => b": ",
        });
    }

    fn open(&mut self, bracket: u8) {
        self.out.push(bracket);
        self.open.push((bracket, false));
    }

    /// Makes way for the next key of an object, or the next value of an array.
    fn next(&mut self) {
        let Some((bracket, has_some)) = self.open.last_mut() else {
            return;
        };
        let (is_array, is_first) = (*bracket == b'[', !std::mem::replace(has_some, true));
        if !is_first {
            self.out.push(b',');
        }
        match self.layout {
            Layout::Compact => {}
            Layout::Tabs if is_array && is_first => {}
            Layout::Tabs if is_array => self.out.push(b' '),
            Layout::Tabs | Layout::Indented => self.line(self.open.len()),
        }
    }

    fn close(&mut self, bracket: u8) {
        let has_some = self.open.pop().is_some_and(|it| it.1);
        match self.layout {
            Layout::Compact => {}
            // An empty object takes two lines, as it does there.
            Layout::Tabs if bracket == b'}' => self.line(self.open.len()),
            Layout::Indented if has_some => self.line(self.open.len()),
            Layout::Tabs | Layout::Indented => {}
        }
        self.out.push(bracket);
    }

    fn line(&mut self, depth: usize) {
        self.out.push(b'\n');
        let unit: &[u8] = if self.layout == Layout::Tabs { b"\t" } else { b"  " };
        for _ in 0..depth {
            self.out.extend_from_slice(unit);
        }
    }

    fn raw(&mut self, text: &str) {
        self.out.extend_from_slice(text.as_bytes());
    }

    fn string(&mut self, text: &str) {
        append_string(text, self.out);
    }

    /// Writes a value that is JSON. Numbers stay as they are written: to read them could round them.
    fn copy(&mut self, text: &str) {
        let mut rest = text.trim_start_matches(BLANKS);
        let mut is_key = false;
        while let Some(first) = rest.bytes().next() {
            let length = token_bytes(rest);
            let (token, tail) = rest.split_at(length);
            rest = tail.trim_start_matches(BLANKS);
            match first {
                b'{' | b'[' => {
                    self.next_in_array();
                    self.open(first);
                    is_key = first == b'{';
                }
                b'}' | b']' => self.close(first),
                b',' => is_key = self.open.last().is_some_and(|it| it.0 == b'{'),
                b':' => is_key = false,
                b'"' => {
                    let text = serde_json::from_str::<String>(token).unwrap_or_default();
                    if is_key {
                        self.key(&text);
                    } else {
                        self.next_in_array();
                        self.string(&text);
                    }
                }
                _ => {
                    self.next_in_array();
                    self.raw(token);
                }
            }
        }
    }

    fn next_in_array(&mut self) {
        if self.open.last().is_some_and(|it| it.0 == b'[') {
            self.next();
        }
    }
}

/// Appends a text in quotation marks.
pub(super) fn append_string(text: &str, out: &mut Vec<u8>) {
    out.push(b'"');
    for letter in text.chars() {
        match letter {
            '"' => out.extend_from_slice(b"\\\""),
            '\\' => out.extend_from_slice(b"\\\\"),
            '\u{8}' => out.extend_from_slice(b"\\b"),
            '\u{c}' => out.extend_from_slice(b"\\f"),
            '\n' => out.extend_from_slice(b"\\n"),
            '\r' => out.extend_from_slice(b"\\r"),
            '\t' => out.extend_from_slice(b"\\t"),
            letter if letter < ' ' => {
                out.extend_from_slice(format!("\\u{:04x}", u32::from(letter)).as_bytes());
            }
            letter => out.extend_from_slice(letter.encode_utf8(&mut [0; 4]).as_bytes()),
        }
    }
    out.push(b'"');
}

/// Returns the length of the token that well-formed JSON begins with.
fn token_bytes(text: &str) -> usize {
    let bytes = text.as_bytes();
    match bytes.first() {
        Some(b'"') => {
            let mut at = 1;
            while at < bytes.len() && bytes[at] != b'"' {
                at += if bytes[at] == b'\\' { 2 } else { 1 };
            }
            (at + 1).min(bytes.len())
        }
        Some(b'{' | b'}' | b'[' | b']' | b',' | b':') => 1,
        _ => {
            let is_end = |it: &u8| b",]}: \t\r\n".contains(it);
            bytes.iter().position(is_end).unwrap_or(bytes.len())
        }
    }
}

const BLANKS: [char; 4] = [' ', '\t', '\r', '\n'];

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;

    #[test]
    fn messages_look_as_mosquitto_prints_them() {
        let mut out = Vec::new();
        append_escaped(&Shown::example(b"a\"\x01\n"), Layout::Compact, &mut out);
        let expected = r#"{"tst":"2026-03-05T07:08:09.123456Z+0100","topic":"plant/7","qos":1,"retain":1,"payloadlen":4,"mid":3,"payload":"a\"\u0001\n"}"#;
        assert_eq!(String::from_utf8_lossy(&out), expected);
    }

    #[test]
    fn layouts() {
        let json = br#" {"b" : 1.50, "a":[1, {"x":null}, "\u00e9"],"e":{} ,"f":[]}"#;
        let compact = "{\"b\":1.50,\"a\":[1,{\"x\":null},\"\u{e9}\"],\"e\":{},\"f\":[]}";
        check_layout(json, Layout::Compact, compact);
        let tabs = "{\n\t\"b\":\t1.50,\n\t\"a\":\t[1, {\n\t\t\t\"x\":\tnull\n\t\t}, \"\u{e9}\"],\n\t\"e\":\t{\n\t},\n\t\"f\":\t[]\n}";
        check_layout(json, Layout::Tabs, tabs);
        let indented = "{\n  \"b\": 1.50,\n  \"a\": [\n    1,\n    {\n      \"x\": null\n    },\n    \"\u{e9}\"\n  ],\n  \"e\": {},\n  \"f\": []\n}";
        check_layout(json, Layout::Indented, indented);
    }

    #[test]
    fn what_is_no_json_is_not_printed() {
        let deep = "[".repeat(100_000);
        for text in ["", "{", "a", "1 2", "\"\\x\"", deep.as_str()] {
            let mut out = Vec::new();
            assert_eq!(append_again(text.as_bytes(), Layout::Tabs, &mut out), Err(NoJson));
            assert!(out.is_empty());
        }
    }

    proptest! {
        /// However it is laid out, it is the same value.
        #[test]
        fn layouts_change_nothing(value in values()) {
            for text in [value.to_string(), format!("{value:#}")] {
                for layout in [Layout::Compact, Layout::Tabs, Layout::Indented] {
                    let mut out = Vec::new();
                    append_again(text.as_bytes(), layout, &mut out).expect("it is JSON");
                    prop_assert_eq!(serde_json::from_slice::<Value>(&out).expect("it is JSON"), value.clone());
                }
            }
        }
    }

    fn values() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<String>().prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 64, 6, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
                prop::collection::hash_map(any::<String>(), inner, 0..6)
                    .prop_map(|it| Value::Object(it.into_iter().collect())),
            ]
        })
    }

    #[track_caller]
    fn check_layout(json: &[u8], layout: Layout, expected: &str) {
        let mut out = Vec::new();
        append_again(json, layout, &mut out).expect("it is JSON");
        assert_eq!(String::from_utf8_lossy(&out), expected);
    }
}
