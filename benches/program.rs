//! The program in a project of its own.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use nix::sys::resource::{UsageWho, getrusage};
use tempfile::TempDir;

/// The homelab of this repository, in a folder of its own.
pub struct Project {
    folder: TempDir,
}

impl Project {
    /// A copy of the playbooks and tables.
    pub fn new() -> Self {
        let project = Project { folder: tempfile::tempdir().expect("a temporary folder") };
        let from = Path::new(env!("CARGO_MANIFEST_DIR"));
        for folder in ["playbooks", "docs"] {
            std::fs::create_dir_all(project.root().join(folder)).expect("a folder");
            for entry in std::fs::read_dir(from.join(folder)).expect("it is there").flatten() {
                if entry.path().is_file() {
                    std::fs::copy(entry.path(), project.root().join(folder).join(entry.file_name())).expect("copied");
                }
            }
        }
        std::fs::copy(from.join(".envrc.example"), project.root().join(".envrc.example")).expect("copied");
        project
    }

    /// Its folder.
    pub fn root(&self) -> PathBuf {
        self.folder.path().to_owned()
    }

    /// Writes a file.
    pub fn write(&self, file: &str, text: &str) {
        std::fs::write(self.root().join(file), text).expect("written");
    }

    /// The program with a command line.
    pub fn command(&self, line: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_homelab"));
        command.args(line.split_whitespace()).current_dir(self.root()).stdin(Stdio::null()).env_clear();
        command.env("PATH", "/usr/bin:/bin").env("HOME", self.root()).env("USER", "bench").env("TZ", "UTC");
        command
    }

    /// What a command line prints; it must end well.
    pub fn says(&self, line: &str) -> String {
        let output = self.command(line).output().expect("the program starts");
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "homelab {line}\n{said}{}", String::from_utf8_lossy(&output.stderr));
        said
    }
}

/// The processor time of a command from start to end, system calls included.
pub fn cpu_of(mut command: Command) -> Duration {
    let before = used_by_children();
    let status = command.stdout(Stdio::null()).stderr(Stdio::null()).status().expect("it starts");
    assert!(status.success(), "{command:?} ended with {status}");
    used_by_children() - before
}

fn used_by_children() -> Duration {
    let usage = getrusage(UsageWho::RUSAGE_CHILDREN).expect("every system has it");
    let [user, system] = [usage.user_time(), usage.system_time()];
    let micros = (user.tv_sec() + system.tv_sec()) * 1_000_000 + user.tv_usec() + system.tv_usec();
    Duration::from_micros(u64::try_from(micros).expect("time is not negative"))
}
