//! Being let in: which keys are offered in which order, and what is said when none will do.

use std::path::PathBuf;

use russh::client::{AuthResult, Handle};
use russh::keys::agent::AgentIdentity;
use russh::keys::agent::client::AgentClient;
use russh::keys::{HashAlg, PrivateKeyWithHashAlg};
use tokio::net::UnixStream;

use super::PublicKey;
use super::handshake::Verifier;
use super::identity::{Identities, Identity, Key};
use super::known_hosts::fingerprint;
use super::target::{Origin, Target};
use crate::error::{Class, Error, Result};

type Agent = AgentClient<UnixStream>;

/// Logs in: the keys that were named, then the agent's, then the default ones. Stops at the first that is accepted,
/// since the session takes no further attempt after that.
pub(super) async fn log_in(session: &mut Handle<Verifier>, target: &Target, identities: Identities) -> Result<()> {
    let (agent, held, note) = ask_agent(target.agent.as_ref()).await;
    let mut login = Login {
        session,
        target,
        agent,
        held,
        offered: Vec::new(),
        accepted: String::new(),
        notes: identities.notes.into_iter().chain(note).collect(),
    };
    let (defaults, named): (Vec<_>, Vec<_>) =
        identities.all.iter().partition(|identity| identity.origin == Origin::Default);
    if login.with_files(&named).await?
        || login.with_agent(&identities.all).await?
        || login.with_files(&defaults).await?
    {
        return Ok(());
    }
    login.give_up().await
}

/// The agent with the keys it holds, or a note why there is none.
async fn ask_agent(socket: Option<&PathBuf>) -> (Option<Agent>, Vec<AgentIdentity>, Option<String>) {
    let Some(socket) = socket else { return (None, Vec::new(), None) };
    let answer = async {
        let mut agent = Agent::connect_uds(socket).await?;
        let held = agent.request_identities().await?;
        Ok::<_, russh::keys::Error>((agent, held))
    };
    match answer.await {
        Ok((agent, held)) => (Some(agent), held, None),
        Err(error) => (None, Vec::new(), Some(format!("the agent at {} does not answer: {error}", socket.display()))),
    }
}

struct Login<'a> {
    session: &'a mut Handle<Verifier>,
    target: &'a Target,
    agent: Option<Agent>,
    held: Vec<AgentIdentity>,
    /// Every key that was shown, as people compare them.
    offered: Vec<(PublicKey, String)>,
    /// What the server last said it would accept.
    accepted: String,
    notes: Vec<String>,
}

impl Login<'_> {
    async fn with_files(&mut self, identities: &[&Identity]) -> Result<bool> {
        for identity in identities {
            let through_agent = identity.public_key().and_then(|key| self.held_key(key));
            let let_in = match (&identity.key, through_agent) {
                (Key::Open(key), _) => {
                    let hash = self.rsa_hash(key.public_key()).await?;
                    let signer = PrivateKeyWithHashAlg::new(key.clone(), hash);
                    self.offer(key.public_key(), &identity.place, Signer::File(signer)).await?
                }
                (_, Some(held)) => self.offer_held(held).await?,
                (_, None) if identity.origin == Origin::Given => return Err(identity.obstacle_error(self.target)),
                (_, None) => {
                    self.notes.push(format!("{}, and the agent does not hold it", identity.obstacle()));
                    false
                }
            };
            if let_in {
                return Ok(true);
            }
        }
        Ok(false)
    }

    async fn with_agent(&mut self, identities: &[Identity]) -> Result<bool> {
        for held in self.held.clone() {
            let public = held.public_key().into_owned();
            let named =
                || identities.iter().any(|identity| identity.public_key().is_some_and(|key| same(key, &public)));
            if (!self.target.identities_only || named()) && self.offer_held(held).await? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn held_key(&self, key: &PublicKey) -> Option<AgentIdentity> {
        self.held.iter().find(|held| same(&held.public_key(), key)).cloned()
    }

    async fn offer_held(&mut self, held: AgentIdentity) -> Result<bool> {
        let public = held.public_key().into_owned();
        self.offer(&public, "the agent", Signer::Agent(Box::new(held))).await
    }

    /// Shows one key. Says whether that let us in; an error ends the login.
    async fn offer(&mut self, public: &PublicKey, place: &str, signer: Signer) -> Result<bool> {
        if self.offered.iter().any(|(key, _)| same(key, public)) {
            return Ok(false);
        }
        self.offered.push((public.clone(), format!("{} ({place})", fingerprint(public))));
        let user = self.target.user.clone();
        let answer = match signer {
            Signer::File(key) => {
                self.session.authenticate_publickey(user, key).await.map_err(|error| error.to_string())
            }
            Signer::Agent(held) => {
                let hash = self.rsa_hash(public).await?;
                let Some(agent) = &mut self.agent else { return Ok(false) };
                let answer = match *held {
                    AgentIdentity::PublicKey { key, .. } => {
                        self.session.authenticate_publickey_with(user, key, hash, agent).await
                    }
                    AgentIdentity::Certificate { certificate, .. } => {
                        self.session.authenticate_certificate_with(user, certificate, hash, agent).await
                    }
                };
                answer.map_err(|error| error.to_string())
            }
        };
        match answer {
            Ok(AuthResult::Success) => Ok(true),
            _ if self.session.is_closed() => Err(self.cut_off()),
            Ok(answer) => {
                self.learn(answer);
                Ok(false)
            }
            Err(why) => {
                self.notes.push(format!("{} could not be used: {why}", fingerprint(public)));
                Ok(false)
            }
        }
    }

    /// How an RSA key must sign for this server; other keys have one way only.
    async fn rsa_hash(&self, key: &PublicKey) -> Result<Option<HashAlg>> {
        if !key.algorithm().is_rsa() {
            return Ok(None);
        }
        match self.session.best_supported_rsa_hash().await {
            Ok(hash) => Ok(hash.flatten()),
            Err(_) => Err(self.cut_off()),
        }
    }

    fn learn(&mut self, answer: AuthResult) {
        if let AuthResult::Failure { remaining_methods, .. } = answer {
            let names: Vec<&str> = remaining_methods.iter().map(Into::into).collect();
            self.accepted = names.join(", ");
        }
    }

    /// The error when the server hangs up on us.
    fn cut_off(&self) -> Error {
        let message = format!("{}: the server hung up during the login as {}", self.target, self.target.user);
        let error = Error::new(Class::Auth, message).cause(self.list_offered());
        error.help("servers hang up after a few wrong keys: name the right one with IdentityFile and IdentitiesOnly")
    }

    fn list_offered(&self) -> String {
        if self.offered.is_empty() {
            return "no key was offered".to_string();
        }
        let keys: Vec<&str> = self.offered.iter().map(|(_, shown)| shown.as_str()).collect();
        format!("offered: {}", keys.join(", "))
    }

    /// Says what was tried. A server that wants no key at all lets us in here.
    async fn give_up(mut self) -> Result<()> {
        if self.accepted.is_empty() {
            match self.session.authenticate_none(self.target.user.clone()).await {
                Ok(AuthResult::Success) => return Ok(()),
                Ok(answer) if !self.session.is_closed() => self.learn(answer),
                _ => return Err(self.cut_off()),
            }
        }
        let user = &self.target.user;
        let error = Error::new(Class::Auth, format!("{}: does not let {user} in", self.target));
        let error = error.cause(self.list_offered()).cause(format!("the server accepts: {}", self.accepted));
        let error = self.notes.iter().fold(error, |error, note| error.cause(note));
        let help = match self.offered.is_empty() {
            true => {
                "name a private key with HOMELAB_SSH_KEY or the host's `key`, or start an agent that holds one".into()
            }
            false => format!("add one of these keys to the authorized_keys of {user}, or log in as somebody else"),
        };
        Err(error.help(help))
    }
}

enum Signer {
    File(PrivateKeyWithHashAlg),
    Agent(Box<AgentIdentity>),
}

fn same(one: &PublicKey, other: &PublicKey) -> bool {
    one.key_data() == other.key_data()
}
