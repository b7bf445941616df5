//! What every application needs of the cluster: graphics cards, addresses and certificates, and what is told where one of them is in
//! the way.

use super::project::Project;

const MACHINES: &str = "playbooks/phase3.rhai playbooks/phase3_5.rhai";
const PLAYBOOK: &str = "playbooks/phase4.rhai";

/// A homelab of a scenario whose machines are a cluster.
fn with_a_cluster(scenario: &str) -> Project {
    let project = Project::homelab_itself();
    project.ends(&format!("run --sim --sim-scenario {scenario} --sim-answer-manual -q {MACHINES}"), 0);
    project
}

/// The sentence of the error that ended a run.
fn sentence(told: &str) -> String {
    let lines = told.lines().skip_while(|line| !line.trim_start().starts_with('×'));
    let lines =
        lines.take_while(|line| !line.contains("╭─")).map(|line| line.trim_start().trim_start_matches(['×', '│', ' ']));
    lines.collect::<Vec<_>>().join(" ")
}

/// Runs the steps of the graphics cards in a scenario, and gives the sentence that they end with. A plan finds the same.
fn broken_chain(scenario: &str) -> String {
    let project = with_a_cluster(scenario);
    let steps = format!("--step 4.2.[123]* {PLAYBOOK}");
    let told = sentence(&project.ends(&format!("run --sim --sim-answer-manual {steps}"), 4));
    let again = sentence(&project.ends(&format!("run --sim --sim-answer-manual {steps}"), 4));
    assert_eq!(told, again, "it is told again as long as it is so");
    told
}

#[test]
fn gpu_module_a_driver_that_the_kernel_does_not_take_is_told_with_the_words_of_the_kernel() {
    insta::assert_snapshot!(broken_chain("gpu-module"), @"k3s-gpu-01: the driver is not loaded: modprobe: ERROR: could not insert 'nvidia': Unknown symbol in module, or unknown parameter (see dmesg). nvidia-smi says: NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver. Make sure that the latest NVIDIA driver is installed and running.");
}

#[test]
fn gpu_drift_libraries_of_another_version_are_told_from_a_driver_that_is_not_there() {
    insta::assert_snapshot!(broken_chain("gpu-drift"), @"k3s-gpu-01: the driver and its libraries are of different versions: restart the machine, and leave its packages to this step. nvidia-smi says: Failed to initialize NVML: Driver/library version mismatch NVML library version: 580.105");
}

#[test]
fn s20_a_card_that_has_fallen_off_its_bus_is_told_from_a_driver_that_does_not_run() {
    insta::assert_snapshot!(broken_chain("s20"), @"k3s-gpu-01: the driver runs and finds no card: it has fallen off its bus, so look for Xid in the kernel's messages, and at the cable of the enclosure; restart the machine, and its node where that does not help. nvidia-smi says: No devices were found");
}

#[test]
fn gpu_runtime_a_runtime_that_k3s_has_not_found_is_told_before_the_plugin_is_installed() {
    insta::assert_snapshot!(broken_chain("gpu-runtime"), @"K3s on k3s-gpu-01 has found no runtime of the card: /var/lib/rancher/k3s/agent/etc/containerd/config.toml does not name it. It looks for /usr/bin/nvidia-container-runtime when it starts: is that there, and is it found in the PATH of its unit?");
}

#[test]
fn gpu_class_a_class_that_the_cluster_lacks_is_named_with_who_makes_it() {
    insta::assert_snapshot!(broken_chain("gpu-class"), @r#"the cluster has no RuntimeClass nvidia: K3s brings it along as its part "runtimes", so look whether that is disabled (k3s_disabled in docs/SOFTWARE.md), or somebody has deleted it"#);
}

#[test]
fn gpu_plugin_a_plugin_that_does_not_start_is_told_with_what_its_pods_wait_for() {
    insta::assert_snapshot!(broken_chain("gpu-plugin"), @r#"the device plugin does not run: ImagePullBackOff: Back-off pulling image "nvcr.io/nvidia/k8s-device-plugin:v0.20.0": ErrImagePull: failed to pull and unpack image "nvcr.io/nvidia/k8s-device-plugin:v0.20.0": failed to resolve reference "nvcr.io/nvidia/k8s-device-plugin:v0.20.0": failed to do request: Head "https://nvcr.io/v2/": dial tcp: i/o timeout"#);
}

/// Runs the steps of the core services in a scenario, and gives the sentence that they end with, without the numbers that
/// cert-manager and Kubernetes make up.
fn core_services(project: &Project, code: i32) -> String {
    let told = project.ends(&format!("run --sim --sim-answer-manual --step 4.1* {PLAYBOOK}"), code);
    let numbers = regex::Regex::new(r"-\d{5,}|-[a-z0-9]{5}(_kube-system)\([0-9a-f-]+\)|\b\d+[ms][0-9ms]*( restarting)")
        .expect("a pattern of ours");
    numbers.replace_all(&sentence(&told), "…$1$2").into_owned()
}

#[test]
fn s18_an_address_that_somebody_else_has_is_found_before_metallb_gives_it_away() {
    let project = with_a_cluster("s18");
    insta::assert_snapshot!(core_services(&project, 4), @"the addresses 10.20.11.200-10.20.11.220: 10.20.11.200 answers already, and is no service of the cluster: give it another address, or take it out of the pool metallb in docs/NETWORK.md");
    assert_eq!(project.ends("sim log --mutating --last", 0), "", "nothing was installed");
}

#[test]
fn s19_a_token_that_does_not_see_the_zone_ends_the_trial_at_once_with_what_it_lacks() {
    let project = with_a_cluster("s19");
    insta::assert_snapshot!(core_services(&project, 4), @"wildcard-lab-trial: the token does not see the zone: it needs Zone:Read for it, and the name servers have to be Cloudflare's. Challenge wildcard-lab-trial-1……, lab.codeofficer.com: Found no Zones for domain _acme-challenge.lab.codeofficer.com (neither in the sub-domain nor in the SLD) please make sure your domain-entries in the config are correct and the API key is correctly setup with Zone.read rights.");
}

#[test]
fn s19_a_challenge_that_nobody_sees_is_told_with_all_that_waits_for_it() {
    let project = with_a_cluster("s19-stuck");
    let library = include_str!("../../stdlib/cert_manager.rhai");
    let patience = "wait_until_clear(#{ what: `the certificate ${name}`, timeout: \"10m\" }";
    assert!(library.contains(patience), "it is waited for as long as that");
    project.write("stdlib/cert_manager.rhai", &library.replace(patience, &patience.replace("10m", "5s")));
    insta::assert_snapshot!(core_services(&project, 4), @r#"the certificate wildcard-lab-trial: wildcard-lab-trial: Issuing certificate as Secret does not exist; CertificateRequest wildcard-lab-trial-1: Waiting on certificate issuance from order; Order wildcard-lab-trial-1… is pending; Challenge wildcard-lab-trial-1……, lab.codeofficer.com: Waiting for DNS-01 challenge propagation: DNS record for "lab.codeofficer.com" not yet propagated. The record is written and not seen: ask for its TXT at the name servers of the zone, and see that cert-manager reaches a resolver on the web; Challenge wildcard-lab-trial-1……, lab.codeofficer.com: Waiting for DNS-01 challenge propagation: DNS record for "lab.codeofficer.com" not yet propagated. The record is written and not seen: ask for its TXT at the name servers of the zone, and see that cert-manager reaches a resolver on the web"#);
}

#[test]
fn s21_a_chart_that_cannot_be_had_ends_with_what_helm_said_and_is_left_for_the_next_run() {
    let project = with_a_cluster("s21");
    insta::assert_snapshot!(core_services(&project, 1), @r#"helm.cattle.io/HelmChart:kube-system/metallb: it cannot be installed ├─▶ Error: looks like "https://metallb.github.io/metallb" is not a valid chart repository or cannot be reached: Get "https://metallb.github.io/metallb/index.yaml": dial tcp: i/o timeout ├─▶ CrashLoopBackOff: back-off … restarting failed container=helm pod=helm-install-metallb…_kube-system ╰─▶ what Helm said: Error: looks like "https://metallb.github.io/metallb" is not a valid chart repository or cannot be reached: Get "https://metallb.github.io/metallb/index.yaml": dial tcp: i/o timeout"#);
    let charts = "let k = kubernetes::connect();\nstep(\"9\", \"look\", || {\n\
        let chart = k.find(#{ kind: \"HelmChart\", api_version: \"helm.cattle.io/v1\", namespace: \"kube-system\", name: \"metallb\" });\n\
        info(`it is there, by ${chart.spec.failurePolicy}`);\n});\n";
    project.write("playbooks/look.rhai", charts);
    let told = project.ends("run --sim playbooks/look.rhai", 0);
    assert!(told.contains("it is there, by abort"), "a chart that fails is not taken away: {told}");
}

#[test]
fn a_card_that_is_whole_is_offered_as_often_as_it_is_shared_and_computes() {
    let project = with_a_cluster("plan");
    let steps = format!("--sim --sim-answer-manual --step 4.2.[123]* {PLAYBOOK}");
    let ran = project.ends(&format!("run {steps}"), 0);
    assert!(ran.contains("created batch/Job:nvidia/gpu-trial-"), "{ran}");
    assert!(ran.contains("19 GB of 19 GB are promised to ollama; comfyui; jupyter"), "{ran}");
    assert!(!ran.contains("missed: "), "{ran}");
    let again = project.ends(&format!("run {steps}"), 0);
    assert!(again.contains("\n0 changes\n"), "{again}");
    assert_eq!(project.ends("sim log --mutating --last", 0), "", "a second run tries nothing");

    // Shared by more, the card is tried again; promised to more than it has, it is warned of.
    let tables = project.read("docs/SOFTWARE.md");
    project
        .write("docs/SOFTWARE.md", &tables.replace("| (4)  ", "| (5)  ").replace("(100)   | (10) ", "(100)   | (12) "));
    let more = project.ends(&format!("run {steps}"), 0);
    assert!(more.contains("spec.hard.requests.nvidia.com/gpu: \"3\" → \"4\""), "{more}");
    assert!(more.contains("created batch/Job:nvidia/gpu-trial-"), "{more}");
    assert!(
        more.contains("21 GB of 19 GB are promised") && more.contains("the last one to start will find no memory"),
        "{more}"
    );
}
