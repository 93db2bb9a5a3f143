//! A guest on QEMU's user network, and programs that ask it.

use crate::host::Ran;
use crate::image::image;
use outpost_cli::disk;
use outpost_qemu::{Forward, Machine, Network, Running, Vm};
use std::process::Command;
use std::time::{Duration, Instant};
use std::{fs, thread};
use tempfile::TempDir;

/// How long anything may take that takes a second on a quiet machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// A guest. Dropping it ends it.
pub struct Guest {
    running: Running,
    _folder: TempDir,
}

impl Guest {
    /// Boots the image with this configuration.
    pub fn boot(config: &str) -> Guest {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("config.json");
        fs::write(&path, config).unwrap();
        let network = Network::User(vec![Forward::to(80)]);
        let vm = Vm { config: Some(path), network, ..Vm::new(Machine::Microvm, image()) };
        Guest { running: vm.start().unwrap_or_else(|error| panic!("{error}")), _folder: folder }
    }

    /// Asks for this again and again until the answer is so.
    pub fn get_until(&self, path: &str, is_so: impl Fn(&str) -> bool) -> String {
        let host = self.running.forwarded(80).unwrap();
        curl_until(&[], &format!("http://{host}{path}"), is_so)
    }
}

/// The disk image in QEMU's format, with this configuration on it.
pub fn qcow2(config: &str) -> Vec<u8> {
    let (elf, loader) = (image(), image().with_extension("efi"));
    assert!(loader.exists(), "{} is not there: outpost image --format raw", loader.display());
    let disk = disk::image(&fs::read(elf).unwrap(), &fs::read(loader).unwrap(), Some(config.as_bytes()), None).unwrap();
    disk::encode(&disk, disk::Format::Qcow2).into_owned()
}

/// The answer to a GET, and whether there is one.
pub fn curl(url: &str) -> Ran {
    curl_by(&[], url)
}

/// The same by way of a command that starts others.
fn curl_by(by: &[&str], url: &str) -> Ran {
    let words = [by, &["curl", "--silent", "--show-error", "--max-time", "3", url]].concat();
    let output = Command::new(words[0]).args(&words[1..]).output().unwrap();
    let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    Ran { code: output.status.code().unwrap_or(-1), said }
}

/// Asks for this again and again until the answer is so.
pub fn curl_until(by: &[&str], url: &str, is_so: impl Fn(&str) -> bool) -> String {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let ran = curl_by(by, url);
        if ran.code == 0 && is_so(&ran.said) {
            return ran.said;
        }
        assert!(Instant::now() < deadline, "{url} after {PATIENCE:?}: {ran:?}");
        thread::sleep(Duration::from_millis(100));
    }
}
