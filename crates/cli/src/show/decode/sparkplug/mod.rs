//! Sparkplug B: a line for each metric.
//!
//! Of arrays in bytes, files and what other dialects add, the bytes are shown.

mod scalar;
mod schema;

use std::fmt::Write;

use prost::Message;

use super::notation::Notation;
use scalar::{Scalar, time, type_name};
use schema::{
    DataSet, MetaData, Metric, MetricValue, Payload, Property, PropertySet, PropertyValue, Template,
};

/// Returns whether Sparkplug payloads belong on a topic: spBv1.0/GROUP/MESSAGE/NODE[/DEVICE].
pub(super) fn is_topic(topic: &str) -> bool {
    let mut levels = topic.split('/');
    levels.next() == Some("spBv1.0")
        && levels.next().is_some_and(|group| group != "STATE")
        && levels.next().is_some_and(|message| MESSAGES.contains(&message))
        && levels.next().is_some()
}

/// Appends what a payload says.
pub(super) fn append(bytes: &[u8], out: &mut Vec<u8>) -> Result<(), String> {
    let payload = Payload::decode(bytes).map_err(|it| it.to_string())?;
    let mut lines = Lines { text: String::new(), depth: 0 };
    lines.payload(&payload);
    out.extend_from_slice(lines.text.trim_end_matches('\n').as_bytes());
    Ok(())
}

/// Lines, indented.
struct Lines {
    text: String,
    depth: usize,
}

impl Lines {
    fn payload(&mut self, payload: &Payload) {
        let parts = [
            payload.seq.map(|it| format!("seq {it}")),
            payload.timestamp.map(time),
            payload.uuid.as_deref().map(|it| format!("uuid {}", quoted(it))),
        ];
        let parts: Vec<String> = parts.into_iter().flatten().collect();
        if !parts.is_empty() {
            self.line(&parts.join(", "));
        }
        payload.metrics.iter().for_each(|it| self.metric(it));
        if let Some(body) = &payload.body {
            self.line(&format!("body {}", hex(body)));
        }
    }

    fn metric(&mut self, metric: &Metric) {
        let name = match (&metric.name, metric.alias) {
            (Some(name), None) => quoted(name),
            (Some(name), Some(alias)) => format!("{} (alias {alias})", quoted(name)),
            (None, Some(alias)) => format!("alias {alias}"),
            (None, None) => "no name".to_owned(),
        };
        let mut line = format!("{name}: {}", type_name(metric.datatype));
        let value = metric.value.as_ref().filter(|_| metric.is_null != Some(true));
        if let Some(text) = scalar_text(value, metric.datatype) {
            let _ = write!(line, " {text}");
        }
        let flags = [
            metric.timestamp.map(time),
            metric.is_historical.filter(|it| *it).map(|_| "historical".to_owned()),
            metric.is_transient.filter(|it| *it).map(|_| "transient".to_owned()),
        ];
        for flag in flags.into_iter().flatten() {
            let _ = write!(line, ", {flag}");
        }
        self.line(&line);
        self.depth += 1;
        match value {
            Some(MetricValue::DataSet(it)) => self.data_set(it),
            Some(MetricValue::Template(it)) => self.template(it),
            _ => {}
        }
        if let Some(metadata) = &metric.metadata {
            self.metadata(metadata);
        }
        if let Some(properties) = &metric.properties {
            self.properties(properties);
        }
        self.depth -= 1;
    }

    fn data_set(&mut self, it: &DataSet) {
        let types = it.types.iter().map(|it| type_name(Some(*it)));
        let columns =
            it.columns.iter().zip(types).map(|(name, kind)| format!("{} {kind}", quoted(name)));
        self.line(&columns.collect::<Vec<_>>().join(" | "));
        for row in &it.rows {
            let cells = row.elements.iter().enumerate().map(|(index, element)| {
                let scalar = element.value.as_ref().map(Scalar::from);
                scalar.map_or("null".to_owned(), |scalar| scalar.text(it.types.get(index).copied()))
            });
            self.line(&cells.collect::<Vec<_>>().join(" | "));
        }
    }

    fn template(&mut self, it: &Template) {
        let kind = if it.is_definition == Some(true) { "definition" } else { "instance" };
        let mut line = kind.to_owned();
        if let Some(reference) = &it.template_ref {
            let _ = write!(line, " of {}", quoted(reference));
        }
        if let Some(version) = &it.version {
            let _ = write!(line, ", version {}", quoted(version));
        }
        self.line(&line);
        for parameter in &it.parameters {
            let name = quoted(parameter.name.as_deref().unwrap_or_default());
            let scalar = parameter.value.as_ref().map(Scalar::from);
            let text = scalar.map_or("null".to_owned(), |it| it.text(parameter.datatype));
            self.line(&format!("parameter {name}: {} {text}", type_name(parameter.datatype)));
        }
        it.metrics.iter().for_each(|it| self.metric(it));
    }

    fn metadata(&mut self, it: &MetaData) {
        let texts = [
            ("content type", &it.content_type),
            ("file name", &it.file_name),
            ("file type", &it.file_type),
            ("md5", &it.md5),
            ("description", &it.description),
        ];
        let texts = texts.into_iter().filter_map(|(name, text)| {
            text.as_deref().map(|text| format!("{name} {}", quoted(text)))
        });
        let numbers = [("size", it.size), ("seq", it.seq)];
        let numbers =
            numbers.into_iter().filter_map(|(name, it)| it.map(|it| format!("{name} {it}")));
        let parts = it.is_multi_part.filter(|it| *it).map(|_| "one of several parts".to_owned());
        let all: Vec<String> = texts.chain(numbers).chain(parts).collect();
        self.line(&format!("metadata: {}", all.join(", ")));
    }

    fn properties(&mut self, it: &PropertySet) {
        for (key, value) in it.keys.iter().zip(&it.values) {
            self.property(key, value);
        }
    }

    fn property(&mut self, key: &str, it: &Property) {
        let value = it.value.as_ref().filter(|_| it.is_null != Some(true));
        let mut line = format!("property {}: {}", quoted(key), type_name(it.datatype));
        let sets = match value {
            Some(PropertyValue::Set(set)) => std::slice::from_ref(set),
            Some(PropertyValue::Sets(list)) => &list.sets,
            None => {
                line += " null";
                &[]
            }
            Some(value) => {
                let text = Scalar::of_property(value).map(|scalar| scalar.text(it.datatype));
                let _ = write!(line, " {}", text.unwrap_or_default());
                &[]
            }
        };
        self.line(&line);
        self.depth += 1;
        sets.iter().for_each(|it| self.properties(it));
        self.depth -= 1;
    }

    fn line(&mut self, text: &str) {
        for _ in 0..self.depth {
            self.text.push_str("  ");
        }
        self.text.push_str(text);
        self.text.push('\n');
    }
}

/// Returns a value that fits on the metric's line.
fn scalar_text(value: Option<&MetricValue>, datatype: Option<u32>) -> Option<String> {
    match value {
        None => Some("null".to_owned()),
        Some(MetricValue::Bytes(bytes)) => Some(hex(bytes)),
        Some(MetricValue::DataSet(_) | MetricValue::Template(_)) => None,
        Some(value) => Scalar::of_metric(value).map(|it| it.text(datatype)),
    }
}

fn quoted(text: &str) -> String {
    written(|out| out.text(text))
}

fn hex(bytes: &[u8]) -> String {
    written(|out| out.bytes(bytes))
}

fn written(write: impl FnOnce(&mut Notation<'_>)) -> String {
    let mut out = Vec::new();
    write(&mut Notation::new(&mut out));
    String::from_utf8_lossy(&out).into_owned()
}

const MESSAGES: [&str; 8] =
    ["NBIRTH", "NDEATH", "DBIRTH", "DDEATH", "NDATA", "DDATA", "NCMD", "DCMD"];

#[cfg(test)]
mod tests {
    use super::schema::{Element, ElementValue, Row};
    use super::*;

    #[test]
    fn topics_of_sparkplug() {
        for topic in ["spBv1.0/g/NBIRTH/n", "spBv1.0/g/DDATA/n/d"] {
            assert!(is_topic(topic), "{topic}");
        }
        for topic in
            ["spBv1.0/STATE/h", "spBv1.0/g/STATE/n", "spBv1.0/g/DDATA", "spAv1.0/g/DDATA/n"]
        {
            assert!(!is_topic(topic), "{topic}");
        }
    }

    #[test]
    fn metrics_have_a_line() {
        let metric = |name: &str, datatype, value| Metric {
            name: Some(name.to_owned()),
            datatype: Some(datatype),
            value: Some(value),
            ..Metric::default()
        };
        let rows =
            vec![Row { elements: vec![Element { value: Some(ElementValue::Int(u32::MAX)) }] }];
        let data_set = DataSet { columns: vec!["a".to_owned()], types: vec![3], rows };
        let property =
            Property { datatype: Some(3), is_null: None, value: Some(PropertyValue::Int(192)) };
        let properties = PropertySet { keys: vec!["Quality".to_owned()], values: vec![property] };
        let payload = Payload {
            timestamp: Some(1_486_144_502_122),
            seq: Some(2),
            metrics: vec![
                Metric {
                    alias: Some(7),
                    properties: Some(properties),
                    ..metric("t", 9, MetricValue::Float(21.5))
                },
                metric("small", 1, MetricValue::Int(0xFFFF_FFFB)),
                metric("when", 13, MetricValue::Long(1_486_144_502_122)),
                Metric {
                    is_null: Some(true),
                    is_historical: Some(true),
                    ..metric("gone", 12, MetricValue::String(String::new()))
                },
                metric("table", 16, MetricValue::DataSet(data_set)),
                Metric {
                    alias: Some(9),
                    value: Some(MetricValue::Boolean(true)),
                    ..Metric::default()
                },
            ],
            uuid: None,
            body: None,
        };
        let mut out = Vec::new();
        append(&payload.encode_to_vec(), &mut out).expect("it is Sparkplug");
        let expected = r#"seq 2, 2017-02-03T17:55:02.122Z
"t" (alias 7): Float 21.5
  property "Quality": Int32 192
"small": Int8 -5
"when": DateTime 2017-02-03T17:55:02.122Z
"gone": String null, historical
"table": DataSet
  "a" Int32
  -1
alias 9: value true"#;
        assert_eq!(String::from_utf8_lossy(&out), expected);
        append(b"\x0A\xFF", &mut Vec::new()).expect_err("it ends too early");
    }
}
