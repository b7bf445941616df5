//! Proving who one is: tickets with their CSRF tokens, and API tokens.

use std::collections::BTreeMap;

use percent_encoding::percent_decode_str;
use serde_json::{Map, Value, json};

use super::access::Access;
use super::answer::{Answer, Outcome, Refusal};
use super::call::Call;
use super::cluster::Cluster;
use super::permission::Caller;
use crate::sim::chance::{hex, sha256};

/// How long a ticket is good, in seconds.
const TICKET_LIFE: u64 = 2 * 60 * 60;

/// What a request carries to prove itself.
#[derive(Debug, Default)]
pub(crate) struct Proof {
    /// The `Authorization` header.
    pub(crate) authorization: Option<String>,
    /// The value of the cookie `PVEAuthCookie`.
    pub(crate) ticket: Option<String>,
    /// The `CSRFPreventionToken` header.
    pub(crate) csrf: Option<String>,
}

/// Calls that need no login.
pub(crate) fn is_public(method: &str, path: &str) -> bool {
    matches!((method, path), ("GET" | "POST", "/access/ticket") | ("GET", "/access/domains"))
}

/// Finds out who calls.
pub(crate) fn authenticate(access: &Access, proof: &Proof, method: &str, now: u64) -> Result<Caller, Refusal> {
    let failed = || Refusal::silent(401, "Authentication failed!");
    if let Some(given) = proof.authorization.as_deref().and_then(|header| header.strip_prefix("PVEAPIToken=")) {
        let (id, secret) = given.split_once('=').ok_or_else(failed)?;
        let caller = Caller::parse(id);
        let token = caller.token.as_ref().ok_or_else(failed)?;
        let known = access.users.get(&caller.user).and_then(|user| user.tokens.get(token));
        let right = known.is_some_and(|known| known.secret == secret) && access.is_alive(&caller, now);
        return if right { Ok(caller) } else { Err(failed()) };
    }
    let ticket = proof.ticket.as_deref().ok_or_else(|| Refusal::silent(401, "No ticket"))?;
    let ticket = percent_decode_str(ticket).decode_utf8_lossy();
    let user = read_ticket(access, &ticket, now).ok_or_else(failed)?;
    let caller = Caller { user, token: None };
    if !access.is_alive(&caller, now) {
        return Err(failed());
    }
    let needs_csrf = method != "GET";
    if needs_csrf && proof.csrf.as_deref().is_none_or(|csrf| !is_csrf(access, &caller.user, csrf, now)) {
        return Err(Refusal::silent(401, "Permission denied - invalid csrf token"));
    }
    Ok(caller)
}

fn sign(access: &Access, text: &str) -> String {
    hex(&sha256(format!("{}/{text}", access.key)))
}

fn make_ticket(access: &Access, user: &str, now: u64) -> String {
    let plain = format!("PVE:{user}:{now:08X}");
    let signature = sign(access, &plain);
    format!("{plain}::{signature}")
}

fn read_ticket(access: &Access, ticket: &str, now: u64) -> Option<String> {
    let (plain, signature) = ticket.split_once("::")?;
    let mut parts = plain.splitn(3, ':');
    let (_, user, time) = (parts.next()?, parts.next()?, parts.next()?);
    let made = u64::from_str_radix(time, 16).ok()?;
    let fresh = now.saturating_sub(made) < TICKET_LIFE;
    (fresh && sign(access, plain) == signature).then(|| user.to_string())
}

fn make_csrf(access: &Access, user: &str, now: u64) -> String {
    let time = format!("{now:08X}");
    let signature = sign(access, &format!("csrf:{user}:{time}"));
    format!("{time}:{signature}")
}

fn is_csrf(access: &Access, user: &str, given: &str, now: u64) -> bool {
    let Some((time, signature)) = given.split_once(':') else { return false };
    let fresh = u64::from_str_radix(time, 16).is_ok_and(|made| now.saturating_sub(made) < TICKET_LIFE);
    fresh && sign(access, &format!("csrf:{user}:{time}")) == signature
}

/// `POST /access/ticket`.
pub(crate) fn log_in(cluster: &mut Cluster, call: &Call) -> Outcome {
    let failed = || Refusal::new(401, "authentication failure");
    let mut user = call.params.text("username").to_string();
    if let Some(realm) = call.params.get("realm").filter(|_| !user.contains('@')) {
        user = format!("{user}@{realm}");
    }
    let password = call.params.text("password");
    let caller = Caller { user, token: None };
    let access = &cluster.access;
    let known = access.users.get(&caller.user).ok_or_else(failed)?;
    // A ticket that is still good serves as the password, to renew it.
    let renews = read_ticket(access, password, call.seconds()).is_some_and(|owner| owner == caller.user);
    let right = renews || known.password.as_deref().is_some_and(|right| right == password);
    if !right || !access.is_alive(&caller, call.seconds()) {
        return Err(failed());
    }
    let mut data = json!({
        "username": caller.user,
        "ticket": make_ticket(access, &caller.user, call.seconds()),
        "CSRFPreventionToken": make_csrf(access, &caller.user, call.seconds()),
        "cap": capabilities(access, &caller),
    });
    if let Some(corosync) = &cluster.corosync {
        data["clustername"] = json!(corosync.name);
    }
    Answer::of(data)
}

/// What the web interface would show to a user.
fn capabilities(access: &Access, caller: &Caller) -> Value {
    let shown: BTreeMap<&str, (&str, &[&str])> = BTreeMap::from([
        ("vms", ("/vms", ["VM.", "Permissions.Modify"].as_slice())),
        ("access", ("/access", &["User.", "Group.", "Permissions.Modify"])),
        ("storage", ("/storage", &["Datastore.", "Permissions.Modify"])),
        ("nodes", ("/nodes", &["Sys.", "Permissions.Modify"])),
        ("sdn", ("/sdn", &["SDN.", "Permissions.Modify"])),
        ("dc", ("/", &["Sys.Audit", "Sys.Modify", "SDN."])),
        ("mapping", ("/mapping", &["Mapping.", "Permissions.Modify"])),
    ]);
    let of = |path: &str, prefixes: &[&str]| -> Map<String, Value> {
        let have = access.privileges(caller, path).into_keys();
        let fitting = have.filter(|privilege| prefixes.iter().any(|prefix| privilege.starts_with(prefix)));
        fitting.map(|privilege| (privilege, json!(1))).collect()
    };
    shown.into_iter().map(|(name, (path, prefixes))| (name.to_string(), json!(of(path, prefixes)))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn access() -> Access {
        let mut access = Access::with_root("key", "password");
        access.add_user("a@pve", "");
        access.add_token("a@pve", "t", true, "secret=with=signs");
        access
    }

    fn reason(proof: Proof, method: &str) -> String {
        authenticate(&access(), &proof, method, 1000).map(|caller| caller.id()).unwrap_or_else(|refusal| refusal.reason)
    }

    #[test]
    fn a_token_is_known_by_its_whole_secret() {
        let header = |text: &str| Proof { authorization: Some(text.into()), ..Proof::default() };
        assert_eq!(reason(header("PVEAPIToken=a@pve!t=secret=with=signs"), "POST"), "a@pve!t");
        assert_eq!(reason(header("PVEAPIToken=a@pve!t=wrong"), "GET"), "Authentication failed!");
        assert_eq!(reason(header("PVEAPIToken=a@pve!ghost=x"), "GET"), "Authentication failed!");
        assert_eq!(reason(header("Bearer abc"), "GET"), "No ticket");
    }

    #[test]
    fn a_ticket_reads_alone_and_writes_only_with_its_csrf_token() {
        let access = access();
        let ticket = make_ticket(&access, "root@pam", 1000);
        let proof = |csrf: Option<String>| Proof { ticket: Some(ticket.clone()), csrf, ..Proof::default() };
        assert_eq!(reason(proof(None), "GET"), "root@pam");
        assert_eq!(reason(proof(None), "POST"), "Permission denied - invalid csrf token");
        assert_eq!(reason(proof(Some(make_csrf(&access, "root@pam", 1000))), "POST"), "root@pam");
    }

    #[test]
    fn an_old_or_altered_ticket_is_worth_nothing() {
        let access = access();
        assert!(read_ticket(&access, &make_ticket(&access, "root@pam", 1000), 1000 + TICKET_LIFE).is_none());
        let altered = make_ticket(&access, "root@pam", 1000).replace("root", "toor");
        assert!(read_ticket(&access, &altered, 1000).is_none());
    }
}
