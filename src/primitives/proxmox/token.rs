//! API tokens. Proxmox shows the secret of one when it makes it, and never again.

use std::sync::Arc;

use rhai::{Dynamic, Map as ScriptMap, NativeCallContext};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value as Json;

use super::connect::Api;
use super::handle::{Proxmox, REALM, integer, nonsense};
use super::keeper::Keeper;
use crate::clients::proxmox::{Answer, Credentials, Failure, Params, segment};
use crate::error::{Class, Error, Result};
use crate::primitives::flow::outcome;
use crate::primitives::inputs::Inputs;
use crate::run::capability::Writer;
use crate::run::difference::Difference;
use crate::run::ensure::ensure;
use crate::run::event::Action;
use crate::run::resource::{Cell, Fact, Reader, Resource};
use crate::run::scope;
use crate::run::secret::Secret;
use crate::run::unknown::Unknown;
use crate::run::value::{Map, State, Value};
use crate::script::RhaiResult;
use crate::script::context::{Context, options};
use crate::script::convert::to_dynamic;
use crate::script::failure::fail;

/// A token as it should be. What is not said is left as it is.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TokenOptions {
    /// Its whole name, as in `automation@pve!homelab`.
    pub id: String,
    /// A comment; `""` for none.
    #[serde(default)]
    pub comment: Option<String>,
    /// When it expires, in seconds since 1970; 0 is never. Default: never for a new one.
    #[serde(default)]
    #[schemars(range(min = 0))]
    pub expire: Option<i64>,
    /// Whether it has rights of its own (`pve.acl`), of which it may use those that its user has as well; otherwise it may do
    /// what its user may. Default: true for a new one.
    #[serde(default)]
    pub privsep: Option<bool>,
    /// The file on this machine that the secret goes into and is kept in, for its owner alone (0600): below the project, or
    /// absolute, or `~/…`. Version control should not see it. With it, the secret is tried at every run, and one that is
    /// missing or not taken is replaced where `allow_destroy` is said. Default: the secret is given back once, as
    /// `after.value`, by the run that makes the token.
    #[serde(default)]
    pub secret_file: Option<String>,
    /// Instead of a file of its own, the variable that the secret is kept in, as in `HOMELAB_PVE_TOKEN_SECRET`: its line of
    /// `.envrc` (in the simulator, of that one's credentials) gets it, and `proxmox::connect` finds it there, in this run too.
    #[serde(default)]
    pub secret_variable: Option<String>,
    /// Whether it should not be there. Default: false.
    #[serde(default)]
    pub absent: bool,
    /// Whether the playbook allows it to be taken away, or its secret to be replaced, which ends the old one wherever that is
    /// in use; the run must name it too. Default: false.
    #[serde(default)]
    pub allow_destroy: bool,
}

/// A token.
struct Token {
    pve: Proxmox,
    options: TokenOptions,
    path: String,
    keeper: Option<Keeper>,
}

/// Brings a token to its wanted state. The outcome has its secret as `after.value` where that can be known.
pub(super) fn token(call: &NativeCallContext<'_>, pve: &Proxmox, map: ScriptMap) -> RhaiResult<ScriptMap> {
    let options: TokenOptions = options(call, "pve.token", map)?;
    let inputs = Context::service::<Inputs>(call)?;
    let api = Context::service::<Api>(call)?;
    settle(pve, options, &inputs, &api).map_err(fail)
}

fn settle(pve: &Proxmox, options: TokenOptions, inputs: &Inputs, api: &Arc<Api>) -> Result<ScriptMap> {
    let Some((user, name)) = options.id.split_once('!') else {
        return Err(Error::new(Class::Script, format!("`token`: `{}` is no token", options.id))
            .help("write it with its user, as in `automation@pve!homelab`"));
    };
    let path = format!("/access/users/{}/token/{}", segment(user), segment(name));
    let keeper = match (&options.secret_file, &options.secret_variable) {
        (Some(_), Some(_)) => {
            return Err(Error::new(Class::Script, "`token`: a secret is kept in one place")
                .help("say `secret_file` or `secret_variable`, not both"));
        }
        (Some(file), None) => Some(Keeper::File(inputs.path(file)?)),
        (None, Some(name)) => Some(Keeper::variable(name, inputs, api)?),
        (None, None) => None,
    };
    let token = Arc::new(Token { pve: pve.clone(), path, keeper, options });
    let outcome = ensure(&token)?;
    if scope::is_planning()? {
        api.note_maker(&token.options.id, pve);
    }
    let is_fresh = outcome.action == Some(Action::Create) || outcome.diff.iter().any(|field| field.path == "secret");
    let mut map = outcome::to_map(outcome);
    token.add_secret(is_fresh, &mut map)?;
    Ok(map)
}

impl Token {
    /// The secret that is kept, if one is.
    fn kept(&self) -> Result<Option<Secret>> {
        let Some(keeper) = &self.keeper else { return Ok(None) };
        let text =
            keeper.read().map_err(|error| error.context(format!("{}: its secret cannot be read", self.address())))?;
        let text = text.trim();
        Ok(if text.is_empty() { None } else { Some(scope::run()?.redactor.secret(text)) })
    }

    /// What the secret that is kept is worth: the API is asked with it.
    fn worth(&self, reader: &Reader) -> Result<&'static str> {
        let Some(secret) = self.kept()? else { return Ok("missing") };
        let credentials = Credentials::Token { id: self.options.id.clone(), secret: secret.expose().to_owned() };
        let Ok(client) = self.pve.client().with_credentials(credentials) else { return Ok("refused") };
        match reader.wait(async { Ok(client.get("/version", &Params::new()).await) })? {
            Ok(_) => Ok("works"),
            Err(failure) if failure.class() == Class::Auth => Ok("refused"),
            Err(failure) => {
                Err(Error::from(failure).context(format!("{}: its secret cannot be tried", self.address())))
            }
        }
    }

    /// Puts the secret into the outcome: what the file keeps, what will be known after the run, or that it is gone.
    fn add_secret(&self, is_fresh: bool, outcome: &mut ScriptMap) -> Result<()> {
        let Some(mut after) = outcome.get("after").and_then(|after| after.clone().try_cast::<ScriptMap>()) else {
            return Ok(());
        };
        let unknown = Unknown::from_origin(format!("{}.value", self.address()));
        let value = match (after.contains_key("value"), is_fresh) {
            (true, _) => return Ok(()),
            (false, true) => Value::Unknown(unknown),
            (false, false) => self.kept()?.map_or_else(|| Value::Unknown(unknown.spent()), Value::Secret),
        };
        after.insert("value".into(), to_dynamic(&value));
        outcome.insert("after".into(), Dynamic::from(after));
        Ok(())
    }

    fn wanted(&self, have: &Map) -> Map {
        let mut want = have.clone();
        let TokenOptions { comment, expire, privsep, .. } = &self.options;
        let said = [
            ("comment", comment.as_deref().map(Value::text)),
            ("expire", expire.map(Value::Int)),
            ("privsep", privsep.or(have.is_empty().then_some(true)).map(Value::Bool)),
            ("secret", self.keeper.as_ref().map(|_| Value::from("works"))),
        ];
        want.extend(said.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))));
        want.retain(|_, value| value.as_text() != Some(""));
        want
    }

    fn params(&self, difference: &Difference) -> Params {
        let mut params = Params::new();
        if difference.touches("comment") {
            params.push("comment", difference.wanted("comment").and_then(Value::as_text).unwrap_or_default());
        }
        if let Some(expire) =
            difference.wanted("expire").and_then(Value::as_int).filter(|_| difference.touches("expire"))
        {
            params.push("expire", expire);
        }
        if difference.touches("privsep") {
            params.push("privsep", difference.wanted("privsep") == Some(&Value::Bool(true)));
        }
        params
    }

    fn create(&self, difference: &Difference, writer: &Writer) -> Result<Answer, Failure> {
        let params = self.params(difference);
        scope::wait(async { Ok(self.pve.client().post(&self.path, &params, writer).await) })?
    }

    fn update(&self, difference: &Difference, writer: &Writer) -> Result<Answer, Failure> {
        let mut params = self.params(difference);
        if difference.touches("secret") {
            params.push("regenerate", true);
        }
        scope::wait(async { Ok(self.pve.client().put(&self.path, &params, writer).await) })?
    }

    /// A secret cannot be asked for again, so that there must be somewhere to put it before it is shown.
    fn make_room(&self) -> Result<()> {
        let unwritable = |error: Error| error.context(format!("{}: its secret cannot be written down", self.address()));
        self.keeper.as_ref().map_or(Ok(()), Keeper::make_room).map_err(unwritable)
    }

    /// Takes the secret out of the only answer that has it.
    fn keep(&self, answer: &Answer) -> Result<Map> {
        let shown = answer.data.get("value").and_then(Json::as_str);
        let shown = shown.ok_or_else(|| nonsense(self.pve.place(), &self.path, "value"))?;
        let secret = scope::run()?.redactor.secret(shown);
        if let Some(keeper) = &self.keeper {
            let unwritable =
                |error: Error| error.context(format!("{}: its secret cannot be written down", self.address()));
            keeper.write(shown).map_err(unwritable)?;
        }
        Ok(Map::from([("value".to_owned(), Value::Secret(secret))]))
    }
}

impl Fact for Token {
    fn address(&self) -> String {
        self.cell().to_string()
    }

    fn cell(&self) -> Cell {
        Cell::new(REALM, format!("token:{}", self.options.id))
    }

    fn read(&self, reader: &Reader) -> Result<State> {
        reader.touch(&self.path);
        let answer = reader.wait(async { Ok(self.pve.client().get(&self.path, &Params::new()).await) })?;
        let row = match answer {
            Ok(answer) => answer.data,
            Err(failure) if failure.says_missing() => return Ok(State::Absent),
            Err(failure) => return Err(Error::from(failure).context(format!("{}: cannot be read", self.address()))),
        };
        let mut state = Map::new();
        if let Some(comment) = row.get("comment").and_then(Json::as_str).filter(|comment| !comment.is_empty()) {
            state.insert("comment".to_owned(), Value::text(comment));
        }
        state.insert("expire".to_owned(), Value::Int(row.get("expire").and_then(integer).unwrap_or_default()));
        state.insert("privsep".to_owned(), Value::Bool(row.get("privsep").and_then(integer) != Some(0)));
        if self.keeper.is_some() && !self.options.absent {
            state.insert("secret".to_owned(), Value::text(self.worth(reader)?));
        }
        Ok(State::Here(Value::Map(state)))
    }
}

impl Resource for Token {
    fn want(&self, have: &State) -> Result<State> {
        if self.options.absent {
            return Ok(State::Absent);
        }
        Ok(match have {
            State::Unknown(unknown) => State::Unknown(unknown.clone()),
            State::Absent => State::Here(Value::Map(self.wanted(&Map::new()))),
            State::Here(value) => State::Here(Value::Map(self.wanted(value.as_map().unwrap_or(&Map::new())))),
        })
    }

    fn change(&self, difference: &Difference, writer: &Writer) -> Result<Map> {
        let refused = |what: &str| {
            let address = self.address();
            let text = format!("{address}: {what}");
            move |failure: Failure| Error::from(failure).context(text)
        };
        match (&difference.have, &difference.want) {
            (_, State::Absent) => {
                let client = self.pve.client();
                let answer = scope::wait(async { Ok(client.delete(&self.path, &Params::new(), writer).await) })?;
                answer.map(|_| Map::new()).map_err(refused("cannot be taken away"))
            }
            (State::Absent, _) => {
                self.make_room()?;
                self.keep(&self.create(difference, writer).map_err(refused("cannot be made"))?)
            }
            _ if difference.touches("secret") => {
                self.make_room()?;
                self.keep(&self.update(difference, writer).map_err(refused("its secret cannot be replaced"))?)
            }
            _ => self.update(difference, writer).map(|_| Map::new()).map_err(refused("cannot be changed")),
        }
    }

    fn fills(&self) -> Vec<String> {
        vec!["expire".to_owned()]
    }

    fn destroys(&self, difference: &Difference) -> Option<String> {
        match (&difference.have, &difference.want) {
            (State::Absent, _) => None,
            (_, State::Absent) => Some("it would end the token wherever it is in use".to_owned()),
            _ if difference.touches("secret") => {
                let found = difference.found("secret").and_then(Value::as_text).unwrap_or("missing");
                let file = self.keeper.as_ref().map(ToString::to_string).unwrap_or_default();
                let what = if found == "missing" { "holds no secret" } else { "holds a secret that Proxmox refuses" };
                Some(format!("{file} {what}, and a new secret would end the present one wherever that is in use"))
            }
            _ => None,
        }
    }

    fn may_destroy(&self) -> bool {
        self.options.allow_destroy
    }
}
