//! Runs each case, for each of its versions, as a test against a broker.
//!
//! `QUELEA_CONFORM_ADDR=HOST:PORT` judges a broker that is there already, by the specification alone.

use std::process::ExitCode;
use std::sync::Arc;

use libtest_mimic::{Arguments, Failed, Trial};
use quelea_conform::{Case, Target, Verdict, Version};

fn main() -> ExitCode {
    let mut arguments = Arguments::from_args();
    // Cases mostly wait: for the broker, and some of them for time to pass.
    arguments.test_threads.get_or_insert(16);
    let address = std::env::var("QUELEA_CONFORM_ADDR").unwrap_or_default();
    if address.is_empty() {
        return ExitCode::SUCCESS;
    }
    let mut target = Target::resolve(&address).expect("the address is HOST:PORT");
    target.is_quelea = std::env::var_os("QUELEA_CONFORM_STRICT").is_some();
    let target = Arc::new(target);
    let trials = quelea_conform::cases()
        .flat_map(|case| case.versions.iter().map(move |version| (case, *version)))
        .map(|(case, version)| trial(case, version, target.clone()))
        .collect();
    libtest_mimic::run(&arguments, trials).exit_code()
}

fn trial(case: &'static Case, version: Version, target: Arc<Target>) -> Trial {
    Trial::test(format!("{}::v{version}", case.name), move || {
        let report = case.run(&target, version);
        match report.verdict {
            Verdict::Pass => Ok(()),
            // A broker of ours offers all that cases ask for.
            Verdict::Skip(why) if target.is_quelea => Err(Failed::from(format!("skipped: {why}"))),
            Verdict::Skip(_) => Ok(()),
            Verdict::Fail(what) => {
                let skipped = report.evidence.len().saturating_sub(40);
                let evidence = report.evidence[skipped..].join("\n  ");
                Err(Failed::from(format!("{what}\n{}\n  {evidence}", case.doc.trim())))
            }
        }
    })
}
