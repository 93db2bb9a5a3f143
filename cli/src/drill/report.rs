//! What came of drills, as a page for people and as JSON.

use crate::collect::utc;
use outpost_qemu::{Accel, Machine};
use serde_json::{Value, json};
use std::fmt::Write;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// One thing that must follow, and whether it did.
#[derive(Clone, Debug)]
pub(super) struct Step {
    /// `detect`, `show`, `notify`, `recover` ...
    pub step: &'static str,
    /// What was looked for.
    pub what: String,
    /// How long after the trouble, or after its end, it was seen.
    pub after: Option<Duration>,
    pub within: Duration,
}

impl Step {
    pub(super) fn passed(&self) -> bool {
        self.after.is_some_and(|after| after <= self.within)
    }
}

/// What came of one scenario.
#[derive(Clone, Debug)]
pub(super) struct Outcome {
    pub scenario: &'static str,
    /// When the trouble was made.
    pub at: SystemTime,
    /// What was really done.
    pub done: &'static str,
    /// What nobody can see in it, and why.
    pub note: &'static str,
    pub steps: Vec<Step>,
}

impl Outcome {
    fn passed(&self) -> bool {
        !self.steps.is_empty() && self.steps.iter().all(Step::passed)
    }

    fn at(&self) -> String {
        let since = self.at.duration_since(UNIX_EPOCH).unwrap_or_default();
        utc(i64::try_from(since.as_micros()).unwrap_or(i64::MAX))
    }
}

/// All of them.
pub(super) struct Report {
    machine: Machine,
    accel: Accel,
    outcomes: Vec<Outcome>,
}

impl Report {
    pub(super) fn new(machine: Machine, accel: Accel) -> Report {
        Report { machine, accel, outcomes: Vec::new() }
    }

    pub(super) fn add(&mut self, outcome: Outcome) {
        self.outcomes.push(outcome);
    }

    /// Whether everything was seen in time.
    pub(super) fn passed(&self) -> bool {
        !self.outcomes.is_empty() && self.outcomes.iter().all(Outcome::passed)
    }

    pub(super) fn json(&self) -> Value {
        let ms = |duration: Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
        let step = |step: &Step| {
            json!({
                "step": step.step, "what": step.what, "after_ms": step.after.map(ms), "within_ms": ms(step.within),
                "passed": step.passed(),
            })
        };
        let outcome = |outcome: &Outcome| {
            json!({
                "scenario": outcome.scenario, "at": outcome.at(), "passed": outcome.passed(), "done": outcome.done,
                "note": outcome.note, "steps": outcome.steps.iter().map(step).collect::<Vec<_>>(),
            })
        };
        json!({
            "exercise": true, "passed": self.passed(), "version": env!("CARGO_PKG_VERSION"),
            "machine": self.machine.to_string(), "accel": self.accel.to_string(),
            "drills": self.outcomes.iter().map(outcome).collect::<Vec<_>>(),
        })
    }

    pub(super) fn markdown(&self) -> String {
        let word = |passed: bool| if passed { "passed" } else { "FAILED" };
        let mut out = format!(
            "# Drill: {}\n\nAn exercise on {} under {}, with an agent, targets, a collector and a receiver of \
             notifications of its own (outpost {}).\n",
            word(self.passed()),
            self.machine,
            self.accel,
            env!("CARGO_PKG_VERSION"),
        );
        for outcome in &self.outcomes {
            let _ = write!(
                out,
                "\n## {}: {}\n\n{} At {}.\n\n| step | what was to be seen | after | within | |\n|---|---|---:|---:|---|\n",
                outcome.scenario,
                word(outcome.passed()),
                outcome.done,
                outcome.at(),
            );
            for step in &outcome.steps {
                let after = step.after.map_or("not seen".to_owned(), |after| format!("{:.1} s", after.as_secs_f64()));
                let (within, word) = (step.within.as_secs(), word(step.passed()));
                let _ = writeln!(out, "| {} | {} | {after} | {within} s | {word} |", step.step, step.what);
            }
            if !outcome.note.is_empty() {
                let _ = write!(out, "\n{}\n", outcome.note);
            }
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_late_or_never_seen_fails_the_drill() {
        // A drill that passes by what it did not see is worse than none.
        let step = |after: Option<u64>| Step {
            step: "detect",
            what: "it".to_owned(),
            after: after.map(Duration::from_secs),
            within: Duration::from_secs(5),
        };
        let report = |steps: Vec<Step>| {
            let mut report = Report::new(Machine::Microvm, Accel::Tcg);
            report.add(Outcome { scenario: "x", at: UNIX_EPOCH, done: "It.", note: "", steps });
            report
        };
        assert!(report(vec![step(Some(5))]).passed());
        assert!(!report(vec![step(Some(5)), step(Some(6))]).passed());
        assert!(!report(vec![step(None)]).passed());
        assert!(!report(vec![]).passed());
        assert!(!Report::new(Machine::Microvm, Accel::Tcg).passed());
        let page = report(vec![step(None)]).markdown();
        assert!(
            page.starts_with("# Drill: FAILED\n") && page.contains("| detect | it | not seen | 5 s | FAILED |"),
            "{page}"
        );
    }
}
