//! Every command line of `docs/deploy/qemu.md`, run as it stands there.

use crate::guest::{curl_until, qcow2};
use crate::host::beside;
use crate::image::image;
use crate::support::{Why, left_out};
use serde_json::Value;
use std::net::{Ipv4Addr, TcpListener};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::{fs, thread};

/// The configuration that the page's commands find.
const CONFIG: &str = r#"{"name":"from-the-file"}"#;

/// The page's blocks of shell that start QEMU.
fn blocks(page: &str) -> Vec<String> {
    let parts = page.split("\n```sh\n").skip(1);
    let blocks = parts.map(|rest| String::from(rest.split("\n```").next().unwrap_or_default()));
    blocks.filter(|block| block.contains("qemu-system-x86_64 ")).collect()
}

/// A shell that runs a block, and QEMU in its place in the end, with the file of what they say. Dropping it ends them.
struct Shell(Child, PathBuf);

impl Drop for Shell {
    fn drop(&mut self) {
        // What it started ends with it: QEMU takes its place, and unshare kills its child.
        let (_, _) = (self.0.kill(), self.0.wait());
        if thread::panicking() {
            eprintln!("--- it said\n{}\n---", fs::read_to_string(&self.1).unwrap_or_default());
        }
    }
}

/// Runs a block in a folder with what the page says is there, and holds the guest to what the block asked for.
fn run(block: &str) {
    let folder = tempfile::tempdir().unwrap();
    fs::copy(image(), folder.path().join("outpost.elf")).unwrap();
    fs::write(folder.path().join("config.json"), CONFIG).unwrap();
    if block.contains("outpost.qcow2") {
        fs::write(folder.path().join("outpost.qcow2"), qcow2(CONFIG)).unwrap();
    }
    let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port();
    // The two things that are others here, and the shell must not stay beside QEMU.
    let script = block
        .replace("127.0.0.1:8080", &format!("127.0.0.1:{port}"))
        .replace("-accel kvm -accel tcg", "-accel tcg")
        .replace("qemu-system-x86_64 ", "exec qemu-system-x86_64 ");
    assert!(script.contains("-accel tcg") && script.contains("exec qemu"), "{block}");
    let tap = script.contains("netdev tap");
    let mut command = if tap { Command::new("unshare") } else { Command::new("sh") };
    if tap {
        command.args(["--net", "sh"]);
    }
    let said = folder.path().join("console");
    let console = fs::File::create(&said).unwrap();
    command.args(["-ec", &script]).current_dir(folder.path()).stdin(Stdio::null());
    let shell = Shell(command.stdout(console.try_clone().unwrap()).stderr(console).spawn().unwrap(), said);
    let net = format!("--net=/proc/{}/ns/net", shell.0.id());
    let (by, host) = if tap {
        (vec!["nsenter", net.as_str()], String::from("192.168.76.10"))
    } else {
        (vec![], format!("127.0.0.1:{port}"))
    };
    curl_until(&by, &format!("http://{host}/readyz"), |said| said == "ok");
    let about = curl_until(&by, &format!("http://{host}/about"), |said| said.starts_with('{'));
    let about: Value = serde_json::from_str(&about).unwrap();
    let machine = ["microvm", "q35", "pc"].into_iter().find(|name| block.contains(&format!("-M {name}"))).unwrap();
    assert!(about["machine"].as_str().is_some_and(|name| name.starts_with(&format!("{machine}, "))), "{about:#}");
    let (name, source) = if block.contains("-initrd") {
        ("from-the-file", "module")
    } else if block.contains("-fw_cfg") {
        ("from-the-file", "fw_cfg")
    } else if block.contains("outpost.qcow2") {
        ("from-the-file", "esp")
    } else if block.contains("outpost.name=fra1") {
        ("fra1", "command_line")
    } else if tap {
        ("outpost", "command_line")
    } else {
        ("outpost", "default")
    };
    assert_eq!(
        (about["name"].as_str(), about["config_source"].as_str()),
        (Some(name), Some(source)),
        "{block}\n{about:#}"
    );
}

/// The first thing that a user copies is a command line; one with a mistake is the last.
#[test]
fn every_command_line_of_the_page_boots_what_it_says() {
    const NAME: &str = "qemu::every_command_line_of_the_page_boots_what_it_says";
    let blocks = blocks(&fs::read_to_string(beside("docs/deploy/qemu.md")).unwrap());
    assert!(blocks.len() >= 8, "{} blocks", blocks.len());
    let root = nix::unistd::geteuid().is_root();
    // Two at a time: the machine has two cores.
    for pair in blocks.chunks(2) {
        thread::scope(|scope| {
            for block in pair {
                if block.contains("netdev tap") && !root {
                    left_out(Why::NotHere, NAME, "the command line with a tap needs root");
                } else {
                    scope.spawn(move || run(block));
                }
            }
        });
    }
}
