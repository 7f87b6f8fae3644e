//! The load through quelea-client.

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use quelea_client::{Client, Options, Publish, QoS, Subscribe, Version};
use quelea_client_bench::{Kind, PAYLOAD, Stopwatch, Task, WINDOW, memory};
use tokio::sync::Semaphore;

#[tokio::main(worker_threads = 2)]
async fn main() -> Result<(), Box<dyn Error>> {
    let task = Task::of_process()?;
    let url = format!("mqtt://{}:{}", task.host, task.port);
    match task.kind {
        Kind::Idle => idle(&url, task.count).await,
        Kind::Pair { qos } => pair(&url, QoS::ALL[usize::from(qos)], task.count).await,
    }
}

async fn pair(url: &str, qos: QoS, count: usize) -> Result<(), Box<dyn Error>> {
    let subscriber = Client::connect(url, options()).await?;
    let load = Subscribe::new("load").qos(qos).capacity(2 * WINDOW);
    let mut messages = subscriber.subscribe(load).await?;
    let publisher = Client::connect(url, options()).await?;
    let window = Arc::new(Semaphore::new(WINDOW));
    let stopwatch = Stopwatch::start();
    let publishing = tokio::spawn({
        let window = Arc::clone(&window);
        async move {
            for _ in 0..count {
                window.acquire().await.expect("it is not closed").forget();
                let message = Publish::new("load", &PAYLOAD).qos(qos);
                drop(publisher.publish(&message).await.expect("it is accepted"));
            }
            publisher.close(Duration::from_secs(60)).await
        }
    });
    for _ in 0..count {
        messages.next().await.ok_or("the subscription ended")?;
        window.add_permits(1);
    }
    assert_eq!(publishing.await?, 0);
    stopwatch.stop();
    Ok(())
}

async fn idle(url: &str, count: usize) -> Result<(), Box<dyn Error>> {
    let mut clients = vec![Client::connect(url, options()).await?];
    let before = memory();
    for _ in 0..count {
        clients.push(Client::connect(url, options()).await?);
    }
    println!("{}", memory().saturating_sub(before) / count);
    Ok(())
}

fn options() -> Options {
    Options::new().version(Version::V311)
}
