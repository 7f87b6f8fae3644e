//! What must hold for configurations of Mosquitto that become ones of Quelea.

use quelea_broker::config::{Loaded, Sources};

use self::directive::parse;
use self::translation::Translation;

#[path = "../../crates/cli/src/migrate/directive.rs"]
#[allow(dead_code, reason = "nothing is read from files")]
mod directive;
#[path = "../../crates/cli/src/migrate/draft.rs"]
mod draft;
#[path = "../../crates/cli/src/migrate/listener.rs"]
mod listener;
#[path = "../../crates/cli/src/migrate/settings.rs"]
mod settings;
#[path = "../../crates/cli/src/migrate/translation.rs"]
mod translation;

/// What comes out is accepted, or what is wrong with it is said; and nobody is let in whom nothing has let in before.
///
/// # Panics
///
/// When it is not, or when somebody is.
pub fn check_migrate(input: &[u8]) {
    let text = String::from_utf8_lossy(input);
    let directives = parse("mosquitto.conf", &text);
    let Translation { text: result, notes } = Translation::of(&directives);
    assert!(notes.iter().all(|it| !it.contains('\n')), "{notes:?}");
    let file = Some(("quelea.toml".to_owned(), result.clone()));
    match Loaded::from_sources(&Sources { file, ..Sources::default() }) {
        Ok(loaded) => {
            let is_open = loaded.config.allow_anonymous == Some(true);
            let was_open =
                |it: &directive::Directive| it.key == "allow_anonymous" && it.value == "true";
            assert!(!is_open || directives.iter().any(was_open), "{result}");
        }
        Err(mistakes) => {
            assert!(!notes.is_empty(), "nothing is said of {mistakes}\n{result}");
            assert!(!mistakes.to_string().contains("TOML"), "{mistakes}\n{result}");
        }
    }
}
