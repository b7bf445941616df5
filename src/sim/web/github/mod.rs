//! The API of GitHub, as far as a repository, its files, its commits and its deploy keys go.

mod contents;
mod repository;

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};

pub(super) use repository::Repository;

use super::Internet;
use super::serve::{Answer, Ask};

/// The host keys that GitHub publishes for its SSH.
const HOST_KEYS: [&str; 2] = [
    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl",
    "ecdsa-sha2-nistp256 AAAAE2VjZHNhLXNoYTItbmlzdHAyNTYAAAAIbmlzdHAyNTYAAABBBEmKSENjQEezOmxkZMy7opKgwFB9nkt5YRrYMjNuG5N87uRgg6CLrbo5wAdT/y6v0mKV0U2w0WZ2YB/++Tpockg=",
];

/// What a repository holds at the head of its branch.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Tree {
    pub(crate) branch: String,
    /// The sum of the commit.
    pub(crate) head: String,
    /// The files by their paths, as text.
    pub(crate) files: BTreeMap<String, String>,
}

/// A repository, as somebody sees it who reads it over SSH with a key: `ssh-ed25519 AAAA…`.
pub(super) fn clone_by_key(all: &[Repository], owner: &str, name: &str, key: &str) -> Result<Tree, String> {
    let is = |one: &&Repository| one.owner.eq_ignore_ascii_case(owner) && one.name.eq_ignore_ascii_case(name);
    let Some(repository) = all.iter().find(is) else {
        return Err("repository not found: ERROR: Repository not found.".into());
    };
    if !repository.lets_in(key) {
        let why = "ssh: handshake failed: ssh: unable to authenticate, attempted methods [none publickey], no supported methods remain";
        return Err(why.into());
    }
    let head = repository.head().ok_or("remote repository is empty")?;
    let text = |content: &String| {
        let bytes = BASE64_STANDARD.decode(content).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    };
    let files = repository.files.iter().map(|(path, content)| (path.clone(), text(content))).collect();
    Ok(Tree { branch: repository.branch.clone(), head: head.to_owned(), files })
}

/// Answers a request. Repositories here are private: whoever has not the token does not see them.
pub(super) fn answer(internet: &mut Internet, ask: &Ask, token: &str) -> Answer {
    let base = internet.github.as_ref().map(|place| place.path.trim_end_matches('/').to_owned()).unwrap_or_default();
    let Some(path) = ask.path.strip_prefix(&base) else { return not_found() };
    let given = ask.authorization.as_deref().map(|header| {
        header.strip_prefix("Bearer ").or_else(|| header.strip_prefix("token ")).unwrap_or_default().trim()
    });
    let knows = match given {
        Some(given) if token.is_empty() || given != token => return refused(401, "Bad credentials"),
        given => given.is_some(),
    };
    let parts: Vec<&str> = path.split('/').skip(1).collect();
    match (ask.method.as_str(), parts.as_slice()) {
        ("GET", ["meta"]) => Answer::json(
            200,
            &json!({
                "verifiable_password_authentication": false,
                "ssh_key_fingerprints": { "SHA256_ED25519": "+DiY3wvvV6TuJJhbpZisF/zLDA0zPMSvHdkr4UvCOqU" },
                "ssh_keys": HOST_KEYS,
            }),
        ),
        (_, ["repos", owner, name, rest @ ..]) if knows => {
            let is =
                |one: &&mut Repository| one.owner.eq_ignore_ascii_case(owner) && one.name.eq_ignore_ascii_case(name);
            match internet.repositories.iter_mut().find(is) {
                Some(repository) => inside(repository, ask, rest),
                None => not_found(),
            }
        }
        (_, ["repos", _, _, ..]) => not_found(),
        _ => unknown(ask),
    }
}

fn inside(repository: &mut Repository, ask: &Ask, rest: &[&str]) -> Answer {
    match (ask.method.as_str(), rest) {
        ("GET", []) => Answer::json(200, &repository.told()),
        ("GET", ["keys"]) => {
            Answer::json(200, &Value::Array(repository.keys.iter().map(repository::Key::told).collect()))
        }
        ("POST", ["keys"]) => match body(ask) {
            Some(body) => repository.add_key(&body),
            None => refused(400, "Problems parsing JSON"),
        },
        ("DELETE", ["keys", id]) => {
            let before = repository.keys.len();
            repository.keys.retain(|key| key.id.to_string() != *id);
            if repository.keys.len() == before { not_found() } else { Answer::text(204, "") }
        }
        ("GET", ["commits", reference]) => repository.commit(reference),
        ("GET", ["contents", path @ ..]) => contents::read(repository, &path.join("/"), ask),
        ("PUT", ["contents", path @ ..]) if !path.is_empty() => match body(ask) {
            Some(body) => contents::write(repository, &path.join("/"), &body),
            None => refused(400, "Problems parsing JSON"),
        },
        ("DELETE", ["contents", path @ ..]) if !path.is_empty() => match body(ask) {
            Some(body) => contents::remove(repository, &path.join("/"), &body),
            None => refused(400, "Problems parsing JSON"),
        },
        _ => unknown(ask),
    }
}

fn body(ask: &Ask) -> Option<Value> {
    serde_json::from_slice::<Value>(&ask.body).ok().filter(Value::is_object)
}

fn unknown(ask: &Ask) -> Answer {
    Answer::text(501, &format!("not simulated: {} {}", ask.method, ask.path))
}

fn not_found() -> Answer {
    refused(404, "Not Found")
}

fn refused(status: u16, message: &str) -> Answer {
    let documentation = "https://docs.github.com/rest";
    Answer::json(
        status,
        &json!({ "message": message, "documentation_url": documentation, "status": status.to_string() }),
    )
}

/// A refusal of a field.
fn invalid(resource: &str, field: &str, message: &str) -> Answer {
    Answer::json(
        422,
        &json!({
            "message": "Validation Failed",
            "errors": [{ "resource": resource, "code": "custom", "field": field, "message": message }],
            "documentation_url": "https://docs.github.com/rest", "status": "422",
        }),
    )
}
