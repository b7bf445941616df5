//! "Did you mean": the known name nearest to one that nobody knows.

/// A help line for an unknown name: the nearest known one when there is one, and what there is.
pub(crate) fn help<'a>(unknown: &str, kind: &str, known: impl IntoIterator<Item = &'a str>) -> String {
    let known: Vec<&str> = known.into_iter().collect();
    let nearest = known
        .iter()
        .map(|name| (strsim::jaro_winkler(&unknown.to_lowercase(), &name.to_lowercase()), *name))
        .filter(|(likeness, _)| *likeness >= 0.8)
        .max_by(|a, b| a.0.total_cmp(&b.0));
    let list = if known.is_empty() { format!("there are no {kind}") } else { format!("{kind}: {}", known.join(", ")) };
    match nearest {
        Some((_, name)) => format!("did you mean `{name}`? {list}"),
        None => list,
    }
}

#[cfg(test)]
mod tests {
    use super::help;

    #[test]
    fn the_nearest_name_is_suggested_and_all_are_listed() {
        assert_eq!(help("vm", "tables", ["vms", "nodes"]), "did you mean `vms`? tables: vms, nodes");
    }

    #[test]
    fn nothing_is_suggested_when_nothing_is_near() {
        assert_eq!(help("zfs", "tables", ["vms", "nodes"]), "tables: vms, nodes");
        assert_eq!(help("zfs", "tables", []), "there are no tables");
    }
}
