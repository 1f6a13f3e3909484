//! The server's end of a websocket, as far as a pretended game needs it.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

pub const TEXT: u8 = 0x81;
pub const BINARY: u8 = 0x82;

pub struct Wire(TcpStream);

impl Wire {
    /// Answers a client's greeting; `None` where it goes away.
    pub fn accept(mut stream: TcpStream) -> Option<Self> {
        stream.set_nonblocking(false).unwrap();
        stream.set_nodelay(true).unwrap();
        let mut asked = Vec::new();
        while !asked.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            stream.read_exact(&mut byte).ok()?;
            asked.extend(byte);
        }
        let asked = String::from_utf8(asked).unwrap();
        assert!(asked.starts_with("GET /sc2api HTTP/1.1\r\n") && asked.contains("Upgrade: websocket\r\n"), "{asked}");
        let key = asked.lines().find_map(|line| line.strip_prefix("Sec-WebSocket-Key: ")).unwrap();
        assert_eq!(key.len(), 24, "sixteen bytes");
        let hash = sha1_smol::Sha1::from(format!("{key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11")).digest().bytes();
        let answer = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ";
        write!(stream, "{answer}{}\r\n\r\n", base64(&hash)).ok()?;
        Some(Self(stream))
    }

    /// The next message; `None` at the end of the connection or of the test.
    pub fn receive(&mut self, stop: &AtomicBool) -> Option<Vec<u8>> {
        self.0.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
        while self.0.peek(&mut [0]).is_err() {
            if stop.load(Ordering::Relaxed) {
                return None;
            }
        }
        self.0.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        let mut bytes = |n: usize| {
            let mut bytes = vec![0; n];
            self.0.read_exact(&mut bytes).ok().map(|()| bytes)
        };
        let head = bytes(2)?;
        assert_eq!((head[0], head[1] & 0x80), (BINARY, 0x80), "whole binary messages, masked");
        let length = match head[1] & 0x7F {
            126 => bytes(2)?.iter().fold(0, |n, byte| n << 8 | usize::from(*byte)),
            127 => bytes(8)?.iter().fold(0, |n, byte| n << 8 | usize::from(*byte)),
            short => usize::from(short),
        };
        let mask = bytes(4)?;
        let hidden = bytes(length)?;
        Some((0..length).map(|k| hidden[k] ^ mask[k % 4]).collect())
    }

    /// Sends a message; a client that has gone does not get it.
    pub fn send(&mut self, kind: u8, payload: &[u8]) {
        let mut frame = vec![kind, 127];
        frame.extend((payload.len() as u64).to_be_bytes());
        frame.extend(payload);
        let _ = self.0.write_all(&frame);
    }
}

/// Twenty bytes as text, six bits a letter.
fn base64(hash: &[u8; 20]) -> String {
    let digits: Vec<char> = ('A'..='Z').chain('a'..='z').chain('0'..='9').chain(['+', '/']).collect();
    let bit = |k: usize| hash.get(k / 8).is_some_and(|byte| byte >> (7 - k % 8) & 1 == 1);
    let letter = |n: usize| (6 * n..6 * n + 6).fold(0, |digit, k| digit << 1 | usize::from(bit(k)));
    (0..27).map(|n| digits[letter(n)]).chain(['=']).collect()
}
