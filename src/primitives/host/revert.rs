//! The timer on a host that puts things back: armed, disarmed, or told to do it now.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::handle::Host;
use super::mechanism::part::Part;
use super::with_revert::WithRevertOptions;
use crate::clients::ssh::{Become, Command, Exit, Output, quote};
use crate::error::{Class, Error, Result};
use crate::run::capability::Writer;
use crate::run::difference::Difference;
use crate::run::event::{Action, What};
use crate::run::resource::{Cell, Fact, Reader, Resource};
use crate::run::scope;
use crate::run::value::{Map, State, Value};

/// How long after the timer has run out a host may need to be reachable again.
const AFTERMATH: Duration = Duration::from_secs(60);
/// The pause between two tries to get in.
const PAUSE: Duration = Duration::from_millis(500);
/// How long one try may take.
const GLANCE: Duration = Duration::from_secs(15);

/// How the command ends that finds the timer to have run out.
const FIRED: Exit = Exit::Code(90);

/// Whether this run has armed the timer.
#[derive(Debug, Clone, Default)]
pub struct Armed(Arc<AtomicBool>);

impl Armed {
    /// Whether it has.
    pub fn is_armed(&self) -> bool {
        self.0.load(Ordering::SeqCst)
    }
}

/// Where everything of one revert lies on the host. What has `fired` was put back.
fn place(name: &str) -> String {
    format!("dir=/var/lib/homelab/revert/{name}\nunit=homelab-revert-{name}\nunits=/etc/systemd/system\n")
}

const NEEDS_SYSTEMD: &str = "[ -d /run/systemd/system ] || { echo 'this host has no systemd' >&2; exit 1; }\n";

/// What such a host is told by.
fn refusal(host: &Host, output: &Output) -> Option<Error> {
    output.stderr_text().contains("has no systemd").then(|| {
        let what = "with_revert is only supported with systemd, which keeps the timer, and this host has none";
        Error::new(Class::Blocked, format!("{}: {what}", host.name()))
            .help("make the change without it, at a machine whose console is within reach")
    })
}

/// Asks whether the timer runs, and whether it has run out.
fn question(name: &str) -> String {
    format!(
        "{NEEDS_SYSTEMD}{}if [ -e \"$dir/fired\" ]; then echo fired; elif [ -e \"$units/$unit.timer\" ]; then echo armed; else echo none; fi\n",
        place(name)
    )
}

fn state_of(said: &str) -> State {
    match said.trim() {
        "none" => State::Absent,
        other => State::Here(Value::Map(Map::from([(other.to_owned(), Value::Bool(true))]))),
    }
}

/// Arming it.
pub struct Arm {
    options: WithRevertOptions,
    memory: Armed,
}

impl Arm {
    /// Arms the timer of these options.
    pub fn new(options: &WithRevertOptions, memory: Armed) -> Self {
        Arm { options: options.clone(), memory }
    }

    fn details(&self) -> Map {
        let paths = self.options.files.iter().map(Value::text).collect();
        let mut details = Map::from([
            ("after".to_owned(), Value::Text(format!("{}s", self.options.after.0.as_secs()))),
            ("files".to_owned(), Value::List(paths)),
        ]);
        if let Some(command) = &self.options.run {
            details.insert("run".to_owned(), Value::text(command));
        }
        details
    }

    fn script(&self) -> String {
        let WithRevertOptions { name, files, run, after, .. } = &self.options;
        let paths: String = files.iter().map(|path| format!("keep {}\n", quote(path))).collect();
        let revert = format!("#!/bin/sh\n{}{PUT_BACK}{}\n", place(name), run.as_deref().unwrap_or(":"));
        let seconds = after.0.as_secs();
        let service = format!(
            "[Unit]\nDescription=homelab: puts back {name}\n\n[Service]\nType=oneshot\nExecStart=/bin/sh /var/lib/homelab/revert/{name}/revert\n"
        );
        // One that was armed before a boot runs again after it.
        let timer = format!(
            "[Unit]\nDescription=homelab: puts back {name} in {seconds}s\n\n[Timer]\nOnActiveSec={seconds}\nAccuracySec=1\n\n\
             [Install]\nWantedBy=timers.target\n"
        );
        format!(
            r#"{place}umask 077
# What an earlier run has kept and not put back is how it was before all that.
if [ -e "$dir/fired" ] || ! [ -e "$dir/whole" ]; then
  rm -rf "$dir" && mkdir -p "$dir/kept" || exit 1
  number=0
  keep() {{
    number=$((number + 1))
    printf '%s\n' "$1" >> "$dir/paths" || exit 1
    if [ -e "$1" ] || [ -L "$1" ]; then cp -a -- "$1" "$dir/kept/$number" || exit 1; fi
  }}
  {paths}  : >> "$dir/paths" && : > "$dir/whole" || exit 1
fi
printf '%s' {revert} > "$dir/revert" || exit 1
umask 022
printf '%s' {service} > "$units/$unit.service" || exit 1
printf '%s' {timer} > "$units/$unit.timer" || exit 1
sync
systemctl daemon-reload && systemctl enable "$unit.timer" 2> /dev/null && systemctl restart "$unit.timer" || exit 1
systemctl is-active -q "$unit.timer" || {{ echo "$unit.timer does not run" >&2; exit 1; }}
"#,
            place = place(name),
            revert = quote(&revert),
            service = quote(&service),
            timer = quote(&timer),
        )
    }
}

/// Puts everything back; what was not there goes. Then the timer has done its work.
const PUT_BACK: &str = r#"number=0
while IFS= read -r path; do
  number=$((number + 1))
  rm -rf -- "$path.homelab-revert"
  if [ -e "$dir/kept/$number" ] || [ -L "$dir/kept/$number" ]; then
    cp -a -- "$dir/kept/$number" "$path.homelab-revert" || continue
    if [ -d "$path" ] && ! [ -L "$path" ]; then rm -rf -- "$path"; fi
    mv -f -- "$path.homelab-revert" "$path"
  else
    rm -rf -- "$path"
  fi
done < "$dir/paths"
: > "$dir/fired"
systemctl disable "$unit.timer" 2> /dev/null
systemctl stop "$unit.timer"
rm -f "$units/$unit.timer"
systemctl daemon-reload
sync
"#;

impl Part for Arm {
    const KIND: &'static str = "revert";

    fn name(&self) -> String {
        self.options.name.clone()
    }

    fn question(&self) -> String {
        question(&self.options.name)
    }

    fn refusal(&self, host: &Host, output: &Output) -> Option<Error> {
        refusal(host, output)
    }

    fn parse(&self, answer: &str) -> Result<State> {
        Ok(match state_of(answer) {
            // What was put back once is over.
            State::Here(value) if value.get("fired").is_some() => State::Absent,
            state => state,
        })
    }

    fn want(&self, _: &State) -> Result<State> {
        Ok(State::Here(Value::Map(self.details())))
    }

    fn command(&self, _: &Difference) -> Result<Command> {
        self.memory.0.store(true, Ordering::SeqCst);
        Ok(Command::script(self.script()))
    }

    fn is_lasting(&self) -> bool {
        false
    }

    fn is_believed(&self) -> bool {
        true
    }

    fn expect(&self, _: &Difference) -> State {
        state_of("armed")
    }
}

/// Doing it now, before the timer does.
pub struct Undo {
    options: WithRevertOptions,
}

impl Undo {
    /// Puts back what these options name.
    pub fn new(options: &WithRevertOptions) -> Self {
        Undo { options: options.clone() }
    }
}

impl Part for Undo {
    const KIND: &'static str = "revert";

    fn name(&self) -> String {
        format!("{}:now", self.options.name)
    }

    fn question(&self) -> String {
        String::new()
    }

    fn parse(&self, _: &str) -> Result<State> {
        Ok(State::Absent)
    }

    fn want(&self, _: &State) -> Result<State> {
        let because = Value::from("what was begun has failed");
        Ok(State::Here(Value::Map(Map::from([("because".to_owned(), because)]))))
    }

    fn command(&self, _: &Difference) -> Result<Command> {
        let script = "systemctl stop \"$unit.timer\"; systemctl start \"$unit.service\" && [ -e \"$dir/fired\" ]\n";
        Ok(Command::script(format!("{}{script}", place(&self.options.name))))
    }

    fn action(&self, _: &Difference) -> Action {
        Action::Run
    }

    fn is_lasting(&self) -> bool {
        false
    }
}

/// Disarming it, once a new connection has come in.
pub struct Disarm {
    host: Host,
    become_: Option<Become>,
    name: String,
    after: Duration,
    memory: Armed,
}

impl Disarm {
    /// Disarms the timer of these options.
    pub fn new(host: &Host, options: &WithRevertOptions, memory: Armed) -> Self {
        Disarm {
            host: host.clone(),
            become_: host.whom(options.become_.as_ref()),
            name: options.name.clone(),
            after: options.after.0,
            memory,
        }
    }

    /// Gets in anew, as often as it takes until the timer has put things back and a little longer.
    fn prove_access(&self) -> Result<()> {
        let began = Instant::now();
        let target = self.host.target()?;
        loop {
            let tried = scope::wait(async {
                let get_in = async {
                    let connection = self.host.ssh().pool.reconnect(target).await?;
                    connection.probe(":", self.become_.as_ref()).await
                };
                let late = || Error::new(Class::Timeout, format!("{}: no answer after {GLANCE:?}", self.host.name()));
                tokio::time::timeout(GLANCE, get_in).await.unwrap_or_else(|_| Err(late()))
            });
            let observed = match tried {
                Ok(output) if output.success() => return Ok(()),
                Ok(output) => self.host.refusal("lets us in, but no further", &output).to_string(),
                // Whatever keeps us out, the change may have brought it about.
                Err(error) if matches!(error.class(), Class::Unreachable | Class::Timeout | Class::Auth) => {
                    error.to_string()
                }
                Err(error) => return Err(error),
            };
            let waited = began.elapsed();
            if waited > self.after + AFTERMATH {
                return Err(Error::new(
                    Class::UnsafeDrift,
                    format!("{}: cannot be reached since the change, and its timer did not bring it back", self.host.name()),
                )
                .cause(observed)
                .help(format!(
                    "at its console: `systemctl status homelab-revert-{0}.timer` and `sh /var/lib/homelab/revert/{0}/revert`",
                    self.name
                )));
            }
            scope::emit(What::Waiting {
                step: scope::step(),
                what: format!("{}: a new connection comes in", self.host.name()),
                observed,
                milliseconds: u64::try_from(waited.as_millis()).unwrap_or(u64::MAX),
            })?;
            scope::pause(PAUSE)?;
        }
    }

    /// Waits until the host can be reached again; tells what became of the change, unless it has not been put back yet.
    pub fn wait_for_the_host(&self, lost: &str) -> Option<Error> {
        let fired = self.prove_access().and_then(|()| {
            let output = self.host.probe(&Reader::default(), &question(&self.name), self.become_.as_ref())?;
            Ok(output.stdout_text().trim() == "fired")
        });
        match fired {
            Ok(false) => None,
            Ok(true) => Some(self.was_put_back().cause(lost)),
            Err(error) => Some(error.cause(lost)),
        }
    }

    fn was_put_back(&self) -> Error {
        Error::new(
            Class::Failed,
            format!("{}: nobody came in within {}s after the change, so it was put back", self.host.name(), self.after.as_secs()),
        )
        .help(
            "the host is as it was before: look at what the change did to its network, its firewall or its SSH server; where it \
             only took longer, say so with `after:`",
        )
    }
}

impl Fact for Disarm {
    fn address(&self) -> String {
        format!("{}:revert:{}", self.host.name(), self.name)
    }

    fn cell(&self) -> Cell {
        self.host.cell(format!("revert:{}", self.name))
    }

    fn read(&self, reader: &Reader) -> Result<State> {
        if scope::is_planning()?
            && let Some(unknown) = self.host.unknown()
        {
            return Ok(State::Unknown(unknown.part(&self.name)));
        }
        // The change itself may have cut us off: then only a new connection can tell.
        if self.memory.is_armed() {
            self.prove_access()?;
        }
        let output = self.host.probe(reader, &question(&self.name), self.become_.as_ref())?;
        if !output.success() {
            return Err(self.host.refusal("its timer cannot be read", &output));
        }
        match state_of(&output.stdout_text()) {
            State::Here(value) if value.get("fired").is_some() => match self.memory.is_armed() {
                true => Err(self.was_put_back()),
                false => Ok(State::Absent),
            },
            state => Ok(state),
        }
    }

    fn stands_on(&self) -> Option<&str> {
        self.host.stands_on()
    }
}

impl Resource for Disarm {
    fn want(&self, _: &State) -> Result<State> {
        Ok(State::Absent)
    }

    fn change(&self, _: &Difference, writer: &Writer) -> Result<Map> {
        self.prove_access()?;
        let script = format!(
            r#"{}systemctl stop "$unit.timer" && systemctl disable "$unit.timer" 2> /dev/null
while [ "$(systemctl show -p ActiveState --value "$unit.service")" = activating ]; do sleep 1; done
if [ -e "$dir/fired" ]; then exit 90; fi
rm -f "$units/$unit.timer" "$units/$unit.service" && rm -rf "$dir" && systemctl daemon-reload
"#,
            place(&self.name)
        );
        let command = Command::script(script).become_(self.become_.clone()).called(format!("disarm {}", self.name));
        let output = self.host.exec(command, None, writer)?;
        self.memory.0.store(false, Ordering::SeqCst);
        match output.success() {
            true => Ok(Map::new()),
            false if output.exit == FIRED => Err(self.was_put_back()),
            false => Err(self.host.refusal("its timer was not disarmed", &output)),
        }
    }
}
