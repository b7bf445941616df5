//! A clone that is made to see whether a template is good, and taken away again.

use super::super::handle::{Proxmox, REALM};
use super::super::vm::options::VmOptions;
use super::super::vm::resource::{Vm, cell as vm_cell};
use crate::clients::proxmox::{Params, segment};
use crate::error::{Class, Error, Result};
use crate::run::capability::Writer;
use crate::run::difference::Difference;
use crate::run::event::{Action, Level};
use crate::run::resource::{Cell, Fact, Machine, Reader, Resource};
use crate::run::scope;
use crate::run::value::{Map, State, Value};

/// A clone for a trial.
pub(super) struct Clone {
    pve: Proxmox,
    options: VmOptions,
}

/// Its end.
pub(super) struct Removal {
    pve: Proxmox,
    options: VmOptions,
}

fn address(options: &VmOptions) -> String {
    format!("{REALM}:trial-clone:{} ({})", options.vmid, options.name)
}

fn cell(options: &VmOptions) -> Cell {
    Cell::new(REALM, format!("trial-clone:{}", options.vmid))
}

/// What is told of it while it is there.
fn told(options: &VmOptions) -> State {
    let template = options.clone.map_or(Value::Null, Value::Int);
    State::Here(Value::Map(Map::from([
        ("clone".to_owned(), template),
        ("name".to_owned(), Value::text(&options.name)),
        ("node".to_owned(), Value::text(&options.node)),
    ])))
}

/// Its machine in the words of `pve.vm`.
fn machine(pve: &Proxmox, options: &VmOptions, absent: bool) -> Vm {
    let options = VmOptions { absent, allow_destroy: absent, ..options.clone() };
    Vm::new(pve.clone(), options)
}

/// Brings the machine to what is wanted of it, and looks whether it took.
fn bring(vm: &Vm, writer: &Writer) -> Result<()> {
    let difference = |reader: &Reader| {
        let have = vm.read(reader)?;
        let want = vm.want(&have)?;
        Ok::<_, Error>(Difference::between(&have, &want))
    };
    if let Some(difference) = difference(&Reader::default())? {
        vm.change(&difference, writer)?;
    }
    match difference(&Reader::default())? {
        None => Ok(()),
        Some(left) => {
            let fields: Vec<&str> = left.fields.iter().map(|field| field.path.as_str()).collect();
            Err(Error::new(Class::VerifyFailed, format!("{}: the change was accepted but did not take", vm.address()))
                .cause(format!("it differs in {}", fields.join(", "))))
        }
    }
}

impl Clone {
    pub(super) fn new(pve: &Proxmox, options: VmOptions) -> Result<Self> {
        if options.clone.is_none() {
            return Err(Error::new(Class::Script, "`trial_clone`: option `clone` is missing")
                .help("name the template that is tried: `clone: 9000`"));
        }
        Ok(Clone { pve: pve.clone(), options })
    }

    pub(super) fn removal(&self) -> Removal {
        Removal { pve: self.pve.clone(), options: self.options.clone() }
    }

    /// An error that leaves the machine where it is.
    pub(super) fn left(&self, error: Error) -> Error {
        let VmOptions { vmid, name, .. } = &self.options;
        error.cause(format!("VM {vmid} ({name}) may be left over: the next trial takes it away"))
    }
}

impl Fact for Clone {
    fn address(&self) -> String {
        address(&self.options)
    }

    fn cell(&self) -> Cell {
        cell(&self.options)
    }

    fn read(&self, reader: &Reader) -> Result<State> {
        // One of an earlier trial is no reason to do without this one; a machine of another name is a conflict.
        machine(&self.pve, &self.options, false).read(reader).map(|_| State::Absent)
    }
}

impl Resource for Clone {
    fn want(&self, _have: &State) -> Result<State> {
        Ok(told(&self.options))
    }

    fn change(&self, _difference: &Difference, writer: &Writer) -> Result<Map> {
        let left_over = machine(&self.pve, &self.options, true);
        if left_over.read(&Reader::default())? != State::Absent {
            let text = format!("{}: one of an earlier trial was left over; it is taken away first", self.address());
            scope::say(Level::Warn, text)?;
            bring(&left_over, writer)?;
        }
        bring(&machine(&self.pve, &self.options, false), writer)?;
        Ok(Map::new())
    }

    fn action(&self, _difference: &Difference) -> Action {
        Action::Create
    }

    fn stirs(&self) -> Vec<Cell> {
        vec![vm_cell(self.options.vmid)]
    }

    fn brings(&self, _difference: &Difference) -> Option<Machine> {
        Some(Machine { names: vec![self.options.name.clone()], new: true })
    }

    fn owns_cell(&self) -> bool {
        false
    }
}

impl Removal {
    /// Nothing of it is left on the storages either.
    fn check_volumes(&self) -> Result<()> {
        let VmOptions { vmid, node, storage, .. } = &self.options;
        let Some(storage) = storage else { return Ok(()) };
        let path = format!("/nodes/{}/storage/{}/content", segment(node), segment(storage));
        let rows = self.pve.get_now(&Reader::default(), &path, &Params::new().with("vmid", *vmid))?;
        let left: Vec<&str> =
            rows.as_array().into_iter().flatten().filter_map(|row| row.get("volid")?.as_str()).collect();
        if left.is_empty() {
            return Ok(());
        }
        Err(Error::new(Class::VerifyFailed, format!("{}: is gone, and left disks behind", self.address()))
            .cause(left.join(", "))
            .help(format!("take them away on {node}: pvesm free VOLUME")))
    }
}

impl Fact for Removal {
    fn address(&self) -> String {
        address(&self.options)
    }

    fn cell(&self) -> Cell {
        cell(&self.options)
    }

    fn read(&self, reader: &Reader) -> Result<State> {
        Ok(match machine(&self.pve, &self.options, true).read(reader)? {
            State::Absent => State::Absent,
            _ => told(&self.options),
        })
    }
}

impl Resource for Removal {
    fn want(&self, _have: &State) -> Result<State> {
        Ok(State::Absent)
    }

    fn change(&self, _difference: &Difference, writer: &Writer) -> Result<Map> {
        bring(&machine(&self.pve, &self.options, true), writer)?;
        self.check_volumes()?;
        Ok(Map::new())
    }

    fn stirs(&self) -> Vec<Cell> {
        vec![vm_cell(self.options.vmid)]
    }

    fn brings(&self, _difference: &Difference) -> Option<Machine> {
        Some(Machine { names: vec![self.options.name.clone()], new: false })
    }

    fn owns_cell(&self) -> bool {
        false
    }
}
