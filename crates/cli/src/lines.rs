//! Lines of standard input, many at once, for who works on something else meanwhile.

use std::io::{self, Read};
use std::thread;

use tokio::sync::mpsc::{Receiver, Sender, channel};

/// Blocks of lines, read ahead in a thread of its own: a pipe cannot be waited for together with a socket.
pub(crate) struct Lines(Receiver<io::Result<Block>>);

/// Whole lines, as many as were there at once.
#[derive(Debug)]
pub(crate) struct Block(Vec<u8>);

impl Lines {
    /// Begins to read standard input.
    pub(crate) fn of_stdin() -> Self {
        Self::of(io::stdin())
    }

    fn of(input: impl Read + Send + 'static) -> Self {
        let (sender, receiver) = channel(BLOCKS_AHEAD_MAX);
        thread::spawn(move || send_blocks(input, &sender));
        Self(receiver)
    }

    /// Waits for the next lines; `None` when there are no more.
    pub(crate) async fn next(&mut self) -> Option<io::Result<Block>> {
        self.0.recv().await
    }
}

impl Block {
    /// Returns the lines without their ends.
    pub(crate) fn lines(&self) -> impl Iterator<Item = &[u8]> {
        let text = self.0.strip_suffix(b"\n").unwrap_or(&self.0);
        text.split(|byte| *byte == b'\n')
    }
}

/// Sends lines until there are no more, or nobody listens. One line takes the memory that it takes.
fn send_blocks(mut input: impl Read, blocks: &Sender<io::Result<Block>>) {
    let mut rest = Vec::new();
    loop {
        let from = rest.len();
        rest.resize(from + READ_BYTES, 0);
        let count = match input.read(&mut rest[from..]) {
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {
                rest.truncate(from);
                continue;
            }
            Err(error) => {
                // Whoever has gone need not hear it.
                let _ = blocks.blocking_send(Err(error));
                return;
            }
        };
        rest.truncate(from + count);
        if count == 0 {
            if !rest.is_empty() {
                let _ = blocks.blocking_send(Ok(Block(rest)));
            }
            return;
        }
        let Some(end) = rest[from..].iter().rposition(|byte| *byte == b'\n') else {
            continue;
        };
        let tail = rest.split_off(from + end + 1);
        let block = Block(std::mem::replace(&mut rest, tail));
        if blocks.blocking_send(Ok(block)).is_err() {
            return;
        }
    }
}

/// How many blocks may wait.
const BLOCKS_AHEAD_MAX: usize = 4;

/// How much is read at once.
const READ_BYTES: usize = 64 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_end_at_the_line_feed_and_nowhere_else() {
        check(&[], &[]);
        check(&[b"one\n\ntwo"], &[b"one", b"", b"two"]);
        check(&[b"\n"], &[b""]);
        check(&[b"one\r\n\xFF\0\n"], &[b"one\r", b"\xFF\0"]);
        check(&[b"o", b"ne\ntw", b"o", b"\n", b"three"], &[b"one", b"two", b"three"]);
    }

    /// Reads `pieces`, one at a time.
    #[track_caller]
    fn check(pieces: &'static [&'static [u8]], expected: &[&[u8]]) {
        struct Pieces(std::slice::Iter<'static, &'static [u8]>);
        impl Read for Pieces {
            fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
                let piece = self.0.next().copied().unwrap_or_default();
                buffer[..piece.len()].copy_from_slice(piece);
                Ok(piece.len())
            }
        }
        let mut lines = Lines::of(Pieces(pieces.iter()));
        let blocks = std::iter::from_fn(|| lines.0.blocking_recv());
        let blocks: Vec<Block> = blocks.map(|it| it.expect("memory can be read")).collect();
        let found: Vec<&[u8]> = blocks.iter().flat_map(Block::lines).collect();
        assert_eq!(found, expected);
    }
}
