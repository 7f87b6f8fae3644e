//! Listeners with terms of their own: versions of MQTT, and limits.

use std::io::{Read as _, Write as _};

use crate::client::tcp;
use crate::house::{self, House};

#[test]
fn a_listener_takes_the_versions_that_it_is_for() {
    check(&[], &[true, true, true]);
    check(&["3.1.1"], &[false, true, false]);
    check(&["3.1", "5.0"], &[true, false, true]);
}

/// Connects with 3.1, 3.1.1 and 5.0 to a listener for `versions`.
#[track_caller]
fn check(versions: &[&str], are_let_in: &[bool; 3]) {
    let versions =
        if versions.is_empty() { String::new() } else { format!("versions = {versions:?}") };
    let house = House::new(|listener, _| {
        *listener =
            house::listener_of(&format!("[[listener]]\naddress = \"127.0.0.1:0\"\n{versions}"));
    });
    let cases: [(&[u8], &[u8], &[u8]); 3] = [
        (b"\x10\x0F\0\x06MQIsdp\x03\x02\0\0\0\x01a", &[0x20, 2, 0, 0], &[0x20, 2, 0, 1]),
        (b"\x10\x0D\0\x04MQTT\x04\x02\0\0\0\x01a", &[0x20, 2, 0, 0], &[0x20, 2, 0, 1]),
        (b"\x10\x0E\0\x04MQTT\x05\x02\0\0\0\0\x01a", &[0x20], &[0x20, 3, 0, 0x84, 0]),
    ];
    for ((connect, welcome, refusal), is_let_in) in cases.into_iter().zip(are_let_in) {
        let mut stream = tcp(house.address);
        stream.write_all(connect).unwrap();
        let expected = if *is_let_in { welcome } else { refusal };
        let mut connack = vec![0; expected.len()];
        stream.read_exact(&mut connack).unwrap();
        assert_eq!(connack, expected, "{versions} {}", connect.escape_ascii());
        if !is_let_in {
            assert_eq!(stream.read(&mut [0]).unwrap(), 0, "nothing follows a refusal");
        }
    }
}

/// What CONNACK announces is the listener's, and so is what is done.
#[test]
fn a_listener_has_limits_of_its_own() {
    let house = House::new(|listener, _| {
        *listener = house::listener_of(
            "[[listener]]\naddress = \"127.0.0.1:0\"\nkeep_alive_max_secs = 300\npacket_bytes_max = 2048\nreceive_maximum = 7",
        );
    });
    let mut stream = tcp(house.address);
    stream.write_all(b"\x10\x0E\0\x04MQTT\x05\x02\0\0\0\0\x01a").unwrap();
    let mut head = [0; 2];
    stream.read_exact(&mut head).unwrap();
    let mut connack = vec![0; head[1].into()];
    stream.read_exact(&mut connack).unwrap();
    let properties: [&[u8]; 3] = [&[0x13, 1, 44], &[0x27, 0, 0, 8, 0], &[0x21, 0, 7]];
    for property in properties {
        assert!(connack.windows(property.len()).any(|it| it == property), "{connack:02x?}");
    }
    let publish = |bytes: usize| {
        // Fixed header, topic "t", no properties, and the payload.
        let length = bytes - 3;
        let head = [0x30, (length % 128) as u8 | 0x80, (length / 128) as u8, 0, 1, b't', 0];
        let mut packet = head.to_vec();
        packet.resize(bytes, b'x');
        packet
    };
    stream.write_all(&[&publish(2_048)[..], &[0xC0, 0]].concat()).unwrap();
    stream.read_exact(&mut head).unwrap();
    assert_eq!(head, [0xD0, 0], "2,048 bytes are not too many");
    stream.write_all(&publish(2_049)).unwrap();
    let mut disconnect = [0; 3];
    stream.read_exact(&mut disconnect).unwrap();
    assert_eq!((disconnect[0], disconnect[2]), (0xE0, 0x95), "0x95 is Packet too large");
}
