//! `quelea store` on logs of which it is known what is in them.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use quelea_codec::{PacketId, QoS};
use quelea_session::{Content, Message, Position, SubscriptionIds, Time};
use quelea_store::{
    Attributes, CursorPlace, Item, Presence, RealDisk, RecoveredSession, RecoveredSubscription,
    SessionIdentity, SessionNumber, StoredMessage, StoredSession, StoredTarget, StoredWill,
    WallMillis, Writer,
};

const FIRST: SessionNumber = SessionNumber::new(0, 1);
const SECOND: SessionNumber = SessionNumber::new(1, 9);
const GONE: SessionNumber = SessionNumber::new(2, 1);

#[test]
fn an_export_that_is_imported_is_exported_the_same() {
    let (from, to) = (directory(), directory());
    write(&from, &everything());
    let exported = store(&["export"], &from);
    assert_code(&exported, 0);
    assert_eq!(exported.stdout.iter().filter(|it| **it == b'\n').count(), 2 + everything().len());
    assert_code(&import(&to, &exported.stdout), 0);
    let again = store(&["export"], &to);
    assert_code(&again, 0);
    assert_eq!(text(&exported.stdout), text(&again.stdout));
    assert_code(&store(&["check"], &to), 0);
}

#[test]
fn an_export_that_is_not_whole_is_refused() {
    let from = directory();
    write(&from, &everything());
    let exported = text(&store(&["export"], &from).stdout);
    let lines: Vec<&str> = exported.lines().collect();
    let without_end = lines[..lines.len() - 1].join("\n");
    let without_one = [&lines[..3], &lines[4..]].concat().join("\n");
    let nonsense = exported.replacen("\"qos\":1", "\"qos\":3", 1);
    let newer = exported.replacen("\"export\":1", "\"export\":2", 1);
    let twice = exported.replace("\"queued\":[[\"0.1\",3,", "\"queued\":[[\"0.1\",4,");
    for (input, reason) in [
        ("", "this is no export"),
        ("{}\n", "this is no export"),
        (&newer, "version 2"),
        (&without_end, "is not complete"),
        (&without_one, "there should be"),
        (&nonsense, "3 is no QoS"),
        (&twice, "does not hold all that was put in it"),
    ] {
        let to = directory();
        let imported = import(&to, input.as_bytes());
        assert_code(&imported, 1);
        assert!(text(&imported.stderr).contains(reason), "{reason}: {imported:?}");
    }
}

#[test]
fn an_import_that_was_broken_off_is_no_log() {
    let (from, to) = (directory(), directory());
    write(&from, &everything());
    let exported = text(&store(&["export"], &from).stdout);
    let cut = exported.rsplit_once("{\"end\"").expect("it ends so").0;
    assert_code(&import(&to, cut.as_bytes()), 1);
    let checked = store(&["check"], &to);
    assert_code(&checked, 1);
    assert!(text(&checked.stderr).contains("is not complete"), "{checked:?}");
}

#[test]
fn a_log_is_not_written_over() {
    let (from, to) = (directory(), directory());
    write(&from, &everything());
    write(&to, &everything()[..2]);
    let before = fs::read(to.join("00000001.log")).expect("it is there");
    let exported = store(&["export"], &from).stdout;
    assert_code(&import(&to, &exported), 1);
    let flag = ["salvage", "--to", to.to_str().expect("it is UTF-8")];
    assert_code(&store(&flag, &from), 1);
    assert!(before == fs::read(to.join("00000001.log")).expect("it is there"));
}

#[test]
fn a_running_brokers_log_is_left_alone() {
    let (from, to) = (directory(), directory());
    write(&from, &everything());
    let disk = RealDisk::new(&from).expect("it is there");
    assert!(quelea_store::Disk::lock(&disk).expect("it can be locked"));
    let flag = ["salvage", "--to", to.to_str().expect("it is UTF-8")];
    for command in [&["check"][..], &["sessions"], &["export"], &flag] {
        let refused = store(command, &from);
        assert_code(&refused, 1);
        assert!(text(&refused.stderr).contains("a running broker has"), "{refused:?}");
    }
    drop(disk);
    assert_code(&store(&["check"], &from), 0);
}

#[test]
fn a_directory_without_a_log_is_said_to_be_one() {
    for dir in [directory(), PathBuf::from("/nowhere/at/all")] {
        let checked = store(&["check"], &dir);
        assert_code(&checked, 1);
        assert!(text(&checked.stderr).contains(dir.to_str().expect("it is UTF-8")), "{checked:?}");
    }
}

#[test]
fn sessions_are_listed() {
    let from = directory();
    write(&from, &everything());
    let listed = text(&store(&["sessions"], &from).stdout);
    let rows: Vec<Vec<&str>> = listed.lines().map(|it| it.split('\t').collect()).collect();
    assert_eq!(rows.len(), 3, "{listed}");
    assert_eq!(rows[1][..5], ["first", "somebody", "lost 2024-02-29T23:59:59Z", "60s", "2"]);
    assert_eq!(rows[2][..5], ["sec\\tond", "", "connected", "never", "1"]);
}

#[test]
fn damage_is_named_and_what_is_behind_it_is_salvaged() {
    let (from, to) = (directory(), directory());
    let mut items = everything();
    for position in 10..14 {
        items.push(message(&[(FIRST, position)], &vec![position as u8; 700_000]));
    }
    write(&from, &items);
    assert_code(&store(&["check"], &from), 0);
    let path = from.join("00000001.log");
    let mut bytes = fs::read(&path).expect("it is there");
    // The first frame has two of the large messages, the second has the others.
    bytes[900_000] ^= 4;
    fs::write(&path, &bytes).expect("it can be written");

    let checked = store(&["check"], &from);
    assert_code(&checked, 1);
    let said = text(&checked.stderr);
    assert!(said.contains("00000001.log, offset 64: frame 1 is not what was written"), "{said}");
    assert_code(&store(&["export"], &from), 1);

    let salvaged = store(&["salvage", "--to", to.to_str().expect("it is UTF-8")], &from);
    assert_code(&salvaged, 3);
    let said = text(&salvaged.stderr);
    assert!(said.contains("1 frames and 14"), "{said}");
    assert!(said.contains("tells of session 4294967296, with 2 queued messages"), "{said}");
    assert_eq!(fs::read(&path).expect("it is there"), bytes, "nothing was changed");
    assert_code(&store(&["check"], &to), 0);
}

/// Every format that was ever released is read as it was written.
#[test]
fn a_log_of_format_1_holds_what_was_put_in_it() {
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("../store/fixtures/v1");
    let exported = store(&["export"], &fixtures.join("whole"));
    assert_code(&exported, 0);
    let expected = fs::read(fixtures.join("whole.jsonl")).expect("it is there");
    assert_eq!(text(&exported.stdout), text(&expected));
}

/// What a broker has kept goes through an export to another broker, which delivers it.
#[test]
fn a_broker_goes_on_with_what_was_imported() {
    let (from, to) = (directory(), directory());
    let mut broker = Serve::start(&from);
    let session = ["-i", "keeper", "-c", "-q", "1", "-C", "1", "-t", "kept"];
    let retained = ["-t", "kept", "-m", "ready", "-q", "1", "-r"];
    assert_code(&broker.client("pub", &retained), 0);
    assert_code(&broker.client("sub", &session), 0);
    assert_code(&broker.client("pub", &["-t", "kept", "-m", "later", "-q", "1"]), 0);
    broker.child.kill().expect("it runs");
    broker.child.wait().expect("it ran");
    assert_code(&store(&["check"], &from), 0);
    let exported = store(&["export"], &from).stdout;
    assert_code(&import(&to, &exported), 0);

    let broker = Serve::start(&to);
    let received = broker.client("sub", &session);
    assert_code(&received, 0);
    assert_eq!(text(&received.stdout), "later\n");
}

struct Serve {
    child: Child,
    port: String,
}

impl Serve {
    fn start(dir: &Path) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_quelea"))
            .args(["serve", "--listen", "127.0.0.1:0", "--shards", "1", "--data-dir"])
            .arg(dir)
            .stderr(Stdio::piped())
            .spawn()
            .expect("the binary is there");
        let mut lines = BufReader::new(child.stderr.take().expect("it is piped")).lines();
        let port = lines.by_ref().map_while(Result::ok).find_map(|line| {
            let digits = line.split_once("127.0.0.1:")?.1;
            let end = digits.find(|it: char| !it.is_ascii_digit()).unwrap_or(digits.len());
            Some(digits[..end].to_owned())
        });
        // Reads on for as long as the broker writes.
        std::thread::spawn(move || lines.map_while(Result::ok).for_each(drop));
        Self { child, port: port.expect("it says where it listens") }
    }

    fn client(&self, role: &str, flags: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_quelea"));
        command.args([role, "-h", "127.0.0.1", "-p", &self.port]).args(flags);
        command.output().expect("the binary is there")
    }
}

impl Drop for Serve {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Returns something of each kind.
fn everything() -> Vec<Item> {
    let will = StoredWill {
        message: content("gone", &[0xFF, 0]),
        qos: QoS::ExactlyOnce,
        retain: true,
        delay_secs: 5,
        expiry_secs: Some(7),
    };
    let cursor = CursorPlace { until: 3, partition: 2, after: Some("a".into()) };
    let subscriptions = vec![
        RecoveredSubscription {
            filter: "a/#".into(),
            options: 1,
            subscription_id: 4,
            cursor: Some(cursor),
        },
        RecoveredSubscription { filter: "b".into(), options: 2, subscription_id: 0, cursor: None },
    ];
    let first = RecoveredSession {
        session: FIRST,
        identity: SessionIdentity { client_id: "first".into(), owner: "somebody".into() },
        expiry_secs: 60,
        presence: Presence::Lost(WallMillis(1_709_251_199_999)),
        sent_before: Position::new(4),
        queued_messages: 0,
        queued_bytes: 0,
        received: vec![PacketId::new(5).expect("it is not 0")],
        subscriptions,
        will: Some(will),
    };
    let second = RecoveredSession {
        session: SECOND,
        identity: SessionIdentity { client_id: "sec\tond".into(), owner: "".into() },
        expiry_secs: u32::MAX,
        presence: Presence::Connected,
        sent_before: Position::new(0),
        queued_messages: 0,
        queued_bytes: 0,
        received: Vec::new(),
        subscriptions: Vec::new(),
        will: None,
    };
    let share = Attributes { share: Some("$share/g/a".into()), ..plain() };
    vec![
        Item::Mark { generation: 9, order: 17 },
        Item::Session(StoredSession { session: first, next: Position::new(70_000) }),
        Item::Session(StoredSession { session: second, next: Position::new(2) }),
        Item::Ghost { session: GONE, sent_before: Position::new(1) },
        Item::Received { session: FIRST, position: Position::new(2) },
        message(&[(FIRST, 3)], b"in flight"),
        message(&[(FIRST, 4), (SECOND, 1)], b"to \"two\"\n"),
        message(&[(FIRST, 69_999)], &[0x80, 1, 2]),
        Item::Message(StoredMessage {
            message: content("retained", b"kept"),
            qos: QoS::AtMostOnce,
            retain: Some(16),
            attributes: Vec::new(),
            targets: Vec::new(),
        }),
        Item::Message(StoredMessage {
            message: content("a", b"shared"),
            qos: QoS::AtLeastOnce,
            retain: None,
            attributes: vec![plain(), share],
            targets: vec![StoredTarget {
                session: GONE,
                position: Position::new(0),
                attributes: 1,
            }],
        }),
    ]
}

fn message(targets: &[(SessionNumber, u64)], payload: &[u8]) -> Item {
    let target = |(session, position): &(SessionNumber, u64)| StoredTarget {
        session: *session,
        position: Position::new(*position),
        attributes: 0,
    };
    Item::Message(StoredMessage {
        message: content("a/b", payload),
        qos: QoS::AtLeastOnce,
        retain: None,
        attributes: vec![plain()],
        targets: targets.iter().map(target).collect(),
    })
}

fn content(topic: &str, payload: &[u8]) -> Arc<Message> {
    let expires_at = (topic == "a/b").then_some(Time::from_millis(1_900_000_000_000));
    Message::new(&Content { topic, payload, forwarded: &[1, 1], expires_at })
}

fn plain() -> Attributes {
    Attributes {
        qos: QoS::AtLeastOnce,
        retain: false,
        subscription_ids: SubscriptionIds::new(&[4]),
        share: None,
        retained_order: 0,
    }
}

fn write(dir: &Path, items: &[Item]) {
    let disk = RealDisk::new(dir).expect("it can be made");
    let mut writer = Writer::new(disk, 16 << 20).expect("there is no log");
    items.iter().for_each(|it| writer.put(it).expect("there is room"));
    writer.finish().expect("there is room");
}

fn store(command: &[&str], dir: &Path) -> Output {
    let mut process = Command::new(env!("CARGO_BIN_EXE_quelea"));
    process.arg("store").args(command).arg(dir).output().expect("the binary is there")
}

fn import(dir: &Path, input: &[u8]) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_quelea"))
        .args(["store", "import"])
        .arg(dir)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the binary is there");
    // One that has failed does not read.
    let _ = child.stdin.take().expect("it is piped").write_all(input);
    child.wait_with_output().expect("it ran")
}

/// Returns a new directory that is empty.
fn directory() -> PathBuf {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    let name = format!("store-{}-{count}", std::process::id());
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    let _ = fs::remove_dir_all(&dir);
    fs::create_dir_all(&dir).expect("it can be made");
    dir
}

#[track_caller]
fn assert_code(output: &Output, code: i32) {
    assert_eq!(output.status.code(), Some(code), "{}", text(&output.stderr));
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
