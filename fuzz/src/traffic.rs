//! What must hold for files of traffic.

use quelea_traffic::{ReadError, Reader, Writer};

/// Any bytes are a file, up to a place that is named: times do not go back, and what was read is the same when it is
/// written and read again.
///
/// The first byte says whether what follows is a whole file, or the body of a block with so many entries, for which the
/// headers are made here: no input would come past a checksum.
///
/// # Panics
///
/// When one of these does not hold.
pub fn check_file(input: &[u8]) {
    let Some((&entry_count, rest)) = input.split_first() else {
        return;
    };
    let bytes = if entry_count == 0 { rest.to_vec() } else { around(rest, entry_count) };
    let mut writer = Writer::begin(Vec::new(), 0).expect("a vector takes it");
    let mut micros = 0;
    let count = read(&bytes, |entry_micros, publish| {
        assert!(entry_micros >= micros, "{entry_micros} after {micros}");
        micros = entry_micros;
        assert!(!publish.topic.is_empty());
        writer.push(entry_micros, publish).expect("what was read can be written");
    });
    let again = writer.finish().expect("a vector takes it");
    let mut first = Vec::new();
    read(&bytes, |micros, publish| first.push((micros, content(publish))));
    let mut second = Vec::new();
    let count_again = read(&again, |micros, publish| second.push((micros, content(publish))));
    assert_eq!((count, first), (count_again, second));
}

/// Reads what can be read of `bytes`.
fn read(bytes: &[u8], mut take: impl FnMut(u64, &quelea_codec::Publish<'_>)) -> u32 {
    let Ok(mut reader) = Reader::new(bytes) else { return 0 };
    let mut count = 0;
    loop {
        match reader.next() {
            Ok(Some(entry)) => take(entry.micros, &entry.publish),
            Ok(None) => break,
            Err(error) => {
                let length = bytes.len() as u64;
                if let ReadError::Cut { at } | ReadError::Damaged { at, .. } = error {
                    assert!(at <= length, "{at} is behind the end");
                }
                assert!(matches!(reader.next(), Ok(None)), "there is something after {error}");
                break;
            }
        }
        count += 1;
    }
    assert!(reader.whole_bytes() <= bytes.len() as u64);
    count
}

/// What of a message is kept.
fn content(publish: &quelea_codec::Publish<'_>) -> (u8, bool, String, Vec<u8>, Vec<u8>) {
    let mut properties = Vec::new();
    publish.properties.append_forwarded(&mut properties);
    properties.extend(publish.properties.message_expiry_secs.unwrap_or_default().to_be_bytes());
    let (topic, payload) = (publish.topic.to_owned(), publish.payload.to_vec());
    (publish.qos.to_byte(), publish.retain, topic, payload, properties)
}

/// Makes a file with one block, whose body is `body`.
fn around(body: &[u8], entry_count: u8) -> Vec<u8> {
    let mut file =
        Writer::begin(Vec::new(), 0).and_then(Writer::finish).expect("a vector takes it");
    let at = file.len();
    file.extend_from_slice(b"QTBL");
    file.extend_from_slice(&(body.len() as u32).to_le_bytes());
    file.extend_from_slice(&u32::from(entry_count).to_le_bytes());
    file.extend_from_slice(&[0; 8]);
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&file[at..]);
    hasher.update(body);
    file.extend_from_slice(&hasher.finalize().to_le_bytes());
    file.extend_from_slice(body);
    file
}
