//! Both formats as the parsers of Prometheus' Python client read them.

mod common;

use common::{Host, Random, odd, table, text};
use gantry_exposition::{Format, render_labels};
use std::io::Write;
use std::process::{Command, Stdio};

/// Debian's, for which the client is packaged.
const PYTHON: &str = "/usr/bin/python3";

/// Reads the format named by its argument; writes what each sample is, in one
/// line each, sorted.
const SCRIPT: &str = r#"
import sys, io, json
if sys.argv[1] == "openmetrics":
    from prometheus_client.openmetrics.parser import text_fd_to_metric_families as families
else:
    from prometheus_client.parser import text_fd_to_metric_families as families
text = sys.stdin.buffer.read().decode("utf-8")
lines = []
for family in families(io.StringIO(text, newline="\n")):
    for sample in family.samples:
        labels = sorted(sample.labels.items())
        lines.append(json.dumps([family.type, sample.name, labels, str(float(sample.value))]))
print("\n".join(sorted(lines)))
"#;

#[test]
fn python_reads_both_formats_alike() {
    let probe = Command::new(PYTHON).args(["-c", "import prometheus_client"]).stderr(Stdio::null()).status();
    if !probe.is_ok_and(|status| status.success()) {
        assert!(!std::env::var("CI").is_ok_and(|ci| ci == "true"), "{PYTHON} has no prometheus_client");
        eprintln!("SKIPPED: {PYTHON} has no prometheus_client; on Debian install python3-prometheus-client");
        return;
    }
    let mut random = Random(0xfeed);
    let samples = odd::emitted(&mut random, 500);
    let counted: Vec<_> = odd::families()
        .into_iter()
        .map(|family| gantry_plugin_api::description::FamilyInfo { counted_here: true, ..family })
        .collect();
    let mut table = table(&counted);
    let host = Host::new(&render_labels([("machine_id", "a # b\\"), ("system_uuid", "")]));
    assert_eq!(table.take(&odd::arena(&samples), &host, 1_700_000_000.25, false).samples, samples.len());
    let plain = read(&text(&[&table], Format::Text), "text");
    let open = read(&text(&[&table], Format::OpenMetrics), "openmetrics");
    let (created, open): (Vec<&str>, Vec<&str>) = open.lines().partition(|line| line.contains("_created\""));
    assert!(created.len() > 50 && created.iter().all(|line| line.ends_with("\"1700000000.25\"]")));
    // Bounds are spelt as each format does it, and only 0.0.4 says "untyped".
    let plain: Vec<String> = plain.lines().map(|line| line.replace("untyped", "unknown")).collect();
    assert!(plain.len() > samples.len());
    assert_eq!(plain, open);
}

fn read(text: &str, format: &str) -> String {
    let mut python = Command::new(PYTHON)
        .args(["-c", SCRIPT, format])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("it has just run");
    let mut input = python.stdin.take().expect("its input is piped");
    input.write_all(text.as_bytes()).expect("it reads all before it writes");
    drop(input);
    let output = python.wait_with_output().expect("it ends with its input");
    assert!(output.status.success(), "{format} is not valid:\n{text}");
    String::from_utf8(output.stdout).expect("it writes ASCII")
}
