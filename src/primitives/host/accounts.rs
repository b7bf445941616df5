//! What a host knows about its users and groups.

use super::mechanism::part::Asking;
use crate::clients::ssh::quote;
use crate::error::{Class, Error, Result};
use crate::run::resource::Cell;
use crate::run::scope;
use crate::run::secret::Secret;
use crate::run::value::{Map, State, Value};

/// How an entry is found, also where there is no `getent`.
pub const ENTRY: &str = r#"entry() {
  if command -v getent > /dev/null 2>&1; then getent "$1" "$2"; else grep "^$2:" "/etc/$1"; fi
}
"#;

/// Names that no tool would read as something else.
pub fn check_name(primitive: &str, name: &str) -> Result<()> {
    let letter = |c: char| c.is_ascii_alphanumeric() || "_-.$".contains(c);
    let begins = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
    if begins && name.chars().all(letter) && name.len() <= 32 {
        return Ok(());
    }
    Err(Error::new(Class::Script, format!("`{primitive}`: {name:?} is no name of a user or group"))
        .help("it begins with a letter, holds letters, digits, `_`, `-` and `.`, and has at most 32 of them"))
}

/// Whether a text may stand in the password field of /etc/shadow: a hash, or what no password fits.
pub fn is_password_field(text: &str) -> bool {
    let hash = text.trim_start_matches('!');
    let plain = !text.contains([':', '\n', ' ']);
    plain
        && !text.is_empty()
        && (hash.is_empty() || hash == "*" || hash.starts_with('$') && hash.matches('$').count() > 1)
}

/// Asks for a user; with its password where that is wanted.
pub fn user_question(name: &str, password: bool) -> String {
    let name = quote(name);
    let shadow =
        if password { format!("entry shadow {name} 2>/dev/null | sed 's/^/shadow /'\n") } else { String::new() };
    format!(
        "{ENTRY}line=$(entry passwd {name}) || {{ echo absent; exit 0; }}\n\
         printf 'passwd %s\\n' \"$line\"\necho \"primary $(id -gn -- {name})\"\necho \"groups $(id -Gn -- {name})\"\n{shadow}:\n"
    )
}

/// What the answer says: a map with `uid`, `group`, `groups`, `shell`, `home`, `comment`, and `password` where it was
/// asked for and could be read.
pub fn parse_user(name: &str, answer: &str) -> Result<State> {
    if answer.trim() == "absent" {
        return Ok(State::Absent);
    }
    let nonsense = || {
        Error::new(Class::Failed, format!("user {name}: the host's answer about it makes no sense"))
            .cause(format!("it begins with {:?}", answer.chars().take(80).collect::<String>()))
            .help("look at its line in /etc/passwd on the host")
    };
    let told = |what: &str| answer.lines().find_map(|line| line.strip_prefix(what)?.strip_prefix(' '));
    let fields: Vec<&str> = told("passwd").ok_or_else(nonsense)?.split(':').collect();
    let [_, _, uid, _, comment, home, shell] = fields.as_slice() else { return Err(nonsense()) };
    let primary = told("primary").ok_or_else(nonsense)?;
    let others = told("groups").unwrap_or_default().split_whitespace().filter(|group| *group != primary);
    let mut map = Map::from([
        ("uid".to_owned(), Value::Int(uid.parse().map_err(|_| nonsense())?)),
        ("group".to_owned(), Value::from(primary)),
        ("groups".to_owned(), sorted(others.map(str::to_owned).collect())),
        ("shell".to_owned(), Value::from(*shell)),
        ("home".to_owned(), Value::from(*home)),
        ("comment".to_owned(), Value::from(*comment)),
    ]);
    if let Some(hash) = told("shadow").and_then(|line| line.split(':').nth(1)) {
        map.insert("password".to_owned(), Value::Secret(Secret::new(hash)));
    }
    Ok(State::Here(Value::Map(map)))
}

/// Asks for a group.
pub fn group_question(name: &str) -> String {
    format!("{ENTRY}entry group {} || echo absent\n", quote(name))
}

/// What the answer says: a map with `gid`.
pub fn parse_group(name: &str, answer: &str) -> Result<State> {
    if answer.trim() == "absent" {
        return Ok(State::Absent);
    }
    match answer.trim().split(':').nth(2).and_then(|gid| gid.parse().ok()) {
        Some(gid) => Ok(State::Here(Value::Map(Map::from([("gid".to_owned(), Value::Int(gid))])))),
        None => Err(Error::new(Class::Failed, format!("group {name}: the host's answer about it makes no sense"))
            .cause(format!("it is {:?}", answer.trim()))
            .help("look at its line in /etc/group on the host")),
    }
}

/// Which numbers there are: those of users or those of groups.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Numbers {
    /// `uid`
    Users,
    /// `gid`
    Groups,
}

impl Numbers {
    /// Refuses a number that somebody else has, as the tools would in the middle of a run.
    pub fn refuse_taken(self, name: &str, wanted: Option<u32>, state: &State, asking: &Asking<'_>) -> Result<()> {
        let (kind, field, file) = match self {
            Numbers::Users => ("user", "uid", "passwd"),
            Numbers::Groups => ("group", "gid", "group"),
        };
        let Some(number) = wanted else { return Ok(()) };
        let has_it = state.here().and_then(|state| state.get(field)) == Some(&Value::Int(number.into()));
        // Whoever is planned to go, or to get another number, makes room.
        let makes_room =
            |cell: &Cell| cell.path.starts_with("user:") || self == Numbers::Groups && cell.path.starts_with("group:");
        if has_it || scope::stale_cells(&asking.host.realm(), makes_room)?.is_some() {
            return Ok(());
        }
        let question = format!(
            "if command -v getent > /dev/null 2>&1; then getent {file} {number}\n\
             else awk -F: '$3 == {number}' /etc/{file}; fi | cut -d: -f1\n"
        );
        let answer = asking.ask(&question)?;
        match answer.stdout_text().lines().find(|holder| *holder != name) {
            None => Ok(()),
            Some(holder) => Err(Error::new(
                Class::Conflict,
                format!("{}: {kind} {name}: {kind} {holder} has the number {number}", asking.host.name()),
            )
            .help(format!("take another `{field}`, or give {holder} another one before"))),
        }
    }
}

/// Names in the order in which they are compared, each once.
pub fn sorted(mut names: Vec<String>) -> Value {
    names.sort();
    names.dedup();
    Value::List(names.into_iter().map(Value::Text).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_is_read_with_its_groups() {
        let said =
            "passwd ops:x:1000:1000:Ops:/home/ops:/bin/bash\nprimary ops\ngroups ops sudo adm\nshadow ops:$y$x$y:1::\n";
        let Ok(State::Here(user)) = parse_user("ops", said) else { panic!("it is there") };
        assert_eq!(user.get("uid"), Some(&Value::Int(1000)));
        assert_eq!(user.get("groups"), Some(&Value::from(serde_json::json!(["adm", "sudo"]))));
        assert!(user.holds_secret(), "the hash is one");
        assert_eq!(parse_user("ops", "absent\n").ok(), Some(State::Absent));
        assert!(parse_user("ops", "passwd ops:x\n").is_err());
    }

    #[test]
    fn a_group_is_read() {
        let Ok(State::Here(group)) = parse_group("adm", "adm:x:4:syslog\n") else { panic!("it is there") };
        assert_eq!(group.get("gid"), Some(&Value::Int(4)));
        assert!(parse_group("adm", "adm\n").is_err());
    }

    #[test]
    fn what_may_stand_in_the_password_field() {
        for sound in ["$6$salt$hash", "!", "*", "!$6$salt$hash", "!*"] {
            assert!(is_password_field(sound), "{sound}");
        }
        for wrong in ["", "tiger", "$", "a:b", "$6$ $x"] {
            assert!(!is_password_field(wrong), "{wrong}");
        }
    }
}
