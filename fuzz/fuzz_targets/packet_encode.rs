//! `cargo xtask fuzz packet_encode`

#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| quelea_fuzz::run("packet_encode", input));
