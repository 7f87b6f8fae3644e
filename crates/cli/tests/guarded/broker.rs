//! A broker of ours, as a process whose memory can be looked at.

use std::fs;
use std::net::SocketAddr;

use crate::process::{Program, Scratch, listening, quelea};

/// A broker that is killed when this is dropped.
pub(crate) struct Broker {
    program: Program,
    pub(crate) address: SocketAddr,
    _scratch: Scratch,
}

impl Broker {
    /// Starts a broker with these settings, which keeps what it must in memory.
    pub(crate) fn new(settings: &str) -> Self {
        Self::with_store("memory", settings)
    }

    /// Starts a broker with these settings, which keeps its promises as `durability` says.
    pub(crate) fn with_store(durability: &str, settings: &str) -> Self {
        Self::start(Scratch::new(), durability, settings)
    }

    /// Starts a broker with a password file that knows `bob`, whose password is `pencil`.
    pub(crate) fn with_passwords(settings: &str) -> Self {
        let scratch = Scratch::new();
        let mut users = quelea_auth::Users::default();
        users
            .set("bob", b"pencil", quelea_auth::Scram::LeftOut, None)
            .expect("it is a good password");
        let file = scratch.file("passwd");
        users.write(file.as_ref()).expect("the directory can be written");
        let settings = format!("{settings}\n[authentication]\npassword_file = {file:?}\n");
        Self::start(scratch, "memory", &settings)
    }

    fn start(scratch: Scratch, durability: &str, settings: &str) -> Self {
        let data = scratch.file("data");
        let text = format!(
            "allow_anonymous = true\nshards = 2\n{settings}\n[store]\ndurability = {durability:?}\ndata_dir = {data:?}\n\
             [stop]\nflush_timeout_secs = 1\n"
        );
        let config = scratch.write("quelea.toml", &text);
        let mut program = Program::start(quelea().args([
            "serve",
            "--listen",
            "127.0.0.1:0",
            "--config",
            &config,
        ]));
        let Some(address) = program.line(listening) else {
            panic!("it does not start:\n{}", program.said)
        };
        Self { program, address, _scratch: scratch }
    }

    pub(crate) fn process_id(&self) -> u32 {
        self.program.id()
    }
}

/// Returns the memory that a process has.
pub(crate) fn resident_bytes(process_id: u32) -> u64 {
    let text = fs::read_to_string(format!("/proc/{process_id}/statm")).expect("it runs");
    let pages = text.split(' ').nth(1).and_then(|it| it.parse::<u64>().ok());
    pages.expect("it is a number") * 4_096
}
