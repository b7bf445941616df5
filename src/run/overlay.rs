//! What a dry run believes: the cells as they will be after the changes planned so far, and what it cannot see any more.

use std::collections::{BTreeMap, HashMap};

use super::resource::{Cell, Machine};
use super::unknown::Unknown;
use super::value::State;

/// A cell as it will be.
#[derive(Debug, Clone)]
pub struct Planned {
    /// Its state then.
    pub state: State,
    /// The change that made it so, by address.
    pub by: String,
}

/// What a dry run believes. A branch of `parallel` starts with a copy and hands back what it planned.
#[derive(Debug, Clone, Default)]
pub struct Overlay {
    cells: HashMap<Cell, Planned>,
    /// API paths whose answers a planned change would alter.
    stale_paths: BTreeMap<String, Unknown>,
    /// Realms in which something is planned to change: commands may see it.
    changed_realms: BTreeMap<String, Unknown>,
    machines: BTreeMap<String, (Machine, Unknown)>,
    gone: BTreeMap<String, String>,
    fog: Fog,
}

/// Where a deferred step or an opaque command may have changed anything.
#[derive(Debug, Clone, Default)]
struct Fog {
    everywhere: Option<Unknown>,
    realms: BTreeMap<String, Unknown>,
    cells: HashMap<Cell, Unknown>,
}

/// How far fog spreads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Spread {
    /// Over everything: nobody knows what it touches.
    Everywhere,
    /// Over these realms.
    Realms(Vec<String>),
}

impl Overlay {
    /// The cell as it will be, where a change of it is planned.
    pub fn cell(&self, cell: &Cell) -> Option<&Planned> {
        self.cells.get(cell)
    }

    /// All cells with planned changes.
    pub fn cells(&self) -> impl Iterator<Item = (&Cell, &Planned)> {
        self.cells.iter()
    }

    /// Plans a cell.
    pub fn put(&mut self, cell: Cell, state: State, by: &str) {
        let cause = Unknown::from_origin(by);
        self.changed_realms.insert(cell.realm.clone(), cause);
        // What the author declared to be unknown there is known again once it is set.
        self.fog.cells.remove(&cell);
        self.cells.insert(cell, Planned { state, by: by.to_owned() });
    }

    /// Notes the API paths that the read of a changed thing asked for.
    pub fn make_stale(&mut self, paths: impl IntoIterator<Item = String>, by: &str) {
        for path in paths {
            self.stale_paths.insert(path, Unknown::from_origin(by));
        }
    }

    /// Why the answer of a raw read cannot be trusted: a planned change touched the path, one above or one below it.
    pub fn staleness_of(&self, path: &str) -> Option<&Unknown> {
        self.stale_paths
            .iter()
            .find(|(stale, _)| is_within(stale, path) || is_within(path, stale))
            .map(|(_, cause)| cause)
    }

    /// Why a command in this realm may see something else than it would now.
    pub fn change_in(&self, realm: &str) -> Option<&Unknown> {
        self.changed_realms.get(realm).or_else(|| self.fog.realms.get(realm)).or(self.fog.everywhere.as_ref())
    }

    /// Why what stands on these cells of a realm may be something else than now: one of them is planned to change, or nobody
    /// knows what is.
    pub fn change_among(&self, realm: &str, counts: impl Fn(&Cell) -> bool) -> Option<Unknown> {
        let counts = |cell: &Cell| cell.realm == realm && counts(cell);
        let planned = self.cells.iter().find(|(cell, _)| counts(cell));
        let planned = planned.map(|(_, planned)| Unknown::from_origin(&planned.by));
        let declared = || self.fog.cells.iter().find(|(cell, _)| counts(cell)).map(|(_, cause)| cause.clone());
        self.fog_over_realm(realm).cloned().or(planned).or_else(declared)
    }

    /// Plans a machine.
    pub fn bring(&mut self, machine: Machine, by: &str) {
        for name in &machine.names {
            self.gone.remove(name);
            self.machines.insert(name.clone(), (machine.clone(), Unknown::from_origin(by)));
        }
    }

    /// Plans the end of a machine.
    pub fn take_away(&mut self, machine: &Machine, by: &str) {
        for name in &machine.names {
            self.machines.remove(name);
            self.gone.insert(name.clone(), by.to_owned());
        }
    }

    /// The machine that will answer to a name or address, where it is only planned.
    pub fn machine(&self, name: &str) -> Option<&(Machine, Unknown)> {
        self.machines.get(name)
    }

    /// What will have taken the machine away.
    pub fn gone(&self, name: &str) -> Option<&str> {
        self.gone.get(name).map(String::as_str)
    }

    /// Lets fog rise.
    pub fn spread(&mut self, spread: &Spread, cause: &Unknown) {
        match spread {
            Spread::Everywhere => self.fog.everywhere = Some(cause.clone()),
            Spread::Realms(realms) => {
                for realm in realms {
                    self.fog.realms.insert(realm.clone(), cause.clone());
                }
            }
        }
    }

    /// Makes single cells unknown: what a command was declared to bring about.
    pub fn spread_over_cells(&mut self, cells: &[Cell], cause: &Unknown) {
        for cell in cells {
            self.cells.remove(cell);
            self.fog.cells.insert(cell.clone(), cause.clone());
            self.changed_realms.insert(cell.realm.clone(), cause.clone());
        }
    }

    /// The fog over the realm of a cell or everything.
    pub fn fog_over(&self, cell: &Cell) -> Option<&Unknown> {
        self.fog_over_realm(&cell.realm)
    }

    /// The fog over a realm or everything.
    pub fn fog_over_realm(&self, realm: &str) -> Option<&Unknown> {
        self.fog.realms.get(realm).or(self.fog.everywhere.as_ref())
    }

    /// The fog over what an API path may show. The path does not say whose it is, but it is no host's.
    pub fn fog_over_paths(&self) -> Option<&Unknown> {
        let realm = self.fog.realms.iter().find(|(realm, _)| !realm.starts_with("host:"));
        realm.map(|(_, cause)| cause).or(self.fog.everywhere.as_ref())
    }

    /// What a command was declared to bring about in this very cell.
    pub fn declared_unknown(&self, cell: &Cell) -> Option<&Unknown> {
        self.fog.cells.get(cell)
    }

    /// Takes over what a branch planned, which began with `start`.
    pub fn absorb(&mut self, start: &Overlay, branch: Overlay, written: impl IntoIterator<Item = Cell>) {
        for cell in branch.fog.cells.keys().filter(|cell| !start.fog.cells.contains_key(*cell)) {
            self.cells.remove(cell);
        }
        for cell in written {
            if let Some(planned) = branch.cells.get(&cell) {
                self.fog.cells.remove(&cell);
                self.cells.insert(cell, planned.clone());
            }
        }
        for (cell, cause) in branch.fog.cells {
            if !self.cells.contains_key(&cell) {
                self.fog.cells.insert(cell, cause);
            }
        }
        self.stale_paths.extend(branch.stale_paths);
        self.changed_realms.extend(branch.changed_realms);
        self.absorb_machines(start, branch.machines, branch.gone);
        self.fog.everywhere = branch.fog.everywhere.or(self.fog.everywhere.take());
        self.fog.realms.extend(branch.fog.realms);
    }

    /// Only what the branch itself brought or took away: the rest may be older than what its siblings did.
    fn absorb_machines(
        &mut self,
        start: &Overlay,
        machines: BTreeMap<String, (Machine, Unknown)>,
        gone: BTreeMap<String, String>,
    ) {
        for (name, machine) in machines.into_iter().filter(|(name, it)| start.machines.get(name) != Some(it)) {
            self.gone.remove(&name);
            self.machines.insert(name, machine);
        }
        for (name, by) in gone.into_iter().filter(|(name, _)| !start.gone.contains_key(name)) {
            self.machines.remove(&name);
            self.gone.insert(name, by);
        }
    }
}

/// Whether `path` is `parent` or lies below it. What comes after `?` does not count.
fn is_within(path: &str, parent: &str) -> bool {
    let path = path.split('?').next().unwrap_or(path).trim_end_matches('/');
    let parent = parent.split('?').next().unwrap_or(parent).trim_end_matches('/');
    path == parent || path.strip_prefix(parent).is_some_and(|rest| rest.starts_with('/'))
}
