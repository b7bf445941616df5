//! The language's list and map functions that ask a closure, made strict. The built-in ones read any answer that is
//! not `true` as "no", an unknown and an error in a comparison included; these refuse it.

use std::cmp::Ordering;
use std::panic::{AssertUnwindSafe, catch_unwind};

use rhai::{Array, Dynamic, Engine, FnPtr, FuncRegistration, ImmutableString, Map, NativeCallContext};
use rhai::{EvalAltResult, Position};

use crate::error::{Class, Error};
use crate::run::unknown::Unknown;
use crate::script::RhaiResult;
use crate::script::failure::{defer, fail};

type Context<'a> = NativeCallContext<'a>;

/// Replaces them.
pub(super) fn register(engine: &mut Engine) {
    asking(engine, "filter", true, filter);
    asking(engine, "some", true, some);
    asking(engine, "all", true, all);
    asking(engine, "drain", false, |context, items, closure| split(context, items, closure, "drain", true));
    asking(engine, "retain", false, |context, items, closure| split(context, items, closure, "retain", false));
    asking(engine, "find", true, |context, items, closure| find(context, items, closure, 0));
    asking(engine, "find_map", true, |context, items, closure| find_map(context, items, closure, 0));
    asking(engine, "index_of", true, |context, items, closure| index_of(context, items, closure, 0));
    asking_from(engine, "find", find);
    asking_from(engine, "find_map", find_map);
    asking_from(engine, "index_of", index_of);
    for name in ["sort", "sort_by"] {
        asking(engine, name, false, sort);
    }
    for name in ["order", "order_by"] {
        asking(engine, name, false, |context, items, closure| {
            let mut ordered = items.clone();
            sort(context, &mut ordered, closure)?;
            Ok(ordered)
        });
    }
    asking(engine, "dedup", false, |context, items, closure| {
        dedup(items, |left, right| {
            let answer = closure.call_raw(context, None, [left.clone(), right.clone()])?;
            decide(answer, "dedup")
        })
    });
    FuncRegistration::new("dedup")
        .with_purity(false)
        .register_into_engine(engine, |context: Context, items: &mut Array| {
            dedup(items, |left, right| equal(&context, left, right))
        });
    register_maps(engine);
    engine.register_fn("sleep", |_: i64| no_sleep()).register_fn("sleep", |_: f64| no_sleep());
}

/// A dry run must not wait, and a run must be able to end while it does.
fn no_sleep() -> RhaiResult<()> {
    let error = Error::new(Class::Script, "sleep: a playbook waits for something");
    Err(fail(error.help("say for what: wait_until(#{ what: \"…\", timeout: \"5m\" }, || …)")))
}

/// Registers a function of a list and a closure, and the same where the closure is given by its name.
fn asking<R: Clone + Send + Sync + 'static>(
    engine: &mut Engine,
    name: &str,
    pure: bool,
    function: fn(&Context, &mut Array, &FnPtr) -> RhaiResult<R>,
) {
    FuncRegistration::new(name)
        .with_purity(pure)
        .register_into_engine(engine, move |context: Context, items: &mut Array, closure: FnPtr| {
            function(&context, items, &closure)
        });
    FuncRegistration::new(name).with_purity(pure).register_into_engine(
        engine,
        move |context: Context, items: &mut Array, closure: ImmutableString| {
            function(&context, items, &FnPtr::new(closure)?)
        },
    );
}

/// The same from an index on.
fn asking_from<R: Clone + Send + Sync + 'static>(
    engine: &mut Engine,
    name: &str,
    function: fn(&Context, &mut Array, &FnPtr, i64) -> RhaiResult<R>,
) {
    engine.register_fn(name, move |context: Context, items: &mut Array, closure: FnPtr, start: i64| {
        function(&context, items, &closure, start)
    });
}

/// What a closure answered, where only yes and no are answers.
fn decide(answer: Dynamic, name: &str) -> RhaiResult<bool> {
    if let Some(unknown) = answer.read_lock::<Unknown>() {
        return Err(defer(&unknown, name));
    }
    answer.as_bool().map_err(|given| {
        let message = format!("{name}: its closure answers {}, not true or false", short(given));
        fail(Error::new(Class::Script, message))
    })
}

fn short(type_name: &str) -> &str {
    match type_name.rsplit("::").next().unwrap_or(type_name) {
        "()" => "nothing",
        name => name,
    }
}

fn ask(context: &Context, closure: &FnPtr, item: &mut Dynamic, index: usize, name: &str) -> RhaiResult<Dynamic> {
    let index = i64::try_from(index).unwrap_or(i64::MAX);
    closure.call_raw_with_extra_args(name, context, Some(item), [], [index.into()], Some(0))
}

fn holds(context: &Context, closure: &FnPtr, item: &mut Dynamic, index: usize, name: &str) -> RhaiResult<bool> {
    decide(ask(context, closure, item, index, name)?, name)
}

fn filter(context: &Context, items: &mut Array, closure: &FnPtr) -> RhaiResult<Array> {
    let mut kept = Array::new();
    for (index, item) in items.iter_mut().enumerate() {
        if holds(context, closure, item, index, "filter")? {
            kept.push(item.clone());
        }
    }
    Ok(kept)
}

fn some(context: &Context, items: &mut Array, closure: &FnPtr) -> RhaiResult<bool> {
    for (index, item) in items.iter_mut().enumerate() {
        if holds(context, closure, item, index, "some")? {
            return Ok(true);
        }
    }
    Ok(false)
}

fn all(context: &Context, items: &mut Array, closure: &FnPtr) -> RhaiResult<bool> {
    for (index, item) in items.iter_mut().enumerate() {
        if !holds(context, closure, item, index, "all")? {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Takes out the items for which the closure answers `taken`.
fn split(context: &Context, items: &mut Array, closure: &FnPtr, name: &str, taken: bool) -> RhaiResult<Array> {
    let mut out = Array::new();
    let (mut place, mut index) = (0, 0);
    while place < items.len() {
        if holds(context, closure, &mut items[place], index, name)? == taken {
            out.push(items.remove(place));
        } else {
            place += 1;
        }
        index += 1;
    }
    Ok(out)
}

/// Where a search begins: a negative start counts from the end.
fn offset(length: usize, start: i64) -> usize {
    match usize::try_from(start) {
        Ok(start) => start.min(length),
        Err(_) => length.saturating_sub(usize::try_from(start.unsigned_abs()).unwrap_or(usize::MAX)),
    }
}

fn position(context: &Context, items: &mut Array, closure: &FnPtr, start: i64) -> RhaiResult<Option<usize>> {
    let start = offset(items.len(), start);
    for (index, item) in items.iter_mut().enumerate().skip(start) {
        if holds(context, closure, item, index, "index_of")? {
            return Ok(Some(index));
        }
    }
    Ok(None)
}

fn index_of(context: &Context, items: &mut Array, closure: &FnPtr, start: i64) -> RhaiResult<i64> {
    let found = position(context, items, closure, start)?;
    Ok(found.and_then(|index| i64::try_from(index).ok()).unwrap_or(-1))
}

fn find(context: &Context, items: &mut Array, closure: &FnPtr, start: i64) -> RhaiResult<Dynamic> {
    let found = position(context, items, closure, start)?;
    Ok(found.and_then(|index| items.get(index)).cloned().unwrap_or(Dynamic::UNIT))
}

fn find_map(context: &Context, items: &mut Array, closure: &FnPtr, start: i64) -> RhaiResult<Dynamic> {
    let start = offset(items.len(), start);
    for (index, item) in items.iter_mut().enumerate().skip(start) {
        let answer = ask(context, closure, item, index, "find_map")?;
        if let Some(unknown) = answer.read_lock::<Unknown>()
            && unknown.is_maybe_absent()
        {
            return Err(defer(&unknown, "find_map"));
        }
        if !answer.is_unit() {
            return Ok(answer);
        }
    }
    Ok(Dynamic::UNIT)
}

fn equal(context: &Context, left: &Dynamic, right: &Dynamic) -> RhaiResult<bool> {
    let answer = context.call_native_fn_raw("==", true, &mut [&mut left.clone(), &mut right.clone()]);
    match answer {
        Ok(answer) => decide(answer, "dedup"),
        // Types that know no equality are not equal.
        Err(error) if matches!(&*error, EvalAltResult::ErrorFunctionNotFound(name, _) if name.starts_with("==")) => {
            Ok(false)
        }
        Err(error) => Err(error),
    }
}

fn dedup(items: &mut Array, mut same: impl FnMut(&Dynamic, &Dynamic) -> RhaiResult<bool>) -> RhaiResult<()> {
    let mut failed = None;
    items.dedup_by(|right, left| {
        failed.is_none()
            && same(left, right).unwrap_or_else(|error| {
                failed = Some(error);
                false
            })
    });
    failed.map_or(Ok(()), Err)
}

fn sort(context: &Context, items: &mut Array, closure: &FnPtr) -> RhaiResult<()> {
    let mut failed = None;
    let mut order = |left: &Dynamic, right: &Dynamic| {
        if failed.is_some() {
            return Ordering::Equal;
        }
        compare(context, closure, left, right).unwrap_or_else(|error| {
            failed = Some(error);
            Ordering::Equal
        })
    };
    // Sorting may panic where the closure's answers contradict each other.
    let sorted = catch_unwind(AssertUnwindSafe(|| items.sort_by(&mut order)));
    match (failed, sorted) {
        (Some(error), _) => Err(error),
        (None, Ok(())) => Ok(()),
        (None, Err(_)) => {
            let message = "error in comparer for sorting".into();
            Err(Box::new(EvalAltResult::ErrorRuntime(message, Position::NONE)))
        }
    }
}

fn compare(context: &Context, closure: &FnPtr, left: &Dynamic, right: &Dynamic) -> RhaiResult<Ordering> {
    let answer = closure.call_raw(context, None, [left.clone(), right.clone()])?;
    if let Some(unknown) = answer.read_lock::<Unknown>() {
        return Err(defer(&unknown, "sort"));
    }
    if let Ok(number) = answer.as_int() {
        return Ok(number.cmp(&0));
    }
    match answer.as_bool() {
        Ok(true) => Ok(Ordering::Less),
        Ok(false) => Ok(Ordering::Greater),
        Err(given) => {
            let message = format!("sort: its closure answers {}, not a number or true or false", short(given));
            Err(fail(Error::new(Class::Script, message)))
        }
    }
}

fn register_maps(engine: &mut Engine) {
    engine.register_fn("filter", |context: Context, map: &mut Map, closure: FnPtr| -> RhaiResult<Map> {
        let mut kept = Map::new();
        for (key, item) in map.iter_mut() {
            if entry_holds(&context, &closure, key, item, "filter")? {
                kept.insert(key.clone(), item.clone());
            }
        }
        Ok(kept)
    });
    for (name, taken) in [("drain", true), ("retain", false)] {
        FuncRegistration::new(name)
            .with_purity(false)
            .register_into_engine(engine, move |context: Context, map: &mut Map, closure: FnPtr| {
                split_map(&context, map, &closure, name, taken)
            });
    }
}

fn entry_holds(context: &Context, closure: &FnPtr, key: &str, item: &mut Dynamic, name: &str) -> RhaiResult<bool> {
    decide(closure.call_raw_with_extra_args(name, context, Some(item), [key.into()], [], Some(1))?, name)
}

fn split_map(context: &Context, map: &mut Map, closure: &FnPtr, name: &str, taken: bool) -> RhaiResult<Map> {
    let mut answers = Vec::with_capacity(map.len());
    for (key, item) in map.iter_mut() {
        answers.push((key.clone(), entry_holds(context, closure, key, item, name)?));
    }
    let out = answers.into_iter().filter(|(_, answer)| *answer == taken);
    Ok(out.filter_map(|(key, _)| map.remove_entry(&key)).collect())
}
