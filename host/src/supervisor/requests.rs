//! What else is asked of a plugin from outside.

use super::life::{Call, HUNG_AFTER};
use super::lock;
use super::unit::Unit;
use super::worker::Command;
use crate::config::Level;
use tokio::sync::oneshot;

impl Unit {
    /// Gives it another configuration (JSON) while it runs: `true` when it is
    /// in force, `false` when a new instance must be made for it.
    pub async fn reconfigure(&self, config: String) -> Result<bool, String> {
        if !self.state().collects() {
            return Ok(false);
        }
        let (reply, answer) = oneshot::channel();
        let attempt = lock(&self.life).attempt();
        self.send(attempt, Command::Reconfigure { config, reply });
        let patience = self.config().deadline * HUNG_AFTER;
        match tokio::time::timeout(patience, answer).await {
            Ok(Ok(answer)) => answer,
            // It has just failed; the next instance is made with the new one.
            Ok(Err(_)) => Ok(false),
            Err(_) => Err(format!("{} did not come back within {patience:?}", Call::Reconfigure.as_str())),
        }
    }

    /// From which level on its lines are logged, from now on.
    pub fn set_log_level(&self, level: Level) {
        let attempt = lock(&self.life).attempt();
        self.send(attempt, Command::LogLevel(level as u32));
    }
}
