//! What can a subscriber with these rules ever see? Rules against a model that looks at every topic.

use std::sync::Arc;

use proptest::prelude::*;
use quelea_acl::{
    Actions, Compiler, Effect, Glob, Granted, OwnRules, Pattern, Publish, Recent, Rule, Rules,
    Subject, Verdict, Who,
};
use quelea_topics::matches;

/// A rule for the model: whom it is about is decided, and its filter has no placeholders.
#[derive(Clone, Debug)]
struct Plain {
    is_about_us: bool,
    by: By,
    effect: Effect,
    actions: Actions,
    filters: Vec<String>,
    qos_max: u8,
    retain: bool,
}

/// By what a rule knows whom it is about.
#[derive(Clone, Copy, Debug)]
enum By {
    ClientId,
    Certificate,
    Listener,
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn nobody_sees_or_says_more_than_the_model(
        configured in prop::collection::vec(rule(), 0..6),
        own in prop::option::of(prop::collection::vec(rule(), 0..3)),
        is_own_first: bool,
        wanted in filter(),
        filter_on_delivery: bool,
    ) {
        let rules = configured.iter().map(real).collect();
        let own_rules = if is_own_first { OwnRules::Before } else { OwnRules::After };
        let rules = Rules { rules, filter_on_delivery, own_rules, is_open: false };
        let brought = own.as_ref().map(|own| own.iter().map(real).collect());
        let subject = Subject { rules: brought, ..us() };
        let own = own.unwrap_or_default();
        let plain = if is_own_first { [own, configured].concat() } else { [configured, own].concat() };
        let mut compiler = Compiler::new(Arc::new(rules));
        // Another of the same kind, so that what is shared is.
        let other = Subject { client_id: "us too".into(), ..us() };
        let other = compiler.permissions(other);
        let permissions = compiler.permissions(subject);
        prop_assert_eq!(&permissions, &compiler.rules().permissions(permissions.subject().clone()));
        drop(other);
        let topics = topics();
        let sees = |topic: &str| model(&plain, |it| it.actions.subscribe && hits(it, topic));
        let mut recent = Recent::default();
        for topic in &topics {
            prop_assert_eq!(permissions.receive(topic).is_allowed(), sees(topic), "{}", topic);
            for (qos, retain) in [(0, false), (1, true), (2, false)] {
                let fits = |it: &Plain| {
                    let is_within = it.effect == Effect::Deny || (qos <= it.qos_max && (it.retain || !retain));
                    it.actions.publish && is_within && hits(it, topic)
                };
                let publish = Publish { topic, qos, retain };
                let verdict = permissions.publish(publish);
                prop_assert_eq!(verdict.is_allowed(), model(&plain, fits), "{:?}", publish);
                prop_assert_eq!(recent.publish(&permissions, publish), verdict);
                prop_assert_eq!(recent.publish(&permissions, publish), verdict);
            }
        }
        let matched: Vec<&String> = topics.iter().filter(|topic| matches(&wanted, topic)).collect();
        match permissions.subscribe(&wanted) {
            Granted::UpTo(_) if !filter_on_delivery => {
                for topic in matched {
                    prop_assert!(sees(topic), "{} must not see {}", wanted, topic);
                }
            }
            Granted::UpTo(_) => {}
            Granted::Denied { .. } if filter_on_delivery => {
                for topic in matched {
                    prop_assert!(!sees(topic), "{} should see {}", wanted, topic);
                }
            }
            // Only where the rules do leave something open: an allowing filter that has all of it, and no denial before.
            Granted::Denied { .. } => {
                prop_assert!(!is_granted(&plain, &wanted, &topics), "{} should be granted", wanted);
            }
        }
    }
}

fn is_granted(rules: &[Plain], wanted: &str, topics: &[String]) -> bool {
    let matched: Vec<&String> = topics.iter().filter(|topic| matches(wanted, topic)).collect();
    for rule in rules.iter().filter(|it| it.is_about_us && it.actions.subscribe) {
        for filter in &rule.filters {
            let mut hits = matched.iter().map(|topic| matches(filter, topic));
            match rule.effect {
                Effect::Allow if hits.all(|it| it) => return true,
                Effect::Deny if hits.any(|it| it) => return false,
                Effect::Allow | Effect::Deny => {}
            }
        }
    }
    false
}

/// The first rule that fits decides.
fn model(rules: &[Plain], fits: impl Fn(&Plain) -> bool) -> bool {
    let first = rules.iter().find(|it| it.is_about_us && fits(it));
    first.is_some_and(|it| it.effect == Effect::Allow)
}

fn hits(rule: &Plain, topic: &str) -> bool {
    rule.filters.iter().any(|filter| matches(filter, topic))
}

fn real(plain: &Plain) -> Rule {
    let name = Some(Glob::new(if plain.is_about_us { "u*" } else { "them" }));
    // What the others say is so: only this one decides whether the rule is about us.
    let ours = Some(Glob::new("us"));
    let who = match plain.by {
        By::ClientId => Who { client_id: name, listener: ours, ..Who::default() },
        By::Certificate => Who { certificate: name, client_id: ours, ..Who::default() },
        By::Listener => Who { listener: name, certificate: ours, ..Who::default() },
    };
    Rule {
        origin: "test".into(),
        who,
        effect: plain.effect,
        actions: plain.actions,
        topics: plain.filters.iter().map(|it| Pattern::new(it).expect("it is a filter")).collect(),
        qos_max: if plain.effect == Effect::Deny { 2 } else { plain.qos_max },
        retain: plain.effect == Effect::Deny || plain.retain,
    }
}

fn us() -> Subject {
    Subject {
        client_id: "us".into(),
        certificate: Some("us".into()),
        listener: Some("us".into()),
        ..Subject::default()
    }
}

fn rule() -> impl Strategy<Value = Plain> {
    let effect = prop_oneof![2 => Just(Effect::Allow), 1 => Just(Effect::Deny)];
    let actions = (any::<bool>(), any::<bool>());
    let filters = prop::collection::vec(filter(), 1..3);
    let by = prop_oneof![Just(By::ClientId), Just(By::Certificate), Just(By::Listener)];
    let who = (prop::bool::weighted(0.9), by);
    (who, effect, actions, filters, 0..=2_u8, any::<bool>()).prop_map(
        |((is_about_us, by), effect, (publish, subscribe), filters, qos_max, retain)| {
            let actions = Actions { publish, subscribe };
            Plain { is_about_us, by, effect, actions, filters, qos_max, retain }
        },
    )
}

fn filter() -> impl Strategy<Value = String> {
    let level = prop_oneof![Just("a"), Just("b"), Just("$s"), Just("+")];
    let levels = prop::collection::vec(level, 0..3);
    (levels, any::<bool>()).prop_map(|(mut levels, has_all)| {
        if has_all || levels.is_empty() {
            levels.push("#");
        }
        levels.join("/")
    })
}

/// All topics of up to four levels. `z` is in no rule.
fn topics() -> Vec<String> {
    let mut all = vec![String::new()];
    let mut start = 0;
    for depth in 0..4 {
        let end = all.len();
        for index in start..end {
            for level in ["a", "b", "$s", "z"] {
                let separator = if depth == 0 { "" } else { "/" };
                all.push(format!("{}{separator}{level}", all[index]));
            }
        }
        start = end;
    }
    all.split_off(1)
}

/// Rules 1 and 2 of an administrator who forgot that the first match decides.
#[test]
fn the_rule_that_decided_is_named() {
    let deny = |filter: &str| Plain {
        is_about_us: true,
        by: By::ClientId,
        effect: Effect::Deny,
        actions: Actions { publish: true, subscribe: true },
        filters: vec![filter.to_owned()],
        qos_max: 2,
        retain: true,
    };
    let allow = Plain { effect: Effect::Allow, qos_max: 1, ..deny("a/#") };
    let rules = [deny("+/private/#"), allow].iter().map(real).collect();
    let rules = Rules { rules, ..Rules::default() };
    let mut own = real(&deny("c/#"));
    own.origin = "its own".into();
    let brought = Some([own].into());
    let subject = Subject { rules: brought, ..us() };
    let permissions = rules.permissions(subject);
    let publish = |topic| permissions.publish(Publish { topic, qos: 0, retain: false });
    assert_eq!(publish("a/private"), Verdict::Deny { rule: Some(0) });
    assert_eq!(publish("a/b"), Verdict::Allow { rule: 1 });
    assert_eq!(publish("b"), Verdict::Deny { rule: None });
    assert_eq!(publish("c"), Verdict::Deny { rule: Some(2) });
    let origins = [Some(1), Some(2), Some(3), None].map(|it| permissions.origin(&rules, it));
    assert_eq!(origins, ["test", "its own", "no rule", "no rule"]);
    // Wider than the denial, beside it, and around it.
    for filter in ["a/#", "#", "+/+", "a/+/x", "a/private", "+/private"] {
        assert_eq!(permissions.subscribe(filter), Granted::Denied { rule: Some(0) }, "{filter}");
    }
    assert_eq!(permissions.subscribe("a/b/#"), Granted::UpTo(1));
    assert_eq!(permissions.subscribe("b"), Granted::Denied { rule: None });
}
