//! Every target over its corpus, and over inputs drawn from a fixed seed. Runs on stable Rust.

use std::fs;
use std::path::Path;

use quelea_fuzz::TARGETS;

#[test]
fn corpora_hold() {
    for (name, run) in TARGETS {
        let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(name);
        let mut count = 0;
        for file in fs::read_dir(corpus).expect("each target has a corpus") {
            let path = file.expect("an entry can be read").path();
            // Named before it runs: it may be the one that panics.
            println!("{}", path.display());
            run(&fs::read(&path).expect("a file of the corpus can be read"));
            count += 1;
        }
        assert!(count > 0, "the corpus of {name} is empty");
    }
}

#[test]
fn drawn_inputs_hold() {
    for (name, run) in TARGETS {
        let mut draw = Draw(0x5EED);
        // Opening a log takes a hundred times as long as decoding a packet.
        let inputs = if *name == "recovery" { INPUTS / 20 } else { INPUTS };
        for index in 0..inputs {
            let length = draw.next() % 200;
            let input: Vec<u8> = (0..length).map(|_| draw.byte()).collect();
            println!("{name} {index}: {input:?}");
            run(&input);
        }
    }
}

/// Of text, random bytes are soon refused: lines and words of the corpus are put together anew.
#[test]
fn mutated_texts_hold() {
    for name in ["acl", "config", "migrate", "password_file"] {
        let (_, run) = TARGETS.iter().find(|it| it.0 == name).expect("it is a target");
        let texts: Vec<String> =
            files(name).iter().map(|it| String::from_utf8_lossy(it).into_owned()).collect();
        let lines: Vec<&str> = texts.iter().flat_map(|it| it.lines()).collect();
        let words: Vec<&str> =
            lines.iter().flat_map(|it| it.split([' ', '=', '[', ']', ',', '"'])).collect();
        let mut draw = Draw(0x5EED);
        for index in 0..MUTATIONS {
            let count = 1 + draw.below(12);
            let mut input: Vec<String> =
                (0..count).map(|_| (*draw.among(&lines)).to_owned()).collect();
            for _ in 0..draw.below(4) {
                // A word, a sign or the rest of a line takes the place of a part of another.
                let at = draw.below(input.len());
                let cut = input[at].char_indices().nth(draw.below(20)).map_or(0, |it| it.0);
                let put = match draw.below(3) {
                    0 => *draw.among(&words),
                    1 => *draw.among(ODD),
                    _ => *draw.among(&lines),
                };
                let (before, rest) = input[at].split_at(cut);
                let rest = rest.char_indices().nth(draw.below(9)).map_or("", |it| &rest[it.0..]);
                input[at] = [before, put, rest].concat();
            }
            let end = *draw.among(&["", "\n", "\r\n"]);
            let input = input.join(*draw.among(&["\n", "\n", "\n", "\r\n"])) + end;
            println!("{name} {index}: {input:?}");
            run(input.as_bytes());
        }
    }
}

fn files(name: &str) -> Vec<Vec<u8>> {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(name);
    let files = fs::read_dir(corpus).expect("each target has a corpus");
    let mut paths: Vec<_> = files.map(|file| file.expect("an entry can be read").path()).collect();
    paths.sort();
    let read = |path| fs::read(path).expect("a file of the corpus can be read");
    paths.into_iter().map(read).collect()
}

/// SplitMix64.
struct Draw(u64);

impl Draw {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, count: usize) -> usize {
        (self.next() % count.max(1) as u64) as usize
    }

    fn among<'a, T>(&mut self, things: &'a [T]) -> &'a T {
        &things[self.below(things.len())]
    }

    /// Small numbers are lengths, flags and identifiers: half of all bytes are such.
    fn byte(&mut self) -> u8 {
        let drawn = self.next();
        if drawn & 0x100 == 0 { drawn as u8 % 40 } else { drawn as u8 }
    }
}

const INPUTS: u64 = 20_000;

/// Each takes a millisecond at most.
const MUTATIONS: u64 = 1_000;

const ODD: &[&str] = &[
    "",
    "0",
    "-1",
    "99999999999999999999",
    "1.5",
    "true",
    "nan",
    "\"",
    "'",
    "\"\"\"",
    "\\",
    "\0",
    "\u{7f}",
    "\u{85}",
    "\u{2028}",
    "\r",
    "\n",
    "[[",
    "]]",
    "{",
    "}",
    "#",
    "%u",
    "%c",
    "${a}",
    "+",
    "/",
    ".",
    "=",
    ":",
    "$6$",
    "*",
    "é",
    "1979-05-27T07:32:00Z",
    "unix:/x",
    "[::]:1",
    "0.0.0.0:0",
    "\"1 GiB\"",
    "1_000",
    "2h",
    "allow_anonymous true",
];
