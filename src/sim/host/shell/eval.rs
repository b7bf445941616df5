//! Running commands: lists, pipelines, compound commands and programs.

use std::sync::{Arc, PoisonError};

use super::Shell;
use super::ast::{AndOr, Body, Command, Link, List, Pipeline, Word};
use super::builtins;
use super::lexer::Lexer;
use super::pattern;
use crate::sim::host::exec;
use crate::sim::host::pipe::pipe;
use crate::sim::host::process::Process;
use crate::sim::host::stream::Stream;

/// Programs and functions nest this deep at most.
pub const MAX_DEPTH: u32 = 150;
/// A shell knows so many functions at most.
const MAX_FUNCTIONS: usize = 2000;
/// What a thread that runs a shell needs at that depth.
pub const STACK: usize = 96 * 1024 * 1024;

/// Why the next command is not the one that follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flow {
    /// `break`, out of so many loops.
    Break(u32),
    /// `continue`, in the loop so far out.
    Continue(u32),
    /// `return`
    Return(i32),
    /// `exit`, or an error that ends the shell.
    Exit(i32),
}

/// A status, or a jump.
pub type Eval = Result<i32, Flow>;

impl Shell {
    /// An error that ends the shell.
    pub fn fatal(&self, message: impl std::fmt::Display) -> Flow {
        self.process.err(format!("{}: {}: {message}\n", self.name, self.line));
        Flow::Exit(2)
    }

    /// Runs a text.
    pub fn eval_text(&mut self, text: &str) -> Eval {
        let mut lexer = Lexer::of(text);
        let mut status = 0;
        loop {
            match lexer.next_command() {
                Ok(None) => return Ok(status),
                Ok(Some(list)) => status = self.eval_list(&list)?,
                Err(syntax) => return Err(self.fatal(syntax.message)),
            }
        }
    }

    /// Runs a list where the shell stands.
    pub fn eval_list(&mut self, list: &List) -> Eval {
        self.eval_list_as(list, self.tested)
    }

    /// Runs a list. In a `tested` one a failure does not end the shell, for somebody looks at it.
    fn eval_list_as(&mut self, list: &List, tested: bool) -> Eval {
        let mut status = 0;
        for item in list {
            status = self.eval_and_or(item, tested)?;
        }
        Ok(status)
    }

    fn eval_and_or(&mut self, item: &AndOr, tested: bool) -> Eval {
        if item.background {
            self.process.err("homelab sim: not simulated: background jobs (&)\n");
            return Err(Flow::Exit(127));
        }
        let last = item.pipelines.len() - 1;
        for (index, (link, pipeline)) in item.pipelines.iter().enumerate() {
            let runs = match link {
                Link::Always => true,
                Link::And => self.status == 0,
                Link::Or => self.status != 0,
            };
            if runs {
                self.status = self.eval_pipeline(pipeline, tested || index < last)?;
            }
        }
        Ok(self.status)
    }

    fn eval_pipeline(&mut self, pipeline: &Pipeline, tested: bool) -> Eval {
        let tested = tested || pipeline.negated;
        let status = match pipeline.commands.as_slice() {
            [command] => self.eval_command(command, tested)?,
            commands => {
                let status = self.eval_pipe(commands, tested);
                self.check(status, tested)?
            }
        };
        Ok(if pipeline.negated { i32::from(status == 0) } else { status })
    }

    /// Under `set -e`, a failure that nobody looks at ends the shell.
    fn check(&mut self, status: i32, tested: bool) -> Eval {
        self.status = status;
        if status != 0 && self.options.errexit && !tested { Err(Flow::Exit(status)) } else { Ok(status) }
    }

    /// Every command of a pipeline is a subshell with a thread of its own.
    fn eval_pipe(&mut self, commands: &[Command], tested: bool) -> i32 {
        let session = self.process.session.clone();
        if !session.start_threads(commands.len()) {
            session.end_threads(commands.len());
            session.exhaust();
            return 126;
        }
        let mut stages = Vec::new();
        let mut input = None;
        for (index, command) in commands.iter().enumerate() {
            let mut shell = self.subshell();
            if let Some(end) = input.take() {
                shell.process.fds.insert(0, Stream::Read(end));
            }
            if index + 1 < commands.len() {
                let (reader, writer) = pipe();
                shell.process.fds.insert(1, Stream::Write(writer));
                input = Some(reader);
            }
            stages.push((shell, command));
        }
        let statuses: Vec<i32> = std::thread::scope(|scope| {
            let start = |(mut shell, command): (Shell, &'_ Command)| {
                let command = command.clone();
                let run = move || shell.subshell_status(|shell| shell.eval_command(&command, tested));
                std::thread::Builder::new().stack_size(STACK).spawn_scoped(scope, run)
            };
            let threads: Vec<_> = stages.into_iter().map(start).collect();
            let join = |thread: std::io::Result<std::thread::ScopedJoinHandle<'_, i32>>| match thread {
                // A stage that panics or cannot start counts as killed.
                Ok(handle) => handle.join().unwrap_or(134),
                Err(_) => 126,
            };
            threads.into_iter().map(join).collect()
        });
        session.end_threads(commands.len());
        let last = statuses.last().copied().unwrap_or(0);
        match self.options.pipefail {
            true => statuses.iter().rev().copied().find(|status| *status != 0).unwrap_or(0),
            false => last,
        }
    }

    /// A copy that runs on its own: traps are not inherited.
    pub fn subshell(&self) -> Shell {
        let mut shell = self.clone();
        shell.traps.clear();
        shell.loops = 0;
        shell.process.depth += 1;
        shell
    }

    /// Runs something in this subshell to its end.
    pub fn subshell_status(&mut self, act: impl FnOnce(&mut Shell) -> Eval) -> i32 {
        match act(self) {
            Ok(status) | Err(Flow::Exit(status) | Flow::Return(status)) => self.status = status,
            Err(Flow::Break(_) | Flow::Continue(_)) => {}
        }
        self.finish()
    }

    /// What commands write to standard output, without the newlines at its end.
    pub fn capture(&mut self, list: &List) -> Result<String, Flow> {
        let (sink, bytes) = Stream::sink();
        let mut shell = self.subshell();
        shell.too_deep()?;
        shell.process.fds.insert(1, sink);
        shell.tested = false;
        self.substituted = shell.subshell_status(|shell| shell.eval_list(list));
        let mut bytes = std::mem::take(&mut *bytes.lock().unwrap_or_else(PoisonError::into_inner));
        bytes.retain(|byte| *byte != 0);
        let text = String::from_utf8_lossy(&bytes);
        Ok(text.trim_end_matches('\n').to_owned())
    }

    fn too_deep(&self) -> Result<(), Flow> {
        if self.process.depth > MAX_DEPTH {
            return Err(self.fatal("homelab sim: not simulated: nesting this deep"));
        }
        Ok(())
    }

    fn eval_command(&mut self, command: &Command, tested: bool) -> Eval {
        self.line = command.line;
        if self.process.session.life.over() {
            return Err(Flow::Exit(143));
        }
        if self.options.noexec {
            return Ok(0);
        }
        if let Body::Simple { assigns, words } = &command.body {
            let outer = std::mem::replace(&mut self.tested, tested);
            let result = self.eval_simple(assigns, words, command);
            self.tested = outer;
            return self.check(result?, tested);
        }
        let saved = self.process.fds.clone();
        if let Err(message) = self.redirect(&command.redirects)? {
            self.process.fds = saved;
            self.process.err(format!("{}: {}: {message}\n", self.name, self.line));
            return self.check(2, tested);
        }
        let result = self.eval_body(&command.body, tested);
        self.process.fds = saved;
        let status = result?;
        self.status = status;
        if matches!(command.body, Body::Subshell(_)) { self.check(status, tested) } else { Ok(status) }
    }

    fn eval_body(&mut self, body: &Body, tested: bool) -> Eval {
        match body {
            Body::Simple { .. } => Ok(self.status),
            Body::Subshell(list) => {
                let mut shell = self.subshell();
                shell.too_deep()?;
                Ok(shell.subshell_status(|shell| shell.eval_list_as(list, tested)))
            }
            Body::Group(list) => self.eval_list_as(list, tested),
            Body::If(branches, otherwise) => {
                for (condition, then) in branches {
                    if self.eval_list_as(condition, true)? == 0 {
                        return self.eval_list_as(then, tested);
                    }
                }
                otherwise.as_ref().map_or(Ok(0), |list| self.eval_list_as(list, tested))
            }
            Body::For(name, words, list) => {
                let values = match words {
                    Some(words) => self.expand_words(words)?,
                    None => self.positional.clone(),
                };
                let mut values = values.into_iter();
                self.eval_loop(list, tested, |shell| {
                    let next = values.next();
                    Ok(next.map(|value| shell.assign(name, value)).is_some())
                })
            }
            Body::While(until, condition, list) => {
                self.eval_loop(list, tested, |shell| Ok((shell.eval_list_as(condition, true)? == 0) != *until))
            }
            Body::Case(word, arms) => self.eval_case(word, arms, tested),
            Body::Function(name, body) => {
                self.functions.insert(name.clone(), Arc::clone(body));
                if self.functions.len() > MAX_FUNCTIONS {
                    self.process.session.exhaust();
                }
                Ok(0)
            }
        }
    }

    fn eval_loop(
        &mut self,
        list: &List,
        tested: bool,
        mut goes_on: impl FnMut(&mut Shell) -> Result<bool, Flow>,
    ) -> Eval {
        let mut status = 0;
        self.loops += 1;
        let result = loop {
            let turn = goes_on(self).and_then(|on| match on {
                true => self.eval_list_as(list, tested).map(Some),
                false => Ok(None),
            });
            match turn {
                Ok(Some(last)) => status = last,
                Ok(None) => break Ok(status),
                Err(Flow::Break(1)) => break Ok(0),
                Err(Flow::Break(levels)) => break Err(Flow::Break(levels - 1)),
                Err(Flow::Continue(1)) => status = 0,
                Err(Flow::Continue(levels)) => break Err(Flow::Continue(levels - 1)),
                Err(flow) => break Err(flow),
            }
            if self.process.session.life.over() {
                break Err(Flow::Exit(143));
            }
        };
        self.loops -= 1;
        result
    }

    fn eval_case(&mut self, word: &Word, arms: &[(Vec<Word>, List)], tested: bool) -> Eval {
        let text: Vec<char> = self.expand_text(word)?.chars().collect();
        for (patterns, list) in arms {
            for pattern in patterns {
                let pattern = self.expand_pattern(pattern)?;
                if pattern::matches(&pattern, &text) {
                    return self.eval_list_as(list, tested);
                }
            }
        }
        Ok(0)
    }

    fn eval_simple(&mut self, assigns: &[(String, Word)], words: &[Word], command: &Command) -> Eval {
        self.substituted = 0;
        let arguments = self.expand_words(words)?;
        let saved = self.process.fds.clone();
        if let Err(message) = self.redirect(&command.redirects)? {
            self.process.fds = saved;
            let wrong = format!("{}: {}: {message}\n", self.name, self.line);
            self.process.err(wrong);
            let special = arguments.first().is_some_and(|name| builtins::is_special(name));
            return if special { Err(Flow::Exit(2)) } else { Ok(2) };
        }
        let result = match arguments.first() {
            None => self.assign_all(assigns),
            Some(name) if name == "exec" => {
                let status = self.assign_all(assigns).and_then(|_| self.exec(arguments));
                // The redirections of `exec` stay.
                return status;
            }
            Some(_) => self.eval_named(assigns, arguments),
        };
        self.process.fds = saved;
        result
    }

    /// Assigns for good. The status of a command without words is that of the last substitution in it.
    fn assign_all(&mut self, assigns: &[(String, Word)]) -> Eval {
        for (name, word) in assigns {
            let value = self.expand_text(word)?;
            self.check_writable(name)?;
            self.trace(&format!("{name}={value}"));
            self.assign(name, value);
        }
        Ok(self.substituted)
    }

    fn check_writable(&self, name: &str) -> Result<(), Flow> {
        if self.readonly.contains(name) { Err(self.fatal(format!("{name}: is read only"))) } else { Ok(()) }
    }

    fn trace(&self, text: &str) {
        if self.options.xtrace {
            self.process.err(format!("+ {text}\n"));
        }
    }

    /// A command with a name: assignments before it hold for it alone, unless it is a special builtin.
    fn eval_named(&mut self, assigns: &[(String, Word)], arguments: Vec<String>) -> Eval {
        let keep = builtins::is_special(&arguments[0]);
        let mut hidden = Vec::new();
        for (name, word) in assigns {
            let value = self.expand_text(word)?;
            self.check_writable(name)?;
            hidden.push((name, self.variables.get(name).cloned(), self.exported.contains(name)));
            self.assign(name, value);
            if !keep {
                self.exported.insert(name.clone());
            }
        }
        self.trace(&arguments.join(" "));
        let result = self.call(arguments, true);
        if !keep {
            for (name, value, exported) in hidden.into_iter().rev() {
                match value {
                    Some(value) => self.assign(name, value),
                    None => drop(self.variables.remove(name)),
                }
                if !exported {
                    self.exported.remove(name);
                }
            }
        }
        result
    }

    /// Runs a function, a builtin or a program.
    pub fn call(&mut self, arguments: Vec<String>, functions: bool) -> Eval {
        if let Some(body) = self.functions.get(&arguments[0]).filter(|_| functions).cloned() {
            return self.call_function(&body, arguments);
        }
        if let Some(result) = builtins::run(self, &arguments) {
            return result;
        }
        if arguments[0] == "[[" {
            self.process.err("homelab sim: not simulated: [[ of bash\n");
            return Ok(127);
        }
        Ok(exec::run(self.child(arguments)))
    }

    /// A process that this shell would start.
    pub fn child(&self, arguments: Vec<String>) -> Process {
        let mut process = self.process.clone();
        let exported = self.exported.iter().filter_map(|name| Some((name.clone(), self.variables.get(name)?.clone())));
        process.env = exported.collect();
        process.args = arguments;
        process.depth += 1;
        process
    }

    fn call_function(&mut self, body: &Command, mut arguments: Vec<String>) -> Eval {
        self.process.depth += 1;
        self.too_deep()?;
        arguments.remove(0);
        let positional = std::mem::replace(&mut self.positional, arguments);
        let loops = std::mem::take(&mut self.loops);
        self.locals.push(Default::default());
        let result = self.eval_command(body, self.tested);
        for (name, value) in self.locals.pop().unwrap_or_default() {
            match value {
                Some(value) => self.assign(&name, value),
                None => drop(self.variables.remove(&name)),
            }
        }
        self.positional = positional;
        self.loops = loops;
        self.process.depth -= 1;
        match result {
            Err(Flow::Return(status)) => Ok(status),
            other => other,
        }
    }
}
