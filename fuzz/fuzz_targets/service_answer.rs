//! `cargo xtask fuzz service_answer`

#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| quelea_fuzz::run("service_answer", input));
