//! `homelab completions`: what a shell needs to complete commands.

use clap_complete::Shell;

use super::print;
use crate::error::{Result, exit};

/// For which shell.
#[derive(Debug, Clone, clap::Args)]
pub struct Args {
    /// The shell
    #[arg(value_enum)]
    pub shell: Shell,
}

/// Runs `homelab completions`.
pub fn run(args: &Args) -> Result<u8> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut super::command(), "homelab", &mut script);
    print::text(&String::from_utf8_lossy(&script))?;
    Ok(exit::DONE)
}
