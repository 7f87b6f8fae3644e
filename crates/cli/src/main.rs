//! The `quelea` command.

fn main() {}
