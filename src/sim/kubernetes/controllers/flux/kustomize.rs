//! What the files of a repository come to: the resources that `kustomization.yaml` names, folder by folder.

use std::collections::BTreeMap;

use serde_json::Value;

use super::text;

/// The files of a repository by their paths.
type Files = BTreeMap<String, String>;

/// The objects below a path. Where no `kustomization.yaml` is, all files of the folder count.
pub(super) fn build(files: &Files, path: &str) -> Result<Vec<Value>, String> {
    let path = joined("", path);
    let mut objects = Vec::new();
    folder(files, &path, &mut Vec::new(), &mut objects).map_err(|why| format!("kustomize build failed: {why}"))?;
    Ok(objects)
}

/// A path, seen from a folder.
fn joined(from: &str, path: &str) -> String {
    let mut parts: Vec<&str> = if path.starts_with('/') { Vec::new() } else { from.split('/').collect() };
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    parts.retain(|part| !part.is_empty());
    parts.join("/")
}

/// Takes in what a folder comes to; `above` are those that lead to it.
fn folder(files: &Files, path: &str, above: &mut Vec<String>, objects: &mut Vec<Value>) -> Result<(), String> {
    if let Some(root) = above.iter().find(|root| *root == path) {
        return Err(format!("cycle detected: candidate root '/{path}' contains visited root '/{root}'"));
    }
    let prefix = if path.is_empty() { String::new() } else { format!("{path}/") };
    let Some(text) = files.get(&format!("{prefix}kustomization.yaml")) else {
        let own: Vec<&String> = files.keys().filter(|file| file.starts_with(&prefix)).collect();
        if own.is_empty() {
            return Err(format!("kustomization path not found: stat /{path}: no such file or directory"));
        }
        let is_yaml = |file: &&&String| file.ends_with(".yaml") || file.ends_with(".yml");
        return own.iter().filter(is_yaml).try_for_each(|path| file(files, path, objects));
    };
    let read: Value = serde_saphyr::from_str(text)
        .map_err(|error| format!("failed to decode Kustomization YAML from /{prefix}kustomization.yaml: {error}"))?;
    for (name, _) in read.as_object().into_iter().flatten() {
        if !matches!(name.as_str(), "apiVersion" | "kind" | "metadata" | "resources" | "namespace") {
            return Err(format!("homelab sim: not simulated: {name} in /{prefix}kustomization.yaml"));
        }
    }
    let first = objects.len();
    above.push(path.to_owned());
    for one in read["resources"].as_array().into_iter().flatten().filter_map(Value::as_str) {
        let place = joined(path, one);
        let accumulating = |why: String| {
            format!("accumulating resources: accumulation err='accumulating resources from '{one}': {why}'")
        };
        if files.contains_key(&place) {
            file(files, &place, objects).map_err(accumulating)?;
        } else {
            folder(files, &place, above, objects).map_err(accumulating)?;
        }
    }
    above.pop();
    if let Some(namespace) = read["namespace"].as_str() {
        for object in &mut objects[first..] {
            object["metadata"]["namespace"] = Value::from(namespace);
        }
    }
    Ok(())
}

fn file(files: &Files, path: &str, objects: &mut Vec<Value>) -> Result<(), String> {
    let content = files.get(path).map(String::as_str).unwrap_or_default();
    for document in content.split("\n---") {
        let bare = document.trim_start_matches("---").trim();
        if bare.lines().all(|line| line.trim().is_empty() || line.trim_start().starts_with('#')) {
            continue;
        }
        let object: Value = serde_saphyr::from_str(bare)
            .map_err(|error| format!("MalformedYAMLError: yaml: {error} in File: {path}"))?;
        if object.is_null() {
            continue;
        }
        if text(&object, "/kind").is_empty() || text(&object, "/metadata/name").is_empty() {
            return Err(format!("invalid Kubernetes object in {path}: missing metadata.name or kind"));
        }
        objects.push(object);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree(files: &[(&str, &str)]) -> Files {
        files.iter().map(|(path, text)| ((*path).to_owned(), (*text).to_owned())).collect()
    }

    const MAP: &str = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a, namespace: n}\n";

    #[test]
    fn folders_and_files_are_followed_by_name() {
        let files = tree(&[
            ("clusters/lab/kustomization.yaml", "resources:\n- apps\n- ../../shared.yaml\n"),
            ("clusters/lab/apps/kustomization.yaml", "resources: [a.yaml]\n"),
            ("clusters/lab/apps/a.yaml", MAP),
            ("clusters/lab/apps/unused.yaml", "nonsense: ["),
            ("shared.yaml", &format!("# two\n---\n{MAP}---\n{}", MAP.replace("name: a", "name: b"))),
        ]);
        let objects = build(&files, "./clusters/lab").unwrap();
        let names: Vec<&str> = objects.iter().map(|object| text(object, "/metadata/name")).collect();
        assert_eq!(names, ["a", "a", "b"]);
    }

    #[test]
    fn what_cannot_be_read_is_told_with_its_file() {
        let files = tree(&[("lab/kustomization.yaml", "resources: [a.yaml]\n"), ("lab/a.yaml", "kind: [")]);
        let why = build(&files, "lab").unwrap_err();
        assert!(why.contains("accumulating resources from 'a.yaml'") && why.contains("lab/a.yaml"), "{why}");
        assert!(build(&files, "elsewhere").unwrap_err().contains("path not found"));
        let turning =
            tree(&[("lab/kustomization.yaml", "resources: [a]\n"), ("lab/a/kustomization.yaml", "resources: [..]\n")]);
        assert!(build(&turning, "lab").unwrap_err().contains("cycle detected"));
        let missing = tree(&[("lab/kustomization.yaml", "resources: [gone.yaml]\n")]);
        assert!(build(&missing, "lab").unwrap_err().contains("gone.yaml"));
    }
}
