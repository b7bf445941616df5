//! No secret leaves the program: random ones are put wherever a user could put them, in the simulator, and every byte that
//! comes out is searched.
//!
//! Searched are: standard output and standard error of every command, what a terminal gets, the JUnit file, the remote
//! list of processes, and every file under `.homelab` (the journal with its log, the request log, the lock) but the
//! simulated world itself, whose machines and guests hold on purpose what they were given: their memory stands for the
//! other systems, not for what homelab tells of them. What reads the past (`show`, `history`, `status`, `sim log`) runs without the secrets in its
//! environment, so that it could not hide what was kept.

mod clusters;
mod generate;
mod search;

use std::fs::File;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use sha2::{Digest as _, Sha256};

use self::generate::{Random, secrets};
use self::search::{Leak, leaks};
use super::project::Project;

/// The variable that says how many secrets are tried. 1,000 are the full proof.
const COUNT: &str = "HOMELAB_TEST_SECRETS";
/// How many are tried where it is not set, and how many at most in one world.
const FEW: usize = 12;
const AT_ONCE: usize = 50;
/// What a watching run says before it waits.
const WAITS: &str = "; Ctrl-C ends";
/// How long it may take until then, with many secrets on a busy machine.
const PATIENCE: Duration = Duration::from_secs(600);

fn run(project: &Project, line: &str, round: &str, secrets: &[String]) -> Output {
    let arguments: Vec<&str> = line.split_whitespace().collect();
    let mut command = project.homelab(&arguments);
    give(&mut command, round, secrets).output().expect("it starts")
}

fn give<'a>(command: &'a mut Command, round: &str, secrets: &[String]) -> &'a mut Command {
    let numbered = secrets.iter().enumerate().map(|(index, secret)| (format!("HOMELAB_S{index}"), secret));
    command.env("HOMELAB_ROUND", round).env("HOMELAB_COUNT", secrets.len().to_string()).envs(numbered)
}

/// What a person sees at a terminal, with everything that is drawn there and drawn over.
fn on_a_terminal(project: &Project, line: &str, secrets: &[String]) -> Output {
    let homelab = project.homelab(&[]);
    let shell = format!("'{}' {line}", homelab.get_program().to_string_lossy());
    let mut command = Command::new("script");
    command.args(["-qec", &shell, "/dev/null"]).current_dir(project.root()).stdin(Stdio::null()).env_clear();
    command.envs(homelab.get_envs().filter_map(|(name, value)| Some((name, value?)))).env("TERM", "xterm-256color");
    give(&mut command, "2", secrets).output().expect("`script` is there")
}

/// What a run says that watches, until it waits.
fn watched(project: &Project, line: &str, secrets: &[String]) -> Output {
    let arguments: Vec<&str> = line.split_whitespace().collect();
    let (out, err) = (project.root().join("out"), project.root().join("err"));
    let file = |path| File::create(path).expect("a file");
    let mut command = project.homelab(&arguments);
    let mut child = give(&mut command, "2", secrets).stdout(file(&out)).stderr(file(&err)).spawn().expect("it starts");
    let read = |path| std::fs::read(path).expect("a file");
    let waits = || [read(&out), read(&err)].concat().windows(WAITS.len()).any(|window| window == WAITS.as_bytes());
    let began = Instant::now();
    while !waits() {
        assert!(began.elapsed() < PATIENCE, "it never waited: {}", String::from_utf8_lossy(&read(&err)));
        assert!(child.try_wait().expect("it is ours").is_none(), "it ended: {}", String::from_utf8_lossy(&read(&err)));
        std::thread::sleep(Duration::from_millis(20));
    }
    let told = Command::new("kill").args(["-INT", &child.id().to_string()]).status().expect("kill is there");
    assert!(told.success());
    Output { status: child.wait().expect("it ends"), stdout: read(&out), stderr: read(&err) }
}

/// A world in which these secrets went everywhere, and all that came out of it.
struct Outcome {
    project: Project,
    /// How often a run has at least to mask for each secret.
    least: usize,
    told: Vec<(String, Vec<u8>)>,
}

impl Outcome {
    fn of(secrets: &[String]) -> Self {
        let project = Project::with(include_str!("everywhere.rhai"));
        project.write("playbooks/look.rhai", include_str!("look.rhai"));
        project.write("templates/secret.j2", "the word is {{ word }}\n");
        let mut outcome = Outcome { project, least: 20, told: Vec::new() };
        for (line, round) in [
            ("plan --sim --color always -v playbooks/first.rhai", "1"),
            ("run --sim --sim-answer-manual -v --junit junit.xml playbooks/first.rhai", "1"),
            ("plan --sim --output json playbooks/first.rhai", "2"),
            ("run --sim --output json --resume playbooks/first.rhai", "2"),
            ("run --sim playbooks/first.rhai", "2"),
        ] {
            outcome.note(line, run(&outcome.project, line, round, secrets), secrets.len());
        }
        let line = "run --sim --sim-answer-manual playbooks/first.rhai";
        let told = on_a_terminal(&outcome.project, line, secrets);
        outcome.note(&format!("{line}, on a terminal"), told, secrets.len());
        let line = "run --sim --watch playbooks/first.rhai";
        let told = watched(&outcome.project, line, secrets);
        outcome.note(line, told, secrets.len());
        outcome.look_back();
        outcome
    }

    /// Reads the past, without the secrets in the environment.
    fn look_back(&mut self) {
        for line in [
            "show",
            "show --output json",
            "show 2",
            "show 4 --output json",
            "history",
            "history --output json",
            "status --sim",
            "status --sim --output json",
            "sim log",
            "sim log --output json",
        ] {
            let told = self.project.homelab(&line.split(' ').collect::<Vec<_>>()).output().expect("it starts");
            self.note(line, told, 0);
        }
    }

    /// Every secret that shows in what was told, or in what is kept.
    fn found(&self, secrets: &[String]) -> Vec<Leak> {
        let told = self.told.iter().flat_map(|(place, bytes)| leaks(secrets, place, bytes));
        let kept = self
            .kept()
            .into_iter()
            .flat_map(|file| leaks(secrets, &file.display().to_string(), &std::fs::read(&file).expect("readable")));
        told.chain(kept).collect()
    }

    /// Keeps what a command said. One with secrets fails at the very end, so that all of the playbook was seen.
    fn note(&mut self, line: &str, output: Output, secrets: usize) {
        let text = [String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr)].concat();
        if secrets > 0 {
            assert!(text.contains("in the end: "), "homelab {line} ended early:\n{text}");
            assert!(text.matches("•••").count() > secrets * self.least, "homelab {line} masked too little:\n{text}");
        }
        self.told.push((format!("{line}, standard output"), output.stdout));
        self.told.push((format!("{line}, standard error"), output.stderr));
    }

    /// Every file that homelab keeps, but the simulated world.
    fn kept(&self) -> Vec<PathBuf> {
        let mut files = vec![self.project.root().join("junit.xml")];
        walk(&self.project.root().join(".homelab"), &mut files);
        files.retain(|file| !is_world(file));
        files
    }
}

/// Whether a file is the simulator's memory of its machines.
fn is_world(file: &Path) -> bool {
    let name = file.file_name().unwrap_or_default().to_string_lossy();
    file.components().any(|part| part.as_os_str() == "sim") && name != "requests.jsonl"
}

fn walk(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).expect("a folder").flatten() {
        if entry.path().is_dir() { walk(&entry.path(), files) } else { files.push(entry.path()) }
    }
}

/// Runs with 12 secrets, one of each kind, or as many as `HOMELAB_TEST_SECRETS` says (1,000 for the full proof, 50 a world), and with random
/// numbers that begin with `HOMELAB_TEST_SEED`.
#[test]
fn of_many_random_secrets_none_leaves_the_program_in_any_form() {
    let number = |name: &str| std::env::var(name).ok().map(|text| text.parse().expect("a number"));
    let count = number(COUNT).unwrap_or(FEW);
    let mut random = Random(number("HOMELAB_TEST_SEED").unwrap_or(6) as u64);
    let all = secrets(&mut random, count);
    for secrets in all.chunks(AT_ONCE) {
        let outcome = Outcome::of(secrets);
        let mut found = outcome.found(secrets);
        let looked = outcome.project.homelab(&["run", "--sim", "playbooks/look.rhai"]).output().expect("it starts");
        let looked = String::from_utf8_lossy(&looked.stdout).into_owned();
        assert!(looked.contains("ps -ef") && looked.contains("sh -c "), "the list of processes was read:\n{looked}");
        found.extend(leaks(secrets, "the list of processes", looked.as_bytes()));
        let hash: String = Sha256::digest(&secrets[0]).iter().map(|byte| format!("{byte:02x}")).collect();
        assert!(looked.contains(&format!("hash: {hash}")), "the secret reached the host:\n{looked}");
        assert!(found.is_empty(), "{} leaks, the first: {:#?}", found.len(), &found[..found.len().min(12)]);
        is_closed_to_others(&outcome.project);
    }
}

fn is_closed_to_others(project: &Project) {
    let mut files = Vec::new();
    walk(&project.root().join(".homelab"), &mut files);
    for file in files {
        let mode = file.metadata().expect("it is there").permissions().mode();
        assert_eq!(mode & 0o077, 0, "{} is open to others: {mode:o}", file.display());
    }
    let mode = project.root().join(".homelab").metadata().expect("it is there").permissions().mode();
    assert_eq!(mode & 0o077, 0, "the folder is open to others: {mode:o}");
}

#[test]
fn ordinary_text_is_not_blotted_out() {
    let playbook = "let s = secret(\"HOMELAB_S0\");\nstep(\"1\", \"says much\", || info(`The quick brown fox: \
                    100% of +3 & \\\\n \"it's\" aGVsbG8= and ${s.len} more`));\n";
    let project = Project::with(playbook);
    let secrets = secrets(&mut Random(1), 60);
    let told = run(&project, "run --sim playbooks/first.rhai", "1", &secrets);
    let told = String::from_utf8_lossy(&told.stdout).into_owned();
    assert!(told.contains("fox: 100% of +3 & \\\\n \"it's\" aGVsbG8= and "), "{told}");
    assert!(!told.contains("•••"), "{told}");
}

#[test]
fn a_secret_that_is_too_short_is_refused_by_its_name() {
    let project = Project::with("let s = secret(\"HOMELAB_S0\");\n");
    let told = project.told(&run(&project, "run --sim playbooks/first.rhai", "1", &["a7~".to_owned()]));
    assert!(told.contains("HOMELAB_S0: too short for a secret") && told.contains("help: "), "{told}");
    assert!(!told.contains("a7~"), "{told}");
}
