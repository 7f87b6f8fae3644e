//! `quelea passwd`, and a broker that goes by what it writes.

use std::fs;
use std::io::Write;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use quelea_broker::config::{Durability, Listener};
use quelea_broker::{Broker, Config};

#[test]
fn users_come_and_go() {
    let file = Scratch::new("users");
    assert_eq!(passwd(&file, &["bob", "--batch"], "pencil\n").status.code(), Some(0));
    assert_eq!(
        passwd(&file, &["amy", "--batch", "--no-scram", "--groups", "a, b"], "ink").status.code(),
        Some(0)
    );
    let text = fs::read_to_string(&file.0).expect("it was written");
    let (amy, bob) = text.split_once('\n').expect("they are two");
    assert!(
        amy.starts_with("amy:$argon2id$v=19$m=19456,t=2,p=1$") && amy.ends_with("::a,b"),
        "{text}"
    );
    assert!(bob.contains(":$scram-sha-256$i=100000$"), "{text}");
    for (user, password, code) in
        [("bob", "pencil", 0), ("bob", "ink", 1), ("amy", "ink", 0), ("eve", "ink", 1)]
    {
        let output = passwd(&file, &[user, "--check"], &format!("{password}\n"));
        assert_eq!(output.status.code(), Some(code), "{user} {password}");
    }
    assert_eq!(passwd(&file, &["amy", "--delete"], "").status.code(), Some(0));
    assert_eq!(passwd(&file, &["amy", "--delete"], "").status.code(), Some(1));
    assert!(!fs::read_to_string(&file.0).expect("it is there").contains("amy"));
}

#[test]
fn what_cannot_be_is_refused_and_changes_nothing() {
    let file = Scratch::new("refused");
    for (words, input) in [
        (&["a:b", "--batch"][..], "x"),
        (&["", "--batch"], "x"),
        (&["bob", "--batch"], "\n"),
        (&["bob", "--delete"], ""),
        (&["bob", "--check"], "x"),
        (&["bob", "--batch", "--groups", "a:b"], "x"),
        (&["bob", "--check", "--delete"], "x"),
    ] {
        assert_ne!(passwd(&file, words, input).status.code(), Some(0), "{words:?}");
        assert!(!file.0.exists(), "{words:?}");
    }
    fs::write(&file.0, "bob:secret\n").expect("it can be written");
    let output = passwd(&file, &["amy", "--batch"], "x");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains(":1: it has no hash") && !said.contains("secret"), "{said}");
    assert_eq!(fs::read_to_string(&file.0).expect("it is there"), "bob:secret\n");
}

#[test]
fn a_broker_goes_by_the_file() {
    let file = Scratch::new("broker");
    assert_eq!(passwd(&file, &["bob", "--batch"], "pencil").status.code(), Some(0));
    let mut config =
        Config { listeners: vec![Listener::new(([127, 0, 0, 1], 0).into())], ..Config::default() };
    config.authentication.password_file = Some(file.0.clone());
    config.store.durability = Durability::Memory;
    let broker = Broker::start(config).expect("the file is right");
    let address = broker.local_addrs()[0];
    for (words, is_let_in) in [
        (&["-u", "bob", "-P", "pencil"][..], true),
        (&["-u", "bob", "-P", "paper"], false),
        (&["-u", "eve", "-P", "pencil"], false),
        (&[], false),
    ] {
        assert_eq!(publish(address, words).status.success(), is_let_in, "{words:?}");
    }
    broker.stop();
}

fn passwd(file: &Scratch, words: &[&str], input: &str) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_quelea"));
    command.arg("passwd").arg(&file.0).args(words);
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the binary was built for this test");
    let mut stdin = child.stdin.take().expect("it is piped");
    // It may have ended already, without having read.
    let _ = stdin.write_all(input.as_bytes());
    drop(stdin);
    child.wait_with_output().expect("it ends")
}

fn publish(address: SocketAddr, words: &[&str]) -> Output {
    let (host, port) = (address.ip().to_string(), address.port().to_string());
    let mut command = Command::new(env!("CARGO_BIN_EXE_quelea"));
    command.args(["pub", "-h", &host, "-p", &port, "-t", "t", "-m", "x", "-q", "1"]);
    command.args(words).output().expect("the binary was built for this test")
}

/// A file that is gone when its test ends.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Self {
        let name = format!("passwd-{}-{name}", std::process::id());
        Self(Path::new(env!("CARGO_TARGET_TMPDIR")).join(name))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}
