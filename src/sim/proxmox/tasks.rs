//! Tasks: what a UPID stands for. A task is data with an end; what it brings about happens when that time has come, even
//! if the program was killed in between.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::answer::{Answer, Outcome, Refusal};
use super::call::Call;
use super::cluster::Cluster;
use super::effects::Effect;
use super::formats::list as items;
use super::membership::JoinOrder;
use super::vm::lock_file;

/// How many tasks are remembered.
const ARCHIVE: usize = 2000;

/// A task, running or ended.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Task {
    pub(crate) upid: String,
    pub(crate) node: String,
    pub(crate) kind: String,
    pub(crate) id: String,
    /// The user, or the token with its user.
    pub(crate) owner: String,
    pub(crate) pid: u64,
    pub(crate) pstart: u64,
    /// In milliseconds.
    pub(crate) starts: u64,
    /// When it will have ended.
    pub(crate) ends: u64,
    pub(crate) effect: Effect,
    pub(crate) log: Vec<String>,
    /// How it ended.
    pub(crate) exit: Option<String>,
    /// The failure that was injected: it will end so, without its effect.
    pub(crate) fault: Option<String>,
}

impl Task {
    fn user(&self) -> &str {
        self.owner.split('!').next().unwrap_or_default()
    }

    fn row(&self) -> Value {
        let mut row = json!({
            "upid": self.upid, "node": self.node, "pid": self.pid, "pstart": self.pstart,
            "starttime": self.starts / 1000, "type": self.kind, "id": self.id, "user": self.user(),
        });
        if let Some((_, token)) = self.owner.split_once('!') {
            row["tokenid"] = json!(token);
        }
        row
    }

    /// Ends it as the end of its process does, which leaves neither a last line nor a status: the server then reads the
    /// end of the log and finds none there.
    pub(crate) fn die(&mut self, now: u64) {
        if self.exit.is_none() {
            let found = if self.log.is_empty() { "unable to read tail (got 0 bytes)" } else { "unexpected status" };
            self.exit = Some(found.into());
            self.ends = now;
            self.effect = Effect::Nothing;
        }
    }

    /// The join that it is, which the world ends, unless it is to fail on purpose.
    pub(crate) fn joins(&self) -> Option<&JoinOrder> {
        match &self.effect {
            Effect::Join(order) if self.fault.is_none() => Some(order),
            _ => None,
        }
    }

    fn is_error(&self) -> bool {
        self.exit.as_deref().is_some_and(|exit| exit != "OK")
    }

    fn status_type(&self) -> &'static str {
        match self.exit.as_deref() {
            Some("OK") => "ok",
            Some(exit) if exit.starts_with("WARNINGS:") => "warning",
            Some(_) => "error",
            None => "unknown",
        }
    }

    /// Ends it: the last line of the log and the exit status.
    fn end(&mut self, result: Result<usize, String>) {
        let (line, exit) = match result {
            Ok(0) => ("TASK OK".to_string(), "OK".to_string()),
            Ok(warnings) => (format!("TASK WARNINGS: {warnings}"), format!("WARNINGS: {warnings}")),
            Err(error) => (format!("TASK ERROR: {error}"), error),
        };
        self.log.push(line);
        self.exit = Some(exit);
    }
}

impl Cluster {
    /// Starts a task and gives its UPID. What its beginning refuses is the task's failure, not the call's.
    pub(crate) fn fork(&mut self, call: &Call, kind: &str, id: &str, effect: Effect) -> Outcome {
        self.forget_old_tasks();
        let pid = self.next_pid();
        let pstart = call.now / 10 % 0xFFFF_FFFF;
        let owner = call.caller.id();
        let upid = format!("UPID:{}:{pid:08X}:{pstart:08X}:{:08X}:{kind}:{id}:{owner}:", call.node, call.seconds());
        let mut log = Vec::new();
        let begun = effect.demand_quorum(self, &call.node, pid);
        let begun = begun.and_then(|()| effect.begin(self, &call.node, call.now, &mut log));
        let length = begun.as_ref().map_or(5, |span| self.span(*span));
        let mut task = Task {
            upid: upid.clone(),
            node: call.node.clone(),
            kind: kind.into(),
            id: id.into(),
            owner,
            pid,
            pstart,
            starts: call.now,
            ends: call.now + length,
            effect,
            log,
            exit: None,
            fault: None,
        };
        if let Err(error) = begun {
            task.effect = Effect::Nothing;
            task.end(Err(error));
        }
        self.tasks.push(task);
        Answer::of(upid)
    }

    /// Ends a task that something outside of the cluster has carried out.
    pub(crate) fn end_task(&mut self, upid: &str, log: Vec<String>, result: Result<(), String>) {
        if let Some(task) = self.tasks.iter_mut().find(|task| task.upid == upid) {
            task.effect = Effect::Nothing;
            task.log.extend(log);
            task.end(result.map(|()| 0));
        }
    }

    /// Lets a task go on without end, with what it has said so far.
    pub(crate) fn hold_task(&mut self, upid: &str, log: Vec<String>) {
        if let Some(task) = self.tasks.iter_mut().find(|task| task.upid == upid) {
            task.effect = Effect::Nothing;
            task.log.extend(log);
            task.ends = u64::MAX;
        }
    }

    /// The process that the next task will be.
    pub(crate) fn next_pid(&self) -> u64 {
        self.tasks.last().map_or(1000, |last| last.pid) + 7
    }

    /// Lets the newest task end at once, and gives its error if it has one.
    pub(crate) fn end_newest(&mut self, now: u64) -> Option<String> {
        if let Some(task) = self.tasks.last_mut() {
            task.ends = now;
        }
        self.settle(now);
        let exit = self.tasks.last()?.exit.clone()?;
        (exit != "OK" && !exit.starts_with("WARNINGS:")).then_some(exit)
    }

    /// Takes the oldest out of the archive when it is full. What still runs stays.
    fn forget_old_tasks(&mut self) {
        if self.tasks.len() < ARCHIVE {
            return;
        }
        let mut surplus = self.tasks.len() - ARCHIVE / 2;
        self.tasks.retain(|task| {
            let goes = surplus > 0 && task.exit.is_some();
            surplus -= usize::from(goes);
            !goes
        });
    }

    /// Lets every task end whose time has come, in the order of their ends. Tells whether any did.
    pub(crate) fn settle(&mut self, now: u64) -> bool {
        let mut any = false;
        loop {
            let due = self.tasks.iter().enumerate().filter(|(_, task)| task.exit.is_none() && task.ends <= now);
            let due = due.filter(|(_, task)| task.joins().is_none());
            let Some(index) = due.min_by_key(|(_, task)| task.ends).map(|(index, _)| index) else {
                return self.start_guests(now) || any;
            };
            any = true;
            let mut task = self.tasks[index].clone();
            let result = match task.fault.take() {
                Some(fault) => {
                    task.effect.undo(self, &task.node);
                    Err(fault)
                }
                None => task
                    .effect
                    .demand_quorum(self, &task.node, task.pid)
                    .and_then(|()| task.effect.clone().finish(self, &task.node, task.ends, &mut task.log)),
            };
            task.end(result);
            // What it brought about may have started other tasks, and forgotten old ones.
            if let Some(place) = self.tasks.iter_mut().find(|place| place.upid == task.upid) {
                *place = task;
            }
        }
    }

    fn find_task(&self, call: &Call) -> Result<Option<usize>, Refusal> {
        let upid = call.params.text("upid");
        if !is_upid(upid) {
            return Err(Refusal::parameter("upid", "unable to parse worker upid"));
        }
        Ok(self.tasks.iter().position(|task| task.upid == upid && task.node == call.node))
    }

    fn demand_task(&self, call: &Call, task: &Task, privilege: &str) -> Result<(), Refusal> {
        if task.owner == call.caller.id() || task.user() == call.caller.user {
            return Ok(());
        }
        self.access.demand(&call.caller, &format!("/nodes/{}", call.node), &[privilege])
    }
}

fn is_upid(text: &str) -> bool {
    let parts: Vec<&str> = text.split(':').collect();
    let hex = |text: &str| text.len() >= 8 && text.chars().all(|c| c.is_ascii_hexdigit());
    parts.len() == 9 && parts[0] == "UPID" && parts[2..5].iter().all(|part| hex(part)) && parts[8].is_empty()
}

/// `GET /nodes/{node}/tasks/{upid}/status`.
pub(crate) fn status(cluster: &mut Cluster, call: &Call) -> Outcome {
    let found = cluster.find_task(call)?.ok_or_else(|| Refusal::parameter("upid", "no such task"))?;
    let task = &cluster.tasks[found];
    cluster.demand_task(call, task, "Sys.Audit")?;
    let mut row = task.row();
    row["status"] = json!(if shown_end(task, call.now) { "stopped" } else { "running" });
    if let Some(exit) = task.exit.as_ref().filter(|_| shown_end(task, call.now)) {
        row["exitstatus"] = json!(exit);
    }
    Answer::of(row)
}

/// A task that failed at its beginning still takes a moment to end.
fn shown_end(task: &Task, now: u64) -> bool {
    task.exit.is_some() && task.ends <= now
}

/// `GET /nodes/{node}/tasks/{upid}/log`.
pub(crate) fn log(cluster: &mut Cluster, call: &Call) -> Outcome {
    let Some(found) = cluster.find_task(call)? else {
        return Answer::page(vec![json!({ "n": 1, "t": "unable to open file - No such file or directory" })], 1);
    };
    let task = &cluster.tasks[found];
    cluster.demand_task(call, task, "Sys.Audit")?;
    let start: usize = call.params.number("start").unwrap_or(0);
    let limit: usize = call.params.number("limit").unwrap_or(50);
    let limit = if limit == 0 { usize::MAX } else { limit };
    let lines = task.log.iter().enumerate().skip(start).take(limit);
    let rows = lines.map(|(index, text)| json!({ "n": index + 1, "t": text })).collect();
    Answer::page(rows, task.log.len())
}

/// `DELETE /nodes/{node}/tasks/{upid}`: stops it.
pub(crate) fn stop(cluster: &mut Cluster, call: &Call) -> Outcome {
    let Some(found) = cluster.find_task(call)? else { return Answer::nothing() };
    let mut task = cluster.tasks[found].clone();
    cluster.demand_task(call, &task, "Sys.Modify")?;
    if task.exit.is_none() {
        task.effect.undo(cluster, &task.node);
        task.ends = call.now;
        let waited = match task.effect {
            Effect::WaitForLock { vmid } => format!("{} - ", lock_file(vmid)),
            _ => String::new(),
        };
        task.end(Err(format!("{waited}received interrupt")));
        cluster.tasks[found] = task;
    }
    Answer::nothing()
}

/// `GET /nodes/{node}/tasks/{upid}`.
pub(crate) fn index(_: &mut Cluster, _: &Call) -> Outcome {
    Answer::of(json!([{ "name": "log" }, { "name": "status" }]))
}

/// `GET /nodes/{node}/tasks`.
pub(crate) fn list(cluster: &mut Cluster, call: &Call) -> Outcome {
    let params = &call.params;
    let sees_all = cluster.access.has_any(&call.caller, &format!("/nodes/{}", call.node), &["Sys.Audit"]);
    let source = params.get("source").unwrap_or("archive");
    let wanted = |task: &&Task| {
        let running = !shown_end(task, call.now);
        let by_source = source == "all" || running == (source == "active");
        let by_time = params.number::<u64>("since").is_none_or(|since| task.starts / 1000 >= since)
            && params.number::<u64>("until").is_none_or(|until| task.starts / 1000 <= until);
        let statuses = params.text("statusfilter");
        let by_status = statuses.is_empty() || items(statuses).any(|status| status == task.status_type());
        task.node == call.node
            && by_source
            && by_time
            && by_status
            && (sees_all || task.user() == call.caller.user)
            && (!params.is_set("errors") || task.is_error())
            && params.get("vmid").is_none_or(|vmid| task.id == vmid)
            && params.get("typefilter").is_none_or(|kind| task.kind == kind)
            && params.get("userfilter").is_none_or(|user| task.user().contains(user))
    };
    let all: Vec<&Task> = cluster.tasks.iter().rev().filter(wanted).collect();
    let start: usize = params.number("start").unwrap_or(0);
    let limit: usize = params.number("limit").unwrap_or(50);
    let limit = if limit == 0 { usize::MAX } else { limit };
    let rows = all.iter().skip(start).take(limit).map(|task| list_row(task, call.now)).collect();
    Answer::page(rows, all.len())
}

fn list_row(task: &Task, now: u64) -> Value {
    let mut row = task.row();
    if let Some(exit) = task.exit.as_ref().filter(|_| shown_end(task, now)) {
        row["status"] = json!(exit);
        row["endtime"] = json!(task.ends / 1000);
    } else {
        row["status"] = json!("RUNNING");
        row["saved"] = json!("0");
    }
    row
}

/// `GET /cluster/tasks`.
pub(crate) fn list_all(cluster: &mut Cluster, call: &Call) -> Outcome {
    let newest = cluster.tasks.iter().rev().take(25);
    let visible = newest.filter(|task| {
        let node = format!("/nodes/{}", task.node);
        task.user() == call.caller.user || cluster.access.has_any(&call.caller, &node, &["Sys.Audit"])
    });
    Answer::of(visible.map(|task| cluster_row(task, call.now)).collect::<Vec<_>>())
}

/// A row of the cluster's list: without the process, and with whether the task is in an archive.
fn cluster_row(task: &Task, now: u64) -> Value {
    let mut row = list_row(task, now);
    if let Some(row) = row.as_object_mut() {
        row.remove("pid");
        row.remove("pstart");
        row.insert("saved".into(), json!(u8::from(shown_end(task, now)).to_string()));
    }
    row
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_task_id_has_nine_parts_of_the_right_shape() {
        assert!(is_upid("UPID:pve-01:0000058E:000E39E5:6B034962:qmcreate:9100:root@pam:"));
        assert!(is_upid("UPID:pve-01:0000025D:000DFC8F:6B0348C5:startall::root@pam:"));
        assert!(!is_upid("UPID:garbage"));
        assert!(!is_upid("nonsense"));
    }
}
