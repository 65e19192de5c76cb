//! What the system says of a process.

use std::path::Path;

/// Names of a process's threads.
pub fn threads(pid: u32) -> Vec<String> {
    let tasks = std::fs::read_dir(format!("/proc/{pid}/task")).expect("it runs");
    tasks
        .filter_map(|task| std::fs::read_to_string(task.ok()?.path().join("comm")).ok())
        .map(|name| name.trim().to_owned())
        .collect()
}

/// How many of its threads have a name.
pub fn threads_named(pid: u32, name: &str) -> usize {
    threads(pid).iter().filter(|thread| *thread == name).count()
}

/// The processes that a process started.
pub fn children(pid: u32) -> Vec<u32> {
    let tasks = std::fs::read_dir(format!("/proc/{pid}/task")).expect("it runs");
    let lists = tasks.filter_map(|task| std::fs::read_to_string(task.ok()?.path().join("children")).ok());
    lists
        .flat_map(|list| list.split_whitespace().filter_map(|pid| pid.parse().ok()).collect::<Vec<_>>())
        .collect()
}

/// The processes that an agent runs a plugin in; not those in which files are tried.
pub fn runners(agent: u32, plugin: &str) -> Vec<u32> {
    let begin = format!("gantry\0--plugin-runner\0{plugin}\0");
    let runs = |child: &u32| {
        let line = std::fs::read(format!("/proc/{child}/cmdline")).unwrap_or_default();
        line.starts_with(begin.as_bytes())
    };
    children(agent).into_iter().filter(runs).collect()
}

/// How many descriptors it has.
pub fn descriptors(pid: u32) -> usize {
    std::fs::read_dir(format!("/proc/{pid}/fd")).expect("it runs").count()
}

/// Memory that belongs to a process alone, whatever it lies in: heap, stacks, and
/// pages of files that were written to, as relocated ones.
pub fn anonymous(pid: u32) -> u64 {
    let text = std::fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).expect("it runs");
    let line = text.lines().find_map(|line| line.strip_prefix("Anonymous:")).expect("the kernel says so");
    line.trim().trim_end_matches(" kB").parse::<u64>().expect("a number") * 1024
}

/// Whether a process lives; one that nobody has waited for does not.
pub fn lives(pid: u32) -> bool {
    Path::new(&format!("/proc/{pid}/exe")).read_link().is_ok()
}

/// The most memory a process ever had, in bytes.
pub fn peak_memory(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("it runs");
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("the kernel says it");
    let kib: u64 = line.trim().trim_end_matches(" kB").parse().expect("a number");
    kib * 1024
}
