//! A virtual machine, from its start to its results.

use super::fetch::Kernel;
use super::guest;
use crate::shell::{self, Error, Result};
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// A machine that is not through by then hangs. A run takes a third of it.
const DEADLINE: Duration = Duration::from_secs(300);

/// Of the machine's disk, in bytes.
const DISK: u64 = 256 << 20;

/// The last of what the kernel printed, where it died.
const LINES: usize = 60;

/// Without what costs much where each access is emulated, and changes nothing that is
/// shown: strings that are copied byte by byte, a switch at each copy from and to user
/// space, a fifth level of page tables.
const PROCESSOR: &str = "max,-erms,-fsrm,-smap,-smep,-umip,-la57";

/// Pressure is off unless it is asked for in some of Debian's. What guards against
/// others on the same processor, and clears what is about to be written, costs and serves nobody here.
/// Without random addresses the emulator finds again what it translated for the process before.
const COMMAND_LINE: &str = "console=ttyS0 panic=-1 psi=1 quiet mitigations=off init_on_alloc=0 audit=0 apparmor=0 nowatchdog random.trust_cpu=on norandmaps";

/// What came of it.
pub struct Ended {
    pub results: String,
    /// Why there are no results, or not all of them.
    pub died: Option<String>,
    /// What the kernel printed last.
    pub console: String,
    pub took: Duration,
}

/// Boots, and once more where the machine itself died: under emulation a
/// kernel panics now and then, which says nothing of the tests. One that hangs
/// is not waited for again.
pub fn twice_at_most(kernel: &Kernel, base: &Path, dir: &Path) -> Result<Ended> {
    let image = dir.join("initrd.cpio");
    guest::with_modules(base, &kernel.modules, &image)?;
    let once_more = |first: &Ended, why: &str| {
        eprintln!("{}\nLinux {}: {why}; booting it once more", first.console, kernel.series);
    };
    retried(|| once(kernel, &image, dir), once_more)
}

/// By a boot that may be done twice. `once_more` says why it is.
fn retried(mut boot: impl FnMut() -> Result<Ended>, once_more: impl FnOnce(&Ended, &str)) -> Result<Ended> {
    let first = boot()?;
    let Some(why) = first.died.as_ref().filter(|_| first.took < DEADLINE) else { return Ok(first) };
    once_more(&first, why);
    boot()
}

fn once(kernel: &Kernel, initrd: &Path, dir: &Path) -> Result<Ended> {
    let disk = disk(dir)?;
    let (console, results) = (dir.join("console.log"), dir.join("results.log"));
    let mut command = Command::new("qemu-system-x86_64");
    command
        .args([
            "-accel",
            "tcg",
            "-cpu",
            PROCESSOR,
            "-smp",
            "1",
            "-m",
            "1024",
            "-display",
            "none",
            "-no-reboot",
        ])
        .args(["-nodefaults", "-monitor", "none"])
        .arg("-serial")
        .arg(format!("file:{}", console.display()))
        .arg("-serial")
        .arg(format!("file:{}", results.display()))
        .arg("-drive")
        .arg(format!("file={},format=raw,if=virtio,cache=unsafe", disk.display()))
        .arg("-kernel")
        .arg(&kernel.image)
        .arg("-initrd")
        .arg(initrd)
        .args(["-append", COMMAND_LINE])
        .stdin(Stdio::null());
    let begun = Instant::now();
    eprintln!("booting Linux {}", kernel.version);
    let mut machine = Machine(command.spawn().map_err(|error| shell::not_started(&command, &error))?);
    let is_late = !machine.ends_before(begun + DEADLINE)?;
    drop(machine);
    let text = |path: &Path| {
        let bytes = std::fs::read(path).unwrap_or_default();
        String::from_utf8_lossy(&bytes).replace('\r', "")
    };
    let results = text(&results);
    let died = if is_late {
        Some(format!("the machine was not through after {} s", DEADLINE.as_secs()))
    } else if !results.lines().any(|line| line == guest::END) {
        Some("the machine died".to_owned())
    } else {
        None
    };
    let console = text(&console);
    let lines: Vec<&str> = console.lines().collect();
    let last = lines[lines.len().saturating_sub(LINES)..].join("\n");
    Ok(Ended { results, died, console: last, took: begun.elapsed() })
}

/// An empty file system, and no more of it on ours than is written.
fn disk(dir: &Path) -> Result<PathBuf> {
    let path = dir.join("disk.img");
    let file = File::create(&path).and_then(|file| file.set_len(DISK));
    file.map_err(|error| Error::failed(format!("{}: {error}", path.display())))?;
    // Not in the PATH of users.
    let program = if Path::new("/sbin/mke2fs").exists() { "/sbin/mke2fs" } else { "mke2fs" };
    shell::output(Command::new(program).args(["-q", "-t", "ext4"]).arg(&path))?;
    Ok(path)
}

/// Killed where it is left.
struct Machine(Child);

impl Machine {
    fn ends_before(&mut self, until: Instant) -> Result<bool> {
        loop {
            let ended =
                self.0.try_wait().map_err(|error| Error::failed(format!("waiting for qemu: {error}")))?;
            match ended {
                Some(status) if status.success() => return Ok(true),
                Some(status) => return Err(Error::failed(format!("qemu: {status}"))),
                None if Instant::now() >= until => return Ok(false),
                None => std::thread::park_timeout(Duration::from_millis(50)),
            }
        }
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ended(died: Option<&str>, took: Duration) -> Ended {
        Ended { results: String::new(), died: died.map(str::to_owned), console: "panic".to_owned(), took }
    }

    /// What comes of boots that end so, how many there were, and what was said of another one.
    fn of(boots: Vec<Ended>) -> (Option<String>, usize, Vec<String>) {
        let (mut booted, mut said) = (0, Vec::new());
        let mut boots = boots.into_iter();
        let boot = || {
            booted += 1;
            Ok(boots.next().expect("no more than two"))
        };
        let came = retried(boot, |first, why| said.push(format!("{}: {why}", first.console)));
        (came.unwrap_or_else(|_| panic!("it was booted")).died, booted, said)
    }

    #[test]
    fn a_machine_that_died_is_booted_once_more_and_one_that_hung_is_not() {
        let short = Duration::from_secs(20);
        let good = || ended(None, short);
        let died = || ended(Some("the machine died"), short);
        let hung = || ended(Some("the machine was not through after 300 s"), DEADLINE);
        assert_eq!(of(vec![good()]), (None, 1, vec![]));
        let said = vec!["panic: the machine died".to_owned()];
        assert_eq!(of(vec![died(), good()]), (None, 2, said.clone()));
        // Then it is no accident.
        assert_eq!(of(vec![died(), died()]), (Some("the machine died".to_owned()), 2, said));
        assert_eq!(of(vec![died(), hung()]).0, hung().died);
        assert_eq!(of(vec![hung()]), (hung().died, 1, vec![]));
    }

    #[test]
    fn what_keeps_a_machine_from_booting_is_said_at_once() {
        let failed = retried(|| Err(Error::failed("no qemu")), |_, _| panic!("it is not booted again"));
        assert!(failed.is_err());
    }
}
