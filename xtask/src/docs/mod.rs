//! `cargo xtask docs`: `docs/metrics.md` from what the plugins declare.

mod page;

use crate::building;
use crate::shell::{self, Error, Result};
use crate::workspace::{Package, Workspace};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Writes the page, or with `--check` compares it.
pub fn task(args: &[String]) -> Result<()> {
    let check = match args {
        [] => false,
        [arg] if arg == "--check" => true,
        _ => return Err(Error::Usage(format!("docs takes --check alone, not {}", args.join(" ")))),
    };
    let workspace = Workspace::load()?;
    building::product(&workspace)?;
    let file = page_file(&workspace);
    let page = generate(&workspace.host(), &libraries(&workspace))?;
    if check {
        return compare(&file, &page);
    }
    std::fs::write(&file, page).map_err(|error| Error::failed(format!("{}: {error}", file.display())))?;
    println!("wrote {}", file.display());
    Ok(())
}

fn page_file(workspace: &Workspace) -> PathBuf {
    workspace.root.join("docs/metrics.md")
}

/// The built libraries of our plugins, in the order of their names.
fn libraries(workspace: &Workspace) -> Vec<PathBuf> {
    let mut names: Vec<_> = workspace.plugins().filter_map(Package::library).collect();
    names.sort();
    names.iter().map(|name| workspace.release().join(name)).collect()
}

/// Asks the host for its own families, and each library, in a child, for its.
fn generate(host: &Path, libraries: &[PathBuf]) -> Result<String> {
    let own = describe(Command::new(host).arg("--describe-host"))?;
    let plugins: Vec<_> = libraries
        .iter()
        .map(|library| describe(Command::new(host).arg("--plugin-probe").arg(library)))
        .collect::<Result<_>>()?;
    page::render(&own, &plugins)
}

fn describe(command: &mut Command) -> Result<Value> {
    let json = shell::output(command)?;
    serde_json::from_slice(&json)
        .map_err(|error| Error::failed(format!("`{}` prints no description: {error}", shell::line(command))))
}

/// Names the first line that differs.
fn compare(file: &Path, page: &str) -> Result<()> {
    const REMEDY: &str = "run `cargo xtask docs` and keep what it writes";
    let there = std::fs::read_to_string(file)
        .map_err(|error| Error::failed(format!("{}: {error}; {REMEDY}", file.display())))?;
    if there == page {
        return Ok(());
    }
    let (mut old, mut new) = (there.lines(), page.lines());
    let mut line = 0;
    loop {
        line += 1;
        let (is, should) = (old.next(), new.next());
        if is != should || is.is_none() {
            return Err(Error::failed(format!(
                "{}:{line} is not what the plugins declare; {REMEDY}\n  there:    {}\n  declared: {}",
                file.display(),
                is.unwrap_or("(nothing)"),
                should.unwrap_or("(nothing)")
            )));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    /// The page of the repository, where `cargo xtask test` has built what it is made from.
    #[test]
    fn the_page_says_what_the_plugins_declare() {
        let workspace = Workspace::load().unwrap();
        let (host, libraries) = (workspace.host(), libraries(&workspace));
        let absent = std::iter::once(&host).chain(&libraries).find(|file| !file.exists());
        if let Some(absent) = absent {
            eprintln!("skipped: {} is not built; `cargo xtask test` builds it", absent.display());
            return;
        }
        let page = generate(&host, &libraries).unwrap();
        if let Err(error) = compare(&page_file(&workspace), &page) {
            panic!("{error}");
        }
    }

    /// Stands in for the host: answers as it does, by a script.
    fn scripted_host(name: &str, script: &str) -> PathBuf {
        let file = std::env::temp_dir().join(format!("gantry-xtask-{name}-{}", std::process::id()));
        std::fs::write(&file, format!("#!/bin/sh\n{script}\n")).unwrap();
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o755)).unwrap();
        // Another test's child may have the descriptor by which it was written, until that
        // executes its own program.
        let is_busy = || {
            let ran = std::process::Command::new(&file).output();
            ran.is_err_and(|error| error.kind() == std::io::ErrorKind::ExecutableFileBusy)
        };
        while is_busy() {
            std::thread::yield_now();
        }
        file
    }

    #[test]
    fn host_and_plugins_are_asked_and_shown() {
        let host = scripted_host(
            "good",
            r#"case $1 in
            --describe-host) echo '{"manifest":{"name":"gantry","version":"0.1.0"},"families":[{"name":"gantry_build_info","help":"Build.","kind":"gauge","labels":["version"]}]}' ;;
            --plugin-probe) echo '{"manifest":{"name":"node","version":"1.0.0","description":"The node"},"families":[{"name":"node_x_seconds_total","help":"X.","kind":"counter","unit":"seconds","labels":["mode"],"per_container":false}]}' ;;
            esac"#,
        );
        let page = generate(&host, &[PathBuf::from("libgantry_node.so")]).unwrap();
        std::fs::remove_file(&host).unwrap();
        assert!(page.contains("| `gantry_build_info` | gauge | | `version` | node | Build. |"), "{page}");
        assert!(
            page.contains("| `node_x_seconds_total` | counter | seconds | `mode` | node | X. |"),
            "{page}"
        );
    }

    #[test]
    fn a_host_that_fails_or_babbles_is_named() {
        for (name, script, says) in
            [("fails", "exit 3", "exit status: 3"), ("babbles", "echo hello", "prints no description")]
        {
            let host = scripted_host(name, script);
            let error = generate(&host, &[]).unwrap_err().to_string();
            std::fs::remove_file(&host).unwrap();
            assert!(error.contains(says), "{error}");
        }
    }

    #[test]
    fn a_difference_names_line_and_remedy() {
        let file = std::env::temp_dir().join(format!("gantry-xtask-page-{}", std::process::id()));
        std::fs::write(&file, "a\nb\n").unwrap();
        assert!(compare(&file, "a\nb\n").is_ok());
        let error = compare(&file, "a\nc\n").unwrap_err().to_string();
        std::fs::remove_file(&file).unwrap();
        assert!(error.contains(":2 ") && error.contains("cargo xtask docs"), "{error}");
    }
}
