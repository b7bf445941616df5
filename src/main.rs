//! The `homelab` command: arguments in, exit code out.

use std::process::ExitCode;

fn main() -> ExitCode {
    homelab::cli::main()
}
