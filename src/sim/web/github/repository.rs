//! A repository, as its service keeps it.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sha1::{Digest as _, Sha1};

use super::{invalid, not_found, refused};
use crate::sim::chance::hex;
use crate::sim::seed::RepositorySeed;
use crate::sim::web::serve::Answer;

/// A repository with one branch.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(in crate::sim::web) struct Repository {
    pub(in crate::sim::web) owner: String,
    pub(in crate::sim::web) name: String,
    pub(super) branch: String,
    /// The files of the branch, in base64, by their paths.
    pub(super) files: BTreeMap<String, String>,
    commits: Vec<Commit>,
    pub(super) keys: Vec<Key>,
    /// How many keys were ever added.
    keys_made: u64,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Commit {
    sha: String,
    message: String,
    at: String,
}

/// A key that can read the repository, or write it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Key {
    pub(super) id: u64,
    title: String,
    /// Without a comment.
    key: String,
    read_only: bool,
    at: String,
}

impl Key {
    /// As the API tells it.
    pub(super) fn told(&self) -> Value {
        json!({
            "id": self.id, "key": self.key, "title": self.title, "read_only": self.read_only, "verified": true,
            "created_at": self.at, "last_used": Value::Null, "enabled": true,
        })
    }
}

impl Repository {
    /// One in which nothing is yet.
    pub(in crate::sim::web) fn of(seed: &RepositorySeed) -> Self {
        Repository {
            owner: seed.owner.clone(),
            name: seed.name.clone(),
            branch: seed.branch.clone(),
            files: BTreeMap::new(),
            commits: Vec::new(),
            keys: Vec::new(),
            keys_made: 0,
        }
    }

    /// As the API tells it.
    pub(super) fn told(&self) -> Value {
        json!({
            "name": self.name, "full_name": format!("{}/{}", self.owner, self.name), "private": true,
            "owner": { "login": self.owner, "type": "User" }, "default_branch": self.branch,
            "ssh_url": format!("git@github.com:{}/{}.git", self.owner, self.name),
            "permissions": { "admin": true, "push": true, "pull": true },
        })
    }

    /// Adds a deploy key.
    pub(super) fn add_key(&mut self, body: &Value) -> Answer {
        let text = body["key"].as_str().unwrap_or_default();
        let mut words = text.split_whitespace();
        let (kind, blob) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
        let is_key = (kind.starts_with("ssh-") || kind.starts_with("ecdsa-"))
            && BASE64_STANDARD.decode(blob).is_ok_and(|bytes| bytes.len() > 32);
        if !is_key {
            return invalid("PublicKey", "key", "key is invalid. You must supply a key in OpenSSH public key format");
        }
        let key = format!("{kind} {blob}");
        if self.keys.iter().any(|known| known.key == key) {
            return invalid("PublicKey", "key", "key is already in use");
        }
        self.keys_made += 1;
        let key = Key {
            id: self.keys_made,
            title: body["title"].as_str().unwrap_or(&key).to_owned(),
            key,
            read_only: body["read_only"].as_bool().unwrap_or_default(),
            at: now(),
        };
        let told = key.told();
        self.keys.push(key);
        Answer::json(201, &told)
    }

    /// A commit by its branch or its sum.
    pub(super) fn commit(&self, reference: &str) -> Answer {
        let Some(last) = self.commits.last() else { return refused(409, "Git Repository is empty.") };
        let found =
            if reference == self.branch { Some(last) } else { self.commits.iter().find(|one| one.sha == reference) };
        match found {
            Some(one) => {
                let author = json!({ "name": self.owner, "date": one.at });
                Answer::json(
                    200,
                    &json!({
                        "sha": one.sha, "commit": { "message": one.message, "author": author, "committer": author },
                    }),
                )
            }
            None => refused(422, &format!("No commit found for SHA: {reference}")),
        }
    }

    /// Whether it can be read with a key.
    pub(super) fn lets_in(&self, key: &str) -> bool {
        let key: Vec<&str> = key.split_whitespace().take(2).collect();
        key.len() == 2 && self.keys.iter().any(|known| known.key == key.join(" "))
    }

    /// The sum of the newest commit.
    pub(super) fn head(&self) -> Option<&str> {
        self.commits.last().map(|commit| commit.sha.as_str())
    }

    /// Whether there is nothing in it yet.
    pub(super) fn is_empty(&self) -> bool {
        self.commits.is_empty()
    }

    /// Whether a body or a query means another branch than the one that there is; and the answer to that.
    pub(super) fn other_branch(&self, named: Option<&str>) -> Option<Answer> {
        let named = named.map(|name| name.trim_start_matches("refs/heads/")).filter(|name| *name != self.branch)?;
        Some(refused(404, &format!("Branch {named} not found")))
    }

    /// Notes that the files have changed, and tells the commit.
    pub(super) fn note(&mut self, message: &str) -> Value {
        let files: String = self.files.iter().map(|(path, content)| format!("{} {path}\n", blob(content))).collect();
        let parent = self.commits.last().map(|commit| commit.sha.clone()).unwrap_or_default();
        let at = now();
        let sha = hex(&Sha1::digest(format!("commit {parent} {at} {message}\n{files}")));
        self.commits.push(Commit { sha: sha.clone(), message: message.to_owned(), at });
        json!({ "sha": sha, "message": message, "parents": if parent.is_empty() { json!([]) } else { json!([{ "sha": parent }]) } })
    }

    /// A file as the API tells it.
    pub(super) fn file(&self, path: &str) -> Option<Value> {
        let content = self.files.get(path)?;
        let size = BASE64_STANDARD.decode(content).map(|bytes| bytes.len()).unwrap_or_default();
        let name = path.rsplit('/').next().unwrap_or(path);
        Some(json!({ "type": "file", "name": name, "path": path, "sha": blob(content), "size": size }))
    }

    /// Takes a file away.
    pub(super) fn remove(&mut self, path: &str) -> Option<String> {
        self.files.remove(path)
    }

    /// A directory as the API tells it; `not found` where there is none.
    pub(super) fn directory(&self, path: &str) -> Answer {
        let prefix = if path.is_empty() { String::new() } else { format!("{path}/") };
        let mut entries: BTreeMap<&str, Value> = BTreeMap::new();
        for file in self.files.keys() {
            let Some(rest) = file.strip_prefix(&prefix) else { continue };
            let (name, is_file) = rest.split_once('/').map_or((rest, true), |(name, _)| (name, false));
            let told = if is_file {
                self.file(file)
            } else {
                Some(json!({ "type": "dir", "name": name, "path": format!("{prefix}{name}"), "size": 0 }))
            };
            entries.extend(told.map(|told| (name, told)));
        }
        if entries.is_empty() { not_found() } else { Answer::json(200, &Value::Array(entries.into_values().collect())) }
    }
}

/// The sum that git knows a file by.
pub(super) fn blob(content: &str) -> String {
    let bytes = BASE64_STANDARD.decode(content).unwrap_or_default();
    let mut sum = Sha1::new();
    sum.update(format!("blob {}\0", bytes.len()));
    sum.update(&bytes);
    hex(&sum.finalize())
}

fn now() -> String {
    let now = jiff::Timestamp::now();
    now.round(jiff::Unit::Second).unwrap_or(now).to_string()
}
