//! Recorded exchanges with a real API, asked again here. `HOMELAB_PVE_RECORDINGS` names the folder of recordings, else they
//! lie in `shared/pve/recordings` beside the project; without either there is nothing to compare with. Every recording is
//! replayed in a world of its own, which is made from what its words give and what its exchanges show to have been there.
//! Nothing here knows a recording by name or an exchange by number.
//!
//! With `HOMELAB_REPLAY_ONLY` set only the recordings are replayed whose file names contain its value.

mod ask;
mod beside;
mod compare;
mod endpoints;
mod files;
mod given;
mod mutations;
mod names;
mod prior;
mod recording;
mod rules;
mod session;
mod shown;
mod storages;
mod tags;
mod tally;
mod world;

use std::collections::BTreeMap;

use ask::Replay;
use compare::Verdict;
use recording::Recording;
use session::Sessions;
use tally::Tally;

/// What became of all recordings.
#[derive(Default)]
struct Report {
    today: Tally,
    later: Tally,
    differences: Vec<String>,
    left_out: BTreeMap<String, usize>,
}

#[tokio::test(flavor = "multi_thread")]
async fn recorded_exchanges_are_answered_as_they_were() {
    let folder = recording::folder();
    if !folder.is_dir() {
        println!("skipped: no recordings in {}", folder.display());
        return;
    }
    let only = std::env::var("HOMELAB_REPLAY_ONLY").unwrap_or_default();
    let mut report = Report::default();
    for (name, recording) in recording::recordings(&folder).into_iter().filter(|(name, _)| name.contains(&only)) {
        replay(&name, &recording, &mut report).await;
    }
    println!("\nendpoints of today\n{}", report.today);
    println!("endpoints of later phases\n{}", report.later);
    for (why, count) in &report.left_out {
        println!("left out: {count} because {why}");
    }
    assert!(report.today.whole().matching > 0, "nothing was compared");
    let count = report.differences.len();
    assert!(report.differences.is_empty(), "{count} differ:\n{}", report.differences.join("\n"));
}

/// Replays a recording in a world of its own.
async fn replay(name: &str, recording: &Recording, report: &mut Report) {
    let mut given = given::read(&recording.given);
    names::give(&mut given, recording);
    let dir = tempfile::tempdir().expect("a folder for the world");
    let sim = world::prepare(dir.path(), recording, &given).await;
    let tokens = shown::tokens(recording).into_iter().chain(given.tokens.iter().cloned());
    let tokens = tokens.map(|(user, token)| format!("{user}!{token}"));
    let mut replay = Replay::new(&sim, recording, Sessions::new(&sim, world::addresses(recording, &given), tokens));
    for clause in &given.rest {
        println!("{name}: not understood: {clause}");
    }
    for (index, exchange) in recording.exchanges.iter().enumerate() {
        let verdict = replay.exchange(index).await;
        let request = &exchange.request;
        let is_of_today = exchange.response.status == 501 || endpoints::is_of_today(&request.method, request.path());
        let tally = if is_of_today { &mut report.today } else { &mut report.later };
        let counts = tally.of(exchange);
        counts.recorded += 1;
        let at =
            format!("{name} {}: {} {} {}{}", exchange.n, request.method, request.path, request.query, request.form);
        let differs = match verdict {
            Verdict::Same => {
                counts.matching += 1;
                continue;
            }
            Verdict::LeftOut(why) => {
                counts.left_out += 1;
                *report.left_out.entry(why).or_default() += 1;
                continue;
            }
            Verdict::NotServed => {
                counts.not_served += 1;
                format!("{at}\n   not simulated")
            }
            Verdict::Differs(text) => {
                counts.differing += 1;
                format!("{at}\n{text}")
            }
        };
        if is_of_today {
            report.differences.push(differs);
        }
    }
    sim.stop().await.expect("a simulator stops");
}
