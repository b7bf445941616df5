//! Start-up: what a command costs before it does anything.

use std::process::Command;
use std::time::Duration;

use super::figures::{Figures, Sample};
use super::program::{Project, cpu_of};

const BAR: Option<Duration> = Some(Duration::from_millis(15));

/// Processor time, which other work on the machine changes least.
pub fn measure(figures: &mut Figures) {
    let project = Project::new();
    project.write("playbooks/empty.rhai", "");
    let version = Sample::of(20, || cpu_of(project.command("--version")));
    let empty = Sample::of(20, || cpu_of(project.command("run playbooks/empty.rhai")));
    let nothing = Sample::of(20, || cpu_of(Command::new("/bin/true")));
    figures.report("homelab --version, processor time", &version, BAR);
    figures.report("homelab run of an empty playbook, processor time", &empty, BAR);
    figures.report("/bin/true, processor time", &nothing, None);
    figures.ratio("an empty playbook to --version", &empty, &version);
}
