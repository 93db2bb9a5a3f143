//! `outpost incident`: what it writes every agent takes, what must not be said is refused, and a file that is there is
//! replaced as a whole or not at all.

use serde_json::Value;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output};

const OUTPOST: &str = env!("CARGO_BIN_EXE_outpost");

fn run(folder: &Path, arguments: &[&str]) -> (Option<i32>, String, String) {
    let output: Output = Command::new(OUTPOST).arg("incident").args(arguments).current_dir(folder).output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code(), text(&output.stdout), text(&output.stderr))
}

/// A folder with a key; gives the public one.
fn folder() -> (tempfile::TempDir, String) {
    let folder = tempfile::tempdir().unwrap();
    let (code, public, said) = run(folder.path(), &["keygen"]);
    assert_eq!(code, Some(0), "{said}");
    (folder, public.trim().to_owned())
}

fn good(folder: &Path, arguments: &[&str]) {
    let (code, _, said) = run(folder, arguments);
    assert_eq!(code, Some(0), "{arguments:?}: {said}");
}

fn shown(folder: &Path) -> Value {
    let (code, out, said) = run(folder, &["show", "i.json", "--json"]);
    assert_eq!(code, Some(0), "{said}");
    serde_json::from_str(&out).unwrap()
}

const NEW: &[&str] =
    &["new", "i.json", "--id", "pay-1", "--title", "Payments fail", "--impact", "major", "--target", "shop"];

#[test]
fn an_incident_from_its_begin_to_its_postmortem() {
    // At night nobody reads a manual: each step must work as the one before says, and agents must take what comes of it.
    let (folder, public) = folder();
    let folder = folder.path();
    good(folder, &[NEW, &["--next-update", "30m"]].concat());
    let document = shown(folder);
    assert_eq!(document["revision"], 1);
    let update = &document["incidents"][0]["updates"][0];
    assert_eq!(
        (&update["status"], &update["text"]),
        (&"investigating".into(), &"We are investigating: Payments fail. Affected: shop.".into())
    );
    assert!(update["next_update_at"].as_str() > update["posted_at"].as_str(), "{update}");
    let text = "We have identified the cause: a certificate that ran out at 09:00 UTC.";
    good(folder, &["update", "i.json", "pay-1", "--status", "identified", "--text", text, "--next-update", "1h"]);
    let (code, _, said) = run(folder, &["postmortem", "i.json", "pay-1", "--text", "x"]);
    assert!(code == Some(1) && said.contains("is not resolved yet: outpost incident resolve"), "{said}");
    good(folder, &["resolve", "i.json", "pay-1"]);

    let (code, template, _) = run(folder, &["postmortem", "i.json", "pay-1", "--template"]);
    assert!(code == Some(0) && template.starts_with("I am sorry. "), "{template}");
    assert!(["What failed: ", "Why: ", "What we do: "].iter().all(|part| template.contains(part)), "{template}");
    fs::write(folder.join("pm.txt"), &template).unwrap();
    let (code, _, said) = run(folder, &["postmortem", "i.json", "pay-1", "--text-file", "pm.txt"]);
    assert!(code == Some(1) && said.contains("still has a blank: [Whom it hit"), "{said}");
    let mut filled = template;
    while let (Some(from), Some(to)) = (filled.find('['), filled.find(']')) {
        filled.replace_range(from..=to, "A disk was full.");
    }
    fs::write(folder.join("pm.txt"), &filled).unwrap();
    good(folder, &["postmortem", "i.json", "pay-1", "--text-file", "pm.txt"]);
    let document = shown(folder);
    let statuses: Vec<&Value> =
        document["incidents"][0]["updates"].as_array().unwrap().iter().map(|one| &one["status"]).collect();
    assert_eq!(statuses, ["investigating", "identified", "resolved", "postmortem"]);
    assert_eq!(document["revision"], 4);

    let (code, out, _) = run(folder, &["verify", "i.json", "--public-key", &public]);
    assert_eq!((code, &out[..]), (Some(0), "good: revision 4, an agent with this key takes it\n"));
    let mode = fs::metadata(folder.join("i.json")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o644, "a web server could not read it");
}

#[test]
fn an_end_that_is_promised_and_a_guess_are_refused() {
    let (folder, _) = folder();
    let folder = folder.path();
    good(folder, NEW);
    let before = fs::read(folder.join("i.json")).unwrap();
    for (text, said) in [
        ("This should be fixed in 20 minutes.", "says when it will be over"),
        ("We think it's probably the database.", "guesses"),
    ] {
        let (code, _, why) = run(folder, &["update", "i.json", "pay-1", "--text", text]);
        assert!(code == Some(3) && why.contains(said) && why.contains("--force"), "{why}");
        assert_eq!(fs::read(folder.join("i.json")).unwrap(), before);
    }
    good(folder, &["update", "i.json", "pay-1", "--text", "This should be fixed in 20 minutes.", "--force"]);
    assert_eq!(shown(folder)["revision"], 2);
}

#[test]
fn whoever_has_no_key_cannot_write_and_nobody_else_is_believed() {
    let (folder, public) = folder();
    let folder = folder.path();
    let key = folder.join("incidents.key");
    assert_eq!(fs::metadata(&key).unwrap().permissions().mode() & 0o777, 0o600);
    let secret = fs::read_to_string(&key).unwrap();
    let (code, _, said) = run(folder, &["keygen"]);
    assert!(code == Some(2) && said.contains("is there and is not overwritten"), "{said}");
    assert_eq!(fs::read_to_string(&key).unwrap(), secret);
    good(folder, NEW);

    fs::set_permissions(&key, fs::Permissions::from_mode(0o640)).unwrap();
    let (code, _, said) = run(folder, &["sign", "i.json"]);
    assert!(code == Some(2) && said.contains("chmod 600 incidents.key"), "{said}");
    let (code, _, said) = run(folder, &["sign", "i.json", "--key", "none"]);
    assert!(code == Some(2) && said.contains("outpost incident keygen --key none"), "{said}");

    let verify = |file: &str, key: &str, least: &str| {
        let (code, out, said) = run(folder, &["verify", file, "--public-key", key, "--min-revision", least, "--json"]);
        let judged: Value = serde_json::from_str(&out).unwrap_or_else(|error| panic!("{error}: {out}{said}"));
        (code, judged["reason"].as_str().unwrap_or("good").to_owned())
    };
    assert_eq!(verify("i.json", &public, "1"), (Some(0), "good".into()));
    assert_eq!(verify("i.json", &public, "2"), (Some(1), "older".into()));
    let (_, other, _) = run(folder, &["keygen", "--key", "other"]);
    assert_eq!(verify("i.json", other.trim(), "0"), (Some(1), "signature".into()));
    let file = fs::read_to_string(folder.join("i.json")).unwrap();
    fs::write(folder.join("changed"), file.replace("Payments", "Nothing ")).unwrap();
    assert_eq!(verify("changed", &public, "0"), (Some(1), "signature".into()));
    fs::write(folder.join("plain"), file.split_once('\n').unwrap().1).unwrap();
    assert_eq!(verify("plain", &public, "0"), (Some(1), "envelope".into()));
}

#[test]
fn what_is_over_makes_room_and_what_is_open_never_does() {
    // The document is bounded: the ninth incident must not be the one that nobody can tell of.
    let (folder, public) = folder();
    let folder = folder.path();
    for number in 0..8 {
        let id = format!("i{number}");
        good(folder, &["new", "i.json", "--id", &id, "--title", "T", "--impact", "minor"]);
    }
    let ninth = ["new", "i.json", "--id", "i8", "--title", "T", "--impact", "minor", "--json"];
    let (code, _, said) = run(folder, &ninth);
    assert!(code == Some(1) && said.contains("allowed are 8 incidents"), "{said}");
    good(folder, &["resolve", "i.json", "i3"]);
    let (code, out, said) = run(folder, &ninth);
    assert_eq!(code, Some(0), "{said}");
    let said: Value = serde_json::from_str(&out).unwrap();
    assert_eq!((&said["dropped"], &said["revision"]), (&serde_json::json!(["i3"]), &10.into()));
    let (code, out, _) = run(folder, &["verify", "i.json", "--public-key", &public]);
    assert_eq!(code, Some(0), "{out}");

    good(
        folder,
        &[
            "maintenance",
            "i.json",
            "--id",
            "disks",
            "--title",
            "New disks",
            "--starts",
            "10m",
            "--ends",
            "2h",
            "--target",
            "shop",
        ],
    );
    let document = shown(folder);
    assert_eq!(document["maintenances"][0]["targets"][0], "shop");
    let (code, _, said) = run(folder, &["remove", "i.json", "disk"]);
    assert!(code == Some(1) && said.contains("nothing has the id \"disk\""), "{said}");
    good(folder, &["remove", "i.json", "disks"]);
    assert_eq!(shown(folder)["maintenances"], serde_json::json!([]));
}

#[test]
fn what_it_writes_keeps_to_the_published_schema() {
    let (folder, _) = folder();
    let folder = folder.path();
    good(folder, &[NEW, &["--next-update", "14:30"]].concat());
    good(
        folder,
        &["maintenance", "i.json", "--title", "New disks", "--starts", "10m", "--ends", "2h", "--text", "All at once."],
    );
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../schema/incidents.json");
    let schema: Value = serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap();
    let (mut compiler, mut schemas) = (boon::Compiler::new(), boon::Schemas::new());
    compiler.add_resource("incidents.json", schema).unwrap();
    let index = compiler.compile("incidents.json", &mut schemas).unwrap();
    let mut document = shown(folder);
    schemas.validate(&document, index).unwrap_or_else(|error| panic!("{error}"));
    document["incidents"][0]["updates"][0]["status"] = "withdrawn".into();
    assert!(schemas.validate(&document, index).is_err());
}
