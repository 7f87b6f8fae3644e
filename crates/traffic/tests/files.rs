//! What was written is read; what was cut off or damaged is noticed, and what is before it is read.

use proptest::prelude::*;
use quelea_codec::{Publish, PublishProperties, QoS, SubscriptionIds, UserProperties};
use quelea_traffic::{Damage, ReadError, Reader, Writer};

/// An entry that belongs to nobody.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Owned {
    micros: u64,
    qos: QoS,
    retain: bool,
    topic: String,
    payload: Vec<u8>,
    content_type: Option<String>,
    correlation_data: Option<Vec<u8>>,
    expiry_secs: Option<u32>,
    user_properties: Vec<(String, String)>,
}

proptest! {
    #[test]
    fn what_was_written_is_read(
        mut entries in prop::collection::vec(entry(), 0..40),
        flush_after in prop::collection::vec(any::<bool>(), 40),
    ) {
        entries.sort_by_key(|it| it.micros);
        let file = write(&entries, |index| flush_after[index]);
        let (read, end) = read_all(&file);
        prop_assert_eq!(read, entries);
        prop_assert!(end.is_none());
    }

    /// Wherever a crash cuts the file, what was flushed before is there, and nothing else.
    #[test]
    fn a_file_is_good_up_to_its_last_whole_block(
        mut entries in prop::collection::vec(entry(), 1..6),
        zeros in 0_usize..80,
    ) {
        entries.sort_by_key(|it| it.micros);
        let file = write(&entries, |_| true);
        let ends: Vec<usize> =
            (0..=entries.len()).map(|count| write(&entries[..count], |_| true).len()).collect();
        for cut in ends[0]..file.len() {
            let mut torn = file[..cut].to_vec();
            // Bytes of the file that never came to the disk; where it has zeros that makes no difference.
            torn.extend(vec![0; zeros]);
            let same = torn.iter().zip(&file).take_while(|(torn, whole)| torn == whole).count();
            let whole = ends.iter().rposition(|&end| end <= same).unwrap();
            let (read, end) = read_all(&torn);
            prop_assert_eq!(&read, &entries[..whole]);
            match end {
                None => prop_assert_eq!(torn.len(), ends[whole], "cut at {}", cut),
                Some(ReadError::Cut { at }) => prop_assert_eq!(at, ends[whole] as u64),
                // The zeros are more than what is missing.
                Some(ReadError::Damaged { .. }) => prop_assert!(zeros > 0),
                Some(other) => prop_assert!(false, "{other}"),
            }
        }
    }

    /// No damage passes for traffic.
    #[test]
    fn damage_is_noticed(
        mut entries in prop::collection::vec(entry(), 1..6),
        at in any::<prop::sample::Index>(),
        bit in 0_u32..8,
    ) {
        entries.sort_by_key(|it| it.micros);
        let mut file = write(&entries, |_| true);
        let at = at.index(file.len());
        file[at] ^= 1 << bit;
        let (read, end) = read_all(&file);
        prop_assert!(end.is_some(), "byte {at}");
        prop_assert_eq!(&read[..], &entries[..read.len()]);
    }
}

#[test]
fn what_belongs_to_a_connection_is_left_out() {
    let properties = PublishProperties {
        topic_alias: Some(7),
        subscription_ids: SubscriptionIds::from_slice(&[1, 2]),
        content_type: Some("text/plain"),
        ..PublishProperties::default()
    };
    let publish =
        Publish { dup: true, qos: QoS::AtLeastOnce, topic: "t", properties, ..Publish::default() };
    let mut writer = Writer::begin(Vec::new(), 5).unwrap();
    writer.push(1, &publish).unwrap();
    let file = writer.finish().unwrap();
    let mut reader = Reader::new(file.as_slice()).unwrap();
    assert_eq!(reader.begun_unix_micros(), 5);
    let read = reader.next().unwrap().unwrap().publish;
    assert_eq!((read.dup, read.properties.topic_alias), (false, None));
    assert!(read.properties.subscription_ids.is_empty());
    assert_eq!(read.properties.content_type, Some("text/plain"));
}

/// A clock that is set back does not make a file that nobody can read.
#[test]
fn time_does_not_go_back() {
    let mut writer = Writer::begin(Vec::new(), 0).unwrap();
    for micros in [5, 3, 9] {
        writer.push(micros, &Publish { topic: "t", ..Publish::default() }).unwrap();
        writer.flush().unwrap();
    }
    let file = writer.finish().unwrap();
    let (read, _) = read_all(&file);
    assert_eq!(read.iter().map(|it| it.micros).collect::<Vec<_>>(), [5, 5, 9]);
}

#[test]
fn a_file_is_gone_on_with() {
    let publish = Publish { topic: "t", payload: b"x", ..Publish::default() };
    let mut writer = Writer::begin(Vec::new(), 0).unwrap();
    writer.push(10, &publish).unwrap();
    let mut file = writer.finish().unwrap();
    let whole = file.len();
    file.extend_from_slice(b"QTBL and what else came of it");
    let mut reader = Reader::new(file.as_slice()).unwrap();
    let mut last = 0;
    while let Ok(Some(entry)) = reader.next() {
        last = entry.micros;
    }
    assert_eq!(reader.whole_bytes(), whole as u64);
    file.truncate(whole);
    let mut writer = Writer::go_on(file, last, whole as u64);
    writer.push(25, &publish).unwrap();
    let (read, end) = read_all(&writer.finish().unwrap());
    assert_eq!(read.iter().map(|it| it.micros).collect::<Vec<_>>(), [10, 25]);
    assert!(end.is_none());
}

/// A header may promise what it likes: memory grows with the bytes that are there.
#[test]
fn what_is_no_traffic_is_said() {
    let file = write(&[], |_| true);
    let with = |at: usize, byte: u8| {
        let mut bytes = file.clone();
        bytes[at] = byte;
        bytes
    };
    let open = |bytes: &[u8]| Reader::new(bytes).map(|_| ()).unwrap_err();
    assert!(matches!(open(b""), ReadError::NoTraffic));
    assert!(matches!(open(b"QUEL"), ReadError::Cut { at: 0 }));
    assert!(matches!(open(&[b'{'; 100]), ReadError::NoTraffic));
    assert!(matches!(open(&with(8, 2)), ReadError::Version(2)));
    assert!(matches!(open(&with(20, 1)), ReadError::Damaged { at: 0, .. }));
    let block = |length: u32| {
        let mut bytes = file.clone();
        bytes.extend_from_slice(b"QTBL");
        bytes.extend_from_slice(&length.to_le_bytes());
        bytes.extend_from_slice(&[0; 16]);
        read_all(&bytes).1
    };
    assert!(matches!(block(268_435_470), Some(ReadError::Cut { at: 32 })));
    let too_large = block(268_435_471);
    assert!(matches!(too_large, Some(ReadError::Damaged { damage: Damage::BlockTooLarge, .. })));
}

/// Half a block may be in the file: what comes after it could not be read.
#[test]
fn nothing_follows_a_write_that_failed() {
    let publish = Publish { topic: "t", payload: b"x", ..Publish::default() };
    let mut room = [0; 100];
    let mut writer = Writer::begin(&mut room[..], 0).unwrap();
    let mut pushed = 0;
    while writer.push(pushed, &publish).and_then(|()| writer.flush()).is_ok() {
        pushed += 1;
    }
    assert!(writer.push(pushed, &publish).and_then(|()| writer.flush()).is_err());
    assert!(writer.finish().is_err());
    let (read, end) = read_all(&room);
    assert_eq!(read.len() as u64, pushed);
    assert!(matches!(end, Some(ReadError::Cut { .. })), "{end:?}");
}

#[test]
fn blocks_are_full_before_they_are_written() {
    let payload = vec![7; 30_000];
    let publish = Publish { topic: "t", payload: &payload, ..Publish::default() };
    let mut writer = Writer::begin(Vec::new(), 0).unwrap();
    let mut lengths = Vec::new();
    for micros in 0..5 {
        let bound = writer.bytes_with(&publish);
        writer.push(micros, &publish).unwrap();
        assert!((writer.bytes()..writer.bytes() + 40).contains(&bound), "{bound}");
        lengths.push(writer.bytes());
    }
    let file = writer.finish().unwrap();
    assert_eq!(lengths.last(), Some(&(file.len() as u64)));
    assert_eq!(file.windows(4).filter(|it| it == b"QTBL").count(), 3);
    // One that is larger than a block has a block of its own.
    let large = vec![7; 100_000];
    let mut writer = Writer::begin(Vec::new(), 0).unwrap();
    for payload in [&b"x"[..], &large, b"y"] {
        writer.push(0, &Publish { topic: "t", payload, ..Publish::default() }).unwrap();
    }
    assert_eq!(read_all(&writer.finish().unwrap()).0.len(), 3);
}

fn entry() -> impl Strategy<Value = Owned> {
    let texts = || "[a-z]{0,6}";
    let message = (0_u64..5_000_000, 0_u8..3, any::<bool>(), "[a-z/]{1,20}");
    let payload = prop::collection::vec(any::<u8>(), 0..50);
    let properties = (
        prop::option::of(texts()),
        prop::option::of(prop::collection::vec(any::<u8>(), 0..5)),
        prop::option::of(any::<u32>()),
        prop::collection::vec((texts(), texts()), 0..3),
    );
    (message, payload, properties).prop_map(|(message, payload, properties)| {
        let (micros, qos, retain, topic) = message;
        let (content_type, correlation_data, expiry_secs, user_properties) = properties;
        Owned {
            micros,
            qos: QoS::from_byte(qos).expect("it is below 3"),
            retain,
            topic,
            payload,
            content_type,
            correlation_data,
            expiry_secs,
            user_properties,
        }
    })
}

fn write(entries: &[Owned], flushes_after: impl Fn(usize) -> bool) -> Vec<u8> {
    let mut writer = Writer::begin(Vec::new(), 0).expect(ALWAYS_WRITTEN);
    for (index, entry) in entries.iter().enumerate() {
        let pairs: Vec<_> =
            entry.user_properties.iter().map(|(name, value)| (&**name, &**value)).collect();
        let properties = PublishProperties {
            content_type: entry.content_type.as_deref(),
            correlation_data: entry.correlation_data.as_deref(),
            message_expiry_secs: entry.expiry_secs,
            user_properties: UserProperties::from_pairs(&pairs),
            ..PublishProperties::default()
        };
        let publish = Publish {
            qos: entry.qos,
            retain: entry.retain,
            topic: &entry.topic,
            payload: &entry.payload,
            properties,
            ..Publish::default()
        };
        writer.push(entry.micros, &publish).expect(ALWAYS_WRITTEN);
        if flushes_after(index) {
            writer.flush().expect(ALWAYS_WRITTEN);
        }
    }
    writer.finish().expect(ALWAYS_WRITTEN)
}

/// Returns what can be read, and why there is no more if that is not the end.
fn read_all(file: &[u8]) -> (Vec<Owned>, Option<ReadError>) {
    let mut read = Vec::new();
    let mut reader = match Reader::new(file) {
        Ok(reader) => reader,
        Err(error) => return (read, Some(error)),
    };
    loop {
        let entry = match reader.next() {
            Ok(Some(entry)) => entry,
            Ok(None) => return (read, None),
            Err(error) => {
                assert!(matches!(reader.next(), Ok(None)), "there is something after {error}");
                return (read, Some(error));
            }
        };
        let it = entry.publish;
        read.push(Owned {
            micros: entry.micros,
            qos: it.qos,
            retain: it.retain,
            topic: it.topic.to_owned(),
            payload: it.payload.to_owned(),
            content_type: it.properties.content_type.map(str::to_owned),
            correlation_data: it.properties.correlation_data.map(<[u8]>::to_vec),
            expiry_secs: it.properties.message_expiry_secs,
            user_properties: (it.properties.user_properties.iter())
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .collect(),
        });
    }
}

const ALWAYS_WRITTEN: &str = "a vector takes it";
