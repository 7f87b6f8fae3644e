//! The tables of what durability costs.

use super::super::report::{none, place_and_time, shell, short, thousands, write_between_marks};
use super::restart::Restart;
use super::sync::Sync;
use super::{Kind, Row};

/// Says in one line what a broker did with a load.
pub(super) fn line(row: &Row) -> String {
    let mut line = cells(row).join(" | ");
    if let Some(violations) = &row.violations {
        line += &format!("\n  {violations}");
    }
    line
}

/// Says in one line how a broker came back.
pub(super) fn restart_line(restart: &Restart) -> String {
    restart_cells(restart).join(" | ")
}

/// Returns the tables.
pub(super) fn text(
    rows: &[Row],
    sync: &Sync,
    written: f64,
    restarts: &[Restart],
) -> Result<String, String> {
    let mut text = format!(
        "{}, against {} and NATS Server {}.\n\n",
        place_and_time()?,
        shell("PATH=$PATH:/usr/sbin mosquitto -h | head -n 1")?,
        crate::tools::NATS_VERSION,
    );
    text += &format!(
        "In the same run, the median time to write 200 bytes and sync them was {} us at the end of a growing file, \
         and {} us in place.\n\n",
        thousands(sync.growing_us),
        thousands(sync.in_place_us),
    );
    text += "| durable pairs | broker | messages/s | lowest to highest | CPU us per delivery | p50 us | p99 us |\n\
             |---|---|--:|--:|--:|--:|--:|\n";
    text += &lines(rows.iter().filter(|it| it.load.kind == Kind::Pairs).map(cells));
    text += "\n| sleepers | broker | messages/s | lowest to highest | CPU us per message | p50 us | p99 us |\n\
             |---|---|--:|--:|--:|--:|--:|\n";
    text += &lines(rows.iter().filter(|it| it.load.kind == Kind::Sleepers).map(cells));
    text += &format!(
        "\nOne message of 200 bytes to 10,000 sleepers adds {} bytes to the log.\n\n",
        thousands(written)
    );
    text += "| messages | broker | log MB | start s | resident MB | first message s, median to longest | messages/s | CPU us per delivery | |\n\
             |--:|---|--:|--:|--:|--:|--:|--:|---|\n";
    text += &lines(restarts.iter().map(restart_cells));
    let broken = rows.iter().filter_map(|it| Some((it, it.violations.as_ref()?)));
    for (row, violations) in broken {
        text += &format!("\n{}, {}: {violations}.\n", row.contender.name(), row.load.name);
    }
    Ok(text)
}

/// Writes the tables into docs/performance.md.
pub(super) fn write(text: &str) -> Result<(), String> {
    write_between_marks("docs/performance.md", MARKS, text)
}

fn lines(rows: impl Iterator<Item = Vec<String>>) -> String {
    rows.map(|cells| format!("| {} |\n", cells.join(" | "))).collect()
}

fn cells(row: &Row) -> Vec<String> {
    let (lowest, highest) = row.rates;
    vec![
        row.load.name.to_owned(),
        row.contender.name().to_owned(),
        row.rate.map_or_else(none, thousands),
        format!("{} to {}", thousands(lowest), thousands(highest)),
        row.cpu_us.map_or_else(none, short),
        row.p50_us.map_or_else(none, short),
        row.p99_us.map_or_else(none, short),
    ]
}

fn restart_cells(restart: &Restart) -> Vec<String> {
    let seconds =
        |(median, longest): (f64, f64)| format!("{} to {}", short(median), short(longest));
    vec![
        thousands(f64::from(restart.messages)),
        restart.contender.name().to_owned(),
        restart.log_mb.map_or_else(none, short),
        short(restart.start_secs),
        restart.resident_mb.map_or_else(none, short),
        restart.first_message_secs().map_or_else(none, seconds),
        restart.delivered_per_sec().map_or_else(none, thousands),
        restart.cpu_us_per_delivery().map_or_else(none, short),
        restart.verdict(),
    ]
}

const MARKS: (&str, &str) =
    ("<!-- durable: written by `cargo xtask bench durable` -->", "<!-- end of durable -->");
