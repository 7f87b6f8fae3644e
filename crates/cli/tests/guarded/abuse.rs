//! Those who want more than their share, each beside a pair that must not feel it, and within a bound of memory.
//!
//! | abuse | test |
//! |---|---|
//! | connections from one address, too many and too fast | `a_flood_of_connections_from_one_address` |
//! | the same through a proxy | `proxy.rs` of `ways_in`, in the broker's tests |
//! | a client that comes and goes | `a_client_that_flaps`; `bans.rs` of the stress tests |
//! | wrong passwords, one after the other | `an_address_that_guesses_passwords`; storms of them: `passwords.rs` of the broker |
//! | a fleet that comes back at once | `a_fleet_that_comes_back_at_once`; `storm.rs` of the stress tests |
//! | CONNECT that never ends, silence | `connects_that_never_end`; TLS and WebSocket: `hostile.rs` of `ways_in` |
//! | bytes before CONNACK | `bytes_before_connack` |
//! | a million topics of one client, retained or not | `a_million_topics` |
//! | subscriptions without end, sessions without end | `a_flood_of_subscriptions`, `a_flood_of_sessions` |
//! | aliases that change their meaning | `aliases_that_change_all_the_time` |
//! | topics and filters with very many levels | `topics_that_are_deep` |
//! | payloads that are large, packets that are never done | `payloads_that_are_large`, `packets_that_are_never_done` |
//! | messages for those who sleep | `a_flood_for_those_who_sleep` |
//! | messages and bytes beyond a rate | `rates.rs` of the stress tests |
//! | a reader that does not read | `slow_reader.rs` of the stress tests |
//! | more than the broker can do: memory, turns, the store | `overload.rs` of the stress tests |
//! | any bytes at all | `hostile.rs` of the stress tests; the fuzz targets |

use std::net::{Ipv4Addr, SocketAddr, TcpStream};

use quelea_codec::{Packet, PacketKind, Publish, PublishProperties, QoS, Version};
use socket2::{Domain, Socket, Type};

use crate::broker::Broker;
use crate::bystander::beside;
use crate::client::{Client, Got, Options, publish_bytes, subscribe_bytes};

#[test]
fn a_flood_of_connections_from_one_address() {
    let broker =
        Broker::new("[rates]\naddress_connections_max = 50\naddress_connects_per_sec = 1_000");
    let ((accepted, refused), felt) = beside(&broker, || {
        let mut kept = Vec::new();
        let mut refused = 0;
        for number in 0..5_000 {
            let mut client = connect_from(ELSEWHERE, &broker);
            client.send(&Options::new(number.to_string()).bytes());
            match client.next() {
                Got::Accepted(_, 0) => kept.push(client),
                _ => refused += 1,
            }
        }
        (kept.len(), refused)
    });
    assert_eq!((accepted, refused), (50, 4_950));
    felt.assert_bearable(16 * MIB);
}

#[test]
fn a_client_that_flaps() {
    let broker = Broker::new("[bans]\nconnects_max = 20");
    let (answers, felt) = beside(&broker, || {
        let mut answers = Vec::new();
        for _ in 0..1_000 {
            let mut client = Client::start(broker.address, &Options::new("flapping"));
            match client.next() {
                Got::Accepted(_, answer) => answers.push(answer),
                got => panic!("{got:?}"),
            }
            client.crash();
        }
        answers
    });
    assert_eq!(answers.iter().filter(|it| **it == 0).count(), 20);
    assert!(answers[20..].iter().all(|it| *it == 0x8A), "banned until long after this");
    felt.assert_bearable(16 * MIB);
}

/// Once it is banned it costs no hash any more, and is not even answered.
#[test]
fn an_address_that_guesses_passwords() {
    let broker = Broker::with_passwords("[bans]\nfailures_max = 5");
    let (answers, felt) = beside(&broker, || {
        let mut answers = Vec::new();
        for guess in 0..1_000 {
            let mut client = connect_from(ELSEWHERE, &broker);
            let options = with_password("guess", &guess.to_string());
            client.send(&options.bytes());
            answers.push(match client.next() {
                Got::Accepted(_, answer) => Some(answer),
                _ => None,
            });
        }
        answers
    });
    assert_eq!(answers[..6], [Some(0x86); 6]);
    assert!(answers[6..].iter().all(Option::is_none));
    // Two hashes at a time.
    felt.assert_bearable(64 * MIB);
    Client::connect(broker.address, &with_password("bob", "pencil"));
}

#[test]
fn a_fleet_that_comes_back_at_once() {
    const CLIENTS: usize = 1_000;
    let broker = Broker::new("");
    let options = |number: usize| Options::new(format!("fleet-{number}")).durable();
    let ((), felt) = beside(&broker, || {
        for round in 0..4 {
            let mut clients: Vec<Client> =
                (0..CLIENTS).map(|it| Client::start(broker.address, &options(it))).collect();
            for client in &mut clients {
                assert_eq!(client.next(), Got::Accepted(round > 0, 0));
            }
            for client in clients {
                client.crash();
            }
        }
    });
    felt.assert_bearable(64 * MIB);
}

#[test]
fn connects_that_never_end() {
    let broker = Broker::new("[limits]\nconnect_timeout_secs = 1");
    let ((), felt) = beside(&broker, || {
        let bytes = Options::new("never").bytes();
        let mut clients: Vec<Client> =
            (0..1_000).map(|_| Client::open(broker.address, Version::V5)).collect();
        for (number, client) in clients.iter_mut().enumerate() {
            client.send(&bytes[..number % bytes.len()]);
        }
        for client in &mut clients {
            assert_eq!(client.next(), Got::Closed);
        }
    });
    felt.assert_bearable(16 * MIB);
}

/// What follows a CONNECT whose password is being looked at stays in the sockets.
#[test]
fn bytes_before_connack() {
    let broker = Broker::with_passwords("");
    let flood = publish_bytes(Version::V5, "nobody", 0, &[b'x'; 10_000], false, 0).repeat(100);
    let ((), felt) = beside(&broker, || {
        let mut clients: Vec<Client> = (0..100)
            .map(|number| {
                let options = with_password(&format!("early-{number}"), "wrong");
                Client::start(broker.address, &options)
            })
            .collect();
        for client in &mut clients {
            client.send_some(&flood);
        }
        for client in &mut clients {
            // The answer, unless the system has thrown it away with what was never read.
            assert!(matches!(client.next(), Got::Accepted(false, 0x86) | Got::Closed));
        }
    });
    // Two hashes, and 512 KiB for each at the very most.
    felt.assert_bearable(100 * MIB);
}

#[test]
fn a_million_topics() {
    let retained = "[limits]\nretained_messages_max = 10_000\nretained_bytes_max = \"4 MiB\"";
    let rated = "[rates]\ntopics_per_connection_max = 100";
    for (settings, is_retained, topic_count) in
        [(retained, true, 1_000_000), (retained, false, 300_000), (rated, true, 300_000)]
    {
        let broker = Broker::new(settings);
        let mut client = Client::connect(broker.address, &Options::new("client"));
        let ((), felt) = beside(&broker, || {
            let mut bytes = Vec::new();
            for topic in 0..topic_count {
                let topic = format!("one/of/very/many/topics/{topic}");
                bytes.extend(publish_bytes(Version::V5, &topic, 0, b"1", is_retained, 0));
                if bytes.len() > 64 * 1_024 {
                    client.send(&bytes);
                    client.before_pong();
                    bytes.clear();
                }
            }
            client.before_pong();
        });
        felt.assert_bearable(32 * MIB);
        // It is still served, and so is whoever asks for all there is.
        client.subscribe("one/#", 0);
        client.publish("one/more", 1, b"1");
    }
}

#[test]
fn a_flood_of_subscriptions() {
    const MAX: usize = 1_000;
    let broker = Broker::new("[limits]\nsubscriptions_per_session_max = 1_000");
    let mut client = Client::connect(broker.address, &Options::new("client"));
    let (granted, felt) = beside(&broker, || {
        let mut granted = 0;
        for packet in 0..200 {
            let filters: Vec<String> =
                (0..1_000).map(|it| format!("{packet}/+/{it}/a/long/filter/#")).collect();
            let filters: Vec<(&str, u8)> = filters.iter().map(|it| (it.as_str(), 1)).collect();
            client.send(&subscribe_bytes(Version::V5, &filters, packet + 1));
            let Got::Subscribed(_, reasons) = client.next() else { panic!("it is no SUBACK") };
            assert!(reasons.iter().all(|it| [1, 0x97].contains(it)));
            granted += reasons.iter().filter(|it| **it == 1).count();
        }
        granted
    });
    assert_eq!(granted, MAX);
    felt.assert_bearable(32 * MIB);
}

#[test]
fn a_flood_of_sessions() {
    let broker = Broker::new("[limits]\nsessions_max = 102");
    let (answers, felt) = beside(&broker, || {
        let answer = |number: u32| {
            let options = Options::new(format!("session-{number}")).durable();
            let mut client = Client::start(broker.address, &options);
            let Got::Accepted(false, answer) = client.next() else { panic!("it is no CONNACK") };
            answer
        };
        (0..2_000).map(answer).collect::<Vec<u8>>()
    });
    assert!(answers[..100].iter().all(|it| *it == 0), "the pair has two");
    assert!(answers[100..].iter().all(|it| *it == 0x97));
    felt.assert_bearable(16 * MIB);
}

/// Each alias is remembered with its latest topic, and there are no more than announced.
#[test]
fn aliases_that_change_all_the_time() {
    let broker = Broker::new("[limits]\ntopic_alias_max = 8");
    let mut client = Client::connect(broker.address, &Options::new("client"));
    let mut publish = |topic: &str, alias: u16| {
        let properties = PublishProperties { topic_alias: Some(alias), ..Default::default() };
        let qos = QoS::AtMostOnce;
        client.send_packet(&Packet::Publish(Publish {
            dup: false,
            qos,
            retain: false,
            topic,
            packet_id: None,
            properties,
            payload: b"1",
        }));
    };
    let long = "x".repeat(20_000);
    let ((), felt) = beside(&broker, || {
        for number in 0..5_000 {
            publish(&format!("{number}{long}"), number % 8 + 1);
            publish("", number % 8 + 1);
        }
    });
    felt.assert_bearable(16 * MIB);
    publish("one/too/many", 9);
    assert_eq!(client.closing_reason(), Some(0x94));
}

#[test]
fn topics_that_are_deep() {
    let broker = Broker::new("");
    let mut client = Client::connect(broker.address, &Options::new("client"));
    let deep = "/".repeat(60_000);
    let ((), felt) = beside(&broker, || {
        for _ in 0..500 {
            assert_eq!(client.publish(&deep, 1, b"1"), 0x90);
            let id = client.send_subscribe(&[(&deep, 1)]);
            assert_eq!(client.next(), Got::Subscribed(id, vec![0x8F]));
            let id = client.send_subscribe(&[(&format!("{}#", "+/".repeat(30_000)), 1)]);
            assert_eq!(client.next(), Got::Subscribed(id, vec![0x8F]));
        }
    });
    felt.assert_bearable(16 * MIB);
    // What is just allowed works.
    let deepest = "/".repeat(255);
    client.subscribe(&deepest, 1);
    assert_eq!(client.publish(&deepest, 1, b"1"), 0);
    client.take();
}

#[test]
fn payloads_that_are_large() {
    let broker = Broker::new("[rates]\npayload_bytes_max = \"64 KiB\"");
    let mut client = Client::connect(broker.address, &Options::new("client"));
    let payload = vec![b'x'; 5 * 1_024 * 1_024];
    let ((), felt) = beside(&broker, || {
        for _ in 0..20 {
            assert_eq!(client.publish("bystander", 1, &payload), 0x97);
        }
    });
    // Each is read before it is refused, one at a time.
    felt.assert_bearable(48 * MIB);
    assert_eq!(client.publish("nobody", 1, &payload[..65_536]), 0x10);
}

/// A packet that is under way takes what has come of it, which is bounded by its size.
#[test]
fn packets_that_are_never_done() {
    let broker = Broker::new("[limits]\npacket_bytes_max = \"256 KiB\"");
    let bytes = publish_bytes(Version::V5, "t", 0, &[b'x'; 250_000], false, 0);
    let (_clients, felt) = beside(&broker, || {
        let mut clients: Vec<Client> = (0..100)
            .map(|it| Client::connect(broker.address, &Options::new(it.to_string())))
            .collect();
        for client in &mut clients {
            client.send(&bytes[..bytes.len() - 1]);
        }
        let mut large = Client::connect(broker.address, &Options::new("large"));
        large.send(&publish_bytes(Version::V5, "t", 0, &[b'x'; 300_000], false, 0));
        assert_eq!(large.closing_reason(), Some(0x95));
        clients
    });
    felt.assert_bearable(64 * MIB);
}

/// Queues of those who are away have limits, each and all together, and the publisher is told.
#[test]
fn a_flood_for_those_who_sleep() {
    const SLEEPERS: usize = 20;
    let broker = Broker::with_store(
        "interval",
        "[limits]\nqueued_messages_max = 1_000\nqueued_messages_total_max = 10_000",
    );
    let options = |number: usize| Options::new(format!("sleeper-{number}")).durable();
    for number in 0..SLEEPERS {
        let mut sleeper = Client::connect(broker.address, &options(number));
        sleeper.subscribe("flood/#", 1);
        sleeper.disconnect();
    }
    let mut client = Client::connect(broker.address, &Options::new("client"));
    let (told, felt) = beside(&broker, || {
        let mut told = Vec::new();
        for _ in 0..50 {
            let ids: Vec<u16> =
                (0..200).map(|_| client.send_publish("flood/a", 1, &[b'x'; 1_000])).collect();
            told.extend(ids.into_iter().map(|id| client.wait_ack(PacketKind::PubAck, id)));
        }
        told
    });
    felt.assert_bearable(48 * MIB);
    let taken = told.iter().filter(|it| **it == 0).count();
    assert!((500..=1_000).contains(&taken), "{taken} messages for twenty fill what there is");
    assert!(told[taken..].iter().all(|it| *it == 0x97));
    let mut queued = 0;
    for number in 0..SLEEPERS {
        let (mut sleeper, is_present) = Client::resume(broker.address, &options(number));
        assert!(is_present);
        sleeper.subscribe("end", 1);
        // There is no room for this one either, before some of the others have left; then it comes behind them.
        let mut is_asked = false;
        while sleeper.take().topic != "end" {
            queued += 1;
            is_asked = is_asked || sleeper.publish("end", 1, b"end") == 0;
        }
    }
    assert!((9_000..=10_200).contains(&queued), "{queued} were kept");
}

fn with_password(client_id: &str, password: &str) -> Options {
    let login = Some(("bob".to_owned(), password.to_owned()));
    Options { login, ..Options::new(client_id) }
}

/// Connects from another address of this machine.
fn connect_from(address: Ipv4Addr, broker: &Broker) -> Client {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("there are sockets");
    socket.bind(&SocketAddr::from((address, 0)).into()).expect("all of 127/8 is this machine");
    socket.connect(&broker.address.into()).expect("the broker listens");
    Client::on(TcpStream::from(socket), Version::V5)
}

/// Where those come from who are up to something.
const ELSEWHERE: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);

const MIB: u64 = 1_024 * 1_024;
