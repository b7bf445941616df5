//! A card of a simulated node, from the enclosure that is plugged in to the driver that holds it, in all the worlds
//! that a boot loader can make.

use super::super::tests::bench::Bench;
use crate::error::Class;
use crate::sim::boards;
use crate::sim::host::{Esp, Setup};
use crate::sim::{GpuSeed, NodeSeed, Scenario, Seed};

/// A node with a card, in a scenario.
fn setup(scenario: Scenario) -> Setup {
    let gpu = GpuSeed {
        node: "pve-01".into(),
        address: "0000:2f:00.0".into(),
        pci_id: "10de:27b2".into(),
        audio_id: "10de:22bc".into(),
        subsystem_id: "10de:181b".into(),
        iommu_group: 17,
        ..GpuSeed::default()
    };
    let node = NodeSeed { name: "pve-01".into(), ..NodeSeed::default() };
    boards::setup(&Seed { scenario, nodes: vec![node], gpus: vec![gpu], ..Seed::default() }, "pve-01")
}

fn node(scenario: Scenario) -> Bench {
    Bench::node(setup(scenario))
}

const PARAMETERS: &str = "vfio::kernel_parameters(h, [\"intel_iommu=on\", \"iommu=pt\"])";
const AUTHORIZE: &str = "vfio::authorize(h, vfio::enclosure(h, ()).unique_id)";
const BIND: &str = "vfio::bind(h, [\"10de:27b2\", \"10de:22bc\"], #{ blacklist: [\"nouveau\", \"nova_core\"] })";
const ISOLATED: &str = "vfio::require_isolated(h, vfio::device(h, \"10de:27b2\").address)";

/// What the kernel runs with after a restart.
fn after_restart(bench: &Bench) -> String {
    bench.run("h.reboot(#{})").well();
    bench.shell("cat /proc/cmdline")
}

/// What an error says, all of it.
fn said(error: &crate::error::Error) -> String {
    format!("{error}\nhelp: {}", error.help_text().unwrap_or("none"))
}

#[test]
fn with_systemd_boot_parameters_go_to_its_own_file_and_run_after_a_restart() {
    let bench = node(Scenario::Bare);
    assert_eq!(
        bench.converge(PARAMETERS),
        ["update pve-01:kernel_parameters:/etc/kernel/cmdline", "update pve-01:boot_entries:systemd-boot"]
            .map(|line| line.replace("pve-01", "vm"))
    );
    assert_eq!(
        bench.shell("cat /etc/kernel/cmdline; cat /proc/cmdline"),
        "root=ZFS=rpool/ROOT/pve-1 boot=zfs intel_iommu=on iommu=pt\n\
         initrd=\\EFI\\proxmox\\7.0.2-2-pve\\initrd.img-7.0.2-2-pve root=ZFS=rpool/ROOT/pve-1 boot=zfs"
    );
    assert!(after_restart(&bench).ends_with("boot=zfs intel_iommu=on iommu=pt"));
    assert_eq!(bench.shell("cat /sys/kernel/iommu_groups/14/type"), "identity");
}

#[test]
fn with_secure_boot_parameters_go_to_grub_and_run_after_a_restart() {
    let bench = node(Scenario::S4);
    assert_eq!(
        bench.converge(PARAMETERS),
        ["update vm:kernel_parameters:/etc/default/grub", "update vm:boot_entries:GRUB"]
    );
    assert_eq!(
        bench.shell("mokutil --sb-state; cat /etc/kernel/cmdline"),
        "SecureBoot enabled\nroot=ZFS=rpool/ROOT/pve-1 boot=zfs"
    );
    assert!(after_restart(&bench).ends_with("root=ZFS=rpool/ROOT/pve-1 boot=zfs quiet intel_iommu=on iommu=pt"));
}

#[test]
fn with_a_legacy_bios_parameters_go_to_grub_and_run_after_a_restart() {
    let mut setup = setup(Scenario::Bare);
    setup.board.firmware.uefi = false;
    setup.board.firmware.loader.clear();
    let bench = Bench::node(setup);
    bench.converge(PARAMETERS);
    assert!(after_restart(&bench).ends_with("boot=zfs quiet intel_iommu=on iommu=pt"));
    let told = bench.run("let it = vfio::boot(h); `${it.firmware} ${it.loader} ${it.secure_boot}`").value();
    assert_eq!(told.to_string(), "legacy-bios GRUB false");
}

#[test]
fn with_grub_alone_parameters_go_to_grub_and_run_after_a_restart() {
    let mut setup = setup(Scenario::Bare);
    setup.board.firmware.loader = "\\EFI\\proxmox\\grubx64.efi".into();
    setup.board.esps.clear();
    let bench = Bench::node(setup);
    assert_eq!(bench.shell("proxmox-boot-tool status > /dev/null 2>&1; echo $?; ls /etc/kernel"), "2");
    bench.converge(PARAMETERS);
    assert_eq!(bench.shell("grep -c iommu=pt /boot/grub/grub.cfg"), "1");
    assert!(after_restart(&bench).ends_with("quiet intel_iommu=on iommu=pt"));
}

#[test]
fn a_host_whose_loader_cannot_be_told_is_left_alone_and_all_readings_are_shown() {
    let mut setup = setup(Scenario::Bare);
    setup.board.firmware.loader = "\\EFI\\proxmox\\shimx64.efi".into();
    // Set up for systemd-boot, started with GRUB.
    setup.board.esps[0].files.insert("loader/loader.conf".into(), String::new());
    let bench = Bench::node(setup);
    for ended in [bench.plan(PARAMETERS), bench.run(PARAMETERS)] {
        let error = ended.error();
        assert_eq!(error.class(), Class::Blocked);
        insta::allow_duplicates! { insta::assert_snapshot!(said(&error)); }
        assert!(ended.planned().is_empty() && ended.changed().is_empty());
    }
}

#[test]
fn parameters_in_the_file_that_nobody_reads_are_told() {
    let bench = node(Scenario::S3);
    assert!(!bench.shell("cat /proc/cmdline").contains("iommu=pt"));
    let run = bench.run(PARAMETERS);
    run.well();
    assert!(run.told().contains("/etc/default/grub has intel_iommu=on iommu=pt, which nobody reads"), "{}", run.told());
    assert!(after_restart(&bench).contains("iommu=pt"));
}

#[test]
fn an_edit_that_nobody_carries_over_changes_nothing_in_the_next_boot() {
    let bench = node(Scenario::Bare);
    bench.shell("echo 'root=ZFS=rpool/ROOT/pve-1 boot=zfs quiet' > /etc/kernel/cmdline");
    assert!(!after_restart(&bench).contains("quiet"));
    bench.shell("proxmox-boot-tool refresh");
    assert!(after_restart(&bench).contains("quiet"));
}

#[test]
fn a_file_that_was_written_and_not_carried_over_is_carried_over() {
    let bench = node(Scenario::Bare);
    bench.shell("echo 'root=ZFS=rpool/ROOT/pve-1 boot=zfs intel_iommu=on iommu=pt' > /etc/kernel/cmdline");
    assert_eq!(bench.converge(PARAMETERS), ["update vm:boot_entries:systemd-boot"]);
    assert!(after_restart(&bench).contains("iommu=pt"));
}

#[test]
fn a_boot_partition_that_is_gone_is_named_before_anything_is_written() {
    let bench = node(Scenario::EspStale);
    for ended in [bench.plan(PARAMETERS), bench.run(PARAMETERS)] {
        insta::allow_duplicates! { insta::assert_snapshot!(said(&ended.error())); }
        assert!(ended.changed().is_empty());
    }
    bench.shell("printf '4B23-1A2C\\n' > /etc/kernel/proxmox-boot-uuids");
    bench.converge(PARAMETERS);
}

#[test]
fn a_boot_partition_without_room_is_named_and_the_next_run_goes_on() {
    let bench = node(Scenario::EspFull);
    let error = bench.run(PARAMETERS).error();
    insta::assert_snapshot!(said(&error));
    bench.shell("rm /boot/vmlinuz-6.17.2-1-pve /boot/initrd.img-6.17.2-1-pve");
    assert_eq!(bench.converge(PARAMETERS), ["update vm:boot_entries:systemd-boot"]);
}

#[test]
fn a_command_line_without_its_root_or_with_two_lines_is_left_alone() {
    let bench = node(Scenario::Bare);
    for (text, says) in [("quiet", "says nothing of the root"), ("root=a\nroot=b", "is not one line")] {
        bench.shell(&format!("printf '{}\\n' > /etc/kernel/cmdline", text.replace('\n', "\\n")));
        let error = bench.run(PARAMETERS).error();
        assert!(error.class() == Class::Blocked && error.to_string().contains(says), "{error}");
    }
    assert_eq!(bench.shell("cat /etc/kernel/cmdline"), "root=a\nroot=b");
}

#[test]
fn what_contradicts_goes_only_when_it_is_named() {
    let bench = node(Scenario::Bare);
    bench.shell(
        "echo 'root=ZFS=rpool/ROOT/pve-1 boot=zfs intel_iommu=off' > /etc/kernel/cmdline; proxmox-boot-tool refresh",
    );
    after_restart(&bench);
    assert_eq!(
        bench.shell("ls /sys/class/iommu /sys/kernel/iommu_groups"),
        "/sys/class/iommu:\n\n/sys/kernel/iommu_groups:"
    );
    assert!(said(&bench.run(PARAMETERS).error()).contains("`intel_iommu=off` is there"));
    bench.converge("vfio::kernel_parameters(h, [\"intel_iommu=on\"], #{ remove: [\"intel_iommu=off\"] })");
    assert_eq!(after_restart(&bench).split_whitespace().last(), Some("intel_iommu=on"));
    assert_ne!(bench.shell("ls /sys/class/iommu"), "");
}

#[test]
fn an_enclosure_is_let_in_now_and_at_each_boot() {
    let bench = node(Scenario::Bare);
    assert_eq!(bench.shell("lspci -nn -d 10de:"), "");
    assert_eq!(
        bench.converge(AUTHORIZE),
        [
            format!("create vm:thunderbolt:{} (/etc/udev/rules.d/99-thunderbolt-egpu.rules)", boards::ENCLOSURE),
            format!("update vm:thunderbolt:{}", boards::ENCLOSURE)
        ]
    );
    let there = "cat /sys/bus/thunderbolt/devices/0-1/authorized; lspci -Dn -d 10de:";
    let both = "1\n0000:2f:00.0 0300: 10de:27b2 (rev a1)\n0000:2f:00.1 0403: 10de:22bc (rev a1)";
    assert_eq!(bench.shell(there), both);
    after_restart(&bench);
    assert_eq!(bench.shell(there), both);
    bench.shell("rm /etc/udev/rules.d/99-thunderbolt-egpu.rules");
    after_restart(&bench);
    assert_eq!(bench.shell("cat /sys/bus/thunderbolt/devices/0-1/authorized"), "0");
}

#[test]
fn an_enclosure_that_is_not_the_one_that_is_written_down_is_not_let_in() {
    let bench = node(Scenario::Bare);
    let error = bench.run("vfio::enclosure(h, \"00000000-0000-0000-0000-000000000000\")").error();
    insta::assert_snapshot!(said(&error));
    let mut unplugged = setup(Scenario::Bare);
    unplugged.board.thunderbolt.iter_mut().for_each(|one| one.enclosures.clear());
    insta::assert_snapshot!(said(&Bench::node(unplugged).run("vfio::enclosure(h, ())").error()));
    let mut closed = setup(Scenario::Bare);
    closed.board.thunderbolt.iter_mut().for_each(|one| one.security = "nopcie".into());
    insta::assert_snapshot!(said(&Bench::node(closed).run(AUTHORIZE).error()));
}

#[test]
fn a_card_is_kept_from_the_drivers_of_the_host_after_a_restart() {
    let bench = node(Scenario::Bare);
    bench.run(AUTHORIZE).well();
    assert!(bench.run(ISOLATED).error().message().contains("held by the driver nouveau"));
    assert_eq!(
        bench.converge(BIND),
        [
            "create vm:bind:/etc/modprobe.d/vfio-blacklist.conf",
            "create vm:bind:/etc/modprobe.d/vfio.conf",
            "update vm:initramfs:all kernels"
        ]
    );
    let pending = bench.run("vfio::pending(h, #{ ids: [\"10de:27b2\"] })").value();
    assert!(pending.to_string().contains("is held by nouveau"), "{pending}");
    bench.converge("vfio::modules(h, [\"vfio\", \"vfio_iommu_type1\", \"vfio_pci\"])");
    after_restart(&bench);
    assert_eq!(
        bench.run("vfio::pending(h, #{ ids: [\"10de:27b2\"] })").value().into_array().map(|list| list.len()),
        Ok(0)
    );
    let found = bench.run(ISOLATED).map();
    assert_eq!(found["group"].as_int(), Ok(17));
    assert_eq!(bench.run("vfio::driver(h, \"2f:00.1\")").value().to_string(), "vfio-pci");
    assert_eq!(bench.shell("lsmod | grep -E '^(nouveau|nova)'"), "");
}

#[test]
fn what_modprobe_is_told_counts_in_a_boot_once_the_initramfs_has_it() {
    let bench = node(Scenario::Bare);
    bench.run(AUTHORIZE).well();
    bench.shell(
        "echo 'blacklist nouveau' > /etc/modprobe.d/mine.conf; echo 'blacklist nova_core' >> /etc/modprobe.d/mine.conf",
    );
    after_restart(&bench);
    assert_eq!(bench.run("vfio::driver(h, \"2f:00.0\")").value().to_string(), "nouveau");
    bench.shell("update-initramfs -u -k all");
    after_restart(&bench);
    assert!(bench.run("vfio::driver(h, \"2f:00.0\")").value().is_unit());
}

#[test]
fn nova_core_that_took_the_card_is_named_and_kept_off() {
    let bench = node(Scenario::S6);
    insta::assert_snapshot!(said(&bench.run(ISOLATED).error()));
    bench.converge(BIND);
    after_restart(&bench);
    bench.run(ISOLATED).well();
}

#[test]
fn somebody_else_in_the_group_of_the_card_is_named() {
    let bench = node(Scenario::S7);
    bench.run(AUTHORIZE).well();
    insta::assert_snapshot!(said(&bench.run(ISOLATED).error()));
}

#[test]
fn a_card_that_is_not_in_its_enclosure_is_named() {
    let bench = node(Scenario::GpuMissing);
    insta::assert_snapshot!(said(&bench.run("vfio::device(h, \"10de:27b2\")").error()));
    bench.run(AUTHORIZE).well();
    insta::assert_snapshot!(said(&bench.run("vfio::device(h, \"10de:27b2\")").error()));
}

#[test]
fn a_card_that_moved_is_found_where_it_is() {
    let bench = node(Scenario::S5);
    bench.run(AUTHORIZE).well();
    let place = "let card = vfio::device(h, \"10de:27b2\"); `${card.address} ${card.group}`";
    assert_eq!(bench.run(place).value().to_string(), "0000:2f:00.0 17");
    after_restart(&bench);
    assert_eq!(bench.run(place).value().to_string(), "0000:31:00.0 18");
    assert_eq!(bench.run("vfio::driver(h, \"2f:00.0\")").error().class(), Class::Blocked);
}

#[test]
fn a_plan_knows_that_it_does_not_know_what_a_planned_enclosure_or_restart_brings() {
    let bench = node(Scenario::Bare);
    let plan = bench.plan(&format!("{AUTHORIZE}; let card = vfio::device(h, \"10de:27b2\"); vfio::bind(h, [\"10de:27b2\", card.others[0].id]); {ISOLATED}"));
    plan.well();
    assert_eq!(
        plan.planned()[2..],
        [
            "create vm:bind:/etc/modprobe.d/vfio-blacklist.conf",
            "create vm:bind:/etc/modprobe.d/vfio.conf",
            "update vm:initramfs:all kernels"
        ]
    );
    let plan = bench.plan("h.reboot(#{}); vfio::devices(h)");
    assert!(plan.value().type_name().contains("Unknown"), "{}", plan.value().type_name());
    let plan = bench.plan("vfio::pending(h, #{ parameters: [\"iommu=pt\"], ids: [unknown(\"later\")] })");
    assert_eq!(plan.value().to_string(), "[\"the kernel runs without iommu=pt\"]");
}

#[test]
fn a_second_partition_that_is_there_is_kept_as_well() {
    let mut setup = setup(Scenario::Bare);
    setup.board.esps.push(Esp { uuid: "7C91-0F3D".into(), room: 6, ..Esp::default() });
    let bench = Bench::node(setup);
    bench.converge(PARAMETERS);
    assert_eq!(
        bench
            .shell("proxmox-boot-tool status 2>/dev/null | grep -c 'is configured with: uefi (versions: 7.0.2-2-pve)'"),
        "2"
    );
}
