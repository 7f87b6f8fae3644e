//! The same flags do the same as with Mosquitto's clients, which are run beside ours.

use std::io::{BufReader, Write};
use std::process::{Command, Output, Stdio};

use serde_json::Value;

use crate::support::{Serve, Subscriber, assert_success, command, temporary_file, text};

/// What `-F` prints, to the byte. Where it has the time, digits differ.
#[test]
fn formats_print_the_same() {
    let broker = Serve::start(&[]);
    let plain = ["-m", "abcd"];
    for format in [
        "%t|%10t|%-10t|%.2t|%5.2t|%-5.2t|%.t",
        "%p|%6p|%-6p|%06p|%-06p|%2p|%-p|%x|%6x|%-6x|%012X|%-x",
        "%l|%5l|%-5l|%05l|%-05l|%q%r|%m|%4m|%04m",
        "%A|%5A|%05A|%C|%5C|%D|%E|%5E|%05E|%-5E|%F|%03F|%P|%R|%5R|%S|%4S|%04S",
        "%%|@@|\\\\|\\a\\e\\n\\r\\t\\v\\0|\u{e4}",
        "%j",
        "%I|%30I|%-30I|%.10I|%U",
        "@Y-@m-@d @H:@M:@S @z @Z @a @A @b @B @c @D @e @F @h @I @j @k @l @n @p @P @r @R @s @t @T @u @U @V @w @W @x @X @y @C @g @G",
        "@N|@Q|@+|@E",
    ] {
        compare(&broker, format, &plain, &[]);
    }
    let full = [
        "-D",
        "publish",
        "content-type",
        "a\"b",
        "-D",
        "publish",
        "user-property",
        "k",
        "v",
        "-D",
        "publish",
        "user-property",
        "k2",
        "v2",
        "-D",
        "publish",
        "message-expiry-interval",
        "77000",
        "-D",
        "publish",
        "correlation-data",
        "cd",
        "-D",
        "publish",
        "response-topic",
        "re/sp",
        "-D",
        "publish",
        "payload-format-indicator",
        "1",
        "-m",
        "tab\tnl\nq\"\u{e9}\u{1}/\u{7f}",
    ];
    for format in ["%j", "%P|%C|%D|%F|%R|%10C|%-10C|%.1C|%012R|%E|%09E|%-9E|"] {
        compare(&broker, format, &full, &[]);
    }
    compare(&broker, "%j", &full, &["--pretty"]);
    let json = [
        "-m",
        "{\"b\":1.5, \"a\":[1,{\"x\":null},\"\u{e9}\\u00e9\"],\"e\":{} ,\"f\":[],\"t\":true}",
    ];
    for flags in [&[][..], &["--pretty"]] {
        compare(&broker, "%J", &json, flags);
    }
    compare(&broker, "<%J>", &plain, &[]);
}

/// Both refuse what is no format, before they connect.
#[test]
fn wrong_formats_are_refused_by_both() {
    for format in ["%Z", "%5", "%", "@", "\\q", "\\"] {
        let flags = ["-p", "1", "-t", "t", "-W", "1", "-F", format];
        let theirs = mosquitto("sub", &flags, b"");
        let ours = command(&["sub"]).args(flags).output().expect("the binary is there");
        assert_eq!(theirs.status.code(), Some(1), "{format}");
        assert_eq!(ours.status.code(), Some(2), "{format}: {ours:?}");
    }
}

/// Which messages are printed, and how.
#[test]
fn subscribers_print_the_same() {
    let broker = Serve::start(&[]);
    for (topic, payload) in
        [("s/a", "one"), ("s/b", "two\nlines"), ("s/c/d", "\u{ff}\0binary"), ("s/e", "five")]
    {
        let file = temporary_file("retained", payload);
        let file = file.to_str().expect("the path is UTF-8");
        assert_success(&broker.client("pub", &["-r", "-q", "1", "-t", topic, "-f", file]));
    }
    for flags in [
        &["-t", "s/#", "-C", "4", "-v"][..],
        &["-t", "s/#", "-C", "4", "-N"],
        &["-t", "s/a", "-t", "s/e", "-C", "2"],
        &["-t", "s/#", "-T", "s/+", "-C", "1", "-v"],
        &["-t", "s/#", "-T", "s/b", "-T", "s/c/#", "-C", "2", "-v", "-q", "2"],
        &["-t", "s/#", "-V", "5", "-q", "1", "-C", "2", "-x", "10", "-i", "fixed"],
        &["-L", "@URL/s/c/+", "-C", "1"],
    ] {
        let url = format!("mqtt://127.0.0.1:{}", broker.address.port());
        let words: Vec<String> = flags.iter().map(|it| it.replace("@URL", &url)).collect();
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let place = broker.place();
        let place: &[&str] = if flags.contains(&"-L") { &[] } else { &place };
        let words = [&words[..], &["-W", "20"], place].concat();
        let theirs = mosquitto("sub", &words, b"");
        let ours = command(&["sub"]).args(&words).output().expect("the binary is there");
        assert_eq!(text(&ours.stdout), text(&theirs.stdout), "{flags:?}: {ours:?}");
        assert_eq!(ours.status.code(), theirs.status.code(), "{flags:?}: {ours:?} {theirs:?}");
    }
    // With the first live message it leaves; without any it has nothing to print.
    let flags = ["-t", "s/#", "-R", "-W", "1"];
    let theirs = mosquitto("sub", &[&flags, &broker.place()[..]].concat(), b"");
    let ours = broker.client("sub", &flags);
    assert_eq!((ours.stdout, ours.status.code()), (theirs.stdout, theirs.status.code()));
    // The first live message is the end of what is retained.
    let flags = ["-t", "s/#", "--retained-only", "-v", "-W", "20"];
    let words = [&flags, &broker.place()[..]].concat();
    let mut theirs = Command::new("mosquitto_sub");
    theirs.args(&words).stdout(Stdio::piped());
    let mut ours = command(&["sub"]);
    ours.args(&words).stdout(Stdio::piped());
    let retained = [theirs, ours].map(|mut command| {
        let mut child = command.spawn().expect("it is installed");
        let output = BufReader::new(child.stdout.take().expect("it is piped"));
        let mut subscriber = Subscriber { child, output };
        let mut printed = (0..5).map(|_| subscriber.line()).collect::<Vec<_>>().join("\n");
        assert_success(&broker.client("pub", &["-t", "s/live", "-m", "live", "-q", "1"]));
        printed += &subscriber.rest();
        (printed, subscriber.child.wait().expect("it ran").code())
    });
    assert_eq!(retained[0], retained[1]);
    // All retained messages are removed, but the one that is filtered out.
    let flags = ["-t", "s/#", "-T", "s/e", "--remove-retained", "-V", "5", "--no-local", "-C", "3"];
    assert_success(&broker.client("sub", &flags));
    let left = broker.client("sub", &["-t", "s/#", "-W", "1", "-v"]);
    assert_eq!(text(&left.stdout), "s/e five\n");
}

/// What arrives when the same flags publish.
#[test]
fn publishers_publish_the_same() {
    let broker = Serve::start(&[]);
    let file = temporary_file("published", "no\nline\0end");
    let file = file.to_str().expect("the path is UTF-8");
    let url = format!("mqtt://user:p%40ss@127.0.0.1:{}/p/t", broker.address.port());
    let topic = ["-t", "p/t"];
    for (flags, input) in [
        (&["-m", "message"][..], ""),
        (&["-m", "-dashes"], ""),
        (&["-f", file, "-q", "1"], ""),
        (&["-n", "-q", "2"], ""),
        (&["-s"], "all\nof it\n"),
        (&["-l"], "one\ntwo\n\nlast"),
        (&["-l", "-q", "2"], "one\ntwo\n"),
        (&["-m", "thrice", "--repeat", "3"], ""),
        (&["-m", "twice", "--repeat", "2", "--repeat-delay", "0.01", "-q", "1"], ""),
        (
            &[
                "-V",
                "5",
                "-m",
                "m",
                "-D",
                "publish",
                "content-type",
                "c",
                "-D",
                "PUBLISH",
                "user-property",
                "a",
                "b",
            ],
            "",
        ),
        (
            &[
                "-D",
                "publish",
                "response-topic",
                "r",
                "-D",
                "publish",
                "correlation-data",
                "d",
                "-m",
                "m",
                "-V",
                "mqttv5",
            ],
            "",
        ),
        (
            &[
                "-V",
                "5",
                "-D",
                "publish",
                "payload-format-indicator",
                "1",
                "-m",
                "m",
                "-M",
                "3",
                "-k",
                "9",
            ],
            "",
        ),
        (&["-i", "name", "-u", "user", "-P", "pw", "--nodelay", "--quiet", "-m", "m"], ""),
        (&["-I", "prefix", "-A", "127.0.0.1", "-m", "m"], ""),
        (&["-L", &url, "-m", "m"], ""),
    ] {
        let place = broker.place();
        let place = if flags.contains(&"-L") { vec![] } else { [&place[..], &topic].concat() };
        let words = [flags, &place].concat();
        let theirs = received(&broker, || {
            assert_success(&mosquitto("pub", &words, input.as_bytes()));
        });
        let ours = received(&broker, || {
            let mut child = command(&["pub"])
                .args(&words)
                .stdin(Stdio::piped())
                .stderr(Stdio::piped())
                .spawn()
                .expect("the binary is there");
            let mut stdin = child.stdin.take().expect("it is piped");
            // Without -l and -s it does not read.
            let _ = stdin.write_all(input.as_bytes());
            drop(stdin);
            assert_success(&child.wait_with_output().expect("it ran"));
        });
        assert!(!theirs.is_empty(), "{flags:?}");
        assert_eq!(ours, theirs, "{flags:?}");
    }
}

/// Returns what arrives on p/t while `publish` runs, without the times.
fn received(broker: &Serve, publish: impl FnOnce()) -> Vec<Value> {
    // Its own marks say when it listens, and when nothing more comes.
    let mark = ["-t", "p/mark", "-q", "1", "-m", "mark"];
    assert_success(&broker.client("pub", &[&mark[..], &["-r"]].concat()));
    let flags = ["-t", "p/+", "-V", "5", "-q", "2", "--json"];
    let mut child = broker.client_command("sub", &flags).spawn().expect("the binary is there");
    let output = BufReader::new(child.stdout.take().expect("it is piped"));
    let mut listening = Subscriber { child, output };
    listening.lines_until(|line| line.contains("p/mark"));
    publish();
    assert_success(&broker.client("pub", &mark));
    let messages =
        listening.lines_until(|line| line.contains("\"retain\":false") && line.contains("p/mark"));
    let messages = messages.iter().map(|line| {
        let mut message: Value = serde_json::from_str(line).expect("it is JSON");
        let fields = message.as_object_mut().expect("it is an object");
        fields.remove("time");
        fields.remove("packet_id");
        message
    });
    let messages = messages.filter(|it| it["topic"] == "p/t").collect();
    listening.child.kill().expect("it runs");
    messages
}

/// Has both print one retained message.
fn compare(broker: &Serve, format: &str, publish: &[&str], flags: &[&str]) {
    let message = ["-V", "5", "-r", "-q", "1", "-t", "x/y"];
    assert_success(&broker.client("pub", &[&message, publish].concat()));
    let words = ["-V", "5", "-q", "1", "-t", "x/+", "-C", "1", "-W", "20", "-F", format];
    let words = [&words, flags, &broker.place()[..]].concat();
    let theirs = mosquitto("sub", &words, b"");
    let ours =
        command(&["sub"]).args(&words).env("TZ", ZONE).output().expect("the binary is there");
    let seen = |output: &Output| masked(format, &text(&output.stdout));
    assert_eq!(seen(&ours), seen(&theirs), "{format}: {ours:?}");
}

/// The time passes between one client and the other.
fn masked(format: &str, text: &str) -> String {
    let has_time = ["@", "%I", "%U", "%j", "%J", "%E"].iter().any(|it| format.contains(it));
    if !has_time {
        return text.to_owned();
    }
    let mut masked = String::new();
    for letter in text.chars() {
        match letter {
            '0'..='9' if masked.ends_with('#') => {}
            '0'..='9' => masked.push('#'),
            letter => masked.push(letter),
        }
    }
    masked
}

fn mosquitto(name: &str, flags: &[&str], input: &[u8]) -> Output {
    let mut child = Command::new(format!("mosquitto_{name}"))
        .args(flags)
        .env_clear()
        .env("PATH", "/usr/bin:/bin:/usr/local/bin")
        .env("TZ", ZONE)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("Mosquitto's clients are installed");
    let mut stdin = child.stdin.take().expect("it is piped");
    // Most do not read.
    let _ = stdin.write_all(input);
    drop(stdin);
    child.wait_with_output().expect("it ran")
}

/// Not that of most machines that test.
const ZONE: &str = "XST-5:30";
