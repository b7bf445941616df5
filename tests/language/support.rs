//! Runs small scripts and tells what happened.

use std::sync::{Arc, Mutex};

use homelab::error::{Class, Error};
use homelab::playbook::engine::{self, EngineOptions};
use homelab::run::deferral;
use homelab::run::event::Mode;
use homelab::run::secret::Secret;
use homelab::run::unknown::Unknown;
use homelab::run::value::Value;
use homelab::script::RhaiResult;
use homelab::script::convert::from_dynamic;
use homelab::script::failure::fail;
use rhai::{Dynamic, Engine, FnPtr, ImmutableString, Map, Module, NativeCallContext, Scope};

/// What happened.
#[derive(Debug)]
pub struct Told {
    /// The value of the last statement, or the error.
    pub outcome: RhaiResult<Dynamic>,
    /// Each deferred top-level statement: where, what it needs, what it was doing.
    pub deferred: Vec<String>,
    /// What `note(…)` was called with.
    pub notes: Vec<String>,
    /// What the script printed.
    pub printed: Vec<String>,
}

/// A dry run.
pub fn plan(script: &str) -> Told {
    perform(script, Mode::DryRun)
}

/// A real run.
pub fn run_for_real(script: &str) -> Told {
    perform(script, Mode::Run)
}

/// The mode of this thread.
pub fn mode_now() -> Mode {
    deferral::mode()
}

fn perform(script: &str, mode: Mode) -> Told {
    deferral::set_mode(mode);
    let (deferred, printed) = (Arc::new(Mutex::new(Vec::new())), Arc::new(Mutex::new(Vec::new())));
    let (report, print) = (deferred.clone(), printed.clone());
    NOTES.with_borrow_mut(Vec::clear);
    let engine = engine::build(EngineOptions {
        register: &[register],
        on_deferred: Arc::new(move |deferral, source, position| {
            let place = format!(
                "{} {}:{}",
                source.unwrap_or("?"),
                position.line().unwrap_or(0),
                position.position().unwrap_or(0)
            );
            report.lock().unwrap().push(format!("{place} needs {} ({})", deferral.needs.origin(), deferral.doing));
        }),
        on_print: Arc::new(move |text| print.lock().unwrap().push(text.to_owned())),
        ..EngineOptions::default()
    });
    let compiled = engine::compile(&engine, "main.rhai", script).unwrap_or_else(|error| panic!("{script}: {error}"));
    let outcome = engine::evaluate(&engine, &mut Scope::new(), &compiled);
    assert_eq!(deferral::take(), None, "a deferral was left behind: {script}");
    let (deferred, printed) = (deferred.lock().unwrap().clone(), printed.lock().unwrap().clone());
    Told { outcome, deferred, notes: NOTES.take(), printed }
}

thread_local! {
    static NOTES: std::cell::RefCell<Vec<String>> = const { std::cell::RefCell::new(Vec::new()) };
}

const ORIGIN: &str = "token.secret";

fn register(engine: &mut Engine) {
    engine
        .register_fn("unknown", || Unknown::from_origin(ORIGIN))
        .register_fn("unknown", |origin: &str| Unknown::from_origin(origin))
        .register_fn("maybe", || Unknown::from_origin(ORIGIN).maybe_absent())
        .register_fn("spent", || Unknown::from_origin(ORIGIN).spent())
        .register_fn("secret", |text: &str| Secret::new(text))
        .register_fn("half", |fields: Map| match from_dynamic(&fields.into()) {
            Ok(Value::Map(fields)) => Unknown::from_origin(ORIGIN).with_fields(fields),
            other => panic!("{other:?}"),
        });
    engine
        .register_fn("note", |value: Dynamic| {
            let shown = value.read_lock::<Unknown>().map(|unknown| unknown.template());
            NOTES.with_borrow_mut(|notes| notes.push(shown.unwrap_or_else(|| value.to_string())));
        })
        .register_fn("wants_text", |_: ImmutableString| {})
        .register_fn("wants_anything", |_: Dynamic| -> RhaiResult<()> {
            Err(fail(Error::new(Class::Failed, "wants_anything: no").help("say yes")))
        })
        .register_fn("wants_both", |_: &str, _: String, _: Dynamic| -> RhaiResult<()> {
            Err(fail(Error::new(Class::Failed, "wants_both: no")))
        })
        .register_fn("swallow", |context: NativeCallContext, closure: FnPtr| -> Dynamic {
            closure.call_within_context(&context, ()).unwrap_or(Dynamic::UNIT)
        })
        .register_fn("boundary", |context: NativeCallContext, closure: FnPtr| {
            let _outcome: RhaiResult<Dynamic> = closure.call_within_context(&context, ());
            deferral::take();
        });
    let mut texts = Module::new();
    texts.set_native_fn("upper", |text: ImmutableString| -> RhaiResult<String> { Ok(text.to_uppercase()) });
    engine.register_static_module("texts", texts.into());
}
