//! What the parser hands to the evaluator.

use std::sync::{Arc, OnceLock};

/// A word before expansion.
pub type Word = Vec<Part>;

/// Commands one after the other.
pub type List = Vec<AndOr>;

/// A piece of a word.
#[derive(Debug, Clone, PartialEq)]
pub enum Part {
    /// Unquoted text: pattern characters in it are special.
    Text(String),
    /// Quoted text: stands for itself.
    Quoted(String),
    /// A parameter.
    Param {
        /// Its name, or the special character.
        name: String,
        /// What is done with it.
        op: ParamOp,
        /// Whether it stands in double quotes.
        quoted: bool,
    },
    /// The output of commands, and whether it stands in double quotes.
    Command(Arc<List>, bool),
    /// The value of an expression, and whether it stands in double quotes.
    Arith(Word, bool),
}

/// What `${…}` does with a parameter.
#[derive(Debug, Clone, PartialEq)]
pub enum ParamOp {
    /// `$x`
    Plain,
    /// `${#x}`
    Length,
    /// `${x-word}`, `=`, `?`, `+`; `empty` when a colon makes an empty value count as unset.
    Instead {
        /// One of `-=?+`.
        kind: char,
        /// Whether an empty value counts as unset.
        empty: bool,
        /// The word.
        word: Word,
    },
    /// `${x%pattern}` and `${x#pattern}`, doubled for the longest match.
    Strip {
        /// Whether the end is cut rather than the start.
        suffix: bool,
        /// Whether the longest match is cut.
        longest: bool,
        /// The pattern.
        pattern: Word,
    },
}

/// How a pipeline hangs on the ones before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Link {
    /// It always runs.
    Always,
    /// It runs when the last one succeeded.
    And,
    /// It runs when the last one failed.
    Or,
}

/// Pipelines joined by `&&` and `||`.
#[derive(Debug, Clone, PartialEq)]
pub struct AndOr {
    /// The pipelines, and how each hangs on the one before.
    pub pipelines: Vec<(Link, Pipeline)>,
    /// Whether it ends in `&`.
    pub background: bool,
}

impl AndOr {
    /// Whether one of its commands is a subshell.
    pub fn has_subshell(&self) -> bool {
        let commands = self.pipelines.iter().flat_map(|(_, pipeline)| &pipeline.commands);
        commands.into_iter().any(|command| matches!(command.body, Body::Subshell(_)))
    }
}

/// Commands joined by `|`.
#[derive(Debug, Clone, PartialEq)]
pub struct Pipeline {
    /// Whether `!` turns its status around.
    pub negated: bool,
    /// The commands.
    pub commands: Vec<Command>,
}

/// A command with its redirections.
#[derive(Debug, Clone, PartialEq)]
pub struct Command {
    /// The line it starts on.
    pub line: usize,
    /// What it does.
    pub body: Body,
    /// Its redirections, in order.
    pub redirects: Vec<Redirect>,
}

/// The forms of commands.
#[derive(Debug, Clone, PartialEq)]
pub enum Body {
    /// Assignments and words.
    Simple {
        /// `name=value` before the first word.
        assigns: Vec<(String, Word)>,
        /// The command and its arguments.
        words: Vec<Word>,
    },
    /// `( … )`
    Subshell(Arc<List>),
    /// `{ …; }`
    Group(Arc<List>),
    /// Conditions with what follows them, and the `else` part.
    If(Vec<(List, List)>, Option<List>),
    /// `for`, over words or over the positional parameters.
    For(String, Option<Vec<Word>>, Arc<List>),
    /// `while` and, when the flag is set, `until`.
    While(bool, Arc<List>, Arc<List>),
    /// `case`: the word, and patterns with what follows them.
    Case(Word, Vec<(Vec<Word>, List)>),
    /// A function definition.
    Function(String, Arc<Command>),
}

/// One redirection.
#[derive(Debug, Clone, PartialEq)]
pub struct Redirect {
    /// The descriptor.
    pub fd: u32,
    /// Where it goes.
    pub to: Target,
}

/// Where a redirection leads.
#[derive(Debug, Clone, PartialEq)]
pub enum Target {
    /// `<`
    Read(Word),
    /// `>`
    Write(Word),
    /// `>>`
    Append(Word),
    /// `<>`
    Both(Word),
    /// `>&` and `<&`: a number, or `-` to close.
    Copy(Word),
    /// `&>`: standard output and standard error.
    All(Word),
    /// A here-document; its text is read after the line that names it.
    Here(Arc<OnceLock<Word>>),
}
