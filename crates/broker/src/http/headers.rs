//! Headers out of a file.

use std::path::Path;

use hyper::header::{
    CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, EXPECT, HOST, HeaderName, HeaderValue, TE, TRAILER,
    TRANSFER_ENCODING, UPGRADE,
};

use super::TrustError;

/// Reads a file of headers, a line each: a name, a colon, and a value. Empty lines and those that begin with `#` are
/// passed over. Blocks: not for a shard.
///
/// # Errors
///
/// The line that is none, by its number: it may hold a secret.
pub(crate) fn read_headers(file: &Path) -> Result<Vec<(HeaderName, HeaderValue)>, TrustError> {
    let wrong = |why: String| TrustError { file: Some(file.to_owned()), why };
    let text = std::fs::read_to_string(file).map_err(|error| wrong(error.to_string()))?;
    let lines = text.lines().enumerate();
    let lines = lines.filter(|(_, line)| !line.trim().is_empty() && !line.starts_with('#'));
    let headers: Result<Vec<_>, _> = lines
        .map(|(index, line)| {
            let number = index + 1;
            let why = || wrong(format!("line {number} is no header: write Name: value"));
            let (name, value) = line.split_once(':').ok_or_else(why)?;
            let name: HeaderName = name.parse().map_err(|_| why())?;
            let value = HeaderValue::from_str(value.trim()).map_err(|_| why())?;
            if OURS.contains(&name) {
                return Err(wrong(format!("line {number} has {name}, which is the broker's own")));
            }
            Ok((name, value))
        })
        .collect();
    let headers = headers?;
    if headers.len() > HEADERS_MAX {
        return Err(wrong(format!("it has more than {HEADERS_MAX} headers")));
    }
    Ok(headers)
}

/// Those that say how a question is put, which is not for a file to change.
const OURS: &[HeaderName] = &[
    CONNECTION,
    CONTENT_LENGTH,
    CONTENT_TYPE,
    EXPECT,
    HOST,
    TE,
    TRAILER,
    TRANSFER_ENCODING,
    UPGRADE,
];

/// Headers of one file.
const HEADERS_MAX: usize = 32;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_are_lines() {
        check("", Ok(&[]));
        check(
            "# of the id service\nAuthorization: Bearer a:b \n\nX-Site:x\n",
            Ok(&[("authorization", "Bearer a:b"), ("x-site", "x")]),
        );
    }

    #[test]
    fn a_wrong_line_is_named_and_not_shown() {
        check("X-Site: x\nBearer pencil", Err("line 2 is no header: write Name: value"));
        check("X Site: pencil", Err("line 1 is no header: write Name: value"));
        check("X: pencil\u{1}", Err("line 1 is no header: write Name: value"));
        check("Host: pencil", Err("line 1 has host, which is the broker's own"));
        check(&"X: y\n".repeat(33), Err("it has more than 32 headers"));
    }

    #[track_caller]
    fn check(text: &str, expected: Result<&[(&str, &str)], &str>) {
        let name = format!("quelea-headers-{}-{:x}", std::process::id(), text.len());
        let file = std::env::temp_dir().join(name);
        std::fs::write(&file, text).unwrap();
        let read = read_headers(&file);
        std::fs::remove_file(&file).unwrap();
        match (&read, expected) {
            (Ok(read), Ok(expected)) => {
                let read: Vec<_> =
                    read.iter().map(|(a, b)| (a.as_str(), b.to_str().unwrap())).collect();
                assert_eq!(read, expected);
            }
            (Err(error), Err(expected)) => assert_eq!(error.why, expected),
            (read, expected) => panic!("{read:?}, not {expected:?}"),
        }
    }
}
