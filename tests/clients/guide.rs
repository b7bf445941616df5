//! What the guide says about other programs is true of them.

use std::path::Path;
use std::process::Command;

use super::lab::Lab;
use super::programs::{is_there, told};

/// The shell blocks under `## Other clients`.
fn blocks() -> Vec<String> {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/guide/simulator.md");
    let page = std::fs::read_to_string(page).expect("readable");
    let (_, part) = page.split_once("## Other clients").expect("it is there");
    let blocks = part.split("```sh\n").skip(1);
    blocks.filter_map(|rest| rest.split_once("```").map(|(block, _)| block.to_owned())).collect()
}

#[test]
fn the_commands_of_the_guide_do_what_it_says() {
    if !is_there("ssh", "openssh-client") || !is_there("curl", "curl") {
        return;
    }
    let lab = Lab::shared();
    let [curl, ssh] = &blocks()[..] else { panic!("the guide has other examples") };
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
