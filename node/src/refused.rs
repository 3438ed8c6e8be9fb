//! Counts of local clients that got no plug, by reason.

use std::collections::BTreeMap;

use vdeplug::Refusal;

/// How many clients were refused, by a short word for the reason.
#[derive(Debug, Default)]
pub(crate) struct RefusedPlugs(BTreeMap<&'static str, u64>);

impl RefusedPlugs {
    /// Counts one.
    pub(crate) fn record(&mut self, refusal: &Refusal) {
        let reason = match refusal {
            Refusal::Request(_) => "malformed-request",
            Refusal::Silent { .. } => "silent",
            Refusal::HungUp { .. } => "hung-up",
            Refusal::RelativePath(_) => "relative-path",
            Refusal::ForeignSocket { .. } => "foreign-socket",
            Refusal::Unreachable { .. } => "unreachable",
            Refusal::Local { .. } => "local-failure",
            Refusal::Denied(_) => "denied",
        };
        self.count(reason);
    }

    /// Counts one for a reason that has no [`Refusal`].
    pub(crate) fn count(&mut self, reason: &'static str) {
        *self.0.entry(reason).or_default() += 1;
    }

    /// The counts, for the status view.
    pub(crate) fn counts(&self) -> BTreeMap<String, u64> {
        self.0.iter().map(|(&reason, &count)| (reason.to_owned(), count)).collect()
    }
}
