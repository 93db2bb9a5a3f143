//! The shipped libvirt domain on a real libvirtd: what `docs/deploy/libvirt.md` says works.

use crate::guest::qcow2;
use crate::host::{IMAGES, beside, host};
use serde_json::Value;

/// The command under test.
const OUTPOST: &str = env!("CARGO_BIN_EXE_outpost");

/// The key of the agent's session: what an unauthenticated collector is told about is not of interest here.
const KEY: &str = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";

/// The console's log, as the domain names it.
const CONSOLE: &str = "/var/log/libvirt/qemu/outpost-console.log";

/// A domain that libvirt refuses, that cannot be shut down or loses its log at it, is found out in production otherwise.
#[test]
fn the_domain_starts_serves_resets_and_shuts_down_without_losing_a_record() {
    host("libvirt::the_domain_starts_serves_resets_and_shuts_down_without_losing_a_record", |host| {
        let shipped = beside("deploy/libvirt/outpost.xml").display().to_string();
        host.ok("virt-xml-validate", &[&shipped, "domain"]);
        let store = host.folder().join("store.db").display().to_string();
        host.write("/run/keys", &format!("outpost {KEY}\n"));
        host.ok("chmod", &["600", "/run/keys"]);
        host.start_program(
            OUTPOST,
            &["collect", "--listen", "192.168.122.1:7600", "--keys", "/run/keys", "--store", &store],
        );
        let config = format!(r#"{{"name":"outpost","collector":{{"address":"192.168.122.1:7600","key":"{KEY}"}}}}"#);
        host.write(&format!("{IMAGES}/outpost.json"), &config);

        host.define("outpost.xml", &[]);
        host.ok("virsh", &["start", "outpost"]);
        let address = host.address("outpost");
        host.get_ok(&format!("http://{address}/readyz"));
        let about: Value = serde_json::from_str(&host.get_ok(&format!("http://{address}/about"))).unwrap();
        assert_eq!((&about["name"], &about["config_source"]), (&"outpost".into(), &"module".into()), "{about:#}");
        assert_eq!(about["watchdog"], "i6300esb", "behind the bridges that libvirt makes: {about:#}");

        host.ok("virsh", &["reset", "outpost"]);
        host.wait_until("cat", &[CONSOLE], |said| {
            said.split_once("boot.previous_ended cause=reset").is_some_and(|(_, after)| after.contains("network.up"))
        });
        assert_eq!(host.address("outpost"), address, "the same machine gets the same address again");
        host.get_ok(&format!("http://{address}/readyz"));

        // A console needs a terminal, which script makes.
        let console =
            "(sleep 1; virsh reset outpost) & timeout --foreground --signal KILL 4 virsh console --force outpost";
        let said = host.run("script", &["--quiet", "--command", console, "/dev/null"]).said;
        assert!(said.contains("Connected to domain 'outpost'") && said.contains("boot.started"), "{said}");
        host.get_ok(&format!("http://{address}/readyz"));

        host.ok("virsh", &["shutdown", "outpost"]);
        let state = ["--quiet", "domstate", "outpost", "--reason"];
        let state = host.wait_until("virsh", &state, |said| said.starts_with("shut off"));
        assert_eq!(state.trim(), "shut off (shutdown)", "it switched itself off");
        let console = host.console("outpost");
        assert!(
            console.trim_end().lines().last().is_some_and(|line| line.contains("shutdown cause=power_button")),
            "{console}"
        );
        let verdict = host.ok(OUTPOST, &["verify", &store]);
        assert!(!verdict.is_empty());

        // A panic: libvirt is told and leaves the machine, its memory and so its records alone.
        host.write(&format!("{IMAGES}/outpost.json"), r#"{"name":"outpost","drill":{"panic_after_s":2}}"#);
        let events = ["event", "--domain", "outpost", "--event", "lifecycle", "--loop", "--timeout", "90"];
        host.start_program("virsh", &events);
        host.ok("virsh", &["start", "outpost"]);
        host.wait_until("cat", &[CONSOLE], |said| said.contains("boot.previous_ended cause=panic"));
        host.wait_until("cat", &[&host.folder().join("virsh").display().to_string()], |said| {
            said.contains("Crashloaded")
        });
        assert_eq!(host.ok("virsh", &["domstate", "outpost"]).trim(), "running");
        host.ok("virsh", &["destroy", "outpost"]);
        host.ok("virsh", &["undefine", "outpost"]);
    });
}

/// The other way to boot, with the firmware that libvirt picks for it.
#[test]
fn the_disk_image_boots_by_uefi_and_shuts_down() {
    host("libvirt::the_disk_image_boots_by_uefi_and_shuts_down", |host| {
        let shipped = beside("deploy/libvirt/outpost-uefi.xml").display().to_string();
        host.ok("virt-xml-validate", &[&shipped, "domain"]);
        let disk = host.folder().join("outpost.qcow2");
        std::fs::write(&disk, qcow2(r#"{"name":"from-the-disk"}"#)).unwrap();
        host.ok("cp", &[&disk.display().to_string(), IMAGES]);
        host.define("outpost-uefi.xml", &[]);
        host.ok("virsh", &["start", "outpost-uefi"]);
        let address = host.address("outpost-uefi");
        host.get_ok(&format!("http://{address}/readyz"));
        let about: Value = serde_json::from_str(&host.get_ok(&format!("http://{address}/about"))).unwrap();
        let way = ["name", "boot_path", "config_source", "watchdog"].map(|key| about[key].as_str().unwrap_or_default());
        assert_eq!(way, ["from-the-disk", "uefi", "esp", "i6300esb"], "{about:#}");
        host.ok("virsh", &["shutdown", "outpost-uefi"]);
        let state = ["--quiet", "domstate", "outpost-uefi", "--reason"];
        let state = host.wait_until("virsh", &state, |said| said.starts_with("shut off"));
        assert_eq!(state.trim(), "shut off (shutdown)", "it switched itself off");
        assert!(host.console("outpost-uefi").contains("shutdown cause=power_button"));
    });
}
