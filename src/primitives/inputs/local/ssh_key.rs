//! SSH key pairs on this machine. One that is there is never made anew.

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::sync::Arc;

use rhai::{Map as ScriptMap, NativeCallContext};
use russh::keys::PrivateKey;
use russh::keys::ssh_key::LineEnding;
use russh::keys::ssh_key::private::{Ed25519Keypair, KeypairData};
use schemars::JsonSchema;
use serde::Deserialize;

use super::REALM;
use super::file::write_atomically;
use crate::error::{Class, Error, Result};
use crate::primitives::flow::outcome;
use crate::primitives::inputs::Inputs;
use crate::run::capability::Writer;
use crate::run::difference::Difference;
use crate::run::ensure;
use crate::run::resource::{Cell, Fact, Reader, Resource};
use crate::run::value::{Map, State, Value};
use crate::script::RhaiResult;
use crate::script::context::{Context, options};
use crate::script::failure::fail;

/// A key pair as it should be.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SshKeyOptions {
    /// The path of the private half: below the project, or absolute, or `~/…`. The public one lies beside it, with `.pub`.
    pub path: String,
    /// What a new key is called. Default: `homelab`.
    #[serde(default)]
    pub comment: Option<String>,
}

/// A key pair.
struct SshKey {
    path: PathBuf,
    name: String,
    comment: String,
}

/// Sees to it that a key pair is there. The outcome has the public half as `after.public_key`.
pub(super) fn ensure_ssh_key(call: &NativeCallContext<'_>, map: ScriptMap) -> RhaiResult<ScriptMap> {
    let options: SshKeyOptions = options(call, "local::ssh_key", map)?;
    let inputs = Context::service::<Inputs>(call)?;
    let path = inputs.path(&options.path).map_err(fail)?;
    let comment = options.comment.unwrap_or_else(|| "homelab".to_owned());
    let key = SshKey { name: inputs.name(&path), path, comment };
    ensure::ensure(&Arc::new(key)).map(outcome::to_map).map_err(fail)
}

impl SshKey {
    fn failed(&self, error: impl std::fmt::Display) -> Error {
        Error::new(Class::Failed, format!("{}: the key cannot be written", self.address()))
            .cause(error)
            .help("it must lie in a folder that you may write to")
    }

    /// A new key. Its seed comes from the system's own source.
    fn generate(&self) -> Result<PrivateKey> {
        let mut seed = [0; 32];
        let random = rustls::crypto::ring::default_provider().secure_random;
        random.fill(&mut seed).map_err(|_| self.failed("the system gives no random bytes"))?;
        let pair = Ed25519Keypair::from_seed(&seed);
        PrivateKey::new(KeypairData::Ed25519(pair), self.comment.as_str()).map_err(|error| self.failed(error))
    }

    fn write(&self) -> Result<()> {
        let key = self.generate()?;
        let (private, public) = (key.to_openssh(LineEnding::LF), key.public_key().to_openssh());
        let (private, public) =
            (private.map_err(|error| self.failed(error))?, public.map_err(|error| self.failed(error))?);
        write_atomically(&self.path, &private, 0o600).map_err(|error| self.failed(error))?;
        let mut beside = self.path.clone().into_os_string();
        beside.push(".pub");
        write_atomically(&PathBuf::from(beside), &format!("{public}\n"), 0o644).map_err(|error| self.failed(error))
    }
}

impl Fact for SshKey {
    fn address(&self) -> String {
        self.cell().to_string()
    }

    fn cell(&self) -> Cell {
        Cell::new(REALM, format!("ssh_key:{}", self.name))
    }

    fn read(&self, _reader: &Reader) -> Result<State> {
        let unusable = |error: &dyn std::fmt::Display| {
            Error::new(Class::InputMissing, format!("{}: is no key that can be read", self.address()))
                .cause(error)
                .help("name another file, or move this one away: a new key is made where there is none")
        };
        let text = match fs::read_to_string(&self.path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(State::Absent),
            Err(error) => return Err(unusable(&error)),
        };
        // The public half is in clear, also where the private one is encrypted.
        let key = PrivateKey::from_openssh(&text).map_err(|error| unusable(&error))?;
        let public = key.public_key().to_openssh().map_err(|error| unusable(&error))?;
        let mode = fs::metadata(&self.path).map_err(|error| unusable(&error))?.permissions().mode() & 0o777;
        Ok(State::Here(Value::Map(Map::from([
            ("mode".to_owned(), Value::Text(format!("{mode:04o}"))),
            ("public_key".to_owned(), Value::Text(public)),
        ]))))
    }
}

impl Resource for SshKey {
    fn want(&self, have: &State) -> Result<State> {
        let mut want = have.here().and_then(Value::as_map).cloned().unwrap_or_default();
        want.insert("mode".to_owned(), Value::text("0600"));
        Ok(State::Here(Value::Map(want)))
    }

    fn change(&self, difference: &Difference, _writer: &Writer) -> Result<Map> {
        match difference.have {
            State::Here(_) => {
                fs::set_permissions(&self.path, Permissions::from_mode(0o600)).map_err(|error| self.failed(error))?
            }
            _ => self.write()?,
        }
        Ok(Map::new())
    }

    fn fills(&self) -> Vec<String> {
        vec!["public_key".to_owned()]
    }
}
