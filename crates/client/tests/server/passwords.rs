//! SCRAM-SHA-256 and plain passwords, opposite our own broker and a password file of `quelea passwd`.

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use quelea_broker::Extensions;
use quelea_client::{Client, Event, Options, Publish, Scram};
use tokio::time::timeout;

use crate::support::house::House;
use crate::support::soon;

#[tokio::test]
async fn scram_opens_and_is_repeated() {
    let (house, _file) = house("scram");
    let options = Options::new().authenticator(Arc::new(Scram::new("user", "pencil").unwrap()));
    let client = Client::connect(&house.url(), options).await.unwrap();
    let mut events = client.events();
    for _ in 0..3 {
        let handle = client.publish(&Publish::new("t", "")).await.unwrap();
        soon("the acknowledgement", handle).await.unwrap();
        client.reauthenticate();
    }
    let mut messages = client.subscribe("t").await.unwrap();
    drop(client.publish(&Publish::new("t", "still")).await.unwrap());
    assert_eq!(soon("a message", messages.next()).await.unwrap().payload(), b"still");
    // A broker that did not like it would have ended the connection. What has happened is there at once.
    while let Ok(Some(event)) = timeout(Duration::ZERO, events.next()).await {
        assert!(!matches!(event, Event::Disconnected { .. }), "{event:?}");
    }
}

#[tokio::test]
async fn others_are_refused() {
    let (house, _file) = house("others");
    for (name, password) in [("user", "paper"), ("nobody", "pencil")] {
        let options = Options::new().authenticator(Arc::new(Scram::new(name, password).unwrap()));
        let error = Client::connect(&house.url(), options).await.expect_err(name);
        assert!(error.to_string().contains("0x87"), "{error}");
    }
}

fn house(name: &str) -> (House, Scratch) {
    let name = format!("quelea-client-{}-{name}", std::process::id());
    let file = Scratch(std::env::temp_dir().join(name));
    fs::write(&file.0, FILE).unwrap();
    let path = file.0.clone();
    let change = |config: &mut quelea_broker::Config| {
        config.authentication.password_file = Some(path);
    };
    (House::with(change, Extensions::default()), file)
}

/// A file that is gone when its test ends.
struct Scratch(PathBuf);

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

/// The password is "pencil".
const FILE: &str = "user:$argon2id$v=19$m=19456,t=2,p=1$vqvTUFQW9labketvZqvbqg$6N3y7touAmSPeXysl2PpX61Q57Os7r4MObkyFgy+Brk:$scram-sha-256$i=100000$mCp+HsZVBMVm1XO4/WA05Q==$Gev5FnUpIYgIGB06fgwKAyz2gciZm+oAad+LZ4tFxWU=$AM5G17bub+NhRMgdbyyeAFpXXn8OlkZ6DXuMRwzbSrY=:staff\n";
