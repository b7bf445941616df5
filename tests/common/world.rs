//! The world behind the handles: files, commands, an API. It notes every mutation that reaches it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use homelab::error::{Class, Error, Result};
use homelab::run::interrupt::Interrupt;
use homelab::run::value::{Map, Value};

/// What every new machine brings along.
pub const IMAGE: [(&str, &str); 2] = [("/etc/hostname", "new\n"), ("/etc/default/grub", "TIMEOUT=5\n")];

/// What is there.
#[derive(Debug, Default, Clone)]
pub struct State {
    /// Files by host and path.
    pub files: BTreeMap<String, BTreeMap<String, String>>,
    /// Objects of the API by path.
    pub objects: BTreeMap<String, Map>,
    /// Every mutation, in order.
    pub sent: Vec<String>,
    /// Mutations that fail the next time.
    pub failing: BTreeSet<String>,
    /// Mutations that are accepted and do nothing.
    pub ignored: BTreeSet<String>,
    /// How many writes are under way in each cell, and the most there ever were.
    pub writers: BTreeMap<String, (usize, usize)>,
    /// What befalls a mutation to come: after how many others, and what.
    pub fault: Option<(usize, Fault)>,
    /// Counts what was put.
    pub counter: i64,
}

/// What befalls a mutation.
#[derive(Debug, Clone)]
#[allow(dead_code, reason = "not every test binary needs each of them")]
pub enum Fault {
    /// It fails and does nothing.
    Refused,
    /// It is carried out, and the answer is lost.
    Unanswered,
    /// It is carried out, and the run is asked to end meanwhile.
    Interrupted(Interrupt),
}

impl State {
    /// The fault that befalls this mutation.
    fn due_fault(&mut self) -> Option<Fault> {
        match self.fault.take()? {
            (0, fault) => Some(fault),
            (left, fault) => {
                self.fault = Some((left - 1, fault));
                None
            }
        }
    }
}

/// A homelab in memory.
#[derive(Debug, Default)]
pub struct TestWorld {
    state: Mutex<State>,
}

impl TestWorld {
    /// What is there, to look at or to change behind the playbook's back.
    pub fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A file, where it is there.
    pub fn file(&self, host: &str, path: &str) -> Result<Option<String>> {
        let state = self.state();
        let files = state.files.get(host).ok_or_else(|| unreachable(host))?;
        Ok(files.get(path).cloned())
    }

    /// Writes a file, or removes it.
    pub fn set_file(&self, host: &str, path: &str, content: Option<&str>) -> Result<()> {
        let mutation = format!("{host}: {} {path}", if content.is_some() { "write" } else { "remove" });
        self.begin_write(&mutation);
        // Others get their turn in the middle of a write, as they would on a machine.
        std::thread::yield_now();
        let done = self.mutate(mutation.clone(), |state| {
            let files = state.files.get_mut(host).ok_or_else(|| unreachable(host))?;
            match content {
                Some(content) => files.insert(path.to_owned(), content.to_owned()),
                None => files.remove(path),
            };
            Ok(())
        });
        self.end_write(&mutation);
        done
    }

    fn begin_write(&self, cell: &str) {
        let mut state = self.state();
        let (now, most) = state.writers.entry(cell.to_owned()).or_default();
        *now += 1;
        *most = (*most).max(*now);
    }

    fn end_write(&self, cell: &str) {
        if let Some((now, _)) = self.state().writers.get_mut(cell) {
            *now -= 1;
        }
    }

    /// Carries out a command: `touch PATH`, `set PATH TEXT`, `remove PATH`, `restart NAME`, `false`.
    pub fn run(&self, host: &str, command: &str) -> Result<()> {
        self.mutate(format!("{host}: $ {command}"), |state| {
            let files = state.files.get_mut(host).ok_or_else(|| unreachable(host))?;
            match command.split(' ').collect::<Vec<_>>().as_slice() {
                ["touch", path] => drop(files.entry((*path).to_owned()).or_default()),
                ["set", path, text] => drop(files.insert((*path).to_owned(), (*text).to_owned())),
                ["remove", path] => drop(files.remove(*path)),
                ["restart", _] => {}
                _ => return Err(Error::new(Class::Failed, format!("{host}: `{command}` ended with 1"))),
            }
            Ok(())
        })
    }

    /// Looks at something with a command: `cat PATH`, `test PATH`, `missing PATH`. Gives the exit code and what it printed.
    pub fn query(&self, host: &str, command: &str) -> Result<(i64, String)> {
        let (word, path) = command.split_once(' ').unwrap_or((command, ""));
        let found = self.file(host, path)?;
        Ok(match (word, found) {
            ("missing", found) => (i64::from(found.is_some()), String::new()),
            (_, None) => (1, String::new()),
            ("cat", Some(content)) => (0, content),
            _ => (0, String::new()),
        })
    }

    /// An object of the API. A path that ends in `/` lists the names below it.
    pub fn get(&self, path: &str) -> Option<Value> {
        let state = self.state();
        if path.ends_with('/') {
            let names = state.objects.keys().filter_map(|key| key.strip_prefix(path)).map(Value::from).collect();
            return Some(Value::List(names));
        }
        state.objects.get(path).cloned().map(Value::Map)
    }

    /// Makes or changes an object. The API makes up what nobody asked for, and keeps sizes as numbers.
    pub fn put(&self, path: &str, body: &Map) -> Result<Map> {
        self.mutate(format!("api: PUT {path}"), |state| {
            let is_new = !state.objects.contains_key(path);
            state.counter += 1;
            // Machines that are numbered have their number's address, in whatever order they come.
            let number = path.rsplit(|character: char| !character.is_ascii_digit()).next();
            let number = number.and_then(|digits| digits.parse().ok()).unwrap_or(state.counter);
            let object = state.objects.entry(path.to_owned()).or_default();
            for (key, value) in body {
                object.insert(key.clone(), normal(value));
            }
            if is_new && path.starts_with("/vms/") {
                object.insert("mac".to_owned(), Value::from(format!("02:00:00:00:00:{number:02x}")));
                object.insert("ip".to_owned(), Value::from(format!("10.0.0.{number}")));
            }
            let object = object.clone();
            if let (true, Some(name)) = (is_new, path.strip_prefix("/vms/")) {
                let image = IMAGE.iter().map(|(path, content)| ((*path).to_owned(), (*content).to_owned()));
                state.files.insert(name.to_owned(), image.collect());
            }
            Ok(object)
        })
    }

    /// Removes an object.
    pub fn delete(&self, path: &str) -> Result<()> {
        self.mutate(format!("api: DELETE {path}"), |state| {
            state.objects.remove(path);
            if let Some(name) = path.strip_prefix("/vms/") {
                state.files.remove(name);
            }
            Ok(())
        })
    }

    fn mutate<T: Default>(&self, what: String, work: impl FnOnce(&mut State) -> Result<T>) -> Result<T> {
        let mut state = self.state();
        state.sent.push(what.clone());
        if state.failing.remove(&what) {
            return Err(Error::new(Class::Failed, format!("{what}: the disk is full")));
        }
        if state.ignored.contains(&what) {
            return Ok(T::default());
        }
        match state.due_fault() {
            None => work(&mut state),
            Some(Fault::Refused) => Err(Error::new(Class::Failed, format!("{what}: the disk is full"))),
            Some(Fault::Unanswered) => {
                work(&mut state)?;
                Err(Error::new(Class::Failed, format!("{what}: the connection was lost")))
            }
            Some(Fault::Interrupted(interrupt)) => {
                interrupt.press();
                work(&mut state)
            }
        }
    }
}

/// `8GiB` is kept as 8192.
pub fn normal(value: &Value) -> Value {
    let size = value.as_text().and_then(|text| text.strip_suffix("GiB")?.parse::<i64>().ok());
    size.map_or_else(|| value.clone(), |size| Value::Int(size * 1024))
}

fn unreachable(host: &str) -> Error {
    Error::new(Class::Unreachable, format!("{host}: no route to host"))
}
