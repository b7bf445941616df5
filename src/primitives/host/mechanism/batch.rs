//! Many questions to a host as one command. Paths are looked at together, with two programs for all of them; whatever
//! else is asked runs one after the other.
//!
//! An answer has the form that the question alone would have been given. What a batch cannot tell it leaves out, so that it
//! is asked alone: large files, what fails, hosts without `stat`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::probe::{Amount, Look};
use crate::clients::ssh::{Exit, Output, quote};

/// Something to ask a host. It only reads.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Question {
    /// What stands at a path.
    Look(Look),
    /// Whatever a script of the program's own prints.
    Script(String),
    /// Whatever a playbook's command prints. What it does besides nobody knows.
    Command(String),
}

impl Question {
    /// The script that asks it alone.
    pub fn script(&self) -> String {
        match self {
            Question::Look(look) => look.script(),
            Question::Script(script) | Question::Command(script) => script.clone(),
        }
    }

    /// The same, where an answer may tell of neighbours, too: see [`Look::neighbours`].
    pub fn script_with_neighbours(&self) -> String {
        match self {
            Question::Look(look) => look.script_with_neighbours(),
            _ => self.script(),
        }
    }

    /// Whether it is known to be done in a moment and to leave nothing behind.
    pub fn is_brief(&self) -> bool {
        !matches!(self, Question::Command(_))
    }
}

/// The longest file that is read together with others, in bytes.
const LONGEST: usize = 64 * 1024;

/// Looks of one kind: whether a link is followed, and how much of the content is read.
type Kind = (bool, Amount);

/// Questions that are asked together.
pub struct Batch {
    /// A line that stands between answers. Nobody can have written it before.
    edge: String,
    looks: BTreeMap<Kind, Vec<Look>>,
    scripts: Vec<Question>,
}

/// Prints what `stat` says of paths that are there, which folders have something in them, and the contents of short files.
/// Words are lines while it runs: the shell splits a text at once that it would have to `read` byte by byte.
const SEE: &str = r#"nl='
'
see() {
want=$1; shift; found= files=
[ $# -eq 0 ] || found=$(stat -L -c '%f %a %u %g %s %U %G %n' -- "$@" 2>/dev/null)
printf '%s\n%s\n' "$found" "$edge"
for line in $found; do
p=${line##* }
case $line in
4???\ *) e=empty
for x in "$p"/* "$p"/.[!.]* "$p"/..?*; do if [ -e "$x" ] || [ -L "$x" ]; then e=directory; break; fi; done
printf '%s %s\n' "$e" "$p";;
8???\ *) size=${line#* * * * }
if [ "$want" = y ] && [ "${size%% *}" -le LONGEST ]; then files=$files$p$nl; fi;;
esac
done
printf '%s\n' "$edge"
[ -z "$files" ] || cat -- $files
unset IFS
printf '\n%s\n' "$edge"
}
"#;

/// Paths of which neither the shell nor the lines of `stat` make anything else, and whose length is what `stat` says.
fn is_plain(path: &str) -> bool {
    let is_sound = |c: char| c.is_ascii_alphanumeric() || "/._-+@:,%=".contains(c);
    path.chars().all(is_sound) && !["/proc", "/sys", "/dev"].iter().any(|special| path.starts_with(special))
}

impl Batch {
    /// These questions; `edge` must be a line that no answer has.
    pub fn of(questions: impl IntoIterator<Item = Question>, edge: String) -> Self {
        let mut batch = Batch { edge, looks: BTreeMap::new(), scripts: Vec::new() };
        for question in questions {
            match question {
                Question::Look(look) if is_plain(&look.path) => {
                    batch.looks.entry((look.follow, look.amount)).or_default().push(look);
                }
                other => batch.scripts.push(other),
            }
        }
        batch
    }

    /// Whether all of them are known to be done in a moment.
    pub fn is_brief(&self) -> bool {
        self.scripts.iter().all(Question::is_brief)
    }

    /// The command.
    pub fn script(&self) -> String {
        let mut script = format!("edge={}\n{}", self.edge, SEE.replace("LONGEST", &LONGEST.to_string()));
        for ((follow, amount), looks) in &self.looks {
            let paths: Vec<String> = looks.iter().map(|look| quote(&look.path)).collect();
            let is_link = if *follow { "false" } else { "[ -L \"$p\" ]" };
            let alone = looks.first().map(Look::script_for_p).unwrap_or_default();
            script += &format!("alone={}\nsome=\nfor p in {}; do\n", quote(&alone), paths.join(" "));
            script += &format!("if {is_link} || ! {{ [ -f \"$p\" ] || [ -d \"$p\" ]; }}; then\n");
            script += "p=\"$p\" sh -c \"$alone\" </dev/null 2>/dev/null\nprintf '\\n%s %s %s\\n' \"$edge\" $? \"$p\"\n";
            script += "else some=$some$p$nl; fi\ndone\nprintf '\\n%s end\\n' \"$edge\"\n";
            script += &format!("IFS=$nl; see {} $some\n", if *amount == Amount::Nothing { "n" } else { "y" });
        }
        script += "printf '\\n%s\\n' \"$edge\" >&2\n";
        for question in &self.scripts {
            script += &format!(
                "sh -c {} </dev/null\nprintf '\\n%s %s\\n' \"$edge\" $?\nprintf '\\n%s\\n' \"$edge\" >&2\n",
                quote(&question.script())
            );
        }
        script
    }

    /// The answers that its output holds.
    pub fn answers(self, output: &Output) -> Vec<(Question, Output)> {
        let mut answers = Vec::new();
        let mut rest = output.stdout.as_slice();
        for ((_, amount), looks) in &self.looks {
            let (Some(alone), Some(seen)) = (self.cut_alone(&mut rest, looks), self.cut_seen(&mut rest)) else {
                return answers;
            };
            answers.extend(alone);
            answers.extend(seen.answers(*amount != Amount::Nothing, looks));
        }
        let mut complaints = output.stderr.as_slice();
        let edge = format!("\n{}\n", self.edge);
        if cut(&mut complaints, edge.as_bytes()).is_none() {
            return answers;
        }
        for question in self.scripts {
            let said = cut(&mut rest, format!("\n{} ", self.edge).as_bytes());
            let code = cut(&mut rest, b"\n");
            let complained = cut(&mut complaints, edge.as_bytes());
            let (Some(stdout), Some(code), Some(stderr)) = (said, code, complained) else { return answers };
            // Above 128 it may have been a signal, which a batch cannot tell from a code.
            let code = std::str::from_utf8(code).ok().and_then(|code| code.parse().ok()).filter(|code| *code <= 128);
            if let Some(code) = code {
                let output = Output { exit: Exit::Code(code), stdout: stdout.to_vec(), stderr: stderr.to_vec() };
                answers.push((question, output));
            }
        }
        answers
    }

    /// What was told of paths that were looked at one by one. What failed there is asked again, to hear its complaint.
    fn cut_alone(&self, rest: &mut &[u8], looks: &[Look]) -> Option<Vec<(Question, Output)>> {
        let mut answers = Vec::new();
        loop {
            let stdout = cut(rest, format!("\n{} ", self.edge).as_bytes())?;
            let line = std::str::from_utf8(cut(rest, b"\n")?).ok()?;
            match line.split_once(' ') {
                Some(("0", path)) => answers.extend(of_path(looks, path, stdout)),
                Some(_) => {}
                None => return Some(answers),
            }
        }
    }

    fn cut_seen<'o>(&self, rest: &mut &'o [u8]) -> Option<Seen<'o>> {
        let line = format!("{}\n", self.edge);
        let status = cut(rest, line.as_bytes())?;
        let folders = cut(rest, line.as_bytes())?;
        let contents = cut(rest, format!("\n{line}").as_bytes())?;
        Some(Seen { status: std::str::from_utf8(status).ok()?, folders: std::str::from_utf8(folders).ok()?, contents })
    }
}

/// Takes what stands before a mark, and the mark.
fn cut<'o>(rest: &mut &'o [u8], mark: &[u8]) -> Option<&'o [u8]> {
    let at = rest.windows(mark.len()).position(|window| window == mark)?;
    let before = &rest[..at];
    *rest = &rest[at + mark.len()..];
    Some(before)
}

/// An answer for each look at a path.
fn of_path(looks: &[Look], path: &str, stdout: &[u8]) -> impl Iterator<Item = (Question, Output)> {
    looks.iter().filter(move |look| look.path == path).map(move |look| {
        let output = Output { exit: Exit::Code(0), stdout: stdout.to_vec(), stderr: Vec::new() };
        (Question::Look(look.clone()), output)
    })
}

/// What was printed for looks of one kind.
struct Seen<'o> {
    /// A line of `stat` for each path that is there.
    status: &'o str,
    /// `empty` or `directory`, and the path.
    folders: &'o str,
    /// The contents of short files, one right after the other.
    contents: &'o [u8],
}

impl Seen<'_> {
    fn answers(&self, with_content: bool, looks: &[Look]) -> Vec<(Question, Output)> {
        let mut answers = Vec::new();
        let contents = if with_content { self.split_contents() } else { Some(BTreeMap::new()) };
        for line in self.status.lines() {
            let words: Vec<&str> = line.splitn(8, ' ').collect();
            let [raw, mode, uid, gid, size, user, group, path] = words[..] else { continue };
            let mut stdout = format!("stat {mode} {uid} {gid} {size} {user} {group}\n").into_bytes();
            let folder = self.folders.lines().filter_map(|line| line.split_once(' ')).find(|(_, one)| *one == path);
            match (folder, contents.as_ref()) {
                (Some((kind, _)), _) => stdout.extend(format!("{kind}\n").bytes()),
                (None, _) if !is_file(raw) => continue,
                (None, Some(_)) if !with_content => stdout.extend(b"file\n\n"),
                (None, Some(contents)) => {
                    let Some(content) = contents.get(path) else { continue };
                    stdout.extend(b"file\n\n\n");
                    stdout.extend_from_slice(content);
                }
                (None, None) => continue,
            }
            answers.extend(of_path(looks, path, &stdout));
        }
        answers
    }

    /// The content of each short file; nothing where the lengths do not add up, because a file has changed meanwhile.
    fn split_contents(&self) -> Option<BTreeMap<&str, &[u8]>> {
        let mut contents = BTreeMap::new();
        let mut rest = self.contents;
        for line in self.status.lines() {
            let words: Vec<&str> = line.splitn(8, ' ').collect();
            let [raw, _, _, _, size, _, _, path] = words[..] else { return None };
            let size: usize = size.parse().ok()?;
            if is_file(raw) && size <= LONGEST {
                let (content, after) = rest.split_at_checked(size)?;
                contents.insert(path, content);
                rest = after;
            }
        }
        rest.is_empty().then_some(contents)
    }
}

/// Whether the mode in hexadecimal digits is that of a plain file.
fn is_file(raw: &str) -> bool {
    raw.len() == 4 && raw.starts_with('8')
}
