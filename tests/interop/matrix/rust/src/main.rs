//! Quelea's client library, driven as `tests/interop/matrix/README.md` says.

use std::error::Error;
use std::io::stdin;
use std::iter::repeat_n;
use std::num::ParseIntError;
use std::thread;
use std::time::Duration;

use quelea_client::{
    Backoff, Client, Event, Events, Message, Options, Publish, QoS, Subscribe, Tls, Version,
};
use tokio::sync::mpsc;

type Outcome = Result<(), Box<dyn Error + Send + Sync>>;

#[tokio::main]
async fn main() -> Outcome {
    println!("client|quelea-client (Rust)|{}|3.1.1 5|tcp tls ws wss", env!("CARGO_PKG_VERSION"));
    let (sender, mut lines) = mpsc::unbounded_channel();
    thread::spawn(move || stdin().lines().map_while(Result::ok).try_for_each(|it| sender.send(it)));
    let mut client = None;
    while let Some(line) = lines.recv().await {
        let words: Vec<String> = line.split(' ').map(str::to_owned).collect();
        match (words[0].as_str(), &client) {
            ("connect", _) => client = Some(connect(&words[1..])?),
            ("subscribe", Some(client)) => report(subscribe(client.clone(), words)),
            ("publish", Some(client)) => report(publish(client.clone(), words)),
            ("disconnect", Some(client)) => {
                client.close(Duration::from_secs(5)).await;
                println!("disconnected");
            }
            (command, _) => return Err(format!("{command}: there is no such command now").into()),
        }
    }
    Ok(())
}

fn report(doing: impl Future<Output = Outcome> + Send + 'static) {
    tokio::spawn(async {
        if let Err(why) = doing.await {
            println!("refused {why}");
        }
    });
}

fn connect(words: &[String]) -> Result<Client, Box<dyn Error + Send + Sync>> {
    let [version, way, port, client_id, keep, ca] = words else {
        return Err("connect takes six words".into());
    };
    let mut options = Options::new()
        .version(if version == "5" { Version::V5 } else { Version::V311 })
        .client_id(client_id)
        .backoff(Backoff::new(Duration::from_millis(100), Duration::from_millis(500)))
        .tls(Tls::new().ca_pem(std::fs::read(ca)?));
    if keep == "1" {
        options = options.resume_session();
    }
    let (scheme, path) = match way.as_str() {
        "tcp" => ("mqtt", ""),
        "tls" => ("mqtts", ""),
        way => (way, "/mqtt"),
    };
    let client = Client::start(&format!("{scheme}://localhost:{port}{path}"), options)?;
    tokio::spawn(watch(client.events()));
    Ok(client)
}

async fn watch(mut events: Events) {
    while let Some(event) = events.next().await {
        match event {
            Event::Connected { session_present, .. } => {
                println!("connected {}", u8::from(session_present));
            }
            Event::Disconnected { .. } => println!("lost"),
            _ => {}
        }
    }
}

async fn subscribe(client: Client, words: Vec<String>) -> Outcome {
    let subscribe = Subscribe::new(&words[1]).qos(qos(&words[2])?).capacity(10_000);
    let mut messages = client.subscribe(subscribe).await?;
    println!("subscribed");
    while let Some(message) = messages.next().await {
        tell(&message);
    }
    Ok(())
}

fn tell(message: &Message) {
    let payload = String::from_utf8_lossy(message.payload());
    let number = payload.split(' ').next().unwrap_or_default();
    println!("message {} {} {number}", message.qos() as u8, payload.len());
}

async fn publish(client: Client, words: Vec<String>) -> Outcome {
    let (count, size): (usize, usize) = (words[3].parse()?, words[4].parse()?);
    let mut handles = Vec::new();
    for number in 0..count {
        let mut payload = format!("{number} ");
        payload.extend(repeat_n('x', size.saturating_sub(payload.len())));
        let publish = Publish::new(&words[1], &payload).qos(qos(&words[2])?);
        handles.push(client.publish(&publish).await?);
    }
    for handle in handles {
        handle.await?;
    }
    println!("published {count}");
    Ok(())
}

fn qos(word: &str) -> Result<QoS, ParseIntError> {
    word.parse().map(|number: u8| match number {
        0 => QoS::AtMostOnce,
        1 => QoS::AtLeastOnce,
        _ => QoS::ExactlyOnce,
    })
}
