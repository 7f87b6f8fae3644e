//! Publishes a message and receives it: the program of the first page.
//!
//! ```console
//! $ cargo run --example hello -- mqtt://localhost
//! ```

use std::error::Error;
use std::time::Duration;

use quelea_client::{Client, Options, Publish};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let url = std::env::args().nth(1).unwrap_or("mqtt://localhost".to_owned());
    let client = Client::connect(&url, Options::new()).await?;

    // From here on whatever is published below `greetings/` comes.
    let mut greetings = client.subscribe("greetings/#").await?;

    // The first `await` ends when the client has the message, the second when the broker has it.
    let handle = client.publish(&Publish::new("greetings/world", "hello")).await?;
    handle.await?;

    if let Some(greeting) = greetings.next().await {
        println!("{}: {}", greeting.topic(), greeting.text().unwrap_or("no text"));
    }
    client.close(Duration::from_secs(5)).await;
    Ok(())
}
