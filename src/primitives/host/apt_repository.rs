//! Repositories that apt takes packages from.

use std::sync::Arc;

use rhai::{Map as ScriptMap, NativeCallContext};
use schemars::JsonSchema;
use serde::Deserialize;

use super::connect::BecomeOption;
use super::directory::{Directory, DirectoryOptions};
use super::file::{File, FileOptions};
use super::handle::Host;
use super::mechanism::entry::Entry;
use super::mechanism::look::look;
use super::mechanism::probe::Amount;
use crate::error::{Class, Error, Result};
use crate::primitives::flow::outcome;
use crate::run::ensure::{Changed, ensure};
use crate::run::scope;
use crate::run::value::State;
use crate::script::RhaiResult;
use crate::script::args::{Maybe, TextOrSecret};
use crate::script::context::options;
use crate::script::failure::fail;

/// A repository as it should be, in the format of deb822: `/etc/apt/sources.list.d/NAME.sources`. Packages that are
/// installed after a change of it are looked for there too.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AptRepositoryOptions {
    /// What its files are called.
    pub name: String,
    /// Where it is. Default: none, which only `absent` allows.
    #[serde(default)]
    pub uris: Vec<String>,
    /// The suites: `["stable"]`, `["bookworm"]`; one that ends in `/` is a path. Default: none, which only `absent` allows.
    #[serde(default)]
    pub suites: Vec<String>,
    /// The components: `["main"]`. Default: none, as a suite that is a path has it.
    #[serde(default)]
    pub components: Vec<String>,
    /// What it has: `["deb"]`, `["deb-src"]`. Default: `["deb"]`.
    #[serde(default)]
    pub types: Option<Vec<String>>,
    /// The architectures: `["amd64"]`. Default: the host's own.
    #[serde(default)]
    pub architectures: Vec<String>,
    /// The key that signs it, as text: `-----BEGIN PGP PUBLIC KEY BLOCK-----`. It is put into `/etc/apt/keyrings/NAME.asc`.
    /// Default: none.
    #[serde(default)]
    pub key: Option<Maybe<TextOrSecret>>,
    /// The path of a keyring on the host that has the key, in place of `key`. Default: none, then the host's trusted keys.
    #[serde(default)]
    pub signed_by: Option<String>,
    /// Whether its packages are taken without anybody's signature, as from a folder of one's own. Default: false.
    #[serde(default)]
    pub trusted: bool,
    /// Whether it is used. Default: true.
    #[serde(default = "yes")]
    pub enabled: bool,
    /// Whether it should not be there. Default: false.
    #[serde(default)]
    pub absent: bool,
    /// As whom: `true` for root, or a name. Default: as `ssh::host` says.
    #[serde(default, rename = "become")]
    pub become_: Option<BecomeOption>,
}

fn yes() -> bool {
    true
}

const KEYRINGS: &str = "/etc/apt/keyrings";

/// Brings a repository to its wanted state: its key, then its sources.
pub(super) fn apt_repository(call: &NativeCallContext<'_>, host: &Host, map: ScriptMap) -> RhaiResult<ScriptMap> {
    let options: AptRepositoryOptions = options(call, "apt_repository", map)?;
    bring_about(host, &options).map_err(fail)
}

/// Refuses a host whose packages come from elsewhere.
fn check_for_apt(host: &Host) -> Result<()> {
    let found = look(&Entry::seen(host, "/etc/apt", Amount::Nothing))?;
    if found != State::Absent || scope::stale_realm(&host.realm())?.is_some() {
        return Ok(());
    }
    Err(Error::new(Class::Blocked, format!("{}: repositories are only supported with apt", host.name()))
        .cause("/etc/apt: No such file or directory")
        .help("add it with the host's own command: `h.run(…, #{ unless: … })`"))
}

fn bring_about(host: &Host, options: &AptRepositoryOptions) -> Result<ScriptMap> {
    check(options)?;
    check_for_apt(host)?;
    let file = |path: String, content: Option<Maybe<TextOrSecret>>| -> Result<Arc<File>> {
        let file = FileOptions {
            path,
            mode: content.as_ref().map(|_| "0644".to_owned()),
            absent: content.is_none(),
            content,
            become_: options.become_.clone(),
            ..FileOptions::default()
        };
        File::new(host, file).map(Arc::new)
    };
    let key_path = format!("{KEYRINGS}/{}.asc", options.name);
    let sources_path = format!("/etc/apt/sources.list.d/{}.sources", options.name);
    let sources = (!options.absent).then(|| Maybe::Known(TextOrSecret::Text(sources(options, &key_path))));
    if options.absent {
        let sources = ensure(&file(sources_path, None)?)?;
        let key = ensure(&file(key_path, None)?)?;
        return Ok(outcome::to_map(if sources.changed == Changed::No { key } else { sources }));
    }
    let mut key = None;
    if options.key.is_some() {
        let folder = DirectoryOptions {
            path: KEYRINGS.to_owned(),
            mode: None,
            owner: None,
            group: None,
            parents: false,
            absent: false,
            allow_destroy: false,
            become_: options.become_.clone(),
        };
        ensure(&Arc::new(Directory::new(host, folder)?))?;
        key = Some(ensure(&file(key_path, options.key.clone())?)?);
    }
    let sources = ensure(&file(sources_path, sources)?)?;
    // Whoever waits for a change hears of a new key as well.
    let told = key.filter(|key| key.changed != Changed::No && sources.changed == Changed::No);
    Ok(outcome::to_map(told.unwrap_or(sources)))
}

fn check(options: &AptRepositoryOptions) -> Result<()> {
    let refuse = |what: &str| Error::new(Class::Script, format!("`apt_repository`: {what}"));
    let letter = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    if options.name.is_empty() || options.name.starts_with('.') || !options.name.chars().all(letter) {
        return Err(refuse(&format!("{:?} is no name of a file in sources.list.d", options.name))
            .help("letters, digits, `-`, `_` and `.`; apt passes over all other files"));
    }
    let words = [&options.uris, &options.suites, &options.components, &options.architectures];
    let words = words.into_iter().flatten().chain(options.types.iter().flatten()).chain(&options.signed_by);
    if let Some(word) = words.into_iter().find(|word| word.is_empty() || word.contains(char::is_whitespace)) {
        return Err(refuse(&format!("{word:?} is no single word")).help("each is an entry of its list"));
    }
    if options.key.is_some() && options.signed_by.is_some() {
        return Err(refuse("`key` and `signed_by` both say who signs it").help("leave out one of them"));
    }
    if options.absent {
        return Ok(());
    }
    if options.uris.is_empty() || options.suites.is_empty() {
        return Err(refuse("needs `uris` and `suites`").help("as in `uris: [\"https://…\"], suites: [\"stable\"]`"));
    }
    let is_path = |suite: &String| suite.ends_with('/');
    if options.suites.iter().all(is_path) != options.components.is_empty() {
        return Err(refuse("a suite has components, unless it is a path that ends in `/`")
            .help("as in `suites: [\"stable\"], components: [\"main\"]`, or `suites: [\"./\"]`"));
    }
    match &options.key {
        Some(Maybe::Known(key)) if !key.expose().contains("-----BEGIN PGP PUBLIC KEY BLOCK-----") => Err(refuse(
            "`key` is no key in text form",
        )
        .help(
            "it begins with `-----BEGIN PGP PUBLIC KEY BLOCK-----`; `gpg --enarmor` makes one of a binary key, or put \
                 it there with `h.file` and name it in `signed_by`",
        )),
        _ => Ok(()),
    }
}

/// The sources as apt reads them.
fn sources(options: &AptRepositoryOptions, key_path: &str) -> String {
    let types = options.types.clone().unwrap_or_else(|| vec!["deb".to_owned()]);
    let signed_by = match &options.key {
        Some(_) => vec![key_path.to_owned()],
        None => options.signed_by.iter().cloned().collect(),
    };
    let enabled = if options.enabled { Vec::new() } else { vec!["no".to_owned()] };
    let trusted = if options.trusted { vec!["yes".to_owned()] } else { Vec::new() };
    let fields = [
        ("Types", &types),
        ("URIs", &options.uris),
        ("Suites", &options.suites),
        ("Components", &options.components),
        ("Architectures", &options.architectures),
        ("Signed-By", &signed_by),
        ("Trusted", &trusted),
        ("Enabled", &enabled),
    ];
    fields
        .iter()
        .filter(|(_, words)| !words.is_empty())
        .map(|(name, words)| format!("{name}: {}\n", words.join(" ")))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(json: serde_json::Value) -> AptRepositoryOptions {
        serde_json::from_value(json).expect("sound options")
    }

    #[test]
    fn sources_are_written_as_apt_reads_them() {
        let asked = options(serde_json::json!({
            "name": "lab", "uris": ["https://apt.example.org/debian"], "suites": ["stable"], "components": ["main", "extra"],
            "architectures": ["amd64"], "signed_by": "/usr/share/keyrings/lab.gpg", "enabled": false,
        }));
        check(&asked).expect("sound");
        let expected = "Types: deb\nURIs: https://apt.example.org/debian\nSuites: stable\nComponents: main extra\n\
                        Architectures: amd64\nSigned-By: /usr/share/keyrings/lab.gpg\nEnabled: no\n";
        assert_eq!(sources(&asked, "/etc/apt/keyrings/lab.asc"), expected);
    }

    #[test]
    fn what_apt_would_not_read_is_refused() {
        for json in [
            serde_json::json!({ "name": "a b", "uris": ["x"], "suites": ["./"] }),
            serde_json::json!({ "name": "a", "suites": ["./"] }),
            serde_json::json!({ "name": "a", "uris": ["x"], "suites": ["stable"] }),
            serde_json::json!({ "name": "a", "uris": ["x"], "suites": ["./"], "components": ["main"] }),
            serde_json::json!({ "name": "a", "uris": ["x y"], "suites": ["./"] }),
            serde_json::json!({ "name": "a", "uris": ["x"], "suites": ["./"], "key": "tiger" }),
        ] {
            assert!(check(&options(json.clone())).is_err(), "{json}");
        }
    }
}
