//! Which file of a package imports which: every path is followed to the file that defines what it names.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt;
use std::path::{Path, PathBuf};

use super::module::{Meaning, Module, Segments};
use super::source::Source;

/// The modules of a package by their paths. Tests are left out.
struct Package<'a> {
    modules: BTreeMap<Segments, (File<'a>, Module)>,
}

/// The file that a module stands in.
#[derive(Debug, Clone)]
struct File<'a> {
    path: &'a Path,
    /// The module that the whole file is. The root of the package is `[]`.
    module: Segments,
}

/// What a path leads to.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Target {
    /// An item, by the module that defines it.
    Item(Segments),
    Module(Segments),
    /// Something that the package does not define.
    Foreign,
}

/// Names that are being looked up, each with its module.
type Pending = BTreeSet<(Segments, String)>;

/// A path in one file to what another file defines.
#[derive(Debug, Clone)]
struct Import {
    path: PathBuf,
    line: usize,
    name: String,
    defined_in: PathBuf,
    from: Segments,
    to: Segments,
}

impl fmt::Display for Import {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { path, line, name, defined_in, .. } = self;
        write!(f, "{}:{line} imports `{name}` from {}", path.display(), defined_in.display())
    }
}

/// The imports within one package.
#[derive(Debug, Default)]
pub(crate) struct Imports {
    all: Vec<Import>,
    /// The paths that should lead to something of the package and do not.
    pub(crate) unresolved: Vec<String>,
}

impl Imports {
    /// Reads a package. All of `sources` are below `root`, such as `actors/src`.
    pub(crate) fn read(root: &str, sources: &[Source]) -> Self {
        let mut package = Package { modules: BTreeMap::new() };
        for source in sources {
            let file = File { path: &source.path, module: module_of(root, &source.path) };
            let module = Module::read(&source.without_tests().tokens);
            package.add(file.module.clone(), &file, module);
        }
        let mut imports = Self::default();
        for (module, (file, content)) in &package.modules {
            for (line, segments) in &content.paths {
                imports.follow(&package, module, file, *line, segments);
            }
        }
        imports
    }

    fn follow(
        &mut self,
        package: &Package<'_>,
        module: &Segments,
        file: &File<'_>,
        line: usize,
        segments: &[String],
    ) {
        let targets = package.resolve(module, segments, &mut Pending::new());
        let name = segments.join("::");
        if targets.is_empty() {
            self.unresolved
                .push(format!("{}:{line}: nothing is found at `{name}`", file.path.display()));
        }
        for target in targets {
            let (Target::Item(to) | Target::Module(to)) = target else { continue };
            let Some((to, content)) = package.modules.get(&to) else { continue };
            if to.module == file.module || content.is_door() {
                continue;
            }
            self.all.push(Import {
                path: file.path.to_owned(),
                line,
                name: name.clone(),
                defined_in: to.path.to_owned(),
                from: file.module.clone(),
                to: to.module.clone(),
            });
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.all.len()
    }

    /// The circles of files and folders that import each other, for each folder of the package.
    pub(crate) fn circles(&self) -> Vec<Circle> {
        let folders_around = |import: &'_ Import| {
            let from = import.from.clone();
            (0..from.len()).map(move |depth| from[..depth].to_vec())
        };
        let folders: BTreeSet<_> = self.all.iter().flat_map(folders_around).collect();
        folders.iter().flat_map(|folder| self.circles_in(folder)).collect()
    }

    /// For each file and folder directly in `folder` a shortest circle through it, each circle once.
    fn circles_in(&self, folder: &[String]) -> Vec<Circle> {
        // The `mod.rs` of the folder is no member of it.
        let member = |module: &Segments| module.strip_prefix(folder)?.first().cloned();
        let mut arrows = Arrows::new();
        for import in &self.all {
            if let (Some(from), Some(to)) = (member(&import.from), member(&import.to))
                && from != to
            {
                arrows.entry(from).or_default().entry(to).or_insert(import);
            }
        }
        let mut known = BTreeSet::new();
        let circles = arrows.keys().filter_map(|start| shortest_circle(&arrows, start));
        let circles = circles.map(|steps| {
            let members = steps.iter().filter_map(|step| member(&step.from)).collect();
            Circle { members, steps: steps.into_iter().cloned().collect() }
        });
        circles.filter(|circle| known.insert(BTreeSet::from_iter(circle.members.clone()))).collect()
    }
}

/// One import for each pair of members of a folder of which the first imports the second.
type Arrows<'a> = BTreeMap<String, BTreeMap<String, &'a Import>>;

/// The fewest imports that lead from `start` back to it.
fn shortest_circle<'a>(arrows: &Arrows<'a>, start: &String) -> Option<Vec<&'a Import>> {
    let mut reached = BTreeSet::new();
    let mut waiting = VecDeque::from([(start, Vec::new())]);
    while let Some((member, steps)) = waiting.pop_front() {
        for (next, import) in arrows.get(member).into_iter().flatten() {
            let steps = [&steps[..], &[*import]].concat();
            if next == start {
                return Some(steps);
            }
            if reached.insert(next) {
                waiting.push_back((next, steps));
            }
        }
    }
    None
}

/// Files and folders of one folder of which each imports the next, and the last the first.
#[derive(Debug)]
pub(crate) struct Circle {
    pub(crate) members: Vec<String>,
    steps: Vec<Import>,
}

impl fmt::Display for Circle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { members, steps } = self;
        write!(f, "a circle of imports, {} -> {}:", members.join(" -> "), members[0])?;
        steps.iter().try_for_each(|step| write!(f, "\n    {step}"))
    }
}

/// The module that the file at `path` is.
fn module_of(root: &str, path: &Path) -> Segments {
    let inner = path.strip_prefix(root).expect("every source is below the root").with_extension("");
    let mut module: Segments = inner.iter().map(|part| part.to_string_lossy().into()).collect();
    module.pop_if(|last| ["lib", "main", "mod"].contains(&last.as_str()));
    module
}

impl<'a> Package<'a> {
    fn add(&mut self, path: Segments, file: &File<'a>, mut module: Module) {
        for (name, inner) in std::mem::take(&mut module.inline) {
            self.add([&path[..], &[name]].concat(), file, inner);
        }
        self.modules.insert(path, (file.clone(), module));
    }

    /// What `segments`, written in `module`, leads to. Nothing if it should lead to something of this package and does
    /// not: if it begins with `crate`, `self`, `super` or a module, and goes on with a name that is not there.
    fn resolve(
        &self,
        module: &[String],
        segments: &[String],
        pending: &mut Pending,
    ) -> BTreeSet<Target> {
        let mut module = module.to_vec();
        let is_keyword = |segment: &&String| ["crate", "self", "super"].contains(&segment.as_str());
        let (keywords, names) = segments.split_at(segments.iter().take_while(is_keyword).count());
        for keyword in keywords {
            match keyword.as_str() {
                "crate" => module.clear(),
                "super" => drop(module.pop()),
                _ => {}
            }
        }
        let mut targets = BTreeSet::from([Target::Module(module)]);
        for (at, name) in names.iter().enumerate() {
            let within = |target| match target {
                Target::Module(module) => self.look_up(&module, name, pending),
                // A variant or an associated item belongs to its type.
                target => BTreeSet::from([target]),
            };
            targets = targets.into_iter().flat_map(within).collect();
            // Another crate, a local name, or one of the standard prelude.
            if at == 0 && keywords.is_empty() && targets.is_empty() {
                return BTreeSet::from([Target::Foreign]);
            }
        }
        targets
    }

    /// What `name` means in `module`. Explicit names come before those of globs.
    fn look_up(&self, module: &Segments, name: &str, pending: &mut Pending) -> BTreeSet<Target> {
        let Some((_, content)) = self.modules.get(module) else { return BTreeSet::new() };
        // `pub use redis;` imports a crate, not itself.
        let key = (module.clone(), name.to_owned());
        if !pending.insert(key.clone()) {
            return BTreeSet::new();
        }
        let mut found = BTreeSet::new();
        for meaning in content.names.get(name).into_iter().flatten() {
            match meaning {
                Meaning::Item => drop(found.insert(Target::Item(module.clone()))),
                Meaning::Module => {
                    found.insert(Target::Module([&module[..], &[name.to_owned()]].concat()));
                }
                Meaning::Import(segments) => found.extend(self.resolve(module, segments, pending)),
            }
        }
        let globs = if found.is_empty() { &content.globs[..] } else { &[] };
        for glob in globs {
            for target in self.resolve(module, glob, pending) {
                match target {
                    Target::Module(from) => found.extend(self.look_up(&from, name, pending)),
                    // A variant of an enum, or something of another crate.
                    Target::Item(_) | Target::Foreign => drop(found.insert(target)),
                }
            }
        }
        pending.remove(&key);
        found
    }
}
