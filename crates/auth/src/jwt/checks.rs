//! Whom a token is for, and when (RFC 7519 section 4.1).

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::{Map, Value};

use super::Fault;

/// What a token has to say of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checks {
    /// Who has to have issued it (`iss`); unset, anyone whose key it is.
    pub issuer: Option<Box<str>>,
    /// For whom it has to be (`aud`); unset, it must not be for anyone in particular.
    pub audience: Option<Box<str>>,
    /// How far the clocks of those who issue tokens may be off.
    pub leeway: Duration,
    /// Whether it has to say when it expires.
    pub expiry: Expiry,
}

/// Whether a token has to say when it expires (`exp`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expiry {
    /// One that does not is refused.
    Required,
    /// One that does not is good for ever.
    Optional,
}

impl Checks {
    /// Checks what a token says of itself. Returns until when it holds.
    pub(super) fn check(
        &self,
        claims: &Map<String, Value>,
        now: SystemTime,
    ) -> Result<Option<SystemTime>, Fault> {
        let ends_at = moment(claims, "exp")?.map(|it| it + self.leeway);
        match (ends_at, self.expiry) {
            (Some(ends_at), _) if ends_at <= now => return Err(Fault::Expired),
            (None, Expiry::Required) => return Err(Fault::Claim("exp".into())),
            (Some(_), _) | (None, Expiry::Optional) => {}
        }
        for name in ["nbf", "iat"] {
            if moment(claims, name)?.is_some_and(|it| it > now + self.leeway) {
                return Err(Fault::NotYet);
            }
        }
        if let Some(issuer) = &self.issuer
            && claims.get("iss").and_then(Value::as_str) != Some(issuer)
        {
            return Err(Fault::Issuer);
        }
        if self.is_for_us(claims.get("aud")) { Ok(ends_at) } else { Err(Fault::Audience) }
    }

    /// A token that is for somebody is for nobody else: without a name of ours it cannot be for us.
    fn is_for_us(&self, audience: Option<&Value>) -> bool {
        match (&self.audience, audience) {
            (None, None) => true,
            (Some(us), Some(Value::String(one))) => **us == **one,
            (Some(us), Some(Value::Array(all))) => all.iter().any(|it| it.as_str() == Some(us)),
            (None, Some(_)) | (Some(_), None | Some(_)) => false,
        }
    }
}

/// Returns the moment that a claim names, in whole seconds.
fn moment(claims: &Map<String, Value>, name: &str) -> Result<Option<SystemTime>, Fault> {
    let Some(value) = claims.get(name) else { return Ok(None) };
    let secs = value.as_f64().filter(|it| (0.0..=SECS_MAX).contains(it));
    let secs = secs.ok_or_else(|| Fault::Claim(name.into()))?;
    Ok(Some(UNIX_EPOCH + Duration::from_secs(secs as u64)))
}

/// The end of the year 9999. What is later was meant in milliseconds.
const SECS_MAX: f64 = 253_402_300_799.0;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_holds_from_when_to_when_it_says() {
        check(r#"{"exp": 1001}"#, Ok(Some(1001)));
        check(r#"{"exp": 1000.9}"#, Err(Fault::Expired));
        check(r#"{"exp": 1000}"#, Err(Fault::Expired));
        check(r#"{"exp": 2000, "nbf": 1000, "iat": 1000}"#, Ok(Some(2000)));
        check(r#"{"exp": 2000, "nbf": 1001}"#, Err(Fault::NotYet));
        check(r#"{"exp": 2000, "iat": 1001}"#, Err(Fault::NotYet));
        check("{}", Err(Fault::Claim("exp".into())));
        for exp in ["null", "\"2000\"", "-1", "1e300", "1764000000000", "[2000]"] {
            check(&format!(r#"{{"exp": {exp}}}"#), Err(Fault::Claim("exp".into())));
        }
        check(r#"{"exp": 2000, "nbf": true}"#, Err(Fault::Claim("nbf".into())));
    }

    #[test]
    fn clocks_may_be_off_by_so_much() {
        let checks = Checks { leeway: Duration::from_secs(10), ..strict() };
        check_with(&checks, r#"{"exp": 991}"#, Ok(Some(1001)));
        check_with(&checks, r#"{"exp": 990}"#, Err(Fault::Expired));
        check_with(&checks, r#"{"exp": 2000, "nbf": 1010}"#, Ok(Some(2010)));
        check_with(&checks, r#"{"exp": 2000, "nbf": 1011}"#, Err(Fault::NotYet));
    }

    #[test]
    fn a_token_without_an_end_is_good_where_that_is_said() {
        let checks = Checks { expiry: Expiry::Optional, ..strict() };
        check_with(&checks, "{}", Ok(None));
        check_with(&checks, r#"{"exp": 1000}"#, Err(Fault::Expired));
    }

    #[test]
    fn a_token_for_others_is_refused() {
        let ours = Checks { audience: Some("mqtt".into()), ..strict() };
        for (audience, is_for_us, is_for_anyone) in [
            (r#""mqtt""#, true, false),
            (r#"["web", "mqtt"]"#, true, false),
            (r#""web""#, false, false),
            (r#""mqtt2""#, false, false),
            ("[]", false, false),
            (r#"[["mqtt"]]"#, false, false),
            (r#"{"mqtt": true}"#, false, false),
            ("null", false, false),
        ] {
            let claims = format!(r#"{{"exp": 2000, "aud": {audience}}}"#);
            let outcome = |is_good| if is_good { Ok(Some(2000)) } else { Err(Fault::Audience) };
            check_with(&ours, &claims, outcome(is_for_us));
            check_with(&strict(), &claims, outcome(is_for_anyone));
        }
        check_with(&ours, r#"{"exp": 2000}"#, Err(Fault::Audience));
    }

    #[test]
    fn a_token_from_others_is_refused() {
        let checks = Checks { issuer: Some("https://id".into()), ..strict() };
        check_with(&checks, r#"{"exp": 2000, "iss": "https://id"}"#, Ok(Some(2000)));
        check_with(&checks, r#"{"exp": 2000, "iss": "https://id/"}"#, Err(Fault::Issuer));
        check_with(&checks, r#"{"exp": 2000, "iss": ["https://id"]}"#, Err(Fault::Issuer));
        check_with(&checks, r#"{"exp": 2000}"#, Err(Fault::Issuer));
    }

    #[track_caller]
    fn check(claims: &str, expected: Result<Option<u64>, Fault>) {
        check_with(&strict(), claims, expected);
    }

    /// It is 1,000 seconds after the beginning of 1970.
    #[track_caller]
    fn check_with(checks: &Checks, claims: &str, expected: Result<Option<u64>, Fault>) {
        let at = |secs| UNIX_EPOCH + Duration::from_secs(secs);
        let claims_read: Map<String, Value> = serde_json::from_str(claims).unwrap();
        let checked = checks.check(&claims_read, at(1000));
        assert_eq!(checked, expected.map(|it| it.map(at)), "{claims}");
    }

    fn strict() -> Checks {
        Checks { issuer: None, audience: None, leeway: Duration::ZERO, expiry: Expiry::Required }
    }
}
