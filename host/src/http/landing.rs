//! The landing page: what runs here, and links.

use crate::agent::Agent;
use crate::metrics::own::VERSION;
use std::fmt::Write;

/// The page. Everything that is not ours is escaped.
/// Views are linked where they are served.
pub fn page(agent: &Agent, views: bool) -> String {
    let mut rows = String::new();
    for unit in agent.fleet.units().iter() {
        let status = unit.status();
        let version = status.manifest().map_or("", |manifest| &manifest.version);
        let reasons = status.reasons.join("; ");
        let links: String = status
            .views()
            .iter()
            .filter(|_| views)
            .map(|view| {
                let (plugin, view) = (escape(unit.name()), escape(&view.name));
                format!("<a href=\"/plugins/{plugin}/{view}\">{view}</a> ")
            })
            .collect();
        // Writing into a text cannot fail.
        let _ = write!(
            rows,
            "<tr><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{links}</td></tr>",
            escape(unit.name()),
            escape(version),
            status.state.as_str(),
            escape(&reasons)
        );
    }
    format!(
        "<!DOCTYPE html><html lang=\"en\"><head><meta charset=\"utf-8\"><title>Gantry</title><style>\
         body{{font-family:system-ui,sans-serif;margin:2rem;max-width:60rem}}\
         td,th{{text-align:left;padding:.2rem 1rem .2rem 0}}</style></head><body>\
         <h1>Gantry {VERSION}</h1><p><a href=\"/metrics\">Metrics</a> · <a href=\"/plugins\">Plugins (JSON)</a> · \
         <a href=\"/-/healthy\">Healthy</a> · <a href=\"/-/ready\">Ready</a></p>\
         <table><tr><th>Plugin</th><th>Version</th><th>State</th><th>Why</th><th>Views</th></tr>{rows}</table></body></html>\n"
    )
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
