//! What stands at a path of a host: one shell command that works with GNU and BusyBox tools alike, and what it says.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::clients::ssh::quote;
use crate::error::{Class, Error, Result};

/// Contents above this size are compared by their hash.
pub const MAX_CONTENT: usize = 1 << 20;

/// How much of a file's content is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Amount {
    /// Nothing.
    Nothing,
    /// Up to [`MAX_CONTENT`]; the hash of a larger one.
    Compared,
    /// All of it.
    Whole,
}

/// What is looked at.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Look {
    /// The path, absolute.
    pub path: String,
    /// How much of its content.
    pub amount: Amount,
    /// Whether a link is followed.
    pub follow: bool,
}

/// Tells what is in the folder of `$p`, unless that is much. Patterns that nothing fits stand for themselves; a name that
/// is taken for one more than there is only has somebody ask.
const NEIGHBOURS: &str = r#"d=${p%/*}; if [ -r "$d/" ]; then set -- "$d"/* "$d"/.[!.]* "$d"/..?*
if [ $# -le 256 ]; then echo neighbours; printf '%s\n' "$@"; fi; fi
"#;

/// What kind of thing it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A file.
    File,
    /// A folder.
    Directory,
    /// A symbolic link.
    Link,
    /// A device, a pipe, a socket.
    Special,
}

/// A user or a group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Owner {
    /// Its name; the number where it has none.
    pub name: String,
    /// Its number; empty where the host's tools do not tell.
    pub id: String,
}

/// What was found at a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// What kind of thing.
    pub kind: Kind,
    /// The permissions.
    pub mode: u32,
    /// Whose it is.
    pub owner: Owner,
    /// Whose group's.
    pub group: Owner,
    /// The size in bytes.
    pub size: u64,
    /// Whether a folder has nothing in it.
    pub empty: bool,
    /// The hash of a content that was too large to be read.
    pub sha256: Option<String>,
    /// A file's content, where it was asked for; where a link leads.
    pub content: Option<Vec<u8>>,
}

/// What a probe found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// Something.
    There(Box<Found>),
    /// Nothing, in a folder that is there.
    Absent,
    /// Nothing, and not even the folder.
    NoFolder,
}

impl Look {
    /// The command that looks.
    pub fn script(&self) -> String {
        format!("p={}\n{}", quote(&self.path), self.script_for_p())
    }

    /// The same, which also tells what else is in the folder where nothing stands at the path: see [`Look::neighbours`].
    pub fn script_with_neighbours(&self) -> String {
        format!("p={}\n{}", quote(&self.path), self.script_telling(NEIGHBOURS))
    }

    /// The command for the path that the variable `p` holds. It only depends on how is looked, and needs a shell of its own: the
    /// program that shows the content takes its place, which costs the host one process less.
    pub fn script_for_p(&self) -> String {
        self.script_telling("")
    }

    /// `beside` is done where nothing stands at the path.
    fn script_telling(&self, beside: &str) -> String {
        let follow = if self.follow { "-L " } else { "" };
        let link = if self.follow { "false" } else { r#"[ -L "$p" ]"# };
        let content = match self.amount {
            Amount::Nothing => r#"printf '%s\nfile\n\n' "$s""#.to_owned(),
            Amount::Whole => r#"printf '%s\nfile\n\n\n' "$s"; exec cat -- "$p""#.to_owned(),
            // The size is the fifth word of both.
            Amount::Compared => format!(
                r#"set -f; set -- $s
  if [ "$5" -le {MAX_CONTENT} ]; then printf '%s\nfile\n\n\n' "$s"; exec cat -- "$p"
  else h=$(sha256sum < "$p") || exit 1; printf '%s\nfile\nsha256 %s\n' "$s" "${{h%% *}}"; fi"#
            ),
        };
        format!(
            r#"if [ ! -e "$p" ] && [ ! -L "$p" ] && [ -d "${{p%/*}}/" ] && [ -x "${{p%/*}}/" ]; then echo absent; {beside}exit 0; fi
s=$(stat {follow}-c 'stat %a %u %g %s %U %G' -- "$p" 2>&1) || s=$(ls -ld {follow}-- "$p" 2>&1) || case $s in
*': No such file or directory') if [ -d "${{p%/*}}/" ]; then echo absent; else echo nofolder; fi; exit 0;;
*) printf '%s\n' "$s" >&2; exit 1;;
esac
s=${{s%%'
'*}}
if {link}; then t=$(readlink -- "$p") || exit 1; printf '%s\nlink\n\n%s' "$s" "$t"
elif [ -d "$p" ]; then k=empty
  if [ -n "$(ls -A -- "$p" 2>/dev/null | head -n 1)" ]; then k=directory; fi; printf '%s\n%s\n' "$s" $k
elif [ -f "$p" ]; then
  {content}
else printf '%s\nspecial\n' "$s"; fi
"#
        )
    }

    /// The folder of the path, and the names of all that is in it, where the output says that nothing stands at the path
    /// and tells them.
    pub fn neighbours<'o>(&self, output: &'o [u8]) -> Option<(&str, BTreeSet<&'o str>)> {
        let told = std::str::from_utf8(output.strip_prefix(b"absent\nneighbours\n")?).ok()?;
        let (folder, _) = self.path.rsplit_once('/')?;
        Some((folder, told.lines().filter_map(|line| Some(line.rsplit_once('/')?.1)).collect()))
    }

    /// What the command's output says.
    pub fn parse(&self, output: &[u8]) -> Result<Answer> {
        let nonsense = || {
            Error::new(Class::Failed, format!("{}: the host's answer about it makes no sense", self.path))
                .cause(format!("it begins with {:?}", String::from_utf8_lossy(&output[..output.len().min(80)])))
                .help("`stat` and `ls` of the host must be those of GNU or BusyBox")
        };
        let (status, rest) = split_line(output);
        match status {
            b"absent" => return Ok(Answer::Absent),
            b"nofolder" => return Ok(Answer::NoFolder),
            _ => {}
        }
        let status = std::str::from_utf8(status).map_err(|_| nonsense())?;
        let (mode, owner, group, size) = parse_stat(status).or_else(|| parse_ls(status)).ok_or_else(nonsense)?;
        let (kind, rest) = split_line(rest);
        let (kind, empty) = match kind {
            b"file" => (Kind::File, false),
            b"directory" => (Kind::Directory, false),
            b"empty" => (Kind::Directory, true),
            b"link" => (Kind::Link, false),
            b"special" => (Kind::Special, false),
            _ => return Err(nonsense()),
        };
        let (extra, content) = split_line(rest);
        let sha256 = extra.strip_prefix(b"sha256 ").map(|hash| String::from_utf8_lossy(hash).into_owned());
        let content = match kind {
            Kind::Link => Some(content.to_vec()),
            // The blank line before a content tells it from the end of the answer.
            Kind::File if self.amount != Amount::Nothing && sha256.is_none() => {
                Some(content.strip_prefix(b"\n").ok_or_else(nonsense)?.to_vec())
            }
            _ => None,
        };
        Ok(Answer::There(Box::new(Found { kind, mode, owner, group, size, empty, sha256, content })))
    }
}

fn split_line(bytes: &[u8]) -> (&[u8], &[u8]) {
    match bytes.iter().position(|byte| *byte == b'\n') {
        Some(end) => (&bytes[..end], &bytes[end + 1..]),
        None => (bytes, &[]),
    }
}

type Status = (u32, Owner, Owner, u64);

/// `stat 644 0 0 12 root root`
fn parse_stat(line: &str) -> Option<Status> {
    let words: Vec<&str> = line.strip_prefix("stat ")?.split(' ').collect();
    let [mode, uid, gid, size, owner, group] = words.as_slice() else { return None };
    let named =
        |name: &str, id: &str| Owner { name: if name == "UNKNOWN" { id } else { name }.to_owned(), id: id.to_owned() };
    Some((u32::from_str_radix(mode, 8).ok()?, named(owner, uid), named(group, gid), size.parse().ok()?))
}

/// `-rw-r--r--    1 root     root            12 Jan  1 00:00 /etc/motd`: where there is no `stat`.
fn parse_ls(line: &str) -> Option<Status> {
    let words: Vec<&str> = line.split_whitespace().collect();
    let (mode, owner, group) = (words.first()?, words.get(2)?, words.get(3)?);
    // A device has two numbers in place of a size.
    let size = words.get(4)?.trim_end_matches(',').parse().ok()?;
    let named = |name: &str| Owner { name: name.to_owned(), id: String::new() };
    Some((parse_letters(mode)?, named(owner), named(group), size))
}

/// `-rwsr-xr-t` as a number.
fn parse_letters(letters: &str) -> Option<u32> {
    let letters = letters.as_bytes().get(1..10)?;
    let mut mode = 0;
    for (index, letter) in letters.iter().enumerate() {
        let (bit, extra) = (1 << (8 - index), 1 << (11 - index / 3));
        mode |= match letter {
            b'-' => 0,
            b'r' | b'w' | b'x' => bit,
            b's' | b't' => bit | extra,
            b'S' | b'T' => extra,
            _ => return None,
        };
    }
    Some(mode)
}

/// The path as cells know it: absolute, without empty and `.` parts.
pub fn normal_path(option: &str, path: &str) -> Result<String> {
    let refuse = |why: &str| {
        Error::new(Class::Script, format!("option `{option}`: {path:?} {why}"))
            .help("paths on a host are absolute: \"/etc/motd\"")
    };
    if !path.starts_with('/') {
        return Err(refuse("is not absolute"));
    }
    if path.contains('\0') {
        return Err(refuse("holds a NUL character"));
    }
    let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty() && *part != ".").collect();
    if parts.contains(&"..") {
        return Err(refuse("holds `..`"));
    }
    Ok(format!("/{}", parts.join("/")))
}

/// The folders above a path, the nearest first, without `/`.
pub fn folders_above(path: &str) -> impl Iterator<Item = &str> {
    std::iter::successors(Some(path), |path| path.rfind('/').map(|end| &path[..end]))
        .skip(1)
        .filter(|path| !path.is_empty())
}

/// Permissions as they are written: four octal digits.
pub fn show_mode(mode: u32) -> String {
    format!("{mode:04o}")
}

/// Reads permissions: three or four octal digits.
pub fn parse_mode(text: &str) -> Result<u32> {
    let mode = u32::from_str_radix(text, 8).ok().filter(|mode| *mode <= 0o7777 && (3..=4).contains(&text.len()));
    mode.ok_or_else(|| {
        Error::new(Class::Script, format!("option `mode`: {text:?} are no permissions"))
            .help("write them as octal digits: \"0644\"")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn look(amount: Amount) -> Look {
        Look { path: "/etc/motd".to_owned(), amount, follow: false }
    }

    fn found(answer: Result<Answer>) -> Found {
        match answer.expect("it makes sense") {
            Answer::There(found) => *found,
            other => panic!("nothing was found: {other:?}"),
        }
    }

    #[test]
    fn a_content_is_read_byte_for_byte() {
        let answer = b"stat 644 0 0 7 root root\nfile\n\n\n\nab\n\n\xff\n";
        let found = found(look(Amount::Compared).parse(answer));
        assert_eq!(found.content.as_deref(), Some(b"\nab\n\n\xff\n".as_slice()));
        assert_eq!((found.kind, found.mode, found.owner.name.as_str()), (Kind::File, 0o644, "root"));
    }

    #[test]
    fn an_answer_that_is_cut_off_is_not_an_empty_file() {
        assert!(look(Amount::Compared).parse(b"stat 644 0 0 0 root root\nfile\n").is_err());
        assert!(look(Amount::Compared).parse(b"").is_err());
    }

    #[test]
    fn what_is_absent_may_come_with_what_else_is_there() {
        let look = look(Amount::Compared);
        let answer = b"absent\nneighbours\n/etc/hosts\n/etc/.[!.]*\n/etc/a b\n";
        assert_eq!(look.parse(answer).ok(), Some(Answer::Absent));
        assert_eq!(look.neighbours(answer), Some(("/etc", BTreeSet::from(["hosts", ".[!.]*", "a b"]))));
        assert_eq!(look.neighbours(b"absent\n"), None);
        assert_eq!(look.neighbours(b"stat 644 0 0 0 root root\nfile\n\n\n"), None);
    }

    #[test]
    fn an_owner_without_a_name_is_known_by_number() {
        let found = found(look(Amount::Nothing).parse(b"stat 4755 1234 5 0 UNKNOWN tty\nspecial\n"));
        assert_eq!((found.owner.name.as_str(), found.group.name.as_str(), found.mode), ("1234", "tty", 0o4755));
    }

    #[test]
    fn a_host_without_stat_answers_with_ls() {
        let line = b"drwxrwsr-t    2 www-data adm            4096 Jan  1 00:00 /srv/a b\nempty\n";
        let found = found(look(Amount::Nothing).parse(line));
        assert_eq!((found.mode, found.owner.name.as_str(), found.empty), (0o3775, "www-data", true));
    }

    #[test]
    fn letters_and_digits_mean_the_same_permissions() {
        for (letters, mode) in
            [("-rw-r--r--", 0o644), ("-rwsr-x--T+", 0o5750), ("drwxr-Sr-x", 0o2745), ("----------", 0)]
        {
            assert_eq!(parse_letters(letters), Some(mode), "{letters}");
        }
    }

    #[test]
    fn where_a_link_leads_may_be_any_text() {
        let found = found(look(Amount::Compared).parse(b"stat 777 0 0 4 root root\nlink\n\na\nb"));
        assert_eq!(found.content.as_deref(), Some(b"a\nb".as_slice()));
    }

    #[test]
    fn paths_are_compared_in_one_form() {
        assert_eq!(normal_path("path", "//etc/./motd/").expect("sound"), "/etc/motd");
        assert!(normal_path("path", "etc/motd").is_err());
        assert!(normal_path("path", "/etc/../root").is_err());
        assert_eq!(folders_above("/a/b/c").collect::<Vec<_>>(), ["/a/b", "/a"]);
    }

    #[test]
    fn permissions_are_three_or_four_octal_digits() {
        assert_eq!(parse_mode("0644").ok().map(show_mode).as_deref(), Some("0644"));
        assert_eq!(parse_mode("750").ok().map(show_mode).as_deref(), Some("0750"));
        assert!(parse_mode("u=rw").is_err() && parse_mode("0o644").is_err() && parse_mode("888").is_err());
    }
}
