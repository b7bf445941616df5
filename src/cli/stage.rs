//! What lasts from one run to the next: the project, the world, and the connections into it.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use tokio::runtime::Runtime;

use super::{Global, seed};
use crate::clients::dial::Dialler;
use crate::clients::ssh::Pool;
use crate::error::{Class, Error, Result};
use crate::inputs::environment::Environment;
use crate::inputs::tables::{Document, Proposals};
use crate::playbook::check;
use crate::primitives::kubernetes::Clusters;
use crate::primitives::network::Network;
use crate::primitives::proxmox::Connections;
use crate::project::Project;
use crate::run::lock::{Holder, Lock};
use crate::sim::{Attached, Faults, Ports, Scenario, Sim, SimConfig, attach, expect_scenario, web_authority};

/// How the simulator is to be.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct SimArgs {
    /// Works on the simulated homelab instead of the real one
    #[arg(long)]
    pub sim: bool,
    /// What a simulated world that does not exist yet begins with: `plan` (what comes before the playbook is there),
    /// `bare` (three fresh nodes), or another of the scenarios in the guide
    #[arg(long, value_name = "NAME", requires = "sim")]
    pub sim_scenario: Option<String>,
    /// Injects faults, as in `seed=7,rate=0.05`; `cut=40` pulls the cable at the 40th message, `cut-after=40` after it
    #[arg(long, value_name = "FAULTS", requires = "sim")]
    pub sim_faults: Option<String>,
    /// How much slower than usual things take in the simulated homelab; below 1 they are faster, as in `0.2`. One that is
    /// served has its own pace
    #[arg(long, value_name = "FACTOR", value_parser = pace, requires = "sim")]
    pub sim_pace: Option<f64>,
    /// Lets the simulator answer manual steps, approvals and questions
    #[arg(long, requires = "sim")]
    pub sim_answer_manual: bool,
}

impl SimArgs {
    fn faults(&self) -> Result<Option<Faults>> {
        self.sim_faults.as_deref().map(Faults::parse).transpose()
    }

    /// What a new world is to begin with. One that is there must have begun so, where that is asked for.
    fn scenario(&self, project: &Project) -> Result<Scenario> {
        let Some(name) = &self.sim_scenario else { return Ok(Scenario::default()) };
        let scenario = name.parse()?;
        expect_scenario(&project.simulator(), scenario)?;
        Ok(scenario)
    }
}

/// What lasts from one run to the next.
pub(super) struct Stage {
    pub project: Project,
    pub runtime: Runtime,
    pub global: Global,
    pub simulated: bool,
    pub dialler: Dialler,
    pub pool: Pool,
    pub network: Arc<Network>,
    pub connections: Arc<Connections>,
    pub clusters: Arc<Clusters>,
    sim: Option<World>,
}

impl Stage {
    /// Opens the project and, where asked to, the simulated world. `doing` says to others who has that in hand.
    pub fn open(project: Project, args: &SimArgs, global: &Global, doing: &str) -> Result<Stage> {
        let runtime = runtime()?;
        let sim = if args.sim { Some(runtime.block_on(World::open(&project, args, doing))?) } else { None };
        if let Some(World::Own(served)) = &sim {
            let redactor = global.redactor.clone();
            served.sim.conceal(Box::new(move |text| redactor.clean(text)));
        }
        let dialler = sim.as_ref().map_or(Dialler::Direct, |sim| Dialler::Through(sim.gateway()));
        // The simulated web has an authority of its own, which nothing else is to trust.
        let network = match args.sim {
            true => Network::trusting(dialler, authority(&project)?),
            false => Network::new(dialler),
        };
        Ok(Stage {
            project,
            runtime,
            global: global.clone(),
            simulated: args.sim,
            dialler,
            pool: Pool::new(dialler),
            network: Arc::new(network),
            connections: Arc::new(Connections::new(dialler)),
            clusters: Arc::new(Clusters::new(dialler)),
            sim,
        })
    }

    /// The variables, as they are now. Those that hold secrets are known to the redactor from here on.
    pub fn environment(&self) -> Result<Environment> {
        let sim = self.project.simulator().join("envrc");
        let sim = sim.strip_prefix(&self.project.root).unwrap_or(&sim).to_string_lossy().into_owned();
        self.global.environment(&self.project, self.simulated.then_some(sim.as_str()))
    }

    /// Proposals in the tables are good enough for a rehearsal, and for nothing else.
    pub fn proposals(&self) -> Proposals {
        if self.simulated { Proposals::accepted() } else { Proposals::refused() }
    }

    /// Ends the simulated world in order: what it holds is kept.
    pub fn close(self) -> Result<()> {
        match self.sim {
            Some(World::Own(served)) => self.runtime.block_on(served.stop()),
            // Whoever serves it keeps it.
            Some(World::Elsewhere(_)) | None => Ok(()),
        }
    }
}

/// The certificate of the authority of the simulated web.
fn authority(project: &Project) -> Result<Vec<u8>> {
    let path = web_authority(&project.simulator());
    std::fs::read(&path).map_err(|error| {
        Error::new(Class::Failed, format!("simulator: {}: cannot be read", path.display()))
            .cause(error)
            .help("start over with `homelab sim reset`")
    })
}

/// The simulated world of a run.
enum World {
    /// In this process.
    Own(Served),
    /// In the process that serves it.
    Elsewhere(Attached),
}

impl World {
    async fn open(project: &Project, args: &SimArgs, doing: &str) -> Result<World> {
        // What is wrong with them is said here, in the words of this command line.
        args.faults()?;
        args.scenario(project)?;
        match attach(&project.simulator(), &session(), args.sim_faults.as_deref()).await? {
            Some(attached) if args.sim_pace.is_some() => {
                let pid = attached.pid();
                Err(Error::new(
                    Class::Usage,
                    format!("--sim-pace: the simulator is served by the process {pid}, at its pace"),
                )
                .help("give it to `homelab sim serve`, or stop that one"))
            }
            Some(attached) => Ok(World::Elsewhere(attached)),
            None => Ok(World::Own(Served::start(project, args, None, doing).await?)),
        }
    }

    fn gateway(&self) -> SocketAddr {
        match self {
            World::Own(served) => served.sim.gateway(),
            World::Elsewhere(attached) => attached.gateway(),
        }
    }
}

/// The simulator in this process, which is the only one that has this world in hand.
pub(super) struct Served {
    pub sim: Sim,
    _lock: Lock,
}

impl Served {
    /// Starts the simulated world of a project, behind its gateway alone or on ports too.
    pub async fn start(project: &Project, args: &SimArgs, ports: Option<Ports>, doing: &str) -> Result<Served> {
        let lock = Lock::acquire(&project.simulator_lock(), &Holder::this_process(doing))?;
        let scenario = args.scenario(project)?;
        let sim = Sim::start(SimConfig {
            dir: project.simulator(),
            seed: seed::read(&project.root, scenario)?,
            session: session(),
            faults: args.faults()?,
            shared: ports.is_some(),
            ports,
            pace: args.sim_pace.unwrap_or(1.0),
        })
        .await?;
        Ok(Served { sim, _lock: lock })
    }

    /// Ends it in order: what it holds is kept.
    pub async fn stop(self) -> Result<()> {
        self.sim.stop().await
    }
}

/// Reads how fast the simulated homelab is.
pub(super) fn pace(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(pace) if (0.01..=1000.0).contains(&pace) => Ok(pace),
        _ => Err("a factor between 0.01 and 1000 is meant, as in `0.2`".to_owned()),
    }
}

/// A name for the request log that no other run has.
fn session() -> String {
    format!("{}-{}", jiff::Timestamp::now().as_millisecond(), std::process::id())
}

/// The program's own threads for everything that waits.
pub(super) fn runtime() -> Result<Runtime> {
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| Error::new(Class::Failed, "homelab: cannot start its threads").cause(error))
}

/// The tables, as the check sees them.
pub(super) struct Tables {
    root: PathBuf,
}

impl Tables {
    /// The tables of a project.
    pub fn of(project: &Project) -> Arc<Self> {
        Arc::new(Tables { root: project.root.clone() })
    }

    fn document(&self, file: &str) -> Option<Document> {
        Document::load(&self.root, &format!("docs/{file}"), Proposals::accepted()).ok()
    }
}

impl check::Facts for Tables {
    fn files(&self) -> Vec<String> {
        let entries = std::fs::read_dir(self.root.join("docs")).into_iter().flatten().flatten();
        let mut files: Vec<String> = entries
            .filter_map(|entry| entry.file_name().into_string().ok())
            .filter(|name| name.ends_with(".md"))
            .collect();
        files.sort();
        files
    }

    fn tables(&self, file: &str) -> Vec<String> {
        let Some(document) = self.document(file) else { return Vec::new() };
        // Reading one in HTML says better what is wrong with it than that it is not there.
        document.names().into_iter().map(str::to_owned).chain(document.names_in_html()).collect()
    }

    fn rows(&self, file: &str, table: &str) -> Vec<String> {
        let document = self.document(file);
        document.and_then(|document| document.table(table).ok()).map(|table| table.keys()).unwrap_or_default()
    }
}
