//! Publishes one message: how large is a program that does no more?

use std::time::Duration;

use quelea_client::{Client, Options, Publish};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let url = std::env::args().nth(1).ok_or("say where to")?;
    let client = Client::connect(&url, Options::new()).await?;
    client.publish(&Publish::new("t", "payload")).await?.await?;
    client.close(Duration::from_secs(5)).await;
    Ok(())
}
