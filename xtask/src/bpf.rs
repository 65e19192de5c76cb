//! `cargo xtask bpf`: the BPF objects, which are kept beside their sources, so
//! that nobody needs clang to build.
//!
//! Built with one clang, without this machine's paths: the bytes are the same
//! everywhere, and `--check` compares them.

use crate::shell::{self, Error, Result};
use crate::tools::{self, Tool};
use crate::workspace::Workspace;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Debian 12 has it. Another one makes other bytes.
const CLANG: &str = "clang-16";
const STRIP: &str = "llvm-strip-16";

const OF_BPF: &[Tool] = &[
    Tool::new(CLANG, CLANG, &[CLANG, "--version"], "BPF objects are what their sources say"),
    Tool::new(STRIP, "llvm-16", &[STRIP, "--version"], "BPF objects are what their sources say"),
];

/// Builds all objects anew, or compares them with those that are kept.
pub fn task(args: &[String]) -> Result<()> {
    let check = match args {
        [] => false,
        [flag] if flag == "--check" => true,
        _ => return Err(Error::Usage("usage: cargo xtask bpf [--check]".to_owned())),
    };
    if !tools::provide(OF_BPF)?.is_empty() {
        return if check {
            Ok(())
        } else {
            Err(Error::failed(format!("{CLANG} and {STRIP} build the objects, and are not here")))
        };
    }
    let workspace = Workspace::load()?;
    let built = workspace.target.join("bpf");
    fs::create_dir_all(&built).map_err(|error| at(&built, &error))?;
    let mut differ = Vec::new();
    for source in sources(Path::new("plugins"))? {
        let kept = source.with_extension("o");
        let object = built.join(kept.file_name().unwrap_or_default());
        build(&source, &object)?;
        let new = fs::read(&object).map_err(|error| at(&object, &error))?;
        if fs::read(&kept).is_ok_and(|old| old == new) {
            continue;
        }
        if check {
            differ.push(kept.display().to_string());
        } else {
            fs::write(&kept, new).map_err(|error| at(&kept, &error))?;
            println!("wrote {}", kept.display());
        }
    }
    if differ.is_empty() {
        return Ok(());
    }
    Err(Error::failed(format!("not what its source makes: {}; run `cargo xtask bpf`", differ.join(", "))))
}

fn at(path: &Path, error: &std::io::Error) -> Error {
    Error::failed(format!("{}: {error}", path.display()))
}

/// `plugins/NAME/bpf/*.bpf.c`.
fn sources(plugins: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for plugin in entries(plugins)? {
        let dir = plugin.join("bpf");
        if dir.is_dir() {
            found
                .extend(entries(&dir)?.into_iter().filter(|path| path.to_string_lossy().ends_with(".bpf.c")));
        }
    }
    found.sort();
    Ok(found)
}

fn entries(dir: &Path) -> Result<Vec<PathBuf>> {
    let read = fs::read_dir(dir).and_then(|entries| entries.map(|entry| Ok(entry?.path())).collect());
    read.map_err(|error| at(dir, &error))
}

fn build(source: &Path, object: &Path) -> Result<()> {
    let here = std::env::current_dir().map_err(|error| at(Path::new("."), &error))?;
    let mut clang = Command::new(CLANG);
    // The oldest instructions that all our kernels have. Debug information
    // becomes the BTF that relocations need; what else there is of it goes.
    clang.args(["-target", "bpf", "-mcpu=v2", "-O2", "-g", "-Wall", "-Wextra", "-Werror"]);
    clang.args(["-Wno-unused-variable", "-fdebug-compilation-dir=/src"]);
    clang.arg(format!("-ffile-prefix-map={}=/src", here.display()));
    clang.arg("-c").arg(source).arg("-o").arg(object);
    shell::run(&mut clang)?;
    shell::run(Command::new(STRIP).arg("-g").arg(object))
}
