//! Which pod is meant: by its name, or the newest that is ready among those with some labels.

use std::collections::BTreeMap;

use serde_json::Value as Json;

use super::handle::{Asked, Kubernetes, REALM};
use super::reads::text;
use super::ready::condition;
use crate::clients::kubernetes::segment;
use crate::error::{Class, Error, Result};
use crate::run::resource::Reader;
use crate::run::scope;
use crate::run::unknown::Unknown;

/// A pod, or how it is found.
#[derive(Debug, Clone)]
pub(super) struct Whose {
    pub namespace: String,
    which: Which,
}

#[derive(Debug, Clone)]
enum Which {
    Name(String),
    Labels(String),
}

/// What is found of it.
pub(super) enum Found {
    Pod(String),
    NotYet(Unknown),
}

impl Whose {
    /// One that is named in one of two ways.
    pub fn of(
        function: &str,
        namespace: &str,
        pod: Option<&String>,
        labels: &BTreeMap<String, String>,
    ) -> Result<Self> {
        let pairs = || labels.iter().map(|(key, value)| format!("{key}={value}")).collect::<Vec<_>>().join(",");
        let which = match (pod, labels.is_empty()) {
            (Some(pod), true) => Which::Name(pod.clone()),
            (None, false) => Which::Labels(pairs()),
            _ => {
                return Err(Error::new(Class::Script, format!("`{function}`: which pod is meant is not clear"))
                    .help("name one of `pod` and `labels`"));
            }
        };
        Ok(Whose { namespace: namespace.to_owned(), which })
    }

    /// What people call it.
    pub fn shown(&self) -> String {
        match &self.which {
            Which::Name(name) => format!("{}/{name}", self.namespace),
            Which::Labels(labels) => format!("{}/[{labels}]", self.namespace),
        }
    }

    /// The pod's name.
    pub fn find(&self, k: &Kubernetes, reader: &Reader) -> Result<Found> {
        let labels = match &self.which {
            Which::Name(name) => return Ok(Found::Pod(name.clone())),
            Which::Labels(labels) => labels,
        };
        let path = format!("/api/v1/namespaces/{}/pods?labelSelector={}", segment(&self.namespace), segment(labels));
        let list = match k.ask(reader, &path)? {
            Asked::Answered(list) => list,
            Asked::Absent => Json::Null,
            Asked::NotYet(unknown) => return Ok(Found::NotYet(unknown)),
        };
        let pods = list.get("items").and_then(Json::as_array).into_iter().flatten();
        let pods = pods.filter(|pod| pod.pointer("/metadata/deletionTimestamp").is_none());
        let rank = |pod: &&Json| (condition(pod, "Ready", "True").is_some(), text(pod, "/metadata/creationTimestamp"));
        let newest = pods.max_by_key(rank);
        if newest.is_none()
            && scope::is_planning()?
            && let Some(cause) = scope::stale_realm(REALM)?
        {
            // What is planned may bring it.
            return Ok(Found::NotYet(cause.part("pod")));
        }
        let newest = newest.ok_or_else(|| {
            Error::new(Class::Blocked, format!("{}: there is no such pod", self.shown()))
                .help("wait for what makes it: `k.apply(…, #{ wait: true })`, or `k.wait`")
        })?;
        Ok(Found::Pod(text(newest, "/metadata/name")))
    }
}
