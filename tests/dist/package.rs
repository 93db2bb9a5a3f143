//! The Debian package: as lintian and systemd judge it, and installed, used and purged in a real system.

use crate::support::{Why, left_out};
use crate::{beside, installed, package_file, program, released, run, told};
use nix::sched::{CloneFlags, setns};
use outpost_qemu::{Machine, Network, Vm};
use serde_json::{Value, json};
use std::fs::{self, File};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use std::{panic, thread};
use tempfile::TempDir;

/// How long anything in the system may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// How often something without a notification is looked at.
const LOOK: Duration = Duration::from_millis(100);

/// What `systemd-analyze security` may give the service at most; 0 is closed, 10 is open. What is left: it may use IPv4 and
/// IPv6 with everyone, which is what it is for, and sees the system's files read-only.
const EXPOSURE: f64 = 1.5;

const UNIT: &str = "outpost-collect.service";

#[test]
fn its_service_is_closed_and_its_form_is_debians() {
    // A typing error in a unit is ignored with a line in the journal that nobody reads.
    let name = "the package's form";
    if let Some(missing) = ["lintian", "systemd-analyze"].into_iter().find(|program| !installed(program)) {
        return left_out(Why::Skipped, name, &format!("{missing} is not installed: scripts/setup test"));
    }
    assert_eq!(told(program("lintian").arg("--allow-root").args(["--tag-display-limit", "0"]).arg(package_file())), "");
    let folder = tempfile::tempdir().unwrap();
    // With a program that is there.
    let unit = fs::read_to_string(beside("packaging").join(UNIT)).unwrap().replace("/usr/bin/outpost", "/bin/true");
    let path = folder.path().join(UNIT);
    fs::write(&path, unit).unwrap();
    assert_eq!(told(program("systemd-analyze").args(["verify", "--man=no"]).arg(&path)), "");
    let judged = told(program("systemd-analyze").args(["security", "--no-pager", "--offline=true"]).arg(&path));
    let exposure = judged.split("exposure level for").nth(1).and_then(|rest| rest.split_whitespace().nth(1));
    let exposure: f64 = exposure.and_then(|number| number.parse().ok()).unwrap_or_else(|| panic!("{judged}"));
    assert!(exposure <= EXPOSURE, "{judged}");
    println!("systemd-analyze security: {exposure}");
}

#[test]
fn installed_it_collects_and_purged_it_leaves_the_records() {
    // A service that starts nowhere but where it was written; keys that others can read; a purge that takes the records.
    let name = "the package in a real system";
    if !nix::unistd::geteuid().is_root() {
        return left_out(Why::NotHere, name, "a system in namespaces of its own needs root");
    }
    if !PathBuf::from("/lib/systemd/systemd").exists() {
        return left_out(Why::NotHere, name, "this machine has no systemd");
    }
    let system = match System::start() {
        Ok(system) => system,
        Err(reason) => return left_out(Why::NotHere, name, &reason),
    };
    let active = || system.run("systemctl is-active outpost-collect").1;

    // Installed, it runs: with a key, without a right.
    system.install();
    wait("the service", || active() == "active\n");
    assert_eq!(system.told("systemctl is-enabled outpost-collect"), "enabled\n");
    assert_eq!(system.told("stat -c '%a %U' /etc/outpost/keys /etc/outpost"), "600 root\n700 root\n");
    let status = system.told("cat /proc/$(systemctl show --property MainPID --value outpost-collect)/status");
    let field = |name: &str| status.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default().trim();
    assert_eq!((field("CapBnd:"), field("CapEff:")), ("0000000000000000", "0000000000000000"));
    assert_eq!((field("NoNewPrivs:"), field("Seccomp:")), ("1", "2"));
    assert!(!field("Uid:").split_whitespace().any(|id| id == "0"), "{status}");
    let key = system.told("grep '^outpost ' /etc/outpost/keys | cut -d ' ' -f 2");
    system.told("man -w outpost-collect && test -s /usr/share/bash-completion/completions/outpost");

    // An agent sends it what happened, over an authenticated session, and it is all there.
    system.agent(key.trim());
    let stored = system.told("outpost logs --format json /var/lib/outpost/store.db");
    let records: Vec<Value> = stored.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    for event in ["network.up", "shutdown"] {
        assert!(records.iter().any(|record| record["event"] == event), "no {event} in\n{stored}");
    }
    system.told("outpost verify /var/lib/outpost/store.db");

    // A new version over it: it runs again, with the same keys and records.
    system.install();
    wait("the service, after an upgrade", || active() == "active\n");
    assert_eq!(system.told("grep '^outpost ' /etc/outpost/keys | cut -d ' ' -f 2"), key);
    system.told("systemctl stop outpost-collect");
    assert_eq!(system.told("outpost logs --format json /var/lib/outpost/store.db"), stored);

    let files = system.told("dpkg --listfiles outpost");
    let files: Vec<_> = files.lines().filter(|file| file.contains("outpost")).collect();

    // Removed, then purged: settings and keys go, records stay, and how to remove them is said.
    system.told("cp /usr/bin/outpost /run/outpost && systemctl start outpost-collect && dpkg --remove outpost");
    assert_ne!(active(), "active\n");
    system.told("test -e /etc/outpost/keys -a -e /etc/default/outpost-collect -a ! -e /usr/bin/outpost");
    let purged = system.told("dpkg --purge outpost");
    assert!(purged.contains("The records in /var/lib/outpost are kept"), "{purged}");
    let left = system.told(&format!("find /etc -name '*outpost*'; ls -d -- {} 2>/dev/null || :", files.join(" ")));
    assert_eq!(left, "", "a purge leaves this");
    assert_eq!(system.told("/run/outpost logs --format json /var/lib/outpost/store.db"), stored);
}

fn wait(what: &str, done: impl Fn() -> bool) {
    let began = Instant::now();
    while !done() {
        assert!(began.elapsed() < PATIENCE, "{what}: not within {PATIENCE:?}");
        thread::sleep(LOOK);
    }
}

/// A Debian in memory whose first process is systemd (system.sh). It ends with this value.
struct System {
    /// `unshare`, whose only child is that first process, and which takes it along when it dies.
    outer: Child,
    init: u32,
    groups: String,
    folder: TempDir,
}

impl System {
    /// Boots it; or why this machine cannot.
    fn start() -> Result<System, String> {
        let folder = tempfile::tempdir().unwrap();
        let layer = folder.path().join("layer");
        fs::create_dir(&layer).unwrap();
        let log = File::create(folder.path().join("log")).unwrap();
        let groups = format!("outpost-test-{}", std::process::id());
        let script = beside("tests/dist/system.sh");
        let outer = Command::new("sh")
            .arg(&script)
            .args(["enter", &groups, "unshare", "--mount", "--pid", "--fork", "--ipc", "--uts", "--net", "--cgroup"])
            .args(["--kill-child", "sh"])
            .arg(&script)
            .arg("start")
            .arg(&layer)
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        let mut system = System { outer, init: 0, groups, folder };
        let began = Instant::now();
        while began.elapsed() < PATIENCE {
            thread::sleep(LOOK);
            let process = fs::read_to_string(layer.with_extension("process")).unwrap_or_default();
            system.init = process.trim().parse().unwrap_or(0);
            let command = fs::read_to_string(format!("/proc/{}/comm", system.init)).unwrap_or_default();
            if command == "systemd\n" && system.run("systemctl is-system-running").1 == "running\n" {
                return Ok(system);
            }
            if system.outer.try_wait().unwrap().is_some() {
                break;
            }
        }
        let log = fs::read_to_string(system.folder.path().join("log")).unwrap_or_default();
        let state = if system.init == 0 { String::new() } else { system.run("systemctl --failed --no-legend").1 };
        Err(format!("systemd does not come up in namespaces of its own: {log}{state}"))
    }

    /// A command in it.
    fn command(&self, text: &str) -> Command {
        let mut command = program("nsenter");
        command.args(["--all", "--target", &self.init.to_string(), "sh", "-c", text]);
        command
    }

    fn run(&self, text: &str) -> (Option<i32>, String) {
        run(&mut self.command(text))
    }

    fn told(&self, text: &str) -> String {
        let (code, said) = self.run(text);
        if code != Some(0) {
            panic!("{text}: {code:?}\n{said}\n{}", self.run("journalctl --no-pager --lines 40").1);
        }
        said
    }

    /// Installs the package, which it sees through no shared folder.
    fn install(&self) {
        let mut command = self.command("cat >/outpost.deb && dpkg --install /outpost.deb && rm /outpost.deb");
        told(command.stdin(File::open(package_file()).unwrap()));
    }

    /// An agent in the same network, from its boot to its power button.
    fn agent(&self, key: &str) {
        let collector = json!({ "address": "10.0.2.2:7600", "key": key });
        let config = self.folder.path().join("agent.json");
        fs::write(&config, json!({ "name": "outpost", "collector": collector }).to_string()).unwrap();
        let network = File::open(format!("/proc/{}/ns/net", self.init)).unwrap();
        // The namespace is this thread's, and of the QEMU it starts.
        let agent = thread::scope(|scope| {
            let agent = scope.spawn(|| {
                setns(network, CloneFlags::CLONE_NEWNET).unwrap();
                let vm = Vm {
                    config: Some(config),
                    network: Network::User(Vec::new()),
                    ..Vm::new(Machine::Microvm, released("outpost.elf"))
                };
                let mut running = vm.start().unwrap_or_else(|error| panic!("{error}"));
                running.wait_for("collector.connected", PATIENCE).unwrap_or_else(|error| panic!("{error}"));
                running.qmp().system_powerdown().unwrap();
                running.wait_exit(PATIENCE).unwrap();
            });
            agent.join()
        });
        agent.unwrap_or_else(|failure| panic::resume_unwind(failure));
    }
}

impl Drop for System {
    fn drop(&mut self) {
        // `unshare` kills its child when it dies, and with that all that is in the namespaces.
        let _ = self.outer.kill();
        let _ = self.outer.wait();
        let began = Instant::now();
        while self.init != 0
            && fs::exists(format!("/proc/{}", self.init)).unwrap_or(false)
            && began.elapsed() < PATIENCE
        {
            thread::sleep(LOOK);
        }
        let _ = run(program("sh").arg(beside("tests/dist/system.sh")).args(["leave", &self.groups]));
    }
}
