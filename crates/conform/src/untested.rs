//! Why some statements that bind a server have no case.

use crate::Version;
use crate::statement;

/// Returns the reason why a statement that binds a server has no case, if one is written down.
pub(crate) fn reason(version: Version, id: &str) -> Option<&'static str> {
    let mut groups = REASONS.iter().filter(|(cited, _)| {
        statement::citations(cited).any(|citation| citation.version == version && citation.id == id)
    });
    groups.next().map(|(_, reason)| *reason)
}

/// Groups of statements, cited as everywhere, and the reason that they share.
pub(crate) static REASONS: &[(&str, &str)] = &[
    ("[MQTT-3.1.3-8]", "Quelea rejects no client identifier that is a correct string"),
    (
        "[MQTT-3.15.2-2, MQTT-3.15.2-3]",
        "Quelea sends no reason string and no user property in AUTH",
    ),
    ("v3.1.1 [MQTT-4.8.0-2]", "a transient error cannot be caused from outside"),
    ("v3.1.1 [MQTT-7.0.0-1]", "Quelea makes no connections to other servers"),
    ("v3.1.1 [MQTT-7.0.0-2]", "every case shows it: no case uses an extension"),
];
