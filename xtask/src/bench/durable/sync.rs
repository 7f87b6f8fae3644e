//! What the disk itself takes: the time of a sync after 200 bytes were written.

use std::fs::File;
use std::io::{Seek, SeekFrom, Write};
use std::path::Path;
use std::time::Instant;

use super::middle;

/// Times in microseconds.
#[derive(Clone, Copy)]
pub(super) struct Sync {
    /// The file grows by what is written.
    pub(super) growing_us: f64,
    /// The bytes were there before, as in a log whose files are prepared.
    pub(super) in_place_us: f64,
}

/// Measures the median of both.
pub(super) fn measure(directory: &Path) -> Result<Sync, String> {
    let measure = || {
        let mut growing = File::create(directory.join("growing"))?;
        let growing_us = median_of_writes(&mut growing)?;
        let mut prepared = File::create(directory.join("prepared"))?;
        prepared.write_all(&[0; WRITES * BYTES.len()])?;
        prepared.sync_all()?;
        prepared.seek(SeekFrom::Start(0))?;
        let in_place_us = median_of_writes(&mut prepared)?;
        Ok(Sync { growing_us, in_place_us })
    };
    measure()
        .map_err(|error: std::io::Error| format!("syncing in {}: {error}", directory.display()))
}

/// Returns the medians of what was measured at several times.
pub(super) fn median(syncs: Vec<Sync>) -> Sync {
    let median = |of: fn(&Sync) -> f64| {
        let mut times: Vec<f64> = syncs.iter().map(of).collect();
        times.sort_by(f64::total_cmp);
        middle(times).unwrap_or(f64::NAN)
    };
    Sync { growing_us: median(|it| it.growing_us), in_place_us: median(|it| it.in_place_us) }
}

fn median_of_writes(file: &mut File) -> std::io::Result<f64> {
    let mut times = Vec::with_capacity(WRITES);
    for _ in 0..WRITES {
        let begun = Instant::now();
        file.write_all(&BYTES)?;
        file.sync_data()?;
        times.push(begun.elapsed().as_secs_f64() * 1e6);
    }
    times.sort_by(f64::total_cmp);
    Ok(middle(times).unwrap_or(f64::NAN))
}

const BYTES: [u8; 200] = [0x5A; 200];
const WRITES: usize = 1_000;
