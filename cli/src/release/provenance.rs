//! Where the files of a release come from: an in-toto statement with a SLSA provenance predicate, both version 1.
//!
//! It names no time, no host and no path, so two builds of one commit by one builder tell the same. It is signed with the
//! rest: SHA256SUMS has a line for it.

use super::{Listed, source::Source};
use serde_json::{Value, json};
use std::path::Path;

/// What the parameters mean: docs/verify.md tells it.
const BUILD_TYPE: &str = "urn:outpost:build:v1";

/// The statement about these files, as text.
pub fn statement(
    root: &Path,
    source: &Source,
    builder: &str,
    command: &str,
    files: &[Listed],
) -> Result<String, String> {
    let digest = |sha256: &str| json!({ "sha256": sha256 });
    let file = |name: &str| super::read(&root.join(name)).map(|bytes| super::sha256(&bytes));
    let mut commit = json!({ "name": "source", "digest": { "gitCommit": source.commit } });
    if let Some(origin) = &source.origin {
        commit["uri"] = json!(format!("git+{origin}@{}", source.commit));
    }
    let rustc = json!({
        "name": "rustc",
        "uri": format!("pkg:generic/rustc@{}", source.rustc),
        "digest": { "gitCommit": source.rustc_commit },
    });
    let mut materials = vec![commit, rustc];
    for name in ["Cargo.lock", "rust-toolchain.toml", ".cargo/config.toml"] {
        materials.push(json!({ "name": name, "digest": digest(&file(name)?) }));
    }
    let subject: Vec<Value> =
        files.iter().map(|file| json!({ "name": file.name, "digest": digest(&file.sha256) })).collect();
    let statement = json!({
        "_type": "https://in-toto.io/Statement/v1",
        "subject": subject,
        "predicateType": "https://slsa.dev/provenance/v1",
        "predicate": {
            "buildDefinition": {
                "buildType": BUILD_TYPE,
                "externalParameters": { "command": command, "revision": source.revision() },
                "internalParameters": {
                    "toolchain": format!("rustc {} ({})", source.rustc, source.rustc_commit),
                    "uncommittedChanges": source.changed,
                },
                "resolvedDependencies": materials,
            },
            "runDetails": { "builder": { "id": builder, "version": { "outpost": env!("CARGO_PKG_VERSION") } } },
        },
    });
    Ok(format!("{statement:#}\n"))
}
