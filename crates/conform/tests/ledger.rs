//! The ledger in the repository is the one that the cases make, and the whole workspace cites what exists.

use std::path::{Path, PathBuf};
use std::{env, fs};

use quelea_conform::{ledger, statement};

#[test]
fn document_is_up_to_date() {
    let path = workspace().join("docs/conformance.md");
    let expected = ledger::render();
    if env::var_os("UPDATE").is_some() {
        fs::write(&path, &expected).expect("the document can be written");
    }
    let found = fs::read_to_string(&path).unwrap_or_default();
    assert!(found == expected, "docs/conformance.md is stale; UPDATE=1 writes it");
}

#[test]
fn cited_statements_exist() {
    let mut files = Vec::new();
    for directory in ["crates", "xtask", "tests", "fuzz", "examples"] {
        collect(&workspace().join(directory), &mut files);
    }
    assert!(files.len() > 20, "the sources were not found");
    let mut unknown = Vec::new();
    for file in files {
        let text = fs::read_to_string(&file).expect("sources are UTF-8");
        for citation in statement::citations(&text) {
            if statement::find(citation).is_none() {
                unknown.push(format!(
                    "{}: {} of {}",
                    file.display(),
                    citation.id,
                    citation.version
                ));
            }
        }
        // Ids in string literals do not say their version.
        for id in text.split('"').filter(|it| statement::is_id(it)) {
            if !statement::all().iter().any(|it| it.id == id) {
                unknown.push(format!("{}: {id}", file.display()));
            }
        }
    }
    assert!(unknown.is_empty(), "cited, and not in the tables:\n{}", unknown.join("\n"));
}

fn collect(directory: &Path, files: &mut Vec<PathBuf>) {
    let Ok(entries) = fs::read_dir(directory) else {
        return;
    };
    for path in entries.flatten().map(|entry| entry.path()) {
        if path.is_dir() && path.file_name().is_some_and(|name| name != "target") {
            collect(&path, files);
        } else if path.extension().is_some_and(|it| it == "rs") {
            files.push(path);
        }
    }
}

fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}
