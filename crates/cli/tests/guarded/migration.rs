//! A configuration of Mosquitto's with TLS, passwords and an ACL, under Mosquitto and, migrated, under Quelea: the same
//! questions by Mosquitto's own clients get the same answers.
//!
//! It takes Debian's mosquitto and mosquitto-clients, which `cargo xtask test` installs.

use std::process::{Command, Output};

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};

use crate::process::{Program, Scratch, free_port, listening, quelea};

/// Whoever may do what, in Mosquitto's words.
const ACL: &str = "\
topic read public/#

user admin
topic readwrite #
topic read $SYS/#

user alice
topic readwrite house/#
topic deny house/cellar/#
topic write inbox/alice

user bob
topic read house/kitchen/+
topic write garden/bob

pattern write device/%c/up
pattern read device/%c/down
pattern readwrite home/%u/#
";

#[test]
fn the_migrated_broker_answers_as_mosquitto_does() {
    let mut attempts = 0;
    let (theirs, ours) = loop {
        attempts += 1;
        // Somebody else may take a port between the look-up and its use.
        if let Some(answers) = ask_both() {
            break answers;
        }
        assert!(attempts < 5, "the ports are always taken");
    };
    assert_eq!(theirs.len(), ours.len());
    let (mut let_in, mut wanted) = (0, 0);
    for ((question, theirs), (same_question, ours)) in theirs.iter().zip(&ours) {
        assert_eq!(question, same_question);
        let_in += u32::from(ours == "let in");
        if theirs != ours {
            let is_wanted = is_wanted(question, theirs, ours);
            assert!(is_wanted, "{question}: {theirs} by Mosquitto, {ours} by Quelea");
            wanted += 1;
        }
    }
    assert_eq!(let_in, 12, "two users, by two doors, in three versions");
    assert!(wanted > 0);
}

/// Returns whether the two are to differ: docs/migrating.md says why.
fn is_wanted(question: &str, theirs: &str, ours: &str) -> bool {
    let mut words = question.split(' ');
    match (words.next(), words.next()) {
        (Some("connect"), _) => {
            question.contains("-u") && (theirs, ours) == (NOT_AUTHORIZED, WRONG_PASSWORD)
        }
        // A filter of which nothing is allowed: granted, and nothing comes; or refused.
        (Some("subscribe"), Some(version)) => {
            let refused = match version {
                "mqttv31" => "0",
                "mqttv311" => "128",
                _ => "135",
            };
            let mut pairs = theirs.split(", ").zip(ours.split(", "));
            pairs.all(|(theirs, ours)| theirs == ours || (theirs, ours) == ("1", refused))
        }
        _ => false,
    }
}

type Answers = Vec<(String, String)>;

/// Returns Mosquitto's answers, and Quelea's; nothing when one of their ports was taken.
fn ask_both() -> Option<(Answers, Answers)> {
    let estate = Estate::new();
    let mut mosquitto = Command::new("mosquitto");
    // Debian installs it where an ordinary user's PATH does not look.
    mosquitto.env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
    let mut theirs = Program::start(mosquitto.args(["-c", &estate.mosquitto_conf]));
    theirs.line(|line| line.contains(" running").then_some(()))?;
    let their_answers = estate.ask();
    theirs.signal("TERM");
    theirs.end();

    let migrated = output(quelea().args(["migrate", &estate.mosquitto_conf]));
    assert!(migrated.status.success(), "{migrated:?}");
    let lost = text(&migrated.stderr);
    let is_all = lost.lines().count() == 1 && lost.contains(": user is not carried over: ");
    assert!(is_all, "all else is carried over: {lost}");
    let config = estate.scratch.write("quelea.toml", &text(&migrated.stdout));
    let checked = output(quelea().args(["config", "check", "--config", &config]));
    assert!(checked.status.success(), "{checked:?}");
    let mut ours = Program::start(quelea().args(["serve", "--config", &config]));
    for _ in 0..2 {
        ours.line(listening)?;
    }
    let our_answers = estate.ask();
    ours.signal("TERM");
    let (code, said) = ours.end();
    assert_eq!(code, Some(0), "{said}");
    Some((their_answers, our_answers))
}

/// Certificates, passwords and a configuration.
struct Estate {
    scratch: Scratch,
    mosquitto_conf: String,
    /// For everybody with a password.
    port: String,
    /// For those who have a certificate, too.
    mutual_port: String,
}

impl Estate {
    fn new() -> Self {
        let scratch = Scratch::new();
        make_certificates(&scratch);
        let passwords = scratch.file("passwd");
        for (index, (user, password)) in USERS.iter().enumerate() {
            let mut command = Command::new("mosquitto_passwd");
            // One of the older hashes, too.
            command.args(["-H", ["sha512-pbkdf2", "sha512"][index % 2]]);
            if index == 0 {
                command.arg("-c");
            }
            let made = output(command.args(["-b", &passwords, user, password]));
            assert!(made.status.success(), "{made:?}");
        }
        let acl = scratch.write("acl", ACL);
        let [port, mutual_port] = [0, 1].map(|_| free_port().to_string());
        let directory = scratch.path().display();
        let conf = format!(
            "# What a house has run for years.\nuser root\npersistence true\npersistence_location {directory}/\n\
             allow_anonymous false\npassword_file {passwords}\nacl_file {acl}\n\
             message_size_limit 1000\nmax_queued_messages 500\n\n\
             listener {port} 127.0.0.1\ncertfile {directory}/server.pem\nkeyfile {directory}/server.key\n\n\
             listener {mutual_port} 127.0.0.1\ncertfile {directory}/server.pem\nkeyfile {directory}/server.key\n\
             cafile {directory}/ca.pem\nrequire_certificate true\n"
        );
        let mosquitto_conf = scratch.write("mosquitto.conf", &conf);
        Self { scratch, mosquitto_conf, port, mutual_port }
    }

    /// Asks everything of the broker that runs.
    fn ask(&self) -> Answers {
        let mut answers = Answers::new();
        self.ask_who_may_connect(&mut answers);
        self.ask_who_may_publish(&mut answers);
        self.ask_who_may_read(&mut answers);
        answers
    }

    fn ask_who_may_connect(&self, answers: &mut Answers) {
        let logins: &[&[&str]] = &[
            &["-u", "alice", "-P", "wonder"],
            &["-u", "alice", "-P", "wander"],
            &["-u", "alice", "-P", ""],
            &["-u", "alice"],
            &["-u", "bob", "-P", "build"],
            &["-u", "eve", "-P", "apple"],
            &[],
        ];
        let (certificate, key) = (self.scratch.file("client.pem"), self.scratch.file("client.key"));
        let own = ["--cert", certificate.as_str(), "--key", key.as_str()];
        for version in VERSIONS {
            for login in logins {
                for (port, certificate) in
                    [(&self.port, &[][..]), (&self.mutual_port, &[]), (&self.mutual_port, &own)]
                {
                    let place = if *port == self.port { "password" } else { "certificate, too" };
                    let has = if certificate.is_empty() { "without" } else { "with" };
                    let said = output(
                        self.client("mosquitto_pub", port, version, login)
                            .args(certificate)
                            .args(["-i", "visitor", "-t", "inbox/alice", "-n"]),
                    );
                    let told = match said.status.code() {
                        Some(0) => "let in",
                        Some(4 | 134) => WRONG_PASSWORD,
                        Some(5 | 135) => NOT_AUTHORIZED,
                        // How TLS ends it, the client may see or not.
                        _ => "no connection",
                    };
                    answers.push((
                        format!("connect {version} {login:?} for {place}, {has} one"),
                        told.to_owned(),
                    ));
                }
            }
        }
    }

    /// What arrives, and what publishers are told.
    fn ask_who_may_publish(&self, answers: &mut Answers) {
        for version in VERSIONS {
            let (mut watcher, _) = self.subscriber(version, USERS[2], "watcher", &["#"]);
            for &(user, client_id, topic) in PUBLISHES {
                let said = self.publish(version, user, client_id, topic, &[]);
                let told = text(&[said.stdout, said.stderr].concat());
                answers.push((format!("publish {version} {} {client_id} {topic}", user.0), told));
            }
            let large = "x".repeat(1_001);
            self.publish(version, USERS[0], "large", "house/large", &["-m", &large]);
            let large = "x".repeat(1_000);
            self.publish(version, USERS[0], "large", "house/as-large", &["-m", &large]);
            self.publish(version, USERS[2], "end", "end", &[]);
            let arrived = until_the_end(&mut watcher).replace(&large, "1000 bytes");
            answers.push((format!("what arrives {version}"), arrived));
        }
    }

    fn ask_who_may_read(&self, answers: &mut Answers) {
        // Retained ones are there before, the others come.
        for topic in TOPICS.iter().step_by(2) {
            self.publish("mqttv5", USERS[2], "before", topic, &["-r", "-m", "old"]);
        }
        for version in VERSIONS {
            let start = |&(user, client_id, filters): &Reader| {
                let end = format!("home/{}/end", user.0);
                self.subscriber(version, user, client_id, &[filters, &[&end]].concat())
            };
            let readers: Vec<(Program, String)> = READERS.iter().map(start).collect();
            for topic in TOPICS {
                self.publish(version, USERS[2], "after", topic, &["-m", "new"]);
            }
            for (user, _) in USERS {
                self.publish(version, USERS[2], "after", &format!("home/{user}/end"), &[]);
            }
            for ((mut reader, granted), (user, _, filters)) in readers.into_iter().zip(READERS) {
                let got = until_the_end(&mut reader);
                // In which order retained messages come is nobody's promise.
                let mut lines: Vec<&str> = got.lines().collect();
                lines.sort_unstable();
                let question = format!("{version} {} {filters:?}", user.0);
                answers.push((format!("read {question}"), lines.join("\n")));
                answers.push((format!("subscribe {question}"), granted));
            }
        }
    }

    fn publish(
        &self,
        version: &str,
        (user, password): (&str, &str),
        client_id: &str,
        topic: &str,
        more: &[&str],
    ) -> Output {
        let mut command =
            self.client("mosquitto_pub", &self.port, version, &["-u", user, "-P", password]);
        command.args(["-i", client_id, "-t", topic, "-q", "1"]).args(more);
        if !more.contains(&"-m") {
            command.args(["-m", "x"]);
        }
        output(&mut command)
    }

    /// Starts a subscriber, and waits until it has its answer: what it is granted.
    fn subscriber(
        &self,
        version: &str,
        (user, password): (&str, &str),
        client_id: &str,
        filters: &[&str],
    ) -> (Program, String) {
        let mut command =
            self.client("mosquitto_sub", &self.port, version, &["-u", user, "-P", password]);
        command.args(["-i", client_id, "-q", "1", "-d", "-F", "got %r %t %p", "-W", "60"]);
        for filter in filters {
            command.args(["-t", filter]);
        }
        let mut program = Program::start(&mut command);
        let granted = |line: &str| {
            let (_, granted) = line.strip_prefix("Subscribed (mid: ")?.split_once("): ")?;
            Some(granted.to_owned())
        };
        match program.line(granted) {
            Some(granted) => (program, granted),
            None => panic!("it ends before it has subscribed:\n{}", program.said),
        }
    }

    fn client(&self, program: &str, port: &str, version: &str, login: &[&str]) -> Command {
        let ca = self.scratch.file("ca.pem");
        // What a subscriber tells of itself is to come while it runs.
        let mut command = Command::new("stdbuf");
        command
            .args(["-oL", program, "-h", "127.0.0.1", "-p", port, "-V", version, "--cafile", &ca])
            .args(login);
        command
    }
}

/// Returns what a subscriber prints until a topic that ends with `end` comes.
fn until_the_end(subscriber: &mut Program) -> String {
    let mut got = String::new();
    subscriber.line(|line| {
        let message = line.strip_prefix("got ")?;
        got += message;
        got.push('\n');
        message.split(' ').nth(1)?.ends_with("end").then_some(())
    });
    got
}

/// Makes an authority, and certificates for the broker and for a client.
fn make_certificates(scratch: &Scratch) {
    let made = "a certificate can be made";
    let mut ca = CertificateParams::new([]).expect(made);
    ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    ca.distinguished_name.push(rcgen::DnType::CommonName, "the house");
    let ca_key = KeyPair::generate().expect(made);
    scratch.write("ca.pem", &ca.self_signed(&ca_key).expect(made).pem());
    let issuer = Issuer::new(ca, ca_key);
    for (name, names) in [("server", &["localhost", "127.0.0.1"][..]), ("client", &[])] {
        let names: Vec<String> = names.iter().map(|it| (*it).to_owned()).collect();
        let mut params = CertificateParams::new(names).expect(made);
        params.distinguished_name.push(rcgen::DnType::CommonName, name);
        let key = KeyPair::generate().expect(made);
        let certificate = params.signed_by(&key, &issuer).expect(made);
        scratch.write(&format!("{name}.pem"), &certificate.pem());
        scratch.write(&format!("{name}.key"), &key.serialize_pem());
    }
}

fn output(command: &mut Command) -> Output {
    command.output().unwrap_or_else(|error| panic!("{:?}: {error}", command.get_program()))
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

const WRONG_PASSWORD: &str = "refused: user name or password";

const NOT_AUTHORIZED: &str = "refused: not authorized";

const VERSIONS: [&str; 3] = ["mqttv31", "mqttv311", "mqttv5"];

const USERS: [(&str, &str); 3] = [("alice", "wonder"), ("bob", "build"), ("admin", "root")];

const PUBLISHES: &[((&str, &str), &str, &str)] = &[
    (USERS[0], "a", "house/kitchen/light"),
    (USERS[0], "a", "house/cellar/door"),
    (USERS[0], "a", "inbox/alice"),
    (USERS[0], "a", "inbox/bob"),
    (USERS[0], "a", "home/alice/desk"),
    (USERS[0], "a", "home/bob/desk"),
    (USERS[0], "d1", "device/d1/up"),
    (USERS[0], "d1", "device/d1/down"),
    (USERS[0], "d1", "device/d2/up"),
    (USERS[0], "a", "$SYS/broker/uptime"),
    (USERS[1], "b", "house/kitchen/light"),
    (USERS[1], "b", "garden/bob"),
    (USERS[1], "b", "public/note"),
    (USERS[1], "+", "device/d1/up"),
    (USERS[2], "c", "house/cellar/door"),
];

const TOPICS: &[&str] = &[
    "house/kitchen/light",
    "house/kitchen/a/b",
    "house/cellar/door",
    "house/hall",
    "inbox/alice",
    "garden/bob",
    "public/note",
    "device/r1/down",
    "device/r1/up",
    "device/other/down",
    "home/alice/x",
    "home/bob/x",
];

type Reader = ((&'static str, &'static str), &'static str, &'static [&'static str]);

const READERS: &[Reader] = &[
    (USERS[0], "r0", &["#"]),
    (USERS[0], "r1", &["house/#", "inbox/#", "device/#"]),
    (USERS[0], "r2", &["house/cellar/#", "+/+/x"]),
    (USERS[1], "r3", &["#"]),
    (USERS[1], "r4", &["house/kitchen/#", "garden/#", "public/#"]),
    (USERS[1], "r5", &["house/kitchen/light", "home/alice/#"]),
    (USERS[2], "r6", &["house/#", "+/bob/#"]),
];
