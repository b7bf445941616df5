//! Many files as one: what is asked about them, what the answer means, and the bundle that brings them.

use std::collections::BTreeMap;
use std::io;

use super::ownership::{Ownership, exactly};
use super::probe;
use crate::clients::ssh::quote;
use crate::run::value::{Map, Value};

/// A file of a bundle.
pub struct Piece<'a> {
    /// Its name, below the folder.
    pub name: &'a str,
    /// What is in it.
    pub bytes: &'a [u8],
    /// The permissions that it gets.
    pub mode: String,
    /// The owner that it gets; whoever unpacks it where there is none.
    pub owner: Option<String>,
    /// The group that it gets.
    pub group: Option<String>,
}

/// How many names a tool is given at once.
const AT_ONCE: usize = 500;

/// Asks for kind, permissions, owner and hash of files below a folder. Those that are not there are complained of.
pub fn question(folder: &str, names: &[&str]) -> String {
    let mut script = format!(
        r#"d={}
cd -- "$d" 2> /dev/null || {{ if [ -e "$d" ]; then echo "$d: cannot be entered" >&2; exit 1; fi; exit 0; }}
"#,
        quote(folder)
    );
    for some in names.chunks(AT_ONCE) {
        script.push_str(&format!(
            "set -- {}\nstat -c 'stat %f %a %u %g %U %G %n' -- \"$@\" 2>&1\nsha256sum -- \"$@\" 2>&1\n",
            words(some)
        ));
    }
    script + ":\n"
}

/// Names as words for the shell, which no tool takes for options.
fn words(names: &[&str]) -> String {
    names.iter().map(|name| quote(&format!("./{name}"))).collect::<Vec<_>>().join(" ")
}

/// What the answer says of each file: its name and its state. What makes no sense comes back as it is.
pub fn parse(answer: &str, by_number: (bool, bool)) -> Result<Map, String> {
    let mut files: BTreeMap<String, Map> = BTreeMap::new();
    for line in answer.lines() {
        if let Some(status) = line.strip_prefix("stat ") {
            let (name, file) = parse_status(status, by_number).ok_or(line)?;
            files.insert(name, file);
        } else if let Some((hash, name)) = line.split_once("  ./").filter(|(hash, _)| is_hash(hash)) {
            // The status of a file comes before its hash.
            let file = files.get_mut(name).ok_or(line)?;
            if !file.contains_key("kind") {
                file.insert("sha256".to_owned(), Value::from(hash));
            }
        } else if !["No such file or directory", "Is a directory"].iter().any(|words| line.ends_with(words)) {
            return Err(line.to_owned());
        }
    }
    let whole = |file: &Map| file.contains_key("kind") || file.contains_key("sha256");
    match files.iter().find(|(_, file)| !whole(file)) {
        Some((name, _)) => Err(format!("{name}: nothing is said of its content")),
        None => Ok(files.into_iter().map(|(name, file)| (name, Value::Map(file))).collect()),
    }
}

fn is_hash(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// `81a4 644 0 0 root root ./a b`
fn parse_status(status: &str, by_number: (bool, bool)) -> Option<(String, Map)> {
    let mut words = status.splitn(7, ' ');
    let mut next = || words.next();
    let (kind, mode, uid, gid, owner, group, name) = (next()?, next()?, next()?, next()?, next()?, next()?, next()?);
    let kind = match u32::from_str_radix(kind, 16).ok()? & 0xf000 {
        0x8000 => None,
        0x4000 => Some("directory"),
        0xa000 => Some("link"),
        _ => Some("special"),
    };
    let whose = |name: &str, id: &str, number: bool| if number || name == "UNKNOWN" { id } else { name }.to_owned();
    let mut file = Map::from([
        ("mode".to_owned(), Value::Text(probe::show_mode(u32::from_str_radix(mode, 8).ok()?))),
        ("owner".to_owned(), Value::Text(whose(owner, uid, by_number.0))),
        ("group".to_owned(), Value::Text(whose(group, gid, by_number.1))),
    ]);
    if let Some(kind) = kind {
        file.insert("kind".to_owned(), Value::from(kind));
    }
    Some((name.strip_prefix("./")?.to_owned(), file))
}

/// The bundle.
pub fn pack(pieces: &[Piece<'_>]) -> io::Result<Vec<u8>> {
    let mut bundle = tar::Builder::new(Vec::new());
    for piece in pieces {
        let mut header = tar::Header::new_gnu();
        header.set_size(piece.bytes.len() as u64);
        header.set_mode(0o600);
        header.set_entry_type(tar::EntryType::Regular);
        bundle.append_data(&mut header, piece.name, piece.bytes)?;
    }
    bundle.into_inner()
}

/// Takes the bundle from standard input. It is unpacked beside its places, and each file is moved to its own only once all
/// have arrived.
pub fn script(folder: &str, pieces: &[Piece<'_>], directory_mode: &str, asked: &Ownership) -> String {
    let mut script = format!(
        r#"d={folder}
make() {{
  [ -d "$1" ] && return
  case $1 in */*/*) make "${{1%/*}}" || return;; esac
  mkdir -m {directory_mode} -- "$1" {owner}&& chmod -- {exact_mode} "$1"
}}
make "$d" || exit 1
new=$(mktemp -d "${{d%/}}/.homelab-XXXXXX") || exit 1
trap 'rm -rf -- "$new"' EXIT
trap 'exit 1' HUP INT TERM
cd -- "$new" || exit 1
tar -x -o -f - || exit 1
n=$(find . -type f | wc -l) || exit 1
if [ "$((n))" -ne {count} ]; then echo "only $((n)) of {count} files arrived" >&2; exit 1; fi
"#,
        folder = quote(folder),
        count = pieces.len(),
        exact_mode = exactly(directory_mode),
        owner = owner(asked.owner.as_deref(), asked.group.as_deref())
            .map_or_else(String::new, |owner| format!("&& chown -- {} \"$1\" ", quote(&owner))),
    );
    let grouped = |key: &dyn Fn(&Piece<'_>) -> Option<String>| {
        let mut groups: BTreeMap<String, Vec<&str>> = BTreeMap::new();
        for piece in pieces {
            key(piece).into_iter().for_each(|key| groups.entry(key).or_default().push(piece.name));
        }
        groups
    };
    let mut each = |groups: BTreeMap<String, Vec<&str>>, line: &dyn Fn(&str, &str) -> String| {
        for (key, names) in groups {
            names.chunks(AT_ONCE).for_each(|some| script.push_str(&line(&key, &words(some))));
        }
    };
    // Before the permissions: a change of the owner takes some of them away.
    each(grouped(&|piece| owner(piece.owner.as_deref(), piece.group.as_deref())), &|key, names| {
        format!("chown -- {} {names} || exit 1\n", quote(key))
    });
    each(grouped(&|piece| Some(piece.mode.clone())), &|key, names| format!("chmod -- {key} {names} || exit 1\n"));
    let above = |piece: &Piece<'_>| piece.name.rsplit_once('/').map_or(String::new(), |(above, _)| format!("/{above}"));
    each(grouped(&|piece| Some(above(piece))), &|key, names| {
        let place = format!("\"${{d%/}}\"{}", if key.is_empty() { String::new() } else { quote(key) });
        format!("make {place} && mv -f -- {names} {place}/ || exit 1\n")
    });
    script
}

fn owner(owner: Option<&str>, group: Option<&str>) -> Option<String> {
    match (owner, group) {
        (Some(owner), Some(group)) => Some(format!("{owner}:{group}")),
        (Some(owner), None) => Some(owner.to_owned()),
        (None, Some(group)) => Some(format!(":{group}")),
        (None, None) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HASH: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    #[test]
    fn what_is_there_is_told_and_what_is_not_is_left_out() {
        let answer = format!(
            "stat 81a4 644 0 0 root root ./a b\nstat 41ed 755 0 5 root UNKNOWN ./dir\n\
             stat: cannot statx './none': No such file or directory\n{HASH}  ./a b\n\
             sha256sum: ./dir: Is a directory\nsha256sum: ./none: No such file or directory\n"
        );
        let files = Value::Map(parse(&answer, (false, false)).expect("it makes sense"));
        let said = serde_json::json!({
            "a b": { "group": "root", "mode": "0644", "owner": "root", "sha256": HASH },
            "dir": { "group": "5", "kind": "directory", "mode": "0755", "owner": "root" },
        });
        assert_eq!(files, Value::from(said));
    }

    #[test]
    fn a_file_that_cannot_be_read_is_not_taken_for_one_that_is_not_there() {
        let answer = "stat 8180 600 0 0 root root ./key\nsha256sum: ./key: Permission denied\n";
        assert_eq!(parse(answer, (false, false)), Err("sha256sum: ./key: Permission denied".to_owned()));
        assert!(parse("stat 8180 600 0 0 root root ./key\n", (false, false)).is_err(), "an answer that is cut off");
    }
}
