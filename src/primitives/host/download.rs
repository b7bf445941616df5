//! Files that a host fetches from the web by itself.

use std::sync::Arc;

use rhai::{Map as ScriptMap, NativeCallContext};
use schemars::JsonSchema;
use serde::Deserialize;

use super::connect::BecomeOption;
use super::handle::Host;
use super::mechanism::bulk::{self, Sum};
use super::mechanism::entry::{self, Entry, Stands};
use super::mechanism::ownership::Ownership;
use super::mechanism::probe;
use super::mechanism::replace::Replace;
use crate::clients::ssh::{Command, Exit, Output, quote};
use crate::error::{Class, Error, Result};
use crate::primitives::flow::outcome;
use crate::run::capability::Writer;
use crate::run::difference::Difference;
use crate::run::ensure::ensure;
use crate::run::resource::Resource;
use crate::run::value::{Map, State, Value};
use crate::script::RhaiResult;
use crate::script::args::Duration;
use crate::script::context::options;
use crate::script::failure::fail;

/// A file that a host fetches.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DownloadOptions {
    /// Where it is fetched from, with `curl` or `wget`: `http://` or `https://`.
    pub url: String,
    /// The path of the file, absolute.
    pub path: String,
    /// The SHA-256 of its content in hexadecimal digits, with or without `sha256:` in front. A file that has it is not
    /// fetched again, and nothing else takes its place.
    pub checksum: String,
    /// The permissions as octal digits: `"0755"`. Default: those it has, `"0644"` for a new file.
    #[serde(default)]
    pub mode: Option<String>,
    /// The owner, by name or number. Default: the one it has.
    #[serde(default)]
    pub owner: Option<String>,
    /// The group, by name or number. Default: the one it has.
    #[serde(default)]
    pub group: Option<String>,
    /// How long fetching may take. Default: as long as it likes.
    #[serde(default)]
    pub timeout: Option<Duration>,
    /// As whom: `true` for root, or a name. Default: as `ssh::host` says.
    #[serde(default, rename = "become")]
    pub become_: Option<BecomeOption>,
}

/// A file of the web on a host.
struct Download {
    entry: Entry,
    ownership: Ownership,
    url: String,
    sum: Sum,
    timeout: Option<std::time::Duration>,
}

/// The host has nothing to fetch with.
const NO_TOOL: Exit = Exit::Code(91);
/// It could not be fetched.
const NOT_FETCHED: Exit = Exit::Code(92);
/// What was fetched is something else.
const OTHER_SUM: Exit = Exit::Code(93);

/// Brings a file of the web to a host.
pub(super) fn download(call: &NativeCallContext<'_>, host: &Host, map: ScriptMap) -> RhaiResult<ScriptMap> {
    let options: DownloadOptions = options(call, "download", map)?;
    let download = Download::new(host, options).map_err(fail)?;
    ensure(&Arc::new(download)).map(outcome::to_map).map_err(fail)
}

impl Download {
    fn new(host: &Host, options: DownloadOptions) -> Result<Self> {
        let refuse =
            |what: String, help: &str| Err(Error::new(Class::Script, format!("`download`: {what}")).help(help));
        let path = probe::normal_path("path", &options.path)?;
        if !["http://", "https://"].iter().any(|scheme| options.url.starts_with(scheme))
            || options.url.contains(|c: char| c.is_whitespace() || c.is_control())
        {
            return refuse(
                format!("option `url`: {:?} is no address on the web", options.url),
                "as in \"https://example.com/file\"",
            );
        }
        let sha256 = options.checksum.strip_prefix("sha256:").unwrap_or(&options.checksum).to_lowercase();
        if sha256.len() != 64 || !sha256.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return refuse(
                format!("option `checksum`: {:?} is no SHA-256", options.checksum),
                "64 hexadecimal digits, which whoever publishes the file tells: \"sha256:…\"",
            );
        }
        let ownership = Ownership::parse(options.mode.as_deref(), options.owner, options.group)?;
        Ok(Download {
            entry: bulk::entry_of(host, path, options.become_.as_ref(), &ownership),
            ownership,
            url: options.url,
            sum: Sum { sha256, size: None },
            timeout: options.timeout.map(|span| span.0),
        })
    }

    /// Fetches it into `$new`, and goes on only with the right content.
    fn fetch(&self) -> String {
        format!(
            r#"url={url}
if command -v curl > /dev/null 2>&1; then curl -fsSL -o "$new" --url "$url" || exit 92
elif command -v wget > /dev/null 2>&1; then wget -q -O "$new" "$url" || {{ echo "wget ended with $?" >&2; exit 92; }}
else exit 91; fi
sum=$(sha256sum < "$new") || exit 1
if [ "${{sum%% *}}" != {sha256} ]; then echo "fetched: ${{sum%% *}}" >&2; exit 93; fi
"#,
            url = quote(&self.url),
            sha256 = self.sum.sha256
        )
    }

    fn explain(&self, output: &Output) -> Error {
        let said = output.stderr_text();
        let error = |what: &str| Error::new(Class::Failed, format!("{}: {what}", self.address()));
        match &output.exit {
            exit if *exit == NO_TOOL => error("the host has neither curl nor wget")
                .help("install one before: `h.packages(#{ names: [\"curl\"] })`, or send the file: `h.upload(#{ … })`"),
            exit if *exit == NOT_FETCHED => error(&format!("{} cannot be fetched", self.url))
                .cause(said.trim())
                .help("nothing was changed; the words are the host's own, which fetches it by itself"),
            exit if *exit == OTHER_SUM => error(&format!("{} is not what its checksum says", self.url))
                .cause(format!("wanted: {}", self.sum.sha256))
                .cause(said.trim())
                .help("nothing was changed; ask whoever publishes it for the checksum of this very version"),
            _ => self.entry.host.refusal(&format!("{} was not changed", self.entry.path()), output),
        }
    }
}

impl Stands for Download {
    fn entry(&self) -> &Entry {
        &self.entry
    }

    fn address(&self) -> String {
        format!("{}:download:{}", self.entry.host.name(), self.entry.path())
    }
}

impl Resource for Download {
    fn want(&self, have: &State) -> Result<State> {
        if let State::Here(Value::Map(map)) = have {
            entry::check_file(&self.address(), map)?;
        }
        Ok(self.sum.want(have, &self.ownership))
    }

    fn change(&self, difference: &Difference, writer: &Writer) -> Result<Map> {
        let ownership = bulk::effective(&self.ownership, difference);
        let replace = Replace::plain(self.entry.path(), &ownership);
        let script = match bulk::is_about_content(difference) {
            true => replace.script_with(difference, &self.fetch()),
            false => replace.ownership_script(difference),
        };
        let command = Command::script(script)
            .become_(self.entry.become_.clone())
            .timeout(self.timeout)
            .called(format!("download {}", self.url));
        let output = self.entry.host.exec(command, None, writer)?;
        if output.success() { Ok(Map::new()) } else { Err(self.explain(&output)) }
    }

    fn fills(&self) -> Vec<String> {
        ["owner", "group"].map(str::to_owned).to_vec()
    }
}
