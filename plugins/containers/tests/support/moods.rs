//! Each request to a gRPC server may fail in each way: it is counted, and the
//! plugin is well again when the server is.

use super::Rig;
use super::grpc::Mood;
use gantry_plugin_testkit::eventually;

/// With the results as which a request may be counted then.
const MOODS: [(Mood, &[&str]); 10] = [
    (Mood::Hang, &["timeout"]),
    (Mood::HangInBody, &["timeout"]),
    (Mood::Code(2), &["refused"]),
    (Mood::Code(7), &["refused"]),
    (Mood::Code(14), &["refused"]),
    (Mood::Code(99), &["refused"]),
    (Mood::Garbage, &["malformed"]),
    (Mood::Half, &["malformed"]),
    (Mood::Reset, &["failed"]),
    (Mood::Status(500), &["refused", "failed"]),
];

/// Methods, each with the request as which it is counted, in all moods but those
/// that make no sense of it.
pub struct Moods<'a> {
    pub methods: &'a [(&'static str, &'static str)],
    pub but: &'a [(&'static str, Mood)],
}

impl Moods<'_> {
    /// `before` starts a server in a mood, with a plugin before it whose
    /// deadline is short where that is waited for; `series` counts requests;
    /// `well` lets the server be well, and waits until the plugin says so.
    pub fn all<F>(
        &self,
        before: impl Fn(bool, &str, Mood) -> (Rig, F) + Sync,
        series: impl Fn(&Rig, &str, &str) -> String + Sync,
        well: impl Fn(&mut Rig, &F, &str) + Sync,
    ) {
        for (mood, results) in &MOODS {
            std::thread::scope(|scope| {
                let (before, series, well) = (&before, &series, &well);
                for &(method, request) in self.methods {
                    if self.but.contains(&(method, mood.clone())) {
                        continue;
                    }
                    let body = move || {
                        let hangs = matches!(mood, Mood::Hang | Mood::HangInBody);
                        let (mut rig, fake) = before(hangs, method, mood.clone());
                        eventually(|| {
                            let collected = rig.running.collect().map_err(|failure| failure.to_string())?;
                            let counted = |result: &&str| {
                                collected
                                    .find(&series(&rig, request, result))
                                    .is_some_and(|count| count > 0.0)
                            };
                            let some = results.iter().any(counted);
                            some.then_some(()).ok_or_else(|| format!("{method} {mood:?}: {collected:?}"))
                        })
                        .unwrap_or_else(|failure| panic!("{failure}"));
                        well(&mut rig, &fake, method);
                        rig.running.stop().expect("it stops");
                    };
                    let named = std::thread::Builder::new().name(format!("{method}: {mood:?}"));
                    drop(named.spawn_scoped(scope, body).expect("a thread"));
                }
            });
        }
    }
}
