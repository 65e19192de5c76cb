//! What lies in this repository, as cargo knows it.

use crate::shell::{self, Error, Result};
use serde_json::Value;
use std::path::{Path, PathBuf};

/// The workspace, and where it builds.
pub struct Workspace {
    /// The directory of the workspace's `Cargo.toml`.
    pub root: PathBuf,
    /// cargo's target directory, wherever the environment put it.
    pub target: PathBuf,
    packages: Vec<Package>,
}

/// A member of the workspace.
pub struct Package {
    /// Its name, as `-p` takes it.
    pub name: String,
    dir: PathBuf,
    targets: Vec<Target>,
}

struct Target {
    name: String,
    kinds: Vec<String>,
}

impl Workspace {
    /// Asks cargo; dependencies are left out, so that this takes milliseconds and no network.
    pub fn load() -> Result<Self> {
        let here =
            std::env::var("CARGO_MANIFEST_DIR").unwrap_or_else(|_| env!("CARGO_MANIFEST_DIR").to_owned());
        let mut command = shell::cargo();
        command.args(["metadata", "--no-deps", "--format-version", "1"]).current_dir(here);
        let metadata: Value = serde_json::from_slice(&shell::output(&mut command)?)
            .map_err(|error| Error::failed(format!("cargo metadata: {error}")))?;
        Self::read(&metadata).ok_or_else(|| {
            Error::failed("cargo metadata has another form than this task knows: use the toolchain that rust-version names")
        })
    }

    fn read(metadata: &Value) -> Option<Self> {
        Some(Self {
            root: metadata["workspace_root"].as_str()?.into(),
            target: metadata["target_directory"].as_str()?.into(),
            packages: metadata["packages"].as_array()?.iter().map(Package::read).collect::<Option<_>>()?,
        })
    }

    /// Where release builds land.
    pub fn release(&self) -> PathBuf {
        self.target.join("release")
    }

    /// The built host.
    pub fn host(&self) -> PathBuf {
        self.release().join("gantry")
    }

    /// Our own plugins: the packages below `plugins/`.
    pub fn plugins(&self) -> impl Iterator<Item = &Package> {
        let dir = self.root.join("plugins");
        self.packages.iter().filter(move |package| package.dir.starts_with(&dir))
    }

    /// Each benchmark, with its package.
    pub fn benches(&self) -> Vec<(&str, &str)> {
        let of_package =
            |package| Package::targets(package, "bench").map(|bench| (package.name.as_str(), bench));
        self.packages.iter().flat_map(of_package).collect()
    }

    /// The manifests of `examples/*`, which are workspaces of their own.
    pub fn examples(&self) -> Result<Vec<PathBuf>> {
        let dir = self.root.join("examples");
        if !dir.exists() {
            return Ok(Vec::new());
        }
        let entries = dir.read_dir().and_then(Iterator::collect::<std::io::Result<Vec<_>>>);
        let entries = entries.map_err(|error| Error::failed(format!("{}: {error}", dir.display())))?;
        let mut found: Vec<_> = entries.iter().map(|entry| entry.path().join("Cargo.toml")).collect();
        found.retain(|manifest| manifest.exists());
        found.sort();
        Ok(found)
    }

    /// Where the examples build: apart from ours, as a third party's plugin
    /// must not lie beside the host, where plugins are found without a path.
    pub fn examples_target(&self) -> PathBuf {
        self.target.join("examples")
    }
}

impl Package {
    fn read(package: &Value) -> Option<Self> {
        let targets = package["targets"].as_array()?.iter().map(|target| {
            let kinds = target["kind"].as_array()?.iter().filter_map(Value::as_str).map(str::to_owned);
            Some(Target { name: target["name"].as_str()?.to_owned(), kinds: kinds.collect() })
        });
        Some(Self {
            name: package["name"].as_str()?.to_owned(),
            dir: Path::new(package["manifest_path"].as_str()?).parent()?.to_owned(),
            targets: targets.collect::<Option<_>>()?,
        })
    }

    /// The file name of the plugin's library, where the package makes one.
    pub fn library(&self) -> Option<String> {
        self.targets("cdylib").next().map(|name| format!("lib{name}.so"))
    }

    fn targets(&self, kind: &str) -> impl Iterator<Item = &str> {
        self.targets
            .iter()
            .filter(move |target| target.kinds.iter().any(|is| is == kind))
            .map(|target| target.name.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_plugins_examples_and_the_host() {
        let workspace = Workspace::load().unwrap();
        let libraries: Vec<_> = workspace.plugins().filter_map(Package::library).collect();
        assert!(libraries.contains(&"libgantry_node.so".to_owned()), "{libraries:?}");
        assert!(workspace.plugins().all(|plugin| plugin.name.starts_with("gantry-")));
        assert!(workspace.packages.iter().any(|package| package.name == "gantry-host"));
        assert!(workspace.examples().unwrap().iter().all(|manifest| manifest.is_file()));
    }

    #[test]
    fn another_form_of_metadata_is_no_panic() {
        assert!(Workspace::read(&serde_json::json!({"packages": 3})).is_none());
    }
}
