//! `cargo xtask fuzz recovery`

#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| quelea_fuzz::run("recovery", input));
