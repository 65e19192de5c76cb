//! One connection's life: the list, then each container that is new or changed,
//! a few at a time; from then on what the runtime tells and what the host wants.

use super::bounds::Loss;
use super::link::Link;
use super::outcome::Outcome;
use super::retry::Retries;
use super::source::{Change, Listed, Look, Source, Step};
use super::{Again, Ended, Failed};
use std::collections::{HashMap, HashSet, VecDeque};
use std::convert::Infallible;
use std::sync::Arc;
use tokio::task::{JoinError, JoinSet};
use tokio::time::Instant;

/// Containers that are looked at side by side: more do not make a runtime faster,
/// and one whose lock somebody holds must not hold the others.
const AT_ONCE: usize = 8;

/// So many deadlines without a sign of life, a minute as it is by default, after
/// which the runtime is asked for one.
const QUIET: u32 = 12;

/// Containers that wait to be looked at: more than are listed.
const MOST_QUEUED: usize = 120_000;

struct Session<S: Source> {
    source: S,
    link: Arc<Link>,
    /// The list is being read.
    listing: bool,
    /// Containers of which the runtime did not say what they are.
    failed: Retries<String>,
    /// The list, where it could not be read to its end.
    list_failed: Retries<()>,
    /// Of those that the host knew when the list was begun, and that were not
    /// seen in it so far.
    unseen: HashSet<Box<str>>,
    queue: VecDeque<String>,
    queued: HashSet<String>,
    running: HashMap<String, After>,
    tasks: JoinSet<Done<S::Part>>,
    /// When the runtime gave its last sign of life.
    heard: Instant,
    /// It is asked for one.
    asking: bool,
}

/// What follows a look that is under way.
#[derive(Clone, Copy, PartialEq, Eq)]
enum After {
    Nothing,
    /// Something happened meanwhile: another look.
    Again,
    /// It is no more: the answer is of yesterday.
    Forget,
}

enum Done<P> {
    Part(Result<P, Failed>),
    Look(String, Look),
    Lives(Result<(), Ended>),
}

/// Leads a session to its end.
///
/// # Errors
/// Always: why it ended.
pub async fn run<S: Source>(source: S) -> Result<Infallible, Ended> {
    let link = Arc::clone(source.link());
    link.up();
    let mut session = Session {
        source,
        link: Arc::clone(&link),
        listing: false,
        failed: Retries::default(),
        list_failed: Retries::default(),
        unseen: HashSet::new(),
        queue: VecDeque::new(),
        queued: HashSet::new(),
        running: HashMap::new(),
        tasks: JoinSet::new(),
        heard: Instant::now(),
        asking: false,
    };
    session.want();
    session.list();
    loop {
        session.fill();
        let again = [session.failed.next(), session.list_failed.next()].into_iter().flatten().min();
        let quiet = (!session.asking).then(|| session.heard + session.source.deadline() * QUIET);
        tokio::select! {
            change = session.source.change() => session.change(change?),
            () = link.wanted.added() => session.want(),
            Some(done) = session.tasks.join_next() => session.done(done)?,
            () = until(again) => session.try_again(),
            () = until(quiet) => session.ask_for_life(),
        }
    }
}

impl<S: Source> Session<S> {
    /// Lists all, unless that is under way.
    fn list(&mut self) {
        if !std::mem::replace(&mut self.listing, true) {
            self.unseen = self.link.told();
            self.source.begin_list();
            self.ask_part();
        }
    }

    fn ask_part(&mut self) {
        let part = self.source.part();
        self.tasks.spawn(async move { Done::Part(part.await) });
    }

    fn try_again(&mut self) {
        let now = Instant::now();
        for id in self.failed.take(now) {
            self.look_at(id, false);
        }
        if !self.list_failed.take(now).is_empty() {
            self.list();
        }
    }

    /// It may hang, or one container of it.
    fn ask_for_life(&mut self) {
        if !std::mem::replace(&mut self.asking, true) {
            let lives = self.source.lives();
            self.tasks.spawn(async move { Done::Lives(lives.await) });
        }
    }

    /// Looks at as many as may be looked at side by side.
    fn fill(&mut self) {
        while self.running.len() < AT_ONCE
            && let Some(id) = self.queue.pop_front()
        {
            // It was removed since, or was looked at before those of the list.
            if !self.queued.remove(&id) {
                continue;
            }
            let look = self.source.look(&id);
            self.running.insert(id.clone(), After::Nothing);
            self.tasks.spawn(async move { Done::Look(id, look.await) });
        }
        // With more to come they are told together.
        if self.queue.is_empty() {
            self.link.flush();
            if !self.listing && self.running.is_empty() {
                self.link.first_is_over();
            }
        }
    }

    fn look_at(&mut self, id: String, first: bool) {
        if let Some(after) = self.running.get_mut(&id) {
            *after = After::Again;
        } else if self.queue.len() >= MOST_QUEUED {
            self.link.losses().add(Loss::Container, 1);
        } else if self.queued.insert(id.clone()) {
            if first { self.queue.push_front(id) } else { self.queue.push_back(id) }
        }
    }

    /// What the host waits for goes before what is listed.
    fn want(&mut self) {
        self.link.wanted.take().into_iter().for_each(|id| self.look_first(id));
    }

    fn look_first(&mut self, id: String) {
        // Of another runtime that calls itself the same, or nonsense.
        if !S::is_id(&id) {
            return;
        }
        // Where it stands further back too, it is passed over there.
        self.queued.remove(&id);
        self.look_at(id, true);
    }

    fn change(&mut self, change: Change) {
        match change {
            // No sign of life: by the clock.
            Change::List => {}
            Change::Look(_) | Change::Removed(_) => self.heard = Instant::now(),
        }
        match change {
            Change::Look(id) => self.look_at(id, false),
            Change::Removed(id) => self.remove(&id),
            Change::List => self.list(),
        }
    }

    fn remove(&mut self, id: &str) {
        if let Some(after) = self.running.get_mut(id) {
            *after = After::Forget;
        }
        self.queued.remove(id);
        self.unseen.remove(id);
        self.failed.settled(id);
        self.source.removed(id);
        self.link.tell_removed(id);
    }

    fn done(&mut self, done: Result<Done<S::Part>, JoinError>) -> Result<(), Ended> {
        match done {
            Ok(Done::Part(part)) => self.part(part),
            Ok(Done::Look(id, look)) => {
                self.looked(id, look);
                Ok(())
            }
            Ok(Done::Lives(answer)) => {
                self.asking = false;
                self.heard = Instant::now();
                answer
            }
            Err(error) => {
                let detail = if error.is_panic() { "a panic" } else { "it was cancelled" };
                Err(Ended {
                    request: S::LOOK,
                    outcome: Outcome::Failed,
                    detail: detail.to_owned(),
                    again: Again::Soon,
                })
            }
        }
    }

    fn part(&mut self, part: Result<S::Part, Failed>) -> Result<(), Ended> {
        match &part {
            Ok(_) => self.heard = Instant::now(),
            Err(failed) if failed.outcome == Outcome::Timeout => self.ask_for_life(),
            Err(_) => {}
        }
        let Listed { step, changed, same } = self.source.take_part(part)?;
        for id in &same {
            self.unseen.remove(id.as_str());
        }
        for id in changed {
            self.unseen.remove(id.as_str());
            self.look_at(id, false);
        }
        self.listing = step == Step::More;
        match step {
            Step::More => self.ask_part(),
            Step::Complete => {
                std::mem::take(&mut self.unseen).iter().for_each(|id| self.remove(id));
                self.listed();
            }
            Step::Enough => self.listed(),
            Step::Incomplete(why) => {
                let told = "containers are told of as they change, and as the host asks for them";
                self.link.incomplete(&format!("{why}; until all can be listed, {told}"));
                // What waited for the list goes without.
                self.link.nameless().into_iter().for_each(|id| self.look_first(id));
                self.list_failed.failed((), Instant::now());
            }
        }
        Ok(())
    }

    fn listed(&mut self) {
        self.list_failed.settled(&());
        self.link.listed();
    }

    fn looked(&mut self, id: String, look: Look) {
        let after = self.running.remove(&id).unwrap_or(After::Nothing);
        let now = Instant::now();
        match look {
            // Before all else is asked: what hangs may be all of it.
            Look::Unclear => self.ask_for_life(),
            Look::Known(_) | Look::Partly(_) | Look::Gone => self.heard = now,
        }
        match look {
            _ if after == After::Forget => {}
            Look::Known(container) => {
                self.unseen.remove(id.as_str());
                self.link.tell(*container);
                self.failed.settled(&id);
            }
            Look::Partly(container) => {
                self.unseen.remove(id.as_str());
                self.link.tell(*container);
                self.failed.failed(id.clone(), now);
            }
            Look::Gone => self.remove(&id),
            Look::Unclear => {
                self.link.losses().add(Loss::Container, 1);
                self.failed.failed(id.clone(), now);
            }
        }
        if after == After::Again {
            self.look_at(id, false);
        }
    }
}

/// Until then; without it for ever.
async fn until(then: Option<Instant>) {
    match then {
        Some(then) => tokio::time::sleep_until(then).await,
        None => std::future::pending().await,
    }
}
