//! The service of docs/authentication.md, as it stands there.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

use quelea_codec::Version;

use super::house::{House, load};

#[test]
fn the_example_in_the_documents_lets_alice_in() {
    let (_service, url) = Service::start();
    let house = House::with(&load(&format!("[authentication.http]\nurl = {url:?}\n")));
    let code = |user, password: &str| {
        house.begin(Version::V5, "c", Some((user, password.as_bytes()))).code()
    };
    assert_eq!(code("alice", "wonderland"), 0);
    assert_eq!(code("alice", "Wonderland"), 0x86);
    assert_eq!(code("bob", "wonderland"), 0x86);
    let mut alice = house.begin(Version::V5, "c", Some(("alice", b"wonderland")));
    assert_eq!(alice.code(), 0);
    assert_eq!(alice.subscribe("home/alice/#"), 1);
    assert_eq!(alice.subscribe("home/#"), 0x87);
}

/// The example, run by Python; ended with the test.
struct Service(Child);

impl Service {
    /// Starts it. Returns its URL too.
    fn start() -> (Self, String) {
        let document = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/authentication.md");
        let text = std::fs::read_to_string(document).unwrap();
        let (_, program) = text.split_once("```python\n").unwrap();
        let (program, _) = program.split_once("```").unwrap();
        let mut child = Command::new("python3")
            .args(["-c", program, "0"])
            .stdout(Stdio::piped())
            .spawn()
            .expect("it takes Python, as `cargo xtask test` does");
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let url = line.trim().strip_prefix("listening on ").unwrap().to_owned();
        (Self(child), url)
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
