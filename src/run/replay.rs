//! One owner, one final state: at the end every `want` is asked again about the last state of its cell.

use super::difference::Difference;
use super::event::Mode;
use super::resource::Wish;
use super::scope;
use super::session::Run;
use super::value::State;
use crate::error::{Class, Error, Result};

/// The fights between resources: wants that would still change something after everything was done.
pub fn fights(run: &Run) -> Result<Vec<Error>> {
    let wishes = std::mem::take(&mut run.record().wishes);
    let mut found: Vec<Error> = Vec::new();
    for wish in wishes {
        let Some((state, by)) = last_state(run, &wish)? else { continue };
        let wanted = (wish.want)(&state)?;
        let Some(difference) = Difference::between(&state, &wanted).filter(Difference::is_certain) else { continue };
        let error = fight(&wish.address, &by, &difference);
        if !found.iter().any(|known| known.message() == error.message()) {
            found.push(error);
        }
    }
    Ok(found)
}

fn last_state(run: &Run, wish: &Wish) -> Result<Option<(State, String)>> {
    let cell = wish.cell.clone();
    match run.mode {
        Mode::Run => Ok(run.record().proven.get(&cell).cloned()),
        Mode::DryRun => scope::with(|branch| {
            let overlay = &branch.overlay;
            if overlay.fog_over(&cell).is_some() || overlay.declared_unknown(&cell).is_some() {
                return None;
            }
            overlay.cell(&cell).map(|planned| (planned.state.clone(), planned.by.clone()))
        }),
    }
}

fn fight(address: &str, by: &str, difference: &Difference) -> Error {
    let both =
        if by == address { format!("{address} is wanted in two ways") } else { format!("{address} and {by} fight") };
    let error = Error::new(Class::Script, format!("{both}: each run would change what the other made"));
    let show =
        |side: &Option<serde_json::Value>| side.as_ref().map_or_else(|| "absent".to_owned(), ToString::to_string);
    difference
        .report()
        .iter()
        .fold(error, |error, field| {
            let name = if field.path.is_empty() { "it".to_owned() } else { format!("`{}`", field.path) };
            error.cause(format!("{name}: one leaves {}, the other wants {}", show(&field.before), show(&field.after)))
        })
        .help("let one resource own it: say the whole wanted state in one place")
}
