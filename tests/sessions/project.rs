//! A project in a temporary folder, and the program run in it.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use regex::Regex;
use tempfile::TempDir;

/// The program.
pub const HOMELAB: &str = env!("CARGO_BIN_EXE_homelab");

/// What differs from run to run, and what stands in its place here.
const FILTERS: [(&str, &str); 7] = [
    (r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d", "<time>"),
    (r"\bpid \d+", "pid <pid>"),
    (r"kill -INT \d+", "kill -INT <pid>"),
    (r" +\d+\.\ds\b", " <seconds>"),
    (r"just now|\d+ minutes? ago", "<age>"),
    (r"127\.0\.0\.1:[1-9]\d{4}", "127.0.0.1:<port>"),
    (r"SHA256:[A-Za-z0-9+/]+", "SHA256:<fingerprint>"),
];

/// Copies the files of a folder, without those in folders below it.
fn copy_files(from: &Path, to: &Path) {
    for entry in std::fs::read_dir(from).expect("it is there").flatten() {
        if entry.path().is_file() {
            std::fs::copy(entry.path(), to.join(entry.file_name())).expect("copied");
        }
    }
}

/// A project, with a home folder beside it.
pub struct Project {
    folder: TempDir,
}

impl Project {
    /// A new one, as `homelab new` makes it.
    pub fn new() -> Self {
        let project = Project { folder: tempfile::tempdir().expect("a temporary folder") };
        std::fs::create_dir(project.home()).expect("a home");
        let made = project.command(project.folder.path(), &["new", "lab"]).output().expect("the program starts");
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        project
    }

    /// The homelab of this repository: its playbooks and its tables.
    pub fn homelab_itself() -> Self {
        let project = Project { folder: tempfile::tempdir().expect("a temporary folder") };
        std::fs::create_dir(project.home()).expect("a home");
        let from = Path::new(env!("CARGO_MANIFEST_DIR"));
        for folder in ["playbooks", "docs"] {
            std::fs::create_dir_all(project.root().join(folder)).expect("a folder");
            copy_files(&from.join(folder), &project.root().join(folder));
        }
        let apps = Path::new("playbooks/apps");
        for app in std::fs::read_dir(from.join(apps)).into_iter().flatten().flatten() {
            let to = project.root().join(apps).join(app.file_name());
            std::fs::create_dir_all(&to).expect("a folder");
            copy_files(&app.path(), &to);
        }
        for file in [".envrc.example", ".gitignore"] {
            std::fs::copy(from.join(file), project.root().join(file)).expect("copied");
        }
        project
    }

    /// Runs a command line and expects it to end with this code; gives what it printed.
    pub fn ends(&self, line: &str, code: i32) -> String {
        let arguments: Vec<&str> = line.split_whitespace().collect();
        let output = self.homelab(&arguments).output().expect("the program starts");
        let told = self.told(&output);
        assert_eq!(output.status.code(), Some(code), "homelab {line}\n{told}");
        told
    }

    /// One with this as its only playbook, `playbooks/first.rhai`.
    pub fn with(playbook: &str) -> Self {
        let project = Project::new();
        project.write("playbooks/first.rhai", playbook);
        project
    }

    /// Its folder.
    pub fn root(&self) -> PathBuf {
        self.folder.path().join("lab")
    }

    /// The home folder of whoever works on it.
    pub fn home(&self) -> PathBuf {
        self.folder.path().join("home")
    }

    /// Writes a file of the project.
    pub fn write(&self, file: &str, text: &str) {
        let path = self.root().join(file);
        std::fs::create_dir_all(path.parent().expect("a file lies in a folder")).expect("a folder");
        std::fs::write(path, text).expect("written");
    }

    /// Reads a file of the project.
    pub fn read(&self, file: &str) -> String {
        std::fs::read_to_string(self.root().join(file)).expect("readable")
    }

    /// The program with arguments, ready to start. Nothing of this machine's surroundings counts.
    pub fn homelab(&self, arguments: &[&str]) -> Command {
        self.command(&self.root(), arguments)
    }

    /// A session: each command line with what it says and, where it is not 0, the exit code it ends with.
    pub fn session(&self, lines: &[&str]) -> String {
        let run = |line: &&str| {
            let arguments: Vec<&str> = line.split_whitespace().collect();
            let output = self.homelab(&arguments).output().expect("the program starts");
            format!("$ homelab {line}\n{}", self.told(&output))
        };
        lines.iter().map(run).collect()
    }

    /// What a command printed, and how it ended.
    pub fn told(&self, output: &Output) -> String {
        let mut text = self.filtered(&String::from_utf8_lossy(&output.stdout));
        text.push_str(&self.filtered(&String::from_utf8_lossy(&output.stderr)));
        match output.status.code() {
            Some(0) => {}
            Some(code) => text.push_str(&format!("[exit {code}]\n")),
            None => text.push_str("[killed]\n"),
        }
        text
    }

    /// What was told, without how long steps took: that is shown of slow ones alone, and which those are is a matter of luck.
    pub fn without_times(told: &str) -> String {
        Regex::new(r"(?m)^(\s.*) <seconds>$").expect("a pattern of ours").replace_all(told, "$1").into_owned()
    }

    /// A text without what differs from run to run.
    pub fn filtered(&self, text: &str) -> String {
        let root = std::fs::canonicalize(self.folder.path()).expect("it is there");
        let text = text.replace(&root.display().to_string(), "<folder>");
        FILTERS.iter().fold(text, |text, (pattern, name)| {
            Regex::new(pattern).expect("a pattern of ours").replace_all(&text, *name).into_owned()
        })
    }

    fn command(&self, folder: &Path, arguments: &[&str]) -> Command {
        let mut command = Command::new(HOMELAB);
        let path = std::env::var_os("PATH").unwrap_or_default();
        command.args(arguments).current_dir(folder).stdin(Stdio::null()).env_clear();
        command.env("PATH", path).env("HOME", self.home()).env("USER", "tester").env("TZ", "UTC");
        command
    }
}
