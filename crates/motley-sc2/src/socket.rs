//! The client's end of a websocket (RFC 6455) to a program on this machine: whole binary messages, without extensions and TLS.
//!
//! Written here because the usual crate asks for other features of crates that the tensor library shares, which would build that library
//! anew in every program with this one, for two hundred lines of a protocol that the game uses a corner of.

use std::io::{BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::Duration;

use thiserror::Error;

/// What the server adds to the key before it hashes it (RFC 6455, 1.3).
const GUID: &str = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
/// A greeting longer than this is none.
const LONGEST_GREETING: usize = 1 << 14;
/// A message longer than this is nonsense.
const LONGEST: usize = 1 << 26;

/// Kinds of frames (RFC 6455, 5.2).
mod opcode {
    pub(super) const CONTINUATION: u8 = 0;
    pub(super) const TEXT: u8 = 1;
    pub(super) const BINARY: u8 = 2;
    pub(super) const CLOSE: u8 = 8;
    pub(super) const PING: u8 = 9;
    pub(super) const PONG: u8 = 10;
}

/// Why a conversation failed.
#[derive(Debug, Error)]
pub(crate) enum SocketError {
    /// The connection broke, or was silent for too long.
    #[error("{0}")]
    Io(#[from] std::io::Error),
    /// The other end does not speak the protocol, or not yet.
    #[error("the websocket's greeting was answered with {0}")]
    Greeting(String),
    /// It says farewell.
    #[error("it closed the connection")]
    Closed,
    /// It broke the protocol.
    #[error("expected a binary message on the websocket, found {0}")]
    Frame(String),
}

/// An open websocket.
#[derive(Debug)]
pub(crate) struct Socket {
    stream: BufReader<TcpStream>,
    mask: u32,
    frame: Vec<u8>,
}

impl Socket {
    /// Connects to a port of this machine; connecting and each read may take `patience`.
    pub(crate) fn open(port: u16, path: &str, patience: Duration) -> Result<Self, SocketError> {
        let stream = TcpStream::connect_timeout(&SocketAddr::from((Ipv4Addr::LOCALHOST, port)), patience)?;
        stream.set_nodelay(true)?;
        let mut socket = Self { stream: BufReader::new(stream), mask: u32::from(port), frame: Vec::new() };
        socket.wait(patience)?;
        // Key and masks keep caches between the ends from being fooled. There are none inside a machine: any numbers do.
        let key = base64(&[u64::from(port).to_be_bytes(), u64::from(std::process::id()).to_be_bytes()].concat());
        write!(
            socket.stream.get_mut(),
            "GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n\r\n"
        )?;
        let greeting = socket.greeting()?;
        let mut lines = greeting.lines();
        let status = lines.next().unwrap_or_default();
        if status.split(' ').nth(1) != Some("101") {
            return Err(SocketError::Greeting(format!("\"{status}\"")));
        }
        let mut fields = lines.filter_map(|line| line.split_once(':'));
        let accepted = fields.find(|(name, _)| name.eq_ignore_ascii_case("sec-websocket-accept")).map(|(_, value)| value.trim());
        if accepted != Some(&*accept(&key)) {
            return Err(SocketError::Greeting(format!("the wrong key {accepted:?}")));
        }
        Ok(socket)
    }

    /// Sets how long each following read and write may take.
    pub(crate) fn wait(&self, patience: Duration) -> std::io::Result<()> {
        let stream = self.stream.get_ref();
        stream.set_read_timeout(Some(patience)).and_then(|()| stream.set_write_timeout(Some(patience)))
    }

    /// The answer's lines, up to the empty one.
    fn greeting(&mut self) -> Result<String, SocketError> {
        let mut bytes = Vec::new();
        while !bytes.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            self.stream.read_exact(&mut byte)?;
            bytes.extend(byte);
            if bytes.len() > LONGEST_GREETING {
                return Err(SocketError::Greeting("lines without end".into()));
            }
        }
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    /// Sends one binary message.
    pub(crate) fn send(&mut self, message: &[u8]) -> Result<(), SocketError> {
        self.write(opcode::BINARY, message)
    }

    fn write(&mut self, opcode: u8, payload: &[u8]) -> Result<(), SocketError> {
        self.mask = self.mask.wrapping_mul(0x9E37_79B1).wrapping_add(1);
        encode(opcode, self.mask.to_be_bytes(), payload, &mut self.frame);
        self.stream.get_mut().write_all(&self.frame)?;
        Ok(())
    }

    /// The next binary message, whole.
    pub(crate) fn receive(&mut self) -> Result<Vec<u8>, SocketError> {
        let mut message = Vec::new();
        let mut begun = false;
        loop {
            let (last, opcode, payload) = self.frame()?;
            match opcode {
                opcode::BINARY if !begun => message = payload,
                opcode::CONTINUATION if begun => message.extend(payload),
                opcode::PING => {
                    self.write(opcode::PONG, &payload)?;
                    continue;
                }
                opcode::PONG => continue,
                opcode::CLOSE => return Err(SocketError::Closed),
                opcode::TEXT => return Err(SocketError::Frame("text".into())),
                other => return Err(SocketError::Frame(format!("a frame of kind {other} out of turn"))),
            }
            begun = true;
            if message.len() > LONGEST {
                return Err(SocketError::Frame(format!("{} bytes and no end", message.len())));
            }
            if last {
                return Ok(message);
            }
        }
    }

    /// One frame: whether it is a message's last, its kind, its payload.
    fn frame(&mut self) -> Result<(bool, u8, Vec<u8>), SocketError> {
        let mut head = [0; 2];
        self.stream.read_exact(&mut head)?;
        let [first, second] = head;
        if first & 0x70 != 0 || second & 0x80 != 0 {
            return Err(SocketError::Frame(format!("a frame that begins with {first:#04x} {second:#04x}")));
        }
        let length = match second {
            126 => {
                let mut long = [0; 2];
                self.stream.read_exact(&mut long)?;
                u64::from(u16::from_be_bytes(long))
            }
            127 => {
                let mut long = [0; 8];
                self.stream.read_exact(&mut long)?;
                u64::from_be_bytes(long)
            }
            short => u64::from(short),
        };
        let Some(length) = usize::try_from(length).ok().filter(|length| *length <= LONGEST) else {
            return Err(SocketError::Frame(format!("a frame of {length} bytes")));
        };
        let mut payload = vec![0; length];
        self.stream.read_exact(&mut payload)?;
        Ok((first & 0x80 != 0, first & 0x0F, payload))
    }
}

/// A client's frame in `out`: a whole message, masked.
fn encode(opcode: u8, mask: [u8; 4], payload: &[u8], out: &mut Vec<u8>) {
    out.clear();
    out.push(0x80 | opcode);
    match payload.len() {
        short @ 0..126 => out.push(0x80 | short as u8),
        long @ 126..65_536 => {
            out.push(0x80 | 126);
            out.extend((long as u16).to_be_bytes());
        }
        longest => {
            out.push(0x80 | 127);
            out.extend((longest as u64).to_be_bytes());
        }
    }
    out.extend(mask);
    out.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
}

/// What a server that understood must answer to a key.
fn accept(key: &str) -> String {
    base64(&sha1_smol::Sha1::from(format!("{key}{GUID}")).digest().bytes())
}

fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let digits = |chunk: &[u8]| {
        let bits = chunk.iter().enumerate().fold(0, |bits, (k, byte)| bits | u32::from(*byte) << (16 - 8 * k));
        let used = chunk.len() + 1;
        (0..4).map(move |k| if k < used { DIGITS[(bits >> (18 - 6 * k) & 63) as usize] as char } else { '=' })
    };
    bytes.chunks(3).flat_map(digits).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    /// The examples of RFC 6455 (1.3 and 5.7) and RFC 4648 (10).
    #[test]
    fn the_standards_own_examples() {
        assert_eq!(accept("dGhlIHNhbXBsZSBub25jZQ=="), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
        for (text, coded) in
            [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foob", "Zm9vYg=="), ("foobar", "Zm9vYmFy")]
        {
            assert_eq!(base64(text.as_bytes()), coded);
        }
        let mut frame = Vec::new();
        encode(opcode::TEXT, [0x37, 0xFA, 0x21, 0x3D], b"Hello", &mut frame);
        assert_eq!(frame, [0x81, 0x85, 0x37, 0xFA, 0x21, 0x3D, 0x7F, 0x9F, 0x4D, 0x51, 0x58]);
        encode(opcode::BINARY, [0; 4], &[7; 256], &mut frame);
        assert_eq!((&frame[..4], frame.len()), (&[0x82, 0x80 | 126, 1, 0][..], 4 + 4 + 256));
        encode(opcode::BINARY, [0; 4], &[7; 65_536], &mut frame);
        assert_eq!((&frame[..10], frame.len()), (&[0x82, 0x80 | 127, 0, 0, 0, 0, 0, 1, 0, 0][..], 10 + 4 + 65_536));
    }

    /// Opens a socket to a server that greets and then sends these bytes; gives what is received until an error, and the error.
    fn conversation(bytes: Vec<u8>) -> (Vec<Vec<u8>>, SocketError) {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let server = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut asked = Vec::new();
            while !asked.ends_with(b"\r\n\r\n") {
                let mut byte = [0];
                stream.read_exact(&mut byte).unwrap();
                asked.extend(byte);
            }
            let asked = String::from_utf8(asked).unwrap();
            let key = asked.lines().find_map(|line| line.strip_prefix("Sec-WebSocket-Key: ")).unwrap();
            let greeting = format!("HTTP/1.1 101 Switching Protocols\r\nsec-websocket-accept:{}\r\n\r\n", accept(key));
            stream.write_all(&[greeting.into_bytes(), bytes].concat()).unwrap();
            // What the client still says is read, so that its end of the connection is not reset.
            stream.shutdown(std::net::Shutdown::Write).unwrap();
            let mut rest = Vec::new();
            let _ = stream.read_to_end(&mut rest);
            rest
        });
        let mut socket = Socket::open(port, "/sc2api", Duration::from_secs(10)).unwrap();
        let mut messages = Vec::new();
        let error = loop {
            match socket.receive() {
                Ok(message) => messages.push(message),
                Err(error) => break error,
            }
        };
        drop(socket);
        let said = server.join().unwrap();
        // Every ping was answered with its payload, masked.
        assert!(said.is_empty() || said[0] == 0x80 | opcode::PONG && said[1] == 0x80 | 2, "{said:?}");
        (messages, error)
    }

    #[test]
    fn fragments_are_joined_pings_answered_and_nonsense_named() {
        // "Hel" "lo" in two fragments with a ping between (5.7), then an empty message, then the end.
        let whole = [&[0x02, 3][..], b"Hel", &[0x89, 2, 1, 2, 0x80, 2], b"lo", &[0x82, 0, 0x88, 0]].concat();
        let (messages, error) = conversation(whole);
        assert_eq!(messages, [b"Hello".to_vec(), Vec::new()]);
        assert!(matches!(error, SocketError::Closed));
        let long = [&[0x82, 126, 1, 0][..], &[9; 256], &[0x82, 127, 0, 0, 0, 0, 0, 1, 0, 0], &[8; 65_536]].concat();
        assert_eq!(conversation(long).0, [vec![9; 256], vec![8; 65_536]]);
        for (bytes, words) in [
            (vec![0x81, 1, b'x'], "text"),
            (vec![0x80, 0], "kind 0 out of turn"),
            (vec![0x02, 1, 0, 0x82, 0], "kind 2 out of turn"),
            (vec![0xC2, 0], "begins with 0xc2"),
            (vec![0x82, 0x80], "begins with 0x82 0x80"),
            ([&[0x82, 127][..], &[0x7F; 8]].concat(), "bytes"),
        ] {
            let (messages, error) = conversation(bytes);
            assert!(messages.is_empty() && error.to_string().contains(words), "{error}");
        }
        assert!(matches!(conversation(vec![0x82, 5, 1]).1, SocketError::Io(_)), "the connection ends inside a frame");
    }
}
