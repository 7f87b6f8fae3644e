//! What the claims of a token say about the client.

use std::sync::Arc;

use quelea_acl::Rule;
use serde_json::{Map, Value};

use super::Fault;
use super::template::{Template, scalar};
use crate::Identity;

/// Which claims say who a client is and what it may do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mapping {
    /// The user.
    pub user: Template,
    /// The client identifier, if it is not the client's choice.
    pub client_id: Option<Template>,
    /// A claim with the groups: a list of names, or a text with spaces between them.
    pub groups: Option<Template>,
    /// A claim with a list of rules. Without the claim it is an empty one.
    pub acl: Option<Template>,
}

impl Mapping {
    /// Returns who the client is by the claims of its token.
    pub(super) fn identity(&self, claims: &Map<String, Value>) -> Result<Identity, Fault> {
        let user = name(&self.user, claims)?;
        let client_id = self.client_id.as_ref().map(|it| name(it, claims)).transpose()?;
        let groups = match self.groups.as_ref().and_then(|it| it.only(claims)) {
            Some(groups) => names(groups).ok_or(Fault::Claim("groups".into()))?,
            None => Box::default(),
        };
        let rules = self.acl.as_ref().map(|it| rules(it.only(claims))).transpose()?;
        let mut flat = Flat::default();
        flat.collect(claims, "", 0)?;
        let claims = flat.claims.into();
        let user = Some(user);
        Ok(Identity { user, client_id, groups, claims, rules, ..Identity::default() })
    }
}

/// Returns a name of a user or a client: it is not empty, and nothing that MQTT would not take (section 1.5.4), which
/// claims in a row can be longer than.
fn name(template: &Template, claims: &Map<String, Value>) -> Result<Box<str>, Fault> {
    let name = template.fill(claims).map_err(Fault::Claim)?;
    let has_length = (1..=usize::from(u16::MAX)).contains(&name.len());
    let is_name = has_length && !name.contains(char::is_control);
    if is_name { Ok(name.into()) } else { Err(Fault::Claim(template.to_string().into())) }
}

/// Returns the rules of a claim. Where tokens are to bring rules, one that has none brings an empty list: it allows
/// nothing, also where nothing is configured.
fn rules(claim: Option<&Value>) -> Result<Arc<[Rule]>, Fault> {
    let Some(claim) = claim else { return Ok(Arc::default()) };
    quelea_acl::read_json(&claim.to_string()).map_err(|error| Fault::Rules(error.to_string()))
}

/// Returns a list of names.
fn names(value: &Value) -> Option<Box<[Box<str>]>> {
    match value {
        Value::Array(names) => names.iter().map(|it| it.as_str().map(Into::into)).collect(),
        Value::String(names) => Some(names.split_whitespace().map(Into::into).collect()),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_) => None,
    }
}

/// Claims that can stand in a rule: texts, numbers, true and false, those in objects by dotted names.
#[derive(Default)]
struct Flat {
    claims: Vec<(Box<str>, Box<str>)>,
    bytes: usize,
}

impl Flat {
    fn collect(
        &mut self,
        claims: &Map<String, Value>,
        prefix: &str,
        depth: usize,
    ) -> Result<(), Fault> {
        // By two claims of one name the one that is less deep counts, as in a template.
        for (name, value) in claims {
            if let Some(text) = scalar(value) {
                let name = format!("{prefix}{name}");
                self.bytes += name.len() + text.len();
                self.claims.push((name.into(), text.into()));
                if self.claims.len() > CLAIMS_MAX || self.bytes > BYTES_MAX {
                    return Err(Fault::ClaimCount);
                }
            }
        }
        for (name, value) in claims {
            match value {
                Value::Object(_) if depth == DEPTH_MAX => return Err(Fault::ClaimCount),
                Value::Object(inner) => {
                    self.collect(inner, &format!("{prefix}{name}."), depth + 1)?;
                }
                _ => {}
            }
        }
        Ok(())
    }
}

/// How deep objects in objects may be.
const DEPTH_MAX: usize = 8;

/// How many claims a session keeps.
const CLAIMS_MAX: usize = 256;

/// How long they may be together, with their names.
const BYTES_MAX: usize = 32 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn claims_say_who_a_client_is() {
        let identity = read(
            r#"{"sub": "bob", "tenant": {"id": 7, "paid": true}, "roles": ["ops", "dev"],
                "acl": [{"allow": ["publish"], "topics": ["a"]}], "device": "d1"}"#,
        )
        .unwrap();
        assert_eq!(identity.user.as_deref(), Some("7-bob"));
        assert_eq!(identity.client_id.as_deref(), Some("d1"));
        assert_eq!(*identity.groups, ["ops".into(), "dev".into()]);
        assert_eq!(
            identity.rules,
            quelea_acl::read_json(r#"[{"allow":"publish","topics":"a"}]"#).ok()
        );
        let known = ["device", "sub", "tenant.id", "tenant.paid", "roles", "acl"];
        let known = known.map(|it| identity.claim(it));
        assert_eq!(known, [Some("d1"), Some("bob"), Some("7"), Some("true"), None, None]);
    }

    #[test]
    fn groups_are_a_list_or_a_text() {
        for (roles, expected) in [
            (r#"["a b", "c"]"#, Ok(vec!["a b", "c"])),
            (r#"" a  b ""#, Ok(vec!["a", "b"])),
            (r#""""#, Ok(vec![])),
            (r#"[7]"#, Err("groups")),
            ("7", Err("groups")),
            ("null", Err("groups")),
        ] {
            let claims = format!(
                r#"{{"sub": "b", "device": "d", "tenant": {{"id": 1}}, "roles": {roles}}}"#
            );
            let groups = read(&claims).map(|it| it.groups.to_vec());
            let expected = expected.map(|them| them.into_iter().map(Into::into).collect());
            assert_eq!(groups, expected.map_err(|it| Fault::Claim(it.into())), "{roles}");
        }
    }

    #[test]
    fn names_have_a_length() {
        for (length, is_name) in [(65_533, true), (65_534, false)] {
            let sub = "x".repeat(length);
            let claims = format!(r#"{{"sub": "{sub}", "device": "d", "tenant": {{"id": 1}}}}"#);
            let claims: Map<String, Value> = serde_json::from_str(&claims).unwrap();
            let named = name(&Template::parse("${tenant.id}-${sub}").unwrap(), &claims);
            assert_eq!(named.is_ok(), is_name, "{length}");
        }
    }

    #[test]
    fn names_that_are_none_are_refused() {
        for (sub, device, at_fault) in [
            (r#""""#, r#""d""#, None),
            (r#""b""#, r#""""#, Some("${device}")),
            (r#""b""#, r#""d\u0000""#, Some("${device}")),
            (r#""b\n""#, r#""d""#, Some("${tenant.id}-${sub}")),
            ("null", r#""d""#, Some("sub")),
            (r#"["b"]"#, r#""d""#, Some("sub")),
        ] {
            let claims = format!(r#"{{"sub": {sub}, "device": {device}, "tenant": {{"id": 1}}}}"#);
            let fault = read(&claims).err();
            assert_eq!(fault, at_fault.map(|it| Fault::Claim(it.into())), "{claims}");
        }
    }

    /// No rule that is not understood is left out, and none is none.
    #[test]
    fn rules_are_right_or_nobody_comes_in() {
        let with = |acl: &str| {
            read(&format!(r#"{{"sub": "b", "device": "d", "tenant": {{"id": 1}}, "acl": {acl}}}"#))
        };
        for acl in [
            "\"all\"",
            "null",
            "{}",
            "[7]",
            r#"[{"topics": "a"}]"#,
            r#"[{"deny": "all", "topics": "a"}]"#,
        ] {
            assert!(matches!(with(acl), Err(Fault::Rules(_))), "{acl}");
        }
        assert_eq!(with("[]").unwrap().rules.as_deref(), Some(&[][..]));
        let without = read(r#"{"sub": "b", "device": "d", "tenant": {"id": 1}}"#).unwrap();
        assert_eq!(without.rules.as_deref(), Some(&[][..]));
    }

    #[test]
    fn claims_without_end_are_refused() {
        let deep = format!("{}1{}", r#"{"a":"#.repeat(20), "}".repeat(20));
        let many: Vec<String> = (0..300).map(|it| format!(r#""c{it}": 1"#)).collect();
        // Each has the long name before it.
        let long = format!(r#"{{"{}": {{{}}}}}"#, "x".repeat(1_000), many[..200].join(","));
        for more in [deep, format!("{{{}}}", many.join(",")), long] {
            let claims =
                format!(r#"{{"sub": "b", "device": "d", "tenant": {{"id": 1}}, "more": {more}}}"#);
            assert_eq!(read(&claims), Err(Fault::ClaimCount));
        }
    }

    fn read(claims: &str) -> Result<Identity, Fault> {
        let template = |text| Template::parse(text).unwrap();
        let mapping = Mapping {
            user: template("${tenant.id}-${sub}"),
            client_id: Some(template("${device}")),
            groups: Some(template("${roles}")),
            acl: Some(template("${acl}")),
        };
        mapping.identity(&serde_json::from_str(claims).unwrap())
    }
}
