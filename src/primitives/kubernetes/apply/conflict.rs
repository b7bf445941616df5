//! Refusals of an apply, in words that say whose fields they are about.

use std::collections::BTreeMap;

use super::object::Applied;
use crate::clients::kubernetes::{ApiError, Failure};
use crate::clients::ssh::quote;
use crate::error::{Class, Error, Result};
use crate::run::resource::Fact as _;
use crate::run::value::Value;

/// Says of an object why it was not applied.
pub(super) fn explain(failure: Failure, object: &Applied) -> Error {
    let address = object.address();
    let Some(refused) = failure.api().filter(|refused| refused.is_about_ownership()) else {
        return Error::from(failure).context(format!("{address}: it cannot be applied"));
    };
    let mut owners: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for cause in &refused.causes {
        owners.entry(owner(&cause.message)).or_default().push(&cause.field);
    }
    let names: Vec<&str> = owners.keys().copied().collect();
    let error = Error::new(Class::Conflict, format!("{address}: fields of {} would be changed", names.join(" and ")));
    let error =
        refused.causes.iter().fold(error, |error, cause| error.cause(format!("{}: {}", cause.field, cause.message)));
    error.help("leave these fields out, so that they stay theirs, or take them over: `force: true`")
}

/// Says of an object that it would have to be made anew, and what to do.
pub(super) fn must_be_replaced(failure: Failure, object: &Applied) -> Error {
    let address = object.address();
    let why = failure.api().map(what_cannot_change).unwrap_or_default();
    let error = Error::new(Class::UnsafeDrift, format!("{address}: it must be replaced, since {why}"));
    let said: Vec<String> = failure.api().map(|error| error.message.clone()).into_iter().collect();
    said.into_iter().fold(error, Error::cause).help(format!(
        "leave the field as it is; or say `replace: true`, and name it to the run that is to delete it and make it anew: --allow-destroy {}",
        quote(&address)
    ))
}

/// Which fields cannot be changed.
pub(super) fn what_cannot_change(refused: &ApiError) -> String {
    let mut fields: Vec<&str> = refused.causes.iter().map(|cause| cause.field.as_str()).collect();
    fields.dedup();
    format!("{} cannot be changed", fields.join(" and "))
}

/// Sees to it that no value of a Secret is to become another one.
pub(super) fn check_kept(object: &Applied, have: &Value, asked: &Value) -> Result<()> {
    let values = |state: &Value| match state.get("data") {
        Some(Value::Map(values)) => values.clone(),
        _ => BTreeMap::new(),
    };
    let (kept, wanted) = (values(have), values(asked));
    let known = |value: &Value| !matches!(value, Value::Unknown(_));
    let is_other = |key: &&String| {
        kept.get(*key)
            .zip(wanted.get(*key))
            .is_some_and(|(kept, wanted)| known(kept) && known(wanted) && kept != wanted)
    };
    let others: Vec<&str> = wanted.keys().filter(is_other).map(String::as_str).collect();
    if others.is_empty() {
        return Ok(());
    }
    let (address, others) = (object.address(), others.join(" and "));
    Err(Error::new(Class::Conflict, format!("{address}: there is another value for {others}, and it is to be kept"))
        .help("whatever uses it was set up with it: give that value again; or change it there first, and then delete the Secret"))
}

/// The manager in `conflict with "kubectl" with subresource "scale" using apps/v1`.
fn owner(message: &str) -> &str {
    message.split('"').nth(1).unwrap_or("another manager")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_manager_is_what_stands_in_the_first_quotes() {
        assert_eq!(owner("conflict with \"kubectl\" with subresource \"scale\" using apps/v1"), "kubectl");
        assert_eq!(owner("conflict"), "another manager");
    }
}
