//! What a client needs to get in: `envrc`, and the SSH key beside it. Made once; afterwards the file counts, so that
//! people can edit it and see what a wrong token does.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use russh::keys::ssh_key::LineEnding;
use russh::keys::ssh_key::private::{Ed25519Keypair, KeypairData};
use russh::keys::{PrivateKey, PublicKey};

use super::chance::{hex, secret_bytes};
use super::proxmox::{TOKEN, USER};
use super::seed::NodeSeed;
use super::tls::Certificates;
use super::world::{World, write_private};
use crate::error::{Class, Error, Result};

/// The file's name in the simulator's folder.
const FILE: &str = "envrc";

/// Environment variables by name.
pub(crate) type Credentials = BTreeMap<String, String>;

/// The public half of the SSH key, made with its private half when there is none.
pub(crate) fn ssh_key(dir: &Path) -> Result<(PathBuf, String)> {
    let path = dir.join("id_ed25519");
    let failed = |error: &dyn std::fmt::Display| {
        Error::new(Class::Failed, format!("simulator: {}: no SSH key", path.display()))
            .cause(error)
            .help("start over with `homelab sim reset`")
    };
    if !path.exists() {
        let pair = Ed25519Keypair::from_seed(&secret_bytes()?);
        let key = PrivateKey::new(KeypairData::Ed25519(pair), "homelab-simulator").map_err(|error| failed(&error))?;
        let text = key.to_openssh(LineEnding::LF).map_err(|error| failed(&error))?;
        write_private(&path, text.as_bytes())?;
    }
    let key = russh::keys::load_secret_key(&path, None).map_err(|error| failed(&error))?;
    let public: &PublicKey = key.public_key();
    let public = public.to_openssh().map_err(|error| failed(&error))?;
    Ok((path, public))
}

/// Reads the file, or makes it for a world.
pub(crate) fn open(dir: &Path, world: &World, certificates: &Certificates) -> Result<Credentials> {
    let path = dir.join(FILE);
    if !path.exists() {
        write_private(&path, text(&make(dir, world, certificates)?).as_bytes())?;
    }
    let failed = |error| {
        Error::new(Class::Failed, format!("simulator: {}: cannot be read", path.display()))
            .cause(error)
            .help("correct it, or remove it: it is made anew")
    };
    Ok(parse(&fs::read_to_string(&path).map_err(failed)?))
}

fn make(dir: &Path, world: &World, certificates: &Certificates) -> Result<Credentials> {
    let (key, public) = ssh_key(dir)?;
    let first = world.nodes.first();
    let ip = first.map(|node| node.ip.clone()).unwrap_or_default();
    let fingerprint = |node: &str| certificates.of(node).pop().map(|own| own.fingerprint).unwrap_or_default();
    let values = [
        ("HOMELAB_PVE_URL", format!("https://{ip}:8006")),
        ("HOMELAB_PVE_TOKEN_ID", format!("{USER}!{TOKEN}")),
        ("HOMELAB_PVE_TOKEN_SECRET", world.secrets.token.clone()),
        ("HOMELAB_PVE_FINGERPRINT", first.map(|node| fingerprint(&node.name)).unwrap_or_default()),
        ("HOMELAB_PVE_CA_FILE", certificates.authorities.display().to_string()),
        ("HOMELAB_PVE_ROOT_PASSWORD", world.secrets.root_password.clone()),
        ("HOMELAB_CLOUDFLARE_API_TOKEN", world.secrets.cloudflare.clone()),
        ("HOMELAB_GITHUB_TOKEN", world.secrets.github.clone()),
        ("HOMELAB_ACME_EMAIL", "lab@example.org".into()),
        ("HOMELAB_SSH_KEY", key.display().to_string()),
        ("HOMELAB_SSH_PUBKEY", public),
        ("HOMELAB_K3S_TOKEN", hex(&secret_bytes()?)),
        ("HOMELAB_K3S_AGENT_TOKEN", hex(&secret_bytes()?)),
        ("HOMELAB_GRAFANA_ADMIN_PASSWORD", hex(&secret_bytes()?[..24])),
        ("HOMELAB_VALKEY_PASSWORD", hex(&secret_bytes()?[..24])),
        ("HOMELAB_PG_N8N_PASSWORD", hex(&secret_bytes()?[..24])),
        ("HOMELAB_N8N_ENCRYPTION_KEY", hex(&secret_bytes()?[..24])),
        ("HOMELAB_GARAGE_RPC_SECRET", hex(&secret_bytes()?)),
        ("HOMELAB_GARAGE_ADMIN_TOKEN", hex(&secret_bytes()?)),
        ("HOMELAB_S3_KEY_ID", format!("GK{}", hex(&secret_bytes()?[..12]))),
        ("HOMELAB_S3_SECRET", hex(&secret_bytes()?)),
        ("HOMELAB_COMFYUI_PASSWORD", hex(&secret_bytes()?[..24])),
        ("HOMELAB_JUPYTER_PASSWORD_HASH", format!("sha256:{}:{}", &hex(&secret_bytes()?)[..12], hex(&secret_bytes()?))),
        ("HOMELAB_KUBECONFIG", dir.join("kubeconfig").display().to_string()),
    ];
    let mut credentials: Credentials = values.into_iter().map(|(name, value)| (name.to_string(), value)).collect();
    for NodeSeed { name: node, .. } in &world.nodes {
        let name = node.to_uppercase().replace(|c: char| !c.is_ascii_alphanumeric(), "_");
        credentials.insert(format!("HOMELAB_PVE_FINGERPRINT_{name}"), fingerprint(node));
    }
    Ok(credentials)
}

/// The host keys of the nodes, so that a client knows them: those of guests are read through their agents.
pub(crate) fn write_known_hosts(dir: &Path, world: &World) -> Result<()> {
    let mut lines = String::new();
    for node in &world.nodes {
        let machine = world.clusters.iter().find_map(|cluster| cluster.machines.node(&node.name));
        for key in machine.iter().flat_map(|machine| machine.host_keys()) {
            lines.push_str(&format!("{},{} {key}\n", node.name, node.ip));
        }
    }
    write_private(&dir.join("known_hosts"), lines.as_bytes())
}

fn text(credentials: &Credentials) -> String {
    credentials.iter().map(|(name, value)| format!("export {name}='{value}'\n")).collect()
}

/// Reads lines of the form `export NAME=value`; quotes around the value are optional.
fn parse(text: &str) -> Credentials {
    let lines = text.lines().map(str::trim).filter(|line| !line.starts_with('#'));
    let pairs = lines.filter_map(|line| line.strip_prefix("export ").unwrap_or(line).split_once('='));
    pairs.map(|(name, value)| (name.trim().to_string(), unquoted(value.trim()).to_string())).collect()
}

fn unquoted(value: &str) -> &str {
    let quoted = |mark: char| value.strip_prefix(mark).and_then(|rest| rest.strip_suffix(mark));
    quoted('\'').or_else(|| quoted('"')).unwrap_or(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_reads_back_and_edits_count() {
        let made = Credentials::from([("A".to_string(), "x y=z".to_string())]);
        assert_eq!(parse(&text(&made)), made);
        assert_eq!(parse("# note\nexport A=\"b\"\nC=d\n")["A"], "b");
        assert_eq!(parse("C=d")["C"], "d");
    }

    #[test]
    fn the_key_is_made_once() {
        let dir = tempfile::tempdir().unwrap();
        let (_, first) = ssh_key(dir.path()).unwrap();
        let (_, again) = ssh_key(dir.path()).unwrap();
        assert_eq!(first, again);
        assert!(first.starts_with("ssh-ed25519 "));
    }
}
