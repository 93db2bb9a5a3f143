//! `deploy/libvirt/upgrade.sh` with real guests, a real HAProxy in front of them and a client that never stops asking.

use crate::host::{Host, IMAGES, Ran, beside, find, host};
use crate::support::{Why, left_out};
use std::fs;
use std::process::Command;

/// Asks through HAProxy until told to stop; a line for each request, with what came of it.
const ASK: &str = r#"
while [ ! -e "$1/stop" ]; do
    curl --silent --output /dev/null --max-time 2 --write-out '%{http_code}\n' http://127.0.0.1/livez || echo "curl $?"
    sleep 0.02
done >"$1/answers"
touch "$1/stopped"
"#;

/// Defines the shipped domain under another name, with a configuration of its own.
fn define(host: &Host, name: &str, config: &str) {
    let console = format!("/{name}-console.log");
    host.write(&format!("{IMAGES}/{name}.json"), config);
    let name_in_xml = format!("<name>{name}</name>");
    let config = format!("/{name}.json");
    host.define(
        "outpost.xml",
        &[("<name>outpost</name>", &name_in_xml), ("/outpost.json", &config), ("/outpost-console.log", &console)],
    );
}

fn upgrade(host: &Host, arguments: &[&str]) -> Ran {
    host.run(&beside("deploy/libvirt/upgrade.sh").display().to_string(), arguments)
}

fn state(host: &Host, domain: &str) -> String {
    String::from(host.ok("virsh", &["domstate", domain]).trim())
}

/// An upgrade that drops requests, or that ends the old one for a new one that is not well, is worse than none.
#[test]
fn no_request_fails_and_a_new_one_that_is_not_ready_changes_nothing() {
    host("upgrade::no_request_fails_and_a_new_one_that_is_not_ready_changes_nothing", |host| {
        define(host, "outpost-a", r#"{"name":"outpost-a"}"#);
        define(host, "outpost-b", r#"{"name":"outpost-b"}"#);
        define(host, "outpost-broken", r#"{"name":"outpost-broken","colector":{}}"#);
        host.ok("virsh", &["start", "outpost-a"]);
        let a = host.address("outpost-a");
        let shipped = fs::read_to_string(beside("deploy/libvirt/haproxy.cfg")).unwrap();
        assert!(shipped.contains("192.168.122.10:80"));
        host.write("/run/haproxy.cfg", &shipped.replace("192.168.122.10:80", &format!("{a}:80")));
        host.get_ok(&format!("http://{a}/readyz"));
        host.start_program("haproxy", &["-db", "-f", "/run/haproxy.cfg"]);
        host.get_ok("http://127.0.0.1/livez");
        for closed in ["/about", "/metrics", "/readyz?verbose"] {
            let said = host.get(&format!("http://127.0.0.1{closed}")).said;
            assert!(said.ends_with("\n403\n"), "{closed} is not for everybody: {said}");
        }
        let folder = host.folder().display().to_string();
        host.start_program("sh", &["-c", ASK, "ask", &folder]);

        let ran = upgrade(host, &["--ready-within", "8", "outpost-a", "outpost-broken"]);
        assert_eq!(ran.code, 1, "{}", ran.said);
        assert!(
            ran.said.contains("outpost-broken was not ready within 8 s") && ran.said.contains("config"),
            "{}",
            ran.said
        );
        assert_eq!(
            (state(host, "outpost-a").as_str(), state(host, "outpost-broken").as_str()),
            ("running", "shut off")
        );

        // Whoever gets impatient gets the old state back too.
        let script = beside("deploy/libvirt/upgrade.sh").display().to_string();
        let ran = host.run("timeout", &["--signal", "TERM", "4", &script, "outpost-a", "outpost-broken"]);
        assert!(
            ran.said.contains("Interrupted. outpost-broken was ended again, outpost-a serves as before"),
            "{ran:?}"
        );
        assert_eq!(
            (state(host, "outpost-a").as_str(), state(host, "outpost-broken").as_str()),
            ("running", "shut off")
        );

        for (old, new) in [("outpost-a", "outpost-b"), ("outpost-b", "outpost-a")] {
            let ran = upgrade(host, &["--drain", "1", old, new]);
            assert_eq!(ran.code, 0, "{}", ran.said);
            assert_eq!((state(host, old).as_str(), state(host, new).as_str()), ("shut off", "running"), "{}", ran.said);
            assert!(host.console(old).contains("shutdown cause=power_button"), "its log was flushed");
            host.get_ok("http://127.0.0.1/livez");
        }

        for wrong in
            [&["outpost-a"][..], &["outpost-a", "nothing"], &["outpost-b", "outpost-a"], &["--drain", "x", "a", "b"]]
        {
            let ran = upgrade(host, wrong);
            assert_eq!(ran.code, 2, "{wrong:?}: {}", ran.said);
        }
        fs::write(host.folder().join("stop"), "").unwrap();
        host.wait(|| host.run("test", &["-e", &format!("{folder}/stopped")]));
        let answers = fs::read_to_string(host.folder().join("answers")).unwrap();
        let failed: Vec<_> = answers.lines().filter(|answer| *answer != "200").collect();
        assert!(failed.is_empty(), "{} of {} requests: {failed:?}", failed.len(), answers.lines().count());
        assert!(answers.lines().count() > 200, "it asked all the time: {}", answers.lines().count());
    });
}

/// It runs where a shell other than ours is /bin/sh, on the day that something else is broken.
#[test]
fn the_script_has_nothing_that_shellcheck_minds() {
    const NAME: &str = "upgrade::the_script_has_nothing_that_shellcheck_minds";
    let Some(shellcheck) = find("shellcheck") else {
        return left_out(Why::Skipped, NAME, "shellcheck is not installed: scripts/setup test");
    };
    let output = Command::new(shellcheck).arg(beside("deploy/libvirt/upgrade.sh")).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
}
