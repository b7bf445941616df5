//! Closures of a script, called by our functions.

use rhai::{Array, Dynamic, FnPtr, Map, NativeCallContext};

use super::RhaiResult;

/// Captured values nest no deeper than this; a closure that captures itself would go on for ever.
const DEPTH: usize = 32;

/// Calls a closure. Its errors and deferrals are to be handed on as they are.
pub fn call(context: &NativeCallContext, closure: &FnPtr, arguments: impl AsMut<[Dynamic]>) -> RhaiResult<Dynamic> {
    closure.call_raw(context, None, arguments)
}

/// The closure with copies of what it captured. Closures share captured variables behind a lock, and a method on one
/// that another thread holds fails as a data race.
#[must_use]
pub fn detach(closure: &FnPtr) -> FnPtr {
    detach_closure(closure, DEPTH)
}

/// The closure for a method whose receiver it captured. The call itself holds the receiver, so that whoever touches it inside
/// fails as a data race: the closure gets a copy in its place. Other variables stay shared with the script around it.
#[must_use]
pub fn with_copy_of_receiver(closure: &FnPtr, receiver: &Dynamic) -> FnPtr {
    let mut copy = closure.clone();
    let held = |captured: &&mut Dynamic| captured.is_shared() && captured.read_lock::<Dynamic>().is_none();
    copy.iter_curry_mut().filter(held).for_each(|captured| *captured = receiver.clone());
    copy
}

fn detach_closure(closure: &FnPtr, depth: usize) -> FnPtr {
    let mut copy = closure.clone();
    if depth > 0 {
        copy.iter_curry_mut().for_each(|captured| *captured = detach_value(captured, depth - 1));
    }
    copy
}

fn detach_value(value: &Dynamic, depth: usize) -> Dynamic {
    let flat = value.flatten_clone();
    if let Some(closure) = flat.read_lock::<FnPtr>() {
        return Dynamic::from(detach_closure(&closure, depth));
    }
    if depth == 0 {
        return flat.clone();
    }
    if let Some(items) = flat.read_lock::<Array>() {
        return Dynamic::from_array(items.iter().map(|item| detach_value(item, depth - 1)).collect());
    }
    if let Some(map) = flat.read_lock::<Map>() {
        let copy: Map = map.iter().map(|(key, item)| (key.clone(), detach_value(item, depth - 1))).collect();
        return Dynamic::from_map(copy);
    }
    flat.clone()
}
