//! One running agent per state directory.

use rustix::fs::{FlockOperation, OFlags, flock};
use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{Read, Seek, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;

/// Held as long as the agent runs; the kernel lets go of it at its end,
/// whatever kind of end that is.
#[derive(Debug)]
pub struct Lock {
    _file: Option<File>,
}

/// Takes the lock, or says who holds it. A state directory that cannot be
/// written (a read-only system) is no reason not to run; the second value says
/// what that costs.
pub fn take(state_dir: &Path) -> Result<(Lock, Option<String>), String> {
    let path = state_dir.join("lock");
    // Whoever can write the directory could point a link at anybody's file.
    let flags = OFlags::NOFOLLOW.union(OFlags::NONBLOCK).bits().cast_signed();
    let opened = DirBuilder::new().recursive(true).mode(0o700).create(state_dir).and_then(|()| {
        OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .custom_flags(flags)
            .open(&path)
    });
    let mut file = match opened {
        Ok(file) => file,
        Err(error) => {
            let warning = format!(
                "the state directory {} cannot be written: {error}; nothing is kept across restarts, and nothing \
                 stops a second agent; choose another with --state-dir",
                state_dir.display()
            );
            return Ok((Lock { _file: None }, Some(warning)));
        }
    };
    let locked = flock(&file, FlockOperation::NonBlockingLockExclusive);
    if let Err(error) = locked
        && error != rustix::io::Errno::WOULDBLOCK
    {
        let warning = format!("{}: flock: {error}; nothing stops a second agent", path.display());
        return Ok((Lock { _file: Some(file) }, Some(warning)));
    }
    if locked.is_err() {
        let mut holder = String::new();
        // Only for the message.
        let _ = file.take(32).read_to_string(&mut holder);
        let (dir, holder) = (state_dir.display(), holder.trim());
        let gone = !holder.is_empty() && !Path::new("/proc").join(holder).exists();
        return Err(if gone {
            // A copy of the agent that code of a plugin made by fork has it too.
            format!(
                "the state directory {dir} is held, and the agent that took it (pid {holder}) is not here: a process \
                 that it left behind has it still, or it is in another PID namespace; `fuser {}` shows who: end that, \
                 or choose another with --state-dir",
                path.display()
            )
        } else {
            format!(
                "the state directory {dir} is held by another agent (pid {holder}); stop it, or choose another with \
                 --state-dir"
            )
        });
    }
    let noted =
        file.set_len(0).and_then(|()| file.rewind()).and_then(|()| writeln!(file, "{}", std::process::id()));
    let warning = noted.err().map(|error| format!("{}: {error}", path.display()));
    Ok((Lock { _file: Some(file) }, warning))
}
