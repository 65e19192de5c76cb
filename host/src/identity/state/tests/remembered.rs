//! What an agent before showed.

use super::*;

fn shown(letter: char, id: &str, named: bool) -> ShownId {
    let found = classify(&format!("/docker/{}", raw(letter))).expect("a container");
    ShownId { key: found.key.to_string(), id: id.to_owned(), app_id: String::new(), shared: false, named }
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
