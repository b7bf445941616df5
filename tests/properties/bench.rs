//! Where cases are played: one engine and one journal for many of them, for both take longer to make than a case takes.

use std::collections::BTreeMap;

use homelab::playbook::prepare::Prepared;
use homelab::run::event::Mode;
use homelab::run::interrupt::Interrupt;
use homelab::run::value::Value;

use crate::common::world::{Fault, State};
use crate::common::{Lab, Told};
use crate::printer::Printed;

/// A project with a world that is made anew for every case.
pub struct Bench {
    lab: Lab,
    engine: Prepared,
}

impl Bench {
    /// An empty one.
    pub fn new() -> Bench {
        let mut lab = Lab::new();
        lab.settings.jobs = 2;
        let engine = lab.engine();
        Bench { lab, engine }
    }

    /// Puts a case onto the bench: its scripts and the world that it begins with. `module` is the name of its module.
    pub fn load(&mut self, case: &Printed, module: &str) {
        if let Some(text) = &case.module {
            self.lab.write_module(module, text);
        }
        self.reset(case);
        self.lab.load(&mut self.engine, &case.playbook);
    }

    /// Takes the world back to where the case begins, without a past.
    pub fn reset(&mut self, case: &Printed) {
        let object = |value: &serde_json::Value| Value::from(value.clone()).as_map().cloned().unwrap_or_default();
        *self.lab.world.state() = State {
            files: case.files.clone(),
            objects: case.objects.iter().map(|(path, value)| (path.clone(), object(value))).collect(),
            ..State::default()
        };
        self.forget();
    }

    /// As if `.homelab` had been deleted.
    pub fn forget(&self) {
        self.lab.journal.forget_world("live").expect("the journal is there");
    }

    /// A dry run.
    pub fn plan(&mut self) -> Told {
        self.play(Mode::DryRun)
    }

    /// A real run.
    pub fn run(&mut self) -> Told {
        self.play(Mode::Run)
    }

    /// A real run that goes on where the last one ended.
    pub fn resume(&mut self) -> Told {
        self.lab.resume = true;
        let told = self.play(Mode::Run);
        self.lab.resume = false;
        told
    }

    /// A real run in which something befalls a mutation.
    pub fn run_with_fault(&mut self, at: usize, kind: u8) -> Told {
        let fault = match kind % 3 {
            0 => Fault::Refused,
            1 => Fault::Unanswered,
            _ => Fault::Interrupted(self.lab.interrupt.clone()),
        };
        self.lab.world.state().fault = Some((at, fault));
        let told = self.play(Mode::Run);
        self.lab.world.state().fault = None;
        self.lab.interrupt = Interrupt::default();
        told
    }

    /// A real run of one step.
    pub fn run_step(&mut self, id: &str) -> Told {
        self.lab.settings.steps = vec![glob::Pattern::new(id).expect("ids are no patterns")];
        let told = self.play(Mode::Run);
        self.lab.settings.steps.clear();
        told
    }

    fn play(&mut self, mode: Mode) -> Told {
        self.lab.play(&self.engine, mode)
    }

    /// All files and objects.
    pub fn world(&self) -> BTreeMap<String, String> {
        let state = self.lab.world.state();
        let files = state.files.iter().flat_map(|(host, files)| {
            files.iter().map(move |(path, content)| (format!("{host}:{path}"), content.clone()))
        });
        let objects = state.objects.iter().map(|(path, object)| (path.clone(), format!("{object:?}")));
        files.chain(objects).collect()
    }

    /// Every mutation since the world was reset.
    pub fn sent(&self) -> Vec<String> {
        self.lab.world.state().sent.clone()
    }
}
