//! A thermometer: publishes a temperature every second, and takes a target. See `examples/README.md`.

use std::env;
use std::error::Error;
use std::time::Duration;

use quelea_client::{Client, Event, Events, Options, Publish, PublishHandle, Tls};
use tokio::time::interval;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let setting = |name, default: &str| env::var(name).unwrap_or_else(|_| default.to_owned());
    let host = setting("MQTT_HOST", "localhost");
    let port = setting("MQTT_PORT", "8883");
    let offline = Publish::new("home/thermometer/status", "offline").retain();
    let options = Options::new()
        .client_id("thermometer")
        .credentials(setting("MQTT_USER", "thermometer"), setting("MQTT_PASSWORD", ""))
        .tls(Tls::new().ca_pem(std::fs::read(setting("MQTT_CA", "ca.pem"))?))
        // What is sent to us while we are away waits for us.
        .resume_session()
        .will(&offline);

    // It connects by itself, and again after each loss.
    let client = Client::start(&format!("mqtts://{host}:{port}"), options)?;
    tokio::spawn(report(client.clone(), client.events()));
    let mut targets = client.subscribe_later("home/thermometer/set")?;
    let mut ticks = interval(Duration::from_secs(1));
    let mut target = "21.5".to_owned();
    loop {
        tokio::select! {
            _ = ticks.tick() => {
                let reading = Publish::new("home/thermometer/temperature", &target);
                tokio::spawn(acknowledged(client.publish(&reading).await?, target.clone()));
            }
            Some(message) = targets.next() => {
                target = message.text().unwrap_or_default().to_owned();
                println!("set {target}");
            }
            _ = tokio::signal::ctrl_c() => break,
        }
    }
    drop(client.publish(&offline).await?);
    client.close(Duration::from_secs(5)).await;
    Ok(())
}

async fn acknowledged(handle: PublishHandle, reading: String) {
    match handle.await {
        Ok(_) => println!("published {reading}"),
        Err(why) => eprintln!("{reading} is not published: {why}"),
    }
}

async fn report(client: Client, mut events: Events) {
    while let Some(event) = events.next().await {
        match event {
            Event::Connected { .. } => {
                println!("connected");
                // Each time: after a loss the broker has published the will.
                let online = Publish::new("home/thermometer/status", "online").retain();
                if let Err(why) = client.publish(&online).await {
                    eprintln!("the status is not published: {why}");
                }
            }
            Event::Disconnected { error, .. } => println!("disconnected: {error}"),
            _ => {}
        }
    }
}
