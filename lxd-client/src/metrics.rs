//! Metrics, read from the text that servers tell them in: OpenMetrics, and the older one of Prometheus. What a
//! metric means is left to the server.

use std::collections::BTreeMap;
use std::str::FromStr;

use crate::error::Error;

/// What a server measures (`GET /1.0/metrics`), read from its text.
///
/// ```
/// use lxd_client::Metrics;
///
/// let text = "# TYPE lxd_memory_MemFree_bytes gauge\n\
///             lxd_memory_MemFree_bytes{name=\"t1\",project=\"default\"} 4096\n";
/// let metrics: Metrics = text.parse()?;
/// let free = &metrics.families["lxd_memory_MemFree_bytes"].samples[0];
/// assert_eq!((free.labels["name"].as_str(), free.value), ("t1", 4096.0));
/// # Ok::<(), lxd_client::Error>(())
/// ```
///
/// Of a server, that is `lxd.metrics().await?.parse::<Metrics>()?`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Metrics {
    /// The metrics by their names.
    pub families: BTreeMap<String, MetricFamily>,
}

/// A metric, with what is measured of it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct MetricFamily {
    /// What it means, in the server's words.
    pub help: String,
    /// Its kind, such as `counter` or `gauge`.
    pub kind: String,
    /// What is measured, in the order of the text.
    pub samples: Vec<MetricSample>,
}

/// Something that is measured.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct MetricSample {
    /// Its name: that of the metric, where it has no ending such as `_total` or `_bucket`.
    pub name: String,
    /// Of what it is measured, such as the `name` and the `project` of an instance.
    pub labels: BTreeMap<String, String>,
    /// How much, in the unit that the name tells.
    pub value: f64,
}

/// What the names of samples have behind that of their metric.
const ENDINGS: [&str; 8] = ["", "_total", "_created", "_bucket", "_count", "_sum", "_gsum", "_info"];

impl FromStr for Metrics {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let mut metrics = Self::default();
        // That which the lines before were about.
        let mut family = String::new();
        for (number, line) in text.lines().enumerate() {
            let line = line.trim();
            if let Some(comment) = line.strip_prefix('#') {
                let mut words = comment.trim_start().splitn(3, ' ');
                let (what, name) = (words.next(), words.next().unwrap_or_default());
                let rest = words.next().unwrap_or_default().trim();
                match what {
                    Some("HELP") => metrics.family(&mut family, name).help = unescaped(rest),
                    Some("TYPE") => metrics.family(&mut family, name).kind = rest.to_owned(),
                    // A unit, the end, or a remark.
                    _ => {}
                }
            } else if !line.is_empty() {
                let sample = sample(line).ok_or_else(|| {
                    let shown: String = line.chars().take(100).collect();
                    Error::decode("metrics".into(), format!("line {} is none: {shown}", number + 1))
                })?;
                let belongs = ENDINGS.iter().any(|ending| sample.name.strip_suffix(ending) == Some(&family));
                let name = if belongs { family.clone() } else { sample.name.clone() };
                metrics.family(&mut family, &name).samples.push(sample);
            }
        }
        Ok(metrics)
    }
}

impl Metrics {
    /// A metric, which the lines are about from now on.
    fn family(&mut self, current: &mut String, name: &str) -> &mut MetricFamily {
        name.clone_into(current);
        self.families.entry(name.to_owned()).or_default()
    }
}

/// Reads `NAME{LABEL="TEXT",…} VALUE`; what may be behind that (a time, an example) is left out.
fn sample(line: &str) -> Option<MetricSample> {
    let end = line.find(|letter: char| letter == '{' || letter.is_whitespace())?;
    let (name, mut rest) = line.split_at(end);
    let mut labels = BTreeMap::new();
    if let Some(inner) = rest.strip_prefix('{') {
        rest = inner.trim_start();
        while !rest.starts_with('}') {
            let (label, behind) = rest.split_once('=')?;
            let quoted = behind.trim_start().strip_prefix('"')?;
            let end = closing_quote(quoted)?;
            labels.insert(label.trim().to_owned(), unescaped(&quoted[..end]));
            rest = quoted[end + 1..].trim_start();
            rest = rest.strip_prefix(',').unwrap_or(rest).trim_start();
        }
        rest = &rest[1..];
    }
    let value = rest.split_whitespace().next()?.parse().ok()?;
    (!name.is_empty()).then(|| MetricSample { name: name.to_owned(), labels, value })
}

/// Where a text in quotes ends.
fn closing_quote(text: &str) -> Option<usize> {
    let mut escaped = false;
    text.char_indices().find_map(|(at, letter)| {
        let ends = letter == '"' && !escaped;
        escaped = letter == '\\' && !escaped;
        ends.then_some(at)
    })
}

fn unescaped(text: &str) -> String {
    let (mut plain, mut letters) = (String::with_capacity(text.len()), text.chars());
    while let Some(letter) = letters.next() {
        match letter {
            '\\' => match letters.next() {
                Some('n') => plain.push('\n'),
                Some(other) => plain.push(other),
                None => plain.push('\\'),
            },
            letter => plain.push(letter),
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::{MetricSample, Metrics};

    #[test]
    fn text_becomes_metrics() {
        let text = "# HELP lxd_cpu_seconds_total The \\\\ time\\nof it.\n\
            # TYPE lxd_cpu_seconds_total counter\n\
            lxd_cpu_seconds_total{cpu=\"0\", mode = \"us\\\"er\\\\\",} 1.5e3 1700000000\n\
            \r\n\
            lxd_cpu_seconds_total 0\n\
            # TYPE requests histogram\n\
            # UNIT requests seconds\n\
            requests_bucket{le=\"+Inf\"} 3 # {trace=\"x\"} 0.5\n\
            requests_sum{} NaN\n\
            alone{a=\"}, b=\"} +Inf\n\
            # EOF\n";
        let metrics: Metrics = text.parse().unwrap();
        assert_eq!(
            metrics.families.keys().collect::<Vec<_>>(),
            ["alone", "lxd_cpu_seconds_total", "requests"]
        );
        let cpu = &metrics.families["lxd_cpu_seconds_total"];
        assert_eq!((cpu.help.as_str(), cpu.kind.as_str()), ("The \\ time\nof it.", "counter"));
        let labels = [("cpu", "0"), ("mode", "us\"er\\")].map(|(key, value)| (key.into(), value.into()));
        let name = "lxd_cpu_seconds_total".to_owned();
        let expected = [
            MetricSample { name: name.clone(), labels: labels.into(), value: 1500.0 },
            MetricSample { name, ..Default::default() },
        ];
        assert_eq!(cpu.samples, expected);
        let requests = &metrics.families["requests"];
        assert_eq!((requests.kind.as_str(), requests.samples.len()), ("histogram", 2));
        assert_eq!((requests.samples[0].name.as_str(), requests.samples[0].value), ("requests_bucket", 3.0));
        assert!(requests.samples[1].value.is_nan());
        let alone = &metrics.families["alone"];
        assert_eq!((alone.kind.as_str(), alone.samples[0].value), ("", f64::INFINITY));
        assert_eq!(alone.samples[0].labels["a"], "}, b=");
    }

    #[test]
    fn what_is_none_is_told_with_its_line() {
        for line in
            ["x", "x{", "x{a}", "x{a=b} 1", "x{a=\"b} 1", "x{a=\"b\\\"} 1", "x{a=\"é\"} y", "{} 1", "x{} "]
        {
            let error = format!("a 1\n{line}\n").parse::<Metrics>().unwrap_err();
            assert!(error.to_string().contains("line 2 is none"), "{line}: {error}");
        }
        assert_eq!("".parse::<Metrics>().unwrap(), Metrics::default());
        assert_eq!("#\n# \n#HELP\n# é è\n".parse::<Metrics>().unwrap().families.len(), 1);
    }
}
