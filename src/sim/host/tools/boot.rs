//! efibootmgr, mokutil, proxmox-boot-tool, update-grub, update-initramfs.

use super::Options;
use crate::sim::host::hardware::{Said, versions};
use crate::sim::host::process::{Exit, Process, fail, not_simulated};

const HOOK: &str = "Re-executing '/etc/kernel/postinst.d/zz-proxmox-boot' in new private mount namespace..";

fn tell(p: &Process, said: &Said) -> Exit {
    for line in &said.err {
        p.err(format!("{line}\n"));
    }
    for line in &said.out {
        p.line(line)?;
    }
    Ok(said.status)
}

fn needs_root(p: &Process) -> Result<(), crate::sim::host::process::Stop> {
    if p.cred.is_root() { Ok(()) } else { fail("E: you must be root to do this") }
}

/// Whether this is one of Proxmox's machines: others have no such programs.
fn needs_proxmox(p: &Process) -> Result<(), crate::sim::host::process::Stop> {
    if p.session.with(|machine| machine.fs.exists("/etc/pve")) {
        return Ok(());
    }
    p.err(format!("sh: 1: {}: not found\n", p.name()));
    Err(crate::sim::host::process::Stop::Exit(127))
}

/// The entries that the firmware knows.
pub fn efibootmgr(p: &Process) -> Exit {
    let options = Options::parse(p, "v", &[("verbose", 'v')])?;
    if !options.operands.is_empty() {
        return not_simulated("efibootmgr that changes entries");
    }
    let firmware = p.session.with(|machine| machine.board.firmware.clone());
    if !firmware.uefi {
        p.err("EFI variables are not supported on this system.\n");
        return Ok(2);
    }
    let title = if firmware.loader.contains("systemd") { "Linux Boot Manager" } else { "proxmox" };
    p.line("BootCurrent: 0001\nTimeout: 1 seconds\nBootOrder: 0001,0002")?;
    let verbose = options.has('v');
    let at = |path: &str| match verbose {
        true => format!("\tHD(2,GPT,5a2c1a0e-4f0b-4b5e-9d53-0c8a1f6c2a11,0x800,0x200000)/{path}"),
        false => String::new(),
    };
    p.line(format!("Boot0001* {title}{}", at(&firmware.loader)))?;
    p.line(format!("Boot0002* UEFI OS{}", at("\\EFI\\BOOT\\BOOTX64.EFI")))?;
    Ok(0)
}

/// Whether Secure Boot is on.
pub fn mokutil(p: &Process) -> Exit {
    if p.operands() != ["--sb-state"] {
        return not_simulated(format!("mokutil {}", p.operands().join(" ")));
    }
    let firmware = p.session.with(|machine| machine.board.firmware.clone());
    if !firmware.uefi {
        p.err("EFI variables are not supported on this system\n");
        return Ok(255);
    }
    p.line(if firmware.secure_boot { "SecureBoot enabled" } else { "SecureBoot disabled" })?;
    Ok(0)
}

/// Proxmox's keeper of EFI system partitions.
pub fn boot_tool(p: &Process) -> Exit {
    needs_proxmox(p)?;
    needs_root(p)?;
    let words: Vec<&str> = p.operands().iter().map(String::as_str).collect();
    match words.as_slice() {
        ["status"] => {
            let said = p.session.with(|machine| machine.boot_tool_status());
            p.err("Re-executing '/usr/sbin/proxmox-boot-tool' in new private mount namespace..\n");
            tell(p, &said)
        }
        ["refresh"] => {
            p.line("Running hook script 'proxmox-auto-removal'..\nRunning hook script 'zz-proxmox-boot'..")?;
            p.line(HOOK)?;
            let said = p.session.with(|machine| machine.refresh_esps());
            tell(p, &said)
        }
        ["kernel", "list"] => {
            let kernels = p.session.with(|machine| machine.kernels());
            p.out(versions(&kernels))?;
            Ok(0)
        }
        _ => not_simulated(format!("proxmox-boot-tool {}", words.join(" "))),
    }
}

/// Writes GRUB's configuration.
pub fn update_grub(p: &Process) -> Exit {
    if !p.operands().is_empty() {
        return not_simulated(format!("update-grub {}", p.operands().join(" ")));
    }
    needs_root(p)?;
    if p.session.with(|machine| machine.kernels().is_empty()) {
        return not_simulated("update-grub on a machine whose boot loader is not simulated");
    }
    let said = p.session.with(|machine| machine.update_grub());
    tell(p, &said)
}

/// Packs the initramfs of the running kernel, of one, or of all.
pub fn update_initramfs(p: &Process) -> Exit {
    let options = Options::parse(p, "uk:", &[])?;
    needs_root(p)?;
    let (all, running) = p.session.with(|machine| (machine.kernels(), machine.kernel.clone()));
    if all.is_empty() {
        return not_simulated("update-initramfs on a machine whose kernels are not simulated");
    }
    if !options.has('u') {
        return not_simulated("update-initramfs without -u");
    }
    let kernels = match options.value('k') {
        Some("all") => all,
        Some(kernel) => vec![kernel.to_owned()],
        None => vec![running],
    };
    for kernel in kernels.iter().rev() {
        if !p.session.with(|machine| machine.kernels().contains(kernel)) {
            return fail(format!("/boot/initrd.img-{kernel} does not exist. Cannot update."));
        }
        p.line(format!("update-initramfs: Generating /boot/initrd.img-{kernel}"))?;
        p.session.with(|machine| machine.make_initramfs(kernel));
    }
    if p.session.with(|machine| !machine.fs.exists("/etc/pve")) {
        return Ok(0);
    }
    p.line("Running hook script 'zz-proxmox-boot'..")?;
    p.line(HOOK)?;
    let said = p.session.with(|machine| machine.refresh_esps());
    let status = tell(p, &said)?;
    if status != 0 {
        p.err("run-parts: /etc/initramfs/post-update.d//proxmox-boot-sync exited with return code 1\n");
    }
    Ok(status)
}
