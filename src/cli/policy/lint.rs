//! `tollhouse policy lint`: what is wrong or probably not meant in policy documents.

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::bail;
use clap::{Args, ValueEnum};
use serde_json::{Value, json};

use crate::policy::lint::{CHECKS, Check, Finding, Severity, lint};
use crate::serve::policies::Texts;

/// Find what is wrong or probably not meant in policies, Cilium's as well as ours.
///
/// Each finding has its place, why it matters, and the fix. Documents are looked at together, as they would be in force;
/// nothing is put in force. Exit code 0: no errors; 1: errors.
///
/// Lists as Kubernetes prints them are read too, so that a namespace can be looked at as it is:
/// `kubectl get whp,cwhp,cnp,ccnp -o yaml | tollhouse policy lint /dev/stdin`.
#[derive(Args)]
pub(super) struct Command {
    /// Files, and directories whose `.yaml` and `.yml` files are read.
    #[arg(required = true, value_name = "PATH")]
    paths: Vec<PathBuf>,
    /// How findings are written.
    #[arg(long, value_enum, default_value = "text")]
    output: Output,
}

#[derive(Clone, Copy, ValueEnum)]
enum Output {
    /// For people.
    Text,
    /// One object with a list of findings.
    Json,
    /// SARIF 2.1.0, which code hosts show beside the lines.
    Sarif,
}

impl Command {
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        let texts = match Texts::read(&self.paths) {
            Ok(texts) => texts,
            Err(problems) => bail!("{}", problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")),
        };
        let findings = lint(&texts.sources());
        let mut out = io::stdout().lock();
        match self.output {
            Output::Text => out.write_all(text(&findings).as_bytes())?,
            Output::Json => writeln!(out, "{:#}", json!({ "findings": findings.iter().map(object).collect::<Vec<_>>() }))?,
            Output::Sarif => writeln!(out, "{:#}", sarif(&findings))?,
        }
        let has_errors = findings.iter().any(|finding| finding.check.severity == Severity::Error);
        Ok(if has_errors { ExitCode::FAILURE } else { ExitCode::SUCCESS })
    }
}

fn text(findings: &[Finding]) -> String {
    let mut text = String::new();
    for Finding { check, file, line, path, message } in findings {
        let place = line.map_or_else(|| file.clone(), |line| format!("{file}:{line}"));
        let path = if path.is_empty() { String::new() } else { format!(" {path}:") };
        text.push_str(&format!("{place}: {} [{}]{path} {message}\n", word(check), check.code));
        text.push_str(&format!("    why: {}\n    fix: {}\n", check.why, check.fix));
    }
    let count = |severity| findings.iter().filter(|finding| finding.check.severity == severity).count();
    let [errors, warnings, notes] = [Severity::Error, Severity::Warning, Severity::Note].map(count);
    text.push_str(&format!("errors {errors}, warnings {warnings}, notes {notes}\n"));
    text
}

/// The word of SARIF's `level` (SARIF 2.1.0, section 3.27.10).
fn word(check: &Check) -> &'static str {
    match check.severity {
        Severity::Error => "error",
        Severity::Warning => "warning",
        Severity::Note => "note",
    }
}

fn object(finding: &Finding) -> Value {
    let Finding { check, file, line, path, message } = finding;
    json!({
        "code": check.code, "severity": word(check), "file": file, "line": line, "path": path,
        "message": message, "why": check.why, "fix": check.fix,
    })
}

fn sarif(findings: &[Finding]) -> Value {
    let rule = |check: &&Check| {
        json!({
            "id": check.code,
            "shortDescription": { "text": check.why },
            "help": { "text": check.fix },
            "defaultConfiguration": { "level": word(check) },
        })
    };
    let result = |finding: &Finding| {
        let mut place = json!({ "artifactLocation": { "uri": finding.file.replace('\\', "/") } });
        if let (Some(line), Some(place)) = (finding.line, place.as_object_mut()) {
            place.insert("region".to_owned(), json!({ "startLine": line }));
        }
        json!({
            "ruleId": finding.check.code,
            "level": word(finding.check),
            "message": { "text": format!("{}; {}", finding.message, finding.check.fix) },
            "locations": [{ "physicalLocation": place, "logicalLocations": [{ "fullyQualifiedName": finding.path }] }],
        })
    };
    json!({
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [{
            "tool": { "driver": {
                "name": "tollhouse policy lint",
                "version": env!("CARGO_PKG_VERSION"),
                "rules": CHECKS.iter().map(rule).collect::<Vec<_>>(),
            } },
            "results": findings.iter().map(result).collect::<Vec<_>>(),
        }],
    })
}

#[cfg(test)]
mod tests {
    use super::{object, sarif, text};
    use crate::golden::expect_file;
    use crate::policy::Source;
    use crate::policy::lint::lint;

    #[test]
    fn findings_are_written_for_people_and_for_programs() {
        let text_of = |name: &str| std::fs::read_to_string(format!("{}/tests/data/lint/{name}", env!("CARGO_MANIFEST_DIR"))).unwrap();
        let (one, other) = (text_of("empty-fqdns.yaml"), text_of("shadowed.yaml"));
        let sources = [Source { file: "empty-fqdns.yaml", text: &one }, Source { file: "shadowed.yaml", text: &other }];
        let findings = lint(&sources);
        assert!(findings.len() >= 2);
        expect_file("tests/data/lint/report.txt", &text(&findings));
        let json = serde_json::json!({ "findings": findings.iter().map(object).collect::<Vec<_>>() });
        expect_file("tests/data/lint/report.json", &format!("{json:#}\n"));
        expect_file("tests/data/lint/report.sarif", &format!("{:#}\n", sarif(&findings)));
    }
}
