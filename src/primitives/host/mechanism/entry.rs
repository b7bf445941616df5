//! What stands at a path, as a fact: files, folders and links share the cell of their path, so that all who look at it
//! agree.

use std::collections::BTreeSet;

use crate::clients::ssh::{Become, Command, Output, quote};
use crate::error::{Class, Error, Result};
use crate::run::capability::Writer;
use crate::run::resource::{Cell, Fact, Reader};
use crate::run::scope;
use crate::run::unknown::Unknown;
use crate::run::value::{Map, State, Value};

use super::super::handle::Host;
use super::image;
use super::names::Account;
use super::probe::{self, Amount, Answer, Found, Kind, Look};

/// A path of a host. Its state: a file is a map with `mode`, `owner`, `group` and `content` (or `sha256` and `size`,
/// where that is large or no text); anything else also has its `kind`.
pub struct Entry {
    /// The host.
    pub host: Host,
    /// What is looked at.
    pub look: Look,
    /// Whom to be while looking.
    pub become_: Option<Become>,
    /// Whether the owner, and the group, are asked for by number.
    pub by_number: (bool, bool),
    /// Whether it can only come about in a folder that is there.
    pub needs_folder: bool,
}

impl Entry {
    /// A path that is only looked at.
    pub fn seen(host: &Host, path: &str, amount: Amount) -> Self {
        Entry {
            host: host.clone(),
            look: Look { path: path.to_owned(), amount, follow: true },
            become_: host.whom(None),
            by_number: (false, false),
            needs_folder: false,
        }
    }

    /// The path.
    pub fn path(&self) -> &str {
        &self.look.path
    }

    /// Runs a command that changes what stands there. Where it can, the host is asked in the same round trip what stands
    /// there afterwards.
    pub fn exec(&self, command: Command, writer: &Writer) -> Result<(Output, Option<Answer>)> {
        let (output, seen) = self.host.exec_and_look(command.become_(self.become_.clone()), &self.look, writer)?;
        Ok((output, seen.and_then(|seen| self.look.parse(&seen.stdout).ok())))
    }

    /// The same for a command that must succeed.
    pub fn carry_out(&self, command: Command, writer: &Writer) -> Result<Map> {
        let (output, _) = self.exec(command, writer)?;
        if output.success() {
            return Ok(Map::new());
        }
        Err(self.host.refusal(&format!("{} was not changed", self.path()), &output))
    }

    fn state(&self, found: Found) -> Result<State> {
        let owner = if self.by_number.0 { found.owner.id } else { Account::User.name(&self.host, found.owner)? };
        let group = if self.by_number.1 { found.group.id } else { Account::Group.name(&self.host, found.group)? };
        let mut map = Map::from([
            ("mode".to_owned(), Value::Text(probe::show_mode(found.mode))),
            ("owner".to_owned(), Value::Text(owner)),
            ("group".to_owned(), Value::Text(group)),
        ]);
        match found.kind {
            Kind::File => self.add_content(&mut map, found.content, found.sha256, found.size)?,
            Kind::Directory => {
                map.insert("kind".to_owned(), Value::from("directory"));
                map.insert("empty".to_owned(), Value::Bool(found.empty));
            }
            Kind::Link => {
                let target = String::from_utf8_lossy(found.content.as_deref().unwrap_or_default()).into_owned();
                map = Map::from([("kind".to_owned(), Value::from("link")), ("target".to_owned(), Value::Text(target))]);
            }
            Kind::Special => {
                map.insert("kind".to_owned(), Value::from("special"));
            }
        }
        Ok(State::Here(Value::Map(map)))
    }

    fn add_content(&self, map: &mut Map, content: Option<Vec<u8>>, hash: Option<String>, size: u64) -> Result<()> {
        match (content.map(String::from_utf8), hash) {
            (Some(Ok(text)), _) => {
                map.insert("content".to_owned(), Value::Text(text));
            }
            (Some(Err(_)), _) if self.look.amount == Amount::Whole => {
                return Err(Error::new(Class::Failed, format!("{}: is no text", self.address()))
                    .help("look at it with a command: `h.run(\"sha256sum …\", #{ query: true })`"));
            }
            (Some(Err(binary)), _) => add_hash(map, &sha256(binary.as_bytes()), binary.as_bytes().len()),
            (None, Some(hash)) => add_hash(map, &hash, usize::try_from(size).unwrap_or(usize::MAX)),
            (None, None) => {}
        }
        Ok(())
    }

    /// A folder above that this dry run has planned to remove takes all below with it.
    fn goes_with_its_folder(&self) -> Result<bool> {
        scope::with(|branch| {
            probe::folders_above(self.path())
                .filter_map(|folder| branch.overlay.cell(&self.host.path_cell(folder)))
                .any(|planned| planned.state == State::Absent)
        })
    }

    /// A working tree that is planned at a folder above brings whatever its repository has there.
    fn comes_with_a_tree(&self) -> Result<Option<Unknown>> {
        scope::with(|branch| {
            std::iter::once(self.path())
                .chain(probe::folders_above(self.path()))
                .find_map(|folder| branch.overlay.cell(&self.host.cell(format!("git:{folder}"))))
                .map(|planned| Unknown::from_origin(&planned.by).maybe_absent())
        })
    }

    /// Whether a folder has something in it after what this dry run has planned below it.
    fn is_empty_as_planned(&self, now: bool, reader: &Reader) -> Result<bool> {
        let below = format!("{}/", self.path().trim_end_matches('/'));
        let (comes, goes) = scope::with(|branch| {
            let realm = self.host.realm();
            let cells = branch.overlay.cells().filter(|(cell, _)| cell.realm == realm);
            let inside = cells.filter_map(|(cell, planned)| {
                Some((cell.path.strip_prefix("file:")?.strip_prefix(&below)?.to_owned(), &planned.state))
            });
            let (goes, comes): (Vec<_>, Vec<_>) = inside.partition(|(_, state)| **state == State::Absent);
            (!comes.is_empty(), goes.into_iter().map(|(name, _)| name).collect::<BTreeSet<String>>())
        })?;
        if comes || now || goes.is_empty() {
            return Ok(now && !comes);
        }
        let names = self.host.probe(reader, &format!("ls -A -- {}\n", quote(self.path())), self.become_.as_ref())?;
        Ok(names.success() && names.stdout_text().lines().all(|name| goes.contains(name)))
    }

    /// Nothing can be put into a folder that is not there, unless a change that is only planned may make it.
    fn refuse_without_folder(&self) -> Result<()> {
        if !self.needs_folder || scope::stale_realm(&self.host.realm())?.is_some() {
            return Ok(());
        }
        let folder = probe::folders_above(self.path()).next().unwrap_or("/");
        Err(Error::new(Class::Blocked, format!("{}: its folder is not there", self.address()))
            .cause(format!("{folder}: No such file or directory"))
            .help(format!("make it before: `h.directory(#{{ path: {folder:?} }})`")))
    }
}

/// Refuses what must not be taken for a file. `address` is whose state it is.
pub fn check_file(address: &str, state: &Map) -> Result<()> {
    let Some(kind) = state.get("kind").and_then(Value::as_text) else { return Ok(()) };
    let error = |what: &str| Error::new(Class::Conflict, format!("{address}: is {what}"));
    let target = || state.get("target").and_then(Value::as_text).unwrap_or("?");
    match kind {
        "link" => Err(error(&format!("a symbolic link to {}", target()))
            .help("say `follow: true` to mean what it leads to, or remove the link")),
        "directory" => Err(error("a folder").help("remove it with `directory` and `absent: true` if that is meant")),
        _ => Err(error("no file but a device, a pipe or a socket").help("choose another path")),
    }
}

/// Adds what stands for a content that is large or no text.
pub fn add_hash(map: &mut Map, hash: &str, size: usize) {
    map.insert("sha256".to_owned(), Value::from(hash));
    map.insert("size".to_owned(), Value::Int(i64::try_from(size).unwrap_or(i64::MAX)));
}

/// The hash of a content, in hexadecimal digits.
pub fn sha256(bytes: &[u8]) -> String {
    use sha2::{Digest, Sha256};
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A thing that is wanted at a path. How it is read is how its [`Entry`] is.
pub trait Stands: Send + Sync + 'static {
    /// What stands there.
    fn entry(&self) -> &Entry;

    /// What its changes are listed under.
    fn address(&self) -> String;

    /// What the state means for this kind of thing: what it must not be taken for is refused, what must not show is hidden.
    fn seen(&self, state: State) -> Result<State> {
        Ok(state)
    }
}

impl<T: Stands> Fact for T {
    fn address(&self) -> String {
        Stands::address(self)
    }

    fn cell(&self) -> Cell {
        self.entry().cell()
    }

    fn read(&self, reader: &Reader) -> Result<State> {
        self.seen(self.entry().read(reader)?)
    }

    fn stands_on(&self) -> Option<&str> {
        self.entry().stands_on()
    }

    fn imagined(&self) -> State {
        self.entry().imagined()
    }
}

impl Fact for Entry {
    fn address(&self) -> String {
        format!("{}:{}", self.host.name(), self.path())
    }

    fn cell(&self) -> Cell {
        self.host.path_cell(self.path())
    }

    fn read(&self, reader: &Reader) -> Result<State> {
        if let Some(unknown) = self.host.unknown()
            && scope::is_planning()?
        {
            return Ok(State::Unknown(unknown.part(self.path())));
        }
        if self.goes_with_its_folder()? {
            return Ok(State::Absent);
        }
        if let Some(unknown) = self.comes_with_a_tree()? {
            return Ok(State::Unknown(unknown));
        }
        let output = self.host.look(reader, &self.look, self.become_.as_ref())?;
        if !output.success() {
            return Err(self.host.refusal(&format!("{} cannot be read", self.path()), &output));
        }
        match self.look.parse(&output.stdout).map_err(|error| error.context(self.host.name().to_owned()))? {
            Answer::There(mut found) => {
                if found.kind == Kind::Directory && scope::is_planning()? {
                    found.empty = self.is_empty_as_planned(found.empty, reader)?;
                }
                self.state(*found)
            }
            Answer::Absent => Ok(State::Absent),
            Answer::NoFolder => self.refuse_without_folder().map(|()| State::Absent),
        }
    }

    fn stands_on(&self) -> Option<&str> {
        self.host.stands_on()
    }

    fn imagined(&self) -> State {
        image::imagined(&self.host, self.path())
    }
}
