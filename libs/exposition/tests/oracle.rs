//! The same samples, written by us and by prometheus-client, mean the same.

mod common;

use common::odd::{self, Emitted};
use common::strict::parse;
use common::{Host, Random, table, text};
use gantry_exposition::{Format, render_labels};
use gantry_plugin_api::description::{FamilyInfo, Kind};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Registry;
use std::borrow::Cow;

#[derive(Debug)]
struct Theirs {
    families: Vec<FamilyInfo>,
    samples: Vec<Emitted>,
}

impl Collector for Theirs {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        for (place, family) in self.families.iter().enumerate() {
            let samples: Vec<&Emitted> =
                self.samples.iter().filter(|sample| sample.family == place).collect();
            if samples.is_empty() {
                continue;
            }
            let (name, kind) = match family.kind {
                Kind::Counter => (family.name.trim_end_matches("_total"), MetricType::Counter),
                Kind::Gauge => (&family.name[..], MetricType::Gauge),
                Kind::Histogram => (&family.name[..], MetricType::Histogram),
                Kind::Unknown => (&family.name[..], MetricType::Unknown),
            };
            // It escapes nothing in a help text.
            let help = family.help.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
            let mut metric = encoder.encode_descriptor(name, &help, None, kind)?;
            for sample in samples {
                let labels: Vec<(&str, &str)> = family
                    .labels
                    .iter()
                    .map(String::as_str)
                    .zip(sample.labels.iter().map(String::as_str))
                    .collect();
                let mut metric = metric.encode_family(&labels)?;
                match (&sample.histogram, family.kind) {
                    (Some((bounds, cumulative, count)), _) => {
                        let mut before = 0;
                        let all = bounds.iter().zip(cumulative).chain([(&f64::MAX, count)]);
                        let mut buckets: Vec<(f64, u64)> = Vec::new();
                        for (bound, cumulative) in all {
                            buckets.push((*bound, cumulative - before));
                            before = *cumulative;
                        }
                        buckets.last_mut().expect("the last is that of the count").0 = f64::INFINITY;
                        metric.encode_histogram::<NoLabelSet>(sample.value, *count, &buckets, None)?;
                    }
                    (None, Kind::Counter) => {
                        metric.encode_counter::<NoLabelSet, f64, f64>(&sample.value, None)?;
                    }
                    (None, _) => metric.encode_gauge(&sample.value)?,
                }
            }
        }
        Ok(())
    }
}

impl std::fmt::Debug for Emitted {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "{} {:?} {}", self.family, self.labels, self.value)
    }
}

#[test]
fn both_mean_the_same() {
    let mut random = Random(0x5eed);
    let host = Host::new(&render_labels([("machine_id", "a\"b\\c\nd"), ("system_uuid", "")]));
    for round in 0..20 {
        let samples = odd::emitted(&mut random, 300);
        let mut ours = table(&odd::families());
        let taken = ours.take(&odd::arena(&samples), &host, 1.0, true);
        assert_eq!((taken.samples, &taken.example), (samples.len(), &None), "round {round}");
        let constant = [("machine_id", "a\"b\\c\nd"), ("system_uuid", "")];
        let constant = constant.map(|(name, value)| (Cow::Borrowed(name), Cow::Borrowed(value)));
        let mut registry = Registry::with_labels(constant.into_iter());
        registry.register_collector(Box::new(Theirs { families: odd::families(), samples }));
        let mut theirs = String::new();
        prometheus_client::encoding::text::encode(&mut theirs, &registry).unwrap();
        // It writes infinities as Rust does, which the formats do not.
        let theirs = theirs.replace("} inf\n", "} +Inf\n").replace("} -inf\n", "} -Inf\n");
        let (ours, theirs) = (
            parse(&text(&[&ours], Format::OpenMetrics), Format::OpenMetrics),
            parse(&theirs, Format::OpenMetrics),
        );
        assert!(ours.samples.len() > 100 && ours.types.len() == 7);
        assert_eq!(ours, theirs, "round {round}");
    }
}
