//! What is in the virtual machine, and what it does there.

use super::archive::Archive;
use super::list::{self, Tests};
use crate::building;
use crate::shell::{self, Error, Result};
use crate::workspace::Workspace;
use serde_json::Value;
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

/// What a line of the results begins with where a test's program did not end well.
pub const BROKEN: &str = "=== broken:";

/// The last line of the results.
pub const END: &str = "=== end";

/// Where the modules are that the machine loads, in their order.
pub const MODULES: &str = "/modules";

/// The first process. Nothing is mounted over what the archive has, which may be
/// below any directory but the kernel's own. The disk is where tests write that need one: below the
/// build directory. Results go to the second serial line, which is closed at
/// the end so that all of them are out before the machine is.
const INIT: &str = r#"#!/bin/busybox sh
/bin/busybox mkdir -p /bin /sbin /usr/bin /usr/sbin /proc /sys /dev /tmp /run /root /etc
/bin/busybox --install -s /bin
export PATH=/bin:/sbin:/usr/bin:/usr/sbin HOME=/root CI=true
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev
mkdir -p /dev/pts /dev/shm
mount -t devpts devpts /dev/pts
chmod 1777 /tmp
mount -t cgroup2 cgroup2 /sys/fs/cgroup
mount -t tracefs tracefs /sys/kernel/tracing
mount -t bpf bpf /sys/fs/bpf
for controller in $(cat /sys/fs/cgroup/cgroup.controllers); do
    echo "+$controller" >/sys/fs/cgroup/cgroup.subtree_control
done
for module in /modules/*; do
    insmod "$module" || echo "insmod $module failed"
done
mount -t ext4 /dev/vda "$DISK" || echo "no disk at $DISK"
dd if=/dev/zero of="$DISK/swap" bs=1M count=64
mkswap "$DISK/swap"
swapon "$DISK/swap"
ip link set lo up
hostname gantry
echo "root:x:0:0:root:/root:/bin/sh" >/etc/passwd
echo "127.0.0.1 localhost" >/etc/hosts
run() {
    directory=$1
    shift
    echo "=== $(basename "$1")"
    cd "$directory" && "$@" </dev/null 2>&1 || echo "=== broken: $(basename "$1"): $?"
}
stty -F /dev/ttyS1 raw
(. /tests; echo "=== end") >/dev/ttyS1 2>&1
reboot -f
"#;

/// The part of the file system that is the same for each kernel.
pub fn base(workspace: &Workspace, dir: &Path, filters: &[String]) -> Result<PathBuf> {
    let mut archive = Archive::create(&dir.join("base.cpio"))?;
    archive.console()?;
    let disk = workspace.target.join("tmp");
    let init = INIT.replace("$DISK", &disk.to_string_lossy());
    archive.file(Path::new("/init"), init.as_bytes())?;
    archive.directory(&disk)?;
    let busybox = std::fs::read("/bin/busybox").or_else(|_| std::fs::read("/usr/bin/busybox"));
    let busybox = busybox.map_err(|error| Error::failed(format!("/bin/busybox: {error}")))?;
    archive.file(Path::new("/bin/busybox"), &busybox)?;
    let tests = executables(workspace)?;
    archive.file(Path::new("/tests"), script(&tests, filters).as_bytes())?;
    let plugins = std::fs::read_dir(workspace.release())
        .map_err(|error| Error::failed(format!("{}: {error}", workspace.release().display())))?;
    let mut programs: Vec<PathBuf> = plugins.filter_map(|entry| Some(entry.ok()?.path())).collect();
    programs.retain(|path| path.extension().is_some_and(|extension| extension == "so"));
    programs.extend(list::PROGRAMS.iter().map(PathBuf::from));
    programs.push(workspace.host());
    programs.extend(tests.iter().map(|test| test.executable.clone()));
    for program in &programs {
        archive.same(program)?;
        for library in libraries(program)? {
            archive.same(&library)?;
        }
    }
    for test in &tests {
        archive.directory(&test.directory)?;
    }
    archive.finish()
}

/// The base and the modules of one kernel. A kernel unpacks archives that
/// follow each other, one over the other.
pub fn with_modules(base: &Path, modules: &[PathBuf], into: &Path) -> Result<()> {
    let mut bytes = std::fs::read(base).map_err(|error| at(base, &error))?;
    let mut archive = Archive::create(into)?;
    archive.directory(Path::new(MODULES))?;
    for (number, module) in modules.iter().enumerate() {
        let name = module.file_name().unwrap_or_default().to_string_lossy();
        let code = std::fs::read(module).map_err(|error| at(module, &error))?;
        archive.file(&Path::new(MODULES).join(format!("{number:02}-{name}")), &code)?;
    }
    archive.finish()?;
    // Each archive begins at a multiple of four.
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes.extend(std::fs::read(into).map_err(|error| at(into, &error))?);
    std::fs::write(into, bytes).map_err(|error| at(into, &error))
}

struct Executable {
    tests: Tests,
    executable: PathBuf,
    /// Where cargo would start it.
    directory: PathBuf,
}

/// Builds the tests with what they open, and gives their programs, as cargo names them.
fn executables(workspace: &Workspace) -> Result<Vec<Executable>> {
    let targets = list::TESTS.iter().map(|tests| tests.target).collect();
    let built = building::for_tests(workspace, &targets)?;
    let built: Vec<Value> =
        built.split(|byte| *byte == b'\n').filter_map(|line| serde_json::from_slice(line).ok()).collect();
    let find = |tests: &Tests| {
        let found = built.iter().find_map(|message| {
            let is_it = message["profile"]["test"] == true
                && message["target"]["name"] == tests.target
                && is_of(message["package_id"].as_str()?, tests.package);
            let directory = Path::new(message["manifest_path"].as_str()?).parent()?.to_owned();
            is_it.then_some(Executable {
                tests: *tests,
                executable: message["executable"].as_str()?.into(),
                directory,
            })
        });
        found.ok_or_else(|| Error::failed(format!("no test {} of {}", tests.target, tests.package)))
    };
    list::TESTS.iter().map(find).collect()
}

/// Whether a package id of cargo's is of this package: `path+file:///AT#NAME@VERSION`,
/// or `…/NAME#VERSION` where the directory has its name. The path may hold the
/// names of others.
fn is_of(id: &str, package: &str) -> bool {
    let Some((path, rest)) = id.rsplit_once('#') else { return false };
    match rest.split_once('@') {
        Some((name, _)) => name == package,
        None => path.rsplit('/').next() == Some(package),
    }
}

fn script(tests: &[Executable], filters: &[String]) -> String {
    let mut script = String::new();
    for test in tests {
        // One after the other: the machine has one processor, and is slow.
        let _ = write!(
            script,
            "run {} {} --test-threads=1 --include-ignored",
            test.directory.display(),
            test.executable.display()
        );
        for skip in test.tests.skip {
            let _ = write!(script, " --skip {skip}");
        }
        for filter in filters {
            let _ = write!(script, " '{}'", filter.replace('\'', ""));
        }
        script.push('\n');
    }
    script
}

/// The libraries and the loader that a program needs.
fn libraries(program: &Path) -> Result<Vec<PathBuf>> {
    let text = shell::output(Command::new("ldd").arg(program))?;
    let text = String::from_utf8_lossy(&text);
    let paths = text.split_whitespace().filter(|word| word.starts_with('/'));
    Ok(paths.map(PathBuf::from).collect())
}

fn at(path: &Path, error: &std::io::Error) -> Error {
    Error::failed(format!("{}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_package_is_known_by_its_name_and_not_by_its_path() {
        let within = "path+file:///srv/gantry-host/plugins/node#gantry-node@0.1.0";
        assert!(is_of(within, "gantry-node") && !is_of(within, "gantry-host"));
        let same = "path+file:///srv/gantry-host/libs/gantry-netlink#0.1.0";
        assert!(is_of(same, "gantry-netlink") && !is_of(same, "gantry-host"));
        assert!(
            !is_of("gantry-host", "gantry-host")
                && !is_of("path+file:///x#gantry-hostile@0.1.0", "gantry-host")
        );
    }
}
