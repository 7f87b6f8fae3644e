//! What must hold for who clients are.

use quelea_auth::Users;

/// A password file is read or refused by a line that is there, and what is written means what was read.
///
/// # Panics
///
/// When it is not, or does not.
pub fn check_password_file(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    match Users::parse(text) {
        Ok(users) => {
            let written = users.to_string();
            assert!(Users::parse(&written) == Ok(users), "{written}");
        }
        Err((line, _)) => assert!((1..=text.lines().count().max(1)).contains(&line)),
    }
}
