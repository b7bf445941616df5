//! `homelab new`: a folder with everything a project needs, and a first playbook that runs.

use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::path::{Path, PathBuf};

use super::print;
use crate::error::{Class, Error, Result, exit};

/// The files of a new project.
const FILES: [(&str, &str); 7] = [
    ("playbooks/first.rhai", include_str!("new/first.rhai")),
    ("docs/HARDWARE.md", include_str!("new/HARDWARE.md")),
    ("docs/NETWORK.md", include_str!("new/NETWORK.md")),
    ("docs/SOFTWARE.md", include_str!("new/SOFTWARE.md")),
    ("docs/LINKS.md", include_str!("new/LINKS.md")),
    (".envrc.example", include_str!("../../.envrc.example")),
    (".gitignore", include_str!("new/gitignore")),
];

/// Where the project is made.
#[derive(Debug, Clone, clap::Args)]
pub struct Args {
    /// The folder; it is made where it is not there
    #[arg(value_name = "DIR")]
    pub dir: PathBuf,
}

/// Runs `homelab new`.
pub fn run(args: &Args) -> Result<u8> {
    // Looked for first, so that nothing is half done where something is in the way.
    if let Some((file, _)) = FILES.iter().find(|(file, _)| args.dir.join(file).symlink_metadata().is_ok()) {
        return Err(Error::new(Class::Usage, format!("{}: is there already", args.dir.join(file).display()))
            .help("choose another folder; nothing is overwritten, and nothing was written"));
    }
    let mut text = String::new();
    for (file, content) in FILES {
        write(&args.dir.join(file), content)?;
        text.push_str(&format!("  {file}\n"));
    }
    let dir = args.dir.display();
    text.push_str(&format!("next: cd {dir} && homelab run --sim playbooks/first.rhai\n"));
    print::text(&text)?;
    Ok(exit::DONE)
}

fn write(path: &Path, content: &str) -> Result<()> {
    let failed = |error| {
        Error::new(Class::Failed, format!("{}: cannot be written", path.display()))
            .cause(error)
            .help("who may write there: `ls -ld` on its folder")
    };
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).map_err(failed)?;
    }
    let mut file = OpenOptions::new().write(true).create_new(true).open(path).map_err(failed)?;
    file.write_all(content.as_bytes()).map_err(failed)
}
