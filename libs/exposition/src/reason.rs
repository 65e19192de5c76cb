//! Why a family or a sample is not shown.

/// Why a family or a sample was refused; the label `reason` of
/// `gantry_samples_refused_total`.
#[derive(Copy, Clone, Eq, PartialEq, Hash, Debug)]
pub enum Reason {
    /// The name of the family or of a claim is none that Prometheus reads.
    Name,
    /// The name, or a label's name, belongs to the host or to another owner's claim.
    Reserved,
    /// Another family has the name, or one of the names its lines would have.
    Clash,
    /// The family's label names are no valid set, or a sample has not one value for each.
    Labels,
    /// A label value is not UTF-8.
    Utf8,
    /// A label value is longer than [`crate::MAX_LABEL_BYTES`].
    LabelTooLong,
    /// A counter's value is negative, infinite or no number.
    Value,
    /// The collection, or another owner, has this series already.
    Duplicate,
    /// The owner has as many series as it may have.
    SeriesCap,
    /// The owner declared no family of this number.
    UnknownFamily,
    /// The host knows no container of this handle.
    UnknownContainer,
    /// A container's sample in a family of the node, or the other way round.
    Scope,
    /// Buckets that make no histogram, or a sample of the wrong shape for its family.
    Histogram,
    /// The collection, or the text of all series, is larger than it may be.
    Overflow,
}

impl Reason {
    /// Every reason, in the order of declaration.
    pub const ALL: &[Reason] = &[
        Reason::Name,
        Reason::Reserved,
        Reason::Clash,
        Reason::Labels,
        Reason::Utf8,
        Reason::LabelTooLong,
        Reason::Value,
        Reason::Duplicate,
        Reason::SeriesCap,
        Reason::UnknownFamily,
        Reason::UnknownContainer,
        Reason::Scope,
        Reason::Histogram,
        Reason::Overflow,
    ];

    /// As the value of a label, in snake_case.
    pub fn as_str(self) -> &'static str {
        match self {
            Reason::Name => "name",
            Reason::Reserved => "reserved",
            Reason::Clash => "clash",
            Reason::Labels => "labels",
            Reason::Utf8 => "utf8",
            Reason::LabelTooLong => "label_too_long",
            Reason::Value => "value",
            Reason::Duplicate => "duplicate",
            Reason::SeriesCap => "series_cap",
            Reason::UnknownFamily => "unknown_family",
            Reason::UnknownContainer => "unknown_container",
            Reason::Scope => "scope",
            Reason::Histogram => "histogram",
            Reason::Overflow => "overflow",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn all_holds_each_once_in_order() {
        for (at, reason) in Reason::ALL.iter().enumerate() {
            assert_eq!(*reason as usize, at);
        }
        assert_eq!(Reason::ALL.len(), Reason::Overflow as usize + 1);
        let texts: HashSet<&str> = Reason::ALL.iter().map(|reason| reason.as_str()).collect();
        assert_eq!(texts.len(), Reason::ALL.len());
        assert!(
            texts
                .iter()
                .all(|text| text.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_')))
        );
    }
}
