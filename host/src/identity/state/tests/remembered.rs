//! What an agent before showed.

use super::merge::of_pod;
use super::*;

fn shown(letter: char, id: &str, named: bool) -> ShownId {
    let found = classify(&format!("/docker/{}", raw(letter))).expect("a container");
    let key = found.key.to_string();
    let handle = Handles::new("boot").make(&key, 0, |_| false);
    ShownId { key, id: id.to_owned(), app_id: String::new(), shared: false, named, handle }
}

#[test]
fn what_a_pod_s_container_counted_before_it_was_started_again_is_found() {
    let mut before = Machine::new().provider("containers", 0);
    let handle = before.start(10, &docker('a'));
    before.provide("containers", of_pod('a'));
    before.after(60);
    before.exit(10);
    before.remove(&docker('a'));
    before.start(20, &docker('b'));
    before.provide("containers", of_pod('b'));
    assert_eq!(before.state.of_pid(20, 0), Some(handle), "it goes on");
    let mut machine = Machine::new().provider("containers", 0);
    machine.state.remember(before.state.shown_ids());
    assert_eq!(machine.start(20, &docker('b')), handle, "by the same number");
    machine.provide("containers", of_pod('b'));
    machine.state.all_were_seen();
    machine.state.start_is_over();
    machine.after(0);
    let id = "/k8s/shop/web-0/nginx".to_owned();
    assert_eq!((machine.presence(handle), machine.id(handle)), (Some(Presence::Shown), id));
    // Another agent after this one finds it too, and another container has another number.
    assert_eq!(machine.state.shown_ids()[0].handle, handle);
    assert_ne!(machine.start(30, &docker('a')), handle);
    // A file of an agent that kept none.
    let old = "{\"key\":\"digest/1\",\"id\":\"/docker/web\"}";
    assert_eq!(serde_json::from_str::<ShownId>(old).expect("it is read").handle, 0);
}

#[test]
fn what_was_shown_is_shown_at_the_end_of_the_start() {
    let mut machine = Machine::new().provider("containers", 0);
    let nameless = format!("/docker/{}", raw('a'));
    let known = vec![shown('a', &nameless, false), shown('b', "/docker/web", true)];
    machine.state.remember(known.clone());
    let (a, b) = (machine.start(10, &docker('a')), machine.start(11, &docker('b')));
    machine.state.all_were_seen();
    let new = machine.start(12, &docker('c'));
    machine.after(0);
    assert_eq!(machine.presence(a), Some(Presence::Held), "its name may come with the start");
    // Another crash loses nothing of what is not shown yet.
    let mut ids = machine.state.shown_ids();
    ids.sort_by(|one, two| one.id.len().cmp(&two.id.len()).reverse());
    assert_eq!(ids, known);
    machine.state.start_is_over();
    machine.after(0);
    for (handle, id) in [(a, nameless.as_str()), (b, "/docker/web")] {
        assert_eq!((machine.presence(handle), machine.id(handle).as_str()), (Some(Presence::Shown), id));
    }
    assert_eq!(machine.presence(new), Some(Presence::Held));
    // An id that was shown stays.
    machine.provide("containers", named('a', "late"));
    machine.provide("containers", named('b', "renamed"));
    assert_eq!((machine.id(a), machine.id(b).as_str()), (nameless, "/docker/web"));
    // The next agent may give the late one its name.
    let named: Vec<bool> = machine.state.shown_ids().iter().map(|known| known.named).collect();
    assert_eq!(named.iter().filter(|named| **named).count(), 1);
}

#[test]
fn a_name_that_comes_with_the_start_is_taken_by_what_had_none() {
    let mut machine = Machine::new().provider("containers", 0);
    machine.state.remember(vec![shown('a', &format!("/docker/{}", raw('a')), false)]);
    let handle = machine.start(10, &docker('a'));
    machine.state.all_were_seen();
    machine.provide("containers", named('a', "web"));
    assert_eq!(
        (machine.presence(handle), machine.id(handle).as_str()),
        (Some(Presence::Shown), "/docker/web")
    );
}

#[test]
fn what_was_not_there_at_the_first_look_is_new() {
    let mut machine = Machine::new();
    machine.state.remember(vec![shown('a', "/docker/web", true)]);
    machine.state.all_were_seen();
    machine.state.start_is_over();
    let handle = machine.start(10, &docker('a'));
    machine.after(0);
    assert_eq!(machine.presence(handle), Some(Presence::Held), "too young");
    assert!(machine.state.shown_ids().is_empty());
}

#[test]
fn one_that_dies_before_it_is_shown_again_keeps_its_id() {
    let mut machine = Machine::new().provider("containers", 0);
    machine.state.remember(vec![shown('a', "/docker/web", true)]);
    let handle = machine.live(10, &docker('a'));
    machine.after(0);
    assert_eq!((machine.presence(handle), machine.group(handle)), (Some(Presence::Lingering), None));
    assert_eq!(machine.id(handle), "/docker/web");
}
