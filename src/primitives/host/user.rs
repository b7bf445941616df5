//! Users of a host.

use std::sync::Arc;

use rhai::{Map as ScriptMap, NativeCallContext};
use schemars::JsonSchema;
use serde::Deserialize;

use super::accounts::{self, Numbers};
use super::connect::BecomeOption;
use super::handle::Host;
use super::mechanism::part::{Asking, Part, Placed};
use super::shadow;
use crate::clients::ssh::{Command, quote, quote_all};
use crate::error::{Class, Error, Result};
use crate::primitives::flow::outcome;
use crate::run::difference::Difference;
use crate::run::ensure::ensure;
use crate::run::event::Action;
use crate::run::resource::Cell;
use crate::run::scope;
use crate::run::secret::Secret;
use crate::run::value::{State, Value};
use crate::script::RhaiResult;
use crate::script::args::TextOrSecret;
use crate::script::context::options;
use crate::script::failure::fail;

/// A user as it should be. What is not said is left as it is, and for a new one to the host.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct UserOptions {
    /// The name to log in with.
    pub name: String,
    /// The number. Default: the next free one.
    #[serde(default)]
    pub uid: Option<u32>,
    /// The primary group, by name. It must be there. Default: one of the user's name, made with the user.
    #[serde(default)]
    pub group: Option<String>,
    /// The other groups it belongs to, by name. They must be there. Default: as it is.
    #[serde(default)]
    pub groups: Option<Vec<String>>,
    /// Whether it also stays in groups that `groups` does not name. Default: false.
    #[serde(default)]
    pub append: bool,
    /// The shell it logs in with. Default: the host's.
    #[serde(default)]
    pub shell: Option<String>,
    /// The home folder. Where it is changed, nothing is moved. Default: below `/home`.
    #[serde(default)]
    pub home: Option<String>,
    /// Whether the home folder is made with a new user. Default: true, false for a user of the system.
    #[serde(default)]
    pub create_home: Option<bool>,
    /// The full name, or what else it is for. Default: empty.
    #[serde(default)]
    pub comment: Option<String>,
    /// The password as `/etc/shadow` has it: a hash such as `mkpasswd` makes, `"!"` for none that would fit. It never
    /// shows. Default: none that would fit.
    #[serde(default)]
    pub password_hash: Option<TextOrSecret>,
    /// Whether a new one belongs to the system: with a low number. Default: false.
    #[serde(default)]
    pub system: bool,
    /// Whether it should not be there. Default: false.
    #[serde(default)]
    pub absent: bool,
    /// Whether its home and mail go with it; the playbook must also say `allow_destroy`. Default: false.
    #[serde(default)]
    pub remove: bool,
    /// Whether the playbook allows that its home is removed; the run must name it too. Default: false.
    #[serde(default)]
    pub allow_destroy: bool,
    /// As whom: `true` for root, or a name. Default: as `ssh::host` says.
    #[serde(default, rename = "become")]
    pub become_: Option<BecomeOption>,
}

/// A user.
pub struct User {
    options: UserOptions,
}

/// Brings a user to its wanted state.
pub(super) fn user(call: &NativeCallContext<'_>, host: &Host, map: ScriptMap) -> RhaiResult<ScriptMap> {
    let options: UserOptions = options(call, "user", map)?;
    let become_ = options.become_.clone();
    let user = User::new(options).map_err(fail)?;
    ensure(&Arc::new(Placed::new(host, become_.as_ref(), user))).map(outcome::to_map).map_err(fail)
}

impl User {
    /// A user as a playbook describes it.
    pub fn new(options: UserOptions) -> Result<Self> {
        let refuse = |what: &str| Error::new(Class::Script, format!("`user`: {what}"));
        accounts::check_name("user", &options.name)?;
        for group in options.group.iter().chain(options.groups.iter().flatten()) {
            accounts::check_name("user", group)?;
        }
        for (option, text) in [("shell", &options.shell), ("home", &options.home), ("comment", &options.comment)] {
            if text.as_ref().is_some_and(|text| text.contains([':', '\n', '\0'])) {
                return Err(refuse(&format!("`{option}` cannot hold a colon or a line break")));
            }
        }
        if let Some(hash) = options.password_hash.as_ref().map(TextOrSecret::expose)
            && !accounts::is_password_field(hash)
        {
            return Err(refuse("`password_hash` is no hash").help(
                "it is what stands in /etc/shadow, as `mkpasswd --method=yescrypt` prints it; a password in clear is never sent",
            ));
        }
        if options.absent && (options.uid.is_some() || options.groups.is_some() || options.password_hash.is_some()) {
            return Err(refuse("one that is absent has neither number nor groups nor password")
                .help("leave out `absent`, or the others"));
        }
        if options.remove && !options.absent {
            return Err(refuse("`remove` goes with `absent: true`").help("leave out one or say the other"));
        }
        if options.append && options.groups.is_none() {
            return Err(refuse("`append` goes with `groups`").help("leave out one or say the other"));
        }
        if options.absent && options.name == "root" {
            return Err(refuse("root cannot be absent"));
        }
        Ok(User { options })
    }

    /// A user of whom only the name is known: to be looked at.
    pub fn known_as(name: &str) -> Self {
        User { options: UserOptions { name: name.to_owned(), ..UserOptions::default() } }
    }

    fn groups(&self, have: Option<&Value>) -> Option<Value> {
        let mut groups = self.options.groups.clone()?;
        if self.options.append
            && let Some(Value::List(present)) = have
        {
            groups.extend(present.iter().filter_map(Value::as_text).map(str::to_owned));
        }
        groups.retain(|group| self.options.group.as_ref() != Some(group));
        Some(accounts::sorted(groups))
    }

    /// Refuses groups that there are not, as the tools would in the middle of a run.
    fn refuse_missing_groups(&self, state: &State, asking: &Asking<'_>) -> Result<()> {
        let have = state.here();
        let in_already = |group: &str| {
            let primary = have.and_then(|user| user.get("group")).and_then(Value::as_text) == Some(group);
            let others = have.and_then(|user| user.get("groups"));
            primary
                || matches!(others, Some(Value::List(groups)) if groups.iter().any(|one| one.as_text() == Some(group)))
        };
        let mut new = Vec::new();
        for group in self.options.group.iter().chain(self.options.groups.iter().flatten()) {
            // A dry run may have planned it, by itself or as that of a user.
            let comes = |cell: &Cell| {
                [("group:", group), ("user:", group)]
                    .iter()
                    .any(|(kind, name)| cell.path.strip_prefix(kind) == Some(name.as_str()))
            };
            if !in_already(group) && scope::stale_cells(&asking.host.realm(), comes)?.is_none() {
                new.push(group);
            }
        }
        if new.is_empty() {
            return Ok(());
        }
        let script = format!(
            "{}for group in {}; do entry group \"$group\" > /dev/null || echo \"$group\"; done\n",
            accounts::ENTRY,
            quote_all(new.iter().map(|group| group.as_str()))
        );
        let answer = asking.ask(&script)?;
        match answer.stdout_text().lines().next() {
            None => Ok(()),
            Some(missing) => Err(Error::new(
                Class::Blocked,
                format!("{}: user {}: there is no group {missing}", asking.host.name(), self.options.name),
            )
            .help(format!("make it before: `h.group(#{{ name: {missing:?} }})`"))),
        }
    }

    /// Refuses to remove a home that is somebody else's, which the tools leave where it is.
    fn refuse_foreign_home(&self, state: &State, asking: &Asking<'_>) -> Result<()> {
        let user = state.here();
        let home = user.and_then(|user| user.get("home")).and_then(Value::as_text).filter(|_| self.options.remove);
        let (Some(home), Some(Value::Int(uid))) = (home, user.and_then(|user| user.get("uid"))) else { return Ok(()) };
        let path = asking.host.path_cell(home);
        if scope::stale_cells(&asking.host.realm(), |cell| *cell == path)?.is_some() {
            return Ok(());
        }
        let answer = asking.ask(&format!("stat -L -c %u -- {} 2> /dev/null || :\n", quote(home)))?;
        let owner = answer.stdout_text().trim().to_owned();
        if owner.is_empty() || owner == uid.to_string() {
            return Ok(());
        }
        let (host, name) = (asking.host.name(), &self.options.name);
        Err(Error::new(Class::Blocked, format!("{host}: user {name}: {home} is not its own, and would stay"))
            .cause(format!("it belongs to the user with the number {owner}, and {name} has {uid}"))
            .help("leave out `remove`, and see to that folder with `h.directory`"))
    }

    fn creation(&self, difference: &Difference) -> String {
        let options = &self.options;
        let name = quote(&options.name);
        let mut words = self.changes(difference);
        if options.system {
            words.push("--system".to_owned());
        }
        let home = options.create_home.unwrap_or(!options.system);
        words.push(if home { "--create-home" } else { "--no-create-home" }.to_owned());
        let own_group = match options.group {
            Some(_) => "own=".to_owned(),
            // useradd makes a group of the user's name, and refuses where there is one already.
            None => format!(
                "if entry group {name} > /dev/null; then own={}; else own=--user-group; fi",
                quote(&format!("--gid={}", options.name))
            ),
        };
        format!("{own_group}\nuseradd {} $own -- {name} || exit 1\n", words.join(" "))
    }

    /// The options of `useradd` and `usermod` for what differs.
    fn changes(&self, difference: &Difference) -> Vec<String> {
        let text = |value: &Value| match value {
            Value::List(items) => items.iter().filter_map(Value::as_text).collect::<Vec<_>>().join(","),
            Value::Int(number) => number.to_string(),
            other => other.as_text().unwrap_or_default().to_owned(),
        };
        let fields =
            [("uid", "uid"), ("group", "gid"), ("groups", "groups"), ("shell", "shell"), ("comment", "comment")];
        let home = ("home", if difference.action == Action::Create { "home-dir" } else { "home" });
        let touched = fields.into_iter().chain([home]).filter(|(field, _)| difference.touches(field));
        let asked = touched.filter_map(|(field, option)| Some((option, difference.wanted(field)?)));
        asked.map(|(option, value)| quote(&format!("--{option}={}", text(value)))).collect()
    }
}

impl Part for User {
    const KIND: &'static str = "user";

    fn name(&self) -> String {
        self.options.name.clone()
    }

    fn question(&self) -> String {
        accounts::user_question(&self.options.name, self.options.password_hash.is_some())
    }

    fn parse(&self, answer: &str) -> Result<State> {
        accounts::parse_user(&self.options.name, answer)
    }

    fn complete(&self, state: State, asking: &Asking<'_>) -> Result<State> {
        Numbers::Users.refuse_taken(&self.options.name, self.options.uid, &state, asking)?;
        self.refuse_missing_groups(&state, asking)?;
        self.refuse_foreign_home(&state, asking)?;
        // Asked for together with a password, which only root reads.
        match (&state, &self.options.password_hash) {
            (State::Here(Value::Map(map)), Some(_)) if !map.contains_key("password") => Err(Error::new(
                Class::Permission,
                format!("{}: user {}: its password cannot be read", asking.host.name(), self.options.name),
            )
            .help("only root reads /etc/shadow: `become: true` in `ssh::host`")),
            _ => Ok(state),
        }
    }

    fn want(&self, have: &State) -> Result<State> {
        if self.options.absent {
            return Ok(State::Absent);
        }
        let options = &self.options;
        let mut want = have.here().and_then(Value::as_map).cloned().unwrap_or_default();
        if let Some(uid) = options.uid {
            want.insert("uid".to_owned(), Value::Int(uid.into()));
        }
        if let Some(groups) = self.groups(want.get("groups")) {
            want.insert("groups".to_owned(), groups);
        }
        let texts = [
            ("group", &options.group),
            ("shell", &options.shell),
            ("home", &options.home),
            ("comment", &options.comment),
        ];
        for (field, text) in texts {
            if let Some(text) = text {
                want.insert(field.to_owned(), Value::text(text));
            }
        }
        if let Some(hash) = &options.password_hash {
            want.insert("password".to_owned(), Value::Secret(Secret::new(hash.expose())));
        }
        Ok(State::Here(Value::Map(want)))
    }

    fn command(&self, difference: &Difference) -> Result<Command> {
        let name = quote(&self.options.name);
        let mut script = match difference.action {
            Action::Delete => {
                format!("userdel {}-- {name} || exit 1\n", if self.options.remove { "--remove " } else { "" })
            }
            Action::Create => self.creation(difference),
            _ => match self.changes(difference).as_slice() {
                [] => String::new(),
                words => format!("usermod {} -- {name} || exit 1\n", words.join(" ")),
            },
        };
        let mut stdin = String::new();
        if let Some(hash) = self.options.password_hash.as_ref().filter(|_| difference.touches("password")) {
            // Not as an argument: those show in the list of processes.
            script.push_str("chpasswd -e || exit 1\n");
            stdin = format!("{}:{}\n", self.options.name, hash.expose());
        }
        Ok(Command::script(format!("{}{}{script}", shadow::TOOLS, accounts::ENTRY)).stdin(stdin))
    }

    fn fills(&self) -> &'static [&'static str] {
        &["uid", "group", "groups", "shell", "home", "comment"]
    }

    fn destroys(&self, difference: &Difference) -> Option<String> {
        let home = difference.found("home").and_then(Value::as_text)?;
        (difference.action == Action::Delete && self.options.remove)
            .then(|| format!("it would remove {home} with all that is in it"))
    }

    fn may_destroy(&self) -> bool {
        self.options.allow_destroy
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run::value::Map;

    fn user(json: serde_json::Value) -> Result<User> {
        User::new(serde_json::from_value(json).expect("sound options"))
    }

    fn have(groups: &[&str]) -> State {
        State::Here(Value::from(serde_json::json!({
            "uid": 1000, "group": "ops", "groups": groups, "shell": "/bin/bash", "home": "/home/ops", "comment": "",
        })))
    }

    fn wanted(user: &User, have: &State) -> Map {
        let State::Here(Value::Map(map)) = user.want(have).expect("sound") else { panic!("it is wanted") };
        map
    }

    #[test]
    fn groups_are_exactly_those_or_those_too() {
        let exactly = user(serde_json::json!({ "name": "ops", "groups": ["sudo", "adm"] })).expect("sound");
        let list = |names: &[&str]| Some(Value::from(serde_json::json!(names)));
        assert_eq!(wanted(&exactly, &have(&["lxd"])).get("groups").cloned(), list(&["adm", "sudo"]));
        let too = user(serde_json::json!({ "name": "ops", "groups": ["sudo"], "append": true })).expect("sound");
        assert_eq!(wanted(&too, &have(&["lxd", "sudo"])).get("groups").cloned(), list(&["lxd", "sudo"]));
    }

    #[test]
    fn only_what_differs_is_changed() {
        let user = user(serde_json::json!({ "name": "ops", "shell": "/bin/sh", "groups": ["adm"] })).expect("sound");
        let have = have(&["adm"]);
        let difference = Difference::between(&have, &user.want(&have).expect("sound")).expect("the shell differs");
        assert_eq!(user.changes(&difference), ["'--shell=/bin/sh'"]);
    }

    #[test]
    fn a_password_in_clear_is_refused() {
        assert!(user(serde_json::json!({ "name": "ops", "password_hash": "tiger" })).is_err());
        assert!(user(serde_json::json!({ "name": "ops", "password_hash": "$y$j9T$abc$def" })).is_ok());
        assert!(user(serde_json::json!({ "name": "ops", "password_hash": "!" })).is_ok());
    }

    #[test]
    fn what_contradicts_itself_is_refused() {
        for json in [
            serde_json::json!({ "name": "root", "absent": true }),
            serde_json::json!({ "name": "ops", "remove": true }),
            serde_json::json!({ "name": "ops", "append": true }),
            serde_json::json!({ "name": "-x" }),
            serde_json::json!({ "name": "ops", "comment": "a:b" }),
        ] {
            assert!(user(json.clone()).is_err(), "{json}");
        }
    }
}
