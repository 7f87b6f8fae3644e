//! The client without async.

use std::thread;
use std::time::Duration;

use quelea_client::blocking::Client;
use quelea_client::{Event, Options, Publish, QoS};

use crate::publishing::PATIENT;
use crate::support::house::House;

#[test]
fn everything_that_waits() {
    let house = House::new();
    let client = Client::connect(&house.url(), Options::new()).unwrap();
    let mut messages = client.subscribe("t").unwrap();
    assert!(messages.try_next().is_none());
    assert!(messages.next_within(Duration::from_millis(1)).is_none());
    let publish = Publish::new("t", "hello").qos(QoS::ExactlyOnce);
    client.publish(&publish).unwrap().wait().unwrap();
    client.try_publish(&publish).unwrap().wait().unwrap();
    assert_eq!(
        messages.next().and_then(|it| it.text().map(str::to_owned)).as_deref(),
        Some("hello")
    );
    assert!(messages.next_within(PATIENT).is_some());

    let mut events = client.events();
    let mut requests = client.subscribe("question").unwrap();
    let answering = client.clone();
    let answerer = thread::spawn(move || {
        let request = requests.next().unwrap();
        let response = Publish::new(request.response_topic().unwrap(), "42")
            .correlation_data(request.correlation_data().unwrap());
        answering.publish(&response).unwrap().wait().unwrap();
        requests.unsubscribe();
    });
    let response = client.request(Publish::new("question", ""), PATIENT).unwrap();
    assert_eq!(response.text(), Some("42"));
    answerer.join().unwrap();
    assert_eq!(client.close(PATIENT), 0);
    assert!(events.any(|event| matches!(event, Event::Closed)));
    assert!(messages.next().is_none());
}

#[test]
fn nobody_there_is_an_error() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("mqtt://{}", listener.local_addr().unwrap());
    drop(listener);
    let error = Client::connect(&url, Options::new()).expect_err("nobody listens");
    assert!(error.to_string().contains("Is a broker running there?"), "{error}");
}
