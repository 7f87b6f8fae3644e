//! Until when a certificate is good, or a list of revocations, and whose that is: fields of X.509 that rustls reads
//! and does not show.

use std::time::Duration;

/// Returns when the certificate in `der` expires, as the time since 1970; nothing if it is no certificate.
pub(super) fn expires_at(der: &[u8]) -> Option<Duration> {
    let mut certificate = Der(der).enter(SEQUENCE)?;
    let mut signed = certificate.enter(SEQUENCE)?;
    // The version stands in front of the serial number, and may be left out.
    if signed.0.first() == Some(&VERSION) {
        signed.enter(VERSION)?;
    }
    signed.enter(INTEGER)?;
    // The algorithm and the issuer.
    signed.enter(SEQUENCE)?;
    signed.enter(SEQUENCE)?;
    let mut validity = signed.enter(SEQUENCE)?;
    validity.time()?;
    validity.time()
}

/// Returns when the next list should be there at the latest, as the time since 1970; nothing if the list in `der`
/// does not say so.
pub(super) fn next_update(der: &[u8]) -> Option<Duration> {
    let (_, mut rest) = enter_crl(der)?;
    // When it was issued.
    rest.time()?;
    rest.time()
}

/// Returns the content of the issuer's name in the list of revocations in `der`; nothing if it is no such list.
pub(super) fn crl_issuer(der: &[u8]) -> Option<&[u8]> {
    enter_crl(der).map(|(issuer, _)| issuer)
}

/// Returns the issuer's name in a list of revocations, and what follows it.
fn enter_crl(der: &[u8]) -> Option<(&[u8], Der<'_>)> {
    let mut signed = Der(der).enter(SEQUENCE)?.enter(SEQUENCE)?;
    if signed.0.first() == Some(&INTEGER) {
        // The version, which the first one does not have.
        signed.enter(INTEGER)?;
    }
    // The algorithm.
    signed.enter(SEQUENCE)?;
    let issuer = signed.enter(SEQUENCE)?.0;
    Some((issuer, signed))
}

/// What is left to read of an encoding.
struct Der<'a>(&'a [u8]);

impl<'a> Der<'a> {
    /// Takes a value with the tag `tag` and returns its content.
    fn enter(&mut self, tag: u8) -> Option<Self> {
        let (found, content) = self.value()?;
        (found == tag).then_some(Self(content))
    }

    fn time(&mut self) -> Option<Duration> {
        let (tag, text) = self.value()?;
        let (year, rest) = match tag {
            // Two digits: from 1950 to 2049 (RFC 5280 section 4.1.2.5.1).
            UTC_TIME => {
                let (digits, rest) = text.split_at_checked(2)?;
                let year = number(digits)?;
                (if year < 50 { 2000 + year } else { 1900 + year }, rest)
            }
            GENERALIZED_TIME => {
                let (digits, rest) = text.split_at_checked(4)?;
                (number(digits)?, rest)
            }
            _ => return None,
        };
        let pair = |at: usize| number(rest.get(at..at + 2)?);
        let days = days_since_1970(year, pair(0)?, pair(2)?)?;
        let secs = pair(4)? * 3_600 + pair(6)? * 60 + pair(8)?;
        Some(Duration::from_secs(days * 86_400 + secs))
    }

    fn value(&mut self) -> Option<(u8, &'a [u8])> {
        let (&tag, rest) = self.0.split_first()?;
        let (&first, rest) = rest.split_first()?;
        let (length, rest) = match first {
            ..=0x7F => (usize::from(first), rest),
            // The length follows, in so many bytes.
            0x81..=0x84 => {
                let (bytes, rest) = rest.split_at_checked(usize::from(first & 0x7F))?;
                (bytes.iter().fold(0, |length, byte| length << 8 | usize::from(*byte)), rest)
            }
            _ => return None,
        };
        let (content, rest) = rest.split_at_checked(length)?;
        self.0 = rest;
        Some((tag, content))
    }
}

fn number(digits: &[u8]) -> Option<u64> {
    std::str::from_utf8(digits).ok()?.parse().ok()
}

/// Counts days in the Gregorian calendar. A date before 1970 is none.
fn days_since_1970(year: u64, month: u64, day: u64) -> Option<u64> {
    if !(1..=12).contains(&month) || !(1..=31).contains(&day) {
        return None;
    }
    // Years that begin with March, so that the day that leap years have more is the last of the year.
    let year = if month <= 2 { year.checked_sub(1)? } else { year };
    let month_since_march = (month + 9) % 12;
    let days = 365 * year + year / 4 - year / 100 + year / 400 + (153 * month_since_march + 2) / 5;
    (days + day).checked_sub(DAYS_TO_1970)
}

/// Days from the March before the year 1 to 1970, counted as above.
const DAYS_TO_1970: u64 = 719_469;

const INTEGER: u8 = 0x02;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;
const SEQUENCE: u8 = 0x30;
const VERSION: u8 = 0xA0;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_are_counted_as_the_calendar_does() {
        check_days((1970, 1, 1), Some(0));
        check_days((1970, 3, 1), Some(59));
        check_days((2000, 2, 29), Some(11_016));
        check_days((2026, 11, 25), Some(20_782));
        check_days((1969, 12, 31), None);
        check_days((2026, 13, 1), None);
        check_days((0, 1, 1), None);
    }

    #[test]
    fn expiry_of_certificates_is_read() {
        for (year, expected) in
            [(2030, 1_893_456_000), (2049, 2_493_072_000), (2060, 2_840_140_800)]
        {
            let mut params = rcgen::CertificateParams::new(["a.example".to_owned()]).unwrap();
            params.not_after = rcgen::date_time_ymd(year, 1, 1);
            let key = rcgen::KeyPair::generate().unwrap();
            let certificate = params.self_signed(&key).unwrap();
            assert_eq!(
                expires_at(certificate.der()),
                Some(Duration::from_secs(expected)),
                "{year}"
            );
        }
    }

    #[test]
    fn issuer_and_expiry_of_revocations_are_read() {
        let mut params = rcgen::CertificateParams::default();
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        params.distinguished_name.push(rcgen::DnType::CommonName, "ca");
        let key = rcgen::KeyPair::generate().unwrap();
        let certificate = params.self_signed(&key).unwrap();
        let issuer = rcgen::Issuer::new(params, key);
        let crl = rcgen::CertificateRevocationListParams {
            this_update: rcgen::date_time_ymd(2024, 1, 1),
            next_update: rcgen::date_time_ymd(2030, 1, 1),
            crl_number: 1_u64.into(),
            issuing_distribution_point: None,
            revoked_certs: Vec::new(),
            key_identifier_method: rcgen::KeyIdMethod::Sha256,
        };
        let crl = crl.signed_by(&issuer).unwrap();
        assert_eq!(next_update(crl.der()), Some(Duration::from_secs(1_893_456_000)));
        let mut roots = rustls::RootCertStore::empty();
        roots.add(certificate.der().clone()).unwrap();
        assert_eq!(crl_issuer(crl.der()), Some(roots.roots[0].subject.as_ref()));
        for length in 0..crl.der().len() {
            assert_eq!(next_update(&crl.der()[..length]), None, "{length}");
        }
    }

    #[test]
    fn nonsense_is_no_certificate() {
        let key = rcgen::KeyPair::generate().unwrap();
        let certificate = rcgen::CertificateParams::default().self_signed(&key).unwrap();
        for length in 0..certificate.der().len() {
            assert_eq!(expires_at(&certificate.der()[..length]), None, "{length}");
        }
        assert_eq!(expires_at(&[0x30, 0x84, 0xFF, 0xFF, 0xFF, 0xFF]), None);
    }

    #[track_caller]
    fn check_days((year, month, day): (u64, u64, u64), expected: Option<u64>) {
        assert_eq!(days_since_1970(year, month, day), expected, "{year}-{month}-{day}");
    }
}
