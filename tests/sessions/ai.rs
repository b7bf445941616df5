//! What computes on the graphics card: each application alone, and what is told where it has no card, no room, or another password.

use super::project::Project;

const MACHINES: &str = "playbooks/phase3.rhai playbooks/phase3_5.rhai";
const CARDS: &str = "--step 4.1* --step 4.2.[123]* playbooks/phase4.rhai";

/// A homelab whose cluster offers its card.
fn with_a_card() -> Project {
    let project = Project::homelab_itself();
    project.ends(&format!("run --sim --sim-answer-manual -q {MACHINES}"), 0);
    project.ends(&format!("run --sim --sim-answer-manual -q {CARDS}"), 0);
    project
}

/// Edits a file of the project, which must change by that.
fn edit(project: &Project, file: &str, from: &str, to: &str) {
    let text = project.read(file);
    let edited = text.replace(from, to);
    assert_ne!(text, edited, "{from} stands in {file}");
    project.write(file, &edited);
}

/// Plans an application and deploys it as planned; a second run changes nothing. Gives what the first run said.
fn deploys(project: &Project, app: &str) -> String {
    let planned = project.ends(&format!("plan --sim playbooks/apps/{app}"), 0);
    assert!(!planned.contains("deferred"), "{planned}");
    let ran = project.ends(&format!("run --sim playbooks/apps/{app}"), 0);
    let score = ran.lines().find_map(|line| line.strip_prefix("plan fidelity: sure ")).expect("it is scored");
    let (met, sure) = score.split(',').next().and_then(|part| part.split_once('/')).expect("a score");
    assert_eq!(met, sure, "{ran}");
    assert!(!ran.contains("missed: ") && !ran.contains("warning: "), "{ran}");
    let again = project.ends(&format!("run --sim playbooks/apps/{app}"), 0);
    assert!(again.contains("\n0 changes\n"), "{again}");
    assert_eq!(project.ends("sim log --mutating --last", 0), "", "a second run changes nothing");
    ran
}

/// The sentence of the error that ends a command with this code, on one line.
fn sentence(project: &Project, line: &str, code: i32) -> String {
    let told = project.ends(line, code);
    let lines = told.lines().skip_while(|line| !line.trim_start().starts_with('×'));
    let lines =
        lines.take_while(|line| !line.contains("╭─")).map(|line| line.trim_start().trim_start_matches(['×', '│', ' ']));
    let names = regex::Regex::new(r"(ollama|jupyter|comfyui|others)(-[a-z0-9]{8,10})?-[a-z0-9]{5}\b").expect("ours");
    names.replace_all(&lines.collect::<Vec<_>>().join(" "), "$1-…").into_owned()
}

/// Writes a playbook of one step, in which `k` is the cluster, and runs it.
fn somebody(project: &Project, does: &str) {
    let playbook =
        format!("let k = kubernetes::connect();\nstep(\"9\", \"somebody does something\", || {{\n{does}\n}});\n");
    project.write("playbooks/somebody.rhai", &playbook);
    project.ends("run --sim playbooks/somebody.rhai", 0);
}

/// So many pods of somebody, each with a share of the card.
fn others(count: u32) -> String {
    let container =
        r#"#{ name: "a", image: "busybox:1.37.0", command: ["sleep", "1d"], resources: #{ limits: LIMITS } }"#;
    let container = container.replace("LIMITS", r#"json::parse(`{ "nvidia.com/gpu": 1 }`)"#);
    let pod = format!(
        "#{{ metadata: #{{ labels: #{{ app: \"others\" }} }}, spec: #{{ runtimeClassName: \"nvidia\", containers: [{container}] }} }}"
    );
    let spec =
        format!("#{{ replicas: {count}, selector: #{{ matchLabels: #{{ app: \"others\" }} }}, template: {pod} }}");
    format!(
        "k.apply(#{{ kind: \"Deployment\", apiVersion: \"apps/v1\", metadata: #{{ name: \"others\", namespace: \"default\" }}, spec: {spec} }}, #{{ wait: true }});"
    )
}

#[test]
fn ollama_pulls_the_models_of_the_table_and_computes_with_one_on_the_card() {
    let project = with_a_card();
    let run = "run --sim playbooks/apps/ollama";

    // All shares of the card are taken.
    let library = include_str!("../../stdlib/gpu_node.rhai");
    let patience = "const SHARE_PATIENCE = \"30s\";";
    assert!(library.contains(patience), "it is waited for as long as that");
    project.write("stdlib/gpu_node.rhai", &library.replace(patience, "const SHARE_PATIENCE = \"2s\";"));
    somebody(&project, &others(4));
    insta::assert_snapshot!(sentence(&project, run, 4), @"a share of a card for ollama: all that there are (4) are taken, by default/others-…; default/others-…; default/others-…; default/others-…: one of these has to go, or gpu_replicas in docs/SOFTWARE.md has to be larger");
    assert_eq!(project.ends("sim log --mutating --last", 0), "", "nothing was deployed");
    somebody(&project, &others(0));

    let ran = deploys(&project, "ollama");
    let pulled = r#"pulled: [] → ["llama3.2:1b","qwen3:8b","nomic-embed-text:v1.5"]"#;
    assert!(ran.contains(pulled) && ran.contains("5.3.1.check  a model of Ollama answers on the card"), "{ran}");

    // A model that nobody has, and one that no disk of the lab has room for.
    edit(&project, "docs/SOFTWARE.md", "llama3.2:1b)  ", "llama9.2:1b)  ");
    insta::assert_snapshot!(sentence(&project, run, 1), @r#"llama9.2:1b cannot be pulled: ai/ollama-…:11434: POST /api/pull: refused, 500: {"error":"pull model manifest: file does not exist"}. Its name is one of the library of Ollama, with its tag, and its disk needs room for it"#);
    edit(&project, "docs/SOFTWARE.md", "llama9.2:1b)  ", "llama3.1:405b)");
    insta::assert_snapshot!(sentence(&project, run, 1), @r#"llama3.1:405b cannot be pulled: ai/ollama-…:11434: POST /api/pull: refused, 500: {"error":"write /root/.ollama/models/blobs/sha256-533056cbcbb64b586c72fdcd41f0632b9c8ecb0f525c3f91bd3e1e20c3e96853-partial: no space left on device"}. Its name is one of the library of Ollama, with its tag, and its disk needs room for it"#);
    let row = "llama3.1:405b)         | chat      | (2)  ";
    edit(&project, "docs/SOFTWARE.md", row, "llama3.1:405b)         | chat      | (243)");
    insta::assert_snapshot!(sentence(&project, run, 4), @"the models of docs/SOFTWARE.md take 250 GB, and the volume of ollama has 100: write down fewer models, or a larger size_gb");
    assert_eq!(project.ends("sim log --mutating --last", 0), "", "what has no room by the table is not tried");
    edit(
        &project,
        "docs/SOFTWARE.md",
        "llama3.1:405b)         | chat      | (243)",
        "llama3.2:1b)           | chat      | (2)  ",
    );

    // Somebody loads a model that is larger than the card, and than what was promised to Ollama.
    somebody(
        &project,
        "let ollama = k.port_forward(#{ namespace: \"ai\", labels: json::parse(`{ \"app.kubernetes.io/name\": \"ollama\" }`), port: 11434 });\n\
        ollama.post(\"/api/pull\", #{ model: \"qwen3:32b\", stream: false });\n\
        ollama.post(\"/api/generate\", #{ model: \"qwen3:32b\", stream: false });",
    );
    let warned = project.ends(run, 0);
    for warning in [
        "qwen3:32b takes 23 GB, of which 21 are on the card: the rest is computed slowly beside it",
        "qwen3:32b takes 23 GB, and ollama was promised 10 (vram_gb in docs/SOFTWARE.md)",
    ] {
        assert!(warned.contains(warning), "{warning}\n{warned}");
    }

    // Its pods no longer run with the runtime of the card: it computes on the processor.
    edit(&project, "playbooks/apps/ollama/values.yaml.j2", "runtimeClassName: nvidia\n", "");
    insta::assert_snapshot!(sentence(&project, run, 4), @"llama3.2:1b is loaded, and none of it is on the card: Ollama found no card, or no memory of it that was free. Phase 4 (4.2) tells which link to the card is broken; who else is on the card, nvidia-smi tells on its node");
}

/// Gives a variable of the environment another value.
fn set(project: &Project, name: &str, value: &str) {
    let envrc = project.read(".homelab/sim/envrc");
    let line = envrc.lines().find(|line| line.contains(&format!("{name}="))).expect("the variable");
    edit(project, ".homelab/sim/envrc", line, &format!("export {name}='{value}'"));
}

#[test]
fn jupyter_and_comfyui_ask_for_a_password_and_have_the_card() {
    let project = with_a_card();
    let ran = deploys(&project, "jupyter");
    assert!(ran.contains("5.3.3.check  Jupyter asks for its password, and has the card"), "{ran}");
    let run = "run --sim playbooks/apps/jupyter";

    // The password itself in the place of its hash, and another one than Jupyter was set up with.
    set(&project, "HOMELAB_JUPYTER_PASSWORD_HASH", "open-sesame");
    insta::assert_snapshot!(sentence(&project, run, 4), @"HOMELAB_JUPYTER_PASSWORD_HASH is no hash that Jupyter knows: .envrc.example says how one is made. One by argon2 has dollars in it, so it stands in single quotes");
    let other = format!("sha256:0123456789ab:{}", "5".repeat(64));
    set(&project, "HOMELAB_JUPYTER_PASSWORD_HASH", &other);
    for command in ["plan", "run"] {
        let told = project.ends(&format!("{command} --sim playbooks/apps/jupyter"), 1);
        assert!(told.contains("Secret:ai/jupyter: there is another value for password_hash"), "{told}");
        assert!(!told.contains("5555555"), "{told}");
    }
    assert_eq!(project.ends("sim log --mutating --last", 0), "", "nothing is written over");

    // Nobody gets to ComfyUI without a password, which may change at any time.
    let ran = deploys(&project, "comfyui");
    assert!(ran.contains("5.3.2.check  ComfyUI answers who knows the password, and computes on the card"), "{ran}");
    let run = "run --sim playbooks/apps/comfyui";
    set(&project, "HOMELAB_COMFYUI_PASSWORD", "another-long-password");
    let ran = project.ends(run, 0);
    assert!(ran.contains("updated Secret:ai/comfyui-door") && !ran.contains("another-long-password"), "{ran}");

    // An image that is written down with its digest is that one, whatever becomes of its tag.
    let image = "docker.io/yanwk/comfyui-boot                                                  | ";
    edit(&project, "docs/SOFTWARE.md", &format!("{image}–       "), &format!("{image}{}", "ab".repeat(32)));
    let planned = project.ends("plan --sim playbooks/apps/comfyui", 0);
    assert!(planned.contains(&format!("comfyui-boot:cu128-slim@sha256:{}", "ab".repeat(32))), "{planned}");

    // Outside of the runtime of the card it ends again and again, with its own words.
    let library = include_str!("../../stdlib/apps.rhai");
    let patience = "const PATIENCE = \"30m\";";
    assert!(library.contains(patience), "it is waited for as long as that");
    project.write("stdlib/apps.rhai", &library.replace(patience, "const PATIENCE = \"5s\";"));
    edit(&project, "playbooks/apps/comfyui/manifest.yaml.j2", "      runtimeClassName: nvidia\n", "");
    let told = project.ends(run, 1);
    assert!(told.contains("RuntimeError: Found no NVIDIA driver on your system."), "{told}");
}
