//! Mistakes about who may come in: chains that ask somebody who is not there, and doors that nobody watches.

use super::check::listener_key;
use super::{Config, Listener, SourceName};

/// Who is asked at a listener, or where it does not say it.
struct Asked<'a> {
    /// The key under which the origin is known.
    origin: String,
    key: &'static str,
    chain: &'a [SourceName],
}

impl Config {
    pub(super) fn check_chains(&self, note: &mut impl FnMut(&str, String)) {
        let certificate = &self.authentication.certificate;
        let is_half = certificate.client_id.is_some() || certificate.groups.is_some();
        if is_half && certificate.user.is_none() {
            let message = "authentication.certificate needs authentication.certificate.user";
            note("authentication.certificate.client_id", message.to_owned());
        }
        // Where the chain is everybody's, a listener without certificates is no mistake.
        let asks_in_vain = |it: &&Listener| {
            let own = it.authentication.chain.as_deref().unwrap_or_default();
            own.contains(&SourceName::Certificate) && !it.knows_certificates()
        };
        for listener in self.listeners.iter().filter(asks_in_vain) {
            let message = "listener.authentication.chain names \"certificate\", and no client has one without \
                           listener.tls.client_ca";
            note(&listener_key(listener), message.to_owned());
        }
        let chains = self.written_chains();
        for Asked { origin, key, chain } in &chains {
            for (index, source) in chain.iter().enumerate() {
                let (name, needed) = (source.as_str(), source.needs());
                if chain[..index].contains(source) {
                    note(origin, format!("{key} names \"{name}\" twice"));
                } else if !self.authentication.has(*source) {
                    note(origin, format!("{key} names \"{name}\", which needs {needed}"));
                }
            }
        }
        // Where no chain is written, the one of all that are configured asks everybody.
        let is_asked = |source| chains.iter().any(|it| it.chain.contains(&source));
        let is_left_out = |it: &&SourceName| self.authentication.has(**it) && !is_asked(**it);
        if self.authentication.chain.is_none() {
            return;
        }
        for source in SourceName::ALL.iter().filter(is_left_out) {
            let (name, needed) = (source.as_str(), source.needs());
            let message = format!("{needed} is set, and no chain names \"{name}\"");
            note("authentication.chain", message);
        }
    }

    fn written_chains(&self) -> Vec<Asked<'_>> {
        let common = self.authentication.chain.iter().map(|chain| Asked {
            origin: "authentication.chain".to_owned(),
            key: "authentication.chain",
            chain,
        });
        let own = self.listeners.iter().filter_map(|listener| {
            let chain = listener.authentication.chain.as_deref()?;
            let origin = listener_key(listener);
            Some(Asked { origin, key: "listener.authentication.chain", chain })
        });
        common.chain(own).collect()
    }

    pub(super) fn check_access(&self, note: &mut impl FnMut(&str, String)) {
        let mut is_noted = false;
        for listener in &self.listeners {
            let own = &listener.authentication;
            if !self.authentication.chain_of(listener).is_empty() {
                continue;
            }
            match (own.allow_anonymous, self.allow_anonymous) {
                (Some(false), _) => {
                    let message = "listener.authentication.allow_anonymous = false lets nobody in: name somebody in \
                                   listener.authentication.chain too";
                    note(&listener_key(listener), message.to_owned());
                }
                (None, Some(false)) if !is_noted => {
                    is_noted = true;
                    let message = "allow_anonymous = false lets nobody in: name an authentication.password_file too";
                    note("allow_anonymous", message.to_owned());
                }
                (None, None) if listener.is_open() => note_open(listener, note),
                (Some(true), _) | (None, Some(_) | None) => {}
            }
        }
    }
}

fn note_open(listener: &Listener, note: &mut impl FnMut(&str, String)) {
    let address = &listener.address;
    let (through, instead) = if listener.is_for_proxies() {
        (" through its proxies", "")
    } else {
        ("", "listen on 127.0.0.1 or [::1] instead, or ")
    };
    let message = format!(
        "clients on other machines can reach {address}{through}, and no authentication is configured: {instead}name \
         an authentication.password_file, or let everybody in with allow_anonymous = true (--allow-anonymous)"
    );
    note(&listener_key(listener), message);
}

#[cfg(test)]
mod tests {
    use super::super::{Loaded, Sources};

    #[test]
    fn a_chain_names_each_once_who_is_configured() {
        check("chain = [\"password_file\"]\npassword_file = \"/p\"", "", None);
        check("chain = []", "", None);
        check(
            "chain = [\"password_file\"]",
            "",
            Some(
                "authentication.chain names \"password_file\", which needs authentication.password_file",
            ),
        );
        check(
            "chain = [\"password_file\", \"password_file\"]\npassword_file = \"/p\"",
            "",
            Some("authentication.chain names \"password_file\" twice"),
        );
        check(
            "chain = [\"paswords\"]",
            "",
            Some(
                "authentication.chain must be a list, each \"certificate\", \"jwt\", \"http\" or \"password_file\", not [\"paswords\"]",
            ),
        );
    }

    #[test]
    fn a_source_that_nobody_asks_is_a_mistake() {
        let unasked = "authentication.password_file is set, and no chain names \"password_file\"";
        check("chain = []\npassword_file = \"/p\"", "", Some(unasked));
        let own = "authentication.chain = [\"password_file\"]";
        check("chain = []\npassword_file = \"/p\"", own, None);
        // Where nothing is said, it is asked by those listeners that say nothing.
        check("password_file = \"/p\"", "authentication.chain = []", None);
    }

    #[test]
    fn a_listener_is_held_to_the_same() {
        check(
            "",
            "authentication.chain = [\"password_file\"]",
            Some(
                "listener.authentication.chain names \"password_file\", which needs authentication.password_file",
            ),
        );
        let nobody = "listener.authentication.allow_anonymous = false lets nobody in: name somebody in \
                      listener.authentication.chain too";
        check("", "authentication.allow_anonymous = false", Some(nobody));
    }

    /// A chain of its own that asks nobody opens a listener, whoever is asked at the others.
    #[test]
    fn a_listener_is_not_opened_by_the_way() {
        let open = "authentication.chain = []\n[[listener]]\naddress = \"0.0.0.0:1884\"\nauthentication.chain = []";
        let refusal = "clients on other machines can reach 0.0.0.0:1884, and no authentication is configured: listen on 127.0.0.1 \
                       or [::1] instead, or name an authentication.password_file, or let everybody in with \
                       allow_anonymous = true (--allow-anonymous)";
        check("password_file = \"/p\"", open, Some(refusal));
        let meant = format!("{open}\nauthentication.allow_anonymous = true");
        check("password_file = \"/p\"", &meant, None);
    }

    #[test]
    fn certificates_are_asked_where_there_are_some() {
        let user = "certificate = { user = \"san_uri\", groups = \"ou\" }";
        let own = "authentication.chain = [\"certificate\"]";
        let tls = "tls = { certificate = \"/c\", key = \"/k\", client_ca = \"/a\" }";
        check(user, "", None);
        check(user, &format!("{own}\n{tls}"), None);
        check(user, &format!("{own}\nproxy_protocol.trusted = [\"10.0.0.1\"]"), None);
        let vain = "listener.authentication.chain names \"certificate\", and no client has one without listener.tls.client_ca";
        check(user, own, Some(vain));
        let half = "authentication.certificate needs authentication.certificate.user";
        check("certificate = { client_id = \"cn\" }", "", Some(half));
        check(
            "certificate = \"cn\"",
            "",
            Some(
                "\"authentication.certificate\" is a table: write [authentication.certificate] on a line of its own",
            ),
        );
        check(
            "certificate = { usr = \"cn\" }",
            "",
            Some(
                "there is no setting \"authentication.certificate.usr\"; the nearest is \"authentication.certificate.user\"",
            ),
        );
    }

    #[track_caller]
    fn check(authentication: &str, listener: &str, mistake: Option<&str>) {
        let text = format!(
            "[authentication]\n{authentication}\n[[listener]]\naddress = \"127.0.0.1:1883\"\n{listener}"
        );
        let file = Some(("q".to_owned(), text));
        let loaded = Loaded::from_sources(&Sources { file, ..Sources::default() });
        let told = loaded.err().map(|mistakes| mistakes.to_string());
        let told = told.as_deref().map(|it| it.split_once(": ").expect("it has its line").1);
        assert_eq!(told, mistake);
    }
}
