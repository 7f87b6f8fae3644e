//! Publishes the lines of standard input, and loses none of them: neither with the connection, nor with the broker, nor
//! with this process.
//!
//! ```console
//! $ cargo run --example reliable_publisher -- mqtt://localhost plant/7/log outbox.queue < lines
//! ```
//!
//! Each line is printed once it is accepted. Whoever feeds this program and finds it dead starts it again, and goes on
//! behind the last line that was printed.

use std::env::args;
use std::error::Error;
use std::io::{Write, stdin, stdout};
use std::time::Duration;

use quelea_client::blocking::Client;
use quelea_client::{Backoff, Options, Publish, QoS};

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = args().skip(1).collect();
    let [url, topic, outbox] = &arguments[..] else {
        return Err(
            "say where to, on which topic, and in which file to keep what is not sent".into()
        );
    };
    // The file belongs to the client id, and so does the session, which makes QoS 2 exact over a crash.
    let options = Options::new()
        .client_id("reliable-publisher")
        .resume_session()
        .queue_file(outbox)
        .backoff(Backoff::new(Duration::from_millis(50), Duration::from_secs(1)));
    // Not `connect`: what is accepted while there is no broker is sent when there is one.
    let client = Client::start(url, options)?;
    for line in stdin().lines() {
        let line = line?;
        // It is on the disk when this returns. The handle would tell of the broker's acknowledgement.
        drop(client.publish(&Publish::new(topic, &line).qos(QoS::ExactlyOnce))?);
        println!("{line}");
        stdout().flush()?;
    }
    // What is still unfinished then is in the file, and sent the next time.
    match client.close(Duration::from_secs(60)) {
        0 => Ok(()),
        unfinished => Err(format!("{unfinished} lines are not sent yet").into()),
    }
}
