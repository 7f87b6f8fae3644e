//! The manual and the completions: made, and usable.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::support::{assert_success, quelea, text};

#[test]
fn installing_brings_manual_and_completions() {
    let root = Path::new(env!("CARGO_TARGET_TMPDIR")).join("cli-installed");
    let _ = fs::remove_dir_all(&root);
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../packaging/install.sh");
    let status = Command::new("sh")
        .arg(script)
        .args([env!("CARGO_BIN_EXE_quelea"), "/usr"])
        .env("DESTDIR", &root)
        .status();
    assert!(status.expect("there is a shell").success());
    let installed = |name: &str| -> PathBuf { root.join("usr").join(name) };
    assert!(installed("bin/quelea").is_file());

    let page = fs::read_to_string(installed("share/man/man1/quelea-sub.1")).expect("it was made");
    for part in [".TH quelea-sub 1", "\\-\\-random\\-filter", ".SH NOTES", "Exit codes: 0 done"] {
        assert!(page.contains(part), "{part}");
    }
    for name in ["quelea", "quelea-pub", "quelea-rr", "quelea-serve", "quelea-config-check"] {
        assert!(installed(&format!("share/man/man1/{name}.1")).is_file(), "{name}");
    }
    let bash = installed("share/bash-completion/completions/quelea");
    assert_eq!(completed(&bash, &["quelea", "su"]), ["sub"]);
    assert_eq!(completed(&bash, &["quelea", "sub", "--will-p"]), ["--will-payload"]);
    assert_eq!(completed(&bash, &["quelea", "sub", "--decode", "s"]), ["sparkplug"]);
    let zsh =
        fs::read_to_string(installed("share/zsh/site-functions/_quelea")).expect("it was made");
    assert!(zsh.starts_with("#compdef quelea"), "{zsh}");
    let fish = installed("share/fish/vendor_completions.d/quelea.fish");
    assert!(fs::read_to_string(fish).expect("it was made").contains("complete -c quelea"));
}

#[test]
fn the_first_page_can_be_read_from_a_pipe() {
    let page = quelea(&["man"]);
    assert_success(&page);
    assert!(text(&page.stdout).contains(".TH quelea 1"), "{page:?}");
}

/// Returns what bash makes of the last of these words.
fn completed(script: &Path, words: &[&str]) -> Vec<String> {
    let (Some(last), Some(before)) = (words.last(), words.iter().rev().nth(1)) else {
        return Vec::new();
    };
    let complete = format!(
        "source {}\nCOMP_WORDS=({})\nCOMP_CWORD={}\n_quelea quelea '{last}' '{before}'\nprintf '%s\\n' \"${{COMPREPLY[@]}}\"",
        script.display(),
        words.join(" "),
        words.len() - 1,
    );
    let output = Command::new("bash").args(["-c", &complete]).output().expect("there is bash");
    assert_success(&output);
    text(&output.stdout).split_whitespace().map(str::to_owned).collect()
}
