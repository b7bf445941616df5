//! Faults on purpose: the same seed gives the same faults to the same requests.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use super::chance::sha256;
use crate::error::{Class, Error, Result};

/// How long something slow takes.
pub(crate) const SLOW: Duration = Duration::from_millis(1500);

/// What goes wrong with a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// It is refused with an error of the server.
    Refused,
    /// Its answer takes its time.
    Slow,
    /// The connection ends before anything was done.
    DroppedBefore,
    /// It is done, but the connection ends before the answer.
    DroppedAfter,
    /// The task that it starts fails.
    FailingTask,
    /// The lock of its file cannot be had.
    LockTimeout,
}

/// What goes wrong with a connection to an SSH server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LineFault {
    /// It is refused.
    Refused,
    /// The server takes its time before it says anything.
    Slow,
    /// It ends once the server has sent so many bytes.
    Dropped(usize),
}

/// How often requests go wrong.
#[derive(Debug)]
pub struct Faults {
    seed: u64,
    rate: f64,
    /// How often each address was asked.
    counts: Mutex<BTreeMap<String, u64>>,
}

impl Faults {
    /// Reads `seed=7,rate=0.05`.
    pub fn parse(text: &str) -> Result<Self> {
        let wrong = |what: String| {
            Error::new(Class::Usage, format!("simulator faults `{text}`: {what}"))
                .help("write them as seed=<number>,rate=<0 to 1>, for example seed=7,rate=0.05")
        };
        let (mut seed, mut rate) = (None, None);
        for part in text.split(',') {
            match part.trim().split_once('=') {
                Some(("seed", value)) => seed = value.parse().ok(),
                Some(("rate", value)) => rate = value.parse().ok().filter(|rate| (0.0..=1.0).contains(rate)),
                _ => return Err(wrong(format!("`{part}` is neither seed nor rate"))),
            }
        }
        let seed = seed.ok_or_else(|| wrong("the seed is missing or no number".into()))?;
        let rate = rate.ok_or_else(|| wrong("the rate is missing or not between 0 and 1".into()))?;
        Ok(Faults { seed, rate, counts: Mutex::default() })
    }

    /// What goes wrong with the next request to an address, if anything. Requests to other addresses have no say in it,
    /// so that runs which ask in parallel see the same faults.
    pub(crate) fn next(&self, address: &str) -> Option<Fault> {
        let kinds = [
            Fault::Refused,
            Fault::Slow,
            Fault::DroppedBefore,
            Fault::DroppedAfter,
            Fault::FailingTask,
            Fault::LockTimeout,
        ];
        self.draw(address).map(|chance| kinds[usize::from(chance[0]) % kinds.len()])
    }

    /// What goes wrong with the next SSH connection to a host, if anything.
    pub(crate) fn next_line(&self, host: &str) -> Option<LineFault> {
        let chance = self.draw(&format!("SSH {host}"))?;
        // Within what a login and a few commands take.
        let bytes = 256 + usize::from(u16::from_le_bytes([chance[1], chance[2]])) / 4;
        let kinds = [LineFault::Refused, LineFault::Slow, LineFault::Dropped(bytes)];
        Some(kinds[usize::from(chance[0]) % kinds.len()])
    }

    /// The chance of something going wrong, as bytes that say what.
    fn draw(&self, address: &str) -> Option<[u8; 3]> {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        let count = counts.entry(address.to_string()).or_insert(0);
        *count += 1;
        let bytes = sha256(format!("{}/{count}/{address}", self.seed));
        let draw = u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
        if f64::from(draw) >= self.rate * f64::from(u32::MAX) {
            return None;
        }
        Some([bytes[4], bytes[5], bytes[6]])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drawn(text: &str) -> Vec<Option<Fault>> {
        let faults = Faults::parse(text).unwrap();
        (0..200).map(|_| faults.next("GET /version")).collect()
    }

    #[test]
    fn the_same_seed_gives_the_same_faults() {
        assert_eq!(drawn("seed=7,rate=0.2"), drawn("seed=7,rate=0.2"));
        assert_ne!(drawn("seed=7,rate=0.2"), drawn("seed=8,rate=0.2"));
    }

    #[test]
    fn other_addresses_do_not_shift_the_faults_of_one() {
        let faults = Faults::parse("seed=7,rate=0.2").unwrap();
        let mixed: Vec<_> = (0..200)
            .map(|_| {
                faults.next("GET /nodes");
                faults.next("GET /version")
            })
            .collect();
        assert_eq!(mixed, drawn("seed=7,rate=0.2"));
    }

    #[test]
    fn connections_go_wrong_in_every_way_and_the_same_again() {
        let lines = || {
            let faults = Faults::parse("seed=7,rate=0.5").unwrap();
            (0..100).map(|_| faults.next_line("10.20.11.11")).collect::<Vec<_>>()
        };
        assert_eq!(lines(), lines());
        let has = |wanted: fn(&LineFault) -> bool| lines().iter().flatten().any(wanted);
        assert!(has(|fault| *fault == LineFault::Refused) && has(|fault| *fault == LineFault::Slow));
        assert!(has(|fault| matches!(fault, LineFault::Dropped(256..))));
    }

    #[test]
    fn the_rate_is_about_kept() {
        let count = drawn("seed=7,rate=0.2").iter().flatten().count();
        assert!((20..60).contains(&count), "{count} of 200");
        assert!(drawn("seed=7,rate=0").iter().all(Option::is_none));
    }

    #[test]
    fn a_rate_above_one_is_refused_with_the_right_form() {
        let error = Faults::parse("seed=7,rate=5").unwrap_err();
        assert_eq!(error.class(), Class::Usage);
        assert!(error.help_text().is_some());
    }
}
