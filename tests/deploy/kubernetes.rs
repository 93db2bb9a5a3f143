//! `deploy/kubernetes/` against what KubeVirt, Kubernetes and the Prometheus operator publish of their objects.

use crate::host::{Ran, beside, find};
use crate::support::{Why, left_out};
use std::fs;
use std::path::Path;
use std::process::Command;

/// Where set-up puts packages of npm.
const PACKAGES: &str = "target/node";

fn judge(documents: &Path) -> Ran {
    let mut command = Command::new("node");
    command.arg(beside("tests/deploy/kubernetes.mjs")).arg(documents).arg(beside(PACKAGES).canonicalize().unwrap());
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    Ran { code: output.status.code().unwrap_or(-1), said }
}

/// A misspelt probe is dropped or refused by the cluster, long after it was written.
#[test]
fn the_objects_are_what_their_projects_publish() {
    const NAME: &str = "kubernetes::the_objects_are_what_their_projects_publish";
    let installed = beside(PACKAGES).join("node_modules/@kubevirt-ui-ext").exists() && find("node").is_some();
    if !installed {
        return left_out(
            Why::Skipped,
            NAME,
            "node, or its packages in target/node, are not installed: scripts/setup test",
        );
    }
    let shipped = beside("deploy/kubernetes/outpost.yaml");
    let ran = judge(&shipped);
    assert_eq!((ran.code, ran.said.trim()), (0, "4 documents"));

    // The container image has the two files where the domain looks for them.
    let mut text = fs::read_to_string(shipped).unwrap();
    let container = fs::read_to_string(beside("deploy/kubernetes/Containerfile")).unwrap();
    assert!(container.contains("outpost.elf config.json /boot/\n"), "{container}");
    assert!(text.contains("kernelPath: /boot/outpost.elf\n") && text.contains("initrdPath: /boot/config.json\n"));

    // Would it see a mistake, of each kind?
    for (right, wrong) in [
        ("readinessProbe", "readynessProbe"),
        ("targetPort: 80", "targetPort: {}"),
        ("policyTypes: [Ingress]", "policyTypes: Ingress"),
        ("interval: 15s", "interval: soon"),
    ] {
        assert!(text.contains(right), "{right}");
        text = text.replace(right, wrong);
    }
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("wrong.yaml"), text).unwrap();
    let ran = judge(&folder.path().join("wrong.yaml"));
    assert_eq!(ran.code, 1, "{}", ran.said);
    for word in ["readynessProbe", "targetPort", "policyTypes", "interval"] {
        assert!(ran.said.contains(word), "{word}: {}", ran.said);
    }
}
