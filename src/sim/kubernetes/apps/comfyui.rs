//! ComfyUI, as far as it tells what it computes on.

use serde_json::{Value, json};

use super::{Answer, App, Ask, Site, cards};

pub(super) const APP: App = App { repository: "docker.io/yanwk/comfyui-boot", answer, run: None };

/// What it takes of the memory of the card before it is asked for anything.
const IDLE: u64 = 300 << 20;

fn answer(site: &mut Site<'_>, ask: &Ask) -> Answer {
    match (ask.method.as_str(), ask.path.as_str()) {
        ("GET", "/system_stats") => Answer::json(200, &stats(site, ask)),
        _ => Answer::not_simulated("ComfyUI", ask),
    }
}

fn stats(site: &mut Site<'_>, ask: &Ask) -> Value {
    let told = site.cluster.environment(site.pod, site.container).unwrap_or_default();
    let own = told.get("CLI_ARGS").map(String::as_str).unwrap_or_default();
    let argv: Vec<&str> =
        ["./ComfyUI/main.py", "--listen", "--port", "8188"].into_iter().chain(own.split_whitespace()).collect();
    let device = if site.cluster.has_card(site.pod) && !argv.contains(&"--cpu") {
        site.state[cards::KEPT] = json!([cards::kept_by(site.pod, IDLE)]);
        let free = site.cluster.free_of_card(site.pod, ask.now).saturating_sub(IDLE);
        let name = format!("cuda:0 {} : cudaMallocAsync", cards::NAME);
        json!({
            "name": name, "type": "cuda", "index": 0, "vram_total": cards::MEMORY, "vram_free": free,
            "torch_vram_total": 0, "torch_vram_free": 0,
        })
    } else {
        json!({ "name": "cpu", "type": "cpu", "index": null, "vram_total": 0, "vram_free": 0, "torch_vram_total": 0, "torch_vram_free": 0 })
    };
    json!({
        "system": { "os": "posix", "comfyui_version": "0.3.66", "pytorch_version": "2.9.0+cu128", "embedded_python": false, "argv": argv },
        "devices": [device],
    })
}
