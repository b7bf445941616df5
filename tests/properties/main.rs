//! The promises of a dry run and of resuming, held against playbooks that nobody wrote.
//!
//! `HOMELAB_PROPERTY_CASES` says how many (default 2,000), `HOMELAB_PROPERTY_SEED` which (default 1): the same number
//! makes the same playbooks. A case that breaks a promise is made as small as it gets, and printed as the playbook that
//! it is: it goes into `tests/cases`.

#[path = "../common/mod.rs"]
#[allow(dead_code, reason = "the cases use more of it")]
mod common;

mod bench;
mod language;
mod printer;
mod promises;
mod tally;

use std::cell::RefCell;
use std::fmt::Write as _;
use std::sync::Mutex;

use proptest::test_runner::{Config, RngAlgorithm, TestCaseError, TestError, TestRng, TestRunner};

use bench::Bench;
use language::{Playbook, playbooks};
use printer::{Printed, print};
use tally::Tally;

/// An engine remembers every module that it loaded, so now and then it is made anew.
const CASES_PER_ENGINE: usize = 200;

fn number(variable: &str, default: u64) -> u64 {
    std::env::var(variable)
        .map_or(default, |text| text.parse().unwrap_or_else(|_| panic!("{variable}: no number: {text}")))
}

struct Worker {
    bench: Bench,
    played: usize,
    tally: Tally,
}

impl Worker {
    fn play(&mut self, tree: &Playbook) -> Result<(), String> {
        if self.played % CASES_PER_ENGINE == CASES_PER_ENGINE - 1 {
            self.bench = Bench::new();
        }
        self.played += 1;
        let module = format!("lib{}", self.played);
        let case = print(tree, &module);
        self.bench.load(&case, &module);
        promises::hold(&mut self.bench, tree, &case, &mut self.tally)
    }
}

fn seed(base: u64, worker: u64) -> [u8; 32] {
    let mut seed = [0; 32];
    seed[..8].copy_from_slice(&base.to_le_bytes());
    seed[8..16].copy_from_slice(&worker.to_le_bytes());
    seed
}

/// Plays cases until one breaks a promise, and makes that one small.
fn work(cases: u32, base: u64, worker: u64) -> Result<Tally, String> {
    let config = Config {
        cases,
        max_shrink_iters: 4_000,
        max_shrink_time: 90_000,
        failure_persistence: None,
        ..Config::default()
    };
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &seed(base, worker));
    let mut runner = TestRunner::new_with_rng(config, rng);
    let worker = RefCell::new(Worker { bench: Bench::new(), played: 0, tally: Tally::default() });
    // What is made smaller must go on breaking the same promise.
    let first = RefCell::new(None);
    let outcome = runner.run(&playbooks(8), |tree| {
        let Err(broken) = worker.borrow_mut().play(&tree) else { return Ok(()) };
        if kind(first.borrow_mut().get_or_insert_with(|| broken.clone())) != kind(&broken) {
            return Ok(());
        }
        Err(TestCaseError::fail(broken))
    });
    match outcome {
        Ok(()) => Ok(worker.into_inner().tally),
        Err(TestError::Fail(reason, tree)) => Err(describe(&reason.to_string(), &print(&tree, "lib"), &tree)),
        Err(error) => Err(error.to_string()),
    }
}

/// Which promise was broken: its words without what they are about.
fn kind(broken: &str) -> &str {
    broken.split([':', '{', '[', '(']).next().unwrap_or(broken)
}

fn describe(reason: &str, case: &Printed, tree: &Playbook) -> String {
    let mut text = format!("{reason}\n\n--- the playbook\n{}", case.playbook);
    if let Some(module) = &case.module {
        let _ = write!(text, "--- lib.rhai\n{module}\n");
    }
    let _ = write!(
        text,
        "--- the world\n{:?}\n{:?}\n--- fault {} at {}\n",
        case.files, case.objects, tree.fault, tree.fault_at
    );
    text
}

#[test]
fn what_is_promised_of_every_playbook_holds_for_any() {
    let (cases, seed) = (number("HOMELAB_PROPERTY_CASES", 2000), number("HOMELAB_PROPERTY_SEED", 1));
    let workers = 2;
    let share = u32::try_from(cases.div_ceil(workers)).expect("fewer cases than that");
    let results = Mutex::new(Vec::new());
    std::thread::scope(|threads| {
        for worker in 0..workers {
            let results = &results;
            threads.spawn(move || {
                let result = work(share, seed, worker);
                results.lock().expect("no holder panics").push(result);
            });
        }
    });
    let mut tally = Tally::default();
    let mut broken = Vec::new();
    for result in results.into_inner().expect("no holder panics") {
        match result {
            Ok(part) => tally.add(part),
            Err(words) => broken.push(words),
        }
    }
    assert!(broken.is_empty(), "{}", broken.join("\n=====\n"));
    println!("seed {seed}: {tally}");
    assert!(tally.all_sure * 20 > tally.cases && tally.deferred * 20 > tally.cases, "too trivial: {tally}");
    assert!(tally.skipped * 40 > tally.cases, "too little is resumed: {tally}");
}
