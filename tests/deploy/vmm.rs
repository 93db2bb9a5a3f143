//! Firecracker and Cloud Hypervisor: the shipped files as far as this machine can try them. Neither comes in a package, so
//! the boots are for machines that have them.

use crate::guest::curl_until;
use crate::host::{beside, find};
use crate::image::image;
use crate::support::{Why, left_out};
use outpost_qemu::kvm_works;
use serde_json::Value;
use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};

/// Address and gateway of the pages' configuration.
const CONFIG: &str = r#"{"name":"vmm","network":{"static":{"address":"192.168.76.10/24","gateway":"192.168.76.1"}}}"#;

/// The tap of the pages, then whatever takes the shell's place.
const TAP: &str =
    "ip tuntap add dev tap0 mode tap && ip address add 192.168.76.1/24 dev tap0 && ip link set tap0 up && exec ";

fn shipped(file: &str) -> Value {
    serde_json::from_str(&fs::read_to_string(beside("deploy").join(file)).unwrap()).unwrap()
}

/// A key that the VMM does not know makes it refuse the file: these are the ones of its published interface.
#[test]
fn the_files_name_what_the_pages_say_is_there() {
    let firecracker = shipped("firecracker/outpost.json");
    let source = &firecracker["boot-source"];
    assert_eq!((&source["kernel_image_path"], &source["initrd_path"]), (&"outpost.elf".into(), &"config.json".into()));
    assert!(firecracker["machine-config"]["mem_size_mib"].as_u64() >= Some(12));
    assert_eq!(firecracker["network-interfaces"][0]["host_dev_name"], "tap0");
    assert!(firecracker["drives"].as_array().is_some_and(Vec::is_empty), "Firecracker wants the key");

    let hypervisor = shipped("cloud-hypervisor/outpost.json");
    let payload = &hypervisor["payload"];
    assert_eq!((&payload["kernel"], &payload["initramfs"]), (&"outpost.elf".into(), &"config.json".into()));
    assert!(
        hypervisor["memory"]["size"].as_u64().is_some_and(|bytes| bytes >= 12 << 20 && bytes.is_multiple_of(2 << 20))
    );
    assert_eq!(hypervisor["cpus"]["boot_vcpus"], 1, "there is one processor to use");
}

/// Ends what it started.
struct Vmm(Child);

impl Drop for Vmm {
    fn drop(&mut self) {
        let (_, _) = (self.0.kill(), self.0.wait());
    }
}

/// Boots by a command line of a page, in a network namespace of its own.
fn boot(name: &str, program: &str, command: &str, folder: &Path) {
    if find(program).is_none() {
        return left_out(Why::NotHere, name, &format!("{program} is not on PATH, and no package brings it"));
    }
    if !nix::unistd::geteuid().is_root() {
        return left_out(Why::NotHere, name, "a network namespace with a tap of its own needs root");
    }
    if let Err(why) = kvm_works() {
        return left_out(Why::NotHere, name, why);
    }
    fs::copy(image(), folder.join("outpost.elf")).unwrap();
    fs::write(folder.join("config.json"), CONFIG).unwrap();
    let console = fs::File::create(folder.join("console")).unwrap();
    let mut unshare = Command::new("unshare");
    unshare.args(["--net", "sh", "-c", &format!("{TAP}{command}")]).current_dir(folder).stdin(Stdio::null());
    let vmm = Vmm(unshare.stdout(console.try_clone().unwrap()).stderr(console).spawn().unwrap());
    let net = format!("--net=/proc/{}/ns/net", vmm.0.id());
    let ready = |said: &str| said == "ok";
    curl_until(&["nsenter", &net], "http://192.168.76.10/readyz", ready);
}

#[test]
fn firecracker_boots_the_shipped_file() {
    // Everything else about it is a guess until it runs somewhere.
    let folder = tempfile::tempdir().unwrap();
    fs::copy(beside("deploy/firecracker/outpost.json"), folder.path().join("outpost.json")).unwrap();
    let command = "firecracker --no-api --config-file outpost.json";
    assert!(fs::read_to_string(beside("docs/deploy/firecracker.md")).unwrap().contains(command));
    boot("vmm::firecracker_boots_the_shipped_file", "firecracker", command, folder.path());
}

#[test]
fn cloud_hypervisor_boots_the_command_of_the_page() {
    // Likewise.
    let folder = tempfile::tempdir().unwrap();
    let page = fs::read_to_string(beside("docs/deploy/cloud-hypervisor.md")).unwrap();
    let block = page.split("\n```sh\n").nth(1).and_then(|rest| rest.split("\n```").next()).unwrap();
    assert!(block.starts_with("cloud-hypervisor --kernel "));
    boot("vmm::cloud_hypervisor_boots_the_command_of_the_page", "cloud-hypervisor", block, folder.path());
}
