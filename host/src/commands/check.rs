//! `gantry check`: every problem of the configuration and of the plugin files
//! it names, enabled or not.

use super::state::StateDir;
use super::{Failure, Outcome, configuration, print, say};
use crate::cli::Places;
use crate::loader::{Placer, load};
use crate::supervisor::{Unit, config_problems};

pub fn run(places: &Places) -> Outcome {
    let config = configuration(&places.config)?;
    let state = StateDir::for_command(places.state_dir.as_deref())?;
    let placer = Placer::new(state.path());
    let mut wrong = 0;
    for plugin in &config.plugins {
        let mut log = |line: String| say(&format!("gantry: note: {line}"));
        let problems = match load(plugin, &config.host.plugin_dirs, &placer, &mut log) {
            Ok(loaded) => config_problems(&config, &Unit::new(plugin.clone()), &loaded),
            Err(error) => {
                let (line, column) = plugin.place;
                vec![format!("{}:{line}:{column}: [plugins.{}]: {error}", config.file.display(), plugin.name)]
            }
        };
        wrong += problems.len();
        for problem in problems {
            say(&problem);
        }
    }
    if wrong > 0 {
        let plural = if wrong == 1 { "problem" } else { "problems" };
        return Err(Failure::no(format!("{wrong} {plural} in {}", config.file.display())));
    }
    print(&format!("{}: good; {} plugins", config.file.display(), config.plugins.len()));
    Ok(())
}
