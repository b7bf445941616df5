//! Boot loaders: what is copied to where the firmware reads, and which entry a boot takes.

use super::Esp;
use crate::sim::host::machine::Machine;

/// The table by which firmware tells of its IOMMU, as far as anybody looks at it.
pub(super) const DMAR: &str = "DMAR";

/// The partitions that `proxmox-boot-tool` looks after.
pub const ESP_LIST: &str = "/etc/kernel/proxmox-boot-uuids";

/// What systemd-boot is configured by on a partition; where it is, the partition is one of it.
const SYSTEMD_BOOT: &str = "loader/loader.conf";
/// The same of GRUB.
const GRUB: &str = "grub/grub.cfg";

/// What a boot loader starts.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Entry {
    /// What the kernel finds in `/proc/cmdline`.
    pub cmdline: String,
    /// What modprobe is told inside the initramfs; `None` where there is none.
    pub initramfs: Option<String>,
    /// The kernel.
    pub kernel: Option<String>,
}

/// What a program that works on the boot loader says, and how it ends.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Said {
    /// Standard output.
    pub out: Vec<String>,
    /// Standard error.
    pub err: Vec<String>,
    /// Its exit status.
    pub status: i32,
}

impl Said {
    fn failed(mut self, error: impl Into<String>) -> Self {
        self.err.push(error.into());
        self.status = 1;
        self
    }

    /// Goes on with what something else says.
    pub fn and(mut self, other: Said) -> Self {
        self.out.extend(other.out);
        self.err.extend(other.err);
        self.status = if self.status == 0 { other.status } else { self.status };
        self
    }
}

/// The numbers of a version, for comparing.
fn numbers(version: &str) -> Vec<u64> {
    version.split(|c: char| !c.is_ascii_digit()).filter_map(|part| part.parse().ok()).collect()
}

impl Esp {
    /// Whether systemd-boot, and whether GRUB is configured on it.
    fn loaders(&self) -> (bool, bool) {
        (self.files.contains_key(SYSTEMD_BOOT), self.files.contains_key(GRUB))
    }

    /// The kernels that are on it, oldest first.
    fn kernels(&self, below: &str) -> Vec<String> {
        let mut kernels: Vec<String> = self
            .files
            .keys()
            .filter_map(|path| path.strip_prefix(below)?.rsplit('/').next()?.strip_prefix("vmlinuz-"))
            .map(str::to_owned)
            .collect();
        kernels.sort_by_key(|kernel| numbers(kernel));
        kernels
    }

    /// As `proxmox-boot-tool status` describes it.
    fn described(&self) -> String {
        let (systemd_boot, grub) = self.loaders();
        let kinds = [(systemd_boot, "uefi", "EFI/proxmox/"), (grub, "grub", "vmlinuz-")];
        let kinds = kinds.iter().filter(|(there, ..)| *there).map(|(_, kind, below)| {
            let kernels = if *kind == "uefi" { self.kernels(below) } else { self.grub_kernels() };
            format!("{kind} (versions: {})", kernels.join(", "))
        });
        kinds.collect::<Vec<_>>().join(", ")
    }

    fn grub_kernels(&self) -> Vec<String> {
        let mut kernels: Vec<String> =
            self.files.keys().filter_map(|path| path.strip_prefix("vmlinuz-")).map(str::to_owned).collect();
        kernels.sort_by_key(|kernel| numbers(kernel));
        kernels
    }
}

impl Machine {
    /// The kernels that are installed, oldest first.
    pub fn kernels(&self) -> Vec<String> {
        let names = self.files_in("/boot", "");
        let mut kernels: Vec<String> =
            names.iter().filter_map(|path| path.strip_prefix("/boot/vmlinuz-")).map(str::to_owned).collect();
        kernels.sort_by_key(|kernel| numbers(kernel));
        kernels
    }

    /// Packs an initramfs: what modprobe is told goes into it.
    pub fn make_initramfs(&mut self, kernel: &str) {
        let text = self.modprobe_text();
        self.write_file(&format!("/boot/initrd.img-{kernel}"), &text);
    }

    /// `proxmox-boot-tool status`.
    pub fn boot_tool_status(&self) -> Said {
        let mut said = Said::default();
        let Some(uuids) = self.esp_list() else {
            said.err.push(format!("E: {ESP_LIST} does not exist."));
            said.status = 2;
            return said;
        };
        let mode = if self.board.firmware.uefi { "uefi" } else { "legacy bios" };
        said.out.push(format!("System currently booted with {mode}"));
        for uuid in uuids {
            match self.board.esps.iter().find(|esp| esp.uuid == uuid && !esp.gone) {
                Some(esp) => said.out.push(format!("{uuid} is configured with: {}", esp.described())),
                None => said.err.push(missing(&uuid)),
            }
        }
        said
    }

    fn esp_list(&self) -> Option<Vec<String>> {
        let there = self.fs.exists(ESP_LIST);
        there.then(|| self.fs.text(ESP_LIST).split_whitespace().map(str::to_owned).collect())
    }

    /// Copies kernels and configuration to the partitions.
    pub fn refresh_esps(&mut self) -> Said {
        let mut said = Said::default();
        let Some(uuids) = self.esp_list() else {
            said.out.push(format!("No {ESP_LIST} found, skipping ESP sync."));
            return said;
        };
        for uuid in uuids {
            let Some(at) = self.board.esps.iter().position(|esp| esp.uuid == uuid && !esp.gone) else {
                said.err.push(missing(&uuid));
                continue;
            };
            said.out.push(format!("Copying and configuring kernels on /dev/disk/by-uuid/{uuid}"));
            let (systemd_boot, grub) = self.board.esps[at].loaders();
            for (there, is_grub) in [(systemd_boot, false), (grub, true)] {
                if there {
                    said = said.and(self.copy_kernels(at, is_grub));
                }
            }
            if said.status != 0 {
                return said;
            }
        }
        self.note_change();
        said
    }

    fn copy_kernels(&mut self, at: usize, is_grub: bool) -> Said {
        let mut said = Said::default();
        let uuid = self.board.esps[at].uuid.clone();
        let options = self.fs.text("/etc/kernel/cmdline").trim().to_owned();
        for (index, kernel) in self.kernels().into_iter().enumerate() {
            let (dir, what) = if is_grub {
                (String::new(), format!("\tCopying kernel {kernel}"))
            } else {
                (format!("EFI/proxmox/{kernel}/"), format!("\tCopying kernel and creating boot-entry for {kernel}"))
            };
            said.out.push(what);
            if index >= self.board.esps[at].room {
                let file = format!("/var/tmp/espmounts/{uuid}/{dir}initrd.img-{kernel}");
                return said.failed(format!("cp: error writing '{file}': No space left on device"));
            }
            let initrd = self.fs.text(&format!("/boot/initrd.img-{kernel}"));
            let files = &mut self.board.esps[at].files;
            files.insert(format!("{dir}vmlinuz-{kernel}"), String::new());
            files.insert(format!("{dir}initrd.img-{kernel}"), initrd.to_string());
            if !is_grub {
                let entry = format!(
                    "title   Proxmox Virtual Environment\nversion {kernel}\noptions {options}\nlinux   /EFI/proxmox/{kernel}/vmlinuz-{kernel}\ninitrd  /EFI/proxmox/{kernel}/initrd.img-{kernel}\n"
                );
                files.insert(format!("loader/entries/proxmox-{kernel}.conf"), entry);
            }
        }
        if is_grub {
            let (config, told) = self.grub_config();
            self.board.esps[at].files.insert(GRUB.to_owned(), config);
            said = said.and(told);
        }
        said
    }

    /// `grub-mkconfig`: the configuration, and what is said on the way.
    fn grub_config(&self) -> (String, Said) {
        let mut said = Said::default();
        said.err.push("Generating grub configuration file ...".to_owned());
        let mut text = String::new();
        let (all, normal) = (self.grub_setting("GRUB_CMDLINE_LINUX"), self.grub_setting("GRUB_CMDLINE_LINUX_DEFAULT"));
        let root =
            if self.fs.exists("/etc/kernel/cmdline") { "root=ZFS=/ROOT/pve-1" } else { "root=/dev/mapper/pve-root" };
        for kernel in self.kernels().into_iter().rev() {
            said.err.push(format!("Found linux image: /boot/vmlinuz-{kernel}"));
            said.err.push(format!("Found initrd image: /boot/initrd.img-{kernel}"));
            let words = format!("{root} ro {all} {normal}");
            let words = words.split_whitespace().collect::<Vec<_>>().join(" ");
            text.push_str(&format!(
                "menuentry 'Proxmox VE GNU/Linux, with Linux {kernel}' {{\n\tlinux\t/vmlinuz-{kernel} {words}\n\tinitrd\t/initrd.img-{kernel}\n}}\n"
            ));
        }
        said.err.push("done".to_owned());
        (text, said)
    }

    /// A setting of `/etc/default/grub`, and of what is read after it: a small part of what a shell would make of them.
    fn grub_setting(&self, name: &str) -> String {
        let mut files = vec!["/etc/default/grub".to_owned()];
        files.extend(self.files_in("/etc/default/grub.d", ".cfg"));
        let mut value = String::new();
        for line in files.iter().flat_map(|path| self.config_lines(path)) {
            let Some(said) = line.strip_prefix(name).and_then(|rest| rest.strip_prefix('=')) else { continue };
            let bare = said.trim_matches(|c| c == '"' || c == '\'');
            value = bare.replace(&format!("${{{name}}}"), &value).replace(&format!("${name}"), &value);
        }
        value
    }

    /// `update-grub`.
    pub fn update_grub(&mut self) -> Said {
        let (config, said) = self.grub_config();
        self.write_file("/boot/grub/grub.cfg", &config);
        if self.esp_list().is_none() {
            return said;
        }
        let warning = Said {
            err: vec![
                "W: This system is booted via proxmox-boot-tool:".to_owned(),
                "W: Executing 'update-grub' directly does not update the correct configs!".to_owned(),
                "W: Running: 'proxmox-boot-tool refresh'".to_owned(),
            ],
            ..Said::default()
        };
        let refreshed = self.refresh_esps();
        warning.and(refreshed).and(said)
    }

    /// What the firmware starts, and what that reads.
    pub(in crate::sim::host) fn boot_entry(&self) -> Option<Entry> {
        let is_grub = !self.board.firmware.uefi || !self.board.firmware.loader.contains("systemd");
        let with = |esp: &&Esp| !esp.gone && if is_grub { esp.loaders().1 } else { esp.loaders().0 };
        match self.board.esps.iter().find(with) {
            Some(esp) if is_grub => grub_entry(esp.files.get(GRUB)?, |initrd| esp.files.get(initrd).cloned()),
            Some(esp) => systemd_boot_entry(esp),
            None => {
                let config = self.fs.text("/boot/grub/grub.cfg");
                let initrd = |name: &str| {
                    let path = format!("/boot/{name}");
                    self.fs.exists(&path).then(|| self.fs.text(&path).to_string())
                };
                grub_entry(&config, initrd)
            }
        }
    }

    /// Sets the partitions up, each for one loader, as the installer does it.
    pub(in crate::sim::host) fn format_esps(&mut self) {
        let is_grub = !self.board.firmware.uefi || !self.board.firmware.loader.contains("systemd");
        for esp in &mut self.board.esps {
            // One that somebody set up for both keeps what it has.
            if esp.files.is_empty() {
                let file = if is_grub { GRUB } else { SYSTEMD_BOOT };
                esp.files.insert(file.to_owned(), String::new());
            }
        }
    }
}

fn missing(uuid: &str) -> String {
    format!("WARN: /dev/disk/by-uuid/{uuid} does not exist - clean '{ESP_LIST}'! - skipping")
}

/// The newest entry of systemd-boot.
fn systemd_boot_entry(esp: &Esp) -> Option<Entry> {
    let kernel = esp
        .files
        .keys()
        .filter_map(|path| path.strip_prefix("loader/entries/proxmox-")?.strip_suffix(".conf"))
        .max_by_key(|kernel| numbers(kernel))?;
    let text = esp.files.get(&format!("loader/entries/proxmox-{kernel}.conf"))?;
    let options = text.lines().find_map(|line| line.strip_prefix("options "))?.trim();
    let initrd = format!("\\EFI\\proxmox\\{kernel}\\initrd.img-{kernel}");
    Some(Entry {
        cmdline: format!("initrd={initrd} {options}"),
        initramfs: esp.files.get(&format!("EFI/proxmox/{kernel}/initrd.img-{kernel}")).cloned(),
        kernel: Some(kernel.to_owned()),
    })
}

/// The first entry of GRUB.
fn grub_entry(config: &str, read: impl Fn(&str) -> Option<String>) -> Option<Entry> {
    let line = config.lines().find_map(|line| line.trim().strip_prefix("linux\t/"))?;
    let kernel = line.split_whitespace().next()?.strip_prefix("vmlinuz-")?;
    Some(Entry {
        cmdline: format!("BOOT_IMAGE=/{line}"),
        initramfs: read(&format!("initrd.img-{kernel}")),
        kernel: Some(kernel.to_owned()),
    })
}

/// Kernels as `proxmox-boot-tool kernel list` shows them.
pub fn versions(kernels: &[String]) -> String {
    let list = kernels.join("\n");
    format!("Manually selected kernels:\nNone.\n\nAutomatically selected kernels:\n{list}\n")
}
