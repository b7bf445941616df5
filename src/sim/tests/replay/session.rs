//! Who asks in a recording, in words: tickets, tokens, and what only looks like them.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::super::lab::{Client, Session};
use super::ask::PATIENCE;
use super::recording::Exchange;
use crate::sim::Sim;

/// The sessions of one replay, each opened when it is first used.
pub(super) struct Sessions {
    /// Names of the nodes with their addresses.
    nodes: Vec<(String, String)>,
    open: BTreeMap<String, Session>,
    /// The passwords and the tokens' secrets that hold here.
    pub(super) passwords: BTreeMap<String, String>,
    pub(super) tokens: BTreeMap<String, String>,
    /// Secrets that held before.
    pub(super) old: BTreeMap<String, String>,
}

impl Sessions {
    /// Nobody has logged in yet; the tokens of the beginning share one secret.
    pub(super) fn new(sim: &Sim, nodes: Vec<(String, String)>, tokens: impl Iterator<Item = String>) -> Self {
        let given = |name: &str| sim.credentials()[name].clone();
        let passwords = BTreeMap::from([("root@pam".to_string(), given("HOMELAB_PVE_ROOT_PASSWORD"))]);
        let tokens = tokens.map(|id| (id, given("HOMELAB_PVE_TOKEN_SECRET"))).collect();
        Sessions { nodes, open: BTreeMap::new(), passwords, tokens, old: BTreeMap::new() }
    }

    /// The address of a node.
    pub(super) fn address(&self, name: &str) -> &str {
        self.nodes.iter().find(|(node, _)| node == name).map_or(&self.nodes[0].1, |(_, address)| address)
    }

    /// A client for an exchange; or why there can be none.
    pub(super) async fn client(&mut self, sim: &Sim, exchange: &Exchange) -> Result<Client, String> {
        let to = self.address(&exchange.request.to).to_string();
        let session = self.session(sim, exchange).await?;
        Ok(Client::with_session(sim, &to, &session))
    }

    async fn session(&mut self, sim: &Sim, exchange: &Exchange) -> Result<Session, String> {
        let who = exchange.who.as_str();
        let has = |word: &str| who.contains(word);
        if let Some(id) = who.strip_prefix("token ").filter(|id| id.contains('!')) {
            let wrong = exchange.response.status == 401 && exchange.note.contains("wrong secret");
            let old = exchange.response.status == 401 && exchange.note.contains("old secret");
            let known = if old { self.old.get(id) } else { self.tokens.get(id) };
            let secret = known.filter(|_| !wrong).map_or("00000000-0000-4000-8000-000000000000", String::as_str);
            return Ok(Session::token(id, secret));
        }
        if has("nobody") {
            return Ok(Session::default());
        }
        if has("Bearer") {
            return Ok(Session::header("Authorization", "Bearer abc"));
        }
        if has("malformed") && has("token") {
            return Ok(Session::header("Authorization", "PVEAPIToken=nonsense"));
        }
        if has("unknown") && has("token") {
            let user = if has("root@pam") { "root@pam" } else { "nobody@pve" };
            return Ok(Session::token(&format!("{user}!unknown"), "00000000-0000-4000-8000-000000000000"));
        }
        if has("garbage") {
            return Ok(Session::ticket("nonsense", None));
        }
        if has("forged") || has("expired") {
            return Ok(Session::ticket("PVE:root@pam:60000000::c2lnbmF0dXJl", None));
        }
        let (name, about) = who.split_once(" ticket").ok_or_else(|| format!("who asks is not understood: {who}"))?;
        let mut session = self.logged_in(sim, who, name, about).await?;
        if about.contains("without CSRF") {
            session.drop_csrf();
        } else if about.contains("wrong CSRF") {
            session.set_csrf("6B034000:nonsense");
        }
        Ok(session)
    }

    /// A ticket, which is fetched once for each wording: at the node that the words name, else at the first.
    async fn logged_in(&mut self, sim: &Sim, who: &str, name: &str, about: &str) -> Result<Session, String> {
        if let Some(known) = self.open.get(who) {
            return Ok(known.clone());
        }
        let user = if name.contains('@') { name.to_string() } else { format!("{name}@pam") };
        let password = self.passwords.get(&user).ok_or_else(|| format!("the password of {user} is not told"))?;
        let node = self.nodes.iter().find(|(node, _)| about.contains(node.as_str())).unwrap_or(&self.nodes[0]);
        let mut session = Session::log_in(sim, &node.1, &user, password).await;
        // Whoever comes after something has happened waits until the node takes logins again.
        let deadline = Instant::now() + PATIENCE;
        while session.is_err() && about.contains("after") && Instant::now() < deadline {
            tokio::time::sleep(Duration::from_millis(15)).await;
            session = Session::log_in(sim, &node.1, &user, password).await;
        }
        let session = session?;
        self.open.insert(who.into(), session.clone());
        Ok(session)
    }
}
