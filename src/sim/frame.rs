//! What all servers of a simulator share: the world under its lock, and the log; and what is a client's own: its session
//! in the log, and the faults that it meets.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures::future::BoxFuture;
use tokio_util::task::TaskTracker;

use super::chance::now;
use super::faults::Faults;
use super::guests::{Observer, SharedMachine};
use super::kubernetes::Notice;
use super::log::{Conceal, Entry, RequestLog};
use super::saving::{Saving, Snapshot};
use super::tls::Certificates;
use super::web::Authority;
use super::world::World;
use crate::error::Result;

/// The shared parts of a running simulator.
pub(crate) struct Frame {
    dir: PathBuf,
    world: Mutex<World>,
    saving: Saving,
    log: RequestLog,
    /// The session that began last.
    session: Mutex<String>,
    /// What is being answered. It goes on when its client is gone, as the workers of the real API do.
    pub(crate) requests: TaskTracker,
    pub(crate) certificates: Arc<Certificates>,
    /// What speaks TLS for the sites of the web.
    pub(crate) web: Authority,
}

impl Frame {
    /// Puts the parts together.
    pub(crate) fn new(
        dir: &Path,
        world: World,
        log: RequestLog,
        certificates: Arc<Certificates>,
        web: Authority,
    ) -> Arc<Self> {
        Arc::new(Frame {
            dir: dir.into(),
            world: Mutex::new(world),
            saving: Saving::to(dir),
            log,
            session: Mutex::default(),
            requests: TaskTracker::new(),
            certificates,
            web,
        })
    }

    /// The simulator's folder.
    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }

    /// The public SSH host keys of a node.
    pub(crate) fn node_keys(&self, node: &str) -> Vec<String> {
        let machine = self.world().clusters.iter().find_map(|cluster| cluster.machines.node(node));
        machine.map(|machine| machine.host_keys()).unwrap_or_default()
    }

    /// The machines of which a timer has run out.
    pub(crate) fn due_machines(&self) -> Vec<SharedMachine> {
        let machines = self.world().machines().into_iter().map(|(_, machine)| machine);
        machines.filter(|machine| machine.is_due()).collect()
    }

    /// The world. It is never locked across an await.
    pub(crate) fn world(&self) -> MutexGuard<'_, World> {
        // Handlers copy what they change and put it back whole, so that a panic leaves a world that can go on.
        self.world.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Says that something has changed and must be saved. Gives the number to wait for with [`Frame::saved`].
    pub(crate) fn touch(&self) -> u64 {
        self.saving.touch()
    }

    /// The number of the newest change that anybody may have seen.
    pub(crate) fn newest(&self) -> u64 {
        self.saving.newest()
    }

    /// Waits until somebody wants something to be saved.
    pub(crate) async fn wanted(&self) {
        self.saving.wanted().await;
    }

    /// Waits until a change is on disk; tells why when it cannot be.
    pub(crate) async fn saved(&self, change: u64) -> std::result::Result<(), String> {
        self.saving.saved(change).await
    }

    /// Lets what is due happen, and saves the world when it has changed.
    pub(crate) fn settle_and_save(&self) -> Result<()> {
        self.save(false)
    }

    /// Saves everything, even what may be lost when the process is killed: the memory of the machines.
    pub(crate) fn save_everything(&self) -> Result<()> {
        self.save(true)
    }

    fn save(&self, all: bool) -> Result<()> {
        let mut written = self.saving.begin();
        let (change, snapshot) = {
            let mut world = self.world();
            let settled = world.settle(now());
            self.note(world.kubernetes.take_notices());
            if !(all || settled) && self.saving.is_done() {
                return Ok(());
            }
            if settled {
                self.saving.note();
            }
            // Numbers are given after the change, so that this one and all before it are in the world by now.
            let change = self.saving.newest();
            (change, world.text().map(|text| Snapshot { text, machines: world.machines() }))
        };
        self.saving.save(&mut written, change, snapshot, all)
    }

    /// Writes to the log what happened to clusters, in the session that began last.
    fn note(&self, notices: Vec<Notice>) {
        for Notice { cluster, what, members } in notices {
            let session = self.session.lock().unwrap_or_else(PoisonError::into_inner).clone();
            let entry =
                Entry { session, kind: "quorum".into(), target: cluster, method: what.into(), ..Entry::default() };
            // A log that cannot be written must not stop the simulation; the next start tells.
            let _ = self.log.write(Entry { path: members, ..entry });
        }
    }

    /// Says what takes secrets out of the request log.
    pub(crate) fn conceal(&self, conceal: Conceal) {
        self.log.conceal(conceal);
    }
}

/// A client, as long as its session lasts.
pub(crate) struct Visit {
    pub(crate) frame: Arc<Frame>,
    session: String,
    pub(crate) faults: Option<Arc<Faults>>,
}

impl Visit {
    /// Begins a session in the request log.
    pub(crate) fn begin(frame: &Arc<Frame>, session: &str, faults: Option<Arc<Faults>>) -> Result<Arc<Self>> {
        frame.log.begin(session)?;
        session.clone_into(&mut frame.session.lock().unwrap_or_else(PoisonError::into_inner));
        Ok(Arc::new(Visit { frame: Arc::clone(frame), session: session.to_owned(), faults }))
    }

    /// Writes to the request log. A log that cannot be written must not stop the simulation; the next start tells.
    pub(crate) fn record(&self, entry: Entry) {
        let _ = self.frame.log.write(Entry { session: self.session.clone(), ..entry });
    }
}

impl Observer for Visit {
    fn command(&self, host: &str, user: &str, command: &str, exit: i32, mutated: bool) {
        if mutated {
            self.frame.touch();
        }
        self.record(Entry {
            kind: "ssh".into(),
            target: host.into(),
            method: command.into(),
            path: user.into(),
            status: exit,
            mutating: mutated,
            ..Entry::default()
        });
    }

    fn kept(&self) -> BoxFuture<'_, ()> {
        let newest = self.frame.saving.newest();
        // A command has run, whatever becomes of the disk that the simulator saves to; stopping it tells.
        Box::pin(async move { drop(self.frame.saved(newest).await) })
    }
}
