//! Values of one datum, and what their type makes of them: negative numbers travel as unsigned ones.

use jiff::Timestamp;

use super::quoted;
use super::schema::{ElementValue, MetricValue, ParameterValue, PropertyValue};

/// A value of one datum, wherever it is from.
#[derive(Clone, Copy, Debug)]
pub(super) enum Scalar<'a> {
    Int(u32),
    Long(u64),
    Float(f32),
    Double(f64),
    Boolean(bool),
    Text(&'a str),
}

impl<'a> Scalar<'a> {
    /// Returns nothing for what is more than one datum.
    pub(super) fn of_metric(value: &'a MetricValue) -> Option<Self> {
        Some(match value {
            MetricValue::Int(it) => Self::Int(*it),
            MetricValue::Long(it) => Self::Long(*it),
            MetricValue::Float(it) => Self::Float(*it),
            MetricValue::Double(it) => Self::Double(*it),
            MetricValue::Boolean(it) => Self::Boolean(*it),
            MetricValue::String(it) => Self::Text(it),
            MetricValue::Bytes(_) | MetricValue::DataSet(_) | MetricValue::Template(_) => {
                return None;
            }
        })
    }

    /// Returns nothing for what is more than one datum.
    pub(super) fn of_property(value: &'a PropertyValue) -> Option<Self> {
        Some(match value {
            PropertyValue::Int(it) => Self::Int(*it),
            PropertyValue::Long(it) => Self::Long(*it),
            PropertyValue::Float(it) => Self::Float(*it),
            PropertyValue::Double(it) => Self::Double(*it),
            PropertyValue::Boolean(it) => Self::Boolean(*it),
            PropertyValue::String(it) => Self::Text(it),
            PropertyValue::Set(_) | PropertyValue::Sets(_) => return None,
        })
    }

    /// Returns the value as its type has it.
    pub(super) fn text(self, datatype: Option<u32>) -> String {
        match (self, datatype) {
            // Some implementations extend the sign and others do not: the lowest bits are the same.
            #[expect(clippy::cast_possible_truncation, reason = "the rest is the sign")]
            (Self::Int(it), Some(INT8)) => (it as i8).to_string(),
            #[expect(clippy::cast_possible_truncation, reason = "the rest is the sign")]
            (Self::Int(it), Some(INT16)) => (it as i16).to_string(),
            (Self::Int(it), Some(INT32)) => it.cast_signed().to_string(),
            (Self::Long(it), Some(INT64)) => it.cast_signed().to_string(),
            (Self::Long(it), Some(DATE_TIME)) => time(it),
            (Self::Int(it), _) => it.to_string(),
            (Self::Long(it), _) => it.to_string(),
            (Self::Float(it), _) => it.to_string(),
            (Self::Double(it), _) => it.to_string(),
            (Self::Boolean(it), _) => it.to_string(),
            (Self::Text(it), _) => quoted(it),
        }
    }
}

impl<'a> From<&'a ElementValue> for Scalar<'a> {
    fn from(value: &'a ElementValue) -> Self {
        match value {
            ElementValue::Int(it) => Self::Int(*it),
            ElementValue::Long(it) => Self::Long(*it),
            ElementValue::Float(it) => Self::Float(*it),
            ElementValue::Double(it) => Self::Double(*it),
            ElementValue::Boolean(it) => Self::Boolean(*it),
            ElementValue::String(it) => Self::Text(it),
        }
    }
}

impl<'a> From<&'a ParameterValue> for Scalar<'a> {
    fn from(value: &'a ParameterValue) -> Self {
        match value {
            ParameterValue::Int(it) => Self::Int(*it),
            ParameterValue::Long(it) => Self::Long(*it),
            ParameterValue::Float(it) => Self::Float(*it),
            ParameterValue::Double(it) => Self::Double(*it),
            ParameterValue::Boolean(it) => Self::Boolean(*it),
            ParameterValue::String(it) => Self::Text(it),
        }
    }
}

/// Returns a time in milliseconds since 1970 as a date, if it is one.
pub(super) fn time(millis: u64) -> String {
    let time = i64::try_from(millis).ok().and_then(|it| Timestamp::from_millisecond(it).ok());
    time.map_or_else(|| format!("{millis} ms"), |it| it.to_string())
}

/// Returns the name of a data type (section 6.4.16). In data messages it may be missing: the birth has said it.
pub(super) fn type_name(datatype: Option<u32>) -> String {
    match datatype {
        None => "value".to_owned(),
        Some(number) => match usize::try_from(number).ok().and_then(|it| NAMES.get(it)) {
            Some(name) => (*name).to_owned(),
            None => format!("type {number}"),
        },
    }
}

const INT8: u32 = 1;
const INT16: u32 = 2;
const INT32: u32 = 3;
const INT64: u32 = 4;
const DATE_TIME: u32 = 13;

const NAMES: [&str; 35] = [
    "Unknown",
    "Int8",
    "Int16",
    "Int32",
    "Int64",
    "UInt8",
    "UInt16",
    "UInt32",
    "UInt64",
    "Float",
    "Double",
    "Boolean",
    "String",
    "DateTime",
    "Text",
    "UUID",
    "DataSet",
    "Bytes",
    "File",
    "Template",
    "PropertySet",
    "PropertySetList",
    "Int8Array",
    "Int16Array",
    "Int32Array",
    "Int64Array",
    "UInt8Array",
    "UInt16Array",
    "UInt32Array",
    "UInt64Array",
    "FloatArray",
    "DoubleArray",
    "BooleanArray",
    "StringArray",
    "DateTimeArray",
];
