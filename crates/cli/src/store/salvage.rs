//! `quelea store salvage`: copies what can be read of a damaged log.

use std::path::Path;

use quelea_store::Strictness;

use super::tally::Tally;
use super::{create, read, verify};
use crate::failure::Failure;
use crate::print;

/// Runs `quelea store salvage`.
pub(super) fn run(dir: &Path, to: &Path) -> Result<(), Failure> {
    let contents = read(dir, Strictness::Salvage)?;
    let mut writer = create(to)?;
    let mut losses = contents.losses().to_vec();
    let mut tally = Tally::default();
    contents.for_each(|item| {
        match item {
            Ok(item) => {
                tally.add(&item);
                writer.put(&item)?;
            }
            Err(loss) => losses.push(loss),
        }
        Ok::<_, Failure>(())
    })?;
    writer.finish()?;
    verify(to, &tally)?;
    print::to_stdout(&format!("copied to {}: {tally}\n", to.display()))?;
    if losses.is_empty() {
        return print::to_stdout("nothing was lost\n");
    }
    let list: String = losses.iter().map(|it| format!("\n  {it}")).collect();
    let (frames, bytes) =
        losses.iter().fold((0, 0), |sum, it| (sum.0 + it.frames, sum.1 + it.bytes));
    Err(Failure::new(format!(
        "{frames} frames and {bytes} bytes could not be read:{list}\nWhat was written there is missing: messages, \
         subscriptions and sessions, but also acknowledgements, so that something may be delivered twice"
    ))
    .with_code(INCOMPLETE))
}

/// A log was made, and something is missing in it.
const INCOMPLETE: u8 = 3;
