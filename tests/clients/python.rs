//! Python programs, in the environment that `.ci/run` makes of `requirements.txt`.

use std::ffi::OsStr;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

use super::lab::Lab;
use super::programs::{fed, passed_over, patient, success};

/// Where the environment is, in the repository.
const INTERPRETER: &str = "target/clients/bin/python";

/// Whether the environment is there. Where it is not, says how it is made; with `CI` set that is a failure.
pub fn is_there() -> bool {
    let found = Path::new(env!("CARGO_MANIFEST_DIR")).join(INTERPRETER).is_file();
    if !found {
        passed_over(&format!(
            "no {INTERPRETER}: python3 -m venv target/clients && target/clients/bin/pip install --require-hashes -r tests/clients/requirements.txt"
        ));
    }
    found
}

/// One of the scripts beside this file, ready to start. Nothing of this machine's surroundings counts.
pub fn script(mut command: Command, name: &str) -> Command {
    let path = std::env::var_os("PATH").unwrap_or_default();
    command.env_clear().env("PATH", path).env("LANG", "C.UTF-8");
    // Nothing is left beside the scripts.
    command.arg("-B").arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients/python").join(name));
    command
}

/// The interpreter.
pub fn interpreter() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(INTERPRETER)
}

/// What a script says about a served simulator.
pub fn answers(lab: &Lab, name: &str, arguments: &[&OsStr]) -> Value {
    let mut command = script(patient(interpreter()), name);
    command.args(arguments);
    let told = success(&fed(command, lab.said.to_string().as_bytes()));
    serde_json::from_str(&told).unwrap_or_else(|error| panic!("{name}: {error}: {told}"))
}
