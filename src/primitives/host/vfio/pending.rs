//! What is written, and does not run yet: why a host has to be restarted.

use rhai::{Map as ScriptMap, NativeCallContext};
use schemars::JsonSchema;
use serde::Deserialize;

use super::super::handle::Host;
use super::devices::bus;
use super::isolation::is_free;
use super::tokens::Tokens;
use crate::error::Result;
use crate::run::unknown::Unknown;
use crate::run::value::Value;
use crate::script::RhaiResult;
use crate::script::args::Maybe;
use crate::script::context::options;
use crate::script::failure::fail;

/// What is meant to run.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PendingOptions {
    /// Parameters that the kernel is to run with. Default: none.
    #[serde(default)]
    pub parameters: Vec<String>,
    /// Devices, by vendor and device, that no driver of the host is to hold. Default: none.
    #[serde(default)]
    pub ids: Vec<Maybe<String>>,
}

/// Why a host has to be restarted before what is meant runs; empty where it does.
pub fn pending(call: &NativeCallContext<'_>, host: &Host, map: ScriptMap) -> RhaiResult<Value> {
    let options: PendingOptions = options(call, "vfio::pending", map)?;
    reasons(host, options).map_err(fail)
}

fn reasons(host: &Host, options: PendingOptions) -> Result<Value> {
    let mut reasons = Vec::new();
    let mut unknown: Option<Unknown> = None;
    if !options.parameters.is_empty() {
        match super::boot::readings(host)? {
            Ok(readings) => {
                let tokens = Tokens { present: options.parameters, absent: Vec::new() };
                reasons.extend(
                    tokens.lacking(&readings.running).iter().map(|one| format!("the kernel runs without {one}")),
                );
            }
            Err(cause) => unknown = Some(cause),
        }
    }
    if !options.ids.is_empty() {
        match bus(host)? {
            Ok(bus) => {
                unknown = options.ids.iter().find_map(|id| id.unknown().cloned());
                let known = options.ids.iter().filter_map(Maybe::known);
                let given = known.flat_map(|id| bus.with_id(id));
                reasons.extend(given.filter(|device| !is_free(device)).map(|device| {
                    format!("{} is held by {}", device.shown(), device.driver.as_deref().unwrap_or_default())
                }));
            }
            Err(cause) => unknown = unknown.or(Some(cause)),
        }
    }
    // One reason is enough, whatever the others are.
    Ok(match unknown {
        Some(unknown) if reasons.is_empty() => Value::Unknown(unknown),
        _ => Value::List(reasons.into_iter().map(Value::Text).collect()),
    })
}
