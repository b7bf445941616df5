//! Graphics cards, from the slot of a machine to the resources of its node: where the chain is broken, each part says so.

use serde_json::{Value, json};

use super::lab::{FIRST, Lab};
use crate::sim::host::{CardState, PciDevice};

const MODULES: &str = "linux-modules-nvidia-580-server-open-generic";
const PACKAGES: &str = "linux-modules-extra-6.8.0-85-generic linux-modules-nvidia-580-server-open-generic nvidia-headless-no-dkms-580-server-open nvidia-utils-580-server";

/// A server and an agent with a card in its slot.
fn lab() -> Lab {
    let mut lab = Lab::of(&["cp-1", "gpu-1"]);
    lab.install("cp-1", "server", FIRST);
    lab.start("cp-1", "k3s");
    let card = PciDevice {
        address: "0000:01:00.0".into(),
        class: "030000".into(),
        id: "10de:27b2".into(),
        subsystem_id: "10de:181b".into(),
        driver: None,
        iommu_group: None,
    };
    lab.host("gpu-1").with(|machine| machine.pci = vec![card]);
    let agent = "server: https://10.20.11.31:6443\ntoken: agents\nnode-label: [homelab/gpu=true, nvidia.com/gpu.present=true]\n";
    lab.install("gpu-1", "agent", agent);
    lab.start("gpu-1", "k3s-agent");
    lab.pass(1000);
    lab
}

fn driver(lab: &Lab) {
    let (status, text) =
        lab.run("gpu-1", &format!("apt-get update && apt-get install -y {PACKAGES} && modprobe nvidia"));
    assert_eq!(status, 0, "{text}");
}

fn toolkit(lab: &mut Lab) {
    let source = "Types: deb\nURIs: https://nvidia.github.io/libnvidia-container/stable/deb/$(ARCH)\nSuites: /\nSigned-By: /usr/share/keyrings/nvidia.asc\n";
    lab.host("gpu-1").write("/usr/share/keyrings/nvidia.asc", 0o644, "a key");
    lab.host("gpu-1").write("/etc/apt/sources.list.d/nvidia.sources", 0o644, source);
    let (status, text) = lab.run("gpu-1", "apt-get update && apt-get install -y nvidia-container-toolkit");
    assert_eq!(status, 0, "{text}");
}

fn restart(lab: &mut Lab) {
    lab.run("gpu-1", "systemctl --no-block restart k3s-agent");
    lab.pass(4000);
}

fn plugin(lab: &mut Lab, values: Value) {
    let spec = json!({
        "chart": "nvidia-device-plugin", "repo": "https://nvidia.github.io/k8s-device-plugin", "version": "0.20.0",
        "targetNamespace": "nvidia", "createNamespace": true, "values": values,
    });
    let chart = json!({ "metadata": { "generation": 1 }, "spec": spec, "status": {} });
    lab.put("helmcharts.helm.cattle.io", "kube-system", "nvidia-device-plugin", chart);
    lab.pass(4000);
}

fn values() -> Value {
    let config =
        "version: v1\nsharing:\n  timeSlicing:\n    resources:\n      - name: nvidia.com/gpu\n        replicas: 3\n";
    json!({ "runtimeClassName": "nvidia", "nodeSelector": { "homelab/gpu": "true" }, "config": { "map": { "default": config } } })
}

/// A server and an agent with a card that is offered three times.
pub(super) fn with_card() -> Lab {
    let mut lab = lab();
    driver(&lab);
    toolkit(&mut lab);
    restart(&mut lab);
    plugin(&mut lab, values());
    lab
}

fn offered(lab: &Lab) -> Value {
    lab.look("nodes", "", "gpu-1")["status"]["allocatable"]["nvidia.com/gpu"].clone()
}

#[test]
fn a_card_that_is_whole_is_shared_and_adds_vectors() {
    let mut lab = lab();
    driver(&lab);
    let query = "nvidia-smi --query-gpu=name,driver_version,memory.total --format=csv,noheader";
    assert_eq!(lab.run("gpu-1", query), (0, "NVIDIA RTX 4000 Ada Generation, 580.95.05, 20475 MiB\n".into()));
    toolkit(&mut lab);
    let config = "grep -c nvidia /var/lib/rancher/k3s/agent/etc/containerd/config.toml";
    assert_eq!(lab.run("gpu-1", config).1, "0\n", "K3s looks when it starts");
    restart(&mut lab);
    assert_ne!(lab.run("gpu-1", config).1, "0\n");
    plugin(&mut lab, values());
    assert_eq!(offered(&lab), "3");
    let container = json!({ "name": "v", "image": "nvcr.io/nvidia/k8s/cuda-sample:vectoradd-cuda12.5.0", "resources": { "limits": { "nvidia.com/gpu": 1 } } });
    let spec = json!({ "restartPolicy": "Never", "runtimeClassName": "nvidia", "containers": [container] });
    lab.put("pods", "default", "vectors", json!({ "metadata": {}, "spec": spec, "status": { "phase": "Pending" } }));
    lab.pass(1500);
    let pod = lab.look("pods", "default", "vectors");
    assert_eq!(pod["status"]["phase"], "Succeeded", "{pod}");
    assert_eq!(pod["spec"]["nodeName"], "gpu-1");
}

#[test]
fn each_broken_link_of_the_chain_is_told_apart() {
    let mut lab = lab();
    assert_eq!(
        lab.run("gpu-1", "modprobe nvidia").1,
        "modprobe: FATAL: Module nvidia not found in directory /lib/modules/6.8.0-85-generic\n"
    );
    let (_, text) =
        lab.run("gpu-1", &format!("apt-get update && apt-get install -y {MODULES} nvidia-utils-580-server"));
    assert!(text.contains("Setting up"), "{text}");
    let (status, text) = lab.run("gpu-1", "modprobe nvidia");
    assert_eq!((status, text.contains("Unknown symbol")), (1, true), "without the rest of the modules: {text}");
    let (status, text) = lab.run("gpu-1", "nvidia-smi");
    assert_eq!((status, text.contains("couldn't communicate with the NVIDIA driver")), (9, true), "{text}");
    driver(&lab);
    lab.host("gpu-1").twist_card(CardState::Drifted);
    assert!(lab.run("gpu-1", "nvidia-smi").1.contains("Driver/library version mismatch"));
    lab.host("gpu-1").twist_card(CardState::Sound);
    plugin(&mut lab, values());
    let told = lab.told("nvidia", "FailedCreatePodSandBox");
    assert!(told[0].contains("no runtime for \"nvidia\" is configured"), "without the toolkit: {told:?}");
    toolkit(&mut lab);
    restart(&mut lab);
    assert_eq!(offered(&lab), "3");
    let mut without = values();
    without["runtimeClassName"] = json!("");
    lab.alter("helmcharts.helm.cattle.io", "kube-system", "nvidia-device-plugin", |chart| {
        chart["spec"]["values"] = without
    });
    lab.pass(4000);
    assert_eq!(offered(&lab), "0", "a plugin outside of that runtime sees no card");
    lab.alter("helmcharts.helm.cattle.io", "kube-system", "nvidia-device-plugin", |chart| {
        chart["spec"]["values"] = values()
    });
    lab.pass(4000);
    assert_eq!(offered(&lab), "3");
    lab.host("gpu-1").twist_card(CardState::Fallen);
    lab.pass(2000);
    assert_eq!(offered(&lab), "0");
    assert_eq!(lab.run("gpu-1", "nvidia-smi").1, "No devices were found\n");
}
