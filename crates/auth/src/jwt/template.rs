//! Texts with claims in them: `device-${sub}`.

use std::fmt;

use serde_json::{Map, Value};

/// A text in which `${NAME}` stands for a claim.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template {
    pieces: Vec<Piece>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    Text(Box<str>),
    Claim(Box<str>),
}

/// Why a text is no template.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TemplateError {
    /// A `${` without its `}`.
    Open,
    /// A `${}` that names no claim.
    Unnamed,
}

impl Template {
    /// Reads a template.
    ///
    /// # Errors
    ///
    /// A placeholder in it is none.
    pub fn parse(text: &str) -> Result<Self, TemplateError> {
        let mut pieces = Vec::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once("${") {
            let (name, after) = after.split_once('}').ok_or(TemplateError::Open)?;
            if name.is_empty() {
                return Err(TemplateError::Unnamed);
            }
            if !before.is_empty() {
                pieces.push(Piece::Text(before.into()));
            }
            pieces.push(Piece::Claim(name.into()));
            rest = after;
        }
        if !rest.is_empty() {
            pieces.push(Piece::Text(rest.into()));
        }
        Ok(Self { pieces })
    }

    /// Puts the claims in.
    ///
    /// # Errors
    ///
    /// The claim that is not there, or is no text, number, true or false.
    pub(super) fn fill(&self, claims: &Map<String, Value>) -> Result<String, Box<str>> {
        let mut text = String::new();
        for piece in &self.pieces {
            match piece {
                Piece::Text(piece) => text.push_str(piece),
                Piece::Claim(name) => {
                    let value = claim(claims, name).and_then(scalar);
                    text.push_str(&value.ok_or_else(|| name.clone())?);
                }
            }
        }
        Ok(text)
    }

    /// Returns the claim that it is, if it is nothing else: that may be a list.
    pub(super) fn only<'a>(&self, claims: &'a Map<String, Value>) -> Option<&'a Value> {
        match &*self.pieces {
            [Piece::Claim(name)] => claim(claims, name),
            _ => None,
        }
    }

    /// Returns whether nothing can come of it.
    pub fn is_empty(&self) -> bool {
        self.pieces.is_empty()
    }

    /// Returns whether it stands for one claim and has nothing else.
    pub fn is_one_claim(&self) -> bool {
        matches!(&*self.pieces, [Piece::Claim(_)])
    }
}

/// Returns a claim by its name. A dot leads into an object, unless it belongs to a name, as it does in addresses.
fn claim<'a>(claims: &'a Map<String, Value>, name: &str) -> Option<&'a Value> {
    claims.get(name).or_else(|| {
        name.match_indices('.').find_map(|(dot, _)| {
            let inner = claims.get(&name[..dot])?.as_object()?;
            claim(inner, &name[dot + 1..])
        })
    })
}

/// Returns what can stand in a text.
pub(super) fn scalar(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(is_true) => Some(is_true.to_string()),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}

impl fmt::Display for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.pieces.iter().try_for_each(|piece| match piece {
            Piece::Text(text) => f.write_str(text),
            Piece::Claim(name) => write!(f, "${{{name}}}"),
        })
    }
}

impl fmt::Display for TemplateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Open => "has a ${ without its }",
            Self::Unnamed => "has a ${} that names no claim",
        })
    }
}

impl std::error::Error for TemplateError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn claims_take_their_places() {
        check("${sub}", Ok("7"));
        check("dev-${sub}/${on}", Ok("dev-7/true"));
        check("plain $5 {x}", Ok("plain $5 {x}"));
        check("${a.b.c}", Ok("deep"));
        check("${https://example.com/site}", Ok("north"));
        check("${app.example.com.site}", Ok("south"));
        check("${list}", Err("list"));
        check("${none}", Err("none"));
        check("${a.b}", Err("a.b"));
        check("${a.b.c.d}", Err("a.b.c.d"));
        check("${null}", Err("null"));
    }

    #[test]
    fn placeholders_that_are_none_are_refused() {
        assert_eq!(Template::parse("x${sub"), Err(TemplateError::Open));
        assert_eq!(Template::parse("x${}"), Err(TemplateError::Unnamed));
    }

    #[track_caller]
    fn check(template: &str, expected: Result<&str, &str>) {
        let claims = r#"{"sub": 7, "on": true, "list": ["a"], "null": null, "a": {"b": {"c": "deep"}},
            "https://example.com/site": "north", "app": {"example.com": {"site": "south"}}}"#;
        let claims: Map<String, Value> = serde_json::from_str(claims).unwrap();
        let filled = Template::parse(template).unwrap().fill(&claims);
        assert_eq!(filled, expected.map(str::to_owned).map_err(Into::into));
    }
}
