//! `outpost config init` and the fleet of examples/: what they write and start is valid, and nothing that was there is lost.

use outpost::config::load;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output};

const OUTPOST: &str = env!("CARGO_BIN_EXE_outpost");

fn run(folder: &Path, arguments: &[&str]) -> (Option<i32>, String, String) {
    let output = Command::new(OUTPOST).args(["config", "init"]).args(arguments).current_dir(folder).output().unwrap();
    told(&output)
}

fn told(output: &Output) -> (Option<i32>, String, String) {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code(), text(&output.stdout), text(&output.stderr))
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[test]
fn writes_what_is_said_and_tells_what_is_next() {
    // A first configuration that is refused is the last that somebody writes.
    let folder = tempfile::tempdir().unwrap();
    let (code, out, said) = run(folder.path(), &[]);
    assert_eq!((code, &out[..]), (Some(0), ""), "{said}");
    let written = fs::read_to_string(folder.path().join("config.json")).unwrap();
    assert_eq!(written, "{\n  \"name\": \"outpost\"\n}\n");
    for words in ["outpost check config.json", "-initrd config.json", "--collector HOST:PORT"] {
        assert!(said.contains(words), "{words} is not in {said}");
    }
    let (code, out, said) = run(
        folder.path(),
        &[
            "-",
            "--name",
            "fra1",
            "--address",
            "10.0.2.15/24",
            "--gateway",
            "10.0.2.2",
            "--dns",
            "10.0.2.3",
            "--dns",
            "10.0.2.4",
            "--collector",
            "logs.example.org:7600",
            "--time-server",
            "ntp.example.org",
        ],
    );
    assert_eq!(code, Some(0), "{said}");
    let loaded = load(Some(out.as_bytes()));
    assert_eq!((loaded.problem_count, loaded.config.name.as_str()), (0, "fra1"));
    let effective = serde_json::to_value(&loaded.config).unwrap();
    let network = r#"{"static":{"address":"10.0.2.15/24","gateway":"10.0.2.2","dns":["10.0.2.3","10.0.2.4"]}}"#;
    assert_eq!(effective["network"], serde_json::from_str::<serde_json::Value>(network).unwrap());
    assert_eq!(effective["collector"]["address"], "logs.example.org:7600");
    assert_eq!(effective["time"]["servers"][0], "ntp.example.org");
    assert!(said.contains("in clear text"), "{said}");
}

#[test]
fn a_key_is_in_both_files_and_nowhere_else() {
    // A key that was shown, or that others can read, is none.
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    fs::write(at("keys"), format!("# ours\nber1 {}\n", "5e".repeat(32))).unwrap();
    fs::set_permissions(at("keys"), fs::Permissions::from_mode(0o600)).unwrap();
    let arguments = ["fra1.json", "--name", "fra1", "--collector", "10.0.0.5:7600", "--keys", "keys"];
    let (code, out, said) = run(folder.path(), &arguments);
    assert_eq!(code, Some(0), "{said}");
    let loaded = load(Some(&fs::read(at("fra1.json")).unwrap()));
    let key = loaded.config.collector.unwrap().key.unwrap().0;
    let digits: String = key.iter().map(|byte| format!("{byte:02x}")).collect();
    let keys = format!(
        "# ours
ber1 {}
fra1 {digits}
",
        "5e".repeat(32)
    );
    assert_eq!(fs::read_to_string(at("keys")).unwrap(), keys);
    assert!(!out.contains(&digits) && !said.contains(&digits));
    assert_eq!([mode(&at("fra1.json")), mode(&at("keys"))], [0o600; 2]);

    // Once more: nothing is overwritten, and no second key is added.
    let before = fs::read(at("keys")).unwrap();
    let (code, _, said) = run(folder.path(), &arguments);
    assert!(code == Some(2) && said.contains("fra1.json is there and is not overwritten"), "{said}");
    assert_eq!(fs::read(at("keys")).unwrap(), before);
}

#[test]
fn what_is_not_allowed_is_not_written() {
    // The sentence is that of the image, before there is a file to boot with.
    let folder = tempfile::tempdir().unwrap();
    for (arguments, words) in [
        (&["--name", "Fra_1"][..], "/name: \"Fra_1\" is not a host name"),
        (&["--collector", "10.0.0.5"], "/collector/address: \"10.0.0.5\" is not a machine's HOST:PORT"),
        (&["--address", "10.0.2.0/24"], "/network/static/address: \"10.0.2.0/24\" is the subnet's network"),
        (&["--address", "10.0.2.15/24", "--collector", "logs:1"], "is a name that no server can look up"),
        (&["--address", "10.0.2.15/24", "--gateway", "10.9.9.9"], "/network/static/gateway"),
    ] {
        let (code, _, said) = run(folder.path(), arguments);
        assert!(code == Some(1) && said.contains(words), "{code:?} {said}");
    }
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    let (code, _, said) = run(folder.path(), &["nowhere/config.json"]);
    assert!(code == Some(2) && said.contains("nowhere/config.json cannot be written"), "{said}");
}

#[test]
fn every_vm_of_the_fleet_is_given_what_is_right() {
    // A template that lacks something for one VM is found before that VM is missed.
    let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/fleet");
    let folder = tempfile::tempdir().unwrap();
    for name in ["template.json", "vms", "start"] {
        fs::copy(example.join(name), folder.path().join(name)).unwrap();
    }
    let start = || {
        let mut command = Command::new("sh");
        command.args(["start", "outpost.elf"]).env("DRY_RUN", "1").env("OUTPOST", OUTPOST).current_dir(folder.path());
        told(&command.output().unwrap())
    };
    let (code, out, said) = start();
    assert_eq!(code, Some(0), "{out}{said}");
    let hashes: Vec<_> = out.lines().filter(|line| line.starts_with("template.json: ok, hash ")).collect();
    assert_eq!(hashes.len(), 4, "{out}");
    assert!((1..4).all(|index| !hashes[..index].contains(&hashes[index])), "each has its own name: {out}");

    // A key by fw_cfg counts beside the template; a wrong line stops one VM and no other.
    fs::create_dir(folder.path().join("keys")).unwrap();
    let key = format!(r#"{{"collector": {{"address": "logs.example.org:7600", "key": "{}"}}}}"#, "5e".repeat(32));
    fs::write(folder.path().join("keys/fra1.json"), key).unwrap();
    fs::write(folder.path().join("keys/ber1.json"), r#"{"colector": {}}"#).unwrap();
    fs::write(
        folder.path().join("vms"),
        "fra1 10.20.0.11/24\nfra2 10.30.0.12/24\nber1 10.20.0.21/24\nber2 10.20.0.22/24\n",
    )
    .unwrap();
    let (code, out, said) = start();
    assert!(code == Some(1) && said.contains("not started: fra2 ber1"), "{out}{said}");
    assert!(
        out.contains("command line: /network/static/gateway: \"10.20.0.1\" is not another machine in the subnet"),
        "{out}"
    );
    assert!(out.contains("keys/ber1.json:1:2: /colector: unknown key: did you mean \"collector\"?"), "{out}");
    let all = Command::new(OUTPOST)
        .args(["check", "template.json", "--fw-cfg", "keys/fra1.json", "--command-line", "outpost.name=fra1", "--json"])
        .current_dir(folder.path())
        .output()
        .unwrap();
    let report: serde_json::Value = serde_json::from_slice(&all.stdout).unwrap();
    assert_eq!(report["effective"]["collector"]["key"], "(secret)");
    for (pointer, source) in
        [("/name", "command_line"), ("/collector/key", "fw_cfg"), ("/contact/tel", "module"), ("/http/port", "default")]
    {
        assert_eq!(report["origins"][pointer], source, "{pointer}");
    }
}

#[test]
fn each_of_a_pair_watches_the_other_and_the_other_s_collector() {
    // A watcher that nobody watches, or two that depend on one collector.
    let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/pair");
    let read = |name: &str| -> serde_json::Value {
        let (code, out, said) = told(&Command::new(OUTPOST).arg("check").arg(example.join(name)).output().unwrap());
        assert_eq!(code, Some(0), "{name}: {out}{said}");
        serde_json::from_slice(&fs::read(example.join(name)).unwrap()).unwrap()
    };
    let (a, b) = (read("watch-a.json"), read("watch-b.json"));
    for (one, other) in [(&a, &b), (&b, &a)] {
        let (address, _) = other["network"]["static"]["address"].as_str().unwrap().split_once('/').unwrap();
        let name = other["name"].as_str().unwrap();
        let check = |name: &str| one["checks"].as_array().unwrap().iter().find(|check| check["name"] == name).unwrap();
        assert_eq!(check(name)["http"]["url"], format!("http://{address}/livez"));
        assert_eq!(check(&format!("{name}-collector"))["tcp"]["address"], other["collector"]["address"]);
        let (site, _) = address.rsplit_once('.').unwrap();
        assert!(other["collector"]["address"].as_str().unwrap().starts_with(site), "{}", other["collector"]);
        assert_eq!(one["checks"][0], other["checks"][0], "both watch what matters");
    }
}
