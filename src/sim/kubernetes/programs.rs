//! What containers do when they begin, by their images.

use serde_json::Value;

use super::cluster::Cluster;
use super::controllers::{items, text};
use super::images::{self, Does};
use super::kubelet::Here;

/// What a container does.
pub(super) enum Program {
    /// It runs a command.
    Command(Vec<String>),
    /// It stays, and has printed this.
    Stays(String),
    /// It has ended with this status, and has printed this.
    Ends(i32, String),
}

/// The words of a field of a container.
fn words(container: &Value, field: &str) -> Vec<String> {
    items(container, &format!("/{field}")).iter().filter_map(|word| word.as_str().map(str::to_owned)).collect()
}

impl Cluster {
    /// What a container does that begins now.
    pub(super) fn program(&mut self, here: &Here<'_>, container: &Value) -> Program {
        let does = match images::look(text(container, "/image")) {
            Ok(does) => does,
            Err(why) => return Program::Ends(128, why),
        };
        match does {
            Does::Commands => match [words(container, "command"), words(container, "args")].concat() {
                command if command.is_empty() => Program::Ends(0, String::new()),
                command => Program::Command(command),
            },
            Does::Stays => Program::Stays(String::new()),
            Does::Serves => match words(container, "command") {
                command if command.is_empty() => Program::Stays(String::new()),
                command => Program::Command([command, words(container, "args")].concat()),
            },
            Does::Computes => self.compute(here.pod, container),
            Does::Ends => Program::Ends(0, String::new()),
            Does::Helm => {
                let (exit, log) = self.run_helm(here.pod, container, here.now);
                Program::Ends(exit, log)
            }
            Does::Vectors => self.add_vectors(here),
            Does::DevicePlugin => self.offer_devices(here),
        }
    }

    /// What computes on a card ends at once where it finds none, unless it is told to do without.
    fn compute(&self, pod: &Value, container: &Value) -> Program {
        let told = self.environment(pod, container).unwrap_or_default();
        let does_without = told.get("CLI_ARGS").is_some_and(|told| told.split_whitespace().any(|word| word == "--cpu"));
        if self.has_card(pod) || does_without {
            return Program::Stays(String::new());
        }
        let why = "RuntimeError: Found no NVIDIA driver on your system. Please check that you have an NVIDIA GPU and installed a driver from http://www.nvidia.com/Download/index.aspx\n";
        Program::Ends(1, why.to_owned())
    }

    fn add_vectors(&self, here: &Here<'_>) -> Program {
        let first = "[Vector addition of 50000 elements]\n";
        if !self.sees_card(here.pod) {
            let why = "Failed to allocate device vector A (error code CUDA driver version is insufficient for CUDA runtime version)!\n";
            return Program::Ends(1, format!("{first}{why}"));
        }
        let rest = "Copy input data from the host memory to the CUDA device\nCUDA kernel launch with 196 blocks of 256 threads\nCopy output data from the CUDA device to the host memory\nTest PASSED\nDone\n";
        Program::Ends(0, format!("{first}{rest}"))
    }

    /// What the device plugin says. What it offers, its controller tells.
    fn offer_devices(&self, here: &Here<'_>) -> Program {
        let begun = "I0101 00:00:00.000000       1 main.go:235] \"Starting NVIDIA Device Plugin\"\n";
        if !self.sees_card(here.pod) {
            let why = "E0101 00:00:00.000000       1 factory.go:112] Incompatible strategy detected auto\nE0101 00:00:00.000000       1 factory.go:113] If this is a GPU node, did you configure the NVIDIA Container Toolkit?\nI0101 00:00:00.000000       1 main.go:381] No devices found. Waiting indefinitely.\n";
            return Program::Stays(format!("{begun}{why}"));
        }
        let found = "I0101 00:00:00.000000       1 server.go:197] \"Starting GRPC server for 'nvidia.com/gpu'\"\nI0101 00:00:00.000000       1 server.go:148] \"Registered device plugin for 'nvidia.com/gpu' with Kubelet\"\n";
        Program::Stays(format!("{begun}{found}"))
    }
}
