//! The clock: a read like any other, so that a plan can name it as the cause where it changed something.

use rhai::plugin::*;

use super::local::REALM;
use crate::error::{Class, Error, Result};
use crate::run::ensure;
use crate::run::resource::{Cell, Fact, Reader};
use crate::run::value::{State, Value};

/// Teaches the engine these functions.
pub(super) fn register(engine: &mut Engine) {
    engine.register_static_module("time", rhai::exported_module!(time_functions).into());
}

struct Clock;

impl Fact for Clock {
    fn address(&self) -> String {
        "local:clock".to_owned()
    }

    fn cell(&self) -> Cell {
        // Nothing that a run does changes the clock, so it is not part of what a command may touch.
        Cell::new(format!("{REALM}-clock"), "now")
    }

    fn is_alterable(&self) -> bool {
        false
    }

    fn read(&self, _reader: &Reader) -> Result<State> {
        Ok(State::Here(Value::Int(jiff::Timestamp::now().as_second())))
    }
}

/// The time as a text, or unknown.
pub(super) fn now(format: &str) -> Result<Value> {
    Ok(match ensure::read(&Clock)? {
        State::Here(Value::Int(seconds)) => {
            let moment = jiff::Timestamp::from_second(seconds)
                .map_err(|error| Error::new(Class::Failed, "local:clock: shows no time").cause(error))?;
            Value::Text(moment.strftime(format).to_string())
        }
        other => other.into_value(),
    })
}

fn seconds(text: &str) -> Result<i64> {
    text.parse().map(|moment: jiff::Timestamp| moment.as_second()).map_err(|error| {
        Error::new(Class::InputMissing, format!("`{text}` is no point in time"))
            .cause(error)
            .help("it looks like 2026-10-01T12:00:00Z")
    })
}

#[export_module]
#[allow(missing_docs, reason = "the generated names; the functions inside have their docs")]
mod time_functions {
    use rhai::{Dynamic, EvalAltResult};

    use crate::primitives::inputs::taint::{compute, text};
    use crate::script::convert::to_dynamic;
    use crate::script::failure::fail;

    type RhaiResultOf<T> = Result<T, Box<EvalAltResult>>;

    /// The time, in UTC: `2026-10-01T12:00:00Z`.
    ///
    /// ```rhai
    /// let at = time::now();
    /// ```
    #[rhai_fn(return_raw)]
    pub fn now() -> RhaiResultOf<Dynamic> {
        super::now("%Y-%m-%dT%H:%M:%SZ").map(|now| to_dynamic(&now)).map_err(fail)
    }

    /// The day, in UTC: `2026-10-01`.
    ///
    /// ```rhai
    /// let day = time::today();
    /// ```
    #[rhai_fn(return_raw)]
    pub fn today() -> RhaiResultOf<Dynamic> {
        super::now("%Y-%m-%d").map(|today| to_dynamic(&today)).map_err(fail)
    }

    /// The seconds since 1970 of a point in time.
    ///
    /// ```rhai
    /// time::seconds("1970-01-01T00:01:00Z") == 60
    /// ```
    #[rhai_fn(return_raw)]
    pub fn seconds(moment: Dynamic) -> RhaiResultOf<Dynamic> {
        compute(&[&moment], || super::seconds(&text("time::seconds", &moment)?))
    }
}
