//! `cargo xtask fuzz password_file`

#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| quelea_fuzz::run("password_file", input));
