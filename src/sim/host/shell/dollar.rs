//! Expansions as they are written: what may follow a `$` or stand in backquotes.

use std::sync::Arc;

use super::ast::{List, ParamOp, Part, Word};
use super::lexer::{Lexer, Parse, push_quoted, push_text};

impl Lexer {
    /// An expansion that starts with `$` or a backquote.
    pub fn dollar(&mut self, word: &mut Word, quoted: bool) -> Parse<()> {
        self.deeper()?;
        let read = self.expansion(word, quoted);
        self.depth -= 1;
        read
    }

    fn expansion(&mut self, word: &mut Word, quoted: bool) -> Parse<()> {
        if self.next_char() == Some('`') {
            let list = self.back_quoted(quoted)?;
            word.push(Part::Command(Arc::new(list), quoted));
            return Ok(());
        }
        match self.peek() {
            Some('(') => {
                self.bump();
                let part = self.parenthesis(quoted)?;
                word.push(part);
            }
            Some('{') => {
                self.bump();
                let part = self.braced(quoted)?;
                word.push(part);
            }
            Some(next) if next == '_' || next.is_ascii_alphabetic() => {
                let mut name = String::new();
                while let Some(next) = self.peek().filter(|next| *next == '_' || next.is_ascii_alphanumeric()) {
                    name.push(next);
                    self.bump();
                }
                word.push(Part::Param { name, op: ParamOp::Plain, quoted });
            }
            Some(next) if next.is_ascii_digit() || "@*#?-$!".contains(next) => {
                self.bump();
                word.push(Part::Param { name: next.to_string(), op: ParamOp::Plain, quoted });
            }
            _ => push_quoted(word, '$'),
        }
        Ok(())
    }

    fn back_quoted(&mut self, quoted: bool) -> Parse<List> {
        let mut text = String::new();
        loop {
            match self.next_char() {
                Some('`') => break,
                Some('\\') => match self.next_char() {
                    Some(next) if matches!(next, '`' | '\\' | '$') || (quoted && next == '"') => text.push(next),
                    Some(next) => text.extend(['\\', next]),
                    None => break,
                },
                Some(next) => text.push(next),
                None => return Err(self.syntax("EOF in backquote substitution".to_owned())),
            }
        }
        let mut lexer = Lexer::of(&text);
        lexer.depth = self.depth;
        let list = lexer.list()?;
        match lexer.peek() {
            None => Ok(list),
            Some(_) => Err(lexer.here()),
        }
    }

    /// After `$(`: an expression or commands.
    fn parenthesis(&mut self, quoted: bool) -> Parse<Part> {
        if self.peek() == Some('(') && self.is_arithmetic() {
            self.bump();
            return self.arithmetic(quoted);
        }
        let list = self.list()?;
        self.expect_char(')')?;
        Ok(Part::Command(Arc::new(list), quoted))
    }

    /// Whether the parentheses that open here close with `))`, both at once.
    fn is_arithmetic(&mut self) -> bool {
        let (mut depth, mut offset) = (0, 0);
        while let Some(next) = self.peek_at(offset) {
            match next {
                '(' => depth += 1,
                ')' => depth -= 1,
                _ => {}
            }
            offset += 1;
            if depth == 0 {
                return self.peek_at(offset) == Some(')');
            }
        }
        false
    }

    fn arithmetic(&mut self, quoted: bool) -> Parse<Part> {
        let mut word = Word::new();
        let mut depth = 0;
        loop {
            match self.peek() {
                None => return Err(self.syntax("Missing '))'".to_owned())),
                Some(')') if depth == 0 => break,
                Some(next) => {
                    depth += i32::from(next == '(') - i32::from(next == ')');
                    if next == '"' {
                        self.bump();
                    } else {
                        self.quoted_piece(&mut word, '"')?;
                    }
                }
            }
        }
        self.bump();
        self.bump();
        Ok(Part::Arith(word, quoted))
    }

    /// After `${`.
    fn braced(&mut self, quoted: bool) -> Parse<Part> {
        if self.peek() == Some('#') && self.peek_at(1).is_some_and(|next| next != '}') {
            self.bump();
            let name = self.parameter_name()?;
            self.close_brace()?;
            return Ok(Part::Param { name, op: ParamOp::Length, quoted });
        }
        let name = self.parameter_name()?;
        let op = match self.next_char() {
            Some('}') => return Ok(Part::Param { name, op: ParamOp::Plain, quoted }),
            Some(':') => {
                let kind = self.next_char().filter(|kind| "-=?+".contains(*kind));
                let kind = kind.ok_or_else(|| self.syntax("Bad substitution".to_owned()))?;
                ParamOp::Instead { kind, empty: true, word: self.brace_word(quoted)? }
            }
            Some(kind @ ('-' | '=' | '?' | '+')) => {
                ParamOp::Instead { kind, empty: false, word: self.brace_word(quoted)? }
            }
            Some(kind @ ('%' | '#')) => {
                let longest = self.peek() == Some(kind);
                if longest {
                    self.bump();
                }
                ParamOp::Strip { suffix: kind == '%', longest, pattern: self.brace_word(false)? }
            }
            _ => return Err(self.syntax("Bad substitution".to_owned())),
        };
        self.close_brace()?;
        Ok(Part::Param { name, op, quoted })
    }

    fn close_brace(&mut self) -> Parse<()> {
        match self.next_char() {
            Some('}') => Ok(()),
            _ => Err(self.syntax("Missing '}'".to_owned())),
        }
    }

    fn parameter_name(&mut self) -> Parse<String> {
        let mut name = String::new();
        if let Some(special) = self.peek().filter(|next| "@*#?-$!".contains(*next)) {
            self.bump();
            return Ok(special.to_string());
        }
        while let Some(next) = self.peek().filter(|next| *next == '_' || next.is_ascii_alphanumeric()) {
            name.push(next);
            self.bump();
        }
        if name.is_empty() { Err(self.syntax("Bad substitution".to_owned())) } else { Ok(name) }
    }

    /// The word of `${x-word}`, up to the closing brace.
    fn brace_word(&mut self, quoted: bool) -> Parse<Word> {
        let mut word = Word::new();
        while let Some(next) = self.peek().filter(|next| *next != '}') {
            match next {
                '\'' if !quoted => word.push(self.single_quoted()?),
                '"' => self.double_quoted(&mut word)?,
                '$' | '`' => self.dollar(&mut word, quoted)?,
                '\\' if quoted => self.quoted_piece(&mut word, '}')?,
                '\\' => {
                    self.bump();
                    if let Some(escaped) = self.next_char() {
                        word.push(Part::Quoted(escaped.to_string()));
                    }
                }
                other => {
                    self.bump();
                    if quoted { push_quoted(&mut word, other) } else { push_text(&mut word, other) }
                }
            }
        }
        Ok(word)
    }
}
