//! Jobs that a host runs at certain times.

use std::sync::Arc;

use rhai::{Map as ScriptMap, NativeCallContext};
use schemars::JsonSchema;
use serde::Deserialize;

use super::connect::BecomeOption;
use super::handle::Host;
use super::mechanism::edited::{Edited, Missing, Place as File, What};
use super::mechanism::part::{Part, Placed};
use super::mechanism::text;
use crate::clients::ssh::{Command, Output, quote};
use crate::error::{Class, Error, Result};
use crate::primitives::flow::outcome;
use crate::run::difference::Difference;
use crate::run::ensure::ensure;
use crate::run::unknown::Unknown;
use crate::run::value::{Map, State, Value};
use crate::script::RhaiResult;
use crate::script::context::options;
use crate::script::failure::fail;

/// A job as it should be. Whether a cron daemon runs is the service's matter: `h.service`.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CronOptions {
    /// What the job is called: a comment above its line holds the name.
    pub name: String,
    /// The command, on one line. cron takes a `%` for a line break unless a backslash stands before it. Default: none,
    /// which `absent` needs.
    #[serde(default)]
    pub job: Option<String>,
    /// The minutes, 0 to 59, as cron writes them: `"*/15"`. Default: `"*"`, all of them.
    #[serde(default)]
    pub minute: Option<Field>,
    /// The hours, 0 to 23. Default: `"*"`, all of them.
    #[serde(default)]
    pub hour: Option<Field>,
    /// The days of the month, 1 to 31. Default: `"*"`, all of them.
    #[serde(default)]
    pub day: Option<Field>,
    /// The months, 1 to 12. Default: `"*"`, all of them.
    #[serde(default)]
    pub month: Option<Field>,
    /// The days of the week, 0 to 6 from Sunday. Default: `"*"`, all of them.
    #[serde(default)]
    pub weekday: Option<Field>,
    /// A time by its name, in place of the five above. Default: none.
    #[serde(default)]
    pub special_time: Option<SpecialTime>,
    /// The file in `/etc/cron.d` that holds it: letters, digits, `_` and `-`. BusyBox's cron does not read those. Default:
    /// none, then it is a line of the user's crontab.
    #[serde(default)]
    pub cron_file: Option<String>,
    /// Whom the job runs as. Default: with `cron_file` root, else whoever the crontab belongs to: the user that is logged in
    /// or become.
    #[serde(default)]
    pub user: Option<String>,
    /// Whether it should not be there. Default: false.
    #[serde(default)]
    pub absent: bool,
    /// As whom: `true` for root, or a name. Default: as `ssh::host` says.
    #[serde(default, rename = "become")]
    pub become_: Option<BecomeOption>,
}

/// One of the five fields of a time.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum Field {
    /// One number.
    Number(i64),
    /// A list, a range, a step, or all.
    Text(String),
}

/// A time by its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum SpecialTime {
    /// After each boot.
    Reboot,
    /// At the beginning of each hour.
    Hourly,
    /// At midnight.
    Daily,
    /// At midnight before Sunday.
    Weekly,
    /// At midnight before the first of the month.
    Monthly,
    /// At midnight before the first of January.
    Yearly,
}

/// A job in a crontab.
struct Crontab {
    name: String,
    user: Option<String>,
    whose: String,
    line: Option<String>,
}

/// Brings a job to its wanted state.
pub(super) fn cron(call: &NativeCallContext<'_>, host: &Host, map: ScriptMap) -> RhaiResult<ScriptMap> {
    let options: CronOptions = options(call, "cron", map)?;
    one(host, options).map_err(fail)
}

fn refuse<T>(what: &str, help: &str) -> Result<T> {
    Err(Error::new(Class::Script, format!("`cron`: {what}")).help(help))
}

fn one(host: &Host, options: CronOptions) -> Result<ScriptMap> {
    if options.name.trim().is_empty() || options.name.contains(['\n', '\r', '\0']) {
        return refuse("option `name` is no name", "some words, on one line");
    }
    let is_word = |text: &String| !text.is_empty() && !text.starts_with('-') && !text.contains([' ', '\n', '\t', '\0']);
    if options.user.as_ref().is_some_and(|user| !is_word(user)) {
        return refuse("option `user` is no user", "as in `user: \"backup\"`");
    }
    let job = match (&options.job, options.absent) {
        (Some(job), false) => Some(format!("{} {}", when(&options)?, user_and_job(&options, job)?)),
        (None, true) => None,
        (None, false) => return refuse("option `job` is missing", "say what is to run, or `absent: true`"),
        (Some(_), true) => return refuse("a job that is absent runs nothing", "leave out one or the other"),
    };
    match options.cron_file.clone() {
        Some(file) => in_file(host, options, &file, job),
        None => {
            let whose =
                options.user.clone().or_else(|| host.whom(options.become_.as_ref()).map(|who| who.name().to_owned()));
            let whose = whose.unwrap_or_else(|| "own".to_owned());
            let part = Crontab { name: options.name, user: options.user, whose, line: job };
            ensure(&Arc::new(Placed::new(host, options.become_.as_ref(), part))).map(outcome::to_map)
        }
    }
}

/// The time of a line.
fn when(options: &CronOptions) -> Result<String> {
    let fields = [&options.minute, &options.hour, &options.day, &options.month, &options.weekday];
    if let Some(special) = options.special_time {
        if fields.iter().any(|field| field.is_some()) {
            return refuse("`special_time` stands alone", "leave out `minute`, `hour`, `day`, `month` and `weekday`");
        }
        return Ok(format!("@{special:?}").to_lowercase());
    }
    let sound = |c: char| c.is_ascii_alphanumeric() || "*/,-".contains(c);
    let texts = fields.map(|field| match field {
        None => "*".to_owned(),
        Some(Field::Number(number)) => number.to_string(),
        Some(Field::Text(text)) => text.clone(),
    });
    match texts.iter().find(|text| text.is_empty() || text.starts_with('-') || !text.chars().all(sound)) {
        Some(text) => {
            refuse(&format!("{text:?} is no part of a time"), "as cron writes it: `minute: \"*/15\", hour: 3`")
        }
        None => Ok(texts.join(" ")),
    }
}

fn user_and_job(options: &CronOptions, job: &str) -> Result<String> {
    if job.trim().is_empty() || job.contains(['\n', '\r', '\0']) {
        return refuse(
            "option `job` is not one line",
            "put longer ones into a script: `h.file(#{ …, mode: \"0755\" })`",
        );
    }
    Ok(match &options.cron_file {
        Some(_) => format!("{} {}", options.user.as_deref().unwrap_or("root"), job.trim()),
        None => job.trim().to_owned(),
    })
}

fn mark(name: &str) -> String {
    format!("# homelab: {}", name.trim())
}

fn in_file(host: &Host, options: CronOptions, file: &str, line: Option<String>) -> Result<ScriptMap> {
    // cron passes over files with other letters in their names, without a word.
    if file.is_empty() || !file.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-') {
        return refuse("option `cron_file` is no name of a file", "letters, digits, `_` and `-`: \"backup\"");
    }
    let mark = mark(&options.name);
    let what = What {
        kind: "cron",
        name: format!("{} (/etc/cron.d/{file})", options.name),
        secret: false,
        missing: if line.is_some() { Missing::Create } else { Missing::Fine },
        prune: line.is_none(),
        edit: Ok(Box::new(move |text| Ok(text::put_named(text, &mark, line.as_deref())))),
    };
    let file = File { path: format!("/etc/cron.d/{file}"), become_: options.become_, ..File::default() };
    Edited::new(host, file, what)?.ensure_for_script()
}

impl Crontab {
    fn of(&self) -> String {
        self.user.as_ref().map_or_else(String::new, |user| format!("-u {} ", quote(user)))
    }
}

impl Part for Crontab {
    const KIND: &'static str = "cron";

    fn name(&self) -> String {
        self.name.clone()
    }

    fn cell(&self) -> String {
        format!("crontab:{}", self.whose)
    }

    fn question(&self) -> String {
        format!(
            r#"command -v crontab > /dev/null 2>&1 || {{ echo 'crontab: not found' >&2; exit 1; }}
if t=$(crontab {of}-l 2>&1); then echo there; printf '%s' "$t"
else case $t in
*'no crontab for'* | *'No such file or directory'*) echo absent;;
*) printf '%s\n' "$t" >&2; exit 1;;
esac; fi
"#,
            of = self.of()
        )
    }

    fn parse(&self, answer: &str) -> Result<State> {
        Ok(match answer.strip_prefix("there\n") {
            Some(text) => here(Value::Text(text.lines().map(|line| format!("{line}\n")).collect())),
            None => State::Absent,
        })
    }

    fn want(&self, have: &State) -> Result<State> {
        let text = match have {
            State::Absent if self.line.is_none() => return Ok(State::Absent),
            State::Absent => "",
            State::Here(state) => state.get("content").and_then(Value::as_text).unwrap_or_default(),
            State::Unknown(unknown) => {
                let own = Unknown::from_origin(format!("crontab of {}", self.whose));
                return Ok(State::Unknown(Unknown::join([unknown, &own])));
            }
        };
        Ok(here(Value::Text(text::put_named(text, &mark(&self.name), self.line.as_deref()))))
    }

    fn command(&self, difference: &Difference) -> Result<Command> {
        let text = difference.wanted("content").and_then(Value::as_text).unwrap_or_default();
        Ok(Command::script(format!("crontab {}-\n", self.of())).stdin(text))
    }

    fn refusal(&self, host: &Host, output: &Output) -> Option<Error> {
        let said = output.stderr_text();
        said.contains("crontab: not found").then(|| {
            Error::new(Class::Failed, format!("{}: it has no `crontab`", host.name()))
                .help("install a cron: `h.packages(#{ names: [\"cron\"] })`, or use a timer of systemd")
        })
    }
}

fn here(content: Value) -> State {
    State::Here(Value::Map(Map::from([("content".to_owned(), content)])))
}
