//! Bytes that nobody understands.

/// Returns lines of sixteen bytes, with where they are and what letters there are among them.
pub(super) fn of(bytes: &[u8]) -> Vec<u8> {
    let lines = bytes.chunks(LINE_BYTES).enumerate().map(|(index, line)| {
        let digits: Vec<String> = line.iter().map(|byte| format!("{byte:02x}")).collect();
        let letters: String = line
            .iter()
            .map(
                |byte| {
                    if byte.is_ascii_graphic() || *byte == b' ' { char::from(*byte) } else { '.' }
                },
            )
            .collect();
        format!("{:06x}  {:<47}  {letters}", index * LINE_BYTES, digits.join(" "))
    });
    lines.collect::<Vec<_>>().join("\n").into_bytes()
}

const LINE_BYTES: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_have_sixteen_bytes() {
        let dump = of(b"0123456789abcde\n\xFFz");
        let expected = "000000  30 31 32 33 34 35 36 37 38 39 61 62 63 64 65 0a  0123456789abcde.\n\
                        000010  ff 7a                                            .z";
        assert_eq!(String::from_utf8_lossy(&dump), expected);
    }
}
