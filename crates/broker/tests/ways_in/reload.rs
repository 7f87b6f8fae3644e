//! Files of TLS that change while the broker runs.

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use quelea_broker::config::CrlExpiry;
use rcgen::date_time_ymd;
use rustls::HandshakeKind;

use crate::client::{Client, tls, tls_to};
use crate::house::House;
use crate::journal;
use crate::pki::{Authority, client_config};

/// A new certificate is for new connections; the old ones go on.
#[test]
fn certificate_is_renewed_by_itself() {
    let (old, new) = (Authority::root("old"), Authority::root("new"));
    let house = House::with_tls(&old.issue("localhost"), |_, _| {});
    let connect = |ca: &Authority| Client::connect(tls(house.address, client_config(ca, None))?);
    let mut early = connect(&old).unwrap();
    connect(&new).err().expect("it is the old one");

    new.issue("localhost").write(&house.directory, "server");
    while connect(&new).is_err() {}
    connect(&old).err().expect("it is the new one");
    early.ping().unwrap();
}

/// A file that is not written to its end, or does not fit, changes nothing.
#[test]
fn wrong_files_are_refused_and_the_old_stay() {
    journal::keep();
    let (old, new) = (Authority::root("old"), Authority::root("new"));
    let house = House::with_tls(&old.issue("localhost"), |_, _| {});
    let connect = |ca: &Authority| {
        Client::connect(tls(house.address, client_config(ca, None))?).and_then(|mut it| it.ping())
    };
    let file = house.directory.path("server.pem");
    let is_about = |what: &str| {
        journal::expect(&["not right", &file.parent().unwrap().display().to_string(), what]);
    };
    let next = new.issue("localhost");
    let pem = next.pem();
    for length in [0, 40, pem.len() / 2, pem.len() - 10] {
        fs::write(&file, &pem[..length]).unwrap();
        house.reload();
        connect(&old).unwrap();
    }
    is_about("it is cut off");
    // The whole certificate, and not yet its key.
    fs::write(&file, &pem).unwrap();
    house.reload();
    is_about("it is not the key of the certificate");
    connect(&old).unwrap();
    fs::remove_file(&file).unwrap();
    house.reload();
    is_about("No such file");
    connect(&old).unwrap();

    next.write(&house.directory, "server");
    house.reload();
    connect(&new).unwrap();
}

/// However files are written and when they are read: who connects is let in, with the old or with the new.
#[test]
fn nobody_is_turned_away_while_files_change() {
    let ca = Authority::root("ca");
    let house = House::with_tls(&ca.issue("localhost"), |_, _| {});
    let is_over = AtomicBool::new(false);
    let connected = AtomicU32::new(0);
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                while !is_over.load(Ordering::Relaxed) {
                    let stream = tls(house.address, client_config(&ca, None)).unwrap();
                    Client::connect(stream).unwrap().ping().unwrap();
                    connected.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        for _ in 0..20 {
            let next = ca.issue("localhost");
            let pem = next.pem();
            for part in [&pem[..100], &pem[..pem.len() - 1], &pem] {
                fs::write(house.directory.path("server.pem"), part).unwrap();
                house.reload();
            }
            next.write(&house.directory, "server");
            house.reload();
            let before = connected.load(Ordering::Relaxed);
            while connected.load(Ordering::Relaxed) < before + 3 {
                std::thread::yield_now();
            }
        }
        is_over.store(true, Ordering::Relaxed);
    });
}

/// A certificate is looked at every time: nothing is resumed that could have been revoked, or have expired, since.
#[test]
fn revoked_client_is_not_resumed() {
    let ca = Authority::root("ca");
    let (good, bad) = (ca.issue("good"), ca.issue("bad"));
    let house = House::with_tls(&ca.issue("localhost"), |tls, directory| {
        tls.client_cas = vec![directory.write("ca.pem", &ca.certificate.pem())];
        tls.crls = vec![directory.write("crl.pem", &ca.revoke(&[]))];
    });
    let configs = [&good, &bad].map(|it| Arc::new(client_config(&ca, Some(it))));
    let connect = |index: usize| {
        let mut client = Client::connect(tls_to(house.address, &configs[index], "localhost")?)?;
        client.ping()?;
        Ok::<_, std::io::Error>(client.stream.conn.handshake_kind())
    };
    for index in [0, 1] {
        assert_eq!(connect(index).unwrap(), Some(HandshakeKind::Full));
        assert_eq!(connect(index).unwrap(), Some(HandshakeKind::Full));
    }
    house.directory.write("crl.pem", &ca.revoke(&[&bad]));
    house.reload();
    assert_eq!(connect(0).unwrap(), Some(HandshakeKind::Full));
    let error = connect(1).unwrap_err();
    assert!(error.to_string().contains("CertificateRevoked"), "{error}");
}

/// By default a list that is out of date stays in force; who wants to be sure has nobody let in.
#[test]
fn list_that_is_out_of_date_is_warned_of_or_lets_nobody_in() {
    journal::keep();
    let ca = Authority::root("ca");
    let (good, bad) = (ca.issue("good"), ca.issue("bad"));
    for crl_expiry in [CrlExpiry::Warned, CrlExpiry::Enforced] {
        let house = House::with_tls(&ca.issue("localhost"), |tls, directory| {
            tls.client_cas = vec![directory.write("ca.pem", &ca.certificate.pem())];
            tls.crls = vec![directory.write("crl.pem", &ca.revoke(&[&bad]))];
            tls.crl_expiry = crl_expiry;
        });
        let connect = |identity| {
            let stream = tls(house.address, client_config(&ca, Some(identity)))?;
            Client::connect(stream).and_then(|mut it| it.ping())
        };
        connect(&good).unwrap();
        connect(&bad).unwrap_err();
        let file = house.directory.write("crl.pem", &ca.revoke_until(2025, &[&bad]));
        house.reload();
        journal::expect(&["WARN", "out of date", &file.display().to_string()]);
        assert_eq!(connect(&good).is_ok(), crl_expiry == CrlExpiry::Warned);
        connect(&bad).unwrap_err();
        house.directory.write("crl.pem", &ca.revoke(&[&bad]));
        house.reload();
        connect(&good).unwrap();
    }
}

/// Whoever gives the list of the wrong authority believes that somebody is revoked who is not.
#[test]
fn list_of_another_authority_is_warned_of() {
    journal::keep();
    let (ca, other) = (Authority::root("ca"), Authority::root("other"));
    let bad = ca.issue("bad");
    let house = House::with_tls(&ca.issue("localhost"), |tls, directory| {
        tls.client_cas = vec![directory.write("ca.pem", &ca.certificate.pem())];
        tls.crls = vec![directory.write("crl.pem", &other.revoke(&[&bad]))];
    });
    let file = house.directory.path("crl.pem").display().to_string();
    journal::expect(&["WARN", "of no authority of tls.client_ca", &file]);
    house.directory.write("crl.pem", &ca.revoke(&[&bad]));
    house.reload();
    let stream = tls(house.address, client_config(&ca, Some(&bad)));
    stream.and_then(Client::connect).and_then(|mut it| it.ping()).unwrap_err();
}

#[test]
fn expiry_is_announced() {
    journal::keep();
    let ca = Authority::root("ca");
    let house = House::with_tls(&ca.issue("localhost"), |_, _| {});
    let file = house.directory.path("server.pem").display().to_string();
    let expired = ca.issue_with("localhost", |params| {
        params.not_before = date_time_ymd(2020, 1, 1);
        params.not_after = date_time_ymd(2021, 1, 1);
    });
    expired.write(&house.directory, "server");
    house.reload();
    journal::expect(&["WARN", "the certificate has expired", &file]);

    let day = date_time_ymd(2000, 1, 2) - date_time_ymd(2000, 1, 1);
    let now = date_time_ymd(1970, 1, 1) + since_1970();
    for (days, is_soon) in [(29, true), (31, false)] {
        let next = ca.issue_with("localhost", |params| {
            params.not_after = now + day * days + day / 2;
        });
        next.write(&house.directory, "server");
        house.reload();
        let line = journal::last(&[&file]);
        assert_eq!(line.contains("expires soon"), is_soon, "{line}");
        assert_eq!(line.contains("days=29"), is_soon, "{line}");
    }
}

fn since_1970() -> std::time::Duration {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap()
}
