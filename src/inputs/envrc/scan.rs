//! The scanner: words of a shell without the shell. It keeps note of which bytes are safe to show in an error.

use std::ops::Range;

use super::Entry;

/// Why a line is not accepted.
pub(super) struct Refusal {
    pub span: Range<usize>,
    /// Whether the bytes of the span may be shown: a command may, what could be part of a value may not.
    pub shown: bool,
    pub message: String,
    pub note: &'static str,
    pub help: &'static str,
}

pub(super) struct Scanner<'a> {
    pub(super) text: &'a str,
    /// Where the scanner stands. The reader of `.envrc.example` moves it from line to line.
    pub(super) at: usize,
    home: Option<&'a str>,
    /// The `export NAME=` parts met so far.
    visible: Vec<Range<usize>>,
}

/// First words that are surely commands, so that showing the line gives no value away.
const COMMANDS: &[&str] = &[
    ".",
    "[",
    "[[",
    "alias",
    "case",
    "cd",
    "direnv_layout_dir",
    "dotenv",
    "dotenv_if_exists",
    "env_vars_required",
    "eval",
    "exec",
    "export",
    "for",
    "function",
    "if",
    "layout",
    "load_prefix",
    "log_status",
    "MANPATH_add",
    "path_add",
    "PATH_add",
    "path_rm",
    "PATH_rm",
    "set",
    "source",
    "source_env",
    "source_env_if_exists",
    "source_up",
    "source_up_if_exists",
    "source_url",
    "strict_env",
    "test",
    "unset",
    "unstrict_env",
    "use",
    "watch_dir",
    "watch_file",
    "while",
];

/// What joins a line with the next one.
const CONTINUATION: &str = "\\\n";

const NOT_EXECUTED: &str = "not executed: .envrc is read as data";

impl<'a> Scanner<'a> {
    pub fn new(text: &'a str, home: Option<&'a str>) -> Self {
        Scanner { text, at: 0, home, visible: Vec::new() }
    }

    /// Goes to the next statement, over blank lines and comments. False at the end of the text.
    pub fn skip_to_statement(&mut self) -> bool {
        loop {
            self.at += self.rest().len() - self.rest().trim_start().len();
            match self.peek() {
                None => return false,
                Some('#') => self.at = self.line_end(),
                Some(_) => return true,
            }
        }
    }

    /// Reads `[export] NAME=value …` up to the end of its line.
    pub fn statement(&mut self, entries: &mut Vec<Entry>) -> Result<(), Refusal> {
        let start = self.at;
        let exported = self.rest().strip_prefix("export").is_some_and(|rest| rest.starts_with([' ', '\t']));
        if exported {
            self.at += "export".len();
            self.skip_blanks();
        }
        let first = self.at;
        if self.name_of_assignment().is_none() {
            return Err(self.not_an_assignment(start));
        }
        while let Some(name) = self.name_of_assignment() {
            let begin = self.at;
            self.at += name.len() + 1;
            // Further words could be the rest of a value that should have been quoted.
            if begin == first && (exported || name.starts_with("HOMELAB_")) {
                self.visible.push(start..self.at);
            }
            let value = self.word(entries)?;
            if value.contains('\0') {
                return Err(self.refuse(begin..self.at, "a NUL byte cannot be part of a variable", "holds NUL"));
            }
            entries.push(Entry { name: name.to_string(), value, span: begin..self.at });
            self.skip_blanks();
        }
        match self.peek() {
            None | Some('\n' | '\r') => Ok(()),
            Some('#') => {
                self.at = self.line_end();
                Ok(())
            }
            Some(_) => Err(self.more_words()),
        }
    }

    /// The text with everything masked but what is known to be no value.
    pub fn masked(&self, shown: Option<&Range<usize>>) -> String {
        let visible = |at: usize| self.visible.iter().chain(shown).any(|range| range.contains(&at));
        let mut masked = String::with_capacity(self.text.len());
        for (at, c) in self.text.char_indices() {
            if c.is_whitespace() || visible(at) {
                masked.push(c);
            } else {
                // As many bytes as before: the spans of labels stay right.
                masked.extend(std::iter::repeat_n('*', c.len_utf8()));
            }
        }
        masked
    }

    fn word(&mut self, entries: &[Entry]) -> Result<String, Refusal> {
        let mut value = String::new();
        let mut tilde_expands = true;
        while let Some(c) = self.peek() {
            let start = self.at;
            let goes_on_below = self.rest().starts_with(CONTINUATION);
            match c {
                ' ' | '\t' | '\n' | '\r' => break,
                '\'' => value.push_str(self.single_quoted()?),
                '"' => self.double_quoted(entries, &mut value)?,
                '$' if self.rest().starts_with("$'") => self.ansi_quoted(&mut value)?,
                '$' if self.rest().starts_with("$\"") => {
                    return Err(self.refuse(start..start + 2, "`$\"…\"` asks for a translation", NOT_EXECUTED));
                }
                '$' => self.dollar(entries, &mut value)?,
                '`' => return Err(self.substitution("`")),
                '\\' => self.escaped(&mut value)?,
                '~' if tilde_expands => self.tilde(&mut value)?,
                ';' | '&' | '|' | '<' | '>' | '(' | ')' | '{' => {
                    let message = format!("`{c}` has a meaning for a shell here");
                    return Err(self.refuse(start..start + 1, &message, "quote the value if it is part of it"));
                }
                _ => {
                    value.push(c);
                    self.at += c.len_utf8();
                }
            }
            // A shell expands `~` at the start of the value and after a colon, and takes out what continues a line before.
            tilde_expands = if goes_on_below { tilde_expands } else { c == ':' };
        }
        Ok(value)
    }

    fn single_quoted(&mut self) -> Result<&'a str, Refusal> {
        let start = self.at;
        let body = &self.text[start + 1..];
        let Some(length) = body.find('\'') else { return Err(self.unterminated(start, 1)) };
        self.at = start + length + 2;
        Ok(&body[..length])
    }

    fn double_quoted(&mut self, entries: &[Entry], value: &mut String) -> Result<(), Refusal> {
        let start = self.at;
        self.at += 1;
        loop {
            match self.peek() {
                None => return Err(self.unterminated(start, 1)),
                Some('"') => {
                    self.at += 1;
                    return Ok(());
                }
                Some('`') => return Err(self.substitution("`")),
                Some('$') => self.dollar(entries, value)?,
                Some('\\') => match self.rest()[1..].chars().next() {
                    Some('\n') => self.at += 2,
                    Some(c @ ('$' | '`' | '"' | '\\')) => {
                        value.push(c);
                        self.at += 2;
                    }
                    _ => {
                        value.push('\\');
                        self.at += 1;
                    }
                },
                Some(c) => {
                    value.push(c);
                    self.at += c.len_utf8();
                }
            }
        }
    }

    fn escaped(&mut self, value: &mut String) -> Result<(), Refusal> {
        let start = self.at;
        self.at += 1;
        let Some(c) = self.peek() else {
            return Err(self.refuse(start..self.at, "a backslash at the end of the file", "continues nothing"));
        };
        self.at += c.len_utf8();
        if c != '\n' {
            value.push(c);
        }
        Ok(())
    }

    fn tilde(&mut self, value: &mut String) -> Result<(), Refusal> {
        let start = self.at;
        self.at += 1;
        match self.peek() {
            None | Some('/' | ':' | ' ' | '\t' | '\n' | '\r') => {
                value.push_str(self.home_at(start..start + 1)?);
                Ok(())
            }
            Some(_) => Err(self.refuse(start..start + 1, "`~` here names another user's home", NOT_EXECUTED)),
        }
    }

    fn dollar(&mut self, entries: &[Entry], value: &mut String) -> Result<(), Refusal> {
        let start = self.at;
        let after = &self.text[start + 1..];
        // A shell joins the lines first, and then the reference is another one.
        let end = start + 1 + name_at(after).len();
        if self.text[end..].starts_with(CONTINUATION) {
            let message = "a reference that goes on in the next line";
            return Err(self.refuse(start..end, message, "continued below"));
        }
        let (name, length) = match after.chars().next() {
            Some('(') => return Err(self.substitution("$(")),
            Some('{') => match after.find('}') {
                Some(end) if is_name(&after[1..end]) => (&after[1..end], end + 2),
                end => {
                    let span = start..end.map_or(self.line_end(), |end| start + end + 2);
                    let message = "only `${NAME}` is understood";
                    return Err(self.refuse(span, message, "more than the name of a variable"));
                }
            },
            Some(c) if c.is_ascii_alphabetic() || c == '_' => {
                let name = name_at(after);
                (name, name.len() + 1)
            }
            Some('0'..='9' | '@' | '*' | '#' | '?' | '-' | '$' | '!') => {
                return Err(self.refuse(start..start + 2, "no script runs, so it has no parameters", NOT_EXECUTED));
            }
            _ => {
                value.push('$');
                self.at += 1;
                return Ok(());
            }
        };
        self.at += length;
        match entries.iter().rev().find(|entry| entry.name == name) {
            Some(entry) => value.push_str(&entry.value),
            None if name == "HOME" => value.push_str(self.home_at(start..self.at)?),
            None => {
                // Without its name: it may be the second half of a password with a `$` in it.
                let message = "a reference to a variable that no earlier line sets";
                return Err(self.refuse(start..self.at, message, "not set by an earlier line"));
            }
        }
        Ok(())
    }

    fn home_at(&self, span: Range<usize>) -> Result<&'a str, Refusal> {
        self.home.ok_or_else(|| self.refuse(span, "the home directory is not known", "write the whole path"))
    }

    fn substitution(&self, opening: &str) -> Refusal {
        let line = &self.text[self.at..self.line_end()];
        let length = if opening == "`" {
            line[1..].find('`').map(|end| end + 2)
        } else {
            closing_parenthesis(line).map(|end| end + 1)
        };
        let span = self.at..self.at + length.unwrap_or(line.len());
        self.refuse(span, "a command substitution is not executed", NOT_EXECUTED)
    }

    pub(super) fn unterminated(&self, start: usize, length: usize) -> Refusal {
        self.refuse(start..start + length, "a quote is opened and never closed", "opened here")
    }

    fn more_words(&self) -> Refusal {
        let length = self.rest().find(char::is_whitespace).unwrap_or(self.rest().len());
        let message = "more words after the value; quote a value that contains spaces";
        self.refuse(self.at..self.at + length, message, "not part of the value")
    }

    fn not_an_assignment(&mut self, start: usize) -> Refusal {
        let line = self.text[start..].lines().next().unwrap_or_default();
        let span = start..start + line.trim_end().len();
        let word = line.split_whitespace().next().filter(|word| COMMANDS.contains(word));
        let (message, note) = match word {
            Some("export") => ("`export` without a value".to_string(), "gives no value"),
            Some(word) => (format!("`{word}` is not executed"), NOT_EXECUTED),
            None => ("not of the form `export NAME=value`".to_string(), NOT_EXECUTED),
        };
        let help = "homelab reads only lines like export NAME='value'; \
                    keep what direnv has to execute in a file of its own, or set the variables in the environment";
        Refusal { span, shown: word.is_some(), message, note, help }
    }

    /// A refusal inside of a value: nothing of a value is ever shown.
    pub(super) fn refuse(&self, span: Range<usize>, message: &str, note: &'static str) -> Refusal {
        let help = "write the value itself, in single quotes: export NAME='value'";
        Refusal { span, shown: false, message: message.to_string(), note, help }
    }

    fn name_of_assignment(&self) -> Option<&'a str> {
        let name = name_at(self.rest());
        (!name.is_empty() && self.rest()[name.len()..].starts_with('=')).then_some(name)
    }

    fn skip_blanks(&mut self) {
        self.at += self.rest().len() - self.rest().trim_start_matches([' ', '\t']).len();
    }

    pub(super) fn rest(&self) -> &'a str {
        &self.text[self.at..]
    }

    pub(super) fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    fn line_end(&self) -> usize {
        self.rest().find('\n').map_or(self.text.len(), |length| self.at + length)
    }
}

/// The longest name of a variable that the text starts with; empty when there is none.
fn name_at(text: &str) -> &str {
    if text.starts_with(|c: char| c.is_ascii_digit()) {
        return "";
    }
    let length = text.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(text.len());
    &text[..length]
}

fn is_name(text: &str) -> bool {
    !text.is_empty() && name_at(text).len() == text.len()
}

fn closing_parenthesis(text: &str) -> Option<usize> {
    let mut open = 0usize;
    for (at, c) in text.char_indices() {
        match c {
            '(' => open += 1,
            ')' if open == 1 => return Some(at),
            ')' => open = open.saturating_sub(1),
            _ => {}
        }
    }
    None
}
