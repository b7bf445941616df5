//! Watching: from a save to the first step of the next run.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::time::{Duration, Instant};

use super::figures::{Figures, Sample};
use super::program::Project;

const SAVES: usize = 20;
const PLAYBOOK: &str = "playbooks/phase3.rhai";
/// The simulated API, like the real one, closes a connection that was idle for 5 s.
const THOUGHT: Duration = Duration::from_secs(6);

/// Saves the playbook of phase 3 again and again while it is watched, once it has nothing left to change.
pub fn measure(figures: &mut Figures) {
    let project = Project::new();
    let text = std::fs::read_to_string(project.root().join(PLAYBOOK)).expect("it is there");
    project.says(&format!("run --sim --sim-answer-manual -q {PLAYBOOK}"));
    let watching = Watching::start(&project);
    watching.hears("watching");
    let connected = || project.says("sim log --last --connections").lines().count();
    let before = connected();
    let measured = (0..SAVES).map(|save| {
        // Some people think before they save.
        if save % 7 == 0 {
            std::thread::sleep(THOUGHT);
        }
        let saved = Instant::now();
        project.write(PLAYBOOK, &format!("{text}// {save}\n"));
        watching.hears("3.1  the table of machines is sound");
        let elapsed = saved.elapsed();
        watching.hears("watching");
        elapsed
    });
    let sample = Sample::from(measured.collect::<Vec<_>>());
    figures.report("from saving phase3.rhai to the first step line", &sample, Some(Duration::from_millis(300)));
    figures.count("new TLS and SSH handshakes of those 20 runs", connected() - before, 0);
    // It holds the lock.
    drop(watching);
    let cold = Sample::of(5, || {
        let began = Instant::now();
        project.says("plan --sim -q --step 3.1 playbooks/phase3.rhai");
        began.elapsed()
    });
    figures.report("a plan of that step alone, started anew with its simulator", &cold, None);
    figures.ratio("saving to starting anew", &sample, &cold);
}

struct Watching {
    child: Child,
    lines: Receiver<String>,
}

impl Watching {
    fn start(project: &Project) -> Self {
        let mut command = project.command(&format!("run --sim --sim-answer-manual --watch {PLAYBOOK}"));
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it starts");
        let (sender, lines) = mpsc::channel();
        let (out, err) = (child.stdout.take().expect("piped"), child.stderr.take().expect("piped"));
        for stream in [Box::new(out) as Box<dyn std::io::Read + Send>, Box::new(err)] {
            let sender = sender.clone();
            std::thread::spawn(move || {
                for line in BufReader::new(stream).lines().map_while(Result::ok) {
                    if sender.send(line).is_err() {
                        return;
                    }
                }
            });
        }
        Watching { child, lines }
    }

    /// Waits for a line that holds this text.
    fn hears(&self, text: &str) {
        loop {
            match self.lines.recv_timeout(Duration::from_secs(60)) {
                Ok(line) if line.contains(text) => return,
                Ok(_) => {}
                Err(error) => panic!("`{text}` was never said: {error}"),
            }
        }
    }
}

impl Drop for Watching {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
