//! One worker process and the conversation with it.

use std::io::{ErrorKind, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::process::Child;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process_group};

use crate::python;
use crate::told::Told;

/// What is asked of a worker.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Ask {
    Hello = 1,
    Open = 2,
    Reset = 3,
    Step = 4,
    Draw = 5,
}

const READY: u8 = 101;
const FRAME: u8 = 102;
const DONE: u8 = 103;
const PICTURE: u8 = 104;
const FAILED: u8 = 200;

/// An answer longer than this is nonsense.
const LONGEST: usize = 1 << 26;
/// How long a worker that is told to end may take over closing its environments.
const FAREWELL: Duration = Duration::from_secs(2);

/// Why a call brought no result.
#[derive(Debug)]
pub(crate) enum CallError {
    /// The process is gone, or speaks nonsense: it must be started anew.
    Died(String),
    /// It did not answer in time: it must be killed and started anew.
    Hung(Duration),
    /// It is well and says what is wrong.
    Told(Told),
}

/// A running worker. Dropping it ends the process with everything that it started.
#[derive(Debug)]
pub(crate) struct Link {
    child: Child,
    socket: UnixStream,
    patience: Duration,
    message: Vec<u8>,
    answer: Vec<u8>,
}

impl Link {
    /// Starts a process.
    pub(crate) fn start() -> std::io::Result<Self> {
        let (socket, theirs) = UnixStream::pair()?;
        let child = python::start(theirs.into())?;
        Ok(Self { child, socket, patience: Duration::ZERO, message: Vec::new(), answer: Vec::new() })
    }

    /// Asks and waits for the answer's payload, `patience` at most.
    pub(crate) fn call(&mut self, ask: Ask, slot: u32, payload: &[u8], patience: Duration) -> Result<&[u8], CallError> {
        match self.exchange(ask, slot, payload, patience) {
            Ok(READY | FRAME | DONE | PICTURE) => Ok(&self.answer),
            Ok(FAILED) => match serde_json::from_slice(&self.answer) {
                Ok(told) => Err(CallError::Told(told)),
                Err(e) => Err(CallError::Died(format!("its account of an error cannot be read: {e}"))),
            },
            Ok(kind) => Err(CallError::Died(format!("it answered with an unknown kind {kind}"))),
            Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => Err(CallError::Hung(patience)),
            Err(e) => Err(CallError::Died(self.how_it_ended(&e))),
        }
    }

    /// The payload of the last answer.
    pub(crate) fn answer(&self) -> &[u8] {
        &self.answer
    }

    fn exchange(&mut self, ask: Ask, slot: u32, payload: &[u8], patience: Duration) -> std::io::Result<u8> {
        if patience != self.patience {
            self.socket.set_read_timeout(Some(patience))?;
            self.socket.set_write_timeout(Some(patience))?;
            self.patience = patience;
        }
        let length = u32::try_from(payload.len()).map_err(|_| std::io::Error::other("the message is too long"))?;
        self.message.clear();
        self.message.extend(length.to_le_bytes());
        self.message.push(ask as u8);
        self.message.extend(slot.to_le_bytes());
        self.message.extend(payload);
        self.socket.write_all(&self.message)?;
        let mut head = [0; 5];
        self.socket.read_exact(&mut head)?;
        let [a, b, c, d, kind] = head;
        let length = u32::from_le_bytes([a, b, c, d]) as usize;
        if length > LONGEST {
            return Err(std::io::Error::other(format!("an answer of {length} bytes was announced")));
        }
        self.answer.resize(length, 0);
        self.socket.read_exact(&mut self.answer)?;
        Ok(kind)
    }

    /// The exit of the process where there was one, else the error of the conversation.
    fn how_it_ended(&mut self, error: &std::io::Error) -> String {
        let until = Instant::now() + Duration::from_millis(500);
        while Instant::now() < until {
            if let Ok(Some(status)) = self.child.try_wait() {
                return format!("its process ended ({status})");
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        error.to_string()
    }

    fn kill(&mut self) {
        // It leads its own group, so simulators that it started end with it. Either may be gone already.
        let _ = kill_process_group(Pid::from_child(&self.child), Signal::KILL);
        let _ = self.child.wait();
    }

    /// Ends a process that cannot be talked to.
    pub(crate) fn end_at_once(mut self) {
        self.kill();
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        // The worker reads the end of the socket, closes its environments and goes.
        let _ = self.socket.shutdown(Shutdown::Both);
        let until = Instant::now() + FAREWELL;
        while Instant::now() < until {
            if !matches!(self.child.try_wait(), Ok(None)) {
                return;
            }
            std::thread::sleep(Duration::from_millis(2));
        }
        self.kill();
    }
}
