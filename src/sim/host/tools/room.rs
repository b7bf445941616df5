//! fstrim, growpart, resize2fs: the room on the disk of a guest, which has it all from its boot on; and ufw, as far as whether
//! it is on.

use super::Options;
use crate::sim::host::process::{Exit, Process, fail, not_simulated};

/// Where ufw keeps whether it is on.
const UFW: &str = "/etc/ufw/ufw.conf";

/// Gives free blocks back.
pub fn fstrim(p: &Process) -> Exit {
    let options = Options::parse(p, "av", &[("all", 'a'), ("verbose", 'v')])?;
    if !options.has('a') {
        return not_simulated("fstrim of one file system");
    }
    if !p.cred.is_root() {
        return fail("/: FITRIM ioctl failed: Operation not permitted");
    }
    if options.has('v') {
        let bytes = p.session.with(|machine| machine.disk_bytes) / 8 * 7;
        p.line(format!("/: {:.1} GiB ({bytes} bytes) trimmed on /dev/sda1", bytes as f64 / f64::from(1 << 30)))?;
    }
    Ok(0)
}

/// Grows a partition over the rest of its disk: it has grown at the boot.
pub fn growpart(p: &Process) -> Exit {
    match p.operands() {
        [disk, part] if disk == "/dev/sda" && part == "1" => {
            let sectors = p.session.with(|machine| machine.disk_bytes) / 512;
            p.line(format!("NOCHANGE: partition 1 is size {sectors}. it cannot be grown"))?;
            Ok(1)
        }
        words => not_simulated(format!("growpart {}", words.join(" "))),
    }
}

/// Grows a file system over its partition: it has grown at the boot.
pub fn resize2fs(p: &Process) -> Exit {
    match p.operands() {
        [device] if device == "/dev/sda1" => {
            let blocks = p.session.with(|machine| machine.disk_bytes) / 4096;
            p.err(format!(
                "resize2fs 1.47.0 (5-Feb-2023)\nThe filesystem is already {blocks} (4k) blocks long.  Nothing to do!\n"
            ));
            Ok(0)
        }
        words => not_simulated(format!("resize2fs {}", words.join(" "))),
    }
}

/// The firewall for people.
pub fn ufw(p: &Process) -> Exit {
    let options = Options::parse(p, "f", &[("force", 'f')])?;
    if !p.cred.is_root() {
        return fail("ERROR: You need to be root to run this script");
    }
    let is_on = p.fs(|fs, _| fs.text(UFW).lines().any(|line| line == "ENABLED=yes"));
    let words: Vec<&str> = options.operands.iter().map(String::as_str).collect();
    let set = |on: &str| {
        p.session.with(|machine| {
            machine.make_directory("/etc/ufw");
            machine.write_file(UFW, &format!("ENABLED={on}\nLOGLEVEL=low\n"));
        });
    };
    match words.as_slice() {
        ["status"] => p.line(if is_on { "Status: active" } else { "Status: inactive" })?,
        ["disable"] => {
            set("no");
            p.line("Firewall stopped and disabled on system startup")?;
        }
        ["enable"] => {
            set("yes");
            p.line("Firewall is active and enabled on system startup")?;
        }
        words => return not_simulated(format!("ufw {}", words.join(" "))),
    }
    Ok(0)
}
