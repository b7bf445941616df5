//! A block of lines in a text file on a host, between two lines that mark it.

use rhai::{Map as ScriptMap, NativeCallContext};
use schemars::JsonSchema;
use serde::Deserialize;

use super::connect::BecomeOption;
use super::handle::Host;
use super::line::place;
use super::mechanism::edited::{Edited, Missing, Place as File, What};
use super::mechanism::text;
use crate::error::{Class, Error, Result};
use crate::script::RhaiResult;
use crate::script::args::{Maybe, TextOrSecret};
use crate::script::context::options;
use crate::script::failure::fail;

/// A block as it should be. What is not said about the file is left as it is.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct BlockOptions {
    /// The path of the file, absolute.
    pub path: String,
    /// What the block is called: its marks hold the name, so that a file can have several.
    pub name: String,
    /// The lines between the marks: text or a secret. Default: none, which `absent` needs.
    #[serde(default)]
    pub content: Option<Maybe<TextOrSecret>>,
    /// How the lines that mark it read, with `{mark}` for `BEGIN` and `END` and `{name}` for its name. Default:
    /// `"# {mark} homelab {name}"`.
    #[serde(default)]
    pub marker: Option<String>,
    /// Where a new block is put: after the last line that matches this regular expression, at the end where none does.
    /// `"EOF"` is the end. Default: `"EOF"`.
    #[serde(default)]
    pub insert_after: Option<String>,
    /// Where a new block is put: before the last line that matches this regular expression, at the end where none does.
    /// `"BOF"` is the beginning. Default: none.
    #[serde(default)]
    pub insert_before: Option<String>,
    /// Whether a missing file is made. Default: false, then it is an error.
    #[serde(default)]
    pub create: bool,
    /// Whether the block should not be there, nor its marks. Default: false.
    #[serde(default)]
    pub absent: bool,
    /// The permissions as octal digits: `"0640"`. Default: those it has; `"0644"` for a new file, `"0600"` where the
    /// content is secret.
    #[serde(default)]
    pub mode: Option<String>,
    /// The owner, by name or number. Default: the one it has.
    #[serde(default)]
    pub owner: Option<String>,
    /// The group, by name or number. Default: the one it has.
    #[serde(default)]
    pub group: Option<String>,
    /// A command that says whether the content is sound, with `%s` for the path of the new file, before it takes its
    /// place: `"nginx -t -c %s"`. Default: none.
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

/// Brings a block to its wanted state.
pub(super) fn block(call: &NativeCallContext<'_>, host: &Host, map: ScriptMap) -> RhaiResult<ScriptMap> {
    let options: BlockOptions = options(call, "block", map)?;
    resource(host, options).and_then(Edited::ensure_for_script).map_err(fail)
}

fn resource(host: &Host, options: BlockOptions) -> Result<Edited> {
    let refuse = |what: &str, help: &str| Err(Error::new(Class::Script, format!("`block`: {what}")).help(help));
    let (begin, end) = marks(options.marker.as_deref(), &options.name)?;
    let place = place("block", options.insert_after.as_deref(), options.insert_before.as_deref())?;
    let content = match (options.content, options.absent) {
        (Some(_), true) => return refuse("a block that is absent has no content", "leave out one or the other"),
        (None, false) => return refuse("option `content` is missing", "say what is in it, or `absent: true`"),
        (content, _) => content,
    };
    let secret = matches!(content, Some(Maybe::Known(TextOrSecret::Secret(_))));
    let content = match content {
        Some(Maybe::Unknown(unknown)) => Err(unknown),
        Some(Maybe::Known(content)) => Ok(Some(content.expose().to_owned())),
        None => Ok(None),
    };
    if let Ok(Some(text)) = &content
        && text.lines().any(|line| [&begin, &end].contains(&&line.trim_end().to_owned()))
    {
        return refuse("its content holds its own marks", "leave them out: they are put around it");
    }
    let what = What {
        kind: "block",
        name: format!("{} ({})", options.path, options.name),
        secret,
        edit: content.map(|content| -> super::mechanism::edited::Edit {
            Box::new(move |text| {
                text::put_block(text, (&begin, &end), content.as_deref(), &place).map_err(|what| {
                    Error::new(Class::Conflict, what)
                        .help("nobody can tell where the block is: put its marks right by hand, or take them out")
                })
            })
        }),
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

/// The lines around a block.
fn marks(marker: Option<&str>, name: &str) -> Result<(String, String)> {
    let marker = marker.unwrap_or("# {mark} homelab {name}");
    let refuse = |what: String, help: &str| Err(Error::new(Class::Script, format!("`block`: {what}")).help(help));
    if name.trim().is_empty() || name.contains(['\n', '\r', '\0', '{']) {
        return refuse(format!("option `name`: {name:?} is no name"), "a word or some, on one line");
    }
    if !marker.contains("{mark}") || marker.contains(['\n', '\r', '\0']) {
        return refuse(
            "option `marker` is not one line with `{mark}` in it".to_owned(),
            "as in `marker: \"; {mark} {name}\"`: it becomes `; BEGIN dns` and `; END dns`",
        );
    }
    let mark = |word: &str| marker.replace("{mark}", word).replace("{name}", name).trim_end().to_owned();
    Ok((mark("BEGIN"), mark("END")))
}
