//! The engine: its limits, how a run ends, and closures that primitives call.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use homelab::error::{Class, Error};
use homelab::playbook::engine::{self, EngineOptions};
use homelab::script::closure::{call, detach};
use homelab::script::failure::as_error;
use homelab::script::stack;
use homelab::script::{self, RhaiResult};
use rhai::{Array, Dynamic, Engine, FnPtr, NativeCallContext, Scope};

fn evaluate(engine: &Engine, script: &str) -> RhaiResult<Dynamic> {
    let compiled = engine::compile(engine, "main.rhai", script).unwrap_or_else(|error| panic!("{script}: {error}"));
    engine::evaluate(engine, &mut Scope::new(), &compiled)
}

fn options(register: &'static [fn(&mut Engine)]) -> EngineOptions<'static> {
    EngineOptions { register, ..EngineOptions::default() }
}

fn on_a_scripts_thread(work: impl FnOnce() + Send) {
    std::thread::scope(|scope| stack::spawn(scope, "script", work).expect("a thread starts").join())
        .expect("it ends well");
}

#[track_caller]
fn does_not_compile(text: &str) -> Error {
    engine::compile(&engine::build(EngineOptions::default()), "main.rhai", text).unwrap_err()
}

#[test]
fn an_endless_loop_ends_when_the_run_is_cancelled_and_nothing_catches_that() {
    let cancel = Arc::new(AtomicBool::new(false));
    let engine = engine::build(EngineOptions {
        cancel: cancel.clone(),
        register: &[|engine| {
            engine.register_fn("started", || STARTED.store(true, Ordering::SeqCst));
        }],
        ..EngineOptions::default()
    });
    static STARTED: AtomicBool = AtomicBool::new(false);
    let canceller = std::thread::spawn(move || {
        while !STARTED.load(Ordering::SeqCst) {
            std::thread::yield_now();
        }
        cancel.store(true, Ordering::SeqCst);
    });
    let error = evaluate(&engine, "loop { try { started(); loop { } } catch { } }").unwrap_err();
    canceller.join().unwrap();
    assert_eq!(as_error(&error).unwrap().class(), Class::Interrupted);
}

#[test]
fn a_panic_in_a_function_is_a_defect_and_not_the_end_of_the_program() {
    let engine = engine::build(options(&[|engine| {
        engine.register_fn("burst", || -> i64 { panic!("a broken promise") });
    }]));
    let compiled = engine::compile(&engine, "main.rhai", "let x = burst();").unwrap();
    let error = as_error(&engine::run(&engine, &compiled).unwrap_err()).unwrap();
    assert_eq!(error.class(), Class::Bug);
    assert_eq!(error.causes(), ["a broken promise"]);
}

#[test]
fn a_syntax_error_points_at_its_place_and_a_first_line_for_the_shell_moves_nothing() {
    let error = does_not_compile("#!/usr/bin/env homelab\nlet x = 1;\nlet 5 = 2;");
    assert_eq!(error.class(), Class::Script);
    let label = &error.labels()[0];
    assert_eq!((label.file.as_str(), &label.text[label.span.clone()]), ("main.rhai", "5"));
    let engine = engine::build(EngineOptions::default());
    assert_eq!(evaluate(&engine, "#!/usr/bin/env homelab\n41 + 1").unwrap().as_int(), Ok(42));
}

#[test]
fn a_name_that_nobody_declared_is_found_before_running() {
    assert!(does_not_compile("let x = 1; if x == 2 { y + 1 }").message().contains("y"));
    assert!(does_not_compile("nowhere::f()").message().contains("nowhere"));
}

#[test]
fn there_is_no_eval_no_clock_and_no_sleep() {
    assert!(does_not_compile("eval(\"1\")").message().contains("eval"));
    let engine = engine::build(EngineOptions::default());
    let error = evaluate(&engine, "timestamp()").unwrap_err().to_string();
    assert!(error.starts_with("Function not found: timestamp"), "{error}");
    let error = as_error(&evaluate(&engine, "sleep(100000)").unwrap_err()).unwrap();
    assert!(error.help_text().unwrap().contains("wait_until"));
    // They are only names.
    assert_eq!(evaluate(&engine, "#{ timestamp: 1, sleep: 2 }.timestamp").unwrap().as_int(), Ok(1));
}

#[test]
fn the_limits_end_what_would_grow_for_ever() {
    on_a_scripts_thread(|| {
        let engine = engine::build(EngineOptions::default());
        for script in [
            "fn f(x) { f(x + 1) } f(0)",
            "fn f(x) { if x >= 0 { switch x { _ => { [x].map(|y| `${f(y + 1)}`) } } } } f(0)",
            "let s = \"x\"; loop { s += s; }",
            "let a = [1]; loop { a += a; }",
        ] {
            let error = evaluate(&engine, script).unwrap_err().to_string();
            assert!(error.contains("overflow") || error.contains("too large"), "{script}: {error}");
        }
    });
}

#[test]
fn deep_nesting_is_refused_and_does_not_break_the_program() {
    let nested = |depth: usize| format!("{}1{}", "[".repeat(depth), "]".repeat(depth));
    on_a_scripts_thread(|| {
        let engine = engine::build(EngineOptions::default());
        assert!(evaluate(&engine, &nested(60)).is_ok());
        assert!(does_not_compile(&nested(500)).message().contains("nested too deep"));
    });
}

#[test]
fn a_primitive_calls_a_closure_and_hands_its_error_on_whole() {
    let engine = engine::build(options(&[|engine| {
        engine.register_fn("around", |context: NativeCallContext, closure: FnPtr| call(&context, &closure, [5.into()]));
        engine.register_fn("fails", || -> RhaiResult<()> {
            Err(script::failure::fail(Error::new(Class::Conflict, "vm 100: locked")))
        });
    }]));
    assert_eq!(evaluate(&engine, "let n = 2; around(|x| x * n)").unwrap().as_int(), Ok(10));
    let error = evaluate(&engine, "around(|x| fails())").unwrap_err();
    assert_eq!(as_error(&error).unwrap().class(), Class::Conflict);
}

fn parallel(context: NativeCallContext, items: Array, body: FnPtr) -> RhaiResult<Array> {
    let (context, body) = (&context, &body);
    std::thread::scope(|scope| {
        let branches: Vec<_> = items
            .into_iter()
            .map(|item| {
                let body = detach(body);
                stack::spawn(scope, "branch", move || call(context, &body, [item])).expect("a thread starts")
            })
            .collect();
        branches.into_iter().map(|branch| branch.join().expect("the branch does not panic")).collect()
    })
}

#[test]
fn detached_closures_run_in_parallel_on_copies_of_what_they_captured() {
    let engine = engine::build(options(&[|engine| {
        engine.register_fn("parallel", parallel);
    }]));
    let script = "
        let n = 0;
        let inner = #{ add: |x| { for i in 0..200 { n += x; } n }, list: [[|| n]] };
        let results = parallel([1, 2, 3, 4, 5, 6, 7, 8], |x| {
            for i in 0..200 { n += x; }
            [n, inner.add.call(x), inner.list[0][0].call()]
        });
        results.push(n);
        results";
    let results = evaluate(&engine, script).unwrap().into_array().unwrap();
    // Each branch has counted for itself, and so have the closures that it captured.
    for (index, result) in results[..8].iter().enumerate() {
        let expected = format!("[{0}, {0}, 0]", 200 * (index + 1));
        assert_eq!(format!("{result:?}"), expected);
    }
    assert_eq!(results[8].as_int(), Ok(0));
}

#[test]
fn a_closure_that_captured_itself_can_be_detached() {
    let engine = engine::build(options(&[|engine| {
        engine.register_fn("detached", |closure: FnPtr| detach(&closure));
    }]));
    let script = "let f = (); let f2 = |n| if n == 0 { 0 } else { 1 }; f = || f2.call(1); detached(f).call()";
    assert_eq!(evaluate(&engine, script).unwrap().as_int(), Ok(1));
    let script = "let f = 1; f = |n| if n == 0 { 7 } else { f.call(n - 1) }; detached(f); 5";
    assert_eq!(evaluate(&engine, script).unwrap().as_int(), Ok(5));
}
