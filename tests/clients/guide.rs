//! What the guide says about other programs is true of them.

use std::path::Path;
use std::process::Command;

use super::lab::Lab;
use super::programs::{fed, is_there, patient, success, told};
use super::python;

/// The blocks of a language under `## Other clients`.
fn blocks(language: &str) -> Vec<String> {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/guide/simulator.md");
    let page = std::fs::read_to_string(page).expect("readable");
    let (_, part) = page.split_once("## Other clients").expect("it is there");
    let (part, _) = part.split_once("\n## ").expect("it ends");
    let fence = format!("```{language}\n");
    let blocks = part.split(&fence).skip(1);
    blocks.filter_map(|rest| rest.split_once("```").map(|(block, _)| block.to_owned())).collect()
}

#[test]
fn the_commands_of_the_guide_do_what_it_says() {
    if !is_there("ssh", "openssh-client") || !is_there("curl", "curl") {
        return;
    }
    let lab = Lab::shared();
    // What the last says of kubectl is tried in `kubectl.rs`.
    let [curl, ssh, _] = &blocks("sh")[..] else { panic!("the guide has other examples") };
    let run = |script: &str| {
        let mut shell = Command::new("sh");
        shell.args(["-euc", script]).current_dir(lab.project.root()).env("HOME", lab.project.home());
        told(&shell.output().expect("sh is there"))
    };
    // The well-known ports may belong to somebody else.
    let (out, err, code) = run(&curl.replace("https://127.0.0.1:8006", &lab.node("pve-01", "api")));
    assert!(code == Some(0) && out.contains(r#""release""#), "{out}{err}");
    lab.project.write("notes.txt", "remember\n");
    let (out, err, code) = run(ssh);
    assert!(code == Some(0) && out.starts_with("active\n"), "{out}{err}");
    assert_eq!(lab.on("k3s-cp-01", "cat notes.txt"), "remember\n");
}

#[test]
fn the_python_of_the_guide_lists_the_machines() {
    if !python::is_there() {
        return;
    }
    let lab = Lab::shared();
    let [program] = &blocks("python")[..] else { panic!("the guide has other examples") };
    let program = program.replace("127.0.0.1:8006", lab.node("pve-01", "api").trim_start_matches("https://"));
    let mut shell = patient("sh");
    shell.args(["-euc", ". .homelab/sim/envrc; exec \"$0\" -"]).arg(python::interpreter());
    shell.current_dir(lab.project.root());
    let listed = success(&fed(shell, program.as_bytes()));
    assert!(
        listed.contains("111 k3s-cp-01 running\n") && listed.contains("9000 ubuntu-2404-k3s stopped\n"),
        "{listed}"
    );
}
