//! Variants of the boundary, made of this folder's text, each with plugins and
//! a host in small that were built against it.
#![allow(dead_code, reason = "each test binary uses some of it")]
#![allow(clippy::unwrap_used, reason = "a test fails by it")]

use std::path::{Path, PathBuf};
use std::process::Command;

/// A replacement in one file of `plugin-api`: file, text, replacement.
pub type Patch = (&'static str, &'static str, &'static str);

pub struct Variant {
    name: &'static str,
    dir: PathBuf,
}

const RUNNER: &str = include_str!("runner.rs");

impl Variant {
    /// Builds everything that is there for a variant. Texts are written where
    /// they changed only, so that a second run compiles nothing.
    pub fn build(name: &'static str, patches: &[Patch], with_runner: bool) -> Self {
        // From whichever package's tests: the host's use it too.
        let here = &Path::new(env!("CARGO_MANIFEST_DIR")).join("../plugin-api");
        let example = here.join("../examples/hello-plugin");
        let variant = Self { name, dir: variants().join(name) };
        variant.copy_boundary(here, patches);
        let mut members = vec!["hello-2024", "hello-2021"];
        for edition in ["2024", "2021"] {
            let manifest = read(&example.join("Cargo.toml"))
                .replace("[workspace]\n", "")
                .replace("../../plugin-api", &format!("../{}", variant.boundary()))
                .replace("\"gantry-hello-plugin\"", &format!("\"hello-{name}-{edition}\""))
                .replace("\"gantry_hello\"", &format!("\"hello_{name}_{edition}\""))
                .replace("edition = \"2024\"", &format!("edition = \"{edition}\""));
            // What its tests need is not there, and a profile belongs to the root of a workspace.
            let (manifest, _) = manifest.split_once("[dev-dependencies]").expect("it has tests");
            variant.write(&format!("hello-{edition}/Cargo.toml"), manifest);
            variant.write(&format!("hello-{edition}/src/lib.rs"), &read(&example.join("src/lib.rs")));
        }
        if with_runner {
            members.push("runner");
            let default = if name == "newer" { "\"newer\"" } else { "" };
            variant.write(
                "runner/Cargo.toml",
                &format!(
                    "[package]\nname = \"runner-{name}\"\nversion = \"0.1.0\"\nedition = \"2024\"\n\
                     [features]\nnewer = []\ndefault = [{default}]\n\
                     [dependencies]\ngantry-plugin-api = {{ path = \"../{}\" }}\n",
                    variant.boundary()
                ),
            );
            variant.write("runner/src/main.rs", RUNNER);
        }
        variant.write(
            "Cargo.toml",
            &format!("[workspace]\nresolver = \"3\"\nmembers = {members:?}\n[profile.dev]\ndebug = false\n"),
        );
        if !variant.dir.join("Cargo.lock").exists() {
            variant.write("Cargo.lock", &read(&example.join("Cargo.lock")));
        }
        variant.cargo();
        variant
    }

    /// Its own name for each: cargo tells crates in one target directory apart
    /// by their path below the root of their workspace.
    fn boundary(&self) -> String {
        format!("plugin-api-{}", self.name)
    }

    /// The plugin that was built against this variant.
    pub fn plugin(&self, edition: &str) -> PathBuf {
        output().join(format!("libhello_{}_{edition}.so", self.name))
    }

    /// Lets this variant's host open a plugin; what it printed.
    pub fn run(&self, plugin: &Path) -> String {
        let runner = output().join(format!("runner-{}", self.name));
        let ran = Command::new(runner).arg(plugin).output().expect("the runner was built");
        let text = String::from_utf8_lossy(&ran.stdout).into_owned();
        assert!(ran.status.success(), "{}: {text}{}", ran.status, String::from_utf8_lossy(&ran.stderr));
        text
    }

    /// The dump of this variant's layout.
    pub fn layout(&self) -> String {
        self.run(Path::new("--layout"))
    }

    fn copy_boundary(&self, from: &Path, patches: &[Patch]) {
        let mut used = 0;
        for file in files(from, Path::new("src")).into_iter().chain([PathBuf::from("Cargo.toml")]) {
            let mut text = read(&from.join(&file));
            for (of, old, new) in patches.iter().filter(|patch| file == Path::new(patch.0)) {
                assert_eq!(text.matches(old).count(), 1, "the anchor {old:?} stands once in {of}");
                text = text.replace(old, new);
                used += 1;
            }
            if file == Path::new("Cargo.toml") {
                // What tests and benchmarks need is not in the lock of the example.
                let (front, back) = text.split_once("[dev-dependencies]").expect("it has tests");
                let (_, lints) = back.split_once("[lints.rust]").expect("it has lints");
                text = format!("{front}[lints.rust]{lints}");
            }
            self.write(&format!("{}/{}", self.boundary(), file.display()), &text);
        }
        assert_eq!(used, patches.len(), "each patch has its file");
    }

    fn write(&self, file: &str, text: &str) {
        let path = self.dir.join(file);
        if std::fs::read_to_string(&path).is_ok_and(|old| old == text) {
            return;
        }
        std::fs::create_dir_all(path.parent().unwrap_or(&path)).unwrap();
        std::fs::write(&path, text).unwrap();
    }

    fn cargo(&self) {
        let build = |offline: bool| {
            let mut command = Command::new(env!("CARGO"));
            command.current_dir(&self.dir).args(["build", "--quiet"]).args(offline.then_some("--offline"));
            command.env("CARGO_TARGET_DIR", variants().join("build")).env_remove("RUSTFLAGS");
            command.output().expect("cargo runs")
        };
        // The lock names nothing that the workspace does not use as well.
        let mut built = build(true);
        if !built.status.success() {
            built = build(false);
        }
        assert!(built.status.success(), "{}: {}", self.name, String::from_utf8_lossy(&built.stderr));
    }
}

/// One directory for all variants, so that what they depend on is compiled once.
fn variants() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("variants")
}

fn output() -> PathBuf {
    variants().join("build/debug")
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn files(root: &Path, below: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(root.join(below)).unwrap().map(Result::unwrap);
    let deeper = |entry: std::fs::DirEntry| {
        let path = below.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() { files(root, &path) } else { vec![path] }
    };
    entries.flat_map(deeper).collect()
}
