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

    /// Small numbers are lengths, flags and identifiers: half of all bytes are such.
    fn byte(&mut self) -> u8 {
        let drawn = self.next();
        if drawn & 0x100 == 0 { drawn as u8 % 40 } else { drawn as u8 }
    }
}

const INPUTS: u64 = 20_000;
