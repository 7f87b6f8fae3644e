//! The first program that anybody writes.

use crate::site::{Example, Site};
use crate::support::soon;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_program_of_the_first_page_says_hello() {
    let mut site = Site::new("hello").await;
    site.start();
    let hello = Example::start("hello", &[&site.url()]);
    let said = soon("the end", tokio::task::spawn_blocking(|| hello.finish())).await.unwrap();
    assert_eq!(said, ["greetings/world: hello"]);
}

/// It is that program, but for the address.
#[test]
fn the_first_page_shows_the_program() {
    let page = include_str!("../../src/lib.rs");
    let program = include_str!("../../examples/hello.rs");
    let mut shown = page.lines().filter_map(|it| it.strip_prefix("//!")).map(str::trim);
    for line in program.lines().map(str::trim).filter(|it| !it.contains("url")) {
        if !line.starts_with("//!") {
            assert!(shown.any(|it| it == line), "the page does not show, in its place: {line}");
        }
    }
}
