//! Refusals of an apply, in words that say whose fields they are about.

use std::collections::BTreeMap;

use super::object::Applied;
use crate::clients::kubernetes::Failure;
use crate::error::{Class, Error};
use crate::run::resource::Fact as _;

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
