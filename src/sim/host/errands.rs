//! What programs of a machine want of the world outside: they leave it here, and whoever runs the machine answers.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::process::{Session, Stop, not_simulated};

/// How long a program waits for whoever runs the machine.
const WITHIN: Duration = Duration::from_secs(60);
const LOOK: Duration = Duration::from_millis(5);

/// Whom a program trusts to vouch for a server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Trust {
    /// The authorities that came with the system.
    System,
    /// Anybody.
    Anybody,
    /// The authorities in this text.
    These(String),
}

/// What a program wants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Errand {
    /// To fetch something.
    Fetch {
        /// Its URL.
        url: String,
        /// Whom it trusts.
        trust: Trust,
    },
    /// To send a request over HTTP.
    Send(Sent),
    /// To say something to what listens at a port, and to hear what it answers.
    Talk {
        /// The address.
        address: String,
        /// The port.
        port: u16,
        /// What is said.
        text: String,
    },
    /// To ask the Kubernetes API of this very machine, as its administrator.
    Api {
        /// The method.
        method: String,
        /// The path with its query.
        path: String,
    },
    /// To have the datastore of Kubernetes on this very machine saved: the name of the snapshot's file.
    Snapshot {
        /// What its name begins with.
        name: String,
    },
    /// To hear the snapshots of this machine, as a JSON document.
    Snapshots,
}

/// A request over HTTP.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Sent {
    /// The method.
    pub method: String,
    /// The URL, with an address for the name of the server.
    pub url: String,
    /// The headers by their names in small letters.
    pub headers: BTreeMap<String, String>,
    /// The body.
    pub body: Vec<u8>,
}

/// What becomes of it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Told {
    /// The status of the answer; 0 where there was none.
    pub status: u16,
    /// The answer, or why there is none.
    pub body: Vec<u8>,
}

impl Told {
    /// Why nothing came of it.
    pub fn failed(why: impl Into<String>) -> Self {
        Told { status: 0, body: why.into().into_bytes() }
    }

    /// The answer as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

/// The errands of a machine.
#[derive(Debug, Clone, Default)]
pub struct Errands {
    made: u64,
    waiting: BTreeMap<u64, Errand>,
    done: BTreeMap<u64, Told>,
    /// Whether nobody can answer, as whoever does waits himself.
    alone: bool,
}

impl Errands {
    /// Takes all that wait.
    pub fn take(&mut self) -> BTreeMap<u64, Errand> {
        std::mem::take(&mut self.waiting)
    }

    /// Answers one.
    pub fn answer(&mut self, number: u64, told: Told) {
        self.done.insert(number, told);
    }

    /// Says whether whoever would answer waits for what the machine does.
    pub fn set_alone(&mut self, alone: bool) {
        self.alone = alone;
    }

    /// Whether whoever would answer waits for what the machine does.
    pub fn is_alone(&self) -> bool {
        self.alone
    }
}

/// Has something done outside, and waits for the answer.
pub fn send(session: &Session, errand: Errand) -> Result<Told, Stop> {
    let number = session.with(|machine| {
        let errands = &mut machine.errands;
        errands.made += 1;
        let number = errands.made;
        (!errands.alone).then(|| errands.waiting.insert(number, errand)).map(|_| number)
    });
    let Some(number) = number else { return not_simulated("reaching the network through the guest agent") };
    let until = Instant::now() + WITHIN;
    loop {
        if let Some(told) = session.with(|machine| machine.errands.done.remove(&number)) {
            return Ok(told);
        }
        if Instant::now() > until {
            return not_simulated("a machine that nobody runs");
        }
        session.life.sleep(LOOK)?;
    }
}
