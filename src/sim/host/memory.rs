//! How much of the simulator's own memory a simulated machine may use. Everything a machine holds is in the memory of
//! this process, and devices like /dev/zero have no end, so that every place which collects bytes has a bound. What
//! goes beyond is refused, or ends the command; it is never cut short in silence.

/// The largest file.
pub const FILE: u64 = 64 << 20;

/// What the files of a machine may hold together.
pub const DISK: u64 = 512 << 20;

/// How many files, directories and links a machine may have.
pub const INODES: usize = 100_000;

/// What a program may hold of its input, and what may wait for it.
pub const INPUT: usize = 64 << 20;

/// What is collected of a command's output: a command substitution, or what an agent runs.
pub const OUTPUT: usize = 16 << 20;

/// What a shell's variables hold, or the words of one command.
pub const WORDS: usize = 4 << 20;

/// One line that `read` takes.
pub const LINE: usize = 1 << 20;

/// The widest field of `printf` and its like.
pub const FIELD: usize = 64 << 10;

/// How many parts of pipelines run at once for one command.
pub const THREADS: usize = 200;

/// How deeply a script may nest.
pub const NESTING: u32 = 400;

/// What a command says that was ended for wanting more.
pub const COMPLAINT: &str = "homelab sim: not simulated: a command that needs this much memory\n";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sim::host::{ExecResult, Machine, NodeSpec};

    fn machine() -> Machine {
        Machine::pve_node(NodeSpec {
            name: "pve1".into(),
            fqdn: "pve1.home.arpa".into(),
            address_cidr: "10.20.11.11/24".into(),
            gateway: "10.20.11.1".into(),
            ..NodeSpec::default()
        })
    }

    fn run(script: &str) -> ExecResult {
        machine().run("root", script, b"")
    }

    fn is_refused(result: &ExecResult) -> bool {
        let said = String::from_utf8_lossy(&result.stderr);
        result.exit == 137 && said.ends_with(COMPLAINT)
    }

    #[test]
    fn a_command_that_collects_without_end_is_ended_and_says_why() {
        let endless = [
            "x=$(cat /dev/zero)",
            "cat /dev/zero",
            "x=a; while :; do x=$x$x; done",
            "set -- a; while :; do set -- \"$@\" \"$@\"; done",
            "read x < /dev/zero",
            "l=$(printf %01000d 1); i=0; while :; do i=$((i+1)); eval \"v$i=$l\"; done",
        ];
        let wide = "true | ".repeat(THREADS) + "true";
        for script in endless.into_iter().chain([wide.as_str()]) {
            let result = run(script);
            assert!(is_refused(&result), "{script}: {} {}", result.exit, String::from_utf8_lossy(&result.stderr));
        }
    }

    #[test]
    fn programs_refuse_what_they_cannot_hold() {
        for script in ["sort /dev/zero", "sed s/x/y/ /dev/urandom", "printf %1000000000d 1", "stat -c %999999999n /"] {
            let result = run(script);
            assert!(result.exit != 0 && !result.stderr.is_empty(), "{script}: {}", result.exit);
            assert!(result.stdout.is_empty(), "{script}");
        }
    }

    #[test]
    fn a_replacement_that_doubles_the_line_again_and_again_is_ended() {
        let doubling = "-e 's/.*/&&/' ".repeat(60);
        assert!(is_refused(&run(&format!("echo 0123456789 | sed {doubling}"))));
    }

    #[test]
    fn files_and_disks_have_an_end() {
        let mut machine = machine();
        let large = machine.run("root", "dd if=/dev/zero of=/root/big bs=1M count=100000", b"");
        assert!(large.exit != 0 && String::from_utf8_lossy(&large.stderr).contains("File too large"));
        let script = "for i in 1 2 3 4 5 6 7 8 9; do truncate -s 60M /root/f$i || exit 7; done";
        let full = machine.run("root", script, b"");
        assert_eq!(full.exit, 7);
        assert!(String::from_utf8_lossy(&full.stderr).contains("No space left on device"));
        let again = machine.run("root", "rm /root/*; truncate -s 60M /root/f", b"");
        assert_eq!(again.exit, 0, "{}", String::from_utf8_lossy(&again.stderr));
    }

    #[test]
    fn whoever_stops_reading_stops_the_counting() {
        assert_eq!(run("seq 1 9000000000000000000 | head -n 2").stdout, b"1\n2\n");
        assert_eq!(run("seq -s , 3").stdout, b"1,2,3\n");
        assert_eq!(run("seq 9223372036854775806 9223372036854775807 | wc -l").stdout, b"2\n");
    }

    #[test]
    fn a_script_nested_without_end_is_a_syntax_error() {
        for (open, close) in [("(", ")"), ("$(", ")"), ("${x:-", "}")] {
            let script = format!("echo {}x{}", open.repeat(50_000), close.repeat(50_000));
            let result = run(script.strip_prefix("echo ").filter(|_| open == "(").unwrap_or(&script));
            assert_eq!(result.exit, 2, "{open}");
            assert!(String::from_utf8_lossy(&result.stderr).contains("nesting this deep"), "{open}");
        }
    }
}
