//! `homelab trust`: accepting the SSH host key of a machine, after a person compared it.

use std::io::IsTerminal as _;
use std::path::Path;

use super::run::ask_on_terminal;
use super::{Global, print, stage};
use crate::clients::dial::Dialler;
use crate::clients::ssh::{self, Options, Passphrase, Pool, Target, append_known_host, fingerprint, is_trusted};
use crate::error::{Class, Error, Result, exit};
use crate::inputs::tables::{Document, Proposals};
use crate::project::Project;

/// The tables that give names an address, each with the column that holds it.
const TABLES: [(&str, &str); 2] = [("docs/NETWORK.md", "hosts"), ("docs/SOFTWARE.md", "vms")];

/// Which machine is trusted.
#[derive(Debug, Clone, clap::Args)]
pub struct Args {
    /// A name of the tables `hosts` and `vms`, one of ~/.ssh/config, or an address
    #[arg(value_name = "HOST")]
    pub host: String,
    /// Does not ask: the fingerprint was compared already
    #[arg(long)]
    pub yes: bool,
}

/// Runs `homelab trust`.
pub fn run(args: &Args, global: &Global) -> Result<u8> {
    let project = global.project()?;
    let target = target(&project, global, &args.host)?;
    let runtime = stage::runtime()?;
    let pool = Pool::new(Dialler::Direct);
    let key = runtime.block_on(async {
        let key = pool.scan_host_key(&target).await;
        pool.close().await;
        key
    })?;
    print::text(&format!("{target}\n  {}\n", fingerprint(&key)))?;
    if is_trusted(&target, &key)? {
        print::text("this key is trusted already\n")?;
        return Ok(exit::DONE);
    }
    if !args.yes {
        confirm(&args.host)?;
    }
    append_known_host(&project.known_hosts(), target.known_as(), target.port, &key)?;
    let file = project.known_hosts();
    print::text(&format!("trusted from now on, in {}\n", file.strip_prefix(&project.root).unwrap_or(&file).display()))?;
    Ok(exit::DONE)
}

fn confirm(host: &str) -> Result<()> {
    let compare = "compare it with the host's own, seen on its console: \
                   `ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub`";
    if !std::io::stdin().is_terminal() {
        return Err(Error::new(Class::Blocked, format!("{host}: nobody is here to compare the fingerprint"))
            .help(format!("{compare}; then run: homelab trust {host} --yes")));
    }
    eprintln!("{compare}");
    if ask_on_terminal("is it the same, and shall it be trusted?") {
        return Ok(());
    }
    Err(Error::new(Class::Blocked, format!("{host}: not trusted")).help("nothing was written"))
}

fn target(project: &Project, global: &Global, host: &str) -> Result<Target> {
    let environment = global.environment(project, None)?;
    let key = environment.get("HOMELAB_SSH_KEY").map(|(path, _)| path.into());
    let options = Options {
        name: host.to_owned(),
        address: address(&project.root, host)?,
        // They let us in at the hosts on the way, if there are any.
        keys: key.into_iter().collect(),
        passphrase: environment.get("HOMELAB_SSH_KEY_PASSPHRASE").map(|(text, _)| Passphrase::new(text)),
        known_hosts: Some(project.known_hosts()),
        ..Options::default()
    };
    Target::resolve(&options, &ssh::Environment::from_process())
}

/// The address that a table has for a name. A name that no table has is one for `~/.ssh/config` or for DNS.
fn address(root: &Path, host: &str) -> Result<Option<String>> {
    for (file, table) in TABLES {
        if !root.join(file).is_file() {
            continue;
        }
        let document = Document::load(root, file, Proposals::refused())?;
        if !document.names().contains(&table) {
            continue;
        }
        let table = document.table(table)?;
        if table.keys().iter().any(|key| key == host) {
            return Ok(Some(table.row(host)?.cell("ip")?.ipv4()?.to_string()));
        }
    }
    Ok(None)
}
