//! What of a unit the host is told.

use super::client::Client;
use super::{RUNTIME, names};
use crate::provider::Failed;
use crate::provider::bounds::Loss;
use crate::provider::link::Link;
use crate::provider::outcome::Outcome;
use crate::provider::started;
use gantry_plugin_api::Container;

/// Of each kind of units there is one, besides that of all.
const INTERFACES: &str = "org.freedesktop.systemd1.";
const UNIT: &str = "org.freedesktop.systemd1.Unit";
const SERVICE: &str = "org.freedesktop.systemd1.Service";

/// The unit whose cgroup is called so. A fact that this systemd does not know,
/// or that makes no sense, is left out.
///
/// # Errors
/// Where there is no such unit, or no answer.
pub async fn unit(client: &Client, cgroup: &str) -> Result<Container, Failed> {
    let Some(unit) = names::unit(cgroup) else {
        return Err(Failed { outcome: Outcome::NotFound, detail: String::new() });
    };
    let link = client.link();
    let path = client.unit(unit).await?;
    let mut container = begun(cgroup, unit, link);
    let mut set = |name: &str, text: String| {
        if !text.is_empty() {
            container.names.insert(name.to_owned(), link.losses().text(text));
        }
    };
    if names::is_service(unit) {
        let kind = fact(client.property(&path, SERVICE, "Type").await, link)?;
        set("systemd_type", kind.unwrap_or_default());
    }
    let triggers = fact(client.property(&path, UNIT, "TriggeredBy").await, link)?;
    set("systemd_triggered_by", trigger(triggers.unwrap_or_default()));
    if let Some(kind) = names::interface(unit) {
        let interface = format!("{INTERFACES}{kind}");
        let slice = fact(client.property(&path, &interface, "Slice").await, link)?;
        set("systemd_slice", slice.unwrap_or_default());
    }
    if names::is_service(unit) {
        let pid: Option<u32> = fact(client.property(&path, SERVICE, "MainPID").await, link)?;
        container.init = started::process(link.proc(), i64::from(pid.unwrap_or(0)));
    }
    // A unit that runs once, or says itself when it is ready, is active only after what it runs began.
    let (interface, since) = if names::is_service(unit) {
        (SERVICE, "ExecMainStartTimestamp")
    } else {
        (UNIT, "ActiveEnterTimestamp")
    };
    let since = fact(client.property(&path, interface, since).await, link)?;
    container.started_at = seconds(since.unwrap_or(0));
    Ok(container)
}

fn begun(cgroup: &str, unit: &str, link: &Link) -> Container {
    let mut container = Container::default();
    container.runtime = RUNTIME.to_owned();
    container.runtime_id = link.losses().text(cgroup.to_owned());
    container.names.insert("name".to_owned(), unit.to_owned());
    if let Some((template, instance)) = names::instance(unit) {
        container.names.insert("systemd_template".to_owned(), template);
        container.names.insert("systemd_instance".to_owned(), instance.to_owned());
    }
    container
}

fn fact<T>(answer: Result<T, Failed>, link: &Link) -> Result<Option<T>, Failed> {
    match answer {
        Ok(fact) => Ok(Some(fact)),
        Err(failed) if failed.outcome == Outcome::NotFound => Ok(None),
        Err(failed) if failed.outcome == Outcome::Malformed => {
            link.losses().add(Loss::Description, 1);
            Ok(None)
        }
        Err(failed) => Err(failed),
    }
}

/// The one of several that is told: systemd has them in no order. What a socket
/// starts too is no job of a timer.
fn trigger(units: Vec<String>) -> String {
    units.into_iter().min_by_key(|unit| (unit.ends_with(".timer"), unit.clone())).unwrap_or_default()
}

/// Of microseconds since the epoch; all ones where systemd does not know it.
fn seconds(micros: u64) -> u64 {
    if micros == u64::MAX { 0 } else { micros / 1_000_000 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_trigger_is_told_and_always_the_same() {
        let trigger = |units: &[&str]| trigger(units.iter().map(|&unit| unit.to_owned()).collect());
        assert_eq!(trigger(&[]), "");
        assert_eq!(trigger(&["b.timer", "a.timer"]), "a.timer");
        assert_eq!(trigger(&["a.timer", "c.socket", "b.path"]), "b.path");
    }

    #[test]
    fn times_that_are_none_are_0() {
        assert_eq!((seconds(0), seconds(u64::MAX), seconds(1_795_413_424_999_999)), (0, 0, 1_795_413_424));
    }
}
