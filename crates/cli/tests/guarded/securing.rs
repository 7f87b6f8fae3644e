//! `docs/securing.md`: its commands, run as they stand but for the port, which is a free one.
//!
//! A block of `sh` has to succeed; the one that serves runs on. A block of `console` shows what each command says, which
//! must be what it says, line by line.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::process::{Program, Scratch, free_port, listening, quelea};

#[test]
fn a_broker_is_secured_as_the_documentation_says() {
    let document = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/securing.md");
    let document = fs::read_to_string(document).expect("it is there");
    let mut attempts = 0;
    // Somebody else may take the port between the look-up and its use.
    while !follow(&document.replace(":8883", &format!(":{}", free_port()))) {
        attempts += 1;
        assert!(attempts < 5, "the ports are always taken");
    }
}

/// Does what the document says. Returns false if the broker does not listen.
fn follow(document: &str) -> bool {
    let scratch = Scratch::new();
    let mut broker = None;
    let mut shown = 0;
    for (kind, block) in blocks(document) {
        match kind {
            "sh" if block.contains("quelea serve ") => {
                let mut program =
                    Program::start(&mut shell(&scratch, "quelea", &format!("exec {block}")));
                if program.line(listening).is_none() {
                    return false;
                }
                broker = Some(program);
            }
            "sh" => {
                // Each block begins where the one before has ended.
                let place = if block.contains("cd quelea") { "" } else { "quelea" };
                let output = shell(&scratch, place, &format!("set -e\n{block}")).output();
                let output = output.expect("there is a shell");
                assert!(output.status.success(), "{block}: {output:?}");
            }
            "console" => {
                assert!(broker.is_some(), "it runs by then");
                for (command, expected) in commands(block) {
                    let output = shell(&scratch, "quelea", &format!("{command} 2>&1")).output();
                    let said = output.expect("there is a shell").stdout;
                    assert_eq!(String::from_utf8_lossy(&said), expected, "{command}");
                    shown += 1;
                }
            }
            _ => {}
        }
    }
    assert!(shown >= 5, "it shows what holds");
    true
}

/// Returns the blocks of a document, each with the word behind its fence.
pub(crate) fn blocks(document: &str) -> impl Iterator<Item = (&str, &str)> {
    // What lies between fences is outside, inside, outside, …
    document.split("```").skip(1).step_by(2).filter_map(|it| it.split_once('\n'))
}

/// Returns the commands of a block, each with what it says.
pub(crate) fn commands(block: &str) -> impl Iterator<Item = (&str, &str)> {
    block.split("$ ").skip(1).filter_map(|it| it.split_once('\n'))
}

/// A shell in a directory, that finds `quelea`.
pub(crate) fn shell(scratch: &Scratch, directory: &str, script: &str) -> Command {
    let binary = Path::new(quelea().get_program()).to_owned();
    let bin = binary.parent().expect("it is in a directory").display();
    let mut command = Command::new("sh");
    command.args(["-c", script]).current_dir(scratch.path().join(directory));
    command.env_clear().env("PATH", format!("{bin}:/usr/local/bin:/usr/bin:/bin"));
    command
}
