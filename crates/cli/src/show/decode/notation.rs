//! The notation in which values are written, whatever format they came in: JSON with what JSON lacks, which is the
//! diagnostic notation of CBOR (RFC 8949 section 8).

use std::fmt::Display;
use std::io::Write;

use crate::show::format::{LOWER, append_hex};
use crate::show::json::append_string;

/// Writes a value, a line for each of its parts.
pub(super) struct Notation<'a> {
    out: &'a mut Vec<u8>,
    depth: usize,
    is_first: bool,
}

impl<'a> Notation<'a> {
    pub(super) fn new(out: &'a mut Vec<u8>) -> Self {
        Self { out, depth: 0, is_first: true }
    }

    pub(super) fn open(&mut self, bracket: &str) {
        self.raw(bracket);
        self.depth += 1;
        self.is_first = true;
    }

    /// Begins the next part of what is open.
    pub(super) fn next(&mut self) {
        if !self.is_first {
            self.out.push(b',');
        }
        self.is_first = false;
        self.line();
    }

    pub(super) fn close(&mut self, bracket: &str) {
        self.depth = self.depth.saturating_sub(1);
        if !self.is_first {
            self.line();
        }
        self.is_first = false;
        self.raw(bracket);
    }

    pub(super) fn raw(&mut self, text: impl Display) {
        write!(self.out, "{text}").expect("memory takes everything");
    }

    pub(super) fn text(&mut self, text: &str) {
        append_string(text, self.out);
    }

    pub(super) fn bytes(&mut self, bytes: &[u8]) {
        self.raw("h'");
        append_hex(bytes, LOWER, self.out);
        self.raw("'");
    }

    pub(super) fn float(&mut self, number: f64) {
        if number.is_nan() {
            self.raw("NaN");
        } else if number.is_infinite() {
            self.raw(if number > 0.0 { "Infinity" } else { "-Infinity" });
        } else {
            self.raw(format_args!("{number:?}"));
        }
    }

    fn line(&mut self) {
        self.out.push(b'\n');
        self.out.resize(self.out.len() + 2 * self.depth, b' ');
    }
}
