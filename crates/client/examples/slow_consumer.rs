//! Works on messages one after the other, as long as each takes, without losing one and without heaping them up.
//!
//! ```console
//! $ cargo run --example slow_consumer -- mqtt://localhost jobs/# 100
//! ```
//!
//! The last argument is how many milliseconds the work on a message takes. Each message is printed when it is done.

use std::env::args;
use std::error::Error;
use std::io::{Write, stdout};
use std::num::NonZeroU16;
use std::time::Duration;

use quelea_client::{Client, Options, Overflow, Subscribe};
use tokio::time::sleep;

/// How many messages may be here at once. The others wait at the broker.
const MESSAGES_MAX: NonZeroU16 = NonZeroU16::new(20).unwrap();

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = args().skip(1).collect();
    let [url, filter, millis] = &arguments[..] else {
        return Err("say where from, which topics, and how long the work takes".into());
    };
    let work = Duration::from_millis(millis.parse()?);
    // The broker keeps what comes while this program does not run, and what it had not acknowledged.
    let options =
        Options::new().client_id("slow-consumer").resume_session().receive_maximum(MESSAGES_MAX);
    let client = Client::connect(url, options).await?;
    let jobs = Subscribe::new(filter).overflow(Overflow::HoldBack).acknowledge_manually();
    let mut jobs = client.subscribe(jobs).await?;
    while let Some(job) = jobs.next().await {
        sleep(work).await;
        println!("{}", String::from_utf8_lossy(job.payload()));
        stdout().flush()?;
        // Not before: should this program die at its work, the message comes again.
        job.acknowledge();
    }
    Ok(())
}
