//! Which boot loader a host starts with, and so which file its kernel parameters belong in. Three readings have to
//! agree: the firmware's mode, what `proxmox-boot-tool` keeps, and the entry that the firmware started.

use std::collections::BTreeMap;

use crate::error::{Class, Error, Result};

/// What a host tells of how it boots, each as the host says it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Readings {
    /// Whether it was started by UEFI.
    pub uefi: bool,
    /// What `proxmox-boot-tool status` said.
    pub tool: String,
    /// How that ended; 127 where there is no such program.
    pub tool_exit: i32,
    /// What `efibootmgr -v` said.
    pub efi: String,
    /// What `mokutil --sb-state` said.
    pub secure_boot: String,
    /// `/proc/cmdline`.
    pub running: String,
    /// The kernel that runs.
    pub kernel: String,
    /// `/etc/kernel/cmdline`.
    pub cmdline_file: Option<String>,
    /// `/etc/default/grub`.
    pub grub_file: Option<String>,
    /// What GRUB reads after that, by path.
    pub grub_files: BTreeMap<String, String>,
}

/// A boot loader.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Loader {
    /// systemd-boot, which Proxmox feeds from `/etc/kernel/cmdline`.
    SystemdBoot,
    /// GRUB.
    Grub,
}

impl Loader {
    /// What people call it.
    pub fn name(self) -> &'static str {
        match self {
            Loader::SystemdBoot => "systemd-boot",
            Loader::Grub => "GRUB",
        }
    }

    /// The file that kernel parameters are written to.
    pub fn file(self) -> &'static str {
        match self {
            Loader::SystemdBoot => "/etc/kernel/cmdline",
            Loader::Grub => "/etc/default/grub",
        }
    }

    /// The command that carries the file over to what boots.
    pub fn apply(self) -> &'static str {
        match self {
            Loader::SystemdBoot => "proxmox-boot-tool refresh",
            Loader::Grub => "update-grub",
        }
    }
}

/// How a host boots.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Boot {
    /// What it starts with.
    pub loader: Loader,
    /// Whether `proxmox-boot-tool` keeps its boot partitions.
    pub has_tool: bool,
    /// Boot partitions that it is to keep and that are not there.
    pub stale: Vec<String>,
    /// Whether the host was started by UEFI.
    pub uefi: bool,
    /// Whether Secure Boot is on, where that is known.
    pub secure_boot: Option<bool>,
}

/// What the entry that the firmware started leads to.
fn current_entry(efi: &str) -> Option<&str> {
    let number = efi.lines().find_map(|line| line.trim().strip_prefix("BootCurrent:"))?.trim();
    efi.lines().find(|line| line.strip_prefix("Boot").is_some_and(|rest| rest.starts_with(number)))
}

/// The kinds that `proxmox-boot-tool` has its partitions configured with.
fn kinds(tool: &str) -> (bool, bool) {
    let configured =
        || tool.lines().filter_map(|line| line.split_once(" is configured with: ")).map(|(_, kinds)| kinds);
    (configured().any(|kinds| kinds.contains("uefi (")), configured().any(|kinds| kinds.contains("grub (")))
}

impl Readings {
    /// What they come to, or that they do not agree.
    pub fn judge(&self) -> Result<Boot> {
        let entry = current_entry(&self.efi).map(str::to_lowercase);
        let starts =
            |programs: &[&str]| entry.as_ref().is_some_and(|entry| programs.iter().any(|one| entry.contains(one)));
        let (systemd_boot, grub) =
            (starts(&["systemd-bootx64.efi", "systemd-bootaa64.efi"]), starts(&["shimx64.efi", "grubx64.efi"]));
        // What a legacy BIOS starts is GRUB: systemd-boot needs UEFI.
        let grub = if self.uefi { grub } else { true };
        let systemd_boot = self.uefi && systemd_boot;
        let has_tool = self.tool_exit == 0;
        let loader = match (has_tool, kinds(&self.tool), systemd_boot, grub) {
            (true, (true, false), true, false) => Loader::SystemdBoot,
            (true, (false, true), false, true) => Loader::Grub,
            (false, _, false, true) if self.tool_exit == 2 || self.tool_exit == 127 => Loader::Grub,
            _ => return Err(self.ambiguous()),
        };
        Ok(Boot { loader, has_tool, stale: self.stale(), uefi: self.uefi, secure_boot: self.has_secure_boot() })
    }

    fn ambiguous(&self) -> Error {
        let firmware = if self.uefi { "UEFI" } else { "legacy BIOS" };
        let said = |text: &str| match text.trim() {
            "" => "nothing".to_owned(),
            text => text.lines().map(str::trim).collect::<Vec<_>>().join("; "),
        };
        let started = match current_entry(&self.efi) {
            Some(entry) => said(entry),
            None => said(&self.efi),
        };
        Error::new(
            Class::Blocked,
            "boot loader ambiguous: it cannot be told which file the kernel's parameters belong in",
        )
        .cause(format!("firmware: {firmware}"))
        .cause(format!("proxmox-boot-tool status (exit {}): {}", self.tool_exit, said(&self.tool)))
        .cause(format!("efibootmgr -v: {started}"))
        .help(
            "nothing was written; set the boot partitions up for the one loader that starts (`proxmox-boot-tool init`, \
                 then `proxmox-boot-tool clean`), so that the three readings agree",
        )
    }

    /// Partitions of `/etc/kernel/proxmox-boot-uuids` that are gone.
    fn stale(&self) -> Vec<String> {
        let gone = self.tool.lines().filter(|line| line.contains("does not exist - clean"));
        gone.filter_map(|line| line.split("/dev/disk/by-uuid/").nth(1)?.split_whitespace().next())
            .map(str::to_owned)
            .collect()
    }

    fn has_secure_boot(&self) -> Option<bool> {
        match self.secure_boot.lines().next().map(str::trim) {
            _ if !self.uefi => Some(false),
            Some("SecureBoot enabled") => Some(true),
            Some("SecureBoot disabled") => Some(false),
            _ => None,
        }
    }

    /// Parameters that stand in the file of the other loader, where nobody reads them.
    pub fn misplaced(&self, loader: Loader, tokens: &[String]) -> Option<(&'static str, Vec<String>)> {
        let (other, text) = match loader {
            Loader::SystemdBoot => (Loader::Grub, self.grub_file.as_deref().unwrap_or_default()),
            Loader::Grub => (Loader::SystemdBoot, self.cmdline_file.as_deref().unwrap_or_default()),
        };
        let words: Vec<&str> = text
            .lines()
            .filter(|line| !line.trim_start().starts_with('#'))
            .flat_map(|line| line.split([' ', '"', '\'', '\t']))
            .collect();
        let found: Vec<String> = tokens.iter().filter(|token| words.contains(&token.as_str())).cloned().collect();
        (!found.is_empty()).then_some((other.file(), found))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SYSTEMD_BOOT: &str = "BootCurrent: 0001\nTimeout: 1 seconds\nBootOrder: 0001,0002\n\
        Boot0001* Linux Boot Manager\tHD(2,GPT,5a2c,0x800,0x200000)/File(\\EFI\\SYSTEMD\\SYSTEMD-BOOTX64.EFI)\n\
        Boot0002* UEFI OS\tHD(2,GPT,5a2c,0x800,0x200000)/File(\\EFI\\BOOT\\BOOTX64.EFI)\n";
    const SHIM: &str =
        "BootCurrent: 0003\nBoot0003* proxmox\tHD(2,GPT,5a2c,0x800,0x200000)/\\EFI\\proxmox\\shimx64.efi\n";

    fn readings(uefi: bool, tool: &str, tool_exit: i32, efi: &str) -> Readings {
        Readings { uefi, tool: tool.into(), tool_exit, efi: efi.into(), ..Readings::default() }
    }

    fn loader(readings: &Readings) -> Loader {
        readings.judge().expect("they agree").loader
    }

    const UEFI: &str =
        "System currently booted with uefi\n4B23-1A2C is configured with: uefi (versions: 6.17.2-1-pve, 7.0.2-2-pve)\n";
    const GRUB: &str =
        "System currently booted with uefi\n4B23-1A2C is configured with: grub (versions: 7.0.2-2-pve)\n";

    #[test]
    fn a_node_on_zfs_without_secure_boot_starts_with_systemd_boot() {
        assert_eq!(loader(&readings(true, UEFI, 0, SYSTEMD_BOOT)), Loader::SystemdBoot);
    }

    #[test]
    fn a_node_on_zfs_with_secure_boot_starts_with_grub() {
        let mut readings = readings(true, GRUB, 0, SHIM);
        readings.secure_boot = "SecureBoot enabled\n".into();
        let boot = readings.judge().expect("they agree");
        assert_eq!((boot.loader, boot.has_tool, boot.secure_boot), (Loader::Grub, true, Some(true)));
    }

    #[test]
    fn a_node_on_zfs_with_a_legacy_bios_starts_with_grub() {
        let tool = GRUB.replace("with uefi\n", "with legacy bios\n");
        assert_eq!(loader(&readings(false, &tool, 0, "EFI variables are not supported on this system.")), Loader::Grub);
    }

    #[test]
    fn a_node_that_the_tool_does_not_keep_starts_with_grub() {
        let none = "E: /etc/kernel/proxmox-boot-uuids does not exist.";
        for readings in [readings(true, none, 2, SHIM), readings(false, none, 2, ""), readings(true, "", 127, SHIM)] {
            let boot = readings.judge().expect("they agree");
            assert_eq!((boot.loader, boot.has_tool), (Loader::Grub, false));
        }
    }

    #[test]
    fn readings_that_do_not_agree_are_all_shown() {
        let both = "4B23-1A2C is configured with: uefi (versions: 7.0.2-2-pve), grub (versions: 7.0.2-2-pve)\n";
        let two = format!("{UEFI}7C91-0F3D is configured with: grub (versions: 7.0.2-2-pve)\n");
        let none = "E: /etc/kernel/proxmox-boot-uuids does not exist.";
        let fallback = SYSTEMD_BOOT.replace("BootCurrent: 0001", "BootCurrent: 0002");
        for (tool, exit, efi) in [
            (both, 0, SYSTEMD_BOOT),
            (two.as_str(), 0, SHIM),
            (UEFI, 0, SHIM),
            (GRUB, 0, SYSTEMD_BOOT),
            (none, 2, SYSTEMD_BOOT),
            (UEFI, 0, fallback.as_str()),
            (UEFI, 0, "sh: efibootmgr: not found"),
            (UEFI, 1, SYSTEMD_BOOT),
        ] {
            let error = readings(true, tool, exit, efi).judge().expect_err("they do not agree");
            assert_eq!(error.class(), Class::Blocked);
            let told = error.to_string();
            for reading in ["firmware: UEFI", "proxmox-boot-tool status (exit ", "efibootmgr -v: "] {
                assert!(told.contains(reading), "{told}");
            }
        }
    }

    #[test]
    fn a_boot_partition_that_is_gone_is_named() {
        let tool = format!(
            "{UEFI}WARN: /dev/disk/by-uuid/7C91-0F3D does not exist - clean '/etc/kernel/proxmox-boot-uuids'! - skipping\n"
        );
        assert_eq!(readings(true, &tool, 0, SYSTEMD_BOOT).judge().expect("they agree").stale, ["7C91-0F3D"]);
    }

    #[test]
    fn parameters_that_nobody_reads_are_found() {
        let mut readings = readings(true, UEFI, 0, SYSTEMD_BOOT);
        readings.grub_file = Some("# iommu=pt\nGRUB_CMDLINE_LINUX_DEFAULT=\"quiet intel_iommu=on\"\n".into());
        let tokens = ["intel_iommu=on".to_owned(), "iommu=pt".to_owned()];
        assert_eq!(
            readings.misplaced(Loader::SystemdBoot, &tokens),
            Some(("/etc/default/grub", vec!["intel_iommu=on".to_owned()]))
        );
        assert_eq!(readings.misplaced(Loader::Grub, &tokens), None);
    }
}
