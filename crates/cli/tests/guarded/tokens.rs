//! `docs/authentication.md`: a token made by hand, by the commands that stand there, but for the port.

use std::fs;
use std::path::Path;

use crate::process::{Program, Scratch, listening};
use crate::securing::{blocks, commands, shell};

#[test]
fn a_token_is_made_as_the_documentation_says() {
    let document = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/authentication.md");
    let document = fs::read_to_string(document).expect("it is there");
    let (_, section) = document.split_once("To try it without a provider").expect("it is told");
    let (section, _) = section.split_once("### ").expect("it ends");
    let blocks: Vec<_> = blocks(section).collect();
    let [("sh", make), ("sh", serve), ("console", shown)] = *blocks else { panic!("{blocks:?}") };

    let scratch = Scratch::new();
    let made = shell(&scratch, "", &format!("set -e\n{make}")).output().expect("there is a shell");
    assert!(made.status.success(), "{made:?}");
    let config = fs::read_to_string(scratch.path().join("tokens.toml")).expect("it is made");
    let free = "[[listener]]\naddress = \"127.0.0.1:0\"\n[store]\ndurability = \"memory\"\n";
    scratch.write("tokens.toml", &format!("{config}\n{free}"));
    let mut broker = Program::start(&mut shell(&scratch, "", &format!("exec {serve}")));
    let port = broker.line(listening).expect("it listens").port();
    let mut count = 0;
    for (command, expected) in commands(shown) {
        let command = command.replace("quelea pub ", &format!("quelea pub -p {port} "));
        let output = shell(&scratch, "", &format!("{command} 2>&1")).output();
        let said = output.expect("there is a shell").stdout;
        assert_eq!(String::from_utf8_lossy(&said), expected, "{command}");
        count += 1;
    }
    assert_eq!(count, 2, "one is let in, and one is not");
}
