//! Programs that start others: sudo, env, xargs, timeout, nohup, sh; and the trivial ones.

use std::time::{Duration, Instant};

use super::Options;
use crate::sim::host::exec;
use crate::sim::host::fs::Errno;
use crate::sim::host::process::{Exit, Process, Stop, fail, not_simulated};
use crate::sim::host::shell::{self, is_name};

/// Success.
pub fn yes(_: &Process) -> Exit {
    Ok(0)
}

/// Failure.
pub fn no(_: &Process) -> Exit {
    Ok(1)
}

/// A shell.
pub fn shell(p: &Process) -> Exit {
    Ok(shell::main(p))
}

/// The same process about to run something else.
fn becoming(p: &Process, args: &[String]) -> Process {
    let mut child = p.clone();
    child.args = args.to_vec();
    child.depth += 1;
    child
}

/// Runs a command as somebody else, where the rules allow it without a password.
pub fn sudo(p: &Process) -> Exit {
    let long = [
        ("non-interactive", 'n'),
        ("user", 'u'),
        ("set-home", 'H'),
        ("preserve-env", 'E'),
        ("list", 'l'),
        ("login", 'i'),
    ];
    let options = Options::leading(p, "nu:g:HEliskKv", &long)?;
    if let Some(letter) = options.last_of("gliskK") {
        return not_simulated(format!("sudo -{letter}"));
    }
    let (caller, target) = p.session.with(|machine| {
        let caller = machine.users().into_iter().find(|user| user.uid == p.cred.uid);
        let name = options.value('u').unwrap_or("root").to_owned();
        (caller.map(|user| (machine.may_sudo(&user), user)), machine.user(&name).ok_or(name))
    });
    let Some((true, caller)) = caller else {
        return fail(if options.has('n') {
            "a password is required"
        } else {
            "a terminal is required to read the password; either use the -S option to read from standard input or configure an askpass helper\nsudo: a password is required"
        });
    };
    let user = match target {
        Ok(user) => user,
        Err(name) => return fail(format!("unknown user {name}\nsudo: error initializing audit plugin sudoers_audit")),
    };
    let mut words = options.operands.as_slice();
    let mut env = vec![];
    while let Some((name, value)) =
        words.first().and_then(|word| word.split_once('=')).filter(|(name, _)| is_name(name))
    {
        env.push((name.to_owned(), value.to_owned()));
        words = &words[1..];
    }
    if words.is_empty() {
        return if options.has('v') { Ok(0) } else { fail("a command is required") };
    }
    let mut child = becoming(p, words);
    child.cred = p.session.with(|machine| machine.cred_of(&user));
    child.umask = p.umask | 0o022;
    // sudo hands on hardly anything of the caller's environment.
    if !options.has('E') {
        child
            .env
            .retain(|name, _| matches!(name.as_str(), "TERM" | "LANG" | "LC_ALL" | "LANGUAGE" | "PATH" | "DISPLAY"));
    }
    child.env.insert("PATH".to_owned(), format!("{}:/snap/bin", exec::DEFAULT_PATH));
    let own = [("HOME", user.home.as_str()), ("USER", &user.name), ("LOGNAME", &user.name), ("SHELL", &user.shell)];
    child.env.extend(own.map(|(name, value)| (name.to_owned(), value.to_owned())));
    let about =
        [("SUDO_USER", caller.name.clone()), ("SUDO_UID", caller.uid.to_string()), ("SUDO_COMMAND", words.join(" "))];
    child.env.extend(about.map(|(name, value)| (name.to_owned(), value)));
    child.env.extend(env);
    if exec::search(&child, &words[0], 1).is_none() && !super::is_known_elsewhere(&words[0]) {
        return fail(format!("{}: command not found", words[0]));
    }
    Ok(exec::run(child))
}

/// Runs a command in a changed environment, or prints the environment.
pub fn env(p: &Process) -> Exit {
    let options = Options::leading(p, "iu:C:", &[("ignore-environment", 'i'), ("unset", 'u'), ("chdir", 'C')])?;
    let mut words = options.operands.as_slice();
    let mut child = p.clone();
    child.depth += 1;
    if options.has('i') {
        child.env.clear();
    }
    for name in options.values('u') {
        child.env.remove(name);
    }
    if let Some(dir) = options.value('C') {
        child.cwd = p.path(dir);
    }
    while let Some((name, value)) = words.first().and_then(|word| word.split_once('=')) {
        child.env.insert(name.to_owned(), value.to_owned());
        words = &words[1..];
    }
    if words.is_empty() {
        let lines: String = child.env.iter().map(|(name, value)| format!("{name}={value}\n")).collect();
        p.out(lines)?;
        return Ok(0);
    }
    child.args = words.to_vec();
    if exec::search(&child, &words[0], 1).is_none() && !super::is_known_elsewhere(&words[0]) {
        return Err(Stop::Fail(127, format!("'{}': {}", words[0], Errno::NoEntry)));
    }
    Ok(exec::run(child))
}

/// Prints variables of the environment.
pub fn printenv(p: &Process) -> Exit {
    if p.operands().is_empty() {
        p.out(p.env.iter().map(|(name, value)| format!("{name}={value}\n")).collect::<String>())?;
        return Ok(0);
    }
    let mut status = 0;
    for name in p.operands() {
        match p.env.get(name) {
            Some(value) => p.line(value)?,
            None => status = 1,
        }
    }
    Ok(status)
}

/// Runs a command with words from standard input.
pub fn xargs(p: &Process) -> Exit {
    let long = [("no-run-if-empty", 'r'), ("null", '0'), ("max-args", 'n')];
    let options = Options::leading(p, "0rn:I:d:tP:", &long)?;
    // How many run at once is not seen: here it is one after the other.
    if options.has('t') {
        return not_simulated("xargs -t");
    }
    let input = p.read_all()?;
    let text = String::from_utf8_lossy(&input);
    let items: Vec<String> = match (options.has('0'), options.value('d'), options.has('I')) {
        (true, ..) => text.split('\0').filter(|item| !item.is_empty()).map(str::to_owned).collect(),
        (_, Some(delimiter), _) => {
            let (bytes, _) = super::unescape(delimiter, false);
            let delimiter = String::from_utf8_lossy(&bytes).into_owned();
            text.trim_end_matches('\n').split(&delimiter).map(str::to_owned).collect()
        }
        (_, _, true) => text.lines().map(|line| line.trim_start().to_owned()).filter(|line| !line.is_empty()).collect(),
        _ => words(&text)?,
    };
    let command = if options.operands.is_empty() { vec!["echo".to_owned()] } else { options.operands.clone() };
    let mut child = p.clone();
    child.fds.insert(0, crate::sim::host::stream::Stream::text(""));
    let mut status = 0;
    let mut launch = |args: Vec<String>| {
        let result = exec::run(becoming(&child, &args));
        match result {
            0 => {}
            126 | 127 => status = result,
            _ => status = 123,
        }
    };
    if let Some(mark) = options.value('I') {
        for item in items {
            launch(command.iter().map(|word| word.replace(mark, &item)).collect());
        }
        return Ok(status);
    }
    if items.is_empty() {
        if !options.has('r') {
            launch(command);
        }
        return Ok(status);
    }
    let most = options.value('n').and_then(|text| text.parse().ok()).unwrap_or(items.len()).max(1);
    for chunk in items.chunks(most) {
        launch([command.as_slice(), chunk].concat());
    }
    Ok(status)
}

/// Splits a text at blanks, with quotes and backslashes.
fn words(text: &str) -> Result<Vec<String>, Stop> {
    let mut all = Vec::new();
    let mut current: Option<String> = None;
    let mut chars = text.chars();
    while let Some(next) = chars.next() {
        match next {
            '\'' | '"' => {
                let word = current.get_or_insert_default();
                loop {
                    match chars.next() {
                        Some(close) if close == next => break,
                        Some('\n') | None => {
                            return fail(
                                "unmatched quote; by default quotes are special to xargs unless you use the -0 option",
                            );
                        }
                        Some(inner) => word.push(inner),
                    }
                }
            }
            '\\' => current.get_or_insert_default().extend(chars.next()),
            blank if blank.is_whitespace() => all.extend(current.take()),
            other => current.get_or_insert_default().push(other),
        }
    }
    all.extend(current);
    Ok(all)
}

/// Runs a command that has to end in time.
pub fn timeout(p: &Process) -> Exit {
    let long = [("signal", 's'), ("kill-after", 'k'), ("preserve-status", 'p'), ("foreground", 'f')];
    let options = Options::leading(p, "s:k:pf", &long)?;
    let [time, words @ ..] = options.operands.as_slice() else {
        return Err(Stop::Fail(125, "missing operand".to_owned()));
    };
    let Some(limit) = super::clock::duration(time) else {
        return Err(Stop::Fail(125, format!("invalid time interval '{time}'")));
    };
    if words.is_empty() {
        return Err(Stop::Fail(125, "missing operand".to_owned()));
    }
    let mut child = becoming(p, words);
    child.session = p.session.with_own_life();
    let life = child.session.life.clone();
    if exec::search(&child, &words[0], 1).is_none() && !super::is_known_elsewhere(&words[0]) {
        return Err(Stop::Fail(127, format!("failed to run command '{}': {}", words[0], Errno::NoEntry)));
    }
    let run = std::thread::Builder::new().stack_size(shell::STACK).spawn(move || exec::run(child));
    let Ok(run) = run else { return Err(Stop::Exit(125)) };
    let until = (!limit.is_zero()).then(|| Instant::now() + limit);
    let mut late = false;
    while !run.is_finished() {
        late |= until.is_some_and(|until| Instant::now() >= until);
        if late || p.session.life.over() {
            life.end();
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    let status = run.join().unwrap_or(134);
    let killed =
        if options.value('s').is_some_and(|signal| signal.contains("KILL") || signal == "9") { 137 } else { 124 };
    Ok(if late && !options.has('p') { killed } else { status })
}

/// Runs a command; there is no terminal whose hangup could matter.
pub fn nohup(p: &Process) -> Exit {
    match p.operands() {
        [] => Err(Stop::Fail(125, "missing operand".to_owned())),
        words => Ok(exec::run(becoming(p, words))),
    }
}

/// Where programs are.
pub fn which(p: &Process) -> Exit {
    let mut status = 0;
    for name in p.operands().iter().filter(|name| !name.starts_with('-')) {
        match exec::search(p, name, 1) {
            Some(path) => p.line(path)?,
            None => status = 1,
        }
    }
    Ok(status)
}

/// `kill -0` of one's own process; nothing else runs that a signal could reach.
pub fn kill(p: &Process) -> Exit {
    match p.operands() {
        [flag, _] if flag == "-0" => Ok(0),
        _ => not_simulated("kill"),
    }
}
