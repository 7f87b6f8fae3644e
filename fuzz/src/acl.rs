//! What must hold for ACL files.

use std::sync::Arc;

use quelea_acl::{Compiler, Granted, Publish, Rules, Subject, mosquitto, read_json};

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

/// The rules that an identity brings are right, and say the same whether others share a table with its client or not; or
/// nothing of them counts.
///
/// # Panics
///
/// When it is otherwise.
pub fn check_rules(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    let Ok(brought) = read_json(text) else { return };
    assert!(brought.len() <= 256 && text.len() <= 65_536);
    let subject = Subject { client_id: "c".into(), rules: Some(brought), ..Subject::default() };
    let rules = Rules { is_open: true, ..Rules::default() };
    assert!(rules.restrict(&subject), "it may do what its rules say, and no more");
    let alone = rules.permissions(subject.clone());
    let shared = Compiler::new(Arc::new(rules)).permissions(subject);
    assert_eq!(alone, shared);
    for topic in ["a", "a/b", "$SYS/a", "site/x/c"] {
        let is_granted = matches!(shared.subscribe(topic), Granted::UpTo(_));
        assert_eq!(is_granted, shared.receive(topic).is_allowed(), "{topic}");
    }
}
