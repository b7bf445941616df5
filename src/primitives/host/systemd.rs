//! systemd: how its units are called, what it says about one, and the commands that change one.

use std::fmt;

use super::handle::Host;
use crate::clients::ssh::quote;
use crate::error::{Class, Error, Result};
use crate::run::resource::Cell;
use crate::run::scope;
use crate::run::unknown::Unknown;
use crate::run::value::{Map, State, Value};

/// Where unit files lie, those of the administrator first.
const FOLDERS: [&str; 4] =
    ["/etc/systemd/system", "/run/systemd/system", "/usr/local/lib/systemd/system", "/usr/lib/systemd/system"];
const SUFFIXES: [&str; 11] = [
    ".service",
    ".socket",
    ".device",
    ".mount",
    ".automount",
    ".swap",
    ".target",
    ".path",
    ".timer",
    ".slice",
    ".scope",
];

/// A unit by its full name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unit(String);

impl fmt::Display for Unit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.short())
    }
}

impl Unit {
    /// A unit as people call it.
    pub fn named(name: &str) -> Result<Self> {
        let letter = |c: char| c.is_ascii_alphanumeric() || ":-_.\\@".contains(c);
        if name.is_empty() || name.starts_with('-') || !name.chars().all(letter) {
            return Err(Error::new(Class::Script, format!("`service`: {name:?} is no name of a unit"))
                .help("as `systemctl list-unit-files` on the host shows it: `\"nginx\"`, `\"fstrim.timer\"`"));
        }
        let full = SUFFIXES.iter().any(|suffix| name.ends_with(suffix));
        Ok(Unit(if full { name.to_owned() } else { format!("{name}.service") }))
    }

    /// With its suffix.
    pub fn full(&self) -> &str {
        &self.0
    }

    /// As people call it: a service without its suffix.
    pub fn short(&self) -> &str {
        self.0.strip_suffix(".service").unwrap_or(&self.0)
    }

    /// The cell of what systemd knows about it.
    pub fn cell(&self) -> String {
        format!("service:{}", self.short())
    }

    /// Asks systemd; where there is none, what there is instead.
    pub fn question(&self) -> String {
        format!(
            r#"if ! [ -d /run/systemd/system ]; then
  for tool in rc-service initctl sv s6-rc service; do
    if command -v $tool > /dev/null 2>&1; then echo "other $tool"; exit 0; fi
  done
  echo other; exit 0
fi
said=$(systemctl show -p LoadState -p ActiveState -p SubState -p UnitFileState -p NeedDaemonReload -p FragmentPath -- {}) || exit 1
printf '%s\n' "$said"
path=$(printf '%s\n' "$said" | sed -n 's/^FragmentPath=//p')
if [ -n "$path" ] && ! [ -e "$path" ] && ! [ -L "$path" ]; then echo FileIsGone=yes; fi
"#,
            quote(&self.0)
        )
    }

    /// What it said: absent, or a map with `enabled`, `started`, `masked` and `needs_daemon_reload`; a `kind` where it
    /// cannot be enabled; the `path` of its file. One whose file is gone is absent, unless it still runs: then it is `gone`.
    pub fn parse(&self, answer: &str) -> Result<State> {
        if let Some(other) = answer.strip_prefix("other") {
            let found = match other.trim() {
                "" => "this host has no service manager that is known here".to_owned(),
                other => format!("this host has none, but `{other}`"),
            };
            return Err(Error::new(Class::Blocked, format!("services are only supported with systemd, and {found}"))
                .help("start it with its own command: `h.run(…, #{ unless: … })`"));
        }
        let told =
            |key: &str| answer.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('=')).unwrap_or_default();
        let (load, file) = (told("LoadState"), told("UnitFileState"));
        match load {
            "not-found" | "loaded" | "masked" => {}
            other => {
                return Err(Error::new(Class::Blocked, format!("service {self}: systemd cannot load it: {other:?}"))
                    .help(format!("`systemctl status {}` on the host says why", quote(&self.0))));
            }
        }
        let masked = load == "masked" || file.starts_with("masked");
        let started = match told("ActiveState") {
            "active" | "reloading" | "refreshing" => true,
            "activating" => told("SubState") != "auto-restart",
            _ => false,
        };
        let gone = load == "not-found" || told("FileIsGone") == "yes";
        if gone && !started {
            return Ok(State::Absent);
        }
        let mut state = Map::from([
            ("enabled".to_owned(), Value::Bool(matches!(file, "enabled" | "alias"))),
            ("started".to_owned(), Value::Bool(started)),
            ("masked".to_owned(), Value::Bool(masked)),
            ("needs_daemon_reload".to_owned(), Value::Bool(told("NeedDaemonReload") == "yes" && !gone)),
            ("path".to_owned(), Value::from(told("FragmentPath"))),
        ]);
        if gone {
            state.insert("gone".to_owned(), Value::Bool(true));
            state.insert("enabled".to_owned(), Value::Bool(false));
        } else if matches!(file, "static" | "generated" | "transient") {
            state.insert("kind".to_owned(), Value::from(file));
        }
        Ok(State::Here(Value::Map(state)))
    }

    /// What systemd would say after what this dry run has planned: files of the unit that are new or others than those it
    /// has read. A unit that is not there may come with a package that is planned.
    pub fn as_planned(&self, state: State, host: &Host) -> Result<State> {
        if !scope::is_planning()? {
            return Ok(state);
        }
        match state {
            State::Absent => self.perhaps_planned(host),
            State::Here(Value::Map(mut map)) => {
                let path = map.get("path").and_then(Value::as_text).map(str::to_owned);
                let started = map.get("started") == Some(&Value::Bool(true));
                if self.goes(host, path.as_deref())? {
                    if !started {
                        return Ok(State::Absent);
                    }
                    map.insert("gone".to_owned(), Value::Bool(true));
                    map.insert("enabled".to_owned(), Value::Bool(false));
                    map.insert("needs_daemon_reload".to_owned(), Value::Bool(false));
                    map.remove("kind");
                } else if self.is_changed(host, path.as_deref())? {
                    // Of one that neither runs nor is enabled systemd keeps what it has read for reasons of its own.
                    let referred = started || map.get("enabled") == Some(&Value::Bool(true));
                    let needs = match referred {
                        true => Value::Bool(true),
                        false => Value::Unknown(Unknown::from_origin(format!("{}:service:{self}", host.name()))),
                    };
                    map.insert("needs_daemon_reload".to_owned(), needs);
                }
                Ok(State::Here(Value::Map(map)))
            }
            other => Ok(other),
        }
    }

    fn perhaps_planned(&self, host: &Host) -> Result<State> {
        if let Some(fresh) = self.freshly_written(host)? {
            return Ok(fresh);
        }
        let cause = scope::stale_cells(&host.realm(), may_bring_a_unit)?;
        Ok(cause.map_or(State::Absent, |cause| State::Unknown(cause.maybe_absent())))
    }

    /// A unit whose file this dry run has planned: nothing has enabled or started it yet.
    pub fn freshly_written(&self, host: &Host) -> Result<Option<State>> {
        let written = scope::with(|branch| {
            FOLDERS.iter().any(|folder| {
                let cell = host.path_cell(&format!("{folder}/{}", self.0));
                branch.overlay.cell(&cell).is_some_and(|planned| planned.state != State::Absent)
            })
        })?;
        let fresh = ["enabled", "started", "masked", "needs_daemon_reload"];
        let fresh = || State::Here(Value::Map(fresh.map(|field| (field.to_owned(), Value::Bool(false))).into()));
        Ok(written.then(fresh))
    }

    /// Whether its file is planned to go, and none takes its place.
    fn goes(&self, host: &Host, path: Option<&str>) -> Result<bool> {
        let Some(path) = path.filter(|path| !path.is_empty()) else { return Ok(false) };
        scope::with(|branch| {
            let planned =
                |path: &str| branch.overlay.cell(&host.path_cell(path)).map(|planned| planned.state == State::Absent);
            let others = FOLDERS.iter().map(|folder| format!("{folder}/{}", self.0));
            planned(path) == Some(true) && !others.into_iter().any(|other| planned(&other) == Some(false))
        })
    }

    /// Whether a change of its file, or of those that add to it, is planned.
    fn is_changed(&self, host: &Host, path: Option<&str>) -> Result<bool> {
        let additions: Vec<String> = FOLDERS.iter().map(|folder| format!("file:{folder}/{}.d/", self.0)).collect();
        let own = path.map(|path| host.path_cell(path));
        scope::with(|branch| {
            branch.overlay.cells().any(|(cell, _)| {
                cell.realm == host.realm()
                    && (own.as_ref() == Some(cell) || additions.iter().any(|folder| cell.path.starts_with(folder)))
            })
        })
    }
}

/// Whether a change of this cell can bring a unit: packages do, files below these folders, and what systemd makes units of.
fn may_bring_a_unit(cell: &Cell) -> bool {
    const SOURCES: [&str; 9] = [
        "/etc/systemd",
        "/run/systemd",
        "/usr/lib/systemd",
        "/usr/local/lib/systemd",
        "/lib/systemd",
        "/etc/init.d",
        "/etc/fstab",
        "/etc/crypttab",
        "/usr/share/dbus-1",
    ];
    let within = |path: &str, folder: &str| {
        path.strip_prefix(folder).is_some_and(|rest| rest.is_empty() || rest.starts_with('/') || folder == "/")
    };
    match cell.path.split_once(':') {
        // A bundle of files may reach into a folder below its own.
        Some(("file" | "files", path)) => SOURCES.iter().any(|source| within(path, source) || within(source, path)),
        Some(_) => false,
        None => cell.path == "packages",
    }
}

/// Shell functions that change a unit. What fails is told with the unit's last words.
pub fn script(unit: &Unit) -> String {
    format!(
        r#"unit={}
last_words() {{ journalctl -q --no-pager -o cat -n 8 -u "$unit" >&2 2>/dev/null; exit 1; }}
quietly() {{ said=$(systemctl "$1" -- "$unit" 2>&1) || {{ printf '%s\n' "$said" >&2; exit 1; }}; }}
act() {{ systemctl "$1" -- "$unit" || last_words; }}
prove_it_runs() {{
  systemctl is-active -q -- "$unit" && return
  case $(systemctl show -p Type -p RemainAfterExit --value -- "$unit" | tr '\n' ' ') in
  'oneshot no '*) systemctl is-failed -q -- "$unit" || return 0 ;;
  esac
  echo "$unit is not active afterwards" >&2; last_words
}}
"#,
        quote(unit.full())
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state(answer: &str) -> State {
        Unit::named("nginx").expect("sound").parse(answer).expect("it makes sense")
    }

    #[test]
    fn a_unit_has_a_suffix_and_people_leave_it_out() {
        let unit = Unit::named("nginx").expect("sound");
        assert_eq!((unit.full(), unit.short()), ("nginx.service", "nginx"));
        assert_eq!(Unit::named("fstrim.timer").expect("sound").short(), "fstrim.timer");
        assert_eq!(Unit::named("getty@tty1").expect("sound").full(), "getty@tty1.service");
        assert!(Unit::named("-x").is_err() && Unit::named("a b").is_err() && Unit::named("").is_err());
    }

    #[test]
    fn what_systemd_says_is_read() {
        let said = "LoadState=loaded\nActiveState=activating\nSubState=auto-restart\nUnitFileState=enabled\n\
                    NeedDaemonReload=yes\nFragmentPath=/etc/systemd/system/nginx.service\n";
        let state = state(said).here().cloned().expect("it is there");
        let field = |name: &str| state.get(name).cloned();
        assert_eq!(field("enabled"), Some(Value::Bool(true)));
        assert_eq!(field("started"), Some(Value::Bool(false)), "one that dies again and again does not run");
        assert_eq!(field("needs_daemon_reload"), Some(Value::Bool(true)));
        assert_eq!(field("kind"), None);
    }

    #[test]
    fn a_unit_that_is_not_there_is_absent_and_a_broken_one_is_an_error() {
        assert_eq!(state("LoadState=not-found\nActiveState=inactive\n"), State::Absent);
        let unit = Unit::named("nginx").expect("sound");
        assert!(unit.parse("LoadState=bad-setting\n").is_err());
        let error = unit.parse("other rc-service\n").expect_err("no systemd");
        assert!(error.to_string().contains("rc-service"), "{error}");
    }
}
