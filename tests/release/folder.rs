//! A folder as it is given away: the image in every form, and what `outpost release` writes beside it.

use crate::image::image;
use crate::support::{Why, left_out};
use outpost_cli::disk::{self, Format};
use outpost_cli::elf::Inside;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use tempfile::TempDir;

/// The command under test.
pub const OUTPOST: &str = env!("CARGO_BIN_EXE_outpost");

/// The configuration on the disks.
const CONFIG: &str = r#"{"name": "released"}"#;

/// A loader as far as `verify-image` looks at it: bytes, and the id of the image that it is bound to.
fn loader(id: &[u8; 32]) -> Vec<u8> {
    let mut loader = [&[0x90; 5000], b"OUTPOST-IMAGE-ID".as_slice(), &[0; 32], &[0xcc; 5000]].concat();
    disk::bind(&mut loader, id).unwrap();
    loader
}

/// The root of the checkout.
pub fn root() -> PathBuf {
    fs::canonicalize(Path::new(env!("CARGO_MANIFEST_DIR")).join("..")).unwrap()
}

/// The folder, and a key of minisign that is thrown away with it.
pub struct Folder {
    scratch: TempDir,
}

impl Folder {
    /// `None` without minisign, which was said.
    pub fn new(test: &str) -> Option<Folder> {
        if Command::new("minisign").arg("-v").output().is_err() {
            left_out(Why::Skipped, test, "minisign is not installed: apt-get install minisign");
            return None;
        }
        let folder = Folder { scratch: tempfile::tempdir().unwrap() };
        fs::create_dir_all(folder.dir().join("man")).unwrap();
        folder.new_key("key");
        let elf = fs::read(image()).unwrap();
        let id = Inside::read(&elf).unwrap().id;
        let raw = disk::image(&elf, &loader(&id), Some(CONFIG.as_bytes()), None).unwrap();
        folder.put("outpost.efi", &loader(&id));
        folder.put("outpost.elf", &elf);
        folder.put("outpost.raw", &disk::encode(&raw, Format::Raw));
        folder.put("outpost.qcow2", &disk::encode(&raw, Format::Qcow2));
        folder.put("outpost.debug.elf", &fs::read(image().with_extension("debug.elf")).unwrap());
        folder.put("outpost", b"the command\n");
        folder.put("man/outpost.1", b"a page\n");
        Some(folder)
    }

    /// A pair of keys without a password: NAME.key and NAME.pub.
    pub fn new_key(&self, name: &str) {
        let path = |end: &str| self.scratch.path().join(format!("{name}.{end}"));
        let made =
            Command::new("minisign").args(["-G", "-W", "-p"]).arg(path("pub")).arg("-s").arg(path("key")).output();
        assert!(made.unwrap().status.success());
    }

    /// What is given away.
    pub fn dir(&self) -> PathBuf {
        self.scratch.path().join("release")
    }

    /// A path in it.
    pub fn path(&self, name: &str) -> PathBuf {
        self.dir().join(name)
    }

    /// A file beside it.
    pub fn beside(&self, name: &str) -> PathBuf {
        self.scratch.path().join(name)
    }

    pub fn put(&self, name: &str, bytes: &[u8]) {
        fs::write(self.path(name), bytes).unwrap();
    }

    pub fn get(&self, name: &str) -> Vec<u8> {
        fs::read(self.path(name)).unwrap()
    }

    /// `outpost release` with the throw-away key.
    pub fn release(&self) {
        let mut command = Command::new(OUTPOST);
        command.arg("release").arg(self.dir()).arg("--sign-with").arg(self.beside("key.key"));
        command.args(["--target", "x86_64-unknown-linux-gnu"]);
        succeeded(command.current_dir(root()).output().unwrap());
    }

    /// `outpost verify-image` of this file with the public key and these arguments: exit code and what it said.
    pub fn verify(&self, name: &str, arguments: &[&str]) -> (Option<i32>, String) {
        let mut command = Command::new(OUTPOST);
        let output = command.arg("verify-image").arg(self.path(name)).args(arguments).output().unwrap();
        (output.status.code(), text(&output))
    }

    /// The same, signed by the throw-away key.
    pub fn verify_signed(&self, name: &str) -> (Option<i32>, String) {
        let key = self.beside("key.pub");
        self.verify(name, &["--key", key.to_str().unwrap()])
    }
}

/// Everything that a program said.
pub fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

/// What a program said, when it succeeded.
pub fn succeeded(output: Output) -> String {
    assert!(output.status.success(), "{}\n{}", output.status, text(&output));
    text(&output)
}
