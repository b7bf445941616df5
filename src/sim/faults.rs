//! Faults on purpose: the same seed gives the same faults to the same requests.
//!
//! How often a client looks again while it waits depends on the clock, so chance is not drawn for every request: between
//! two changes of a machine, an address is in trouble or it is not. Trouble ends after some tries.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use percent_encoding::percent_decode_str;
use tokio::sync::watch;

use super::cable::{Cable, Moment};
use super::chance::sha256;
use crate::error::{Class, Error, Result};

/// How long something slow takes.
pub(crate) const SLOW: Duration = Duration::from_millis(1500);
/// How long nothing comes from somebody who is silent, before the connection ends.
pub(crate) const SILENCE: Duration = Duration::from_secs(4);
/// How much longer a slow task takes, in milliseconds at the usual pace.
pub(crate) const SLOW_TASK: u64 = 10_000;

/// What goes wrong with a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// It is refused with an error of the server.
    Refused,
    /// Its answer takes its time.
    Slow,
    /// No answer comes, and after a while the connection ends.
    Silent,
    /// The connection ends before anything was done.
    DroppedBefore,
    /// It is done, but the connection ends before the answer.
    DroppedAfter,
    /// Nobody reaches the node that it is about, nor the guests there, until some have tried.
    NodeAway,
    /// The task that it starts fails.
    FailingTask,
    /// The task that it starts takes long.
    SlowTask,
    /// The lock of its file cannot be had.
    LockTimeout,
}

const ALWAYS: [Fault; 6] =
    [Fault::Refused, Fault::Slow, Fault::Silent, Fault::DroppedBefore, Fault::DroppedAfter, Fault::NodeAway];
const FOR_CHANGES: [Fault; 3] = [Fault::FailingTask, Fault::SlowTask, Fault::LockTimeout];

/// What goes wrong with a connection to an SSH server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LineFault {
    /// It is refused.
    Refused,
    /// The server takes its time before it says anything.
    Slow,
    /// It ends when the client asks for one command more than so many.
    Dropped(u32),
    /// Its node is away.
    NodeAway,
}

impl Fault {
    /// As the request log names it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Fault::Refused => "refused",
            Fault::Slow => "slow",
            Fault::Silent => "silent",
            Fault::DroppedBefore => "dropped before",
            Fault::DroppedAfter => "dropped after",
            Fault::NodeAway => "node away",
            Fault::FailingTask => "failing task",
            Fault::SlowTask => "slow task",
            Fault::LockTimeout => "lock time-out",
        }
    }
}

impl LineFault {
    /// As the request log names it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            LineFault::Refused => "refused",
            LineFault::Slow => "slow",
            LineFault::Dropped(_) => "dropped",
            LineFault::NodeAway => "node away",
        }
    }
}

/// How often requests go wrong.
#[derive(Debug)]
pub struct Faults {
    seed: u64,
    rate: f64,
    state: Mutex<State>,
    /// How often each node has gone away.
    departures: watch::Sender<BTreeMap<String, u64>>,
    cable: Option<Arc<Cable>>,
}

#[derive(Debug, Default)]
struct State {
    /// How often each machine was changed; what belongs to none is under the empty name.
    changes: BTreeMap<String, u64>,
    troubles: BTreeMap<String, Trouble>,
    /// How many more will not reach a node.
    away: BTreeMap<String, u32>,
}

/// What chance said of an address, and when.
#[derive(Debug)]
struct Trouble {
    /// After which change of its machine.
    since: u64,
    /// How many more will meet it; not drawn yet.
    tries: Option<u32>,
}

/// What a request is, as far as chance is concerned.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Asked<'a> {
    pub(crate) method: &'a str,
    pub(crate) path: &'a str,
    /// The number of the machine that it makes.
    pub(crate) newid: Option<&'a str>,
    /// The node that it was sent to.
    pub(crate) node: &'a str,
}

impl Asked<'_> {
    /// The node that the request is about.
    pub(crate) fn about(&self) -> &str {
        let named = self.path.strip_prefix("/nodes/").map(|rest| rest.split('/').next().unwrap_or_default());
        named.unwrap_or(self.node)
    }

    /// The machine that it is about, or nothing.
    fn machine(&self) -> &str {
        let named = self.path.split('/').skip_while(|part| *part != "qemu").nth(1);
        self.newid.or(named).unwrap_or_default()
    }

    /// Whether it changes something. Asking the guest agent is a POST as well, but only looks.
    fn changes(&self) -> bool {
        self.method != "GET" && !self.path.contains("/agent/")
    }

    /// Whether the clock says if it is asked at all: a client looks into the log of a task that goes on.
    fn is_by_chance(&self) -> bool {
        self.path.ends_with("/log")
    }

    /// The same for the same request of another run: task ids tell the time.
    fn address(&self) -> String {
        let stable = |part: &str| match part.strip_prefix("UPID:") {
            Some(upid) => upid.split(':').skip(4).take(2).collect::<Vec<_>>().join(":"),
            None => part.to_owned(),
        };
        let path = percent_decode_str(self.path).decode_utf8_lossy();
        let path: Vec<String> = path.split('/').map(stable).collect();
        format!("{} {} {}", self.method, path.join("/"), self.newid.unwrap_or_default())
    }
}

impl Faults {
    /// Reads `seed=7,rate=0.05`, or when the cable is pulled: `cut=40` or `cut-after=40`.
    pub fn parse(text: &str) -> Result<Self> {
        let wrong = |what: String| {
            Error::new(Class::Usage, format!("simulator faults `{text}`: {what}")).help(
                "write them as seed=<number>,rate=<0 to 1>, for example seed=7,rate=0.05; or as cut=<number> or \
                 cut-after=<number>, the message after which nothing arrives any more",
            )
        };
        let (mut seed, mut rate, mut moment) = (None, None, None);
        for part in text.split(',') {
            let number = |value: &str| value.parse().ok().filter(|number| *number > 0);
            let (name, value) = part.trim().split_once('=').unwrap_or_default();
            let known = match name {
                "seed" => value.parse().map(|value| seed = Some(value)).is_ok(),
                "rate" => value.parse().map(|value| rate = Some(value)).is_ok(),
                "cut" => number(value).map(|value| moment = Some(Moment::Before(value))).is_some(),
                "cut-after" => number(value).map(|value| moment = Some(Moment::After(value))).is_some(),
                _ => return Err(wrong(format!("`{part}` is none of seed, rate, cut and cut-after"))),
            };
            if !known {
                return Err(wrong(format!("`{value}` is no number for {name}")));
            }
        }
        let (seed, rate) = match (seed, rate, moment) {
            (None, None, Some(_)) => (0, 0.0),
            (Some(seed), Some(rate), _) if (0.0..=1.0).contains(&rate) => (seed, rate),
            (Some(_), Some(_), _) => return Err(wrong("the rate is not between 0 and 1".into())),
            (None, ..) => return Err(wrong("the seed is missing".into())),
            (_, None, _) => return Err(wrong("the rate is missing".into())),
        };
        let cable = moment.map(|moment| Arc::new(Cable::new(moment)));
        Ok(Faults { seed, rate, state: Mutex::default(), departures: watch::Sender::default(), cable })
    }

    /// The cable that all connections of the client run through, when it is to be pulled.
    pub(crate) fn cable(&self) -> Option<&Arc<Cable>> {
        self.cable.as_ref()
    }

    /// What goes wrong with a request, if anything.
    pub(crate) fn next(&self, asked: &Asked<'_>) -> Option<Fault> {
        let mut state = self.state();
        if state.misses(asked.about()) {
            return Some(Fault::NodeAway);
        }
        if asked.is_by_chance() {
            return None;
        }
        let changes = state.changes.entry(asked.machine().to_owned()).or_default();
        *changes += u64::from(asked.changes());
        let since = *changes;
        let dice = self.draw(&mut state, asked.address(), since)?;
        let kinds: Vec<Fault> = ALWAYS.into_iter().chain(FOR_CHANGES.into_iter().filter(|_| asked.changes())).collect();
        let fault = kinds[usize::from(dice[0]) % kinds.len()];
        if fault == Fault::NodeAway {
            // Once it is back, it is back.
            state.troubles.insert(asked.address(), Trouble { since, tries: Some(0) });
            // This one has tried already.
            state.away.insert(asked.about().to_owned(), u32::from(dice[2] % 5));
            self.departures.send_modify(|all| *all.entry(asked.about().to_owned()).or_default() += 1);
        }
        Some(fault)
    }

    /// What goes wrong with an SSH connection to a host that is a node or a guest there, if anything.
    pub(crate) fn next_line(&self, host: &str, node: &str) -> Option<LineFault> {
        let mut state = self.state();
        if state.misses(node) {
            return Some(LineFault::NodeAway);
        }
        let since = state.changes.values().sum();
        let dice = self.draw(&mut state, format!("SSH {host}"), since)?;
        let kinds = [LineFault::Refused, LineFault::Slow, LineFault::Dropped(u32::from(dice[2] % 4))];
        Some(kinds[usize::from(dice[0]) % kinds.len()])
    }

    /// Whether somebody who connects to a node does not reach it.
    pub(crate) fn misses(&self, node: &str) -> bool {
        self.state().misses(node)
    }

    /// Comes when a node goes away, after which its connections have ended.
    pub(crate) async fn goes_away(&self, node: &str) {
        let mut departures = self.departures.subscribe();
        let before = departures.borrow().get(node).copied();
        // The sender is part of what is borrowed here.
        let _gone = departures.wait_for(|now| now.get(node).copied() != before).await;
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What chance says of an address, as bytes that say what goes wrong.
    fn draw(&self, state: &mut State, address: String, since: u64) -> Option<[u8; 3]> {
        let bytes = sha256(format!("{}/{since}/{address}", self.seed));
        let trouble = state.troubles.entry(address).or_insert(Trouble { since, tries: None });
        if trouble.since != since {
            *trouble = Trouble { since, tries: None };
        }
        let tries = trouble.tries.get_or_insert_with(|| {
            let draw = u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
            if f64::from(draw) < self.rate * f64::from(u32::MAX) { 1 + u32::from(bytes[5] % 3) } else { 0 }
        });
        *tries = tries.checked_sub(1)?;
        Some([bytes[4], bytes[6], bytes[7]])
    }
}

impl State {
    /// Whether a node is away. Each who does not reach it brings its return nearer.
    fn misses(&mut self, node: &str) -> bool {
        let Some(left) = self.away.get_mut(node) else { return false };
        match left.checked_sub(1) {
            Some(fewer) => *left = fewer,
            None => drop(self.away.remove(node)),
        }
        self.away.contains_key(node)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn get(path: &str) -> Asked<'_> {
        Asked { method: "GET", path, newid: None, node: "pve-01" }
    }

    fn put(path: &str) -> Asked<'_> {
        Asked { method: "PUT", ..get(path) }
    }

    const CONFIG: &str = "/nodes/pve-01/qemu/111/config";

    /// What meets the reads and changes of a machine, one after the other.
    fn drawn(text: &str) -> Vec<(Option<Fault>, Option<Fault>)> {
        let faults = Faults::parse(text).unwrap();
        (0..200).map(|_| (faults.next(&put(CONFIG)), faults.next(&get(CONFIG)))).collect()
    }

    #[test]
    fn the_same_seed_gives_the_same_faults() {
        assert_eq!(drawn("seed=7,rate=0.2"), drawn("seed=7,rate=0.2"));
        assert_ne!(drawn("seed=7,rate=0.2"), drawn("seed=8,rate=0.2"));
    }

    #[test]
    fn looking_more_often_shifts_no_fault() {
        let faults = Faults::parse("seed=7,rate=0.2").unwrap();
        let status = |upid: &str| format!("/nodes/pve-02/tasks/{upid}/status");
        let patient: Vec<_> = (0..200)
            .map(|round| {
                let change = faults.next(&put(CONFIG));
                for _ in 0..round % 5 {
                    faults.next(&get("/nodes/pve-02/qemu/112/config"));
                    faults.next(&get(&status(&format!(
                        "UPID:pve-02:{round:08X}:00000000:00000000:qmclone:9000:root@pam:"
                    ))));
                }
                (change, faults.next(&get(CONFIG)))
            })
            .collect();
        let others = drawn("seed=7,rate=0.2");
        let of_machine = |all: &[(Option<Fault>, Option<Fault>)]| -> Vec<_> {
            all.iter().filter(|(change, look)| ![*change, *look].contains(&Some(Fault::NodeAway))).copied().collect()
        };
        assert_eq!(of_machine(&patient), of_machine(&others));
    }

    #[test]
    fn a_task_is_the_same_in_each_run() {
        let of = |start: &str| {
            let path = format!(
                "/nodes/pve-01/tasks/UPID%3Apve-01%3A{start}%3A{start}%3A{start}%3Aqmclone%3A9000%3Aroot@pam%3A/status"
            );
            get(&path).address()
        };
        assert_eq!(of("0000058E"), of("000E39E5"));
        assert_eq!(of("0000058E"), "GET /nodes/pve-01/tasks/qmclone:9000/status ");
    }

    #[test]
    fn trouble_ends_after_some_tries() {
        for seed in 0..50 {
            let faults = Faults::parse(&format!("seed={seed},rate=1")).unwrap();
            let tries = (0..20).take_while(|_| faults.next(&get("/version")).is_some()).count();
            assert!((1..=5).contains(&tries), "seed {seed}: {tries}");
        }
    }

    #[test]
    fn a_node_that_went_away_is_missed_by_everybody_until_it_is_back() {
        let away = |seed: &u64| {
            let faults = Faults::parse(&format!("seed={seed},rate=1")).unwrap();
            (faults.next(&get(CONFIG)) == Some(Fault::NodeAway)).then_some(faults)
        };
        let mut left: Vec<usize> = (0..200)
            .filter_map(|seed| away(&seed))
            .map(|faults| {
                assert!(!faults.misses("pve-02"));
                (0..20).take_while(|_| faults.misses("pve-01")).count()
            })
            .collect();
        left.sort_unstable();
        left.dedup();
        assert_eq!(left, [0, 1, 2, 3, 4]);
    }

    #[test]
    fn everything_can_go_wrong_and_the_same_again() {
        let all = |seed: u64| {
            let faults = Faults::parse(&format!("seed={seed},rate=0.5")).unwrap();
            let requests: Vec<_> = (0..60).map(|_| faults.next(&put(CONFIG))).collect();
            let lines: Vec<_> = (0..60)
                .map(|vmid| {
                    faults.next(&put(&format!("/nodes/pve-03/qemu/{vmid}/config")));
                    faults.next_line("10.20.11.11", "pve-02")
                })
                .collect();
            (requests, lines)
        };
        let drawn: Vec<_> = (0..20).map(all).collect();
        assert_eq!(drawn, (0..20).map(all).collect::<Vec<_>>());
        for kind in ALWAYS.iter().chain(&FOR_CHANGES) {
            assert!(drawn.iter().any(|(requests, _)| requests.contains(&Some(*kind))), "{kind:?}");
        }
        for kind in [LineFault::Refused, LineFault::Slow, LineFault::Dropped(0), LineFault::Dropped(3)] {
            assert!(drawn.iter().any(|(_, lines)| lines.contains(&Some(kind))), "{kind:?}");
        }
    }

    #[test]
    fn the_rate_is_about_kept() {
        let count = drawn("seed=7,rate=0.2").iter().filter(|(change, _)| change.is_some()).count();
        assert!((20..80).contains(&count), "{count} of 200");
        assert!(drawn("seed=7,rate=0").iter().all(|both| *both == (None, None)));
    }

    #[test]
    fn a_rate_above_one_is_refused_with_the_right_form() {
        let error = Faults::parse("seed=7,rate=5").unwrap_err();
        assert_eq!(error.class(), Class::Usage);
        assert!(error.help_text().is_some());
    }

    #[test]
    fn what_is_missing_or_no_number_is_named() {
        let said = |text: &str| Faults::parse(text).unwrap_err().to_string();
        assert_eq!(said("seed=7"), "simulator faults `seed=7`: the rate is missing");
        assert_eq!(said("rate=1"), "simulator faults `rate=1`: the seed is missing");
        assert_eq!(said("cut=0"), "simulator faults `cut=0`: `0` is no number for cut");
        assert_eq!(said("seed=x,rate=1"), "simulator faults `seed=x,rate=1`: `x` is no number for seed");
        assert_eq!(said("luck=1"), "simulator faults `luck=1`: `luck=1` is none of seed, rate, cut and cut-after");
    }

    #[test]
    fn a_cable_to_be_pulled_is_no_matter_of_chance() {
        let faults = Faults::parse("cut=4").unwrap();
        assert!(faults.cable().is_some());
        assert!((0..100).all(|_| faults.next(&get("/version")).is_none()));
        assert!(Faults::parse("seed=7,rate=0.2").unwrap().cable().is_none());
    }
}
