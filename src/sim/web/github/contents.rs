//! Files of a repository, read and written one by one: each write is a commit.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};

use super::repository::{Repository, blob};
use super::{not_found, refused};
use crate::sim::web::serve::{Answer, Ask};

/// After how many characters the base64 of a file is broken.
const LINE: usize = 60;

/// Tells a file, or what is in a directory.
pub(super) fn read(repository: &Repository, path: &str, ask: &Ask) -> Answer {
    if repository.is_empty() {
        return refused(404, "This repository is empty.");
    }
    if let Some(named) =
        ask.query.get("ref").filter(|_| repository.other_branch(ask.query.get("ref").map(String::as_str)).is_some())
    {
        return refused(404, &format!("No commit found for the ref {named}"));
    }
    let Some(mut told) = repository.file(path) else { return repository.directory(path) };
    let content = repository.files.get(path).map(String::as_str).unwrap_or_default();
    let lines: Vec<String> =
        content.as_bytes().chunks(LINE).map(|line| String::from_utf8_lossy(line).into_owned()).collect();
    told["encoding"] = json!("base64");
    told["content"] = json!(lines.iter().map(|line| format!("{line}\n")).collect::<String>());
    Answer::json(200, &told)
}

/// Makes a file, or changes the one whose sum is told.
pub(super) fn write(repository: &mut Repository, path: &str, body: &Value) -> Answer {
    let (message, bytes) = match (body["message"].as_str(), body["content"].as_str()) {
        (None, _) => return refused(422, "Invalid request.\n\n\"message\" wasn't supplied."),
        (_, None) => return refused(422, "Invalid request.\n\n\"content\" wasn't supplied."),
        (Some(message), Some(content)) => match BASE64_STANDARD.decode(content.replace('\n', "")) {
            Ok(bytes) => (message, bytes),
            Err(_) => return refused(422, "content is not valid Base64"),
        },
    };
    if let Some(answer) = repository.other_branch(body["branch"].as_str()) {
        return answer;
    }
    let known = repository.files.get(path).map(|content| blob(content));
    if let Some(answer) = differs(path, known.as_deref(), body) {
        return answer;
    }
    repository.files.insert(path.to_owned(), BASE64_STANDARD.encode(bytes));
    let commit = repository.note(message);
    Answer::json(
        if known.is_some() { 200 } else { 201 },
        &json!({ "content": repository.file(path), "commit": commit }),
    )
}

/// Takes away the file whose sum is told.
pub(super) fn remove(repository: &mut Repository, path: &str, body: &Value) -> Answer {
    let Some(known) = repository.files.get(path).map(|content| blob(content)) else { return not_found() };
    let Some(message) = body["message"].as_str() else {
        return refused(422, "Invalid request.\n\n\"message\" wasn't supplied.");
    };
    if let Some(answer) = repository.other_branch(body["branch"].as_str()).or_else(|| differs(path, Some(&known), body))
    {
        return answer;
    }
    repository.remove(path);
    let commit = repository.note(message);
    Answer::json(200, &json!({ "content": Value::Null, "commit": commit }))
}

/// What is wrong with the sum that comes along, if anything: nobody writes over what they have not seen.
fn differs(path: &str, known: Option<&str>, body: &Value) -> Option<Answer> {
    match (known, body["sha"].as_str()) {
        (None, None) => None,
        (Some(_), None) => Some(refused(422, "Invalid request.\n\n\"sha\" wasn't supplied.")),
        (Some(known), Some(given)) if known == given => None,
        (_, Some(given)) => Some(refused(409, &format!("{path} does not match {given}"))),
    }
}
