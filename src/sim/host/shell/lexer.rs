//! Characters, words and quoting. Input arrives a line at a time, so that a shell can act on what it has.

use std::sync::{Arc, OnceLock};

use super::ast::{Part, Word};

/// A script that is not one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Syntax {
    /// The line it was noticed on.
    pub line: usize,
    /// What is wrong, in the words of dash.
    pub message: String,
}

/// What reading a script gives.
pub type Parse<T> = Result<T, Syntax>;

/// Where more input comes from: the next line with its newline, or `None` at the end.
pub type Source = Box<dyn FnMut() -> Option<String> + Send>;

struct Pending {
    delimiter: String,
    strip_tabs: bool,
    literal: bool,
    text: Arc<OnceLock<Word>>,
}

/// The reader of one script.
pub struct Lexer {
    chars: Vec<char>,
    position: usize,
    line: usize,
    source: Source,
    ended: bool,
    pending: Vec<Pending>,
    /// How deeply what is being read is nested.
    pub depth: u32,
}

impl Lexer {
    /// A reader of what `source` delivers.
    pub fn new(source: Source) -> Self {
        Lexer { chars: Vec::new(), position: 0, line: 1, source, ended: false, pending: Vec::new(), depth: 0 }
    }

    /// A reader of a whole text.
    pub fn of(text: &str) -> Self {
        let mut text = Some(text.to_owned());
        Lexer::new(Box::new(move || text.take()))
    }

    /// The line that is being read.
    pub fn line(&self) -> usize {
        self.line
    }

    /// The next character.
    pub fn peek(&mut self) -> Option<char> {
        self.peek_at(0)
    }

    /// A character further on. Only looks past the end of the line when nothing of the line is left.
    pub fn peek_at(&mut self, offset: usize) -> Option<char> {
        while self.position + offset >= self.chars.len() && !self.ended {
            if offset > 0 && self.chars.last() == Some(&'\n') && self.position < self.chars.len() {
                return None;
            }
            self.refill();
        }
        self.chars.get(self.position + offset).copied()
    }

    fn refill(&mut self) {
        if self.position >= self.chars.len() {
            self.chars.clear();
            self.position = 0;
        }
        match (self.source)() {
            Some(more) => self.chars.extend(more.chars()),
            None => self.ended = true,
        }
    }

    /// Goes past the next character.
    pub fn bump(&mut self) {
        self.next_char();
    }

    /// Takes the next character.
    pub fn next_char(&mut self) -> Option<char> {
        let next = self.peek()?;
        self.position += 1;
        self.line += usize::from(next == '\n');
        Some(next)
    }

    /// An error here.
    pub fn syntax(&self, message: String) -> Syntax {
        Syntax { line: self.line, message: format!("Syntax error: {message}") }
    }

    /// The error for a character that has no place here.
    pub fn unexpected(&self, found: char) -> Syntax {
        self.syntax(match found {
            '\n' => "newline unexpected".to_owned(),
            other => format!("\"{other}\" unexpected"),
        })
    }

    /// The error for a script that ends too early.
    pub fn end_of_file(&self) -> Syntax {
        self.syntax("end of file unexpected".to_owned())
    }

    /// The error for whatever comes next.
    pub fn here(&mut self) -> Syntax {
        match (self.peek_word(), self.peek()) {
            (Some(word), _) => self.syntax(format!("\"{word}\" unexpected")),
            (None, Some(other)) => self.unexpected(other),
            (None, None) => self.end_of_file(),
        }
    }

    /// Goes past blanks, joined lines and comments.
    pub fn skip_blanks(&mut self) {
        loop {
            match self.peek() {
                Some(' ' | '\t') => self.bump(),
                Some('\\') if self.peek_at(1) == Some('\n') => {
                    self.bump();
                    self.bump();
                }
                Some('#') => {
                    while self.peek().is_some_and(|next| next != '\n') {
                        self.bump();
                    }
                }
                _ => return,
            }
        }
    }

    /// Goes past blank lines.
    pub fn skip_newlines(&mut self) -> Parse<()> {
        loop {
            self.skip_blanks();
            if self.peek() != Some('\n') {
                return Ok(());
            }
            self.newline()?;
        }
    }

    /// Goes past newlines and one semicolon.
    pub fn skip_separators(&mut self) -> Parse<()> {
        self.skip_blanks();
        if self.peek() == Some(';') {
            self.bump();
        }
        self.skip_newlines()
    }

    /// Takes a newline, and after it the here-documents that its line named.
    pub fn newline(&mut self) -> Parse<()> {
        self.bump();
        for pending in std::mem::take(&mut self.pending) {
            let mut text = String::new();
            while let Some(line) = self.raw_line() {
                let line = if pending.strip_tabs { line.trim_start_matches('\t') } else { &line };
                if line.trim_end_matches('\n') == pending.delimiter {
                    break;
                }
                text.push_str(line);
            }
            let word = if pending.literal { vec![Part::Quoted(text)] } else { Lexer::of(&text).here_text()? };
            // Set once: each here-document is registered once and read once.
            let _already = pending.text.set(word);
        }
        Ok(())
    }

    fn raw_line(&mut self) -> Option<String> {
        let mut line = String::new();
        while let Some(next) = self.next_char() {
            line.push(next);
            if next == '\n' {
                return Some(line);
            }
        }
        (!line.is_empty()).then_some(line)
    }

    /// Registers a here-document, whose text follows after this line.
    pub fn here_document(&mut self, strip_tabs: bool) -> Parse<Arc<OnceLock<Word>>> {
        let word = self.word()?.ok_or_else(|| self.here())?;
        let mut delimiter = String::new();
        let mut literal = false;
        for part in word {
            match part {
                Part::Text(text) => delimiter.push_str(&text),
                Part::Quoted(text) => {
                    literal = true;
                    delimiter.push_str(&text);
                }
                _ => return Err(self.syntax("a here-document ends at a fixed word".to_owned())),
            }
        }
        let text = Arc::new(OnceLock::new());
        self.pending.push(Pending { delimiter, strip_tabs, literal, text: Arc::clone(&text) });
        Ok(text)
    }

    /// The plain word that comes next, without taking it.
    pub fn peek_word(&mut self) -> Option<String> {
        self.skip_blanks();
        let mut word = String::new();
        let mut offset = 0;
        while let Some(next) = self.peek_at(offset).filter(|next| !is_meta(*next)) {
            if matches!(next, '\'' | '"' | '\\' | '$' | '`') {
                return None;
            }
            word.push(next);
            offset += 1;
        }
        (!word.is_empty()).then_some(word)
    }

    /// Takes this word if it comes next.
    pub fn accept_word(&mut self, word: &str) -> bool {
        let found = self.peek_word().as_deref() == Some(word);
        if found {
            self.position += word.chars().count();
        }
        found
    }

    /// Takes this word, which must come next.
    pub fn expect_word(&mut self, word: &str) -> Parse<()> {
        if self.accept_word(word) {
            return Ok(());
        }
        let mut error = self.here();
        error.message = format!("{} (expecting \"{word}\")", error.message);
        Err(error)
    }

    /// Takes this character if it comes next.
    pub fn accept_char(&mut self, wanted: char) -> bool {
        self.skip_blanks();
        let found = self.peek() == Some(wanted);
        if found {
            self.bump();
        }
        found
    }

    /// Takes this character, which must come next.
    pub fn expect_char(&mut self, wanted: char) -> Parse<()> {
        if self.accept_char(wanted) { Ok(()) } else { Err(self.here()) }
    }

    /// A word, if one comes next.
    pub fn word(&mut self) -> Parse<Option<Word>> {
        self.skip_blanks();
        let mut word = Word::new();
        while let Some(next) = self.peek().filter(|next| !is_meta(*next)) {
            match next {
                '\'' => word.push(self.single_quoted()?),
                '"' => self.double_quoted(&mut word)?,
                '\\' => {
                    self.bump();
                    match self.next_char() {
                        Some('\n') => {}
                        Some(escaped) => word.push(Part::Quoted(escaped.to_string())),
                        None => push_text(&mut word, '\\'),
                    }
                }
                '$' | '`' => self.dollar(&mut word, false)?,
                other => {
                    self.bump();
                    push_text(&mut word, other);
                }
            }
        }
        Ok((!word.is_empty()).then_some(word))
    }

    /// `'…'`
    pub fn single_quoted(&mut self) -> Parse<Part> {
        self.bump();
        let mut text = String::new();
        loop {
            match self.next_char() {
                Some('\'') => return Ok(Part::Quoted(text)),
                Some(next) => text.push(next),
                None => return Err(self.syntax("Unterminated quoted string".to_owned())),
            }
        }
    }

    /// `"…"`, whose pieces are added to the word.
    pub fn double_quoted(&mut self, word: &mut Word) -> Parse<()> {
        self.bump();
        let before = word.len();
        loop {
            match self.peek() {
                None => return Err(self.syntax("Unterminated quoted string".to_owned())),
                Some('"') => {
                    self.bump();
                    if word.len() == before {
                        word.push(Part::Quoted(String::new()));
                    }
                    return Ok(());
                }
                Some(_) => self.quoted_piece(word, '"')?,
            }
        }
    }

    /// One piece of text in which only `$`, backquote and some backslashes are special.
    pub fn quoted_piece(&mut self, word: &mut Word, close: char) -> Parse<()> {
        match (self.peek(), self.peek_at(1)) {
            (Some('$' | '`'), _) => return self.dollar(word, true),
            (Some('\\'), Some('\n')) => {
                self.bump();
                self.bump();
            }
            (Some('\\'), Some(next)) if matches!(next, '$' | '`' | '\\') || next == close => {
                self.bump();
                self.bump();
                push_quoted(word, next);
            }
            (Some(next), _) => {
                self.bump();
                push_quoted(word, next);
            }
            (None, _) => {}
        }
        Ok(())
    }

    fn here_text(&mut self) -> Parse<Word> {
        let mut word = Word::new();
        while self.peek().is_some() {
            self.quoted_piece(&mut word, '\\')?;
        }
        Ok(word)
    }
}

/// Characters that end a word.
fn is_meta(next: char) -> bool {
    matches!(next, ' ' | '\t' | '\n' | ';' | '&' | '|' | '<' | '>' | '(' | ')')
}

/// Adds a character that stands for itself unless it is special.
pub fn push_text(word: &mut Word, next: char) {
    match word.last_mut() {
        Some(Part::Text(text)) => text.push(next),
        _ => word.push(Part::Text(next.to_string())),
    }
}

/// Adds a character that stands for itself.
pub fn push_quoted(word: &mut Word, next: char) {
    match word.last_mut() {
        Some(Part::Quoted(text)) => text.push(next),
        _ => word.push(Part::Quoted(next.to_string())),
    }
}
