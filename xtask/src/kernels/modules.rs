//! Modules of a kernel, with those that they need.

use crate::shell::{self, Error, Result};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Files of these modules, each after those that it needs, not compressed: not
/// every kernel reads a compressed one. Those that are built in are left out.
pub fn with_needed(dir: &Path, names: &[&str]) -> Result<Vec<PathBuf>> {
    let mut all = Modules { files: BTreeMap::new(), built_in: built_in(dir)?, ordered: Vec::new() };
    files(&dir.join("kernel"), &mut all.files)?;
    for name in names {
        all.add(name, dir)?;
    }
    Ok(all.ordered)
}

struct Modules {
    files: BTreeMap<String, PathBuf>,
    built_in: Vec<String>,
    ordered: Vec<PathBuf>,
}

impl Modules {
    fn add(&mut self, name: &str, dir: &Path) -> Result<()> {
        let Some(file) = self.files.get(name).cloned() else {
            if self.built_in.iter().any(|known| known == name) {
                return Ok(());
            }
            return Err(Error::failed(format!("{}: no module {name}", dir.display())));
        };
        let file = plain(file)?;
        if self.ordered.contains(&file) {
            return Ok(());
        }
        let code = fs::read(&file).map_err(|error| at(&file, &error))?;
        for needed in needed(&code) {
            self.add(&needed, dir)?;
        }
        self.ordered.push(file);
        Ok(())
    }
}

/// What a module says that it needs: `depends=a,b` among its texts, each of
/// which ends with a zero (include/linux/module.h, `MODULE_INFO`).
fn needed(code: &[u8]) -> Vec<String> {
    const KEY: &[u8] = b"\0depends=";
    let Some(begin) = code.windows(KEY.len()).position(|window| window == KEY) else { return Vec::new() };
    let value = &code[begin + KEY.len()..];
    let end = value.iter().position(|byte| *byte == 0).unwrap_or(0);
    let text = String::from_utf8_lossy(&value[..end]);
    text.split(',').filter(|name| !name.is_empty()).map(plain_name).collect()
}

/// A file may have `-` where the module's name has `_`.
fn plain_name(name: &str) -> String {
    name.replace('-', "_")
}

fn name_of(file: &Path) -> Option<String> {
    let (name, ending) = file.file_name()?.to_str()?.split_once('.')?;
    ending.starts_with("ko").then(|| plain_name(name))
}

fn built_in(dir: &Path) -> Result<Vec<String>> {
    let path = dir.join("modules.builtin");
    let text = fs::read_to_string(&path).map_err(|error| at(&path, &error))?;
    Ok(text.lines().filter_map(|line| name_of(Path::new(line))).collect())
}

fn files(dir: &Path, into: &mut BTreeMap<String, PathBuf>) -> Result<()> {
    for entry in fs::read_dir(dir).map_err(|error| at(dir, &error))? {
        let path = entry.map_err(|error| at(dir, &error))?.path();
        if path.is_dir() {
            files(&path, into)?;
        } else if let Some(name) = name_of(&path) {
            into.insert(name, path);
        }
    }
    Ok(())
}

fn plain(file: PathBuf) -> Result<PathBuf> {
    if file.extension().is_none_or(|ending| ending != "xz") {
        return Ok(file);
    }
    let plain = file.with_extension("");
    if !plain.exists() {
        shell::output(Command::new("xz").args(["-d", "-k", "-f"]).arg(&file))?;
    }
    Ok(plain)
}

fn at(path: &Path, error: &std::io::Error) -> Error {
    Error::failed(format!("{}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_module_comes_after_those_that_it_needs() {
        let dir = std::env::temp_dir().join(format!("gantry-modules-{}", std::process::id()));
        fs::create_dir_all(dir.join("kernel/drivers")).unwrap();
        for (name, needs) in [("a-b", "c,d"), ("c", "d"), ("d", "")] {
            let code = format!("\0license=GPL\0depends={needs}\0name=x\0");
            fs::write(dir.join(format!("kernel/drivers/{name}.ko")), code).unwrap();
        }
        fs::write(dir.join("modules.builtin"), "kernel/fs/ext4/ext4.ko\n").unwrap();
        let found = with_needed(&dir, &["ext4", "a_b", "c"]).unwrap();
        let missing = with_needed(&dir, &["none"]);
        fs::remove_dir_all(&dir).unwrap();
        let names: Vec<_> = found.iter().filter_map(|path| name_of(path)).collect();
        assert_eq!(names, ["d", "c", "a_b"]);
        assert!(missing.is_err());
    }
}
