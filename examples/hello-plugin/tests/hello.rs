//! The plugin in the test kit's fake host: no agent, no library, no root.

use gantry_hello::Hello;
use gantry_plugin_testkit::{Failure, Kit};

#[test]
fn what_it_declares_is_in_order() -> Result<(), Failure> {
    Kit::of::<Hello>().check()
}

#[test]
fn it_greets_whom_it_is_told() -> Result<(), Failure> {
    let kit = Kit::of::<Hello>();
    let mut running = kit.start(r#"name = "Ada""#)?;
    kit.log().wait_for(|line| line.message.contains("ready to greet"))?;
    running.collect()?.assert_golden("tests/golden/ada.prom");
    assert!(running.never_emitted().is_empty());
    Ok(())
}

#[test]
fn the_world_is_greeted_without_a_name() -> Result<(), Failure> {
    let collected = Kit::of::<Hello>().start("")?.collect()?;
    assert_eq!(collected.get(r#"hello_greeting_info{name="world"}"#), 1.0);
    Ok(())
}

#[test]
fn greetings_go_on_where_they_were() -> Result<(), Failure> {
    let mut running = Kit::of::<Hello>().start("")?;
    assert_eq!(running.collect()?.get("hello_greetings_total"), 1.0);
    let mut running = running.upgrade("")?;
    assert_eq!(running.collect()?.get("hello_greetings_total"), 2.0);
    let mut running = running.crash_and_restore("")?;
    assert_eq!(running.collect()?.get("hello_greetings_total"), 3.0);
    Ok(())
}

#[test]
fn a_name_that_is_no_text_is_told_by_its_key() {
    let failure = Kit::of::<Hello>().start("name = 7").expect_err("it is no name");
    assert_eq!(failure.to_string(), "probe: name: invalid type: integer, expected a string");
}
