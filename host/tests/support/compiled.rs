//! Libraries that no Rust compiler would make.

use super::needs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

/// One whose constructor never ends.
pub const HANGS: &str =
    "#include <unistd.h>\n__attribute__((constructor)) static void c(void) { for (;;) sleep(1000); }";

/// A library of the compiler's, with a manifest of the test's.
pub fn compiled(dir: &Path, code: &str) -> Option<PathBuf> {
    if !needs::program("gcc") {
        return None;
    }
    let manifest = "{\"gantry_manifest\":1,\"name\":\"hostile\",\"version\":\"1.0.0\",\"api\":\"1.0\",\
                    \"min_host_api\":\"1.0\",\"panic\":\"unwind\"}";
    let source = dir.join("plugin.c");
    let text = format!(
        "__attribute__((section(\".gantry_manifest\"), used)) static const char m[{}] = {manifest:?};\n{code}\n",
        manifest.len()
    );
    std::fs::write(&source, text).expect("temporary file");
    let library = dir.join("libgantry_hostile.so");
    let status = Command::new("gcc").args(["-shared", "-fPIC", "-o"]).arg(&library).arg(&source).status();
    assert!(status.expect("gcc runs").success());
    let readable = std::fs::Permissions::from_mode(0o755);
    std::fs::set_permissions(&library, readable).expect("own file");
    Some(library)
}
