//! Publishes one message: how large is a program that does no more?

use rumqttc::{AsyncClient, Event, Incoming, MqttOptions, QoS};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let url = std::env::args().nth(1).ok_or("say where to")?;
    let (host, port) = url.rsplit_once(':').ok_or("HOST:PORT")?;
    let options = MqttOptions::new("minimal", host, port.parse()?);
    let (client, mut events) = AsyncClient::new(options, 10);
    client.publish("t", QoS::AtLeastOnce, false, "payload").await?;
    while !matches!(events.poll().await?, Event::Incoming(Incoming::PubAck(_))) {}
    Ok(())
}
