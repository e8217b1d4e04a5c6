//! The text format of Prometheus, version 0.0.4.

use std::fmt::{Display, Write};

/// A page that is being written.
#[derive(Debug, Default)]
pub(super) struct Page(String);

impl Page {
    fn head(&mut self, name: &str, help: &str, kind: &str) {
        self.line(format_args!("# HELP {name} {help}"));
        self.line(format_args!("# TYPE {name} {kind}"));
    }

    fn line(&mut self, line: std::fmt::Arguments<'_>) {
        // Writing to a text cannot fail.
        writeln!(self.0, "{line}").ok();
    }

    pub(super) fn gauge(&mut self, name: &str, help: &str) {
        self.head(name, help, "gauge");
    }

    pub(super) fn counter(&mut self, name: &str, help: &str) {
        self.head(name, help, "counter");
    }

    pub(super) fn histogram(&mut self, name: &str, help: &str) {
        self.head(name, help, "histogram");
    }

    /// A gauge with one value.
    pub(super) fn single(&mut self, name: &str, help: &str, value: u64) {
        self.gauge(name, help);
        self.value(name, &[], value);
    }

    pub(super) fn value(&mut self, name: &str, labels: &[(&str, &str)], value: impl Display) {
        let labels = written(labels);
        self.line(format_args!("{name}{labels} {value}"));
    }

    /// The values of a histogram: bounds with cumulative counts, all, sum.
    pub(super) fn buckets(
        &mut self,
        name: &str,
        labels: &[(&str, &str)],
        up_to: impl Iterator<Item = (String, u64)>,
        count: u64,
        sum: &str,
    ) {
        for (bound, count) in up_to.chain([("+Inf".to_owned(), count)]) {
            let all: Vec<_> = labels.iter().copied().chain([("le", bound.as_str())]).collect();
            self.value(&format!("{name}_bucket"), &all, count);
        }
        self.value(&format!("{name}_sum"), labels, sum);
        self.value(&format!("{name}_count"), labels, count);
    }

    pub(super) fn finish(self) -> String {
        self.0
    }
}

fn written(labels: &[(&str, &str)]) -> String {
    if labels.is_empty() {
        return String::new();
    }
    let escaped = |value: &str| value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
    let pairs: Vec<String> =
        labels.iter().map(|(name, value)| format!("{name}=\"{}\"", escaped(value))).collect();
    format!("{{{}}}", pairs.join(","))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_escaped_and_histograms_end_in_infinity() {
        let mut page = Page::default();
        page.counter("a_total", "What");
        page.value("a_total", &[("code", "x\"\\\ny")], 3);
        page.histogram("b", "Ages");
        page.buckets("b", &[("state", "s")], [("1".to_owned(), 2)].into_iter(), 5, "7.5");
        assert_eq!(
            page.finish(),
            "# HELP a_total What\n# TYPE a_total counter\na_total{code=\"x\\\"\\\\\\ny\"} 3\n\
             # HELP b Ages\n# TYPE b histogram\nb_bucket{state=\"s\",le=\"1\"} 2\n\
             b_bucket{state=\"s\",le=\"+Inf\"} 5\nb_sum{state=\"s\"} 7.5\nb_count{state=\"s\"} 5\n"
        );
    }
}
