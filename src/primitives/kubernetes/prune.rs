//! Sets of objects, as an ApplySet keeps them: a Secret says which kinds belong to it, and each member bears its mark. What bears
//! the mark and is no member any more is taken away.

use std::collections::BTreeSet;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rhai::{Dynamic, Map as ScriptMap};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value as Json;
use sha2::{Digest as _, Sha256};

use self::parent::Parent;
use super::apply::manifest::{Manifest, address};
use super::apply::{ApplyOptions, each, stages, told};
use super::delete::delete_this;
use super::handle::Kubernetes;
use super::reads::text;
use super::wait::five_minutes;
use crate::clients::kubernetes::{Resource, segment};
use crate::error::{Class, Error, Result};
use crate::primitives::flow::outcome;
use crate::run::ensure::Outcome;
use crate::run::scope;
use crate::run::value::{Map, Value};
use crate::script::args;
use crate::script::convert::{from_dynamic, to_dynamic};

mod parent;

/// The label of each member: the id of its set.
const PART_OF: &str = "applyset.kubernetes.io/part-of";
/// The form in which lists tell no more than the metadata of objects.
const METADATA: &str = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1";
/// The most objects that are asked for at once.
const PAGE: usize = 500;

/// A set of objects.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PruneOptions {
    /// What the set is called: the name of the Secret that keeps account of it.
    pub name: String,
    /// The namespace of that Secret. Default: `default`.
    #[serde(default = "default_namespace")]
    pub namespace: String,
    /// Whether objects that were members and are none any more may be destroyed. The run has to name each of them, too:
    /// `--allow-destroy ADDRESS`. Default: false, then one that is left is an error.
    #[serde(default)]
    pub allow_destroy: bool,
    /// Whether fields that somebody else has set are taken over, as for `apply`. Default: false.
    #[serde(default)]
    pub force: bool,
    /// Whether each object is waited for until it is ready, as for `apply`. Default: false.
    #[serde(default)]
    pub wait: bool,
    /// How long that may take. Default: 5 minutes.
    #[serde(default = "five_minutes")]
    pub timeout: args::Duration,
}

fn default_namespace() -> String {
    "default".to_owned()
}

/// A kind, of whichever version.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct GroupKind {
    kind: String,
    group: String,
}

impl GroupKind {
    fn of(manifest: &Manifest) -> Self {
        GroupKind { kind: manifest.kind.clone(), group: manifest.group.clone() }
    }

    /// As the account has it: `ConfigMap`, `Deployment.apps`.
    fn read(word: &str) -> Self {
        let (kind, group) = word.split_once('.').unwrap_or((word, ""));
        GroupKind { kind: kind.to_owned(), group: group.to_owned() }
    }

    fn written(&self) -> String {
        if self.group.is_empty() { self.kind.clone() } else { format!("{}.{}", self.kind, self.group) }
    }
}

/// The id of a set, which rests on nothing but what its Secret is called.
fn id(namespace: &str, name: &str) -> String {
    let digest = Sha256::digest(format!("{name}.{namespace}.Secret.").as_bytes());
    format!("applyset-{}-v1", URL_SAFE_NO_PAD.encode(digest))
}

/// Applies the members of a set, and takes away what was one and is none any more.
pub(super) fn prune(k: &Kubernetes, set: PruneOptions, what: &Dynamic) -> Result<ScriptMap> {
    let id = id(&set.namespace, &set.name);
    let mut members = Manifest::all(from_dynamic(what)?, "`prune`")?;
    members.iter_mut().try_for_each(|member| mark(member, &id))?;
    let kinds: BTreeSet<GroupKind> = members.iter().map(GroupKind::of).collect();
    let elsewhere = members.iter().filter_map(|member| member.namespace.clone());
    let elsewhere: BTreeSet<String> = elsewhere.filter(|namespace| *namespace != set.namespace).collect();
    let parent = Parent::new(k, &set, id.clone(), kinds, elsewhere)?;
    let mut outcomes = vec![parent.grow()?];
    let how = ApplyOptions { force: set.force, wait: set.wait, timeout: set.timeout, ..ApplyOptions::default() };
    let wanted: BTreeSet<Key> = members.iter().map(Key::of).collect();
    let (objects, applied) = if members.is_empty() { Default::default() } else { each(k, members, &how)? };
    let mut came = told(&objects, applied.clone())?;
    outcomes.extend(applied);
    let pruned = take_away_others(k, &set, &id, &parent, &wanted)?;
    let gone: Vec<Dynamic> = pruned.iter().map(|gone| gone.address.clone().into()).collect();
    outcomes.extend(pruned);
    outcomes.push(parent.shrink()?);
    let mut outcomes = outcomes.into_iter();
    let Some(first) = outcomes.next() else { return Ok(came) };
    let mut whole = outcome::together(first, outcomes);
    for key in ["objects", "outcomes"] {
        let said = came.remove(key).unwrap_or_else(|| to_dynamic(&Value::List(Vec::new())));
        whole.insert(key.into(), said);
    }
    whole.insert("pruned".into(), gone.into());
    Ok(whole)
}

/// Marks a member.
fn mark(member: &mut Manifest, id: &str) -> Result<()> {
    let place = member.address();
    let wrong = |what: &str| Error::new(Class::Script, format!("{place}: its `{what}` are no map"));
    let Some(Value::Map(metadata)) = member.body.get_mut("metadata") else { return Err(wrong("metadata")) };
    let labels = metadata.entry("labels".to_owned()).or_insert_with(|| Value::Map(Map::new()));
    let Value::Map(labels) = labels else { return Err(wrong("labels")) };
    labels.insert(PART_OF.to_owned(), Value::text(id));
    Ok(())
}

/// What tells one object from all others.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Key {
    kind: GroupKind,
    /// Empty where it has none.
    namespace: String,
    name: String,
}

impl Key {
    fn of(manifest: &Manifest) -> Self {
        Key {
            kind: GroupKind::of(manifest),
            namespace: manifest.namespace.clone().unwrap_or_default(),
            name: manifest.name.clone(),
        }
    }

    /// Whether a member is meant: one that names no namespace belongs into `default`.
    fn is_among(&self, wanted: &BTreeSet<Key>) -> bool {
        let unsaid = Key { namespace: String::new(), ..self.clone() };
        wanted.contains(self) || (self.namespace == "default" && wanted.contains(&unsaid))
    }
}

/// One that bears the mark.
struct Marked {
    key: Key,
    uid: String,
    path: String,
}

/// Takes away what bears the mark of the set and is no member.
fn take_away_others(
    k: &Kubernetes,
    set: &PruneOptions,
    id: &str,
    parent: &Parent,
    wanted: &BTreeSet<Key>,
) -> Result<Vec<Outcome>> {
    let mut all = Vec::new();
    for kind in parent.kinds_until_now() {
        all.extend(marked(k, &kind, id)?);
    }
    all.retain(|one| !one.key.is_among(wanted));
    // What others rest on goes last.
    all.sort_by_key(|one| std::cmp::Reverse(stages::stage(&one.key.kind.group, &one.key.kind.kind)));
    all.into_iter()
        .map(|one| {
            let Key { kind, namespace, name } = &one.key;
            let namespace = Some(namespace.as_str()).filter(|namespace| !namespace.is_empty());
            let address = address(&kind.group, &kind.kind, namespace, name);
            delete_this(k, address, one.path, one.uid, set.allow_destroy)
        })
        .collect()
}

/// The objects of a kind that bear the mark, and that no controller has made out of others.
fn marked(k: &Kubernetes, kind: &GroupKind, id: &str) -> Result<Vec<Marked>> {
    // Where the cluster is only planned, there are none.
    let Ok(client) = k.client()? else { return Ok(Vec::new()) };
    let known = match scope::wait(async { Ok(client.discovery().await) })? {
        Ok(known) => known,
        Err(failure) => return k.later(failure).map(|_| Vec::new()),
    };
    // Of a kind that is not served there is nothing.
    let Some(resource) = known.preferred(&kind.group, &kind.kind) else { return Ok(Vec::new()) };
    let selector = segment(&format!("{PART_OF}={id}"));
    let path = format!("{}?labelSelector={selector}&limit={PAGE}", resource.collection(None));
    let (mut all, mut next) = (Vec::new(), String::new());
    loop {
        let page = if next.is_empty() { path.clone() } else { format!("{path}&continue={}", segment(&next)) };
        let list = match scope::wait(async { Ok(client.get_as(&page, METADATA).await) })? {
            Ok(list) => list.json().unwrap_or_default(),
            Err(failure) => return k.later(failure).map(|_| Vec::new()),
        };
        let items = list.get("items").and_then(Json::as_array).into_iter().flatten();
        all.extend(items.filter(|item| !is_made_by_a_controller(item)).map(|item| one(item, kind, resource)));
        next = text(&list, "/metadata/continue");
        if next.is_empty() {
            return Ok(all);
        }
    }
}

fn is_made_by_a_controller(item: &Json) -> bool {
    let mut owners = item.pointer("/metadata/ownerReferences").and_then(Json::as_array).into_iter().flatten();
    owners.any(|owner| owner.get("controller").and_then(Json::as_bool) == Some(true))
}

fn one(item: &Json, kind: &GroupKind, resource: &Resource) -> Marked {
    let (namespace, name) = (text(item, "/metadata/namespace"), text(item, "/metadata/name"));
    let path = resource.path(Some(namespace.as_str()).filter(|_| resource.namespaced), &name);
    Marked { key: Key { kind: kind.clone(), namespace, name }, uid: text(item, "/metadata/uid"), path }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_id_of_a_set_is_the_one_that_kubectl_would_give_it() {
        assert_eq!(id("aset", "homelab-phase4"), "applyset-NXEfZkJS5HiCNI1WKPMkObC4cmeTpTyzCf-Ccj2o3vI-v1");
    }

    #[test]
    fn kinds_are_written_as_the_account_has_them() {
        for word in ["ConfigMap", "Deployment.apps", "ClusterRole.rbac.authorization.k8s.io"] {
            assert_eq!(GroupKind::read(word).written(), word);
        }
    }
}
