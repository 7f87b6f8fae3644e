//! What must hold for configuration files.

use quelea_broker::config::{Loaded, Origin, Sources};

/// A file is loaded, and what is shown of it loads as the same, or it has mistakes with the lines on which they stand.
///
/// # Panics
///
/// When one of these does not hold.
pub fn check_config(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    match load(text) {
        Ok(loaded) => {
            assert!(loaded.config.check().is_ok(), "what was loaded is no good");
            let shown = loaded.to_toml();
            match load(&shown) {
                // Rules know their lines, so that what is compared is what is shown, without where it comes from.
                Ok(again) => assert_eq!(settings(&again.to_toml()), settings(&shown), "{text}"),
                Err(mistakes) => panic!("{mistakes}\n{shown}"),
            }
        }
        Err(mistakes) => {
            assert!(mistakes.iter().count() > 0);
            let lines = text.lines().count().max(1);
            for mistake in mistakes.iter() {
                assert!(!mistake.message.contains('\n'), "{mistake}");
                if let Some(Origin::File { line, .. }) = mistake.origin {
                    assert!((1..=lines).contains(&line), "{mistake}");
                }
            }
        }
    }
}

fn settings(shown: &str) -> Vec<&str> {
    shown.lines().map(|line| line.split("  # quelea.toml:").next().unwrap_or_default()).collect()
}

fn load(text: &str) -> Result<Loaded, quelea_broker::config::Mistakes> {
    let file = Some(("quelea.toml".to_owned(), text.to_owned()));
    Loaded::from_sources(&Sources { file, ..Sources::default() })
}
