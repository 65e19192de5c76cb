//! Our figures are those of prometheus-node-exporter, where it has the same.

mod support;

use gantry_plugin_testkit::Collected;
use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use support::{Rig, eventually, skip};

const PROGRAM: &str = "/usr/bin/prometheus-node-exporter";

struct Exporter {
    child: Child,
    port: u16,
}

impl Drop for Exporter {
    fn drop(&mut self) {
        // Where it has ended by itself there is nothing to kill.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Exporter {
    fn start() -> Self {
        let port = TcpListener::bind("127.0.0.1:0")
            .and_then(|listener| listener.local_addr())
            .expect("a port")
            .port();
        let child = Command::new(PROGRAM)
            .args([&format!("--web.listen-address=127.0.0.1:{port}"), "--log.level=error"])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("it starts");
        Self { child, port }
    }
    fn scrape(&self) -> Result<BTreeMap<String, f64>, String> {
        let wrong = |error: std::io::Error| error.to_string();
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).map_err(wrong)?;
        stream.write_all(b"GET /metrics HTTP/1.0\r\n\r\n").map_err(wrong)?;
        let mut text = String::new();
        stream.read_to_string(&mut text).map_err(wrong)?;
        let sample = |line: &str| {
            let (series, value) = line.rsplit_once(' ')?;
            Some((series.to_owned(), value.parse().ok()?))
        };
        Ok(text.lines().filter(|line| !line.starts_with('#')).filter_map(sample).collect())
    }
}

/// The same figures under our names.
fn translated(theirs: &BTreeMap<String, f64>) -> BTreeMap<String, f64> {
    let page = rustix::param::page_size() as f64;
    let mut out = BTreeMap::new();
    for (series, value) in theirs {
        let (name, labels) = series.split_once('{').unwrap_or((series, ""));
        let labels = labels.trim_end_matches('}');
        let label = |name: &str| {
            let start = format!("{name}=\"");
            let found = labels.split("\",").find_map(|part| part.strip_prefix(&start));
            found.map(|value| value.trim_end_matches('"').to_owned()).unwrap_or_default()
        };
        let device = || format!("{{device={:?}}}", label("device"));
        let interface = || format!("{{interface={:?}}}", label("device"));
        let mount = || {
            format!(
                "{{mount_point={:?},device={:?},fs_type={:?}}}",
                label("mountpoint"),
                label("device"),
                label("fstype")
            )
        };
        let simple = |ours: &str| (ours.to_owned(), *value);
        let (ours, value) = match name {
            "node_cpu_seconds_total" => {
                let series = format!("node_resources_cpu_usage_seconds_total{{mode={:?}}}", label("mode"));
                *out.entry(series).or_insert(0.0) += value;
                continue;
            }
            "node_memory_MemTotal_bytes" => simple("node_resources_memory_total_bytes"),
            "node_memory_MemFree_bytes" => simple("node_resources_memory_free_bytes"),
            "node_memory_MemAvailable_bytes" => simple("node_resources_memory_available_bytes"),
            "node_memory_Cached_bytes" => simple("node_resources_memory_cached_bytes"),
            "node_memory_SwapTotal_bytes" => simple("node_resources_swap_total_bytes"),
            "node_memory_SwapFree_bytes" => simple("node_resources_swap_free_bytes"),
            "node_vmstat_pswpin" => ("node_resources_swap_in_bytes_total".to_owned(), value * page),
            "node_vmstat_pswpout" => ("node_resources_swap_out_bytes_total".to_owned(), value * page),
            "node_load1" => simple("node_resources_load_average{window=\"1m\"}"),
            "node_load5" => simple("node_resources_load_average{window=\"5m\"}"),
            "node_load15" => simple("node_resources_load_average{window=\"15m\"}"),
            "node_pressure_cpu_waiting_seconds_total" => {
                simple("node_resources_cpu_pressure_waiting_seconds_total{kind=\"some\"}")
            }
            "node_pressure_io_waiting_seconds_total" => {
                simple("node_resources_io_pressure_waiting_seconds_total{kind=\"some\"}")
            }
            "node_pressure_io_stalled_seconds_total" => {
                simple("node_resources_io_pressure_waiting_seconds_total{kind=\"full\"}")
            }
            "node_pressure_memory_waiting_seconds_total" => {
                simple("node_resources_memory_pressure_waiting_seconds_total{kind=\"some\"}")
            }
            "node_pressure_memory_stalled_seconds_total" => {
                simple("node_resources_memory_pressure_waiting_seconds_total{kind=\"full\"}")
            }
            "node_disk_reads_completed_total" => {
                simple(&format!("node_resources_disk_reads_total{}", device()))
            }
            "node_disk_writes_completed_total" => {
                simple(&format!("node_resources_disk_writes_total{}", device()))
            }
            "node_disk_read_bytes_total" => {
                simple(&format!("node_resources_disk_read_bytes_total{}", device()))
            }
            "node_disk_written_bytes_total" => {
                simple(&format!("node_resources_disk_written_bytes_total{}", device()))
            }
            "node_disk_read_time_seconds_total" => {
                simple(&format!("node_resources_disk_read_time_seconds_total{}", device()))
            }
            "node_disk_write_time_seconds_total" => {
                simple(&format!("node_resources_disk_write_time_seconds_total{}", device()))
            }
            "node_disk_io_time_seconds_total" => {
                simple(&format!("node_resources_disk_io_time_seconds_total{}", device()))
            }
            "node_network_receive_bytes_total" => {
                simple(&format!("node_net_received_bytes_total{}", interface()))
            }
            "node_network_receive_packets_total" => {
                simple(&format!("node_net_received_packets_total{}", interface()))
            }
            "node_network_receive_errs_total" => {
                simple(&format!("node_net_received_errors_total{}", interface()))
            }
            "node_network_transmit_bytes_total" => {
                simple(&format!("node_net_transmitted_bytes_total{}", interface()))
            }
            "node_network_transmit_packets_total" => {
                simple(&format!("node_net_transmitted_packets_total{}", interface()))
            }
            "node_network_transmit_errs_total" => {
                simple(&format!("node_net_transmitted_errors_total{}", interface()))
            }
            "node_network_transmit_drop_total" => {
                simple(&format!("node_net_transmitted_dropped_total{}", interface()))
            }
            "node_network_up" => simple(&format!("node_net_interface_up{}", interface())),
            "node_filesystem_size_bytes" => {
                simple(&format!("node_resources_filesystem_size_bytes{}", mount()))
            }
            "node_filesystem_files" => simple(&format!("node_resources_filesystem_inodes{}", mount())),
            "node_filesystem_readonly" => simple(&format!("node_resources_filesystem_read_only{}", mount())),
            _ => continue,
        };
        out.insert(ours, value);
    }
    out
}

/// Theirs lies between ours before and after, or at one of both.
fn between(series: &str, theirs: f64, before: &Collected, after: &Collected) -> Option<bool> {
    let (one, two) = (before.find(series)?, after.find(series)?);
    // Theirs is a sum over CPUs, each rounded down to a tick by itself.
    let cores = after.get("node_resources_cpu_logical_cores");
    let ticks = rustix::param::clock_ticks_per_second() as f64;
    let rounding = if series.contains("_cpu_usage_") { cores / ticks } else { 0.0 };
    let slack = 1e-6 + theirs.abs() * 1e-12 + rounding;
    Some((one.min(two) - slack..=one.max(two) + slack).contains(&theirs))
}

#[test]
fn figures_equal_those_of_node_exporter() {
    if !Path::new(PROGRAM).exists() {
        skip(&format!("{PROGRAM} is not installed"));
        return;
    }
    let exporter = Exporter::start();
    eventually(|| exporter.scrape().map(drop));
    let mut rig = Rig::start(Path::new("/"));
    let mut equal = std::collections::BTreeSet::new();
    eventually(|| {
        let before = rig.collect();
        let theirs = translated(&exporter.scrape()?);
        let after = rig.collect();
        let mut wrong = Vec::new();
        for (series, theirs) in theirs {
            match between(&series, theirs, &before, &after) {
                Some(true) => drop(equal.insert(series)),
                Some(false) if !equal.contains(&series) => {
                    wrong.push(format!("{series}: theirs {theirs}, ours {:?}", after.find(&series)));
                }
                _ => {}
            }
        }
        if wrong.is_empty() { Ok(()) } else { Err(wrong.join("; ")) }
    });
    for part in ["_cpu_usage_", "_memory_", "_disk_", "node_net_", "_load_", "_filesystem_", "_swap_"] {
        assert!(
            equal.iter().any(|series| series.contains(part)),
            "nothing of {part} was compared: {equal:?}"
        );
    }
    assert!(equal.len() > 30, "{equal:?}");
}
