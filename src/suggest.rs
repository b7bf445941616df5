//! "Did you mean": the known name nearest to one that nobody knows. Every layer suggests by this one rule.

/// How many names a help line lists at most.
const LISTED: usize = 24;

/// The candidate that a misspelt name was probably meant to be, the first of several that are equally near. Up to a third
/// of its letters may be wrong, whatever their case; two that changed places count as one. What all names begin with,
/// as in `HOMELAB_`, makes none of them alike.
pub fn nearest<'a>(name: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let candidates: Vec<&str> = candidates.into_iter().collect();
    let shared = shared_beginning(name, &candidates);
    let folded = name.to_lowercase();
    let length = |text: &str| text.chars().count();
    let near = candidates.into_iter().map(|candidate| {
        let tolerated = length(candidate).max(length(name)).saturating_sub(shared).div_ceil(3);
        (strsim::damerau_levenshtein(&folded, &candidate.to_lowercase()), tolerated, candidate)
    });
    let near = near.filter(|(distance, tolerated, _)| distance <= tolerated).min_by_key(|(distance, ..)| *distance);
    near.map(|(.., candidate)| candidate)
}

/// How many letters a name and all candidates begin with alike, in whole words.
fn shared_beginning(name: &str, candidates: &[&str]) -> usize {
    let mut shared = if candidates.is_empty() { 0 } else { name.len() };
    for candidate in candidates {
        shared = name.bytes().take(shared).zip(candidate.bytes()).take_while(|(left, right)| left == right).count();
    }
    let word = |at: &usize| name.as_bytes()[..*at].last().is_some_and(|last| b"_-./:".contains(last));
    // A word ends in ASCII, so it never ends within a letter.
    (0..=shared).rev().find(word).map_or(0, |at| name[..at].chars().count())
}

/// A help line for an unknown name: the nearest known one when there is one, and what there is.
pub fn help<'a>(unknown: &str, kind: &str, known: impl IntoIterator<Item = &'a str>) -> String {
    let known: Vec<&str> = known.into_iter().collect();
    let list = if known.is_empty() { format!("there are no {kind}") } else { format!("{kind}: {}", listed(&known)) };
    match nearest(unknown, known.iter().copied()) {
        Some(name) => format!("did you mean `{name}`? {list}"),
        None => list,
    }
}

/// Names in a row, the first ones when there are many.
pub fn listed(names: &[&str]) -> String {
    let more = names.len().saturating_sub(LISTED);
    let shown = names[..names.len() - more].join(", ");
    if more == 0 { shown } else { format!("{shown} and {more} more") }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_nearest_name_is_suggested_and_all_are_listed() {
        assert_eq!(help("vm", "tables", ["vms", "nodes"]), "did you mean `vms`? tables: vms, nodes");
    }

    #[test]
    fn nothing_is_suggested_when_nothing_is_near() {
        assert_eq!(help("zfs", "tables", ["vms", "nodes"]), "tables: vms, nodes");
        assert_eq!(help("zfs", "tables", []), "there are no tables");
    }

    #[test]
    fn letters_that_changed_places_and_capitals_are_slips_of_the_pen() {
        assert_eq!(nearest("memroy", ["cores", "memory"]), Some("memory"));
        assert_eq!(nearest("Vms", ["nodes", "vms"]), Some("vms"));
        assert_eq!(nearest("1.3", ["1.1", "1.2", "2.1"]), Some("1.1"), "the first of the nearest");
    }

    #[test]
    fn letters_of_several_bytes_are_letters() {
        assert_eq!(nearest("é", ["è", ""]), Some("è"));
    }

    #[test]
    fn what_all_names_begin_with_makes_none_alike() {
        let names = ["HOMELAB_PVE_URL", "HOMELAB_SSH_KEY", "HOMELAB_JOBS"];
        assert_eq!(nearest("HOMELAB_PVE_ULR", names), Some("HOMELAB_PVE_URL"));
        assert_eq!(nearest("HOMELAB_SPEED", names), None);
        assert_eq!(nearest("std/vmss", ["std/vms", "std/k3s"]), Some("std/vms"));
        assert_eq!(nearest("std/nfs", ["std/vms", "std/k3s"]), None);
    }

    #[test]
    fn a_long_list_is_cut() {
        let names: Vec<String> = (0..30).map(|number| format!("row{number}")).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        assert!(listed(&names).ends_with("row23 and 6 more"), "{}", listed(&names));
    }

    proptest! {
        #[test]
        fn a_suggestion_is_always_one_of_the_candidates(name in "\\PC{0,12}", names in prop::collection::vec("\\PC{0,8}", 0..6)) {
            let names: Vec<&str> = names.iter().map(String::as_str).collect();
            if let Some(near) = nearest(&name, names.iter().copied()) {
                prop_assert!(names.contains(&near));
            }
        }

        #[test]
        fn a_name_that_is_there_is_its_own_suggestion(name in "[a-z_]{1,12}", others in prop::collection::vec("[a-z_]{1,8}", 0..6)) {
            let names: Vec<&str> = others.iter().map(String::as_str).chain([name.as_str()]).collect();
            prop_assert_eq!(nearest(&name, names), Some(name.as_str()));
        }
    }
}
