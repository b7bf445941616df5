//! Where the secret of a token is kept on this machine.

use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::connect::Api;
use crate::error::{Class, Error, Result};
use crate::inputs::envrc::{self, Envrc};
use crate::primitives::inputs::Inputs;
use crate::primitives::inputs::local::write_atomically;

/// Where a secret is kept.
pub(super) enum Keeper {
    /// A file with nothing else in it.
    File(PathBuf),
    /// A line of a file of variables.
    Variable {
        name: String,
        path: PathBuf,
        /// The file, as people call it.
        file: String,
        home: Option<String>,
        /// What the variable is, where the file does not say: the environment of the process has it.
        elsewhere: Option<String>,
        /// Who is told of another value.
        api: Arc<Api>,
    },
}

impl fmt::Display for Keeper {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Keeper::File(path) => write!(f, "{}", path.display()),
            Keeper::Variable { name, file, .. } => write!(f, "{name} in {file}"),
        }
    }
}

impl Keeper {
    /// A variable of the project, or of the simulator when simulating.
    pub(super) fn variable(name: &str, inputs: &Inputs, api: &Arc<Api>) -> Result<Self> {
        if !name.starts_with("HOMELAB_") {
            return Err(Error::new(Class::Script, format!("`token`: `{name}` is no variable of homelab"))
                .help("its variables begin with HOMELAB_, as in HOMELAB_PVE_TOKEN_SECRET"));
        }
        let environment = inputs.environment();
        let file = environment.own_file().to_owned();
        Ok(Keeper::Variable {
            name: name.to_owned(),
            path: inputs.root().join(&file),
            file,
            home: environment.home().map(str::to_owned),
            elsewhere: environment.get(name).map(|(value, _)| value),
            api: Arc::clone(api),
        })
    }

    /// What is kept; nothing where it is not there.
    pub(super) fn read(&self) -> Result<String> {
        match self {
            Keeper::File(path) => self.text(path),
            Keeper::Variable { name, path, file, home, elsewhere, .. } => {
                let known = Envrc::parse(file, &self.text(path)?, home.as_deref())?;
                let own = known.get(name).filter(|value| !value.is_empty()).map(str::to_owned);
                Ok(own.or_else(|| elsewhere.clone()).unwrap_or_default())
            }
        }
    }

    /// Whether it could be written.
    pub(super) fn make_room(&self) -> Result<()> {
        let path = self.path();
        if let Keeper::Variable { name, path, file, home, .. } = self {
            // A file that cannot be read as one of variables must not be found out about with the secret in hand.
            envrc::with(file, &self.text(path)?, home.as_deref(), name, "")?;
        }
        let folder = path.parent().unwrap_or(Path::new("."));
        let room = fs::create_dir_all(folder).and_then(|()| tempfile::tempfile_in(folder));
        room.map(drop).map_err(|error| self.unwritable(&error))
    }

    /// Keeps a secret.
    pub(super) fn write(&self, secret: &str) -> Result<()> {
        let text = match self {
            Keeper::File(_) => format!("{secret}\n"),
            Keeper::Variable { name, path, file, home, .. } => {
                envrc::with(file, &self.text(path)?, home.as_deref(), name, secret)?
            }
        };
        write_atomically(self.path(), &text, 0o600).map_err(|error| self.unwritable(&error))?;
        if let Keeper::Variable { name, api, .. } = self {
            api.learn(name, secret);
        }
        Ok(())
    }

    fn path(&self) -> &Path {
        match self {
            Keeper::File(path) | Keeper::Variable { path, .. } => path,
        }
    }

    fn text(&self, path: &Path) -> Result<String> {
        match fs::read_to_string(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(String::new()),
            read => read.map_err(|error| {
                Error::new(Class::InputMissing, format!("{}: {error}", path.display()))
                    .help(format!("look at it: ls -l {}", path.display()))
            }),
        }
    }

    fn unwritable(&self, error: &io::Error) -> Error {
        Error::new(Class::Failed, format!("{}: {error}", self.path().display()))
            .help("it must lie below a folder that you may write to")
    }
}
