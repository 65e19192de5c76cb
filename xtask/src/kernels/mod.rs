//! `cargo xtask kernels`: the tests that are about the kernel, in the kernels
//! that a fleet has.
//!
//! Each boots in a virtual machine whose whole file system is an archive in
//! memory: the host, the plugins and the tests, under the paths that they have
//! here. Nothing of this machine's own boot is touched.
//!
//! # Layout
//! * [`list`]: which tests run. [`fetch`]: the kernels; [`modules`] of theirs.
//! * [`archive`], [`guest`]: the file system. [`boot`]: the virtual machine.

mod archive;
mod boot;
mod fetch;
mod guest;
mod list;
mod modules;

use crate::shell::{Error, Result};
use crate::tally::Tally;
use crate::tools;
use crate::workspace::Workspace;
use boot::Ended;
use fetch::Kernel;
use std::path::Path;
use std::sync::mpsc;
use std::time::{Duration, Instant};

/// Long-term series that distributions of the last five years run.
const SERIES: [&str; 3] = ["5.10", "6.1", "6.12"];

/// What all of them may take (docs/decisions/0023-other-kernels.md). How busy this
/// machine is decides as well: more is said, and fails nothing.
const AT_MOST: Duration = Duration::from_secs(180);

/// Machines at once. Each has one processor, as with two some boots of 6.12
/// under this emulation panicked.
const AT_ONCE: usize = 3;

/// Fetches kernels, builds, boots, and reports.
pub fn task(args: &[String]) -> Result<()> {
    let (series, filters) = read(args);
    let missing = tools::provide(tools::OF_KERNELS)?;
    if !missing.is_empty() {
        return Ok(());
    }
    let workspace = Workspace::load()?;
    let dir = workspace.target.join("kernels");
    let kernels = fetch::all(&dir, &series)?;
    let base = guest::base(&workspace, &dir, &filters)?;
    let begun = Instant::now();
    let tally = boot_all(&kernels, &base, &dir)?;
    let took = begun.elapsed();
    println!(
        "\nkernels: {} tests passed, {} failed, {} skipped in {} kernels, {} s",
        tally.passed,
        tally.failed,
        tally.ignored,
        kernels.len(),
        took.as_secs()
    );
    if let Some(warning) = too_long(took) {
        println!("{warning}");
    }
    if !tally.broken.is_empty() {
        Err(Error::failed(tally.broken.join("\n               ")))
    } else if tally.passed == 0 {
        Err(Error::failed("no test ran: nothing matches the filter"))
    } else {
        Ok(())
    }
}

/// What is said where they took longer than they may.
fn too_long(took: Duration) -> Option<String> {
    (took > AT_MOST).then(|| {
        format!(
            "warning: that is more than {} s: take out of xtask/src/kernels/list.rs what is slow there and says \
             nothing of the kernel, or run it on a machine that is less busy",
            AT_MOST.as_secs()
        )
    })
}

/// Which kernels, and which tests: series stand first.
fn read(args: &[String]) -> (Vec<&'static str>, Vec<String>) {
    let known = |name: &String| SERIES.iter().find(|series| *series == name).copied();
    let named: Vec<&'static str> = args.iter().map_while(known).collect();
    let filters = args[named.len()..].iter().filter(|word| *word != "--").cloned().collect();
    (if named.is_empty() { SERIES.to_vec() } else { named }, filters)
}

fn boot_all(kernels: &[Kernel], base: &Path, dir: &Path) -> Result<Tally> {
    let mut tally = Tally::default();
    let (sender, ended) = mpsc::channel();
    std::thread::scope(|scope| {
        let mut waiting = kernels.iter();
        let start = |kernel: &Kernel| {
            let (kernel, sender) = (kernel.clone(), sender.clone());
            scope.spawn(move || {
                let ended = boot::twice_at_most(&kernel, base, &dir.join(kernel.series));
                // The receiver lives as long as this scope.
                let _ = sender.send((kernel, ended));
            });
        };
        waiting.by_ref().take(AT_ONCE).for_each(&start);
        for _ in kernels {
            let (kernel, ended) = ended.recv().expect("each thread sends, and the sender is held here");
            waiting.by_ref().take(1).for_each(&start);
            report(&kernel, ended?, &mut tally);
        }
        Ok(tally)
    })
}

/// Shows what a machine printed, and counts along.
fn report(kernel: &Kernel, ended: Ended, tally: &mut Tally) {
    println!("\n=== Linux {} ({} s)", kernel.version, ended.took.as_secs());
    for line in ended.results.lines() {
        println!("{line}");
        tally.count(line);
        if let Some(broken) = line.strip_prefix(guest::BROKEN) {
            tally.broken.push(format!("Linux {}:{broken}", kernel.series));
        }
    }
    if let Some(why) = ended.died {
        println!("{}", ended.console);
        tally.broken.push(format!("Linux {}: {why}", kernel.series));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(words: &[&str]) -> Vec<String> {
        words.iter().map(|&word| word.to_owned()).collect()
    }

    #[test]
    fn more_than_three_minutes_are_warned_of() {
        assert_eq!(too_long(AT_MOST), None);
        let warning = too_long(AT_MOST + Duration::from_secs(1)).expect("it is too long");
        assert!(warning.contains("more than 180 s"), "{warning}");
    }

    #[test]
    fn kernels_and_filters_are_told_apart() {
        assert_eq!(read(&[]), (SERIES.to_vec(), vec![]));
        assert_eq!(read(&words(&["6.1"])), (vec!["6.1"], vec![]));
        assert_eq!(read(&words(&["6.1", "--", "a", "b"])), (vec!["6.1"], words(&["a", "b"])));
        assert_eq!(read(&words(&["a", "6.1"])), (SERIES.to_vec(), words(&["a", "6.1"])));
    }
}
