//! What runs in a container, by the programs of its processes.
//!
//! # Layout
//! * [`looks`]: looking at them, apart from all locks.
//! * [`names`]: programs and their application types.
//! * [`binary`]: what a program was built with.

pub mod binary;
pub mod looks;
pub mod names;

use gantry_plugin_api::identity::Process;
use looks::{Found, Looked, Program, Question};
use std::collections::HashMap;

/// What was found out, by process.
#[derive(Debug, Default)]
pub struct Applications {
    processes: HashMap<Process, Known>,
    /// Application types and languages that go together: as many as there are of
    /// both, at most, and mostly a handful.
    types: Vec<Types>,
    /// Whose answers count, and since when they are asked for. Who runs another
    /// program meanwhile is none of them.
    asked: HashMap<Process, u32>,
    /// Those of the collection before, in the middle of this one's questions.
    asked_before: HashMap<Process, u32>,
    not_asked: u64,
    round: u32,
}

/// By the names, and by what the binary was built with.
type Types = [Option<&'static str>; 2];

/// Each process has one: it is small.
#[derive(Debug, Clone, Copy)]
struct Known {
    /// Their place.
    types: u16,
    /// Whoever looked at it hangs.
    is_hung: bool,
    round: u32,
    /// What it ran then.
    program: Program,
}

/// Of how many known processes it is looked at in one collection whether they
/// run another program now: who hears no process events is not told. Each
/// costs some 3 µs.
const CHECKED: usize = 64;

/// How many processes are looked at in one collection; the others are next
/// time. Each costs some 30 µs, and a new binary's sections some 100.
const MOST: usize = 256;

/// What a collection asks.
#[derive(Debug, Default)]
pub struct Questions {
    all: Vec<Question>,
    new: usize,
}

impl Questions {
    pub fn into_inner(self) -> Vec<Question> {
        self.all
    }
}

impl Applications {
    /// Begins a collection, and forgets processes that were not asked for in
    /// the last one.
    pub fn begin(&mut self) -> Questions {
        let last = self.round;
        self.processes.retain(|_, known| known.round == last);
        self.asked_before = std::mem::take(&mut self.asked);
        self.round = self.round.wrapping_add(1);
        Questions::default()
    }

    /// A process runs another program now, as an entry point does at its end.
    pub fn forget(&mut self, process: &Process) {
        self.processes.remove(process);
        self.asked.remove(process);
    }

    /// Any of them may.
    pub fn forget_all(&mut self) {
        self.processes.clear();
        self.asked.clear();
    }

    /// Whether it is this process's turn to be checked: each once in so many
    /// rounds as it takes to check [`CHECKED`] at a time.
    fn is_its_turn(&self, process: Process) -> bool {
        let turns = self.processes.len().div_ceil(CHECKED).max(1) as u64;
        u64::from(process.pid) % turns == u64::from(self.round) % turns
    }

    /// What must be found out of these.
    pub fn ask(&mut self, processes: &[Process], questions: &mut Questions) {
        for process in processes {
            let known = self.processes.get(process);
            let is_asked = match known {
                Some(known) => !known.is_hung && self.is_its_turn(*process),
                None => questions.new < MOST,
            };
            if is_asked {
                questions.new += usize::from(known.is_none());
                let known = known.map(|known| known.program);
                let round = self.asked_before.get(process).copied().unwrap_or(self.round);
                self.asked.insert(*process, round);
                questions.all.push(Question { process: *process, round, known });
            }
        }
    }

    /// Takes what was found out.
    pub fn learn(&mut self, looked: Looked) {
        let Looked { answers, hung, is_back, not_asked } = looked;
        self.not_asked = not_asked;
        if is_back {
            self.processes.retain(|_, known| !known.is_hung);
        }
        for (question, found) in answers {
            if let Some(found) = found.filter(|_| self.is_asked(question)) {
                let known = self.known(found, false);
                self.processes.insert(question.process, known);
            }
        }
        if let Some(question) = hung.filter(|question| self.is_asked(*question)) {
            let nothing = Found { application: None, language: None, program: Program::default() };
            let known = self.known(nothing, true);
            self.processes.insert(question.process, known);
        }
    }

    fn is_asked(&self, question: Question) -> bool {
        self.asked.get(&question.process) == Some(&question.round)
    }

    fn known(&mut self, found: Found, is_hung: bool) -> Known {
        let Found { application, language, program } = found;
        let types = self.place_of([application, language]);
        Known { types, program, is_hung, round: self.round }
    }

    fn place_of(&mut self, types: Types) -> u16 {
        let at = self.types.iter().position(|known| *known == types).unwrap_or_else(|| {
            self.types.push(types);
            self.types.len() - 1
        });
        u16::try_from(at).expect("some seventy applications and a handful of languages are known")
    }

    /// The types of these processes, each once, in the order of the alphabet.
    pub fn of(&mut self, processes: &[Process]) -> Vec<&'static str> {
        let mut found = Vec::new();
        for process in processes {
            if let Some(known) = self.processes.get_mut(process) {
                known.round = self.round;
                found.extend(self.types[usize::from(known.types)].into_iter().flatten());
            }
        }
        found.sort_unstable();
        found.dedup();
        found
    }

    /// What this collection lacks: processes at which somebody hangs, and those
    /// that nobody was there to look at.
    pub fn left_out(&self) -> (u64, u64) {
        let hung = self.processes.values().filter(|known| known.is_hung && known.round == self.round);
        (hung.count() as u64, self.not_asked)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use looks::Looks;
    use std::path::Path;
    use std::process::{Child, Command, Stdio};

    /// What a collection asks, answers and shows; how many were new.
    fn collect(
        all: &mut Applications,
        looks: &mut Looks,
        processes: &[Process],
    ) -> (Vec<&'static str>, usize) {
        let mut questions = all.begin();
        all.ask(processes, &mut questions);
        let new = questions.new;
        all.learn(looks.look(questions.into_inner()));
        (all.of(processes), new)
    }

    fn end(mut child: Child) {
        child.kill().expect("kill");
        child.wait().expect("wait");
    }

    #[test]
    fn this_test_is_written_in_rust_and_a_sleep_is_nothing() {
        let child = Command::new("sleep").arg("1000").stdin(Stdio::null()).spawn().expect("sleep");
        let (mut all, mut looks) = (Applications::default(), Looks::new(Path::new("/proc")));
        let of = |pid| Process { pid, start: 1 };
        let (this, sleep) = (of(std::process::id()), of(child.id()));
        assert_eq!(collect(&mut all, &mut looks, &[this]), (vec!["rust"], 1));
        assert_eq!(collect(&mut all, &mut looks, &[sleep]), (vec![], 1));
        assert_eq!(collect(&mut all, &mut looks, &[sleep]), (vec![], 0), "known");
        collect(&mut all, &mut looks, &[]);
        all.begin();
        assert!(all.processes.is_empty());
        end(child);
    }

    #[test]
    fn another_program_is_noticed_without_an_event() {
        let mut child = Command::new("sh")
            .args(["-c", "read line; exec sleep 1000"])
            .stdin(Stdio::piped())
            .spawn()
            .expect("a shell");
        let (mut all, mut looks) = (Applications::default(), Looks::new(Path::new("/proc")));
        let process = Process { pid: child.id(), start: 1 };
        collect(&mut all, &mut looks, &[process]);
        let before = all.processes[&process].program;
        assert_ne!(before, Program::default());
        std::io::Write::write_all(&mut child.stdin.take().expect("piped"), b"go\n").expect("it reads");
        let dir = Path::new("/proc").join(child.id().to_string());
        while looks::program(&dir) == before {
            std::thread::park_timeout(std::time::Duration::from_millis(5));
        }
        collect(&mut all, &mut looks, &[process]);
        assert_ne!(all.processes[&process].program, before);
        end(child);
    }

    #[test]
    fn an_answer_to_what_ran_before_does_not_count() {
        let (mut all, mut looks) = (Applications::default(), Looks::new(Path::new("/proc")));
        let process = Process { pid: std::process::id(), start: 1 };
        let mut questions = all.begin();
        all.ask(&[process], &mut questions);
        let looked = looks.look(questions.into_inner());
        all.forget(&process);
        all.learn(looked);
        assert_eq!(all.of(&[process]), [""; 0]);
        assert_eq!(collect(&mut all, &mut looks, &[process]), (vec!["rust"], 1));
    }
}
