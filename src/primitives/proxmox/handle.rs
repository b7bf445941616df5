//! The handle that playbooks hold on a Proxmox VE API.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde_json::Value as Json;

use crate::clients::proxmox::{Answer, Client, Params, Upid, segment};
use crate::error::{Class, Error, Result};
use crate::run::capability::Writer;
use crate::run::event::What;
use crate::run::resource::{Cell, Reader};
use crate::run::scope;
use crate::suggest;

use super::reads;

/// What a change of Proxmox can reach, as far as the gate can tell.
pub const REALM: &str = "proxmox";

/// How long a task may take unless the primitive says otherwise.
pub const TASK_TIMEOUT: Duration = Duration::from_secs(15 * 60);

/// One row of the cluster's list of guests.
#[derive(Debug, Clone)]
pub struct Guest {
    /// Its number.
    pub vmid: i64,
    /// `qemu` or `lxc`, as paths name it.
    pub kind: String,
    /// Its name.
    pub name: String,
    /// The node it is on.
    pub node: String,
    /// `running` or `stopped`.
    pub status: String,
    /// Whether it is a template.
    pub template: bool,
    /// What a task has locked it for: `clone`, `migrate`, `backup`.
    pub lock: Option<String>,
}

/// A connection to Proxmox VE. Copies are cheap and share connections, login and what was read.
#[derive(Clone)]
pub struct Proxmox {
    inner: Arc<Inner>,
}

struct Inner {
    client: Client,
    /// Who makes the tokens that this run has planned.
    makers: Arc<Makers>,
    /// The node that answers, where the playbook has said so.
    node: Option<String>,
    guests: tokio::sync::Mutex<Option<Arc<Vec<Guest>>>>,
    permissions: tokio::sync::Mutex<Option<Arc<Permissions>>>,
    nodes: tokio::sync::OnceCell<Vec<String>>,
    queues: Mutex<HashMap<String, Arc<tokio::sync::Mutex<()>>>>,
    /// What a dry run has looked at, by path and parameters.
    looked: Mutex<HashMap<String, Arc<tokio::sync::OnceCell<Json>>>>,
    /// The pending network changes that this run has staged, by node.
    staged: Mutex<HashMap<String, String>>,
}

/// Who makes tokens, by the tokens' ids. A dry run that has only planned one asks its maker in its stead: what is there does
/// not depend on who looks.
#[derive(Default)]
pub struct Makers(Mutex<HashMap<String, Client>>);

impl Makers {
    /// Takes note of who makes a token.
    pub fn note(&self, token: &str, maker: &Client) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(token.to_owned(), maker.clone());
    }

    fn of(&self, token: &str) -> Option<Client> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(token).cloned()
    }
}

/// Privileges by path, as the API grants them to whoever asks.
pub type Permissions = BTreeMap<String, BTreeMap<String, bool>>;

impl fmt::Debug for Proxmox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "proxmox({})", self.inner.client.place())
    }
}

impl Proxmox {
    /// A handle on a client; the node that answers may be known.
    pub fn new(client: Client, node: Option<String>) -> Self {
        Proxmox::knowing(Arc::default(), client, node)
    }

    /// The same in a run that plans tokens.
    pub fn knowing(makers: Arc<Makers>, client: Client, node: Option<String>) -> Self {
        Proxmox {
            inner: Arc::new(Inner {
                client,
                makers,
                node,
                guests: tokio::sync::Mutex::default(),
                permissions: tokio::sync::Mutex::default(),
                nodes: tokio::sync::OnceCell::new(),
                queues: Mutex::default(),
                looked: Mutex::default(),
                staged: Mutex::default(),
            }),
        }
    }

    /// The client behind it.
    pub fn client(&self) -> &Client {
        &self.inner.client
    }

    /// The node that answers, where the playbook has said so.
    pub fn node(&self) -> Option<&str> {
        self.inner.node.as_deref()
    }

    /// Where the API is, for errors.
    pub fn place(&self) -> &str {
        self.inner.client.place()
    }

    /// The client that reads: where the token is only planned, that of whoever is to make it.
    fn asker(&self) -> Result<Client> {
        let own = &self.inner.client;
        let maker = reads::planned_token(own.who())?.and_then(|_| self.inner.makers.of(own.who()));
        Ok(maker.unwrap_or_else(|| own.clone()))
    }

    /// Reads a path as it is now, and notes that it was read.
    pub fn get_now(&self, reader: &Reader, path: &str, params: &Params) -> Result<Json> {
        reader.touch(path);
        let client = self.asker()?;
        reader.wait(async { Ok(client.get(path, params).await?.data) })
    }

    /// Reads a path, and notes that it was read. A dry run changes nothing, so it asks once for all who want to know.
    pub fn get(&self, reader: &Reader, path: &str, params: &Params) -> Result<Json> {
        if !scope::is_planning()? {
            return self.get_now(reader, path, params);
        }
        reader.touch(path);
        let key = format!("{path}?{}", params.encoded());
        let client = self.asker()?;
        let looked =
            Arc::clone(self.inner.looked.lock().unwrap_or_else(PoisonError::into_inner).entry(key).or_default());
        reader.wait(async {
            let ask = async || Ok(client.get(path, params).await?.data);
            looked.get_or_try_init(ask).await.cloned()
        })
    }

    /// All guests that the token may see: one request for all VMs of a playbook, until something changes.
    pub fn guests(&self, reader: &Reader) -> Result<Arc<Vec<Guest>>> {
        reader.touch("/cluster/resources");
        let client = self.asker()?;
        reader.wait(async {
            let mut known = self.inner.guests.lock().await;
            if let Some(guests) = &*known {
                return Ok(Arc::clone(guests));
            }
            let answer = client.get("/cluster/resources", &Params::new().with("type", "vm")).await?;
            let guests = Arc::new(parse_guests(&answer));
            *known = Some(Arc::clone(&guests));
            Ok(guests)
        })
    }

    /// What the token may do, by path.
    pub fn permissions(&self, reader: &Reader) -> Result<Arc<Permissions>> {
        let client = self.asker()?;
        reader.wait(async {
            let mut known = self.inner.permissions.lock().await;
            if let Some(permissions) = &*known {
                return Ok(Arc::clone(permissions));
            }
            let answer = client.get("/access/permissions", &Params::new()).await?;
            let permissions = Arc::new(parse_permissions(&answer.data));
            *known = Some(Arc::clone(&permissions));
            Ok(permissions)
        })
    }

    /// Refuses a node that the cluster does not have. Its nodes are asked for once.
    pub fn check_node(&self, reader: &Reader, wanted: &str) -> Result<()> {
        reader.touch("/nodes");
        // One whose join is planned will be there.
        let member = Cell::new(REALM, format!("member:{wanted}"));
        if scope::is_planning()? && scope::with(|branch| branch.overlay.cell(&member).is_some())? {
            return Ok(());
        }
        let client = self.asker()?;
        let names = reader.wait(async {
            let ask = async || {
                let rows = client.get("/nodes", &Params::new()).await?.data;
                let name = |row: &Json| row.get("node").and_then(Json::as_str).map(str::to_owned);
                let mut names: Vec<String> = rows.as_array().into_iter().flatten().filter_map(name).collect();
                names.sort();
                Ok::<_, Error>(names)
            };
            self.inner.nodes.get_or_try_init(ask).await.cloned()
        })?;
        if names.iter().any(|name| name == wanted) {
            return Ok(());
        }
        Err(Error::new(Class::Blocked, format!("{}: the cluster has no node {wanted}", self.place()))
            .help(suggest::help(wanted, "nodes", names.iter().map(String::as_str))))
    }

    /// Whether the token holds a privilege on a path. Rows of deeper paths replace what is inherited.
    pub fn may(&self, reader: &Reader, path: &str, privilege: &str) -> Result<bool> {
        Ok(holds(&*self.permissions(reader)?, path, privilege))
    }

    /// Proves that a machine could be seen: the API hides what one may not see, so that its absence is only believed then.
    pub(super) fn require_sight(&self, reader: &Reader, vmid: i64, address: &str) -> Result<()> {
        let path = format!("/vms/{vmid}");
        if self.may(reader, &path, "VM.Audit")? {
            return Ok(());
        }
        Err(Error::new(Class::Permission, format!("{address}: cannot tell whether it exists"))
            .cause(format!("the token lacks VM.Audit on {path}, so the API would hide the VM"))
            .help("as root on a node, add it to the role that the token has there (`pveum acl list`): pveum role modify ROLE --append 1 --privs VM.Audit"))
    }

    /// Forgets what the asker may do: the access list changed.
    pub fn forget_permissions(&self) {
        // Whoever holds the lock is about to fill it with what is true now.
        if let Ok(mut known) = self.inner.permissions.try_lock() {
            *known = None;
        }
    }

    /// Forgets what was read about guests: something changed.
    pub fn forget_guests(&self) {
        // Whoever holds the lock is about to fill it with what is true now.
        if let Ok(mut known) = self.inner.guests.try_lock() {
            *known = None;
        }
    }

    /// Forgets what was read about guests where that may be old: a dry run changes nothing.
    pub fn forget_guests_of_run(&self) -> Result<()> {
        if !scope::is_planning()? {
            self.forget_guests();
        }
        Ok(())
    }

    /// The queue of a storage: Proxmox serialises what allocates there and gives up after 10 s.
    pub fn queue(&self, storage: &str) -> Arc<tokio::sync::Mutex<()>> {
        let mut queues = self.inner.queues.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(queues.entry(storage.to_owned()).or_default())
    }

    /// Notes the pending network changes of a node as those of this run.
    pub fn note_staged(&self, node: &str, changes: &str) {
        let mut staged = self.inner.staged.lock().unwrap_or_else(PoisonError::into_inner);
        staged.insert(node.to_owned(), changes.to_owned());
    }

    /// Whether this run has staged the pending network changes of a node.
    pub fn has_staged(&self, node: &str, changes: &str) -> bool {
        let staged = self.inner.staged.lock().unwrap_or_else(PoisonError::into_inner);
        staged.get(node).is_some_and(|known| known == changes)
    }

    /// A task that is at work on a VM.
    pub fn active_task(&self, reader: &Reader, node: &str, vmid: i64) -> Result<Option<Upid>> {
        let params = Params::new().with("source", "active").with("vmid", vmid);
        let tasks = self.get_now(reader, &format!("/nodes/{}/tasks", segment(node)), &params)?;
        let rows = tasks.as_array().map(Vec::as_slice).unwrap_or_default();
        rows.iter().filter_map(|row| row.get("upid")?.as_str()).next().map(Upid::parse).transpose()
    }

    /// Posts something that becomes a task, and waits for its end.
    pub fn post_task(&self, path: &str, params: &Params, timeout: Duration, writer: &Writer) -> Result<()> {
        let answer = scope::wait(async { Ok(self.inner.client.post(path, params, writer).await?) })?;
        self.finish_task(&answer, timeout)
    }

    /// Waits for the task that an answer names; an answer without one is done already.
    pub fn finish_task(&self, answer: &Answer, timeout: Duration) -> Result<()> {
        self.forget_guests();
        match Upid::of(answer) {
            Ok(upid) => self.follow(&upid, timeout),
            Err(_) if answer.data.is_null() => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Waits for a task, its id journalled first so that the next run can find it again.
    pub fn follow(&self, upid: &Upid, timeout: Duration) -> Result<()> {
        if let Some(change) = scope::with(|branch| branch.change)? {
            scope::emit(What::TaskStarted { change, upid: upid.to_string() })?;
        }
        let end = scope::wait(async { Ok(self.inner.client.wait_task(upid, timeout, |_| {}).await?) })?;
        self.forget_guests();
        if let Some(count) = end.warnings {
            let text = format!("{upid}: ended with {count} warnings: {}", end.lines.join("; "));
            scope::say(crate::run::event::Level::Warn, text)?;
        }
        Ok(())
    }
}

fn parse_guests(answer: &Answer) -> Vec<Guest> {
    let text = |row: &Json, key: &str| row.get(key).and_then(Json::as_str).unwrap_or_default().to_owned();
    let rows = answer.data.as_array().map(Vec::as_slice).unwrap_or_default();
    rows.iter()
        .filter_map(|row| {
            Some(Guest {
                vmid: integer(row.get("vmid")?)?,
                kind: text(row, "type"),
                name: text(row, "name"),
                node: text(row, "node"),
                status: text(row, "status"),
                lock: row.get("lock").and_then(Json::as_str).map(str::to_owned),
                template: row.get("template").and_then(integer).is_some_and(|flag| flag != 0),
            })
        })
        .collect()
}

fn parse_permissions(data: &Json) -> Permissions {
    let Some(paths) = data.as_object() else { return Permissions::new() };
    let row = |privileges: &Json| -> BTreeMap<String, bool> {
        let privileges = privileges.as_object().into_iter().flatten();
        privileges.filter_map(|(name, propagates)| Some((name.clone(), integer(propagates)? != 0))).collect()
    };
    paths.iter().map(|(path, privileges)| (path.clone(), row(privileges))).collect()
}

/// Whether privileges by path include one: the row of the path itself, else the nearest one above that propagates.
pub fn holds(permissions: &Permissions, path: &str, privilege: &str) -> bool {
    let mut at = path.trim_end_matches('/').to_owned();
    let mut exact = true;
    loop {
        let key = if at.is_empty() { "/" } else { at.as_str() };
        if let Some(row) = permissions.get(key) {
            return row.get(privilege).is_some_and(|propagates| exact || *propagates);
        }
        if at.is_empty() {
            return false;
        }
        at.truncate(at.rfind('/').unwrap_or(0));
        exact = false;
    }
}

/// The API writes the same field as a number here and as a string there.
pub fn integer(value: &Json) -> Option<i64> {
    value.as_i64().or_else(|| value.as_str()?.trim().parse().ok()).or_else(|| value.as_bool().map(i64::from))
}

/// The error of an answer that has not the form it should have.
pub fn nonsense(place: &str, path: &str, what: &str) -> Error {
    Error::new(Class::Failed, format!("{place}: the answer to GET {path} has no {what}"))
        .help("is this a Proxmox VE 9 API? `homelab run -v` shows what is asked")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn permissions(rows: serde_json::Value) -> Permissions {
        parse_permissions(&rows)
    }

    #[test]
    fn a_privilege_comes_from_the_nearest_row_above_that_propagates() {
        let granted = permissions(serde_json::json!({
            "/": { "Sys.Audit": 0 },
            "/vms": { "VM.Audit": 1 },
            "/vms/105": { "VM.Console": 1 },
        }));
        assert!(holds(&granted, "/", "Sys.Audit"));
        assert!(!holds(&granted, "/nodes", "Sys.Audit"), "it does not propagate");
        assert!(holds(&granted, "/vms/111", "VM.Audit"));
        assert!(!holds(&granted, "/vms/105", "VM.Audit"), "the deeper row replaces what is inherited");
    }
}
