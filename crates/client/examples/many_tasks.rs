//! Publishes from a hundred tasks at once, through a queue that is always full.
//!
//! ```console
//! $ cargo run --example many_tasks -- mqtt://localhost load
//! ```
//!
//! Nobody waits for anybody else here: each task waits for room, and room comes from the broker's acknowledgements. They
//! are handled by the client's own task, whatever these do.

use std::env::args;
use std::error::Error;

use quelea_client::{Client, Options, Publish, PublishError, QoS, Queue};
use tokio::task::JoinSet;

const TASKS: usize = 100;
const MESSAGES_EACH: usize = 100;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = args().skip(1).collect();
    let [url, topic] = &arguments[..] else {
        return Err("say where to, and on which topic".into());
    };
    let queue = Queue { messages_max: 10, ..Queue::default() };
    let client = Client::start(url, Options::new().queue(queue))?;
    let mut tasks = JoinSet::new();
    for task in 0..TASKS {
        tasks.spawn(publish_all(client.clone(), topic.clone(), task));
    }
    while let Some(published) = tasks.join_next().await {
        published??;
    }
    println!("{} messages are acknowledged", TASKS * MESSAGES_EACH);
    Ok(())
}

async fn publish_all(client: Client, topic: String, task: usize) -> Result<(), PublishError> {
    let mut handles = Vec::new();
    for number in 0..MESSAGES_EACH {
        let payload = format!("{task} {number}");
        let publish = Publish::new(&topic, &payload).qos(QoS::ExactlyOnce);
        handles.push(client.publish(&publish).await?);
    }
    // Only now are the acknowledgements looked at: that nobody did before has stopped nothing.
    for handle in handles {
        handle.await?;
    }
    Ok(())
}
