//! `cargo xtask fuzz rules`

#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| quelea_fuzz::run("rules", input));
