//! The grammar: command lists, pipelines and compound commands.

use std::sync::Arc;

use super::ast::{AndOr, Body, Command, Link, List, Part, Pipeline, Redirect, Target, Word};
use super::lexer::{Lexer, Parse};
use crate::sim::host::memory;

/// Words that end a list of commands.
const CLOSERS: &[&str] = &["then", "else", "elif", "fi", "do", "done", "esac", "}"];

impl Lexer {
    /// The next complete command: what can be run before anything after it is even read. `None` at the end.
    pub fn next_command(&mut self) -> Parse<Option<List>> {
        self.skip_newlines()?;
        if self.peek().is_none() {
            return Ok(None);
        }
        let mut list = List::new();
        loop {
            list.push(self.and_or()?);
            self.skip_blanks();
            match self.peek() {
                Some(';') if self.peek_at(1) != Some(';') => {
                    self.bump();
                    self.skip_blanks();
                }
                Some('\n') | None => {}
                Some(_) if list.last().is_some_and(|item| item.background) => {}
                Some(other) => return Err(self.unexpected(other)),
            }
            match self.peek() {
                None => return Ok(Some(list)),
                Some('\n') => {
                    self.newline()?;
                    return Ok(Some(list));
                }
                Some(_) => {}
            }
        }
    }

    /// Goes one level down, which costs stack.
    pub fn deeper(&mut self) -> Parse<()> {
        self.depth += 1;
        match self.depth > memory::NESTING {
            true => Err(self.syntax("homelab sim: not simulated: nesting this deep".to_owned())),
            false => Ok(()),
        }
    }

    /// A list inside a compound command, up to a closing word, `)` or `;;`.
    pub fn list(&mut self) -> Parse<List> {
        self.deeper()?;
        let list = self.flat_list();
        self.depth -= 1;
        list
    }

    fn flat_list(&mut self) -> Parse<List> {
        let mut list = List::new();
        loop {
            self.skip_newlines()?;
            match self.peek() {
                None | Some(')') => break,
                Some(';') if self.peek_at(1) == Some(';') => break,
                Some(_) if self.peek_word().is_some_and(|word| CLOSERS.contains(&word.as_str())) => break,
                Some(_) => {}
            }
            list.push(self.and_or()?);
            self.skip_blanks();
            match self.peek() {
                Some(';') if self.peek_at(1) != Some(';') => self.bump(),
                Some('\n' | ')' | ';') | None => {}
                Some(_) if list.last().is_some_and(|item| item.background) => {}
                Some(other) => return Err(self.unexpected(other)),
            }
        }
        Ok(list)
    }

    /// A list that must not be empty.
    fn body(&mut self) -> Parse<List> {
        let list = self.list()?;
        match (list.is_empty(), self.peek_word(), self.peek()) {
            (false, ..) => Ok(list),
            (true, Some(word), _) => Err(self.syntax(format!("\"{word}\" unexpected"))),
            (true, None, Some(other)) => Err(self.unexpected(other)),
            (true, None, None) => Err(self.end_of_file()),
        }
    }

    fn and_or(&mut self) -> Parse<AndOr> {
        let mut pipelines = vec![(Link::Always, self.pipeline()?)];
        loop {
            self.skip_blanks();
            let link = match (self.peek(), self.peek_at(1)) {
                (Some('&'), Some('&')) => Link::And,
                (Some('|'), Some('|')) => Link::Or,
                (Some('&'), _) => {
                    self.bump();
                    return Ok(AndOr { pipelines, background: true });
                }
                _ => return Ok(AndOr { pipelines, background: false }),
            };
            self.bump();
            self.bump();
            self.skip_newlines()?;
            pipelines.push((link, self.pipeline()?));
        }
    }

    fn pipeline(&mut self) -> Parse<Pipeline> {
        let negated = self.accept_word("!");
        let mut commands = vec![self.command()?];
        loop {
            self.skip_blanks();
            if self.peek() != Some('|') || self.peek_at(1) == Some('|') {
                return Ok(Pipeline { negated, commands });
            }
            self.bump();
            self.skip_newlines()?;
            commands.push(self.command()?);
        }
    }

    fn command(&mut self) -> Parse<Command> {
        self.skip_blanks();
        let line = self.line();
        let word = self.peek_word();
        let body = match (self.peek(), word.as_deref()) {
            (Some('('), _) => {
                self.bump();
                let list = self.body()?;
                self.expect_char(')')?;
                Body::Subshell(Arc::new(list))
            }
            (_, Some("{")) => {
                self.accept_word("{");
                let list = self.body()?;
                self.expect_word("}")?;
                Body::Group(Arc::new(list))
            }
            (_, Some("if")) => self.if_clause()?,
            (_, Some("for")) => self.for_clause()?,
            (_, Some(kind @ ("while" | "until"))) => {
                let until = kind == "until";
                self.accept_word(kind);
                let condition = self.body()?;
                Body::While(until, Arc::new(condition), Arc::new(self.do_group()?))
            }
            (_, Some("case")) => self.case_clause()?,
            (_, Some(word)) if CLOSERS.contains(&word) => {
                return Err(self.syntax(format!("\"{word}\" unexpected")));
            }
            _ => return self.simple(line),
        };
        let mut redirects = Vec::new();
        while let Some(redirect) = self.redirect()? {
            redirects.extend(redirect);
        }
        Ok(Command { line, body, redirects })
    }

    fn do_group(&mut self) -> Parse<List> {
        self.skip_separators()?;
        self.expect_word("do")?;
        let list = self.body()?;
        self.expect_word("done")?;
        Ok(list)
    }

    fn if_clause(&mut self) -> Parse<Body> {
        let mut branches = Vec::new();
        self.accept_word("if");
        loop {
            let condition = self.body()?;
            self.expect_word("then")?;
            branches.push((condition, self.body()?));
            if self.accept_word("elif") {
                continue;
            }
            let otherwise = if self.accept_word("else") { Some(self.body()?) } else { None };
            self.expect_word("fi")?;
            return Ok(Body::If(branches, otherwise));
        }
    }

    fn for_clause(&mut self) -> Parse<Body> {
        self.accept_word("for");
        self.skip_blanks();
        let name = self.peek_word().filter(|name| is_name(name));
        let name = name.ok_or_else(|| self.syntax("Bad for loop variable".to_owned()))?;
        self.accept_word(&name);
        self.skip_newlines()?;
        let mut words = None;
        if self.accept_word("in") {
            let list = words.insert(Vec::new());
            while let Some(word) = self.word()? {
                list.push(word);
            }
        }
        Ok(Body::For(name, words, Arc::new(self.do_group()?)))
    }

    fn case_clause(&mut self) -> Parse<Body> {
        self.accept_word("case");
        let word = self.word()?.ok_or_else(|| self.here())?;
        self.skip_newlines()?;
        self.expect_word("in")?;
        let mut arms = Vec::new();
        loop {
            self.skip_newlines()?;
            if self.accept_word("esac") {
                return Ok(Body::Case(word, arms));
            }
            if self.peek() == Some('(') {
                self.bump();
            }
            let mut patterns = vec![self.word()?.ok_or_else(|| self.here())?];
            while self.accept_char('|') {
                patterns.push(self.word()?.ok_or_else(|| self.here())?);
            }
            self.expect_char(')')?;
            let list = self.list()?;
            arms.push((patterns, list));
            self.skip_newlines()?;
            if self.accept_char(';') {
                self.expect_char(';')?;
            } else {
                self.expect_word("esac")?;
                return Ok(Body::Case(word, arms));
            }
        }
    }

    fn simple(&mut self, line: usize) -> Parse<Command> {
        let (mut assigns, mut words, mut redirects) = (Vec::new(), Vec::new(), Vec::new());
        loop {
            if let Some(redirect) = self.redirect()? {
                redirects.extend(redirect);
                continue;
            }
            let Some(word) = self.word()? else { break };
            if words.is_empty() {
                if let Some(assign) = assignment(&word) {
                    assigns.push(assign);
                    continue;
                }
                self.skip_blanks();
                if let (Some(name), Some('(')) = (literal(&word), self.peek()) {
                    return self.function(line, name);
                }
            }
            words.push(word);
        }
        if assigns.is_empty() && words.is_empty() && redirects.is_empty() {
            return Err(self.here());
        }
        Ok(Command { line, body: Body::Simple { assigns, words }, redirects })
    }

    fn function(&mut self, line: usize, name: String) -> Parse<Command> {
        self.bump();
        self.expect_char(')')?;
        if !is_name(&name) {
            return Err(self.syntax("Bad function name".to_owned()));
        }
        self.skip_newlines()?;
        let body = Arc::new(self.command()?);
        Ok(Command { line, body: Body::Function(name, body), redirects: Vec::new() })
    }

    /// A redirection, if one comes next. `&>` and here-documents may make more than one.
    fn redirect(&mut self) -> Parse<Option<Vec<Redirect>>> {
        self.skip_blanks();
        let mut digits = 0;
        while self.peek_at(digits).is_some_and(|next| next.is_ascii_digit()) {
            digits += 1;
        }
        let both = digits == 0 && self.peek() == Some('&') && self.peek_at(1) == Some('>');
        if !both && !matches!(self.peek_at(digits), Some('<' | '>')) {
            return Ok(None);
        }
        let number: String = (0..digits).filter_map(|_| self.next_char()).collect();
        let operator = self.redirect_operator(both);
        let default = u32::from(!operator.starts_with('<'));
        let fd = if number.is_empty() { default } else { number.parse().unwrap_or(default) };
        if let Some(strip_tabs) = match operator.as_str() {
            "<<" => Some(false),
            "<<-" => Some(true),
            _ => None,
        } {
            let to = Target::Here(self.here_document(strip_tabs)?);
            return Ok(Some(vec![Redirect { fd, to }]));
        }
        let word = self.word()?.ok_or_else(|| self.here())?;
        let to = match operator.as_str() {
            "<" => Target::Read(word),
            ">" | ">|" => Target::Write(word),
            ">>" => Target::Append(word),
            "<>" => Target::Both(word),
            "&>" => Target::All(word),
            _ => Target::Copy(word),
        };
        Ok(Some(vec![Redirect { fd, to }]))
    }

    fn redirect_operator(&mut self, both: bool) -> String {
        let mut operator: String = self.next_char().into_iter().collect();
        let follow: &[&str] = if both { &["&>"] } else { &["<<-", "<<", "<>", "<&", ">>", ">&", ">|"] };
        while let Some(next) = self.peek() {
            let longer = format!("{operator}{next}");
            if !follow.iter().any(|known| known.starts_with(&longer)) {
                break;
            }
            operator = longer;
            self.bump();
        }
        operator
    }
}

/// Whether a text is a variable's name.
pub fn is_name(text: &str) -> bool {
    let mut chars = text.chars();
    chars.next().is_some_and(|first| first == '_' || first.is_ascii_alphabetic())
        && chars.all(|next| next == '_' || next.is_ascii_alphanumeric())
}

/// The text of a word without quotes and expansions.
fn literal(word: &Word) -> Option<String> {
    match word.as_slice() {
        [Part::Text(text)] => Some(text.clone()),
        _ => None,
    }
}

/// `name=value`, taken apart.
fn assignment(word: &Word) -> Option<(String, Word)> {
    let Some(Part::Text(first)) = word.first() else { return None };
    let (name, rest) = first.split_once('=')?;
    if !is_name(name) {
        return None;
    }
    let mut value = Word::new();
    if !rest.is_empty() {
        value.push(Part::Text(rest.to_owned()));
    }
    value.extend_from_slice(&word[1..]);
    Some((name.to_owned(), value))
}
