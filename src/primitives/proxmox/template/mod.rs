//! Templates of virtual machines, built from the image of a disk. A build goes through stages that can each be told from what
//! is there, so that one that was cut short goes on where it was.

mod build;
mod options;
mod seal;
mod trial;
mod work;

use std::sync::Arc;

use rhai::{Dynamic, FnPtr, Map as ScriptMap, NativeCallContext};

pub use options::TemplateOptions;

use self::build::Build;
use self::seal::Seal;
use self::work::Work;
use super::agent;
use super::handle::Proxmox;
use super::vm::options::VmOptions;
use crate::error::Result;
use crate::primitives::flow::outcome;
use crate::run::ensure::{Outcome, ensure};
use crate::run::scope;
use crate::run::value::{State, Value};
use crate::script::RhaiResult;
use crate::script::closure::with_copy_of_receiver;
use crate::script::context::options;
use crate::script::failure::fail;

/// Where a system keeps its id; one that gave it up to be copied says so there.
const MACHINE_ID: &str = "/etc/machine-id";
const UNINITIALIZED: &str = "uninitialized";
/// A key of its SSH server, which goes last.
const HOST_KEY: &str = "/etc/ssh/ssh_host_ed25519_key.pub";

/// Sees to it that a template is what its recipe says. Where it has to be built, `provision` is called once its machine runs.
pub(super) fn template(
    call: &NativeCallContext<'_>,
    pve: &Proxmox,
    map: ScriptMap,
    provision: &FnPtr,
) -> RhaiResult<ScriptMap> {
    let options: TemplateOptions = options(call, "pve.template", map)?;
    let work = Arc::new(Work::new(pve, options).map_err(fail)?);
    let built = ensure(&Arc::new(Build::new(&work))).map_err(fail)?;
    if is_provisioned_next(&work, &built).map_err(fail)? {
        let provision = with_copy_of_receiver(provision, &Dynamic::from(pve.clone()));
        let _told = provision.call_within_context::<Dynamic>(call, ())?;
    }
    let sealed = ensure(&Arc::new(Seal::new(&work))).map_err(fail)?;
    Ok(outcome::together(sealed, [built]))
}

/// Whether what is inside is still to be made: its machine runs, and has not given up what a copy must not have.
fn is_provisioned_next(work: &Work, built: &Outcome) -> Result<bool> {
    let State::Here(vm) = &built.after else { return Ok(true) };
    if vm.get("status").and_then(Value::as_text) != Some("running") {
        return Ok(false);
    }
    let (vmid, pve) = (work.options.vmid, &work.pve);
    if scope::is_planning()? && built.action.is_some() {
        return Ok(true);
    }
    let says = |file: &str| agent::file_of(pve, vmid, file);
    let is_generalised = says(MACHINE_ID)?.as_text() == Some(UNINITIALIZED) && says(HOST_KEY)? == Value::Null;
    Ok(!is_generalised)
}

/// Clones a machine for a trial, calls `check`, and takes the machine away again, whatever came of it.
pub(super) fn trial_clone(
    call: &NativeCallContext<'_>,
    pve: &Proxmox,
    map: ScriptMap,
    check: &FnPtr,
) -> RhaiResult<ScriptMap> {
    let options: VmOptions = options(call, "pve.trial_clone", map)?;
    let clone = Arc::new(trial::Clone::new(pve, options).map_err(fail)?);
    let made = ensure(&clone).map_err(|error| fail(clone.left(error)))?;
    let check = with_copy_of_receiver(check, &Dynamic::from(pve.clone()));
    let checked = check.call_within_context::<Dynamic>(call, ());
    let gone = ensure(&Arc::new(clone.removal())).map_err(|error| fail(clone.left(error)));
    let _told = checked?;
    Ok(outcome::together(made, [gone?]))
}
