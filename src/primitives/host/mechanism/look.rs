//! Reading from a host on behalf of a script.

use rhai::Dynamic;

use super::super::handle::Host;
use super::entry::Entry;
use super::probe::{self, Amount};
use crate::error::{Class, Error, Result};
use crate::run::ensure;
use crate::run::resource::Fact;
use crate::run::scope::{self, Phase};
use crate::run::unknown::Unknown;
use crate::run::value::{Map, State, Value};
use crate::script::RhaiResult;
use crate::script::args::Maybe;
use crate::script::convert::to_dynamic;
use crate::script::failure::fail;

/// Reads a fact. What would be seen in the middle of a change that is only rehearsed is not known.
pub fn look(fact: &dyn Fact) -> Result<State> {
    if scope::with(|branch| branch.phase)? == Phase::Rehearse {
        return Ok(State::Unknown(Unknown::from_origin(fact.address())));
    }
    ensure::read(fact)
}

/// Where a host is, as the playbook said.
pub fn address(host: &Host) -> Dynamic {
    match &host.described().address {
        Some(Maybe::Known(address)) => address.clone().into(),
        Some(Maybe::Unknown(unknown)) => to_dynamic(&Value::Unknown(unknown.clone())),
        None => host.name().to_owned().into(),
    }
}

/// The content of a text file.
pub fn read(host: &Host, path: &str) -> RhaiResult<Dynamic> {
    let value = probe::normal_path("path", path).and_then(|path| {
        let entry = Entry::seen(host, &path, Amount::Whole);
        content(&entry.address(), look(&entry)?)
    });
    value.map(|value| to_dynamic(&value)).map_err(fail)
}

fn content(address: &str, state: State) -> Result<Value> {
    let mut map = match state {
        State::Absent => return Ok(Value::Null),
        State::Unknown(unknown) => return Ok(Value::Unknown(unknown.maybe_absent())),
        State::Here(Value::Map(map)) => map,
        State::Here(_) => Map::new(),
    };
    if let Some(kind) = map.get("kind").and_then(Value::as_text) {
        let what = if kind == "directory" { "a folder" } else { "no file" };
        return Err(Error::new(Class::Script, format!("{address}: is {what}"))
            .help("ask `h.exists(path)` where that is what you want to know"));
    }
    // A dry run keeps only the hash of a large content that it has planned.
    Ok(map.remove("content").unwrap_or_else(|| Value::Unknown(Unknown::from_origin(address))))
}

/// Whether something is there.
pub fn exists(host: &Host, path: &str) -> RhaiResult<Dynamic> {
    let state = probe::normal_path("path", path).and_then(|path| look(&Entry::seen(host, &path, Amount::Nothing)));
    Ok(match state.map_err(fail)? {
        State::Here(_) => Dynamic::TRUE,
        State::Absent => Dynamic::FALSE,
        State::Unknown(unknown) => to_dynamic(&Value::Unknown(unknown)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_be_there_may_also_be_absent() {
        let unknown = State::Unknown(Unknown::from_origin("web:/etc/hosts"));
        let Ok(Value::Unknown(unknown)) = content("web:/etc/hosts", unknown) else { panic!("it is unknown") };
        assert!(unknown.is_maybe_absent());
    }

    #[test]
    fn a_folder_has_no_content() {
        let folder = State::Here(Value::from(serde_json::json!({ "kind": "directory", "mode": "0755" })));
        assert!(content("web:/etc", folder).is_err());
        assert_eq!(content("web:/etc/x", State::Absent).ok(), Some(Value::Null));
    }
}
