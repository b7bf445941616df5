//! One line of a text file on a host.

use regex::Regex;
use rhai::{Map as ScriptMap, NativeCallContext};
use schemars::JsonSchema;
use serde::Deserialize;

use super::connect::BecomeOption;
use super::handle::Host;
use super::mechanism::edited::{Edit, Edited, Missing, Place as File, What};
use super::mechanism::text::{self, Place};
use crate::error::{Class, Error, Result};
use crate::run::scope;
use crate::script::RhaiResult;
use crate::script::args::{Maybe, TextOrSecret};
use crate::script::context::options;
use crate::script::failure::fail;

/// A line as it should be. What is not said about the file is left as it is.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LineOptions {
    /// The path of the file, absolute.
    pub path: String,
    /// The line, without a line break: text or a secret. With `absent` and no `regexp`, the lines that go. Default: none,
    /// which `absent` with `regexp` allows.
    #[serde(default)]
    pub line: Option<Maybe<TextOrSecret>>,
    /// What the line replaces: a regular expression that is looked for in each line. The last line that matches becomes
    /// the wanted one; where none does, it is added unless it is there. With `absent`, all lines that match go. Default:
    /// none, then the very line is looked for.
    #[serde(default)]
    pub regexp: Option<String>,
    /// Where a new line is put: after the last line that matches this regular expression, at the end where none does.
    /// `"EOF"` is the end. Default: `"EOF"`.
    #[serde(default)]
    pub insert_after: Option<String>,
    /// Where a new line is put: before the last line that matches this regular expression, at the end where none does.
    /// `"BOF"` is the beginning. Default: none.
    #[serde(default)]
    pub insert_before: Option<String>,
    /// Whether a missing file is made. Default: false, then it is an error.
    #[serde(default)]
    pub create: bool,
    /// Whether the line should not be there. Default: false.
    #[serde(default)]
    pub absent: bool,
    /// The permissions as octal digits: `"0640"`. Default: those it has; `"0644"` for a new file, `"0600"` where the line
    /// is secret.
    #[serde(default)]
    pub mode: Option<String>,
    /// The owner, by name or number. Default: the one it has.
    #[serde(default)]
    pub owner: Option<String>,
    /// The group, by name or number. Default: the one it has.
    #[serde(default)]
    pub group: Option<String>,
    /// A command that says whether the content is sound, with `%s` for the path of the new file, before it takes its
    /// place: `"sshd -t -f %s"`. Default: none.
    #[serde(default)]
    pub validate: Option<String>,
    /// Whether what was there is kept beside it, with `.homelab-backup` at the end of its name. Default: false.
    #[serde(default)]
    pub backup: bool,
    /// Whether a symbolic link at the path is followed. Without it, one is an error. Default: false.
    #[serde(default)]
    pub follow: bool,
    /// As whom: `true` for root, or a name. Default: as `ssh::host` says.
    #[serde(default, rename = "become")]
    pub become_: Option<BecomeOption>,
}

/// Brings a line to its wanted state.
pub(super) fn line(call: &NativeCallContext<'_>, host: &Host, map: ScriptMap) -> RhaiResult<ScriptMap> {
    let options: LineOptions = options(call, "line", map)?;
    resource(host, options).and_then(Edited::ensure_for_script).map_err(fail)
}

fn resource(host: &Host, options: LineOptions) -> Result<Edited> {
    let pattern = options.regexp.as_deref().map(|text| regex("line", "regexp", text)).transpose()?;
    let place = place("line", options.insert_after.as_deref(), options.insert_before.as_deref())?;
    let what = What {
        kind: "line",
        name: name(&options)?,
        secret: matches!(options.line, Some(Maybe::Known(TextOrSecret::Secret(_)))),
        edit: match (options.line, pattern, options.absent) {
            (Some(Maybe::Unknown(unknown)), _, _) => Err(unknown),
            (Some(Maybe::Known(line)), pattern, absent) => Ok(edit(one_line(&line)?, pattern, place, absent)?),
            (None, Some(pattern), true) => {
                Ok(Box::new(move |text| Ok(text::drop_lines(text, |line| pattern.is_match(line)))))
            }
            (None, None, true) => return Err(missing("`regexp` says which lines go, or `line`")),
            (None, _, false) => return Err(missing("say what it should be, or `absent: true`")),
        },
        missing: Missing::of(options.absent, options.create),
        prune: false,
    };
    let file = File {
        path: options.path,
        mode: options.mode,
        owner: options.owner,
        group: options.group,
        validate: options.validate,
        backup: options.backup,
        follow: options.follow,
        lax: false,
        become_: options.become_,
    };
    Edited::new(host, file, what)
}

fn missing(help: &str) -> Error {
    Error::new(Class::Script, "`line`: option `line` is missing").help(help)
}

fn edit(line: String, pattern: Option<Regex>, place: Place, absent: bool) -> Result<Edit> {
    Ok(match (absent, pattern) {
        (true, Some(_)) => {
            return Err(Error::new(Class::Script, "`line`: `line` and `regexp` both say which lines go")
                .help("leave out one of them"));
        }
        (true, None) => Box::new(move |text| Ok(text::drop_lines(text, |known| known == line))),
        (false, pattern) => Box::new(move |text| Ok(text::put_line(text, &line, pattern.as_ref(), &place))),
    })
}

/// What its change is listed under: the line, or what it replaces where it is secret or not known yet.
fn name(options: &LineOptions) -> Result<String> {
    let what = match (&options.line, &options.regexp) {
        (Some(Maybe::Known(TextOrSecret::Text(line))), None) => scope::clean(line),
        (_, Some(pattern)) => pattern.clone(),
        (Some(Maybe::Unknown(unknown)), None) => {
            return Err(Error::new(Class::Script, "`line`: option `regexp` is missing")
                .cause(format!("the line is only known after apply ({}), so it cannot name itself", unknown.origin()))
                .help("say which line it replaces: `regexp: \"^token=\"`"));
        }
        (_, None) => return Ok(options.path.clone()),
    };
    Ok(format!("{} ({what})", options.path))
}

fn one_line(line: &TextOrSecret) -> Result<String> {
    let text = line.expose();
    if text.contains(['\n', '\r', '\0']) {
        return Err(Error::new(Class::Script, "`line`: option `line` holds more than one line")
            .help("`h.block` puts several lines into a file"));
    }
    Ok(text.to_owned())
}

/// A regular expression of a playbook.
pub(super) fn regex(function: &str, option: &str, text: &str) -> Result<Regex> {
    Regex::new(text).map_err(|error| {
        Error::new(Class::Script, format!("`{function}`: option `{option}`: `{text}` is not a regular expression"))
            .cause(error)
            .help("write it in backticks, so that backslashes stay: `^Port\\s`")
    })
}

/// Where something new is put.
pub(super) fn place(function: &str, after: Option<&str>, before: Option<&str>) -> Result<Place> {
    Ok(match (after, before) {
        (Some(_), Some(_)) => {
            return Err(Error::new(
                Class::Script,
                format!("`{function}`: `insert_after` and `insert_before` both say where"),
            )
            .help("leave out one of them"));
        }
        (None | Some("EOF"), None) => Place::End,
        (None, Some("BOF")) => Place::Beginning,
        (Some(text), None) => Place::After(regex(function, "insert_after", text)?),
        (None, Some(text)) => Place::Before(regex(function, "insert_before", text)?),
    })
}
