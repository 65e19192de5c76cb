//! No clock: what ends a pause is the test.

use super::*;
use std::cell::Cell;
use std::future::{Ready, pending, poll_fn, ready};
use std::io::BufWriter;
use std::task::Poll;

/// Makes `1`, `2`, …
fn counting() -> impl FnMut() -> Ready<Result<String, String>> {
    let mut count = 0;
    move || {
        count += 1;
        ready(Ok(format!("draw {count}\n")))
    }
}

/// Pauses that are over at once.
fn no_pause() -> Ready<()> {
    ready(())
}

/// Whoever watches has seen enough when so many pauses are over: what ends the
/// drawing, and the pauses.
fn until(enough: u32, over: &Cell<u32>) -> (impl Future<Output = ()>, impl FnMut() -> Ready<()>) {
    let stop = poll_fn(move |_| if over.get() >= enough { Poll::Ready(()) } else { Poll::Pending });
    let pause = move || {
        over.set(over.get() + 1);
        ready(())
    };
    (stop, pause)
}

/// A pipe that nobody reads after so many writes.
struct Pipe(usize, ErrorKind);

impl Write for Pipe {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0 = self.0.checked_sub(1).ok_or(self.1)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn a_stream_gets_one_after_the_other() {
    let mut out = Vec::new();
    let over = Cell::new(0);
    let (stop, pause) = until(3, &over);
    draw(&mut out, || Place::Stream, stop, pause, counting()).await.unwrap();
    assert_eq!(String::from_utf8(out).unwrap(), "draw 1\n\ndraw 2\n\ndraw 3\n");
}

#[tokio::test]
async fn a_terminal_is_drawn_over_and_given_back() {
    let mut out = Vec::new();
    let over = Cell::new(0);
    let (stop, pause) = until(2, &over);
    draw(&mut out, || Place::Terminal(Some((80, 24))), stop, pause, counting()).await.unwrap();
    let expected = "\u{1b}[?25l\u{1b}[?7l\u{1b}[H\u{1b}[Jdraw 1\u{1b}[H\u{1b}[Jdraw 2\u{1b}[?7h\u{1b}[?25h\n";
    assert_eq!(String::from_utf8(out).unwrap(), expected);
}

#[tokio::test]
async fn an_error_ends_it_and_gives_the_terminal_back() {
    let mut out = Vec::new();
    let count = Cell::new(0);
    let make = || {
        count.set(count.get() + 1);
        ready(if count.get() < 3 { Ok("x\n".to_owned()) } else { Err("the agent is gone".to_owned()) })
    };
    let ended = draw(&mut out, || Place::Terminal(None), pending(), no_pause, make).await;
    assert_eq!(ended.unwrap_err().to_string(), "the agent is gone");
    assert!(out.ends_with(RELEASE.as_bytes()));
}

#[tokio::test]
async fn an_error_before_the_first_draw_writes_nothing() {
    let mut out = Vec::new();
    let make = || ready(Err::<String, _>("no agent"));
    assert!(draw(&mut out, || Place::Terminal(None), pending(), no_pause, make).await.is_err());
    assert!(out.is_empty());
}

#[tokio::test]
async fn whoever_drops_it_gets_the_terminal_back() {
    let mut out = Vec::new();
    let drawing = draw(&mut out, || Place::Terminal(None), pending(), pending, counting());
    tokio::select! {
        biased;
        ended = drawing => panic!("{ended:?}"),
        () = ready(()) => {}
    }
    assert!(out.ends_with(RELEASE.as_bytes()));
}

#[tokio::test]
async fn it_stops_while_the_agent_does_not_answer() {
    let mut out = Vec::new();
    let make = pending::<Result<String, String>>;
    // Not at once: first the agent is asked.
    let stop = tokio::task::yield_now();
    draw(&mut out, || Place::Stream, stop, no_pause, make).await.unwrap();
    assert!(out.is_empty());
}

#[tokio::test]
async fn a_reader_that_is_gone_is_a_good_end_and_a_full_disk_is_not() {
    let mut gone = Pipe(1, ErrorKind::BrokenPipe);
    draw(&mut gone, || Place::Stream, pending(), no_pause, counting()).await.unwrap();
    let mut full = Pipe(1, ErrorKind::StorageFull);
    let ended = draw(&mut full, || Place::Stream, pending(), no_pause, counting()).await;
    assert!(matches!(ended, Err(Ended::Output(error)) if error.kind() == ErrorKind::StorageFull));
}

#[tokio::test]
async fn each_draw_is_written_at_once() {
    let mut gone = BufWriter::new(Pipe(2, ErrorKind::BrokenPipe));
    let drawn = Cell::new(0);
    let make = || {
        drawn.set(drawn.get() + 1);
        ready(Ok::<_, String>("line\n".repeat(100)))
    };
    draw(&mut gone, || Place::Terminal(Some((80, 24))), pending(), no_pause, make).await.unwrap();
    assert_eq!(drawn.get(), 3);
}

#[test]
fn a_frame_erases_what_it_does_not_cover() {
    assert_eq!(frame("ab\nc\n", Some((3, 9))), "\u{1b}[Hab\u{1b}[K\n\u{1b}[Jc");
    // A full line, also when it is coloured, has nothing behind it.
    assert_eq!(frame("abc\nc\n", Some((3, 9))), "\u{1b}[Habc\n\u{1b}[Jc");
    let bold = "\u{1b}[1mabc\u{1b}[0m";
    assert_eq!(frame(&format!("{bold}\nc\n"), Some((3, 9))), format!("\u{1b}[H{bold}\n\u{1b}[Jc"));
    let short = "\u{1b}[1mab\u{1b}[0m";
    assert_eq!(frame(&format!("{short}\nc\n"), Some((3, 9))), format!("\u{1b}[H{short}\u{1b}[K\n\u{1b}[Jc"));
    assert_eq!(frame("", Some((3, 9))), "\u{1b}[H\u{1b}[J");
}

#[test]
fn a_frame_is_no_taller_than_the_terminal() {
    let text = "1\n2\n3\n4\n";
    let shown = |height| frame(text, Some((80, height))).replace(ERASE_LINE, "").replace(ERASE_BELOW, "");
    assert_eq!(shown(4), "\u{1b}[H1\n2\n3\n4");
    assert_eq!(shown(3), "\u{1b}[H1\n2\n… 2 more lines");
    assert_eq!(shown(1), "\u{1b}[H… 4 more lines");
    assert_eq!(frame(text, None).lines().count(), 4);
}
