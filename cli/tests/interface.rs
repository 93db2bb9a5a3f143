//! `schema/` describes the interface that the image has, path by path; and the judge that holds answers against it
//! can say no.

#[path = "../../tests/support/openapi.rs"]
mod openapi;
#[path = "../../tests/support/mod.rs"]
mod support;

use boon::{Compiler, Schemas};
use openapi::{Interface, Seen, documents};
use outpost::http::routes::Route;
use serde_json::Value;
use std::collections::BTreeSet;
use std::process::Command;
use support::{Why, left_out};

#[test]
fn every_route_is_described_and_every_path_is_a_route() {
    // A path that nobody can look up is used by nobody, or wrongly; one that is described and gone breaks programs.
    let unnamed = [Route::Server, Route::NotFound];
    let routes = Route::ALL.into_iter().filter(|route| !unnamed.contains(route));
    let template = |route: Route| {
        route
            .name()
            .replace("schema/*", "schema/{document}")
            .replace("runbook/*", "runbook/{name}")
            .replace("beat/*", "beat/{token}")
            .replace("badge/*", "badge/{check}.svg")
            .replace("api/v2/*", "api/v2/summary.json")
            .replace('*', "{check}")
    };
    let routed: BTreeSet<String> = routes.clone().map(template).collect();
    let interface = Interface::get();
    let (documents, described): (BTreeSet<String>, BTreeSet<String>) = interface
        .paths()
        .keys()
        .cloned()
        .partition(|path| path.starts_with("/api/v2/") && path != "/api/v2/summary.json");
    assert_eq!(described, routed);
    assert_eq!(documents.len(), 7);
    for path in documents {
        assert_eq!(Route::find(path.as_bytes(), b"").0, Route::Statuspage, "{path}");
        assert_eq!(interface.paths()[&path]["get"]["tags"], serde_json::json!(["public"]), "{path}");
    }
    for route in routes {
        let path = &interface.paths()[&template(route)];
        let group = if route.is_operator() { "operator" } else { "public" };
        for method in ["get", "head", "options"] {
            assert_eq!(path[method]["tags"], serde_json::json!([group]), "{method} {}", route.name());
        }
    }
}

#[test]
fn every_document_is_found_by_its_name_and_is_a_schema() {
    // A document in the folder that the image does not serve, or a schema that no program can load.
    let (mut compiler, mut schemas) = (Compiler::new(), Schemas::new());
    let all = documents();
    assert!(all.len() >= 6, "{all:?}");
    for (name, document) in &all {
        let (route, query) = Route::find(format!("/schema/{name}").as_bytes(), b"");
        assert!(route == Route::Schema && query.document.is_some(), "{name}");
        compiler.add_resource(&format!("http://outpost/{name}"), document.clone()).unwrap();
    }
    for (name, document) in all.iter().filter(|(name, _)| name != "openapi.json") {
        compiler.compile(&format!("http://outpost/{name}"), &mut schemas).unwrap_or_else(|error| panic!("{error:#}"));
        assert!(document["title"].is_string(), "{name} has no title");
    }
    for nothing in ["/schema/x.json", "/schema/status", "/schema//", "/schema/status.json/", "/schemas"] {
        assert_eq!(Route::find(nothing.as_bytes(), b"").0, Route::NotFound, "{nothing}");
    }
    for list in ["/schema", "/schema/", "/%73chema/"] {
        assert_eq!(Route::find(list.as_bytes(), b"").0, Route::Schemas, "{list}");
    }
}

#[test]
fn the_judge_can_say_no() {
    // One that lets everything pass would make every other test of answers worthless.
    let heads = |media: &str, more: &[(&str, &str)]| -> Vec<(String, String)> {
        let fixed = [("content-type", media), ("cache-control", "no-store"), ("x-content-type-options", "nosniff")];
        let all = fixed.iter().chain([("x-request-id", "a-1")].iter()).chain(more);
        all.map(|(name, value)| ((*name).into(), (*value).into())).collect()
    };
    let judge = |method, target, status, headers: &[(String, String)], body: &str| {
        Interface::get().judge(&Seen { method, target, status, headers, body: body.as_bytes() })
    };
    let next = r#"{"next":1,"boot":"00000000000000ab","earlier_boots":[]}"#;
    let lines = heads("application/x-ndjson", &[]);
    let text = heads("text/plain; charset=utf-8", &[]);
    assert_eq!(judge("GET", "/livez", 200, &text, "ok"), Ok(()));
    assert_eq!(judge("HEAD", "/events?limit=1", 200, &lines, ""), Ok(()));
    assert_eq!(judge("GET", "/events?limit=1", 200, &lines, next), Ok(()));
    assert_eq!(judge("GET", "/nothing", 404, &text, "no"), Ok(()));
    for (method, target, status, headers, body) in [
        ("GET", "/nothing", 200, &text, "ok"),
        ("GET", "/livez", 403, &text, "ok"),
        ("GET", "/livez", 200, &lines, next),
        ("GET", "/livez", 200, &heads("text/plain", &[("server", "x")]), "ok"),
        ("GET", "/livez", 503, &text, "no Retry-After"),
        ("GET", "/livez", 200, &text[..2].to_vec(), "ok"),
        ("GET", "/livez", 200, &heads("text/plain", &[("connection", "maybe")]), "ok"),
        ("HEAD", "/livez", 200, &text, "ok"),
        ("PUT", "/livez", 200, &text, "ok"),
        ("GET", "/events", 200, &lines, r#"{"next":1}"#),
        ("GET", "/events", 200, &lines, "{}\n"),
        ("GET", "/status", 200, &heads("application/json", &[]), "{}"),
    ] {
        assert!(judge(method, target, status, headers, body).is_err(), "{method} {target} {status} {body}");
    }
}

#[test]
fn the_configuration_in_force_has_every_key_and_no_secret() {
    // A new key would be left out of the answer's schema, or a secret shown in it.
    let documents: std::collections::HashMap<String, Value> = documents().into_iter().collect();
    let keys = |value: &Value| value.as_object().unwrap().keys().cloned().collect::<BTreeSet<_>>();
    let (given, shown) = (&documents["config.json"]["properties"], &documents["config-in-force.json"]);
    let shown = &shown["properties"]["config"]["properties"];
    // Checks are too many for this answer: it says how many, and /status shows each.
    let mut with_checks = keys(shown);
    with_checks.insert("checks".into());
    assert_eq!(keys(given), with_checks);
    let hidden = |value: &Value| value["const"] == "(secret)";
    for (name, property) in given["collector"]["properties"].as_object().unwrap() {
        let secret = property["writeOnly"] == true;
        assert_eq!(hidden(&shown["collector"]["properties"][name]), secret, "{name}");
    }
    for (name, property) in given.as_object().unwrap().iter().filter(|(name, _)| *name != "collector") {
        assert!(!property.to_string().contains("writeOnly"), "{name}: it must be redacted in config-in-force.json");
    }
}

#[test]
fn the_document_is_openapi_by_its_own_meta_schema() {
    // Generators and gateways refuse a document that only looks like OpenAPI: a path parameter was missing once.
    let root = openapi::folder().join("..");
    let check = |document: &std::path::Path| {
        let python = root.join("target/python/bin/python");
        Command::new(python).args(["-I", "-m", "openapi_spec_validator"]).arg(document).output()
    };
    match check(&openapi::folder().join("openapi.json")) {
        Ok(output) if String::from_utf8_lossy(&output.stderr).contains("No module named") => {
            left_out(
                Why::Skipped,
                "openapi meta-schema",
                "openapi-spec-validator is not in target/python: scripts/setup test",
            );
        }
        Ok(output) => assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout)),
        Err(error) => {
            left_out(Why::Skipped, "openapi meta-schema", &format!("no target/python ({error}): scripts/setup test"))
        }
    }
    let folder = tempfile::tempdir().unwrap();
    let broken = folder.path().join("broken.json");
    std::fs::write(&broken, r#"{"openapi": "3.1.1", "paths": {}}"#).unwrap();
    assert!(check(&broken).map_or(true, |output| !output.status.success()), "a document without info passes");
}
