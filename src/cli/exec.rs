//! `homelab exec` and `homelab facts`: by hand, under the same rules as a playbook. Both are tiny playbooks that nobody has
//! to write: trust, secrets, the journal and the lock are those of any run.

use std::collections::BTreeSet;
use std::io::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::{Map, Value, json};

use super::stage::{SimArgs, Stage, Tables};
use super::{Global, complain, services};
use crate::error::{Class, Error, Result};
use crate::inputs::tables::{Document, Proposals};
use crate::playbook::check;
use crate::playbook::play::{self, Request};
use crate::playbook::prepare::{Bench, first_fatal};
use crate::project::Project;
use crate::run::event::{ErrorReport, Event, Mode, Subscriber, What};
use crate::run::interrupt::Interrupt;
use crate::run::journal::Journal;
use crate::run::lock::{Holder, Lock};
use crate::run::session::Settings;

/// `homelab exec`.
#[derive(Debug, Clone, clap::Args)]
pub struct Args {
    /// Names of the tables `hosts` and `vms`, with `*` for any characters, names of ~/.ssh/config, or addresses; several
    /// with commas between
    #[arg(value_name = "HOSTS")]
    pub hosts: String,
    /// The command. One word is a text for the shell, as in `'df -h | tail -1'`; several are words that no shell touches
    #[arg(last = true, required = true, value_name = "COMMAND")]
    pub command: Vec<String>,
    /// How to get in.
    #[command(flatten)]
    pub login: Login,
    /// On how many hosts at once
    #[arg(long, value_name = "N", default_value = "16", value_parser = clap::value_parser!(u16).range(1..=1000))]
    pub jobs: u16,
    /// The simulator.
    #[command(flatten)]
    pub sim: SimArgs,
}

/// `homelab facts`.
#[derive(Debug, Clone, clap::Args)]
pub struct FactsArgs {
    /// A name of the tables `hosts` and `vms`, one of ~/.ssh/config, or an address
    #[arg(value_name = "HOST")]
    pub host: String,
    /// How to get in.
    #[command(flatten)]
    pub login: Login,
    /// The simulator.
    #[command(flatten)]
    pub sim: SimArgs,
}

/// How to get in.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct Login {
    /// Whom to log in as [default: root on a Proxmox node, `ci_user` of SOFTWARE.md on its machines, else what
    /// ~/.ssh/config says]
    #[arg(long, value_name = "NAME")]
    pub user: Option<String>,
    /// Becomes root there
    #[arg(long)]
    pub r#become: bool,
}

/// Runs `homelab exec`.
pub fn exec(args: &Args, global: &Global) -> Result<u8> {
    let project = global.project()?;
    let hosts = Known::of(&project)?.hosts(&args.hosts, &args.login)?;
    let command = match args.command.as_slice() {
        [text] => json!(text),
        words => json!(words),
    };
    let script = format!(
        "parallel({}, |one| step(one.name, \"a command by hand\", || {{ ssh::host(one).run({}); }}));\n",
        rhai(&Value::Array(hosts)),
        rhai(&command)
    );
    let _lock = Lock::acquire(&project.lock(), &Holder::this_process("exec"))?;
    play("exec", script, project, &args.sim, usize::from(args.jobs), global)
}

/// Runs `homelab facts`.
pub fn facts(args: &FactsArgs, global: &Global) -> Result<u8> {
    let project = global.project()?;
    let mut hosts = Known::of(&project)?.hosts(&args.host, &args.login)?;
    let (Some(host), true) = (hosts.pop(), hosts.is_empty()) else {
        return Err(Error::new(Class::Usage, format!("{}: one host is meant", args.host)));
    };
    let script = format!(
        "step(\"facts\", \"what is known of it\", || {{ let h = ssh::host({}); print(h.facts().to_json()); }});\n",
        rhai(&host)
    );
    play("facts", script, project, &args.sim, 1, global)
}

/// What the tables have of hosts.
#[derive(Default)]
struct Known {
    hosts: Vec<Host>,
}

/// A host of the tables.
struct Host {
    name: String,
    address: Option<String>,
    user: Option<String>,
    /// Whether root is become.
    becomes: bool,
}

impl Known {
    fn of(project: &Project) -> Result<Self> {
        let mut known = Known::default();
        let document = |file: &str| match project.root.join(file).is_file() {
            true => Document::load(&project.root, file, Proposals::accepted()).map(Some),
            false => Ok(None),
        };
        if let Some(network) = document("docs/NETWORK.md")?.filter(|document| document.names().contains(&"hosts")) {
            let table = network.table("hosts")?;
            for name in table.keys() {
                let row = table.row(&name)?;
                let is_node = row.cell("kind").is_ok_and(|kind| kind.text().is_ok_and(|kind| kind == "proxmox"));
                let address = row.cell("ip").and_then(|cell| cell.ipv4()).ok().map(|address| address.to_string());
                known.hosts.push(Host { name, address, user: is_node.then(|| "root".into()), becomes: false });
            }
        }
        if let Some(software) = document("docs/SOFTWARE.md")?.filter(|document| document.names().contains(&"vms")) {
            let user = software.table("cluster").and_then(|table| table.row("ci_user")?.cell("value")?.text()).ok();
            let table = software.table("vms")?;
            for name in table.keys() {
                let address = table.row(&name)?.cell("ip").and_then(|cell| cell.ipv4()).ok();
                let address = address.map(|address| address.to_string());
                known.hosts.push(Host { name, address, user: user.clone(), becomes: true });
            }
        }
        Ok(known)
    }

    /// The hosts that are asked for, as `ssh::host` takes them. A name that no table has is one for `~/.ssh/config` or for
    /// DNS; a pattern must fit something.
    fn hosts(&self, asked: &str, login: &Login) -> Result<Vec<Value>> {
        let mut seen = BTreeSet::new();
        let mut hosts = Vec::new();
        for name in asked.split(',').map(str::trim).filter(|name| !name.is_empty()) {
            let pattern = glob::Pattern::new(name)
                .map_err(|error| Error::new(Class::Usage, format!("{name}: is no pattern for hosts")).cause(error))?;
            let fitting: Vec<&Host> = self.hosts.iter().filter(|host| pattern.matches(&host.name)).collect();
            let is_plain = !name.contains(['*', '?', '[']);
            if fitting.is_empty() && !is_plain {
                return Err(Error::new(Class::Usage, format!("{name}: fits no host of the tables"))
                    .help("the tables are `hosts` in docs/NETWORK.md and `vms` in docs/SOFTWARE.md"));
            }
            let known = fitting.into_iter().map(|host| (host.name.clone(), Some(host)));
            let found: Vec<_> = known.collect();
            let found = if found.is_empty() { vec![(name.to_owned(), None)] } else { found };
            // Of those that a pattern fits, what has no address (a template) cannot be reached.
            let reachable = |host: &Option<&Host>| is_plain || host.is_none_or(|host| host.address.is_some());
            for (name, host) in found.into_iter().filter(|(_, host)| reachable(host)) {
                if seen.insert(name.clone()) {
                    hosts.push(described(&name, host, login));
                }
            }
        }
        if hosts.is_empty() {
            return Err(Error::new(Class::Usage, format!("`{asked}` names no host")));
        }
        Ok(hosts)
    }
}

fn described(name: &str, host: Option<&Host>, login: &Login) -> Value {
    let mut options = Map::from_iter([("name".to_owned(), json!(name))]);
    let user = login.user.clone().or_else(|| host.and_then(|host| host.user.clone()));
    if let Some(address) = host.and_then(|host| host.address.clone()) {
        options.insert("address".to_owned(), json!(address));
    }
    options.extend(user.map(|user| ("user".to_owned(), json!(user))));
    if login.r#become || (login.user.is_none() && host.is_some_and(|host| host.becomes)) {
        options.insert("become".to_owned(), json!(true));
    }
    Value::Object(options)
}

/// A value as it is written in a script.
fn rhai(value: &Value) -> String {
    match value {
        Value::Object(map) => {
            let fields: Vec<String> =
                map.iter().map(|(name, value)| format!("{}: {}", literal(name), rhai(value))).collect();
            format!("#{{ {} }}", fields.join(", "))
        }
        Value::Array(values) => format!("[{}]", values.iter().map(rhai).collect::<Vec<_>>().join(", ")),
        Value::String(text) => literal(text),
        other => other.to_string(),
    }
}

fn literal(text: &str) -> String {
    let escaped = |c: char| match c {
        '"' | '\\' => format!("\\{c}"),
        c if c.is_control() => format!("\\U{:08X}", u32::from(c)),
        c => c.to_string(),
    };
    format!("\"{}\"", text.chars().map(escaped).collect::<String>())
}

fn play(name: &str, script: String, project: Project, sim: &SimArgs, jobs: usize, global: &Global) -> Result<u8> {
    let journal = Journal::open(&project.journal())?;
    let stage = Stage::open(project, sim, global, name)?;
    let played = play_on(&stage, name, script, &journal, jobs);
    stage.close()?;
    Ok(played?.exit_code(Mode::Run, false))
}

fn play_on(stage: &Stage, name: &str, script: String, journal: &Journal, jobs: usize) -> Result<play::Played> {
    let environment = stage.environment()?;
    let past = services::Profile::new(journal, stage.simulated, name);
    let services = services::of(stage, &environment, Arc::new(past))?;
    let facts = Tables::of(&stage.project);
    let bench = Bench {
        root: &stage.project.root,
        services: services.all.clone(),
        environment: check::Environment::default(),
        facts: &*facts,
        register: Vec::new(),
        realms: Vec::new(),
    };
    let mut findings = Vec::new();
    let prepared = bench.embed(name, script, &mut findings);
    if let Some(error) = first_fatal(findings) {
        return Err(error);
    }
    let interrupt = Interrupt::default();
    let signal = stage.runtime.spawn(super::run::heed_ctrl_c(interrupt.clone()));
    let request = Request {
        mode: Mode::Run,
        settings: Settings { jobs, simulated: stage.simulated, shows_output: true, ..Settings::default() },
        arguments: std::env::args().skip(1).collect(),
        resume: false,
        selection: String::new(),
        inputs_hash: String::new(),
        interrupt,
        redactor: stage.global.redactor.clone(),
    };
    let told = Arc::new(AtomicBool::new(false));
    let screens: Vec<Box<dyn Subscriber>> = vec![Box::new(Lines { told: Arc::clone(&told) })];
    let played = play::play(&prepared, request, stage.runtime.handle(), journal, screens);
    signal.abort();
    let played = played?;
    if let Some(error) = played.error.as_ref().filter(|_| !told.load(Ordering::Relaxed)) {
        complain(error, &stage.global);
    }
    Ok(played)
}

/// What hosts print, each line with its host, and why some could not. Nobody has written the playbook, so that its lines
/// are not shown.
struct Lines {
    /// Whether it has told of a failure.
    told: Arc<AtomicBool>,
}

fn complain_of(error: &ErrorReport) -> std::io::Result<()> {
    let mut errors = std::io::stderr().lock();
    writeln!(errors, "{}", error.message)?;
    error.causes.iter().flat_map(|cause| cause.lines()).try_for_each(|line| writeln!(errors, "  {line}"))?;
    // What to do about a command that fails, whoever wrote it knows.
    let help = error.help.iter().filter(|_| error.class != Class::Failed);
    help.flat_map(|help| help.lines()).try_for_each(|line| writeln!(errors, "  help: {line}"))
}

impl Subscriber for Lines {
    fn notice(&mut self, event: &Event) -> Result<()> {
        // A reader that has gone away wants no more.
        let _ = match &event.what {
            What::Output { host, line, .. } => writeln!(std::io::stdout().lock(), "{host}: {line}"),
            What::Message { text, .. } => writeln!(std::io::stdout().lock(), "{text}"),
            What::StepFinished { error: Some(error), .. } => {
                self.told.store(true, Ordering::Relaxed);
                complain_of(error)
            }
            _ => Ok(()),
        };
        Ok(())
    }
}
