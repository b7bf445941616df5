//! The scripts of sed.

use regex::bytes::Regex;

use super::pattern::{Notation, compile};
use crate::sim::host::process::{Stop, not_simulated};

/// Which lines are meant.
#[derive(Debug, Clone)]
pub enum Address {
    /// The line of this number.
    Line(usize),
    /// The last line.
    Last,
    /// Lines that match.
    Match(Regex),
}

/// What is done with a line.
#[derive(Debug, Clone)]
pub enum Action {
    /// `s`
    Substitute { find: Regex, put: Vec<Piece>, nth: usize, all: bool, print: bool },
    /// `y`
    Translate(Vec<char>, Vec<char>),
    /// `d`
    Delete,
    /// `p`
    Print,
    /// `q`
    Quit,
    /// `=`
    Number,
    /// `a`
    Append(String),
    /// `i`
    Insert(String),
    /// `c`
    Change(String),
    /// `{ … }`
    Block(Vec<Command>),
}

/// A piece of a replacement.
#[derive(Debug, Clone)]
pub enum Piece {
    /// Text.
    Text(String),
    /// What a group matched.
    Group(usize),
}

/// A command with its addresses.
#[derive(Debug, Clone)]
pub struct Command {
    /// Where it starts to apply.
    pub from: Option<Address>,
    /// Up to where.
    pub to: Option<Address>,
    /// Whether it applies to the other lines.
    pub negated: bool,
    /// What it does.
    pub action: Action,
    /// Within a range: the line it may end at, at the earliest.
    pub inside: Option<usize>,
}

/// Reads a script.
pub fn parse(script: &str, notation: Notation) -> Result<Vec<Command>, Stop> {
    Parser { chars: script.chars().collect(), at: 0, notation }.commands(false)
}

struct Parser {
    chars: Vec<char>,
    at: usize,
    notation: Notation,
}

impl Parser {
    fn peek(&self) -> Option<char> {
        self.chars.get(self.at).copied()
    }

    fn wrong(&self, message: &str) -> Stop {
        Stop::Fail(1, format!("-e expression #1, char {}: {message}", self.at))
    }

    fn skip(&mut self, set: &str) {
        while self.peek().is_some_and(|next| set.contains(next)) {
            self.at += 1;
        }
    }

    fn commands(&mut self, inner: bool) -> Result<Vec<Command>, Stop> {
        let mut commands = Vec::new();
        loop {
            self.skip(" \t\n;");
            match self.peek() {
                None if inner => return Err(self.wrong("unmatched `{'")),
                None => return Ok(commands),
                Some('}') if inner => {
                    self.at += 1;
                    return Ok(commands);
                }
                Some('#') => {
                    while self.peek().is_some_and(|next| next != '\n') {
                        self.at += 1;
                    }
                }
                Some(_) => commands.push(self.command()?),
            }
        }
    }

    fn command(&mut self) -> Result<Command, Stop> {
        let from = self.address()?;
        let mut to = None;
        if from.is_some() && self.peek() == Some(',') {
            self.at += 1;
            to = Some(self.address()?.ok_or_else(|| self.wrong("unexpected `,'"))?);
        }
        self.skip(" \t");
        let negated = self.peek() == Some('!');
        if negated {
            self.at += 1;
            self.skip(" \t");
        }
        let name = self.peek().ok_or_else(|| self.wrong("missing command"))?;
        self.at += 1;
        let action = match name {
            's' => self.substitution()?,
            'y' => {
                let (from, to) = (self.delimited_chars()?, self.rest_chars()?);
                if from.len() != to.len() {
                    return Err(self.wrong("strings for `y' command are different lengths"));
                }
                Action::Translate(from, to)
            }
            'd' => Action::Delete,
            'p' => Action::Print,
            'q' => Action::Quit,
            '=' => Action::Number,
            'a' => Action::Append(self.text()),
            'i' => Action::Insert(self.text()),
            'c' => Action::Change(self.text()),
            '{' => Action::Block(self.commands(true)?),
            other => return not_simulated(format!("sed command {other}")),
        };
        self.skip(" \t");
        match (name, self.peek()) {
            ('a' | 'i' | 'c' | '{', _) | (_, None | Some('\n' | ';' | '}' | '#')) => {}
            _ => return Err(self.wrong("extra characters after command")),
        }
        Ok(Command { from, to, negated, action, inside: None })
    }

    fn address(&mut self) -> Result<Option<Address>, Stop> {
        match self.peek() {
            Some('$') => {
                self.at += 1;
                Ok(Some(Address::Last))
            }
            Some(next) if next.is_ascii_digit() => {
                let mut number = 0;
                while let Some(digit) = self.peek().and_then(|next| next.to_digit(10)) {
                    number = number * 10 + digit as usize;
                    self.at += 1;
                }
                Ok(Some(Address::Line(number)))
            }
            Some('/' | '\\') => {
                if self.peek() == Some('\\') {
                    self.at += 1;
                }
                let text = self.delimited()?;
                let ignore_case = self.peek() == Some('I');
                self.at += usize::from(ignore_case);
                Ok(Some(Address::Match(compile(&text, self.notation, ignore_case)?)))
            }
            _ => Ok(None),
        }
    }

    /// The text between the delimiter here and the next one, which is not taken when another part follows.
    fn delimited(&mut self) -> Result<String, Stop> {
        let delimiter = self.peek().ok_or_else(|| self.wrong("unterminated command"))?;
        self.at += 1;
        self.until(delimiter)
    }

    fn until(&mut self, delimiter: char) -> Result<String, Stop> {
        let mut text = String::new();
        let mut bracket = false;
        loop {
            let next = self.peek().ok_or_else(|| self.wrong("unterminated `s' command"))?;
            self.at += 1;
            match next {
                '\\' if self.peek() == Some(delimiter) && !"|+?(){}".contains(delimiter) => {
                    text.push(delimiter);
                    self.at += 1;
                }
                '\\' => {
                    text.push('\\');
                    text.extend(self.peek());
                    self.at += 1;
                }
                _ if next == delimiter && !bracket => return Ok(text),
                _ => {
                    bracket = match next {
                        '[' => self.chars[self.at..].contains(&']'),
                        ']' => false,
                        _ => bracket,
                    };
                    text.push(next);
                }
            }
        }
    }

    fn delimited_chars(&mut self) -> Result<Vec<char>, Stop> {
        let text = self.delimited()?;
        self.at -= 1;
        Ok(text.replace("\\n", "\n").chars().collect())
    }

    fn rest_chars(&mut self) -> Result<Vec<char>, Stop> {
        let text = self.delimited()?;
        Ok(text.replace("\\n", "\n").chars().collect())
    }

    fn substitution(&mut self) -> Result<Action, Stop> {
        let delimiter = self.peek().ok_or_else(|| self.wrong("unterminated `s' command"))?;
        let pattern = self.delimited()?;
        let put = self.replacement(delimiter)?;
        let (mut all, mut print, mut ignore_case, mut nth) = (false, false, false, 1);
        loop {
            match self.peek() {
                Some('g') => all = true,
                Some('p') => print = true,
                Some('i' | 'I') => ignore_case = true,
                Some(digit) if digit.is_ascii_digit() => nth = digit.to_digit(10).unwrap_or(1) as usize,
                Some(other @ ('e' | 'm' | 'M' | 'w')) => return not_simulated(format!("sed s///{other}")),
                _ => break,
            }
            self.at += 1;
        }
        let find = compile(&pattern, self.notation, ignore_case)?;
        Ok(Action::Substitute { find, put, nth, all, print })
    }

    fn replacement(&mut self, delimiter: char) -> Result<Vec<Piece>, Stop> {
        let mut pieces = Vec::new();
        let mut text = String::new();
        loop {
            let next = self.peek().ok_or_else(|| self.wrong("unterminated `s' command"))?;
            self.at += 1;
            let group = match next {
                _ if next == delimiter => break,
                '&' => Some(0),
                '\\' => {
                    let escaped = self.peek().ok_or_else(|| self.wrong("unterminated `s' command"))?;
                    self.at += 1;
                    match escaped {
                        'n' => text.push('\n'),
                        't' => text.push('\t'),
                        other if other.is_ascii_digit() => {}
                        other => text.push(other),
                    }
                    escaped.to_digit(10).map(|digit| digit as usize)
                }
                other => {
                    text.push(other);
                    None
                }
            };
            if let Some(number) = group {
                pieces.push(Piece::Text(std::mem::take(&mut text)));
                pieces.push(Piece::Group(number));
            }
        }
        pieces.push(Piece::Text(text));
        Ok(pieces)
    }

    /// The text of `a`, `i` and `c`, up to the end of the line; a backslash joins lines.
    fn text(&mut self) -> String {
        self.skip(" \t");
        if self.peek() == Some('\\') {
            self.at += 1;
            self.skip(" \t");
            if self.peek() == Some('\n') {
                self.at += 1;
            }
        }
        let mut text = String::new();
        while let Some(next) = self.peek() {
            self.at += 1;
            match next {
                '\n' => break,
                '\\' => {
                    text.extend(self.peek());
                    self.at += 1;
                }
                other => text.push(other),
            }
        }
        text
    }
}
