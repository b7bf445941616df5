//! What becomes of a word: parameters, commands and expressions are put in, then fields are split and files matched.

use super::Shell;
use super::arith;
use super::ast::{ParamOp, Part, Word};
use super::eval::Flow;
use super::pattern::{self, Char};
use crate::sim::host::memory;

/// The fields that a word turns into.
#[derive(Default)]
struct Fields {
    done: Vec<Vec<Char>>,
    current: Option<Vec<Char>>,
    /// The length of everything that was put in; what goes beyond the limit is not.
    size: usize,
}

impl Fields {
    /// Whether so much more has room.
    fn admit(&mut self, text: &str) -> bool {
        // Every piece takes some room beside its text.
        self.size += text.len() + 16;
        self.size <= memory::WORDS
    }

    fn push(&mut self, text: &str, quoted: bool) {
        if !self.admit(text) {
            return;
        }
        self.current.get_or_insert_default().extend(text.chars().map(|next| (next, quoted)));
    }

    fn end(&mut self) {
        self.done.push(self.current.take().unwrap_or_default());
    }

    /// Unquoted text from an expansion, split at the characters of IFS.
    fn push_split(&mut self, text: &str, ifs: &str) {
        if !self.admit(text) {
            return;
        }
        let mut after_blank = false;
        for next in text.chars() {
            match ifs.contains(next) {
                true if next.is_ascii_whitespace() => {
                    if let Some(field) = self.current.take() {
                        self.done.push(field);
                        after_blank = true;
                    }
                }
                true => {
                    if self.current.is_some() || !after_blank {
                        self.end();
                    }
                    after_blank = false;
                }
                false => {
                    self.current.get_or_insert_default().push((next, false));
                    after_blank = false;
                }
            }
        }
    }

    fn finish(mut self) -> Vec<Vec<Char>> {
        self.done.extend(self.current.take());
        self.done
    }
}

/// What a parameter stands for.
enum Value {
    Unset,
    One(String),
    /// `$@` and `$*`.
    Many(Vec<String>),
}

impl arith::Variables for Shell {
    fn get(&self, name: &str) -> String {
        self.variable(name).unwrap_or_default().to_owned()
    }

    fn set(&mut self, name: &str, value: i64) {
        self.assign(name, value.to_string());
    }
}

impl Shell {
    /// The arguments that words turn into.
    pub fn expand_words(&mut self, words: &[Word]) -> Result<Vec<String>, Flow> {
        let mut arguments = Vec::new();
        let mut size = 0;
        for word in words {
            let mut fields = Fields { size, ..Fields::default() };
            self.expand_into(word, &mut fields, true)?;
            size = fields.size;
            for field in fields.finish() {
                let found = match pattern::is_pattern(&field) && !self.options.noglob {
                    true => pattern::files(&self.process, &field),
                    false => Vec::new(),
                };
                size += found.iter().map(String::len).sum::<usize>();
                if found.is_empty() { arguments.push(text_of(&field)) } else { arguments.extend(found) }
            }
        }
        Ok(arguments)
    }

    /// A word as one text, neither split nor matched.
    pub fn expand_text(&mut self, word: &Word) -> Result<String, Flow> {
        self.expand_pattern(word).map(|field| text_of(&field))
    }

    /// A word as one pattern.
    pub fn expand_pattern(&mut self, word: &Word) -> Result<Vec<Char>, Flow> {
        let mut fields = Fields::default();
        self.expand_into(word, &mut fields, false)?;
        let fields = fields.finish();
        Ok(fields.join(&(' ', true)))
    }

    fn expand_into(&mut self, word: &Word, fields: &mut Fields, split: bool) -> Result<(), Flow> {
        for (index, part) in word.iter().enumerate() {
            match part {
                Part::Text(text) if index == 0 && text.starts_with('~') => {
                    let (home, rest) = self.tilde(text, word.len() == 1);
                    fields.push(&home, true);
                    fields.push(rest, false);
                }
                Part::Text(text) => fields.push(text, false),
                Part::Quoted(text) => fields.push(text, true),
                Part::Param { name, op, quoted } => self.expand_parameter(name, op, *quoted, fields, split)?,
                Part::Command(list, quoted) => {
                    let output = self.capture(list)?;
                    self.insert(&output, *quoted, fields, split);
                }
                Part::Arith(expression, quoted) => {
                    let text = self.expand_text(expression)?;
                    let value = arith::evaluate(&text, self).map_err(|wrong| self.fatal(wrong))?;
                    self.insert(&value.to_string(), *quoted, fields, split);
                }
            }
            if fields.size > memory::WORDS {
                self.process.session.exhaust();
                return Err(Flow::Exit(137));
            }
        }
        Ok(())
    }

    /// Puts the result of an expansion in.
    fn insert(&self, text: &str, quoted: bool, fields: &mut Fields, split: bool) {
        if quoted || !split {
            fields.push(text, quoted);
        } else {
            fields.push_split(text, &self.ifs());
        }
    }

    /// What separates fields.
    pub fn ifs(&self) -> String {
        self.variable("IFS").unwrap_or(" \t\n").to_owned()
    }

    /// A leading `~` or `~user`, and what follows it. In an assignment or with more parts only up to the slash.
    fn tilde<'a>(&self, text: &'a str, whole: bool) -> (String, &'a str) {
        let (name, rest) = match text.find('/') {
            Some(slash) => text.split_at(slash),
            None if whole => (text, ""),
            None => return (String::new(), text),
        };
        let home = match &name[1..] {
            "" => self.variable("HOME").map(str::to_owned),
            user => self.process.session.with(|machine| machine.user(user)).map(|user| user.home),
        };
        match home {
            Some(home) => (home, rest),
            None => (String::new(), text),
        }
    }

    fn expand_parameter(
        &mut self,
        name: &str,
        op: &ParamOp,
        quoted: bool,
        fields: &mut Fields,
        split: bool,
    ) -> Result<(), Flow> {
        let value = self.parameter(name);
        match op {
            ParamOp::Plain => {
                if matches!(value, Value::Unset) && self.options.nounset {
                    return Err(self.fatal(format!("{name}: parameter not set")));
                }
                self.insert_value(name, value, quoted, fields, split);
            }
            ParamOp::Length => {
                let length = match value {
                    Value::Unset if self.options.nounset => {
                        return Err(self.fatal(format!("{name}: parameter not set")));
                    }
                    Value::Unset => 0,
                    Value::One(text) => text.chars().count(),
                    Value::Many(all) => all.len(),
                };
                self.insert(&length.to_string(), quoted, fields, split);
            }
            ParamOp::Instead { kind, empty, word } => {
                return self.expand_instead(name, value, (*kind, *empty, word), quoted, fields, split);
            }
            ParamOp::Strip { suffix, longest, pattern } => {
                let pattern = self.expand_pattern(pattern)?;
                let text = match value {
                    Value::Unset if self.options.nounset => {
                        return Err(self.fatal(format!("{name}: parameter not set")));
                    }
                    Value::Unset => String::new(),
                    Value::One(text) => text,
                    Value::Many(all) => all.join(" "),
                };
                self.insert(&strip(&text, &pattern, *suffix, *longest), quoted, fields, split);
            }
        }
        Ok(())
    }

    fn expand_instead(
        &mut self,
        name: &str,
        value: Value,
        (kind, empty, word): (char, bool, &Word),
        quoted: bool,
        fields: &mut Fields,
        split: bool,
    ) -> Result<(), Flow> {
        let missing = match &value {
            Value::Unset => true,
            Value::One(text) => empty && text.is_empty(),
            Value::Many(all) => all.is_empty() || (empty && all.iter().all(String::is_empty)),
        };
        match (kind, missing) {
            ('+', true) => {
                if quoted {
                    fields.push("", true);
                }
                Ok(())
            }
            ('+', false) | ('-', true) => {
                if quoted {
                    fields.push("", true);
                }
                self.expand_into(word, fields, split)
            }
            ('=', true) => {
                let text = self.expand_text(word)?;
                self.assign(name, text.clone());
                self.insert(&text, quoted, fields, split);
                Ok(())
            }
            ('?', true) => {
                let text = self.expand_text(word)?;
                let text = if text.is_empty() { "parameter not set or null".to_owned() } else { text };
                Err(self.fatal(format!("{name}: {text}")))
            }
            _ => {
                self.insert_value(name, value, quoted, fields, split);
                Ok(())
            }
        }
    }

    fn insert_value(&self, name: &str, value: Value, quoted: bool, fields: &mut Fields, split: bool) {
        match value {
            Value::Unset => {
                if quoted {
                    fields.push("", true);
                }
            }
            Value::One(text) => self.insert(&text, quoted, fields, split),
            Value::Many(all) if quoted && name == "@" && split => {
                for (index, text) in all.iter().enumerate() {
                    if index > 0 {
                        fields.end();
                    }
                    fields.push(text, true);
                }
            }
            Value::Many(all) if quoted || !split => {
                let separator = self.ifs().chars().next().map(String::from).unwrap_or_default();
                let separator = if name == "@" { " ".to_owned() } else { separator };
                fields.push(&all.join(&separator), quoted);
            }
            Value::Many(all) => {
                for (index, text) in all.iter().enumerate() {
                    if index > 0 && fields.current.is_some() {
                        fields.end();
                    }
                    fields.push_split(text, &self.ifs());
                }
            }
        }
    }

    fn parameter(&self, name: &str) -> Value {
        match name {
            "@" | "*" => Value::Many(self.positional.clone()),
            "#" => Value::One(self.positional.len().to_string()),
            "?" => Value::One(self.status.to_string()),
            "$" => Value::One(self.pid.to_string()),
            "!" => Value::One(String::new()),
            "-" => Value::One(self.options.letters()),
            "0" => Value::One(self.name.clone()),
            _ => {
                let found = match name.parse::<usize>() {
                    Ok(number) => self.positional.get(number.wrapping_sub(1)).map(String::as_str),
                    Err(_) => self.variable(name),
                };
                found.map_or(Value::Unset, |text| Value::One(text.to_owned()))
            }
        }
    }
}

fn text_of(field: &[Char]) -> String {
    field.iter().map(|next| next.0).collect()
}

/// Cuts what matches off one end.
fn strip(text: &str, pattern: &[Char], suffix: bool, longest: bool) -> String {
    let chars: Vec<char> = text.chars().collect();
    let count = chars.len();
    let mut lengths: Vec<usize> = (0..=count).collect();
    if longest {
        lengths.reverse();
    }
    for length in lengths {
        let (piece, rest) = match suffix {
            true => (&chars[count - length..], &chars[..count - length]),
            false => (&chars[..length], &chars[length..]),
        };
        if pattern::matches(pattern, piece) {
            return rest.iter().collect();
        }
    }
    text.to_owned()
}
