//! Commands that the shell itself runs.

use super::eval::{Eval, Flow};
use super::parser::is_name;
use super::{Shell, read};
use crate::sim::host::exec;
use crate::sim::host::tools;

/// Builtins whose errors end the shell and whose assignments stay.
pub fn is_special(name: &str) -> bool {
    const NAMES: &[&str] = &[
        ":", ".", "break", "continue", "eval", "exec", "exit", "export", "readonly", "return", "set", "shift", "times",
        "trap", "unset",
    ];
    NAMES.contains(&name)
}

/// Builtins that are ordinary programs too; running them inside the shell only saves the search.
const SHARED: &[&str] = &["printf", "test", "[", "true", "false", "kill"];
/// The other builtins, for `command -v`.
const REGULAR: &[&str] = &["cd", "command", "echo", "getopts", "hash", "local", "pwd", "read", "type", "umask", "wait"];

/// Whether the shell has such a builtin.
pub fn exists(name: &str) -> bool {
    is_special(name) || REGULAR.contains(&name) || SHARED.contains(&name)
}

/// Runs a builtin; `None` when there is none of that name.
pub fn run(shell: &mut Shell, arguments: &[String]) -> Option<Eval> {
    let rest = &arguments[1..];
    Some(match arguments[0].as_str() {
        ":" | "hash" | "wait" | "times" => Ok(0),
        "." => source(shell, rest),
        "break" => jump(shell, rest, Flow::Break),
        "continue" => jump(shell, rest, Flow::Continue),
        "cd" => cd(shell, rest),
        "command" => command(shell, rest),
        "type" => describe(shell, rest, true),
        "echo" => echo(shell, rest),
        "eval" => shell.eval_text(&rest.join(" ")),
        "exit" => status_argument(shell, rest).and_then(|status| Err(Flow::Exit(status))),
        "return" => status_argument(shell, rest).and_then(|status| Err(Flow::Return(status))),
        "export" => export(shell, rest),
        "getopts" => getopts(shell, rest),
        "local" => local(shell, rest),
        "pwd" => {
            let line = shell.process.cwd.clone();
            Ok(i32::from(shell.process.line(line).is_err()))
        }
        "read" => read::run(shell, arguments),
        "readonly" => readonly(shell, rest),
        "set" => set(shell, rest),
        "shift" => shift(shell, rest),
        "trap" => trap(shell, rest),
        "umask" => umask(shell, rest),
        "unset" => unset(shell, rest),
        name if SHARED.contains(&name) => {
            let tool = tools::find(name)?;
            Ok(exec::run_tool(&shell.child(arguments.to_vec()), tool))
        }
        _ => return None,
    })
}

fn source(shell: &mut Shell, rest: &[String]) -> Eval {
    let Some(path) = rest.first() else { return Err(shell.fatal(".: filename argument required")) };
    let found = if path.contains('/') { Some(path.clone()) } else { exec::search(&shell.child(Vec::new()), path, 4) };
    let content = found.and_then(|path| shell.process.input(&path).ok());
    let Some(content) = content else {
        return Err(shell.fatal(format!(".: cannot open {path}: No such file")));
    };
    match shell.eval_text(&String::from_utf8_lossy(&content)) {
        Err(Flow::Return(status)) => Ok(status),
        other => other,
    }
}

fn number(shell: &Shell, text: &str) -> Result<i32, Flow> {
    text.parse().map_err(|_| shell.fatal(format!("Illegal number: {text}")))
}

fn status_argument(shell: &Shell, rest: &[String]) -> Eval {
    rest.first().map_or(Ok(shell.status), |text| number(shell, text).map(|status| status & 255))
}

fn jump(shell: &Shell, rest: &[String], flow: impl Fn(u32) -> Flow) -> Eval {
    let levels = rest.first().map_or(Ok(1), |text| number(shell, text))?;
    if shell.loops == 0 {
        return Ok(0);
    }
    Err(flow(u32::try_from(levels).unwrap_or(1).clamp(1, shell.loops)))
}

fn cd(shell: &mut Shell, rest: &[String]) -> Eval {
    let operand = rest.iter().find(|argument| !matches!(argument.as_str(), "-P" | "-L" | "--"));
    let target = match operand.map(String::as_str) {
        None => shell.variable("HOME").unwrap_or("/").to_owned(),
        Some("-") => shell.variable("OLDPWD").unwrap_or_default().to_owned(),
        Some(path) => path.to_owned(),
    };
    let path = normal(&shell.process.path(&target));
    let entered =
        shell.process.fs(|fs, cred| fs.stat(cred, &path, true).map(|inode| (inode.is_dir(), inode.rights(cred))));
    match entered {
        Ok((true, rights)) if rights & 1 != 0 => {}
        _ => return Err(complain(shell, format!("cd: can't cd to {target}"))).or(Ok(2)),
    }
    if operand.is_some_and(|path| path == "-") && shell.process.line(&path).is_err() {
        return Ok(1);
    }
    let old = std::mem::replace(&mut shell.process.cwd, path.clone());
    shell.assign("OLDPWD", old);
    shell.assign("PWD", path);
    Ok(0)
}

fn complain(shell: &Shell, message: String) -> Flow {
    shell.process.err(format!("{}: {}: {message}\n", shell.name, shell.line));
    Flow::Exit(2)
}

/// A path without `.`, `..` and doubled slashes, by its text alone.
fn normal(path: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            name => parts.push(name),
        }
    }
    format!("/{}", parts.join("/"))
}

fn command(shell: &mut Shell, rest: &[String]) -> Eval {
    match rest.first().map(String::as_str) {
        Some("-v") => describe(shell, &rest[1..], false),
        Some("-V") => describe(shell, &rest[1..], true),
        Some("-p" | "--") if rest.len() > 1 => shell.call(rest[1..].to_vec(), false),
        Some(_) => shell.call(rest.to_vec(), false),
        None => Ok(0),
    }
}

fn describe(shell: &mut Shell, names: &[String], long: bool) -> Eval {
    let mut status = 0;
    for name in names {
        let child = shell.child(Vec::new());
        let (short, what) = match exec::search(&child, name, 1) {
            _ if shell.functions.contains_key(name) => (name.clone(), "is a shell function".to_owned()),
            _ if exists(name) => (name.clone(), "is a shell builtin".to_owned()),
            Some(path) => (path.clone(), format!("is {path}")),
            None if long => (String::new(), "not found".to_owned()),
            None => (String::new(), String::new()),
        };
        if short.is_empty() {
            status = 127;
        }
        let line = if long { format!("{name}: {what}").replacen(": is", " is", 1) } else { short };
        if !line.is_empty() && shell.process.line(line).is_err() {
            return Ok(1);
        }
    }
    Ok(status)
}

/// The `echo` of dash: `-n`, and escapes are always interpreted.
fn echo(shell: &Shell, rest: &[String]) -> Eval {
    let (newline, words) = match rest.first() {
        Some(flag) if flag == "-n" => (false, &rest[1..]),
        _ => (true, rest),
    };
    let (mut bytes, stopped) =
        if shell.bash { (words.join(" ").into_bytes(), false) } else { tools::unescape(&words.join(" "), true) };
    if newline && !stopped {
        bytes.push(b'\n');
    }
    Ok(match shell.process.out(bytes) {
        Ok(()) => 0,
        Err(crate::sim::host::fs::Errno::BrokenPipe) => return Err(Flow::Exit(141)),
        Err(errno) => {
            complain(shell, format!("echo: I/O error: {errno}"));
            1
        }
    })
}

fn export(shell: &mut Shell, rest: &[String]) -> Eval {
    if rest.is_empty() || rest[0] == "-p" {
        let lines: String = shell
            .exported
            .iter()
            .map(|name| format!("export {name}='{}'\n", shell.variable(name).unwrap_or_default()))
            .collect();
        return Ok(i32::from(shell.process.out(lines).is_err()));
    }
    for argument in rest {
        let name = declare(shell, argument, "export")?;
        shell.exported.insert(name);
    }
    Ok(0)
}

fn readonly(shell: &mut Shell, rest: &[String]) -> Eval {
    for argument in rest.iter().filter(|argument| *argument != "-p") {
        let name = declare(shell, argument, "readonly")?;
        shell.readonly.insert(name);
    }
    Ok(0)
}

/// Assigns `name=value`, or just takes `name`.
fn declare(shell: &mut Shell, argument: &str, builtin: &str) -> Result<String, Flow> {
    let (name, value) = argument.split_once('=').map_or((argument, None), |(name, value)| (name, Some(value)));
    if !is_name(name) {
        return Err(shell.fatal(format!("{builtin}: {name}: bad variable name")));
    }
    if let Some(value) = value {
        if shell.readonly.contains(name) {
            return Err(shell.fatal(format!("{name}: is read only")));
        }
        shell.assign(name, value.to_owned());
    }
    Ok(name.to_owned())
}

fn local(shell: &mut Shell, rest: &[String]) -> Eval {
    for argument in rest {
        let name = argument.split('=').next().unwrap_or_default().to_owned();
        let value = shell.variables.get(&name).cloned();
        match shell.locals.last_mut() {
            Some(frame) => drop(frame.entry(name).or_insert(value)),
            None => return Err(shell.fatal("local: not in a function")),
        }
        declare(shell, argument, "local")?;
    }
    Ok(0)
}

fn unset(shell: &mut Shell, rest: &[String]) -> Eval {
    let functions = rest.first().is_some_and(|flag| flag == "-f");
    for name in rest.iter().filter(|name| !matches!(name.as_str(), "-f" | "-v")) {
        if shell.readonly.contains(name) {
            return Err(shell.fatal(format!("{name}: is read only")));
        }
        if functions {
            shell.functions.remove(name);
        } else {
            shell.variables.remove(name);
            shell.exported.remove(name);
        }
    }
    Ok(0)
}

impl Shell {
    /// `set -o name`; false when there is no such option.
    pub fn set_long(&mut self, name: &str, on: bool) -> bool {
        let slot = match name {
            "errexit" => &mut self.options.errexit,
            "nounset" => &mut self.options.nounset,
            "xtrace" => &mut self.options.xtrace,
            "noglob" => &mut self.options.noglob,
            "noclobber" => &mut self.options.noclobber,
            "pipefail" if self.bash => &mut self.options.pipefail,
            _ => return false,
        };
        *slot = on;
        true
    }
}

fn set(shell: &mut Shell, rest: &[String]) -> Eval {
    if rest.is_empty() {
        let lines: String = shell.variables.iter().map(|(name, value)| format!("{name}='{value}'\n")).collect();
        return Ok(i32::from(shell.process.out(lines).is_err()));
    }
    let mut arguments = rest.iter();
    while let Some(argument) = arguments.next() {
        let on = match argument.chars().next() {
            Some('-') if argument == "--" => {
                shell.positional = arguments.cloned().collect();
                return Ok(0);
            }
            Some('-') if argument.len() > 1 => true,
            Some('+') => false,
            _ => {
                shell.positional = std::iter::once(argument).chain(arguments).cloned().collect();
                return Ok(0);
            }
        };
        for letter in argument[1..].chars() {
            let known = match letter {
                'o' => {
                    let name = arguments.next().cloned().unwrap_or_default();
                    if !shell.set_long(&name, on) {
                        return Err(shell.fatal(format!("set: Illegal option -o {name}")));
                    }
                    true
                }
                other => shell.options.slot(other).map(|slot| *slot = on).is_some(),
            };
            if !known {
                return Err(shell.fatal(format!("set: Illegal option -{letter}")));
            }
        }
    }
    Ok(0)
}

fn shift(shell: &mut Shell, rest: &[String]) -> Eval {
    let count = rest.first().map_or(Ok(1), |text| number(shell, text))? as usize;
    if count > shell.positional.len() {
        return Err(shell.fatal("shift: can't shift that many"));
    }
    shell.positional.drain(..count);
    Ok(0)
}

fn trap(shell: &mut Shell, rest: &[String]) -> Eval {
    let Some((action, signals)) = rest.split_first() else { return Ok(0) };
    let reset = action == "-" || action.parse::<u32>().is_ok();
    let signals = if reset && action != "-" { rest } else { signals };
    for signal in signals {
        let name = if signal == "0" { "EXIT" } else { signal.trim_start_matches("SIG") };
        if reset {
            shell.traps.remove(name);
        } else {
            shell.traps.insert(name.to_owned(), action.clone());
        }
    }
    Ok(0)
}

fn umask(shell: &mut Shell, rest: &[String]) -> Eval {
    let Some(text) = rest.first() else {
        return Ok(i32::from(shell.process.line(format!("{:04o}", shell.process.umask)).is_err()));
    };
    match u32::from_str_radix(text, 8) {
        Ok(mask) => shell.process.umask = mask & 0o777,
        Err(_) => return Err(shell.fatal(format!("umask: Illegal mode: {text}"))),
    }
    Ok(0)
}

fn getopts(shell: &mut Shell, rest: &[String]) -> Eval {
    let [spec, name, given @ ..] = rest else { return Err(shell.fatal("getopts: Usage: getopts optstring var [arg]")) };
    let arguments = if given.is_empty() { shell.positional.clone() } else { given.to_vec() };
    let mut index: usize = shell.variable("OPTIND").and_then(|text| text.parse().ok()).unwrap_or(1);
    let mut offset: usize = shell.variable("_OPTOFF").and_then(|text| text.parse().ok()).unwrap_or(1);
    let argument = arguments.get(index - 1).filter(|text| text.len() > 1 && text.starts_with('-')).cloned();
    let letter = argument.as_ref().filter(|text| *text != "--").and_then(|text| text.chars().nth(offset));
    let (Some(argument), Some(letter)) = (argument.as_ref(), letter) else {
        if argument.as_deref() == Some("--") {
            index += 1;
        }
        shell.assign(name, "?".to_owned());
        shell.assign("OPTIND", index.to_string());
        return Ok(1);
    };
    let last = offset + 1 >= argument.chars().count();
    let known = letter != ':' && spec.contains(letter);
    let wants = known && spec.contains(&format!("{letter}:"));
    shell.variables.remove("OPTARG");
    let mut result = letter.to_string();
    if wants && !last {
        shell.assign("OPTARG", argument.chars().skip(offset + 1).collect());
    } else if wants {
        index += 1;
        match arguments.get(index - 1) {
            Some(value) => shell.assign("OPTARG", value.clone()),
            None => {
                result = "?".to_owned();
                shell.process.err(format!("No arg for -{letter} option\n"));
            }
        }
    } else if !known {
        result = "?".to_owned();
        if spec.starts_with(':') {
            shell.assign("OPTARG", letter.to_string());
        } else {
            shell.process.err(format!("Illegal option -{letter}\n"));
        }
    }
    if last || wants {
        index += 1;
        offset = 1;
    } else {
        offset += 1;
    }
    shell.assign("_OPTOFF", offset.to_string());
    shell.assign(name, result);
    shell.assign("OPTIND", index.to_string());
    Ok(0)
}

impl Shell {
    /// `exec`: the program takes the place of the shell. Without one only its redirections count.
    pub fn exec(&mut self, mut arguments: Vec<String>) -> Eval {
        arguments.remove(0);
        if arguments.is_empty() {
            return Ok(0);
        }
        self.traps.clear();
        Err(Flow::Exit(exec::run(self.child(arguments))))
    }
}
