//! What Prometheus scrapes. Names follow Cilium's (`policy_l7_total`) and OpenTelemetry's (`db_client_operation_duration`).
//!
//! Labels hold only words of our own and configured names, so the number of series has a bound.

use prometheus::{
    Encoder, Gauge, GaugeVec, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry,
    TextEncoder,
};

/// Every metric of the program; made once and shared.
pub struct Metrics {
    registry: Registry,
    /// Client connections now open, by listener.
    pub connections_active: IntGaugeVec,
    /// Client connections ended, by listener and how (`closed`, or a reason code).
    pub connections_total: IntCounterVec,
    /// SQL executions by what policy did: `received`, `forwarded`, `denied`, `observed`, `parse_errors`.
    pub policy_l7_total: IntCounterVec,
    /// Refusals and failures by reason code and whose failure it was.
    pub refusals_total: IntCounterVec,
    /// Time from forwarding a query to the end of its reply, by target and outcome.
    pub operation_duration: HistogramVec,
    /// Time that Tollhouse itself added before a query was forwarded: analysis, decision, durable record.
    pub admission_duration: Histogram,
    /// Bytes relayed in sessions that have ended, by direction (`to_target`, `to_client`).
    pub relayed_bytes: IntCounterVec,
    /// Loads of the policy set, by outcome (`loaded`, `rejected`, `unchanged`).
    pub policy_change_total: IntCounterVec,
    /// Policies in force.
    pub policies: IntGauge,
    /// 1 while the newest policy files are the ones in force, 0 after a rejected load.
    pub policy_current: IntGauge,
    /// Judged statements that dbt attributes, by what that is worth (`claimed`, `verified`, `mismatch`) and how they do not fit.
    pub dbt_statements_total: IntCounterVec,
    /// 1 while the newest manifest is the one in force, 0 after a rejected load or without one.
    pub manifest_current: IntGauge,
    /// Exchanges by kind and outcome (`ok` or a reason code).
    pub exchange_total: IntCounterVec,
    /// Steps of exchanges that were run, by kind of step and outcome (`ok`, or a reason code).
    pub exchange_steps_total: IntCounterVec,
    /// Time of an exchange with all its steps.
    pub exchange_duration: HistogramVec,
    /// Unix time at which the credential in use expires, by target.
    pub credential_expiry: GaugeVec,
    /// Unix time at which the credential in use was issued, by target.
    pub credential_issued: GaugeVec,
    /// Audit records written, by kind.
    pub audit_records_total: IntCounterVec,
    /// Time of one group commit.
    pub audit_commit_duration: Histogram,
    /// Records in one group commit.
    pub audit_commit_records: Histogram,
    /// Bytes appended to the audit log.
    pub audit_bytes_total: IntCounter,
    /// Queries admitted and not yet finished.
    pub audit_queries_in_flight: IntGauge,
    /// 1 while the audit log can promise durability.
    pub audit_writable: IntGauge,
    /// Bytes that may still be written to the file system of the audit log, as of its last checkpoint or failure.
    pub audit_filesystem_available: IntGauge,
    /// Bytes of the file system of the audit log.
    pub audit_filesystem_size: IntGauge,
    /// What the webhooks do.
    pub webhook: Webhook,
    /// Unix time at which the program started.
    pub start_time: Gauge,
}

const FAST_SECONDS: &[f64] = &[0.000_025, 0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.1, 1.0];
const QUERY_SECONDS: &[f64] = &[0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 30.0, 120.0, 600.0];

impl Metrics {
    /// Makes and registers every metric.
    ///
    /// # Errors
    /// Only if two metrics have one name, which is a bug.
    #[expect(clippy::too_many_lines, reason = "a table, one metric to a row")]
    pub fn new() -> Result<Self, prometheus::Error> {
        let make = Make(Registry::new_custom(Some("tollhouse".into()), None)?);
        let build = make.gauges("build_info", "Always 1; the version is a label.", &["version"])?;
        build.with_label_values(&[env!("CARGO_PKG_VERSION")]).set(1.0);
        Ok(Self {
            connections_active: make.int_gauges("connections_active", "Client connections now open.", &["listener"])?,
            connections_total: make.counters("connections_total", "Client connections ended.", &["listener", "outcome"])?,
            policy_l7_total: make.counters(
                "policy_l7_total",
                "SQL executions by what policy did: received, forwarded, denied, observed, parse_errors.",
                &["rule", "proxy_type"],
            )?,
            refusals_total: make.counters("refusals_total", "Refusals and failures by reason code.", &["reason", "blame"])?,
            operation_duration: make.histograms(
                "db_client_operation_duration_seconds",
                "Time from forwarding a query to the end of its reply.",
                &["target", "outcome"],
                QUERY_SECONDS,
            )?,
            admission_duration: make.histogram(
                "admission_duration_seconds",
                "Time added before a query is forwarded: analysis, decision, durable record.",
                FAST_SECONDS,
            )?,
            relayed_bytes: make.counters("relayed_bytes_total", "Bytes relayed in sessions that have ended.", &["direction"])?,
            policy_change_total: make.counters("policy_change_total", "Loads of the policy set.", &["outcome"])?,
            policies: make.int_gauge("policy", "Policies in force.")?,
            policy_current: make.int_gauge("policy_current", "1 while the newest policy files are in force.")?,
            dbt_statements_total: make.counters(
                "dbt_statements_total",
                "Judged statements that dbt attributes, by what that is worth: claimed, verified, mismatch and which.",
                &["standing", "mismatch"],
            )?,
            manifest_current: make.int_gauge("dbt_manifest_current", "1 while the newest dbt manifest is in force.")?,
            exchange_total: make.counters("credential_exchange_total", "Credential exchanges.", &["kind", "outcome"])?,
            exchange_steps_total: make.counters(
                "credential_exchange_steps_total",
                "Steps of credential exchanges that were run, by kind of step.",
                &["step", "outcome"],
            )?,
            exchange_duration: make.histograms(
                "credential_exchange_duration_seconds",
                "Time of a credential exchange with all its steps.",
                &["kind"],
                QUERY_SECONDS,
            )?,
            credential_expiry: make.gauges(
                "credential_expiry_timestamp_seconds",
                "Unix time at which the credential in use expires.",
                &["target"],
            )?,
            credential_issued: make.gauges(
                "credential_issued_timestamp_seconds",
                "Unix time at which the credential in use was issued: its age is the time since.",
                &["target"],
            )?,
            audit_records_total: make.counters("audit_records_total", "Audit records written.", &["kind"])?,
            audit_commit_duration: make.histogram("audit_commit_duration_seconds", "Time of one group commit.", FAST_SECONDS)?,
            audit_commit_records: make.histogram(
                "audit_commit_records",
                "Records in one group commit.",
                &[1.0, 2.0, 4.0, 8.0, 16.0, 64.0, 256.0, 1024.0],
            )?,
            audit_bytes_total: make.counter("audit_bytes_total", "Bytes appended to the audit log.")?,
            audit_queries_in_flight: make.int_gauge("audit_queries_in_flight", "Queries admitted and not yet finished.")?,
            audit_writable: make.int_gauge("audit_writable", "1 while the audit log can promise durability.")?,
            audit_filesystem_available: make.int_gauge(
                "audit_filesystem_available_bytes",
                "Bytes that may still be written to the file system of the audit log, as of its last checkpoint or failure.",
            )?,
            audit_filesystem_size: make.int_gauge("audit_filesystem_size_bytes", "Bytes of the file system of the audit log.")?,
            webhook: Webhook::new(&make)?,
            start_time: make.gauge("start_time_seconds", "Unix time at which the program started.")?,
            registry: make.0,
        })
    }

    /// Everything in Prometheus' text format.
    ///
    /// # Errors
    /// Only if a metric is inconsistent, which is a bug.
    pub fn render(&self) -> Result<Vec<u8>, prometheus::Error> {
        let mut text = Vec::new();
        TextEncoder::new().encode(&self.registry.gather(), &mut text)?;
        Ok(text)
    }
}

/// What the admission webhooks do.
pub struct Webhook {
    /// Pods that they judged, by what became of them (`injected`, `validated`, `skipped`, `refused`, `failed`) and why.
    pub injections_total: IntCounterVec,
    /// Time of one review, by webhook (`mutate`, `validate`).
    pub review_duration: HistogramVec,
    /// Unix time at which a certificate of theirs ends (`serving`, `authority`).
    pub certificate_expiry: GaugeVec,
}

impl Webhook {
    fn new(make: &Make) -> prometheus::Result<Self> {
        Ok(Self {
            injections_total: make.counters(
                "injections_total",
                "Pods that the webhooks judged, by what became of them and why.",
                &["outcome", "reason"],
            )?,
            review_duration: make.histograms(
                "admission_review_duration_seconds",
                "Time of one admission review.",
                &["webhook"],
                FAST_SECONDS,
            )?,
            certificate_expiry: make.gauges(
                "webhook_certificate_expiry_timestamp_seconds",
                "Unix time at which a certificate of the webhook ends.",
                &["certificate"],
            )?,
        })
    }
}

/// Makes a metric and registers it in one step.
struct Make(Registry);

impl Make {
    fn keep<C: prometheus::core::Collector + Clone + 'static>(&self, made: prometheus::Result<C>) -> prometheus::Result<C> {
        let collector = made?;
        self.0.register(Box::new(collector.clone()))?;
        Ok(collector)
    }

    fn counter(&self, name: &str, help: &str) -> prometheus::Result<IntCounter> {
        self.keep(IntCounter::new(name, help))
    }

    fn counters(&self, name: &str, help: &str, labels: &[&str]) -> prometheus::Result<IntCounterVec> {
        self.keep(IntCounterVec::new(Opts::new(name, help), labels))
    }

    fn gauge(&self, name: &str, help: &str) -> prometheus::Result<Gauge> {
        self.keep(Gauge::new(name, help))
    }

    fn gauges(&self, name: &str, help: &str, labels: &[&str]) -> prometheus::Result<GaugeVec> {
        self.keep(GaugeVec::new(Opts::new(name, help), labels))
    }

    fn int_gauge(&self, name: &str, help: &str) -> prometheus::Result<IntGauge> {
        self.keep(IntGauge::new(name, help))
    }

    fn int_gauges(&self, name: &str, help: &str, labels: &[&str]) -> prometheus::Result<IntGaugeVec> {
        self.keep(IntGaugeVec::new(Opts::new(name, help), labels))
    }

    fn histogram(&self, name: &str, help: &str, buckets: &[f64]) -> prometheus::Result<Histogram> {
        self.keep(Histogram::with_opts(HistogramOpts::new(name, help).buckets(buckets.to_vec())))
    }

    fn histograms(&self, name: &str, help: &str, labels: &[&str], buckets: &[f64]) -> prometheus::Result<HistogramVec> {
        self.keep(HistogramVec::new(HistogramOpts::new(name, help).buckets(buckets.to_vec()), labels))
    }
}

#[cfg(test)]
mod tests {
    use super::Metrics;
    use crate::golden::expect_file;

    #[test]
    fn the_published_list_is_current() {
        let metrics = Metrics::new().unwrap();
        metrics.touch();
        let mut page = String::from(
            "# Metrics\n\nWhat `/metrics` shows. Names follow Cilium's and OpenTelemetry's; times are in seconds, sizes in bytes. \
             Generated from\n`src/metrics.rs` (`make schema`).\n\n| name | type | labels | meaning |\n|---|---|---|---|\n",
        );
        for family in metrics.registry.gather() {
            let labels: Vec<_> = family.get_metric()[0].get_label().iter().map(|label| format!("`{}`", label.name())).collect();
            let kind = format!("{:?}", family.get_field_type()).to_lowercase();
            page.push_str(&format!("| `{}` | {kind} | {} | {} |\n", family.name(), labels.join(", "), family.help()));
        }
        expect_file("docs/METRICS.md", &page);
    }

    impl Metrics {
        /// Gives every metric with labels one series, because those without any are not shown.
        fn touch(&self) {
            self.connections_active.with_label_values(&[""]);
            self.connections_total.with_label_values(&["", ""]);
            self.policy_l7_total.with_label_values(&["", ""]);
            self.refusals_total.with_label_values(&["", ""]);
            self.operation_duration.with_label_values(&["", ""]);
            self.relayed_bytes.with_label_values(&[""]);
            self.policy_change_total.with_label_values(&[""]);
            self.dbt_statements_total.with_label_values(&["", ""]);
            self.exchange_total.with_label_values(&["", ""]);
            self.exchange_steps_total.with_label_values(&["", ""]);
            self.exchange_duration.with_label_values(&[""]);
            self.credential_expiry.with_label_values(&[""]);
            self.credential_issued.with_label_values(&[""]);
            self.audit_records_total.with_label_values(&[""]);
            self.webhook.injections_total.with_label_values(&["", ""]);
            self.webhook.review_duration.with_label_values(&[""]);
            self.webhook.certificate_expiry.with_label_values(&[""]);
        }
    }
}
