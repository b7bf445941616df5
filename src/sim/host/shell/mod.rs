//! A small POSIX shell: the parser knows nothing of machines, the evaluator nothing of grammar.

mod arith;
mod ast;
mod builtins;
mod dollar;
mod eval;
mod expand;
mod lexer;
mod parser;
mod pattern;
mod read;
mod redirect;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use super::memory;
use super::process::{Accounting, Process};
use ast::{AndOr, Command};
use eval::Flow;
use lexer::{Lexer, Source};

pub use eval::{MAX_DEPTH, STACK};
pub use parser::is_name;
pub use pattern::{in_class, matches, unquoted};

/// Where `$$` counts from.
static NEXT_PID: AtomicU32 = AtomicU32::new(1200);

/// `set -euxf` and `set -o pipefail`.
#[derive(Debug, Clone, Copy, Default)]
struct Options {
    errexit: bool,
    nounset: bool,
    xtrace: bool,
    noglob: bool,
    noexec: bool,
    noclobber: bool,
    pipefail: bool,
}

impl Options {
    /// What `$-` says.
    fn letters(self) -> String {
        let all =
            [(self.noclobber, 'C'), (self.errexit, 'e'), (self.noglob, 'f'), (self.nounset, 'u'), (self.xtrace, 'x')];
        all.iter().filter(|(on, _)| *on).map(|(_, letter)| *letter).collect()
    }

    fn slot(&mut self, letter: char) -> Option<&mut bool> {
        match letter {
            'e' => Some(&mut self.errexit),
            'u' => Some(&mut self.nounset),
            'x' => Some(&mut self.xtrace),
            'f' => Some(&mut self.noglob),
            'n' => Some(&mut self.noexec),
            'C' => Some(&mut self.noclobber),
            _ => None,
        }
    }
}

/// A shell at work. A clone is a subshell.
#[derive(Clone)]
pub struct Shell {
    process: Process,
    /// `$0`
    name: String,
    /// Whether it was started as bash, which knows a little more.
    bash: bool,
    pid: u32,
    positional: Vec<String>,
    variables: BTreeMap<String, String>,
    exported: BTreeSet<String>,
    readonly: BTreeSet<String>,
    functions: BTreeMap<String, Arc<Command>>,
    options: Options,
    status: i32,
    /// The status of the last command substitution.
    substituted: i32,
    traps: BTreeMap<String, String>,
    /// What `local` hides, one map for each function that runs.
    locals: Vec<BTreeMap<String, Option<String>>>,
    loops: u32,
    /// Whether somebody looks at the status of what runs, so that `set -e` does not end the shell.
    tested: bool,
    line: usize,
}

impl Shell {
    fn new(process: Process) -> Self {
        let variables = process.env.clone();
        let mut shell = Shell {
            name: process.args.first().cloned().unwrap_or_default(),
            bash: process.name() == "bash",
            pid: NEXT_PID.fetch_add(1, Ordering::Relaxed),
            positional: Vec::new(),
            exported: variables.keys().cloned().collect(),
            variables,
            readonly: BTreeSet::new(),
            functions: BTreeMap::new(),
            options: Options::default(),
            status: 0,
            substituted: 0,
            traps: BTreeMap::new(),
            locals: Vec::new(),
            loops: 0,
            tested: false,
            line: 1,
            process,
        };
        let cwd = shell.process.cwd.clone();
        shell.variables.insert("PWD".to_owned(), cwd);
        shell.variables.insert("OPTIND".to_owned(), "1".to_owned());
        // A shell does not take over how to split fields.
        shell.variables.remove("IFS");
        shell
    }

    fn variable(&self, name: &str) -> Option<&str> {
        self.variables.get(name).map(String::as_str)
    }

    fn assign(&mut self, name: &str, value: String) {
        let large = value.len() > 4096;
        self.variables.insert(name.to_owned(), value);
        // Counting all takes time, and what few small ones hold does not matter.
        if large || self.variables.len().is_multiple_of(64) {
            let held: usize = self.variables.iter().map(|(name, value)| name.len() + value.len()).sum();
            if held > memory::WORDS {
                self.process.session.exhaust();
            }
        }
    }

    /// Runs commands until there are none left, then what `trap … EXIT` asked for.
    fn run(&mut self, source: Source) -> i32 {
        let mut lexer = Lexer::new(source);
        let flow = loop {
            match lexer.next_command() {
                Ok(None) => break None,
                Ok(Some(list)) => match self.eval_list(&list) {
                    Ok(_) => {}
                    Err(flow) => break Some(flow),
                },
                Err(syntax) => {
                    self.process.err(format!("{}: {}: {}\n", self.name, syntax.line, syntax.message));
                    break Some(Flow::Exit(2));
                }
            }
        };
        if let Some(Flow::Exit(status) | Flow::Return(status)) = flow {
            self.status = status;
        }
        self.finish()
    }

    /// The same for a shell that stays on a channel: somebody hears of each subshell as of a command.
    fn run_accounted(
        &mut self,
        accounting: &dyn Accounting,
        mut line: impl FnMut() -> Option<String> + Send + 'static,
    ) -> i32 {
        let read = Arc::new(Mutex::new(String::new()));
        let heard = Arc::clone(&read);
        // No other thread holds it while this one panics.
        let take = |text: &Mutex<String>| std::mem::take(&mut *text.lock().unwrap_or_else(PoisonError::into_inner));
        let mut lexer = Lexer::new(Box::new(move || {
            let line = line()?;
            heard.lock().unwrap_or_else(PoisonError::into_inner).push_str(&line);
            Some(line)
        }));
        while let Ok(Some(list)) = lexer.next_command() {
            let text = take(&read);
            let counts = list.iter().any(AndOr::has_subshell);
            if counts && !accounting.begins() {
                break;
            }
            let flow = self.eval_list(&list);
            if counts {
                accounting.ended(&text, self.status, self.process.session.changes());
            }
            if let Err(flow) = flow {
                if let Flow::Exit(status) | Flow::Return(status) = flow {
                    self.status = status;
                }
                break;
            }
        }
        self.finish()
    }

    /// The end of a shell: its exit trap, once.
    fn finish(&mut self) -> i32 {
        if let Some(action) = self.traps.remove("EXIT") {
            let status = self.status;
            self.loops = 0;
            if let Err(Flow::Exit(other)) = self.eval_text(&action) {
                return other;
            }
            self.status = status;
        }
        self.status
    }
}

/// `sh`, `bash` and `dash`: the script is an argument, a file or standard input.
pub fn main(process: &Process) -> i32 {
    let mut shell = Shell::new(process.clone());
    let mut arguments = process.operands().to_vec().into_iter().peekable();
    let mut command = false;
    while let Some(flag) = arguments.next_if(|argument| argument.len() > 1 && argument.starts_with(['-', '+'])) {
        if flag == "--" {
            break;
        }
        for letter in flag[1..].chars() {
            match (letter, shell.options.slot(letter)) {
                ('c', _) => command = true,
                // Reading standard input and being a login or interactive shell change nothing here.
                ('s' | 'l' | 'i', _) => {}
                ('o', _) => {
                    let name = arguments.next().unwrap_or_default();
                    if !shell.set_long(&name, flag.starts_with('-')) {
                        process.err(format!("{}: 0: Illegal option -o {name}\n", process.name()));
                        return 2;
                    }
                }
                (_, Some(slot)) => *slot = flag.starts_with('-'),
                (_, None) => {
                    process.err(format!("{}: 0: Illegal option -{letter}\n", process.name()));
                    return 2;
                }
            }
        }
    }
    let mut arguments: Vec<String> = arguments.collect();
    if command {
        if arguments.is_empty() {
            process.err(format!("{}: 0: -c requires an argument\n", process.name()));
            return 2;
        }
        let mut script = Some(arguments.remove(0));
        if !arguments.is_empty() {
            shell.name = arguments.remove(0);
        }
        shell.positional = arguments;
        return shell.run(Box::new(move || script.take()));
    }
    if arguments.is_empty() || process.operands().iter().any(|argument| argument == "-s") {
        shell.positional = arguments;
        let input = process.clone();
        let line = move || {
            let line = input.read_line().unwrap_or_default();
            (!line.is_empty()).then(|| String::from_utf8_lossy(&line).into_owned())
        };
        return match process.session.accounting(process.fds.get(&0)) {
            Some(accounting) => shell.run_accounted(accounting.as_ref(), line),
            None => shell.run(Box::new(line)),
        };
    }
    shell.name = arguments.remove(0);
    shell.positional = arguments;
    match process.input(&shell.name) {
        Ok(script) => {
            let mut script = Some(String::from_utf8_lossy(&script).into_owned());
            shell.run(Box::new(move || script.take()))
        }
        Err(errno) => {
            let why = if errno == super::fs::Errno::NoEntry { "No such file".to_owned() } else { errno.to_string() };
            process.err(format!("{}: 0: cannot open {}: {why}\n", process.name(), shell.name));
            2
        }
    }
}
