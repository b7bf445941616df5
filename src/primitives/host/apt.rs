//! apt and dpkg: what is asked of them, and what their answers mean.

use std::collections::BTreeSet;

use super::handle::Host;
use crate::clients::ssh::Output;
use crate::error::{Class, Error};
use crate::run::value::{Map, Value};
use crate::script::args::Duration;

/// What stands for a version that nobody asked for and that only the run will know.
pub const ANY: &str = "installed";
/// What stands for a package that was removed and left its settings.
pub const LEFT: &str = "config-files";
/// What stands before the name of an installed package that provides what was asked for.
pub const PROVIDED: &str = "provided by ";

/// What goes with a change.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Along {
    /// What is installed as well.
    pub installed: BTreeSet<String>,
    /// What is removed as well.
    pub removed: BTreeSet<String>,
}

/// When the lists were fetched last, and, where this program did it, from which sources: a file that is put back may be
/// older than the lists.
const STAMP: &str = "stamp=/var/lib/apt/periodic/update-success-stamp
sources() { cat /etc/apt/sources.list /etc/apt/sources.list.d/* 2>/dev/null | sha256sum; }
";

/// What keeps apt from writing down what it has read of its lists: who only asks changes nothing.
pub const KEEP_NOTHING: &str = "-o Dir::Cache::pkgcache= -o Dir::Cache::srcpkgcache=";

/// Shell functions that know how old the lists of packages are. `asked` says that they are to be fetched in any case, or
/// in none.
pub fn age(asked: Option<bool>, valid: Duration) -> String {
    let minutes = valid.0.as_secs().div_ceil(60);
    let answer = match asked {
        Some(true) => "return 1".to_owned(),
        Some(false) => "return 0".to_owned(),
        None => format!(
            r#"[ -n "$(find /var/lib/apt/lists -maxdepth 1 -type f -size +0c 2>/dev/null | head -n 1)" ] || return 1
  since=$stamp; [ -e "$stamp" ] || since=/var/lib/apt/lists
  [ -n "$(find "$since" -maxdepth 0 -mmin -{minutes})" ] || return 1
  if [ -s "$stamp" ]; then [ "$(cat "$stamp")" = "$(sources)" ]
  else [ -z "$(find /etc/apt/sources.list /etc/apt/sources.list.d -newer "$since" 2>/dev/null | head -n 1)" ]; fi"#
        ),
    };
    format!("{STAMP}lists_are_fresh() {{\n  {answer}\n}}\n")
}

/// Fetches the lists of packages; a program that is at it already is waited for.
pub const REFRESH: &str = r#"if ! lists_are_fresh; then
  until said=$(apt-get -q update < /dev/null 2>&1); do
    case $said in
    *'Could not get lock'* | *'Unable to lock'*) [ "$patience" -gt 0 ] || { printf '%s\n' "$said" >&2; exit 1; } ;;
    *) printf '%s\n' "$said" >&2; exit 1 ;;
    esac
    patience=$((patience - 2)); sleep 2
  done
  mkdir -p /var/lib/apt/periodic && sources > "$stamp"
fi
"#;

/// What is installed. A host without apt says what it has instead.
pub const QUESTION: &str = r#"if ! command -v apt-get > /dev/null 2>&1; then
  for tool in dnf yum zypper apk pacman opkg; do
    if command -v $tool > /dev/null 2>&1; then echo "other $tool"; exit 0; fi
  done
  echo other; exit 0
fi
echo "apt $(dpkg --print-architecture)"
dpkg-query -W -f '${db:Status-Status}|${Package}|${Architecture}|${Version}|${Provides}\n'
"#;

impl Along {
    /// Reads what apt-get would do: `Inst name (version …)`, `Remv name [version]`.
    pub fn parse(said: &str, is_asked_for: impl Fn(&str) -> bool) -> Self {
        let named = |verb: &str| {
            let names = said.lines().filter_map(|line| line.strip_prefix(verb)?.split_whitespace().next());
            let others = names.filter(|name| !is_asked_for(name));
            others.map(str::to_owned).collect()
        };
        Along { installed: named("Inst "), removed: named("Remv ").into_iter().chain(named("Purg ")).collect() }
    }
}

/// Names what else is in the way than the words of apt say.
pub fn explain(host: &Host, output: &Output) -> Option<Error> {
    let said = output.stderr_text();
    let quoted: Vec<&str> = said.lines().filter(|line| line.starts_with("E:")).collect();
    let quoted = if quoted.is_empty() { said.trim().to_owned() } else { quoted.join("\n") };
    let error = |class: Class, what: &str| Error::new(class, format!("{}: {what}", host.name())).cause(&quoted);
    let has = |words: &str| said.contains(words);
    if has("dpkg --configure -a") {
        return Some(
            error(Class::Blocked, "an installation was broken off there, and dpkg wants it finished first")
                .help("look at it and run `dpkg --configure -a` on the host"),
        );
    }
    if has("Could not get lock") || has("Unable to acquire the dpkg frontend lock") && !has("are you root") {
        return Some(
            error(Class::Timeout, "another program is installing packages and did not end in time")
                .help("see which with `ps aux | grep apt`; to wait longer say `lock_timeout: \"15m\"`"),
        );
    }
    if has("Unable to locate package") || has("has no installation candidate") || has("was not found") {
        return Some(error(Class::InputMissing, "a package is not to be had").help(
            "correct its name or version, as `apt-cache policy NAME` on the host shows them, or add its \
             repository before: `h.apt_repository(#{ … })`",
        ));
    }
    None
}

/// The installed packages with their versions, and the names that they provide.
pub fn parse_installed(list: &str, native: &str) -> Map {
    let mut installed = Map::new();
    let mut provided = Map::new();
    for line in list.lines() {
        let fields: Vec<&str> = line.split('|').collect();
        let [status, name, architecture, version, provides @ ..] = fields.as_slice() else { continue };
        let version = match *status {
            "installed" => *version,
            LEFT => LEFT,
            _ => continue,
        };
        let name = match *architecture {
            "all" => (*name).to_owned(),
            own if own == native => (*name).to_owned(),
            foreign => format!("{name}:{foreign}"),
        };
        for also in provides.iter().filter(|_| version != LEFT).flat_map(|list| list.split(',')) {
            let also = also.split_whitespace().next().unwrap_or_default();
            if !also.is_empty() {
                provided.insert(also.to_owned(), Value::Text(format!("{PROVIDED}{name}")));
            }
        }
        installed.insert(name, Value::from(version));
    }
    for (name, by) in provided {
        installed.entry(name).or_insert(by);
    }
    installed
}
