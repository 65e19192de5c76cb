//! What several tasks build, and leaving it so that the host trusts it.

use crate::shell::{self, Error, Result};
use crate::workspace::Workspace;
use std::collections::BTreeSet;
use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

/// Write permission of group and others.
const OTHERS_WRITE: u32 = 0o022;

/// The host and our plugins, as they ship.
pub fn product(workspace: &Workspace) -> Result<()> {
    let mut command = shell::cargo();
    command.args(["build", "--release", "-p", "gantry-host"]).current_dir(&workspace.root);
    for plugin in workspace.plugins() {
        command.args(["-p", &plugin.name]);
    }
    shell::run(&mut command)?;
    close(&workspace.release())
}

/// All that the tests open: host, plugins, fixtures, examples, and the tests.
///
/// The tests are named in the same command as the libraries: cargo unites the
/// features of both, and `cargo test` afterwards finds each crate built.
pub fn everything(workspace: &Workspace) -> Result<()> {
    let mut command = shell::cargo();
    command.args(["build", "--release", "--workspace", "--lib", "--bins", "--tests"]);
    shell::run(command.current_dir(&workspace.root))?;
    close(&workspace.release())?;

    let target = workspace.examples_target();
    for manifest in workspace.examples()? {
        let mut command = shell::cargo();
        command
            .args(["build", "--release", "--manifest-path"])
            .arg(&manifest)
            .arg("--target-dir")
            .arg(&target);
        shell::run(&mut command)?;
        close(&target.join("release"))?;
    }
    Ok(())
}

/// What these tests open, and themselves: not the other tests, nor the examples.
/// What cargo says of what it built comes back, a line of JSON each.
///
/// The libraries are named in the same command as the tests, as above.
pub fn for_tests(workspace: &Workspace, targets: &BTreeSet<&str>) -> Result<Vec<u8>> {
    let mut command = shell::cargo();
    command.args(["build", "--release", "--workspace", "--lib", "--bins"]);
    command.args(targets.iter().flat_map(|target| ["--test", target]));
    command.args(["--message-format", "json-render-diagnostics"]);
    shell::announce(&command);
    let built = shell::output(command.current_dir(&workspace.root))?;
    close(&workspace.release())?;
    Ok(built)
}

/// Takes from group and others the right to write to the directory and to
/// the host and the libraries in it: the host opens no plugin that somebody
/// else can change, and an umask of 002 leaves both open to the group.
pub fn close(dir: &Path) -> Result<()> {
    close_one(dir)?;
    let entries = fs::read_dir(dir).map_err(|error| at(dir, &error))?;
    for entry in entries {
        let path = entry.map_err(|error| at(dir, &error))?.path();
        if path.extension().is_some_and(|extension| extension == "so") || path.ends_with("gantry") {
            close_one(&path)?;
        }
    }
    Ok(())
}

fn close_one(path: &Path) -> Result<()> {
    let metadata = fs::metadata(path).map_err(|error| at(path, &error))?;
    if metadata.mode() & OTHERS_WRITE == 0 {
        return Ok(());
    }
    fs::set_permissions(path, Permissions::from_mode(metadata.mode() & !OTHERS_WRITE & 0o7777)).map_err(
        |error| {
            Error::failed(format!("{}: cannot take write permission from others: {error}", path.display()))
        },
    )
}

/// An agent takes files of root and of its own user alone: built by one user
/// and started by another, root included, it would refuse each plugin.
pub fn owner_can_run(dir: &Path) -> Result<()> {
    let owner = fs::metadata(dir).map_err(|error| at(dir, &error))?.uid();
    let own = Path::new("/proc/self");
    let user = fs::metadata(own).map_err(|error| at(own, &error))?.uid();
    if owner == 0 || owner == user {
        return Ok(());
    }
    Err(Error::failed(format!(
        "{} belongs to user {owner}, and an agent of user {user} opens no plugin from there; \
         run as user {owner}, or build elsewhere: CARGO_TARGET_DIR=DIRECTORY cargo xtask run",
        dir.display()
    )))
}

fn at(path: &Path, error: &std::io::Error) -> Error {
    Error::failed(format!("{}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn closes_libraries_and_their_directory_to_others() {
        let dir = std::env::temp_dir().join(format!("gantry-xtask-{}", std::process::id()));
        fs::create_dir_all(&dir).unwrap();
        let (library, other) = (dir.join("libx.so"), dir.join("x.d"));
        for path in [&library, &other] {
            fs::write(path, "").unwrap();
            fs::set_permissions(path, Permissions::from_mode(0o664)).unwrap();
        }
        fs::set_permissions(&dir, Permissions::from_mode(0o775)).unwrap();
        close(&dir).unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().mode() & 0o7777;
        assert_eq!((mode(&dir), mode(&library), mode(&other)), (0o755, 0o644, 0o664));
        fs::remove_dir_all(&dir).unwrap();
    }
}
