//! What the nodes are made of: a Minisforum MS-01 each, the first graphics card in a Thunderbolt enclosure beside the
//! node that has it, and what somebody did to it before.

use super::guests::{Board, Enclosure, Esp, Firmware, Function, Setup, Thunderbolt};
use super::seed::{GpuSeed, Scenario, Seed, Start};

/// By which the simulated enclosure is told from all others, where no table says so.
pub(crate) const ENCLOSURE: &str = "c4010000-0080-7f18-2353-2c9b0ec2e923";

/// Bus, slot and function, class, vendor and device, IOMMU group, driver: what is soldered on or in a slot.
const SOLDERED: &[(&str, &str, &str, &str, u32, &str)] = &[
    ("00", "00.0", "060000", "8086:a706", 0, ""),
    ("00", "02.0", "030000", "8086:a7a0", 1, "i915"),
    ("00", "07.0", "060400", "8086:a76e", 5, "pcieport"),
    ("00", "0d.2", "0c0340", "8086:a73e", 7, "thunderbolt"),
    ("00", "1f.3", "040300", "8086:51ca", 14, "snd_hda_intel"),
    ("02", "00.0", "020000", "8086:1572", 15, "i40e"),
    ("57", "00.0", "020000", "8086:125c", 16, "igc"),
    ("58", "00.0", "010802", "144d:a80a", 20, "nvme"),
];

/// What a node is made of.
pub(crate) fn setup(seed: &Seed, node: &str) -> Setup {
    let gpus: Vec<&GpuSeed> = seed.gpus.iter().filter(|gpu| gpu.node == node).collect();
    let mut setup = Setup { board: plain(), ..Setup::default() };
    if let Some(first) = gpus.first() {
        let enclosures = (0..).zip(&gpus).map(|(index, gpu)| enclosure(gpu, index)).collect();
        setup.board.thunderbolt = Some(Thunderbolt { security: "user".into(), enclosures });
        twist(&mut setup, seed.scenario, first);
    }
    setup
}

/// A node without anything special: UEFI without Secure Boot, ZFS, systemd-boot.
fn plain() -> Board {
    let function = |(bus, slot, class, id, group, driver): &(&str, &str, &str, &str, u32, &str)| Function {
        bus: (*bus).into(),
        slot: (*slot).into(),
        class: (*class).into(),
        id: (*id).into(),
        subsystem_id: "1f4c:b016".into(),
        group: *group,
        driver: (!driver.is_empty()).then(|| (*driver).into()),
    };
    Board {
        firmware: Firmware {
            uefi: true,
            secure_boot: false,
            vt_d: true,
            loader: "\\EFI\\systemd\\systemd-bootx64.efi".into(),
        },
        esps: vec![Esp { uuid: "4B23-1A2C".into(), room: 6, ..Esp::default() }],
        functions: SOLDERED.iter().map(function).collect(),
        thunderbolt: None,
    }
}

fn enclosure(gpu: &GpuSeed, index: usize) -> Enclosure {
    let address = gpu.address.strip_prefix("0000:").unwrap_or(&gpu.address);
    let (bus, slot) = address.split_once(':').unwrap_or(("2f", "00.0"));
    let function = |slot: &str, class: &str, id: &str| Function {
        bus: bus.into(),
        slot: slot.into(),
        class: class.into(),
        id: id.into(),
        subsystem_id: gpu.subsystem_id.clone(),
        group: gpu.iommu_group,
        driver: None,
    };
    let mut functions = vec![function(slot, "030000", &gpu.pci_id)];
    if !gpu.audio_id.is_empty() {
        functions.push(function(&slot.replace(".0", ".1"), "040300", &gpu.audio_id));
    }
    Enclosure {
        port: format!("0-{}", 2 * index + 1),
        vendor_name: "Sonnet Technologies, Inc.".into(),
        device_name: "eGPU Breakaway Box 750ex".into(),
        unique_id: match gpu.enclosure_uid.as_str() {
            "" if index == 0 => ENCLOSURE.into(),
            "" => format!("{}{index:02}", &ENCLOSURE[..ENCLOSURE.len() - 2]),
            known => known.into(),
        },
        functions,
        moves_to: None,
        authorized: 0,
    }
}

/// The rule that lets the enclosure in.
fn rule(unique_id: &str) -> (String, String) {
    let text = format!(
        "ACTION==\"add\", SUBSYSTEM==\"thunderbolt\", ATTR{{unique_id}}==\"{unique_id}\", ATTR{{authorized}}==\"0\", ATTR{{authorized}}=\"1\"\n"
    );
    ("/etc/udev/rules.d/99-thunderbolt-egpu.rules".into(), text)
}

fn file(path: &str, text: &str) -> (String, String) {
    (path.into(), text.into())
}

/// A card that somebody has set up for virtual machines, all of it.
fn done(setup: &mut Setup, gpu: &GpuSeed, unique_id: &str) {
    let ids: Vec<&str> = [gpu.pci_id.as_str(), &gpu.audio_id].into_iter().filter(|id| !id.is_empty()).collect();
    let ids = ids.join(",");
    setup.files.extend([
        file("/etc/kernel/cmdline", "root=ZFS=rpool/ROOT/pve-1 boot=zfs intel_iommu=on iommu=pt\n"),
        file("/etc/modules-load.d/vfio.conf", "vfio\nvfio_iommu_type1\nvfio_pci\n"),
        file(
            "/etc/modprobe.d/blacklist-nouveau.conf",
            "blacklist nouveau\nblacklist nova\nblacklist nova_core\nblacklist nova_drm\nblacklist nvidiafb\n",
        ),
        file(
            "/etc/modprobe.d/vfio.conf",
            &format!(
                "options vfio-pci ids={ids}\nsoftdep nouveau pre: vfio-pci\nsoftdep nova_core pre: vfio-pci\nsoftdep snd_hda_intel pre: vfio-pci\n"
            ),
        ),
        rule(unique_id),
    ]);
}

/// GRUB behind Secure Boot.
fn with_secure_boot(board: &mut Board) {
    board.firmware.secure_boot = true;
    board.firmware.loader = "\\EFI\\proxmox\\shimx64.efi".into();
}

fn twist(setup: &mut Setup, scenario: Scenario, gpu: &GpuSeed) {
    let unique_id = enclosure(gpu, 0).unique_id;
    let mut enclosure = |change: &dyn Fn(&mut Enclosure)| {
        setup.board.thunderbolt.iter_mut().flat_map(|one| &mut one.enclosures).for_each(change);
    };
    match scenario {
        Scenario::S3 => setup.later_files.push(file(
            "/etc/default/grub",
            "GRUB_DEFAULT=0\nGRUB_TIMEOUT=5\nGRUB_CMDLINE_LINUX_DEFAULT=\"quiet intel_iommu=on iommu=pt\"\nGRUB_CMDLINE_LINUX=\"root=ZFS=rpool/ROOT/pve-1 boot=zfs\"\n",
        )),
        Scenario::S4 => with_secure_boot(&mut setup.board),
        Scenario::S5 => enclosure(&|one| one.moves_to = Some(("31".into(), gpu.iommu_group + 1))),
        Scenario::S6 => setup
            .files
            .extend([file("/etc/modprobe.d/blacklist-nouveau.conf", "blacklist nouveau\n"), rule(&unique_id)]),
        Scenario::S7 => enclosure(&|one| {
            let bus = one.functions.first().map(|function| function.bus.clone()).unwrap_or_default();
            one.functions.push(Function {
                bus,
                slot: "01.0".into(),
                class: "0c0330".into(),
                id: "1b73:1100".into(),
                subsystem_id: "1b73:1100".into(),
                group: gpu.iommu_group,
                driver: Some("xhci_hcd".into()),
            });
        }),
        Scenario::GpuMissing => enclosure(&|one| one.functions.clear()),
        Scenario::EspStale => {
            setup.board.esps.push(Esp { uuid: "7C91-0F3D".into(), gone: true, room: 6, ..Esp::default() });
        }
        Scenario::EspFull => {
            setup.later_kernels = vec!["6.17.2-1-pve".into()];
            setup.board.esps.iter_mut().for_each(|esp| esp.room = 1);
        }
        formed if formed.start() != Start::Bare => done(setup, gpu, &unique_id),
        _ => {}
    }
}
