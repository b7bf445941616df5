//! Where the project is, and what lies where in it.

use std::path::{Path, PathBuf};

use crate::error::{Class, Error, Result};
use crate::suggest;

/// A homelab project: a folder with `playbooks/` and `docs/`.
#[derive(Debug, Clone)]
pub struct Project {
    /// Its root.
    pub root: PathBuf,
}

impl Project {
    /// The project that a path lies in: the nearest folder above that has `playbooks/` or `.homelab/`.
    pub fn of(path: &Path) -> Result<Project> {
        let start = located(path)?;
        let root =
            start.ancestors().find(|folder| folder.join("playbooks").is_dir() || folder.join(".homelab").is_dir());
        match root {
            Some(root) => Ok(Project { root: root.to_owned() }),
            // A lone playbook is a project of its own.
            None if start.is_file() => Ok(Project { root: start.parent().unwrap_or(Path::new(".")).to_owned() }),
            None => Err(Error::new(Class::Usage, format!("{}: no project here or above", path.display()))
                .help("go to a folder with `playbooks/`, or begin one with `homelab new DIR`")),
        }
    }

    /// What homelab keeps for itself.
    pub fn state(&self) -> PathBuf {
        self.root.join(".homelab")
    }

    /// The journal.
    pub fn journal(&self) -> PathBuf {
        self.state().join("journal.db")
    }

    /// The lock that a run holds.
    pub fn lock(&self) -> PathBuf {
        self.state().join("run.lock")
    }

    /// The simulated world.
    pub fn simulator(&self) -> PathBuf {
        self.state().join("sim")
    }

    /// The lock of the simulated world: one process at a time has it in hand. It lies beside the world's folder, which
    /// comes and goes.
    pub fn simulator_lock(&self) -> PathBuf {
        self.state().join("sim.lock")
    }

    /// The project's own known SSH host keys.
    pub fn known_hosts(&self) -> PathBuf {
        self.state().join("known_hosts")
    }

    /// The playbooks that arguments name, each once: files, and folders with all their playbooks. They are carried out in the
    /// plan's order, in whatever order they are named; what has no number there keeps its place behind those that have.
    pub fn playbooks(&self, named: &[PathBuf]) -> Result<Vec<PathBuf>> {
        let mut found: Vec<PathBuf> = Vec::new();
        for path in named {
            let path = located(path)?;
            let more = if path.is_dir() { in_folder(&path)? } else { vec![path] };
            for path in more {
                if !found.contains(&path) {
                    found.push(path);
                }
            }
        }
        found.sort_by_key(|path| place(path));
        Ok(found)
    }

    /// All playbooks of the plan, in its order. The applications are not among them: the plan's own playbooks deploy them.
    pub fn all_playbooks(&self) -> Result<Vec<PathBuf>> {
        let folder = self.root.join("playbooks");
        if folder.is_dir() { in_folder(&folder) } else { Ok(Vec::new()) }
    }

    /// The playbooks that deploy one application each: `playbooks/apps/NAME/playbook.rhai`, by name.
    pub fn applications(&self) -> Vec<PathBuf> {
        let folders = std::fs::read_dir(self.root.join("playbooks").join("apps")).into_iter().flatten().flatten();
        let mut found: Vec<PathBuf> = folders.filter_map(|folder| own_playbook(&folder.path())).collect();
        found.sort();
        found
    }
}

/// The real path of a folder. A file keeps its name, so that a link to a playbook elsewhere belongs to the project that the
/// link lies in.
fn located(path: &Path) -> Result<PathBuf> {
    let located = std::fs::metadata(path).and_then(|found| match (path.parent(), path.file_name()) {
        (Some(folder), Some(name)) if !found.is_dir() => {
            let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
            Ok(folder.canonicalize()?.join(name))
        }
        _ => path.canonicalize(),
    });
    located.map_err(|error| {
        let missing = Error::new(Class::Usage, format!("{}: there is no such file or folder", path.display()));
        missing.cause(error).help(match beside(path) {
            Some(near) => format!("did you mean {}?", near.display()),
            None => "`homelab status` lists the playbooks of the project you are in".to_owned(),
        })
    })
}

/// The file beside a path that was probably meant.
fn beside(path: &Path) -> Option<PathBuf> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let names = std::fs::read_dir(folder).ok()?.flatten().filter_map(|entry| entry.file_name().into_string().ok());
    let mut names: Vec<String> = names.filter(|name| Some(name.as_ref()) != path.file_name()).collect();
    names.sort();
    let near = suggest::nearest(path.file_name()?.to_str()?, names.iter().map(String::as_str))?;
    Some(path.with_file_name(near))
}

/// Where a playbook stands in the plan: by the numbers of its name, as numbers. `phase3_5` comes between `phase3` and `phase4`, and
/// `phase10` behind `phase9`.
fn place(path: &Path) -> (bool, Vec<u64>) {
    let stem = path.file_stem().unwrap_or_default().to_string_lossy();
    let numbers = stem.strip_prefix("phase").map(|rest| rest.split('_').map_while(|part| part.parse().ok()).collect());
    let numbers: Vec<u64> = numbers.unwrap_or_default();
    (numbers.is_empty(), numbers)
}

/// The playbook of a folder that is for one thing, such as an application. The scripts beside it are its modules.
const OWN: &str = "playbook.rhai";

fn own_playbook(folder: &Path) -> Option<PathBuf> {
    Some(folder.join(OWN)).filter(|own| own.is_file())
}

/// The playbooks of a folder: its own one, else the phases in the plan's order, then the others by name.
fn in_folder(folder: &Path) -> Result<Vec<PathBuf>> {
    if let Some(own) = own_playbook(folder) {
        return Ok(vec![own]);
    }
    let unreadable = |error| Error::new(Class::Usage, format!("{}: cannot be read", folder.display())).cause(error);
    let mut playbooks: Vec<PathBuf> = std::fs::read_dir(folder)
        .map_err(unreadable)?
        .filter_map(|entry| entry.ok().map(|entry| entry.path()))
        .filter(|path| path.extension().is_some_and(|extension| extension == "rhai"))
        .collect();
    playbooks.sort_by_key(|path| (place(path), path.file_name().map(ToOwned::to_owned)));
    if playbooks.is_empty() {
        return Err(Error::new(Class::Usage, format!("{}: no playbooks in there", folder.display()))
            .help("playbooks are files that end in .rhai; an application is a folder of its own, named by its path"));
    }
    Ok(playbooks)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_to_a_playbook_belongs_to_the_project_that_it_lies_in() {
        let folder = tempfile::tempdir().expect("a folder");
        let (here, there) = (folder.path().join("here/playbooks"), folder.path().join("there/playbooks"));
        for folder in [&here, &there] {
            std::fs::create_dir_all(folder).expect("made");
        }
        std::fs::write(there.join("shared.rhai"), "").expect("written");
        std::os::unix::fs::symlink(there.join("shared.rhai"), here.join("own.rhai")).expect("linked");
        let project = Project::of(&here.join("own.rhai")).expect("found");
        assert!(project.root.ends_with("here"), "{}", project.root.display());
        let playbooks = project.playbooks(&[here.join("own.rhai")]).expect("found");
        assert!(playbooks[0].ends_with("here/playbooks/own.rhai"), "{}", playbooks[0].display());
    }

    #[test]
    fn a_misspelt_playbook_is_met_with_the_one_beside_it() {
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::write(folder.path().join("phase3.rhai"), "").expect("written");
        let error = Project::of(&folder.path().join("phsae3.rhai")).expect_err("there is none");
        assert!(error.help_text().is_some_and(|help| help.ends_with("phase3.rhai?")), "{error:?}");
    }

    #[test]
    fn a_folder_with_a_playbook_of_its_own_is_that_one_and_what_lies_beside_it_are_its_modules() {
        let folder = tempfile::tempdir().expect("a folder");
        let apps = folder.path().join("playbooks/apps");
        for (app, files) in [("notes", ["app.rhai", "playbook.rhai"]), ("drafts", ["app.rhai", "README.md"])] {
            std::fs::create_dir_all(apps.join(app)).expect("made");
            files.iter().for_each(|file| std::fs::write(apps.join(app).join(file), "").expect("written"));
        }
        let project = Project::of(&apps).expect("found");
        let found = project.playbooks(&[apps.join("notes")]).expect("found");
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(found[0].ends_with("apps/notes/playbook.rhai"), "{}", found[0].display());
        assert_eq!(project.applications(), found, "a folder without one is no application yet");
    }

    #[test]
    fn playbooks_of_a_folder_come_in_the_plans_order() {
        let folder = tempfile::tempdir().expect("a folder");
        for name in ["phase4.rhai", "phase10.rhai", "phase3_5.rhai", "phase3.rhai", "extra.rhai", "notes.md"] {
            std::fs::write(folder.path().join(name), "").expect("written");
        }
        let names: Vec<String> = in_folder(folder.path())
            .expect("readable")
            .iter()
            .filter_map(|path| path.file_name().map(|name| name.to_string_lossy().into_owned()))
            .collect();
        assert_eq!(names, ["phase3.rhai", "phase3_5.rhai", "phase4.rhai", "phase10.rhai", "extra.rhai"]);
    }

    #[test]
    fn playbooks_that_are_named_one_by_one_come_in_the_plans_order_too_and_each_once() {
        let folder = tempfile::tempdir().expect("a folder");
        let playbooks = folder.path().join("playbooks");
        std::fs::create_dir(&playbooks).expect("made");
        for name in ["phase0.rhai", "phase1.rhai", "b.rhai", "a.rhai"] {
            std::fs::write(playbooks.join(name), "").expect("written");
        }
        let named = ["b.rhai", "phase1.rhai", "a.rhai", "phase0.rhai", "phase1.rhai"].map(|name| playbooks.join(name));
        let found = Project::of(&playbooks).expect("found").playbooks(&named).expect("found");
        let names: Vec<_> = found.iter().filter_map(|path| path.file_name()?.to_str()).collect();
        assert_eq!(names, ["phase0.rhai", "phase1.rhai", "b.rhai", "a.rhai"]);
    }
}
