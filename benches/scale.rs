//! Many steps, many machines.

use std::time::{Duration, Instant};

use super::figures::{Figures, Sample};
use super::program::Project;

const MACHINES: usize = 100;

/// Runs of a hundred and a thousand steps, and plans of a hundred machines.
pub fn measure(figures: &mut Figures) {
    steps(figures);
    machines(figures);
}

fn steps(figures: &mut Figures) {
    let project = Project::new();
    for count in [100, 1000] {
        let text: String = (0..count).map(|n| format!("step(\"s.{n}\", \"step {n}\", || {n});\n")).collect();
        project.write(&format!("playbooks/steps{count}.rhai"), &text);
    }
    let few = Sample::of(5, || time(&project, "run playbooks/steps100.rhai"));
    let many = Sample::of(5, || time(&project, "run playbooks/steps1000.rhai"));
    figures.report("a run of 100 steps that do nothing", &few, None);
    figures.report("a run of 1,000 steps that do nothing", &many, None);
    figures.ratio("1,000 steps to 100 steps", &many, &few);
}

fn machines(figures: &mut Figures) {
    let project = Project::new();
    project.write(
        "playbooks/make.rhai",
        r#"
        let pve = proxmox::connect();
        for n in 0..100 {
            pve.post(`/nodes/pve-0${n % 3 + 1}/qemu`, #{ vmid: 500 + n, name: `m-${n}`, memory: 2048, cores: 1 });
        }
        "#,
    );
    for count in [10, MACHINES] {
        let text = format!(
            r#"
            let pve = proxmox::connect();
            let numbers = [];
            for n in 0..{count} {{ numbers.push(n) }}
            parallel(numbers, |n| step(`cores.${{n}}`, "has two cores", || {{
                pve.vm(#{{ vmid: 500 + n, name: `m-${{n}}`, node: `pve-0${{n % 3 + 1}}`, cores: 2 }});
            }}));
            "#
        );
        project.write(&format!("playbooks/want{count}.rhai"), &text);
    }
    project.says("run --sim -q playbooks/make.rhai");
    let few = Sample::of(5, || time(&project, "plan --sim -q playbooks/want10.rhai"));
    let many = Sample::of(5, || time(&project, "plan --sim -q playbooks/want100.rhai"));
    figures.report("a plan of 10 machines, the simulator's own start included", &few, None);
    figures.report("a plan of 100 machines", &many, None);
    figures.ratio("100 machines to 10", &many, &few);
    let asked = project.says("sim log --last");
    let connected = project.says("sim log --last --connections");
    let lists = asked.lines().filter(|line| line.contains("/cluster/resources")).count();
    let others = asked.lines().count() - lists;
    figures.count("lists of guests asked for by a plan of 100 machines", lists, 1);
    figures.count("other requests of it: a config a machine", others, MACHINES);
    figures.count("its connections to the node", connected.lines().filter(|line| line.contains("  tls ")).count(), 3);
}

fn time(project: &Project, line: &str) -> Duration {
    let began = Instant::now();
    project.says(line);
    began.elapsed()
}
