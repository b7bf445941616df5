//! Phases, steps, waiting, and resources written in Rhai.

mod manual;
pub(crate) mod notify;
pub mod outcome;
mod parallel;
mod say;
mod scripted;
mod step;
mod wait;

pub use manual::ManualOptions;
pub use scripted::Scripted;
pub use step::StepOptions;
pub use wait::{RetryOptions, WaitOptions};

use rhai::plugin::*;

/// Teaches the engine these primitives.
pub fn register(engine: &mut Engine) {
    engine.register_global_module(rhai::exported_module!(functions).into());
}

#[export_module]
#[allow(missing_docs, reason = "the generated names; the functions inside have their docs")]
mod functions {
    use rhai::{Array, Dynamic, EvalAltResult, FnPtr, Map, NativeCallContext};

    use crate::run::event::Level;

    type RhaiResultOf<T> = Result<T, Box<EvalAltResult>>;

    /// Says what the following steps are about: the plan's number and a title.
    ///
    /// ```rhai
    /// phase("3", "Virtual machines");
    /// ```
    #[rhai_fn(return_raw)]
    pub fn phase(id: &str, title: &str) -> RhaiResultOf<()> {
        super::step::phase(id, title)
    }

    /// A named, tracked unit of a playbook. Gives back what its body returns.
    ///
    /// ```rhai
    /// let answer = step("3.1", "the answer is known", || 42);
    /// ```
    #[rhai_fn(return_raw)]
    pub fn step(context: NativeCallContext, id: &str, title: &str, body: FnPtr) -> RhaiResultOf<Dynamic> {
        super::step::step(&context, id, title, Map::new(), &body)
    }

    /// A step with options: what must be approved before its first change, and the host that it is about.
    ///
    /// ```rhai
    /// step("1.5.2", "pve-01 restarts", #{ approve: "reboots pve-01", host: "pve-01" }, || info("would restart"));
    /// ```
    #[rhai_fn(name = "step", return_raw)]
    pub fn step_with(
        context: NativeCallContext,
        id: &str,
        title: &str,
        options: Map,
        body: FnPtr,
    ) -> RhaiResultOf<Dynamic> {
        super::step::step(&context, id, title, options, &body)
    }

    /// A step that a person does. `verify` is asked first; where it holds, nobody is asked.
    ///
    /// ```rhai
    /// manual("0.1.1", "the cables are labelled", #{ instructions: "Label both ends of each cable.", verify: || true });
    /// ```
    #[rhai_fn(return_raw)]
    pub fn manual(context: NativeCallContext, id: &str, title: &str, options: Map) -> RhaiResultOf<Dynamic> {
        super::manual::manual(&context, id, title, options)
    }

    /// Calls a closure for every item, several at once (`--jobs`), and gives back what it returned, in order. Each call
    /// gets its own copy of what the closure captured: combine results by what is returned.
    ///
    /// ```rhai
    /// let doubled = parallel([1, 2, 3], |number| number * 2);
    /// ```
    #[rhai_fn(return_raw)]
    pub fn parallel(context: NativeCallContext, items: Array, body: FnPtr) -> RhaiResultOf<Dynamic> {
        super::parallel::parallel(&context, items, &body)
    }

    /// Calls a closure until it answers something else than `false` or `()`, and gives that back.
    ///
    /// ```rhai
    /// wait_until(#{ what: "the sun is up", timeout: "5s", every: "1s" }, || true);
    /// ```
    #[rhai_fn(return_raw)]
    pub fn wait_until(context: NativeCallContext, options: Map, closure: FnPtr) -> RhaiResultOf<Dynamic> {
        super::wait::wait_until(&context, options, &closure)
    }

    /// Waits until a closure finds nothing wrong any more: it gives a list of complaints, and what it still finds in the end
    /// ends the step, all of it. A dry run looks once, and says what the run will wait for.
    ///
    /// ```rhai
    /// wait_until_clear(#{ what: "the cluster", timeout: "20s" },
    ///     || proxmox::connect().nodes().filter(|node| node.status != "online").map(|node| `${node.node} is offline`));
    /// ```
    #[rhai_fn(return_raw)]
    pub fn wait_until_clear(context: NativeCallContext, options: Map, closure: FnPtr) -> RhaiResultOf<()> {
        super::wait::wait_until_clear(&context, options, &closure)
    }

    /// Calls a closure again when it fails, and gives back what it returned in the end.
    ///
    /// ```rhai
    /// let answer = retry(#{ times: 3, delay: "1s" }, || "done");
    /// ```
    #[rhai_fn(return_raw)]
    pub fn retry(context: NativeCallContext, options: Map, closure: FnPtr) -> RhaiResultOf<Dynamic> {
        super::wait::retry(&context, options, &closure)
    }

    /// Brings a resource written in Rhai to its wanted state: read, compare, change the difference, read again to prove it.
    ///
    /// ```rhai
    /// let outcome = ensure(#{
    ///     address: "example:greeting",
    ///     read: || #{ text: "hello" },
    ///     want: #{ text: "hello" },
    /// });
    /// ```
    #[rhai_fn(return_raw)]
    pub fn ensure(context: NativeCallContext, resource: Map) -> RhaiResultOf<Map> {
        super::scripted::ensure(&context, resource)
    }

    /// Calls a closure where one of the outcomes changed something, in this run or in an earlier one that died before
    /// it came here.
    ///
    /// ```rhai
    /// let greeting = ensure(#{ address: "example:hi", read: || 1, want: 1 });
    /// on_change([greeting], || info("the greeting changed"));
    /// ```
    #[rhai_fn(return_raw)]
    pub fn on_change(context: NativeCallContext, outcomes: Dynamic, closure: FnPtr) -> RhaiResultOf<Dynamic> {
        super::notify::on_change(&context, outcomes, &closure)
    }

    /// Ends the step as blocked: a precondition does not hold, which must be put right first.
    ///
    /// ```rhai
    /// if "pve-09" in ["pve-01", "pve-02"] { block("pve-09 is to be repaired first") }
    /// ```
    #[rhai_fn(return_raw)]
    pub fn block(reason: &str) -> RhaiResultOf<()> {
        Err(super::say::block(reason))
    }

    /// Ends the step as failed.
    ///
    /// ```rhai
    /// if 2 + 2 != 4 { fail("this machine cannot count") }
    /// ```
    #[rhai_fn(return_raw)]
    pub fn fail(message: &str) -> RhaiResultOf<()> {
        Err(super::say::fail(message))
    }

    /// Says something that should be minded.
    ///
    /// ```rhai
    /// warn("the certificate ends in 20 days");
    /// ```
    #[rhai_fn(return_raw)]
    pub fn warn(text: Dynamic) -> RhaiResultOf<()> {
        super::say::say(Level::Warn, &super::say::shown(&text))
    }

    /// Says something that is good to know.
    ///
    /// ```rhai
    /// info(`${1 + 1} nodes are there`);
    /// ```
    #[rhai_fn(return_raw)]
    pub fn info(text: Dynamic) -> RhaiResultOf<()> {
        super::say::say(Level::Info, &super::say::shown(&text))
    }

    /// Asks whoever sits at the terminal, and gives back whether the answer was yes. A dry run does not know the answer.
    ///
    /// ```rhai
    /// if confirm("Go on with the next node?") { info("going on") }
    /// ```
    #[rhai_fn(return_raw)]
    pub fn confirm(question: &str) -> RhaiResultOf<Dynamic> {
        super::say::confirm(question)
    }
}
