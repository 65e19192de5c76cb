//! What a process of its own costs a plugin, printed: two agents with the
//! fixture of the tests, one with the plugin in it and one with it beside it,
//! asked in turn. Collections of 100,000 series of five labels, the child's
//! memory, and a look-up of a container.
#![allow(clippy::print_stdout, reason = "a benchmark prints")]

mod common;

use common::{Server, agent, first_scrape, median, scrape};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

const ROUNDS: usize = 25;
const SERIES: u32 = 100_000;
const LOOKUPS: u32 = 20_000;

fn server(dir: &Path, isolation: &str, table: &str) -> Server {
    // The directory must be private.
    std::fs::set_permissions(dir, std::fs::Permissions::from_mode(0o700)).expect("own directory");
    let built = Path::new(env!("CARGO_BIN_EXE_gantry")).with_file_name("libgantry_hostile.so");
    let file = dir.join("libgantry_hostile.so");
    std::fs::copy(built, &file)
        .expect("the fixture is built: `cargo build --release -p gantry-fixture-hostile`");
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o755)).expect("own file");
    let server = agent(
        dir,
        &format!(
            "[plugins.hostile]\nenabled = true\npath = {file:?}\ndeadline = \"30s\"\nisolation = \"{isolation}\"\n\
             [plugins.hostile.config]\n{table}"
        ),
    );
    first_scrape(server.address);
    server
}

fn value(text: &str, name: &str) -> f64 {
    let line = text
        .lines()
        .find(|line| line.starts_with(&format!("{name}{{plugin=\"hostile\"")))
        .expect("it is there");
    line.rsplit(' ').next().and_then(|value| value.parse().ok()).expect("a number")
}

/// Milliseconds of the collection of one scrape.
fn collection(server: &Server, before: &mut f64) -> f64 {
    let text = scrape(server.address).expect("an answer");
    let sum = value(&text, "gantry_plugin_collect_seconds_sum");
    let took = (sum - *before) * 1e3;
    *before = sum;
    took
}

fn child(server: &Server) -> Option<u32> {
    let pid = server.child.id();
    let tasks = std::fs::read_dir(format!("/proc/{pid}/task")).expect("it runs").flatten();
    let lists = tasks.filter_map(|task| std::fs::read_to_string(task.path().join("children")).ok());
    lists
        .flat_map(|list| list.split_whitespace().filter_map(|pid| pid.parse().ok()).collect::<Vec<_>>())
        .next()
}

/// KiB of a child's memory that are its own and written to, relocated pages of
/// libraries among them. `Private_Dirty` would count the pages of a file that
/// was written just now too.
fn own_memory(pid: u32) -> f64 {
    let smaps = std::fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).expect("it runs");
    let line = smaps.lines().find_map(|line| line.strip_prefix("Anonymous:")).expect("the kernel says it");
    line.split_whitespace().next().and_then(|kib| kib.parse().ok()).expect("a number")
}

fn lookups(server: &Server) -> f64 {
    use std::io::{Read, Write};
    let mut stream = std::net::TcpStream::connect(server.address).expect("it listens");
    let request = b"GET /plugins/hostile/services HTTP/1.1\r\nHost: bench\r\nConnection: close\r\n\r\n";
    stream.write_all(request).expect("it reads");
    let mut text = String::new();
    stream.read_to_string(&mut text).expect("an answer");
    let (_, body) = text.split_once("\r\n\r\n").expect("a body");
    let from = body.find('{').expect("JSON");
    let to = body.rfind('}').expect("JSON");
    let view: serde_json::Value = serde_json::from_str(&body[from..=to]).expect("JSON");
    let rows = view["rows"].as_array().expect("rows");
    let row = rows.iter().find(|row| row["service"] == "lookups").expect("the fixture measures it");
    row["answer"].as_str().and_then(|micros| micros.parse().ok()).expect("a number")
}

fn main() {
    let dirs = [0; 4].map(|_| tempfile::tempdir().expect("a temporary directory"));
    let table = format!("emit = \"wide\"\ncount = {SERIES}\n");
    let servers = [server(dirs[0].path(), "none", &table), server(dirs[1].path(), "process", &table)];
    let (mut sums, mut took) = ([0.0; 2], [Vec::new(), Vec::new()]);
    for round in 0..ROUNDS + 3 {
        for (at, server) in servers.iter().enumerate() {
            let one = collection(server, &mut sums[at]);
            // The first ones make the series.
            if round >= 3 {
                took[at].push(one);
            }
        }
    }
    let ratios = took[0].iter().zip(&took[1]).map(|(near, far)| far / near).collect();
    println!(
        "a collection of {SERIES} series, with what the agent does with it: {:.1} ms in the agent, {:.1} ms isolated; \
         {:.2} times, median of {ROUNDS} pairs",
        median(took[0].clone()),
        median(took[1].clone()),
        median(ratios)
    );
    let busy = child(&servers[1]).map_or(0.0, own_memory);
    drop(servers);
    let table = format!("count = {LOOKUPS}\n");
    let servers = [server(dirs[2].path(), "none", &table), server(dirs[3].path(), "process", &table)];
    let quiet = child(&servers[1]).map_or(0.0, own_memory);
    println!(
        "memory of the child that is its own and written to: {quiet:.0} KiB with few series, {busy:.0} KiB after those"
    );
    let asked = servers.each_ref().map(|server| median((0..9).map(|_| lookups(server)).collect()));
    println!("a look-up of a container: {:.2} us in the agent, {:.2} us isolated", asked[0], asked[1]);
}
