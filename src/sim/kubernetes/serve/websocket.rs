//! The frames of websockets, as a server reads and writes them.

use base64::Engine as _;
use sha1::{Digest as _, Sha1};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

/// What a server adds to the key of a client, for everybody the same.
const FIXED: &str = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
/// The longest message.
const LONGEST: u64 = 4 << 20;

/// What proves to a client that its key was read.
pub(super) fn accepted(key: &str) -> String {
    let digest = Sha1::digest(format!("{key}{FIXED}").as_bytes());
    base64::engine::general_purpose::STANDARD.encode(digest)
}

/// What comes from a client.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Message {
    Data(Vec<u8>),
    Ping(Vec<u8>),
}

/// Reads messages.
pub(super) struct Reader<R> {
    stream: R,
}

impl<R: AsyncRead + Unpin> Reader<R> {
    pub(super) fn new(stream: R) -> Self {
        Reader { stream }
    }

    /// The next message; nothing where the client has gone or says what makes no sense.
    pub(super) async fn next(&mut self) -> Option<Message> {
        let mut whole = Vec::new();
        loop {
            let (is_last, kind, bytes) = self.frame().await?;
            match kind {
                0..=2 => {
                    whole.extend(bytes);
                    if whole.len() as u64 > LONGEST {
                        return None;
                    }
                    if is_last {
                        return Some(Message::Data(whole));
                    }
                }
                9 => return Some(Message::Ping(bytes)),
                10 => {}
                _ => return None,
            }
        }
    }

    async fn frame(&mut self) -> Option<(bool, u8, Vec<u8>)> {
        let first = self.stream.read_u8().await.ok()?;
        let second = self.stream.read_u8().await.ok()?;
        let length = match second & 0x7f {
            126 => u64::from(self.stream.read_u16().await.ok()?),
            127 => self.stream.read_u64().await.ok()?,
            short => u64::from(short),
        };
        // A client has to mask what it sends.
        if second & 0x80 == 0 || length > LONGEST {
            return None;
        }
        let mut mask = [0; 4];
        self.stream.read_exact(&mut mask).await.ok()?;
        let mut bytes = vec![0; usize::try_from(length).ok()?];
        self.stream.read_exact(&mut bytes).await.ok()?;
        bytes.iter_mut().zip(mask.iter().cycle()).for_each(|(byte, mask)| *byte ^= mask);
        Some((first & 0x80 != 0, first & 0x0f, bytes))
    }
}

/// Writes messages. One that nobody receives is lost.
pub(super) struct Writer<W> {
    stream: W,
}

impl<W: AsyncWrite + Unpin> Writer<W> {
    pub(super) fn new(stream: W) -> Self {
        Writer { stream }
    }

    /// Sends something on a channel.
    pub(super) async fn send(&mut self, channel: u8, bytes: &[u8]) -> bool {
        for part in bytes.chunks(32 << 10) {
            let message = [&[channel], part].concat();
            if !self.frame(2, &message).await {
                return false;
            }
        }
        true
    }

    pub(super) async fn pong(&mut self, bytes: &[u8]) -> bool {
        self.frame(10, bytes).await
    }

    /// Says that this was all.
    pub(super) async fn close(&mut self) {
        self.frame(8, &1000_u16.to_be_bytes()).await;
        let _ = self.stream.shutdown().await;
    }

    async fn frame(&mut self, kind: u8, bytes: &[u8]) -> bool {
        let mut head = vec![0x80 | kind];
        match (u8::try_from(bytes.len()), u16::try_from(bytes.len())) {
            (Ok(short), _) if short < 126 => head.push(short),
            (_, Ok(medium)) => {
                head.push(126);
                head.extend(medium.to_be_bytes());
            }
            _ => {
                head.push(127);
                head.extend((bytes.len() as u64).to_be_bytes());
            }
        }
        head.extend(bytes);
        self.stream.write_all(&head).await.is_ok() && self.stream.flush().await.is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_of_the_standard_has_the_answer_of_the_standard() {
        assert_eq!(accepted("dGhlIHNhbXBsZSBub25jZQ=="), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    }

    fn frame(first: u8, text: &[u8]) -> Vec<u8> {
        let mask = [1, 2, 3, 4];
        let masked = text.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask);
        [first, 0x80 | u8::try_from(text.len()).unwrap()].into_iter().chain(mask).chain(masked).collect()
    }

    #[tokio::test]
    async fn parts_of_a_message_are_joined_and_what_is_not_masked_ends_the_talk() {
        let sent =
            [frame(0x02, b"\x00hel"), frame(0x89, b"are you there"), frame(0x82, b"\x00lo"), vec![0x82, 0x01, 7]];
        let sent = sent.concat();
        let mut reader = Reader::new(sent.as_slice());
        assert_eq!(reader.next().await, Some(Message::Ping(b"are you there".to_vec())));
        assert_eq!(reader.next().await, Some(Message::Data(b"\x00lo".to_vec())));
        assert_eq!(reader.next().await, None);
    }

    #[tokio::test]
    async fn a_long_message_goes_out_in_parts_that_each_name_their_channel() {
        let mut written = Vec::new();
        assert!(Writer::new(&mut written).send(1, &vec![b'x'; 40 << 10]).await);
        assert_eq!(&written[..5], &[0x82, 126, 0x80, 0x01, 1]);
        assert_eq!(written.iter().filter(|byte| **byte == b'x').count(), 40 << 10);
    }
}
