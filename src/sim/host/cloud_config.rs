//! The last stage of cloud-init: what the drive asks for beyond names, users and network is done in the booted system.

use serde_json::{Value, json};

use super::exec::run_shared;
use super::machine::SharedMachine;
use super::seed::CloudInit;

/// Where it says what went wrong. A boot forgets it.
pub const RESULT: &str = "/run/cloud-init/result.json";

/// What its commands have said.
const OUTPUT: &str = "/var/log/cloud-init-output.log";

/// What has to stand at the beginning of what it reads.
const HEADER: &str = "#cloud-config";

/// What came of it.
#[derive(Default)]
struct Told {
    output: String,
    errors: Vec<String>,
    warnings: Vec<String>,
}

/// Carries out vendor data: lists are fetched, packages installed, commands run, in that order.
pub fn finish(machine: &SharedMachine, settings: &CloudInit) {
    let mut told = Told::default();
    match parse(&settings.vendor) {
        Ok(config) => carry_out(machine, settings, &config, &mut told),
        Err(why) => told.warnings.push(why),
    }
    let mut machine = machine.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let output = machine.fs.text(OUTPUT) + &*told.output;
    machine.write_file(OUTPUT, &output);
    machine.make_directory("/run/cloud-init");
    machine.write_file(RESULT, &json!({ "errors": told.errors, "warnings": told.warnings }).to_string());
}

fn parse(text: &str) -> Result<Value, String> {
    if text.is_empty() {
        return Ok(Value::Null);
    }
    if text.lines().next() != Some(HEADER) {
        let start: String = text.chars().take(24).collect();
        return Err(format!("Unhandled non-multipart (text/x-not-multipart) vendordata: 'b{start:?}...'"));
    }
    serde_saphyr::from_str(text).map_err(|error| format!("Failed loading yaml blob. {error}"))
}

fn carry_out(machine: &SharedMachine, settings: &CloudInit, config: &Value, told: &mut Told) {
    const KNOWN: [&str; 4] = ["package_update", "package_upgrade", "packages", "runcmd"];
    for key in config.as_object().into_iter().flat_map(|map| map.keys()).filter(|key| !KNOWN.contains(&key.as_str())) {
        told.warnings.push(format!("homelab sim: not simulated: cloud-config key {key}"));
    }
    let is_set = |key: &str| config[key] == Value::Bool(true);
    let packages: Vec<&str> = config["packages"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    let upgrades = settings.upgrade || is_set("package_upgrade");
    let run = |words: &[&str], told: &mut Told| {
        let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
        let ended = run_shared(machine, "root", &words, b"");
        told.output.push_str(&String::from_utf8_lossy(&ended.stdout));
        told.output.push_str(&String::from_utf8_lossy(&ended.stderr));
        ended.exit
    };
    if (is_set("package_update") || upgrades || !packages.is_empty()) && run(&["apt-get", "update"], told) != 0 {
        told.errors.push("('package_update_upgrade_install', ProcessExecutionError('apt-get update'))".to_owned());
    }
    if upgrades && run(&["apt-get", "-y", "dist-upgrade"], told) != 0 {
        told.errors
            .push("('package_update_upgrade_install', ProcessExecutionError('apt-get dist-upgrade'))".to_owned());
    }
    if !packages.is_empty() {
        let words = [&["apt-get", "-y", "install"], packages.as_slice()].concat();
        if run(&words, told) != 0 {
            let failed = format!(
                "Failed to install the following packages: {packages:?}. See associated package manager logs for more details"
            );
            told.errors.push(format!("('package_update_upgrade_install', PackageInstallerError({failed:?}))"));
        }
    }
    // All of them make one script, which goes on after a command that fails; the last one is its end.
    let mut last = 0;
    for command in config["runcmd"].as_array().into_iter().flatten() {
        last = match command {
            Value::String(line) => run(&["sh", "-c", line], told),
            Value::Array(words) => run(&words.iter().filter_map(Value::as_str).collect::<Vec<_>>(), told),
            _ => 0,
        };
    }
    if last != 0 {
        told.errors
            .push("('scripts_user', RuntimeError('Runparts: 1 failures (runcmd) in 1 attempted commands'))".to_owned());
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Hardware, Machine};
    use super::*;

    fn after(vendor: &str) -> SharedMachine {
        let settings = CloudInit { user: "ubuntu".into(), vendor: vendor.into(), ..CloudInit::default() };
        let machine = Machine::published(settings.clone(), &Hardware::default());
        let shared = SharedMachine::new(std::sync::Mutex::new(machine));
        finish(&shared, &settings);
        shared
    }

    fn says(machine: &SharedMachine, command: &str) -> (i32, String) {
        let words = ["sh", "-c", command].map(str::to_owned);
        let ended = run_shared(machine, "root", &words, b"");
        (ended.exit, String::from_utf8_lossy(&ended.stdout).trim().to_owned())
    }

    #[test]
    fn vendor_data_installs_packages_and_runs_commands() {
        let machine = after(
            "#cloud-config\npackage_update: true\npackages: [qemu-guest-agent]\nruncmd: [[systemctl, start, qemu-guest-agent], echo hello > /root/said]\n",
        );
        assert_eq!(says(&machine, "systemctl is-active qemu-guest-agent"), (0, "active".to_owned()));
        assert_eq!(says(&machine, "cat /root/said"), (0, "hello".to_owned()));
        assert_eq!(says(&machine, "cloud-init status --wait").0, 0);
        assert!(says(&machine, "cat /var/log/cloud-init-output.log").1.contains("Setting up qemu-guest-agent"));
    }

    #[test]
    fn an_image_as_published_has_no_agent_and_installing_it_does_not_start_it() {
        assert_eq!(says(&after(""), "dpkg-query -W qemu-guest-agent").0, 1);
        let machine = after("#cloud-config\npackages: [qemu-guest-agent]\n");
        assert_eq!(says(&machine, "systemctl is-active qemu-guest-agent"), (3, "inactive".to_owned()));
        machine.lock().unwrap().reboot();
        assert_eq!(says(&machine, "systemctl is-active qemu-guest-agent"), (0, "active".to_owned()));
    }

    #[test]
    fn what_does_not_begin_as_it_must_is_warned_of_and_left_alone() {
        let machine = after("packages: [qemu-guest-agent]\n");
        let (code, said) = says(&machine, "cloud-init status --format=json");
        assert!(code == 2 && said.contains("Unhandled non-multipart"), "{said}");
        assert_eq!(says(&machine, "dpkg-query -W qemu-guest-agent").0, 1);
    }

    #[test]
    fn what_fails_is_an_error() {
        let machine = after("#cloud-config\npackages: [no-such-package]\nruncmd: ['false']\n");
        let (code, said) = says(&machine, "cloud-init status --format=json");
        assert!(code == 1 && said.contains("no-such-package") && said.contains("runcmd"), "{said}");
    }

    #[test]
    fn a_cleaned_system_takes_its_next_boot_for_the_first() {
        let machine = after("");
        let id = says(&machine, "cat /etc/machine-id").1;
        assert_eq!(says(&machine, "cloud-init clean --logs --seed --machine-id").0, 0);
        assert_eq!(says(&machine, "cat /etc/machine-id").1, "uninitialized");
        assert_eq!(says(&machine, "ls /var/lib/cloud/instance").0, 2);
        assert!(!machine.lock().unwrap().is_set_up());
        machine.lock().unwrap().reboot();
        let fresh = says(&machine, "cat /etc/machine-id").1;
        assert!(fresh.len() == 32 && fresh != id, "{fresh}");
    }
}
