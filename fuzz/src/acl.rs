//! What must hold for ACL files.

use quelea_acl::{Granted, Publish, Rules, Subject, mosquitto};

/// Any text is rules or has mistakes with their lines. Rules are the same however often they are asked, and who is granted a
/// topic as a filter may have messages with it; nothing panics.
///
/// # Panics
///
/// When one of these does not hold.
pub fn check_acl(input: &[u8]) {
    let text = String::from_utf8_lossy(input);
    let rules = match mosquitto::read("acl", &text) {
        Ok(rules) => rules,
        Err(mistakes) => {
            let lines = text.lines().count();
            assert!(!mistakes.is_empty());
            assert!(mistakes.iter().all(|it| (1..=lines).contains(&it.line)));
            return;
        }
    };
    // The name of someone clever is in the same bytes.
    let name = text.lines().next().unwrap_or_default();
    for filter_on_delivery in [false, true] {
        let rules = Rules { rules: rules.clone(), filter_on_delivery, ..Rules::default() };
        let subject =
            Subject { client_id: name.into(), user: Some("ann".into()), ..Subject::default() };
        let permissions = rules.permissions(subject);
        for topic in ["a", "a/b", "$SYS/a", "ann/x", ""] {
            let is_granted = matches!(permissions.subscribe(topic), Granted::UpTo(_));
            assert_eq!(is_granted, permissions.receive(topic).is_allowed(), "{topic}");
            permissions.publish(Publish { topic, qos: 1, retain: false });
        }
    }
}
