//! What else is asked of a plugin from outside.

use super::life::HUNG_AFTER;
use super::unit::Unit;
use super::worker::Command;
use crate::config::Level;
use std::time::Duration;
use tokio::sync::oneshot;

/// Whoever reloads waits for it.
const RECONFIGURE_WAIT: Duration = Duration::from_secs(10);

impl Unit {
    /// Gives it another configuration (JSON) while it runs: `true` when it is
    /// in force, `false` when a new instance must be made for it.
    pub async fn reconfigure(&self, config: String) -> Result<bool, String> {
        if !self.state().collects() {
            return Ok(false);
        }
        let (reply, answer) = oneshot::channel();
        self.ask(Command::Reconfigure { config, reply });
        // One more than after which it is given up: then it is known to hang.
        let patience = (self.config().deadline * (HUNG_AFTER + 1)).min(RECONFIGURE_WAIT);
        match tokio::time::timeout(patience, answer).await {
            Ok(Ok(answer)) => answer,
            // It has failed or hangs, and nobody knows which of both it would
            // come back with. The file is the truth: the next instance is made of it.
            Ok(Err(_)) | Err(_) => Ok(false),
        }
    }

    /// From which level on its lines are logged, from now on.
    pub fn set_log_level(&self, level: Level) {
        self.ask(Command::LogLevel(level as u32));
    }
}
