//! The table `[authentication.http]`: a service that is asked.

use std::num::NonZeroUsize;
use std::path::PathBuf;

use super::Limits;
use super::setting::settings;
use super::value::choice;
use crate::http::{PlainHttp, Url};

settings! {
    /// A service that is asked over HTTP about each client of the chain that nobody before has known: a POST with what
    /// the client says, in JSON, and an answer in JSON. What they hold is in docs/authentication.md.
    pub struct Http in [authentication.http] {
        /// The URL of the service. It holds no password, and no secret in its query, which `quelea config show` prints:
        /// what the service has to be told goes into `headers_file`. Redirects are not followed.
        pub url: Option<String> = None, Text;

        /// Whether the service may be asked without TLS on another machine. Passwords then cross the network in the
        /// clear, and whoever can change an answer can come in as anyone.
        pub insecure_http: bool = false, Switch;

        /// Authorities in PEM, of which one has issued the certificate of the service. Unset, those that the system
        /// trusts. Like all files here, it is read again within seconds when it has changed; one that is wrong is logged
        /// and changes nothing.
        pub ca_file: Option<PathBuf> = None, Path;

        /// The broker's own certificate, in PEM, for a service that asks for one. It needs `key_file`.
        pub certificate_file: Option<PathBuf> = None, Path;

        /// The key of `certificate_file`, in PEM.
        pub key_file: Option<PathBuf> = None, Path;

        /// A file of headers that go with each question, a line each, such as `Authorization: Bearer …`. They are
        /// secrets: nothing shows them.
        pub headers_file: Option<PathBuf> = None, Path;

        /// The longest time from a question to the end of its answer, all tries together. It must be less than
        /// `limits.connect_timeout_secs`, which is how long a client waits.
        pub timeout_millis: u32 = 3_000, Millis(10..=60_000);

        /// Of that, the longest time until there is a connection, with TLS.
        pub connect_timeout_millis: u32 = 1_000, Millis(10..=60_000);

        /// How often a question is asked again when there is no connection, it breaks, or the answer is 502, 503 or
        /// 504: after a tenth of a second at most, then after twice as long, and so on.
        pub retries_max: u32 = 1, Count(0..=5);

        /// Clients that are asked about at once, each on a connection of its own. Others wait, 1,024 at most; who finds no
        /// room, or waits for longer than `limits.connect_timeout_secs`, is refused (5.0: 0x89, Server busy; 3.x:
        /// 0x03).
        pub at_once_max: NonZeroUsize = NonZeroUsize::new(64).expect("it is not 0"), Count(1..=1_024);

        /// The longest body of an answer. A longer one is none.
        pub answer_bytes_max: u32 = 65_536, Bytes(1_024..=16_777_216);

        /// What becomes of a client about which there is no answer, or one that makes no sense: it is refused (`refuse`;
        /// 5.0: 0x88, Server unavailable; 3.x: 0x03), or the next of the chain is asked (`next`), and it
        /// is refused so if nobody knows it.
        pub on_failure: OnFailure = OnFailure::Refuse, Choice(OnFailure::WORDS);

        /// So many clients in a row without any answer, or with 502, 503 or 504, mean that the service is down: it is
        /// not asked for `pause_millis`, and then about one client only, until that has an answer. 0 never gives up.
        pub failures_max: u32 = 5, Count(0..=10_000);

        /// How long a service that is down is left alone.
        pub pause_millis: u32 = 5_000, Millis(10..=600_000);
    }
}

choice! {
    /// What becomes of a client about which a service says nothing.
    pub enum OnFailure {
        /// The next of the chain is asked.
        Next = "next",
        /// It is refused.
        Refuse = "refuse",
    }
}

impl Http {
    /// The table of the file.
    pub(super) const SECTION: &'static str = "authentication.http";

    /// Returns a value for the example of a file.
    pub(super) fn sample(name: &str) -> &'static str {
        match name {
            "url" => "\"https://id.example.com/mqtt\"",
            "ca_file" => "\"/etc/quelea/id-ca.pem\"",
            "certificate_file" => "\"/etc/quelea/id-client.pem\"",
            "key_file" => "\"/etc/quelea/id-client.key\"",
            _ => "\"/etc/quelea/id-headers\"",
        }
    }

    /// Returns the URL, or what is wrong with it.
    pub(crate) fn read_url(&self) -> Option<Result<Url, String>> {
        let plain_http =
            if self.insecure_http { PlainHttp::Anywhere } else { PlainHttp::OnLoopback };
        self.url.as_deref().map(|it| Url::read(it, plain_http))
    }

    /// Checks the table as a whole.
    pub(super) fn check(&self, limits: &Limits, note: &mut impl FnMut(&str, String)) {
        match self.read_url() {
            Some(Err(why)) => {
                note("authentication.http.url", format!("authentication.http.url {why}"))
            }
            Some(Ok(url)) if !url.is_tls() => {
                if let Some(file) = self.first_of_tls() {
                    let key = format!("authentication.http.{file}");
                    note(&key, format!("{key} is about TLS, and the url begins with http:"));
                }
            }
            None if *self != Self::default() => {
                let message = "authentication.http needs url: without one there is nobody to ask";
                note("authentication.http.url", message.to_owned());
            }
            Some(Ok(_)) | None => {}
        }
        if self.certificate_file.is_some() != self.key_file.is_some() {
            let message = "authentication.http.certificate_file and key_file need each other";
            let key = if self.key_file.is_some() { "key_file" } else { "certificate_file" };
            note(&format!("authentication.http.{key}"), message.to_owned());
        }
        if self.connect_timeout_millis > self.timeout_millis {
            let message = "authentication.http.connect_timeout_millis is more than timeout_millis, of which it is a part";
            note("authentication.http.connect_timeout_millis", message.to_owned());
        }
        let patience_millis = u64::from(limits.connect_timeout_secs) * 1_000;
        if self.url.is_some() && u64::from(self.timeout_millis) >= patience_millis {
            let message = "authentication.http.timeout_millis must be less than limits.connect_timeout_secs: nobody waits \
                           for the answer any longer";
            note("authentication.http.timeout_millis", message.to_owned());
        }
    }

    fn first_of_tls(&self) -> Option<&'static str> {
        [
            (&self.ca_file, "ca_file"),
            (&self.certificate_file, "certificate_file"),
            (&self.key_file, "key_file"),
        ]
        .into_iter()
        .find_map(|(file, name)| file.as_ref().map(|_| name))
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Loaded, Mistakes, Sources};

    #[test]
    fn a_table_is_held_to_make_sense() {
        check("url = \"https://id.example.com/mqtt\"", &[]);
        check("url = \"http://[::1]:8080/\"", &[]);
        check("url = \"http://id.example.com/\"\ninsecure_http = true", &[]);
        check(
            "url = \"http://id.example.com/\"",
            &[
                "authentication.http.url must begin with https: what it is asked would cross the network in the clear",
            ],
        );
        check(
            "retries_max = 2",
            &["authentication.http needs url: without one there is nobody to ask"],
        );
        check(
            "url = \"http://localhost/\"\nca_file = \"/c\"",
            &["authentication.http.ca_file is about TLS, and the url begins with http:"],
        );
        check(
            "url = \"https://localhost/\"\nkey_file = \"/k\"",
            &["authentication.http.certificate_file and key_file need each other"],
        );
        check(
            "url = \"https://localhost/\"\nconnect_timeout_millis = 4000",
            &[
                "authentication.http.connect_timeout_millis is more than timeout_millis, of which it is a part",
            ],
        );
        check(
            "url = \"https://localhost/\"\ntimeout_millis = 10000",
            &[
                "authentication.http.timeout_millis must be less than limits.connect_timeout_secs: nobody waits for the \
               answer any longer",
            ],
        );
    }

    /// What could be a secret is in a file, so that nothing has to hide it.
    #[test]
    fn a_url_with_a_password_is_refused_without_showing_it() {
        let told = load("url = \"https://user:pencil@id.example.com/\"").err().unwrap().to_string();
        assert!(told.contains("headers") && !told.contains("pencil"), "{told}");
    }

    #[track_caller]
    fn check(table: &str, mistakes: &[&str]) {
        let told = load(table).err().map(|it| it.to_string()).unwrap_or_default();
        // Those about what is not there have no line.
        let told: Vec<&str> = told
            .lines()
            .map(|it| {
                it.strip_prefix("q:").and_then(|it| Some(it.split_once(": ")?.1)).unwrap_or(it)
            })
            .collect();
        assert_eq!(told, mistakes, "{table}");
    }

    fn load(table: &str) -> Result<Loaded, Mistakes> {
        let text = format!("[authentication.http]\n{table}\n");
        let file = Some(("q".to_owned(), text));
        Loaded::from_sources(&Sources { file, ..Sources::default() })
    }
}
