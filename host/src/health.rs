//! Whether the host's own loops go round. A plugin's state never counts.

use crate::agent::Agent;
use std::time::Duration;

/// A loop that has not come round for so long stands still: each turn takes
/// microseconds, the longest exposition a second.
const PATIENCE: Duration = Duration::from_secs(5);

/// How often a lock is looked at that says nothing when it is let go of.
const LOOK: Duration = Duration::from_millis(20);

/// What stands still; nothing where all is well. That the question is answered
/// at all says that the network's loop goes round.
pub async fn stalled(agent: &Agent) -> Vec<&'static str> {
    stalled_for(agent, PATIENCE).await
}

async fn stalled_for(agent: &Agent, patience: Duration) -> Vec<&'static str> {
    let supervisor = async {
        let answer = tokio::time::timeout(patience, agent.fleet.parts().keeper.ping()).await;
        (!matches!(answer, Ok(Ok(())))).then_some("the supervisor's loop does not answer")
    };
    let exposition = async {
        let free = async {
            // One that is busy may never be seen free, and goes on all the same.
            let made = agent.scraper.made();
            while !agent.scraper.is_free() && agent.scraper.made() == made {
                tokio::time::sleep(LOOK).await;
            }
        };
        let free = tokio::time::timeout(patience, free).await;
        free.is_err().then_some("no exposition can be made")
    };
    let (supervisor, exposition) = tokio::join!(supervisor, exposition);
    let identity = agent.fleet.parts().services.identity.stands_still();
    let identity = identity.then_some("the identity service's loop stands still");
    supervisor.into_iter().chain(exposition).chain(identity).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::check;
    use crate::notify::Notifier;
    use crate::supervisor::keep;
    use std::path::Path;

    #[tokio::test]
    async fn a_loop_that_stands_still_is_named() {
        let config = check(Path::new("plugins.toml"), "").expect("an empty file is a good one");
        let dir = tempfile::tempdir().expect("a temporary directory");
        let agent = Agent::new(config, dir.path(), false, Notifier::new(None, None));
        let stalled = stalled_for(&agent, Duration::from_millis(10)).await;
        assert_eq!(stalled, ["the supervisor's loop does not answer"], "nobody runs it");
        tokio::spawn(keep(agent.fleet.clone()));
        assert!(stalled_for(&agent, PATIENCE).await.is_empty());
        let _held = agent.scraper.hold();
        assert_eq!(stalled_for(&agent, Duration::from_millis(10)).await, ["no exposition can be made"]);
    }
}
