//! Asks the exchanges of a recording again, one after the other, as the recorders did.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use reqwest::Method;
use serde_json::Value;

use super::super::lab::{Client, Reply, Session, wait};
use super::beside;
use super::compare::{Verdict, compare};
use super::endpoints;
use super::recording::{Exchange, Recording, Request, pairs};
use super::session::Sessions;
use super::world;
use crate::sim::Sim;

/// What a form leaves as it is.
const PLAIN: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');

/// How long what is polled may take.
pub(super) const PATIENCE: Duration = Duration::from_secs(10);

/// What stands in the place of a secret.
const HIDDEN: &str = "***";

/// A password that is as good as the recorders'.
const GOOD: &str = "correct-horse-battery";

/// The replay of one recording.
pub(super) struct Replay<'r> {
    sim: &'r Sim,
    recording: &'r Recording,
    pub(super) sessions: Sessions,
    /// What was answered here, by number.
    live: BTreeMap<u64, Value>,
    /// The exchanges that could not be asked.
    left: BTreeSet<u64>,
}

impl<'r> Replay<'r> {
    pub(super) fn new(sim: &'r Sim, recording: &'r Recording, sessions: Sessions) -> Self {
        Replay { sim, recording, sessions, live: BTreeMap::new(), left: BTreeSet::new() }
    }

    /// Asks one exchange and compares the answer.
    pub(super) async fn exchange(&mut self, index: usize) -> Verdict {
        let exchange = &self.recording.exchanges[index];
        if let Some(why) = self.hinders(index) {
            self.left.insert(exchange.n);
            return Verdict::LeftOut(why.into());
        }
        world::furnish(self.sim);
        let client = match self.sessions.client(self.sim, exchange).await {
            Ok(client) => client,
            Err(why) => return Verdict::LeftOut(why),
        };
        let taken = beside::before(self.sim, self.recording, index);
        let deadline = Instant::now() + PATIENCE;
        let (answered, verdict) = loop {
            let answered = self.ask(&client, exchange).await;
            let verdict = self.judge(exchange, &answered);
            if matches!(verdict, Verdict::Same) || !self.is_polled(index) || Instant::now() > deadline {
                break (answered, verdict);
            }
            tokio::time::sleep(Duration::from_millis(15)).await;
        };
        beside::after(self.sim, taken);
        let Ok(reply) = answered else { return verdict };
        self.live.insert(exchange.n, reply.body.clone());
        self.learn(exchange, &reply);
        self.wait_for_task(index, &reply).await;
        if exchange.note.starts_with("ARTEFACT") {
            return Verdict::LeftOut("its note says that the recording machine is to blame for the answer".into());
        }
        // What has been answered by now may be part of what was recorded.
        self.judge(exchange, &Ok(reply))
    }

    fn judge(&self, exchange: &Exchange, answered: &Result<Reply, reqwest::Error>) -> Verdict {
        let reply = match answered {
            Ok(reply) => reply,
            Err(_) if exchange.response.status == 0 => return Verdict::Same,
            Err(error) => return Verdict::Differs(format!("no answer: {error}")),
        };
        let of_today = |one: &Exchange| endpoints::is_of_today(&one.request.method, one.request.path());
        let began =
            |upid: &str| self.recording.exchanges.iter().any(|one| one.response.task() == Some(upid) && of_today(one));
        compare(exchange, reply, &|text| self.as_recorded(text), &began)
    }

    /// Whether an exchange was one of several looks at something until it showed: it asks what the one before it asked,
    /// or there was no answer.
    fn is_polled(&self, index: usize) -> bool {
        let exchange = &self.recording.exchanges[index];
        let is_asked_again = || {
            let before = &self.recording.exchanges[index - 1];
            exchange.request.method == "GET" && before.request == exchange.request && before.who == exchange.who
        };
        exchange.response.status == 0 || index > 0 && is_asked_again()
    }

    /// Why an exchange cannot be asked: what it rests on is not served here.
    fn hinders(&self, index: usize) -> Option<&'static str> {
        let exchange = &self.recording.exchanges[index];
        if exchange.request.uses.iter().any(|used| self.is_not_served(used.n) || self.left.contains(&used.n)) {
            return Some("it needs the answer of an exchange that is not served");
        }
        let guest = exchange.request.path().split("/qemu/").nth(1)?.split('/').next()?;
        let changes = |one: &&Exchange| {
            let request = &one.request;
            let named = request.fields().into_iter().map(|(_, value)| value).chain([request.path().to_string()]);
            let is_about = |text: String| text.split([',', '/']).any(|word| word == format!("vm:{guest}"));
            request.method != "GET" && one.response.is_success() && named.into_iter().any(is_about)
        };
        let earlier = self.recording.exchanges[..index].iter().filter(changes);
        let mut unserved = earlier.filter(|one| self.is_not_served(one.n));
        unserved.next().map(|_| "it shows a guest of which something was changed that is not served")
    }

    async fn ask(&self, client: &Client, exchange: &Exchange) -> Result<Reply, reqwest::Error> {
        let request = &exchange.request;
        let path = self.translate(&request.path);
        let wants_end = exchange.response.data()["status"] == "stopped" || path.ends_with("/log");
        if wants_end && path.contains("/tasks/UPID") {
            self.wait_for_end(&path).await;
        }
        let query = encode(&pairs(&request.query));
        let path = if query.is_empty() { path } else { format!("{path}?{query}") };
        let method = Method::from_bytes(request.method.as_bytes()).expect("a recorded method is one");
        let base = request.base.as_deref().unwrap_or("/api2/json");
        client.send_raw(method, base, &path, self.body(exchange)).await
    }

    /// The body of a request with its type.
    fn body(&self, exchange: &Exchange) -> Option<(String, Vec<u8>)> {
        let request = &exchange.request;
        let kind = request.content_type.clone().unwrap_or_else(|| "application/x-www-form-urlencoded".into());
        if let Some(raw) = &request.body_raw {
            return Some((kind, raw.clone().into_bytes()));
        }
        if let Some(json) = &request.json {
            return Some((kind, self.translate(&json.to_string()).into_bytes()));
        }
        let fields: Vec<(String, String)> = pairs(&request.form)
            .into_iter()
            .map(|(name, value)| {
                let value = self.translate(&value);
                let value = if value == HIDDEN { self.secret(exchange, &name) } else { value };
                (name, value)
            })
            .collect();
        if !request.files.is_empty() {
            return Some(multipart(&fields, request));
        }
        let has_body = !fields.is_empty() || matches!(request.method.as_str(), "POST" | "PUT");
        has_body.then(|| (kind, encode(&fields).into_bytes()))
    }

    /// What a hidden value was, going by what became of it.
    fn secret(&self, exchange: &Exchange, name: &str) -> String {
        let answer = format!("{} {}", exchange.response.reason, exchange.response.body);
        let task = exchange.response.task().and_then(|upid| self.recording.exit(upid)).unwrap_or_default();
        let log = beside::log_of(self.recording, exchange);
        if answer.contains("must be at least") {
            return "short".into();
        }
        if [answer.as_str(), task, log.as_str()].iter().any(|text| text.contains("authentication failure")) {
            return "not-the-password".into();
        }
        let path = exchange.request.path();
        let asks_with = name == "confirmation-password" || path == "/access/ticket" || path == "/cluster/config/join";
        let user = exchange.request.field("username").or(exchange.request.field("userid"));
        let user = user.unwrap_or_else(|| "root@pam".into());
        let user = if user.contains('@') {
            user
        } else {
            format!("{user}@{}", exchange.request.field("realm").unwrap_or_else(|| "pam".into()))
        };
        match self.sessions.passwords.get(&user).filter(|_| asks_with) {
            Some(known) => known.clone(),
            None if path.starts_with("/access") => GOOD.into(),
            None => HIDDEN.into(),
        }
    }

    /// Keeps the secrets that an answer tells or sets.
    fn learn(&mut self, exchange: &Exchange, reply: &Reply) {
        let (path, data) = (exchange.request.path(), &reply.body["data"]);
        if reply.status != 200 {
            return;
        }
        if let Some(user) = exchange.request.field("userid").filter(|_| path.starts_with("/access"))
            && exchange.request.field("password").is_some()
        {
            self.sessions.passwords.insert(user, GOOD.into());
        }
        let of_path = path.strip_prefix("/access/users/").and_then(|rest| rest.split_once("/token/"));
        let id = data["full-tokenid"].as_str().map(str::to_string);
        let id = id.or_else(|| of_path.map(|(user, token)| format!("{user}!{token}")));
        if let (Some(id), Some(secret)) = (id, data["value"].as_str())
            && let Some(old) = self.sessions.tokens.insert(id.clone(), secret.into())
        {
            self.sessions.old.insert(id, old);
        }
    }

    /// Lets a task end, unless a later exchange has to do with it while it runs.
    async fn wait_for_task(&self, index: usize, reply: &Reply) {
        let (Some(_), Some(upid)) = (self.recording.exchanges[index].response.task(), reply.body["data"].as_str())
        else {
            return;
        };
        let recorded = self.recording.exchanges[index].response.task().unwrap_or_default();
        let mentions = |one: &Exchange| one.request.path.contains(recorded);
        let later = &self.recording.exchanges[index + 1..];
        let next = later.iter().position(mentions);
        let is_stopped_here = next.is_some_and(|next| later[next].request.method == "DELETE");
        // A join takes the ticket with it, and then the API.
        let breaks_off = later.iter().any(|one| mentions(one) && one.response.status == 401);
        let is_waited_for = later.iter().any(|one| mentions(one) && one.response.data()["status"] == "stopped");
        let goes_on_beside = next.is_some_and(|next| next > 0) && is_waited_for;
        if !is_stopped_here && !goes_on_beside && !breaks_off {
            let node = upid.split(':').nth(1).unwrap_or_default();
            self.wait_for_end(&format!("/nodes/{node}/tasks/{upid}/log")).await;
        }
    }

    async fn wait_for_end(&self, path: &str) {
        let status = format!("{}/status", path.trim_end_matches("/status").trim_end_matches("/log"));
        let password = &self.sessions.passwords["root@pam"];
        let node = status.split('/').nth(2).unwrap_or_default();
        let address = self.sessions.address(node);
        let Ok(session) = Session::log_in(self.sim, address, "root@pam", password).await else { return };
        let root = Client::with_session(self.sim, address, &session);
        wait("the task to end", async || {
            let state = root.get(&status).await;
            state.status != 200 || state.body["data"]["status"] == "stopped"
        })
        .await;
    }

    /// Whether an earlier exchange is not simulated here.
    fn is_not_served(&self, number: u64) -> bool {
        let message = self.live.get(&number).and_then(|body| body["message"].as_str());
        message.is_some_and(|message| message.starts_with("not simulated"))
    }

    /// Values of earlier answers that differ: as they were recorded, and as they are here.
    fn values(&self) -> impl Iterator<Item = (&str, &str)> {
        let tasks =
            self.recording.exchanges.iter().filter_map(|one| Some((one.n, one.response.task()?, "/data".to_string())));
        let uses = self.recording.exchanges.iter().flat_map(|exchange| &exchange.request.uses);
        let used = uses.filter_map(|used| {
            let pointer = format!("/{}", used.path.replace('.', "/"));
            let recorded = self.recording.exchanges.iter().find(|one| one.n == used.n)?;
            Some((used.n, recorded.response.body.pointer(&pointer)?.as_str()?, pointer))
        });
        let values = tasks.chain(used).filter(|(_, recorded, _)| recorded.len() > 3);
        values.filter_map(|(n, recorded, pointer)| Some((recorded, self.live.get(&n)?.pointer(&pointer)?.as_str()?)))
    }

    /// Puts values of earlier answers here in the place of those recorded.
    fn translate(&self, text: &str) -> String {
        let encoded = |text: &str| utf8_percent_encode(text, PLAIN).to_string();
        let mut text = text.to_string();
        for (recorded, live) in self.values() {
            text = text.replace(recorded, live).replace(&encoded(recorded), &encoded(live));
        }
        text
    }

    /// The other way round: what is here, as it was recorded.
    fn as_recorded(&self, text: &str) -> String {
        self.values().fold(text.to_string(), |text, (recorded, live)| text.replace(live, recorded))
    }
}

fn encode(fields: &[(String, String)]) -> String {
    let one = |text: &str| utf8_percent_encode(text, PLAIN).to_string();
    let fields: Vec<String> = fields.iter().map(|(name, value)| format!("{}={}", one(name), one(value))).collect();
    fields.join("&")
}

/// Fields and files, the content of which is of the recorded size.
fn multipart(fields: &[(String, String)], request: &Request) -> (String, Vec<u8>) {
    const EDGE: &str = "----recorded-form";
    let mut body = Vec::new();
    for (name, value) in fields {
        let part = format!("--{EDGE}\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n");
        body.extend_from_slice(part.as_bytes());
    }
    for file in &request.files {
        let head = format!(
            "--{EDGE}\r\nContent-Disposition: form-data; name=\"{}\"; filename=\"{}\"\r\nContent-Type: application/octet-stream\r\n\r\n",
            file.field, file.filename
        );
        body.extend_from_slice(head.as_bytes());
        body.resize(body.len() + file.size, b'x');
        body.extend_from_slice(b"\r\n");
    }
    body.extend_from_slice(format!("--{EDGE}--\r\n").as_bytes());
    (format!("multipart/form-data; boundary={EDGE}"), body)
}
