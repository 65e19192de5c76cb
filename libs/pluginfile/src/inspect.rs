//! Reading a plugin's file without running it.

use gantry_plugin_api::API_VERSION;
use gantry_plugin_api::manifest::{ManifestInfo, SECTION};
use object::read::elf::{ElfFile64, ProgramHeader};
use object::{Architecture, Endianness, Object, ObjectKind, ObjectSection};

/// Why a file is no plugin for this host. Each message says what and the remedy.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum FileError {
    /// Not an ELF file at all.
    #[error("not a shared library (no ELF header); build the plugin with crate-type = [\"cdylib\"]")]
    NotElf,
    /// ELF, but damaged.
    #[error("truncated or damaged: {0}; copy the file again")]
    Damaged(String),
    /// For another processor.
    #[error("built for {found}, this host is {host}; build it for this architecture")]
    Architecture {
        /// What the file is for.
        found: String,
        /// What this host is.
        host: &'static str,
    },
    /// An executable or an object file.
    #[error("an ELF file, but not a shared library; build the plugin with crate-type = [\"cdylib\"]")]
    NotShared,
    /// No manifest.
    #[error("no Gantry plugin: it has no section .gantry_manifest; name the plugin with export_plugin!")]
    NoManifest,
    /// A manifest that cannot be read.
    #[error("its manifest cannot be read: {0}; build it with a current gantry-plugin-api")]
    BadManifest(String),
    /// Made for another boundary.
    #[error("{0}")]
    Api(String),
}

/// Reads the manifest of a file's bytes, and checks that this host can open it.
pub fn inspect(bytes: &[u8]) -> Result<ManifestInfo, FileError> {
    let manifest = read_manifest(bytes)?;
    check_name(&manifest)?;
    check_api(&manifest, API_VERSION)?;
    Ok(manifest)
}

fn read_manifest(bytes: &[u8]) -> Result<ManifestInfo, FileError> {
    if !bytes.starts_with(b"\x7fELF") {
        return Err(FileError::NotElf);
    }
    // EI_CLASS 2 is 64 bits; all architectures this agent is built for have it.
    if bytes.get(4) != Some(&2) {
        return Err(FileError::Architecture { found: "a 32-bit machine".to_owned(), host: HOST });
    }
    let damaged = |error: object::Error| FileError::Damaged(error.to_string());
    let elf = ElfFile64::<Endianness>::parse(bytes).map_err(damaged)?;
    if elf.architecture() != architecture() || elf.endianness() != native_endianness() {
        let found = format!("{:?}", elf.architecture()).to_lowercase();
        return Err(FileError::Architecture { found, host: HOST });
    }
    if elf.kind() != ObjectKind::Dynamic {
        return Err(FileError::NotShared);
    }
    // The dynamic linker maps segments without asking whether the file is that
    // long; touching a page beyond its end is a SIGBUS.
    for segment in elf.elf_program_headers() {
        let end = segment.p_offset(elf.endian()).checked_add(segment.p_filesz(elf.endian()));
        if end.is_none_or(|end| end > bytes.len() as u64) {
            return Err(FileError::Damaged("a segment lies beyond the end of the file".to_owned()));
        }
    }
    let section = elf.section_by_name(SECTION).ok_or(FileError::NoManifest)?;
    let text = section.data().map_err(damaged)?;
    serde_json::from_slice(text).map_err(|error| FileError::BadManifest(error.to_string()))
}

fn check_name(manifest: &ManifestInfo) -> Result<(), FileError> {
    // The name becomes part of file names and of metrics: what the macro
    // asserts at compile time holds for a manifest of any origin.
    let name = &manifest.name;
    let good = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    if !name.is_empty()
        && name.len() <= 64
        && name.as_bytes()[0].is_ascii_lowercase()
        && name.bytes().all(good)
    {
        let version = &manifest.version;
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b".-+".contains(&byte);
        if !version.is_empty() && version.len() <= 64 && version.bytes().all(plain) {
            return Ok(());
        }
        return Err(FileError::BadManifest(format!("{version:?} is no version")));
    }
    Err(FileError::BadManifest(format!("{name:?} is no plugin's name ([a-z][a-z0-9-]*)")))
}

/// Whether a plugin of that manifest runs on a host that offers `offered`.
fn check_api(manifest: &ManifestInfo, offered: &str) -> Result<(), FileError> {
    let ManifestInfo { name, version, api, min_host_api, .. } = manifest;
    let parsed = |text: &str| {
        parse(text).ok_or_else(|| FileError::BadManifest(format!("{text:?} is no api version MAJOR.MINOR")))
    };
    let (built, needs) = (parsed(api)?, parsed(min_host_api)?);
    let host = parsed(offered)?;
    if built.0 != host.0 {
        let remedy = if built.0 > host.0 {
            "upgrade the host, or install a plugin built for this one"
        } else {
            "rebuild the plugin with a current gantry-plugin-api"
        };
        return Err(FileError::Api(format!(
            "{name} {version} is built for plugin api {api}, this host offers {offered}; {remedy}"
        )));
    }
    if needs > host {
        return Err(FileError::Api(format!(
            "{name} {version} needs plugin api {min_host_api}, this host offers {offered}; \
             upgrade the host, or install an older {name}"
        )));
    }
    Ok(())
}

fn parse(version: &str) -> Option<(u32, u32)> {
    let (major, minor) = version.split_once('.')?;
    Some((major.parse().ok()?, minor.parse().ok()?))
}

const HOST: &str = std::env::consts::ARCH;

fn architecture() -> Architecture {
    match HOST {
        "x86_64" => Architecture::X86_64,
        "aarch64" => Architecture::Aarch64,
        "riscv64" => Architecture::Riscv64,
        "powerpc64" => Architecture::PowerPc64,
        "s390x" => Architecture::S390x,
        _ => Architecture::Unknown,
    }
}

fn native_endianness() -> object::Endianness {
    if cfg!(target_endian = "big") { Endianness::Big } else { Endianness::Little }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manifest(api: &str, min_host_api: &str) -> ManifestInfo {
        serde_json::from_value(serde_json::json!({
            "gantry_manifest": 1, "name": "acme", "version": "2.0.0", "panic": "unwind",
            "api": api, "min_host_api": min_host_api,
        }))
        .expect("the fields that each manifest has")
    }

    #[test]
    fn minors_differ_freely_and_majors_never() {
        for (api, min, offered, good) in [
            ("1.0", "1.0", "1.0", true),
            ("1.0", "1.0", "1.7", true),
            ("1.7", "1.0", "1.0", true),
            ("1.7", "1.3", "1.2", false),
            ("2.0", "2.0", "1.9", false),
            ("0.9", "0.9", "1.0", false),
        ] {
            let checked = check_api(&manifest(api, min), offered);
            assert_eq!(checked.is_ok(), good, "{api} {min} on {offered}: {checked:?}");
        }
        let newer = check_api(&manifest("2.1", "2.0"), "1.4").expect_err("another major").to_string();
        assert!(
            newer.contains("2.1") && newer.contains("1.4") && newer.contains("upgrade the host"),
            "{newer}"
        );
        let older = check_api(&manifest("0.9", "0.9"), "1.4").expect_err("another major").to_string();
        assert!(older.contains("rebuild the plugin"), "{older}");
        assert!(matches!(check_api(&manifest("one", "1.0"), "1.0"), Err(FileError::BadManifest(_))));
    }

    #[test]
    fn a_name_is_no_path() {
        for bad in ["", "../x", "a/b", "A", "a\n", "-a"] {
            let mut manifest = manifest("1.0", "1.0");
            manifest.name = bad.to_owned();
            assert!(check_name(&manifest).is_err(), "{bad:?}");
        }
        let mut manifest = manifest("1.0", "1.0");
        manifest.version = "1/../..".to_owned();
        assert!(check_name(&manifest).is_err());
    }

    #[test]
    fn what_is_no_elf_is_refused() {
        assert_eq!(inspect(b""), Err(FileError::NotElf));
        assert_eq!(inspect(b"#!/bin/sh\n"), Err(FileError::NotElf));
        assert!(matches!(inspect(b"\x7fELF\x02\x01\x01"), Err(FileError::Damaged(_))));
        assert!(matches!(inspect(b"\x7fELF\x01\x01\x01"), Err(FileError::Architecture { .. })));
        let own = std::fs::read("/proc/self/exe").expect("the test's own file");
        let refused = inspect(&own).expect_err("an executable is no plugin");
        assert!(matches!(refused, FileError::NoManifest | FileError::NotShared), "{refused}");
    }
}
