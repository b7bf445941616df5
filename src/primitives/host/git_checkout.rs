//! Working trees of git on a host.

use std::sync::{Arc, Mutex, PoisonError};

use rhai::{Map as ScriptMap, NativeCallContext};
use schemars::JsonSchema;
use serde::Deserialize;

use super::connect::BecomeOption;
use super::git::{self, Remote, Tree};
use super::handle::Host;
use super::mechanism::part::{Asking, Part, Placed};
use super::mechanism::probe;
use crate::clients::ssh::{Command, Output, quote};
use crate::error::{Class, Error, Result};
use crate::primitives::flow::outcome;
use crate::run::difference::Difference;
use crate::run::ensure::ensure;
use crate::run::scope;
use crate::run::secret::Secret;
use crate::run::unknown::Unknown;
use crate::run::value::{Map, State, Value};
use crate::script::RhaiResult;
use crate::script::args::TextOrSecret;
use crate::script::context::options;
use crate::script::failure::fail;

/// A working tree as it should be. Files in it that git knows nothing of are left alone, and so are submodules.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct GitCheckoutOptions {
    /// Where the repository is, as git takes it: `"https://git.example.org/app.git"`, `"git@example.org:app.git"`, a path on
    /// the host. It holds no password.
    pub repo: String,
    /// The folder of the working tree, absolute. The one above it must be there.
    pub path: String,
    /// A branch, a tag, or a whole commit of 40 hexadecimal digits. A branch or a tag is looked up in the repository each
    /// time, a commit that is checked out is not. Default: the branch that the repository itself names.
    #[serde(default)]
    pub revision: Option<String>,
    /// The user whose tree it is, and who runs git, with the keys of that user; only root can say another than the one who
    /// logs in. Default: the one it belongs to; for a new tree whoever makes it.
    #[serde(default)]
    pub owner: Option<String>,
    /// Whether changes and commits that somebody made there are thrown away. Without it a tree that has some is an error.
    /// Default: false.
    #[serde(default)]
    pub force: bool,
    /// Whom to be to the repository, where it is reached over `https://`. Default: none.
    #[serde(default)]
    pub username: Option<String>,
    /// The password or token for it, a secret. git is told over its environment: it becomes part of no command, and is not
    /// kept. Default: none.
    #[serde(default)]
    pub password: Option<TextOrSecret>,
    /// The path of a private key on the host, to reach the repository over SSH. Default: those of the user.
    #[serde(default)]
    pub key: Option<String>,
    /// As whom: `true` for root, or a name. Default: as `ssh::host` says.
    #[serde(default, rename = "become")]
    pub become_: Option<BecomeOption>,
}

/// A working tree.
pub struct GitCheckout {
    options: GitCheckoutOptions,
    path: String,
    password: Option<Secret>,
    /// What the repository said when it was last asked.
    remote: Mutex<Remote>,
}

/// Brings a working tree to its wanted state.
pub(super) fn git_checkout(call: &NativeCallContext<'_>, host: &Host, map: ScriptMap) -> RhaiResult<ScriptMap> {
    let options: GitCheckoutOptions = options(call, "git_checkout", map)?;
    let become_ = options.become_.clone();
    let tree = GitCheckout::new(options).map_err(fail)?;
    ensure(&Arc::new(Placed::new(host, become_.as_ref(), tree))).map(outcome::to_map).map_err(fail)
}

impl GitCheckout {
    /// A tree as a playbook describes it.
    pub fn new(options: GitCheckoutOptions) -> Result<Self> {
        let refuse =
            |what: String, help: &str| Err(Error::new(Class::Script, format!("`git_checkout`: {what}")).help(help));
        let path = probe::normal_path("path", &options.path)?;
        if path == "/" {
            return refuse("`/` cannot be a working tree".to_owned(), "name a folder of its own");
        }
        let word = |text: &str| !text.is_empty() && !text.starts_with('-') && !text.contains(char::is_control);
        if !word(&options.repo) {
            return refuse(
                format!("option `repo`: {:?} is no repository", options.repo),
                "as in \"https://git.example.org/app.git\"",
            );
        }
        if git::holds_password(&options.repo) {
            return refuse(
                "option `repo` holds a password".to_owned(),
                "it would stand in the list of processes and in the tree: `username: …, password: secret(\"…\")`",
            );
        }
        if let Some(revision) = &options.revision
            && (!word(revision) || revision.contains([' ', '~', '^', ':', '?', '*', '[', '\\']))
        {
            return refuse(
                format!("option `revision`: {revision:?} is none"),
                "a branch, a tag, or a commit of 40 hexadecimal digits",
            );
        }
        let words = [("owner", &options.owner), ("username", &options.username), ("key", &options.key)];
        if let Some((name, text)) = words.iter().find(|(_, text)| text.as_ref().is_some_and(|text| !word(text))) {
            return refuse(format!("option `{name}`: {text:?} is none"), "a word on one line");
        }
        let password = match &options.password {
            None => None,
            Some(TextOrSecret::Secret(secret)) => Some(secret.clone()),
            Some(TextOrSecret::Text(_)) => {
                return refuse(
                    "option `password` is no secret".to_owned(),
                    "as in `password: secret(\"HOMELAB_GIT_TOKEN\")`",
                );
            }
        };
        if password.is_some() && !options.repo.starts_with("https://") {
            return refuse(
                "a password is only told to a repository at `https://`".to_owned(),
                "over SSH a key lets git in: `key`, or those of the user",
            );
        }
        Ok(GitCheckout { path, password, options, remote: Mutex::default() })
    }

    fn remote(&self) -> Remote {
        self.remote.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn remember(&self, remote: Remote) {
        *self.remote.lock().unwrap_or_else(PoisonError::into_inner) = remote;
    }

    /// A commit that needs no looking up.
    fn commit(&self) -> Option<&str> {
        let revision = self.options.revision.as_deref()?;
        (revision.len() == 40 && revision.bytes().all(|byte| byte.is_ascii_hexdigit())).then_some(revision)
    }

    /// What runs git as the owner, without ever asking anybody anything.
    fn surroundings(&self) -> String {
        let GitCheckoutOptions { repo, owner, username, key, .. } = &self.options;
        let ssh = key.as_ref().map_or_else(String::new, |key| format!(" -i {} -o IdentitiesOnly=yes", quote(key)));
        let mut text = format!(
            "path={} repo={} owner={}\nexport path repo GIT_TERMINAL_PROMPT=0 GIT_SSH_COMMAND={}\n",
            quote(&self.path),
            quote(repo),
            quote(owner.as_deref().unwrap_or_default()),
            quote(&format!("ssh -o BatchMode=yes{ssh}")),
        );
        if let Some(password) = &self.password {
            text.push_str(&format!(
                "export HOMELAB_GIT_USERNAME={} HOMELAB_GIT_PASSWORD={}\n{}",
                quote(username.as_deref().unwrap_or("git")),
                quote(password.expose()),
                git::HELPER,
            ));
        }
        text.push_str(git::AS_OWNER);
        text
    }

    fn refuse_changes(&self, tree: &Map) -> Result<()> {
        let Some(Value::List(files)) = tree.get("modified").filter(|_| !self.options.force) else { return Ok(()) };
        let names: Vec<&str> = files.iter().filter_map(Value::as_text).take(5).collect();
        Err(Error::new(Class::Conflict, format!("git_checkout {}: somebody changed files there", self.path))
            .cause(names.join("\n"))
            .help("look with `git -C PATH diff` on the host; `force: true` throws those changes away"))
    }
}

impl GitCheckout {
    fn unreadable(&self, host: &Host, output: &Output) -> Error {
        let refused = self.refusal(host, output);
        refused.unwrap_or_else(|| {
            Error::new(
                Class::Failed,
                format!("git_checkout {}: {} cannot be read", self.path, self.options.repo),
            )
            .cause(output.stderr_text().trim())
            .help("the words are git's own, as it runs on the host: see that it reaches the repository and may read it")
        })
    }
}

impl Part for GitCheckout {
    const KIND: &'static str = "git_checkout";

    fn name(&self) -> String {
        self.path.clone()
    }

    fn cell(&self) -> String {
        format!("git:{}", self.path)
    }

    fn question(&self) -> String {
        format!("{}{}", self.surroundings(), git::QUESTION)
    }

    fn parse(&self, answer: &str) -> Result<State> {
        let address = format!("git_checkout {}", self.path);
        Tree::parse(&address, answer)?.into_state(&address)
    }

    fn complete(&self, state: State, asking: &Asking<'_>) -> Result<State> {
        let stale = scope::stale_realm(&asking.host.realm())?;
        if let Some(commit) = self.commit() {
            let mut remote = Remote::Commit { commit: commit.to_lowercase(), branch: None };
            // Nothing else would tell before the change that there is no git.
            if state == State::Absent {
                let output = asking.ask(&format!("{}has_git\n", self.surroundings()))?;
                match stale {
                    _ if output.success() => {}
                    Some(cause) => remote = Remote::Unknown(cause),
                    None => return Err(self.unreadable(asking.host, &output)),
                }
            }
            self.remember(remote);
            return Ok(state);
        }
        let revision = self.options.revision.as_deref().unwrap_or("HEAD");
        let output = asking.ask(&format!("{}{}", self.surroundings(), git::look_up(revision)))?;
        let found = match output.success() {
            true => git::found(&output.stdout_text(), revision),
            false => None,
        };
        let remote = match (found, stale) {
            (Some(remote), _) => remote,
            // A package, a user, a name or the repository itself may come with a change that is only planned.
            (None, Some(cause)) => Remote::Unknown(cause),
            (None, None) if output.success() => {
                let what =
                    format!("git_checkout {}: {} has no branch or tag {revision:?}", self.path, self.options.repo);
                return Err(Error::new(Class::InputMissing, what)
                    .help("`git ls-remote` lists what there is; a commit is said with all of its 40 digits"));
            }
            (None, None) => return Err(self.unreadable(asking.host, &output)),
        };
        self.remember(remote);
        Ok(state)
    }

    fn want(&self, have: &State) -> Result<State> {
        let mut want = match have {
            State::Here(Value::Map(tree)) => {
                self.refuse_changes(tree)?;
                tree.clone()
            }
            _ => Map::new(),
        };
        want.remove("modified");
        want.insert("repo".to_owned(), Value::text(&self.options.repo));
        match self.remote() {
            Remote::Commit { commit, branch } => {
                want.insert("commit".to_owned(), Value::Text(commit));
                match branch {
                    Some(branch) => drop(want.insert("branch".to_owned(), Value::Text(branch))),
                    None => drop(want.remove("branch")),
                }
            }
            // Where it is never asked nothing can be said; the gate asks before it wants.
            Remote::Unasked => {}
            Remote::Unknown(cause) => {
                let own = Unknown::from_origin(format!("git_checkout {}", self.path));
                let unknown = Unknown::join([&cause, &own]);
                want.insert("commit".to_owned(), Value::Unknown(unknown.clone()));
                want.insert("branch".to_owned(), Value::Unknown(unknown));
            }
        }
        if let Some(owner) = &self.options.owner {
            want.insert("owner".to_owned(), Value::text(owner));
        }
        Ok(State::Here(Value::Map(want)))
    }

    fn command(&self, difference: &Difference) -> Result<Command> {
        let text = |field: &str| difference.wanted(field).and_then(Value::as_text).unwrap_or_default().to_owned();
        let git = ["repo", "commit", "branch", "modified"].iter().any(|field| difference.touches(field));
        let script = format!(
            "{}commit={} branch={} force={} work={}\nexport commit branch force\n{}",
            self.surroundings(),
            quote(&text("commit")),
            quote(&text("branch")),
            if self.options.force { "--force" } else { "''" },
            if git { "yes" } else { "''" },
            git::CHANGE,
        );
        let command = Command::script(script);
        Ok(if self.password.is_some() { command.hidden() } else { command })
    }

    fn refusal(&self, host: &Host, output: &Output) -> Option<Error> {
        let said = output.stderr_text();
        git::explain(host, &self.path, said.trim())
    }

    fn fills(&self) -> &'static [&'static str] {
        &["owner"]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree(json: serde_json::Value) -> Result<GitCheckout> {
        GitCheckout::new(serde_json::from_value(json).expect("sound options"))
    }

    #[test]
    fn what_git_would_take_for_something_else_is_refused() {
        for json in [
            serde_json::json!({ "repo": "--upload-pack=x", "path": "/opt/app" }),
            serde_json::json!({ "repo": "https://me:tiger@git.example.org/app", "path": "/opt/app" }),
            serde_json::json!({ "repo": "/srv/app", "path": "opt/app" }),
            serde_json::json!({ "repo": "/srv/app", "path": "/" }),
            serde_json::json!({ "repo": "/srv/app", "path": "/opt/app", "revision": "main~1" }),
            serde_json::json!({ "repo": "/srv/app", "path": "/opt/app", "revision": "-x" }),
            serde_json::json!({ "repo": "https://git.example.org/app", "path": "/opt/app", "password": "tiger" }),
        ] {
            assert!(tree(json.clone()).is_err(), "{json}");
        }
        assert!(tree(serde_json::json!({ "repo": "git@git.example.org:app.git", "path": "/opt/app" })).is_ok());
    }

    #[test]
    fn a_tree_that_somebody_changed_is_left_alone() {
        let asked = |force: bool| {
            let tree =
                tree(serde_json::json!({ "repo": "/srv/app", "path": "/opt/app", "force": force })).expect("sound");
            tree.remember(Remote::Commit { commit: "1".repeat(40), branch: Some("main".to_owned()) });
            tree.want(&State::Here(Value::from(serde_json::json!({
                "repo": "/srv/app", "commit": "1".repeat(40), "branch": "main", "owner": "root", "modified": ["a"],
            }))))
        };
        let error = asked(false).expect_err("it is dirty");
        assert!(error.to_string().contains("somebody changed files there"), "{error}");
        let State::Here(want) = asked(true).expect("sound") else { panic!("it is wanted") };
        assert_eq!(want.get("modified"), None);
    }
}
