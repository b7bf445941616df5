//! Finds what a script imports: `std/x` in the project's `stdlib/`, else in the embedded one; all else beside the
//! importing file.

use std::cell::RefCell;
use std::collections::HashMap;
use std::path::{Component, Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use include_dir::{Dir, include_dir};
use rhai::{Engine, EvalAltResult, Module, ModuleResolver, Position, Scope, Shared};

use super::engine::{Compiled, compile};
use super::sources::{Source, Sources};
use crate::error::{Class, Error, Result};
use crate::read;
use crate::script::RhaiResult;
use crate::script::failure::fail_at;
use crate::suggest;

static STDLIB: Dir = include_dir!("$CARGO_MANIFEST_DIR/stdlib");

const STD: &str = "std/";
const EXTENSION: &str = ".rhai";

thread_local! {
    // The modules being loaded, outermost first: a branch of `parallel` is a thread and loads on its own.
    static LOADING: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) };
}

/// The names of the embedded modules, as they are imported.
pub fn embedded() -> Vec<String> {
    let mut names: Vec<String> = STDLIB
        .files()
        .filter_map(|file| file.path().to_str()?.strip_suffix(EXTENSION).map(|name| format!("{STD}{name}")))
        .collect();
    names.sort();
    names
}

/// The text of an embedded module, by the name it is imported as.
pub fn embedded_text(name: &str) -> Option<&'static str> {
    STDLIB.get_file(format!("{}{EXTENSION}", name.strip_prefix(STD)?))?.contents_utf8()
}

impl Found {
    fn into_source(self, compiled: &Compiled) -> Source {
        Source {
            name: self.name,
            text: self.text.into(),
            ast: Arc::new(compiled.original.clone()),
            embedded: self.path.is_none(),
            path: self.path,
        }
    }
}

/// Finds and loads modules, each once a run. A cached module keeps what it imported itself, so after an edit the whole
/// resolver is made anew.
pub struct Resolver {
    root: PathBuf,
    sources: Sources,
    loaded: Mutex<HashMap<String, Shared<Module>>>,
}

/// A module that was found.
struct Found {
    name: String,
    text: String,
    path: Option<PathBuf>,
}

impl Resolver {
    /// A resolver for one project, which records what it reads.
    pub fn new(root: PathBuf, sources: Sources) -> Self {
        Resolver { root, sources, loaded: Mutex::default() }
    }

    /// Reads and compiles a module without running it, and gives its name: what a check needs to look into it.
    pub fn preload(&self, engine: &Engine, importer: &str, path: &str) -> Result<String> {
        let found = self.find(Some(importer), path)?;
        let name = found.name.clone();
        if self.sources.get(&name).is_none() {
            let compiled = compile(engine, &name, &found.text)?;
            self.sources.record(found.into_source(&compiled));
        }
        Ok(name)
    }

    fn find(&self, importer: Option<&str>, path: &str) -> Result<Found> {
        let importer_is_embedded = importer.is_some_and(|name| name.starts_with(STD));
        let file = format!("{}{EXTENSION}", path.strip_suffix(EXTENSION).unwrap_or(path));
        if path.starts_with(STD) {
            return self.find_standard(path, &file);
        }
        if importer_is_embedded {
            let beside = inside(Path::new(STD), &file).filter(|beside| beside.starts_with("std"));
            let beside = beside.ok_or_else(|| outside(path, "the standard library"))?;
            return self.find_standard(path, &slashes(&beside));
        }
        let folder = importer.and_then(|name| Path::new(name).parent()).unwrap_or(Path::new(""));
        let relative = inside(folder, &file).ok_or_else(|| outside(path, "the project"))?;
        match self.read(&relative, path)? {
            Some(found) => Ok(found),
            None => Err(unknown(path, &self.names_in(folder))),
        }
    }

    fn find_standard(&self, path: &str, file: &str) -> Result<Found> {
        let relative = inside(Path::new(""), file).ok_or_else(|| outside(path, "the standard library"))?;
        let Ok(within) = relative.strip_prefix("std") else { return Err(outside(path, "the standard library")) };
        if let Some(found) = self.read(&Path::new("stdlib").join(within), path)? {
            return Ok(found);
        }
        let name = slashes(&relative);
        let name = name.strip_suffix(EXTENSION).unwrap_or(&name);
        match embedded_text(name) {
            Some(text) => Ok(Found { name: name.to_owned(), text: text.to_owned(), path: None }),
            None => {
                let own = self.names_in("stdlib").into_iter().map(|name| format!("{STD}{name}"));
                Err(unknown(path, &embedded().into_iter().chain(own).collect::<Vec<_>>()))
            }
        }
    }

    fn read(&self, relative: &Path, wanted: &str) -> Result<Option<Found>> {
        let full = self.root.join(relative);
        self.sources.looked_for(full.clone());
        if !full.exists() {
            return Ok(None);
        }
        let unreadable = |error| Error::new(Class::InputMissing, format!("{wanted}: cannot be read")).cause(error);
        // A link may lead anywhere; scripts are read from the project only.
        let real = full.canonicalize().map_err(unreadable)?;
        if !real.starts_with(self.root.canonicalize().map_err(unreadable)?) {
            return Err(outside(wanted, "the project"));
        }
        let name = slashes(relative);
        let text = read::text(&full, &name)?;
        Ok(Some(Found { name, text, path: Some(full) }))
    }

    /// The modules in a folder of the project, as they are imported from beside.
    fn names_in(&self, folder: impl AsRef<Path>) -> Vec<String> {
        let entries = std::fs::read_dir(self.root.join(folder)).into_iter().flatten().flatten();
        let mut names: Vec<String> = entries
            .filter_map(|entry| entry.file_name().to_str()?.strip_suffix(EXTENSION).map(str::to_owned))
            .collect();
        names.sort();
        names
    }

    fn load(&self, engine: &Engine, found: Found, position: Position) -> RhaiResult<Shared<Module>> {
        let _loading = Loading::begin(&found.name).map_err(|error| fail_at(error, position))?;
        let compiled = compile(engine, &found.name, &found.text).map_err(|error| fail_at(error, position))?;
        let name = found.name.clone();
        self.sources.record(found.into_source(&compiled));
        let module = Module::eval_ast_as_new(Scope::new(), &compiled.rewritten, engine)
            .map_err(|error| Box::new(EvalAltResult::ErrorInModule(name, error, position)))?;
        Ok(Shared::new(module))
    }
}

impl ModuleResolver for Resolver {
    fn resolve(
        &self,
        engine: &Engine,
        importer: Option<&str>,
        path: &str,
        position: Position,
    ) -> RhaiResult<Shared<Module>> {
        let found = self.find(importer, path).map_err(|error| fail_at(error, position))?;
        let name = found.name.clone();
        let loaded = || self.loaded.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(module) = loaded().get(&name) {
            return Ok(module.clone());
        }
        // Not under the lock: the module may import others.
        let module = self.load(engine, found, position)?;
        Ok(loaded().entry(name).or_insert(module).clone())
    }
}

/// A module on its way in; gone when dropped, also after an error.
struct Loading;

impl Loading {
    fn begin(name: &str) -> Result<Self> {
        LOADING.with_borrow_mut(|loading| {
            if let Some(first) = loading.iter().position(|other| other == name) {
                let chain: Vec<&str> = loading[first..].iter().map(String::as_str).chain([name]).collect();
                return Err(Error::new(Class::Script, format!("{name}: it imports itself"))
                    .cause(chain.join(" → "))
                    .help("move what both need into a module of its own"));
            }
            loading.push(name.to_owned());
            Ok(Loading)
        })
    }
}

impl Drop for Loading {
    fn drop(&mut self) {
        LOADING.with_borrow_mut(Vec::pop);
    }
}

/// The path seen from the project, if it stays in it.
fn inside(folder: &Path, path: &str) -> Option<PathBuf> {
    let mut result = PathBuf::new();
    for component in folder.join(path).components() {
        match component {
            Component::Normal(part) => result.push(part),
            Component::CurDir => {}
            Component::ParentDir if result.pop() => {}
            Component::ParentDir | Component::RootDir | Component::Prefix(_) => return None,
        }
    }
    Some(result)
}

fn slashes(path: &Path) -> String {
    path.to_string_lossy().replace('\\', "/")
}

fn outside(path: &str, place: &str) -> Error {
    Error::new(Class::InputMissing, format!("{path}: it is outside {place}"))
        .help("import only what lies in the project")
}

fn unknown(path: &str, names: &[String]) -> Error {
    let error = Error::new(Class::Script, format!("{path}: there is no such module"));
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    match suggest::nearest(path, names.iter().copied()) {
        Some(name) => error.help(format!("did you mean `{name}`?")),
        None if names.is_empty() => {
            error.help("a path is relative to the importing file; recipes are imported as `std/…`")
        }
        None => error.help(format!("there are: {}", suggest::listed(&names))),
    }
}
