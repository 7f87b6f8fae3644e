//! The load through rumqttc.

use std::error::Error;
use std::sync::Arc;

use quelea_client_bench::{Kind, PAYLOAD, Stopwatch, Task, WINDOW, memory};
use rumqttc::{AsyncClient, Event, EventLoop, Incoming, MqttOptions, Outgoing, QoS};
use tokio::sync::Semaphore;

#[tokio::main(worker_threads = 2)]
async fn main() -> Result<(), Box<dyn Error>> {
    let task = Task::of_process()?;
    match task.kind {
        Kind::Idle => idle(&task).await,
        Kind::Pair { qos } => pair(&task, rumqttc::qos(qos)?).await,
    }
}

async fn pair(task: &Task, qos: QoS) -> Result<(), Box<dyn Error>> {
    let count = task.count;
    let (subscriber, mut receiving) = connect(task, 0).await?;
    subscriber.subscribe("load", qos).await?;
    while !matches!(receiving.poll().await?, Event::Incoming(Incoming::SubAck(_))) {}
    let (publisher, mut sending) = connect(task, 1).await?;
    let window = Arc::new(Semaphore::new(WINDOW));
    let stopwatch = Stopwatch::start();
    let publishing = tokio::spawn({
        let window = Arc::clone(&window);
        async move {
            for _ in 0..count {
                window.acquire().await.expect("it is not closed").forget();
                let sent = publisher.publish("load", qos, false, PAYLOAD.to_vec()).await;
                sent.expect("it is accepted");
            }
            publisher
        }
    });
    let acknowledged = tokio::spawn(async move {
        let mut left = count;
        while left > 0 {
            let event = sending.poll().await.expect("the broker is there");
            let is_last = match qos {
                QoS::AtMostOnce => matches!(event, Event::Outgoing(Outgoing::Publish(_))),
                QoS::AtLeastOnce => matches!(event, Event::Incoming(Incoming::PubAck(_))),
                QoS::ExactlyOnce => matches!(event, Event::Incoming(Incoming::PubComp(_))),
            };
            left -= usize::from(is_last);
        }
        sending
    });
    let mut left = count;
    while left > 0 {
        if let Event::Incoming(Incoming::Publish(_)) = receiving.poll().await? {
            window.add_permits(1);
            left -= 1;
        }
    }
    publishing.await?;
    acknowledged.await?;
    stopwatch.stop();
    Ok(())
}

async fn idle(task: &Task) -> Result<(), Box<dyn Error>> {
    // With the defaults, and the channel of its examples.
    let mut clients = vec![connect_with(task, 0, INFLIGHT_DEFAULT, 10).await?];
    let before = memory();
    for number in 0..task.count {
        clients.push(connect_with(task, number + 1, INFLIGHT_DEFAULT, 10).await?);
    }
    println!("{}", memory().saturating_sub(before) / task.count);
    Ok(())
}

async fn connect(task: &Task, number: usize) -> Result<(AsyncClient, EventLoop), Box<dyn Error>> {
    connect_with(task, number, WINDOW as u16, WINDOW).await
}

async fn connect_with(
    task: &Task,
    number: usize,
    inflight: u16,
    channel: usize,
) -> Result<(AsyncClient, EventLoop), Box<dyn Error>> {
    let mut options = MqttOptions::new(format!("load-{number}"), &task.host, task.port);
    options.set_inflight(inflight);
    let (client, mut events) = AsyncClient::new(options, channel);
    while !matches!(events.poll().await?, Event::Incoming(Incoming::ConnAck(_))) {}
    Ok((client, events))
}

const INFLIGHT_DEFAULT: u16 = 100;
