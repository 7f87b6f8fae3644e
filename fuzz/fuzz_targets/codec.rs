//! `cargo xtask fuzz codec`

#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| quelea_fuzz::codec::run(input));
