//! Tables for people, over real connections.

mod support;

use gantry_plugin_testkit::{Running, Table, eventually};
use support::net::{Net, exchange};
use support::{own, own_with, skip_without_root};

/// The row of a view in which a column has this text.
#[track_caller]
fn row(running: &mut Running, view: &str, column: &str, text: &str) -> (Table, usize) {
    eventually(|| {
        let table = running.view(view).map_err(|failure| failure.to_string())?;
        match table.row_where(column, text) {
            Some(row) => Ok((table, row)),
            None => Err(format!("no {text} in {view}")),
        }
    })
    .expect("it is in it")
}

fn number(table: &Table, row: usize, column: &str) -> f64 {
    table.text(row, column).parse().unwrap_or_else(|_| panic!("{column}: {:?}", table.text(row, column)))
}

#[test]
fn connections_and_listens_show_what_the_series_do() {
    if skip_without_root() {
        return;
    }
    let net = Net::new(5);
    let server = net.server(8000);
    let (_kit, mut running) = own();
    let mut open = net.connect(server.at).expect("somebody listens");
    exchange(&mut open, 5000);
    let (table, at) = row(&mut running, "connections", "destination", &server.at.to_string());
    let shown = ["active", "connects", "failed", "sent", "received", "retransmits"];
    assert_eq!(shown.map(|column| number(&table, at, column)), [1.0, 1.0, 0.0, 5000.0, 5000.0, 0.0]);
    for column in ["connect_time", "rtt"] {
        let seconds = number(&table, at, column);
        assert!(seconds > 0.0 && seconds < 60.0, "{column}: {seconds}");
    }
    let (table, at) = row(&mut running, "listens", "listen_addr", &server.at.to_string());
    assert_eq!(table.text(at, "state"), "open");
    let programs = running.view("programs").expect("has the view");
    let states: Vec<String> = (0..programs.rows().len()).map(|row| programs.text(row, "state")).collect();
    assert_eq!(states, ["loaded"; 3]);
}

/// The kernel measures while the plugin is told to have it do so.
#[test]
fn programs_say_how_often_they_ran_and_how_long() {
    const TIMES: u32 = 200;
    if skip_without_root() {
        return;
    }
    let net = Net::new(75);
    let server = net.server(8000);
    let (_kit, mut running) = own_with("measure_programs = true");
    let figures = |running: &mut Running, program: &str| {
        let (table, at) = row(running, "programs", "program", program);
        assert_eq!(
            (table.text(at, "state"), table.text(at, "missing")),
            ("loaded".to_owned(), String::new())
        );
        ["runs", "each", "misses"].map(|column| table.text(at, column).parse::<f64>().unwrap_or(0.0))
    };
    let before = figures(&mut running, "tcp_state");
    for _ in 0..TIMES {
        drop(net.connect(server.at).expect("somebody listens"));
    }
    let [runs, each, misses] = figures(&mut running, "tcp_state");
    // The client's end alone goes through four states.
    assert!(runs - before[0] >= f64::from(TIMES * 4), "{runs} after {}", before[0]);
    // An interrupt within a program has it passed over: far less often than each tenth time.
    assert!(each > 0.0 && misses * 10.0 < runs, "{each} s, {misses} misses of {runs}");
    for program in ["tcp_live", "tcp_adopt"] {
        running.collect().expect("it collects");
        let [runs, each, _] = figures(&mut running, program);
        assert!(runs > 0.0 && each > 0.0, "{program}: {runs} runs of {each} s");
    }
}
