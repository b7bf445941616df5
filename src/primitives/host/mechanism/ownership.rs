//! Permissions and owners as playbooks ask for them: one shape for files and folders.

use super::probe;
use crate::clients::ssh::quote;
use crate::error::{Class, Error, Result};
use crate::run::difference::Difference;
use crate::run::unknown::Unknown;
use crate::run::value::{Map, Value};

/// What is asked for; what is not stays as it is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Ownership {
    /// The permissions in their normal form, as in `0644`.
    pub mode: Option<String>,
    /// A name or a number.
    pub owner: Option<String>,
    /// A name or a number.
    pub group: Option<String>,
}

impl Ownership {
    /// Checks what a playbook says.
    pub fn parse(mode: Option<&str>, owner: Option<String>, group: Option<String>) -> Result<Self> {
        let mode = mode.map(probe::parse_mode).transpose()?.map(probe::show_mode);
        for (option, name) in [("owner", &owner), ("group", &group)] {
            if let Some(name) = name
                && (name.is_empty() || name.contains([':', '/', ' ', '\n', '\0']) || name.starts_with('-'))
            {
                return Err(Error::new(
                    Class::Script,
                    format!("option `{option}`: {name:?} is neither a name nor a number"),
                ));
            }
        }
        Ok(Ownership { mode, owner, group })
    }

    /// Whether owner and group are numbers: then they are compared as such.
    pub fn by_number(&self) -> (bool, bool) {
        let number =
            |name: &Option<String>| name.as_ref().is_some_and(|name| name.bytes().all(|byte| byte.is_ascii_digit()));
        (number(&self.owner), number(&self.group))
    }

    /// Puts what is asked for on top of what is there.
    pub fn put(&self, state: &mut Map) {
        for (key, value) in [("mode", &self.mode), ("owner", &self.owner), ("group", &self.group)] {
            if let Some(value) = value {
                state.insert(key.to_owned(), Value::text(value));
            }
        }
    }

    /// The shell commands that set what differs, on the path in the variable `name`.
    pub fn script(&self, difference: &Difference, name: &str) -> String {
        let asked = |key: &str, value: &Option<String>| value.clone().filter(|_| difference.touches(key));
        let mut script = String::new();
        // Before the permissions: a change of the owner takes some of them away.
        let owner = match (asked("owner", &self.owner), asked("group", &self.group)) {
            (Some(owner), Some(group)) => Some(format!("{owner}:{group}")),
            (Some(owner), None) => Some(owner),
            (None, Some(group)) => Some(format!(":{group}")),
            (None, None) => None,
        };
        if let Some(owner) = &owner {
            script.push_str(&format!("chown -- {} \"${name}\" || exit 1\n", quote(owner)));
        }
        if let Some(mode) = self.mode.as_ref().filter(|_| owner.is_some() || difference.touches("mode")) {
            script.push_str(&format!("chmod -- {} \"${name}\" || exit 1\n", exactly(mode)));
        }
        script
    }
}

/// Permissions for `chmod` to set as they are: with four digits or fewer, GNU's leaves set-id bits on folders, which those in
/// a set-group-id folder are born with.
pub fn exactly(mode: &str) -> String {
    format!("{mode:0>5}")
}

/// What is known of something whose content a command is to bring about: that it is there.
pub fn somehow(address: &str) -> Map {
    ["content", "group", "kind", "mode", "owner"]
        .map(|key| (key.to_owned(), Value::Unknown(Unknown::from_origin(format!("{address}.{key}")))))
        .into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run::value::State;

    fn here(json: serde_json::Value) -> State {
        State::Here(Value::from(json))
    }

    #[test]
    fn only_what_differs_is_set() {
        let asked = Ownership::parse(Some("640"), Some("root".to_owned()), Some("adm".to_owned())).expect("sound");
        let have = here(serde_json::json!({ "mode": "0640", "owner": "root", "group": "root" }));
        let want = here(serde_json::json!({ "mode": "0640", "owner": "root", "group": "adm" }));
        let difference = Difference::between(&have, &want).expect("they differ");
        assert_eq!(asked.script(&difference, "p"), "chown -- :adm \"$p\" || exit 1\nchmod -- 00640 \"$p\" || exit 1\n");
    }

    #[test]
    fn an_owner_that_would_be_read_as_something_else_is_refused() {
        for owner in ["root:adm", "-R", "", "a b"] {
            assert!(Ownership::parse(None, Some(owner.to_owned()), None).is_err(), "{owner:?}");
        }
    }

    #[test]
    fn numbers_are_compared_as_numbers() {
        let asked = Ownership::parse(None, Some("1000".to_owned()), Some("adm".to_owned())).expect("sound");
        assert_eq!(asked.by_number(), (true, false));
    }
}
