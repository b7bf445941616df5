//! The kinds of objects, as one table.

use std::sync::OnceLock;

/// The verbs of what has all of them.
const ALL: &[&str] = &["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"];

/// A kind of objects.
#[derive(Debug)]
pub(crate) struct Kind {
    /// Empty for the oldest ones.
    pub(crate) group: &'static str,
    pub(crate) version: &'static str,
    /// Its name in paths: `pods`.
    pub(crate) resource: &'static str,
    pub(crate) singular: &'static str,
    pub(crate) kind: &'static str,
    pub(crate) namespaced: bool,
    pub(crate) verbs: Vec<&'static str>,
    pub(crate) short: Vec<&'static str>,
    pub(crate) categories: Vec<&'static str>,
    pub(crate) parts: Vec<Part>,
}

/// What is below an object in a path: `pods/log`.
#[derive(Debug)]
pub(crate) struct Part {
    pub(crate) name: &'static str,
    /// Group and version of what it answers, where they are others.
    pub(crate) of: Option<(&'static str, &'static str)>,
    pub(crate) kind: &'static str,
    pub(crate) verbs: Vec<&'static str>,
}

impl Kind {
    /// By which its objects are kept: `deployments.apps`. Two names of one kind share theirs.
    pub(crate) fn stored(&self) -> String {
        match (self.group, self.resource) {
            ("" | "events.k8s.io", "events") => "events".to_owned(),
            ("", resource) => resource.to_owned(),
            (group, resource) => format!("{resource}.{group}"),
        }
    }

    /// `apps/v1`, `v1`
    pub(crate) fn api_version(&self) -> String {
        if self.group.is_empty() { self.version.to_owned() } else { format!("{}/{}", self.group, self.version) }
    }

    /// The name of its resource with its group: `deployments.apps`.
    pub(crate) fn full_name(&self) -> String {
        if self.group.is_empty() { self.resource.to_owned() } else { format!("{}.{}", self.resource, self.group) }
    }

    /// What is below its objects under this name.
    pub(crate) fn part(&self, name: &str) -> Option<&Part> {
        self.parts.iter().find(|part| part.name == name)
    }
}

/// All of them.
pub(crate) fn all() -> &'static [Kind] {
    static KINDS: OnceLock<Vec<Kind>> = OnceLock::new();
    KINDS.get_or_init(|| {
        let lines = include_str!("kinds.txt").lines().filter(|line| !line.starts_with('#'));
        lines.filter_map(parse).collect()
    })
}

/// A kind by its place in paths.
pub(crate) fn find(group: &str, version: &str, resource: &str) -> Option<&'static Kind> {
    all().iter().find(|kind| kind.group == group && kind.version == version && kind.resource == resource)
}

/// The groups and their versions, each once and in order; the oldest one has no name.
pub(crate) fn groups() -> Vec<(&'static str, Vec<&'static str>)> {
    let mut groups: Vec<(&str, Vec<&str>)> = Vec::new();
    for kind in all() {
        match groups.iter_mut().find(|(group, _)| *group == kind.group) {
            Some((_, versions)) if versions.contains(&kind.version) => {}
            Some((_, versions)) => versions.push(kind.version),
            None => groups.push((kind.group, vec![kind.version])),
        }
    }
    groups
}

fn parse(line: &'static str) -> Option<Kind> {
    let words: Vec<&'static str> = line.split_whitespace().collect();
    let list =
        |text: &'static str| -> Vec<&'static str> { if text == "-" { Vec::new() } else { text.split(',').collect() } };
    let verbs = |text: &'static str| if text == "*" { ALL.to_vec() } else { text.split('+').collect() };
    // Where a kind has no singular name, there is a word less.
    let (head, rest) = if words.len() == 10 { words.split_at(4) } else { words.split_at(3) };
    let [kind, scope, own, short, categories, parts] = *rest else { return None };
    let part = |text: &'static str| {
        let mut pieces = text.split(':');
        let (name, of, verbs_of) = (pieces.next()?, pieces.next()?, pieces.next()?);
        let pieces: Vec<&str> = of.split('/').collect();
        let (of, kind) = match pieces.as_slice() {
            [group, version, kind] => (Some((*group, *version)), *kind),
            _ => (None, of),
        };
        Some(Part { name, of, kind, verbs: verbs(verbs_of) })
    };
    Some(Kind {
        group: if *head.first()? == "core" { "" } else { head.first()? },
        version: head.get(1)?,
        resource: head.get(2)?,
        singular: head.get(3).copied().unwrap_or_default(),
        kind,
        namespaced: scope == "N",
        verbs: verbs(own),
        short: list(short),
        categories: list(categories),
        parts: list(parts).into_iter().filter_map(part).collect(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_of_the_table_is_a_kind() {
        let lines = include_str!("kinds.txt").lines().filter(|line| !line.starts_with('#')).count();
        assert_eq!(all().len(), lines);
        let pods = find("", "v1", "pods").unwrap();
        assert_eq!((pods.kind, pods.namespaced, pods.short.as_slice()), ("Pod", true, &["po"][..]));
        assert_eq!(pods.part("eviction").unwrap().of, Some(("policy", "v1")));
        assert_eq!(find("metrics.k8s.io", "v1beta1", "nodes").unwrap().kind, "NodeMetrics");
    }
}
