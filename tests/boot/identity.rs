//! What runs is what was built: the image id of the file, of `/about` and of Hello is one, and `outpost verify-image` sees
//! when it is not.

use crate::lab::{Guest, Lab, OUTPOST, image};
use outpost_cli::elf::Inside;
use outpost_qemu::{Accel, Machine, Nic};
use rusqlite::{Connection, OpenFlags};
use serde_json::Value;
use sha2::{Digest, Sha256};
use std::fs;
use std::path::Path;
use std::process::Command;

/// `outpost verify-image` of a file against the agent at a URL: exit code and what it said.
fn verify(file: &Path, url: &str) -> (Option<i32>, String) {
    let output = Command::new(OUTPOST).arg("verify-image").arg(file).args(["--url", url]).output().unwrap();
    (output.status.code(), String::from_utf8_lossy(&output.stdout).into_owned())
}

/// The same image with another version's text and the id that belongs to it: whole, and not what runs.
fn another(elf: &[u8]) -> Vec<u8> {
    let mut elf = elf.to_vec();
    let find = |elf: &[u8], name: &[u8]| elf.windows(name.len()).position(|bytes| bytes == name).unwrap();
    // Behind the name, padded to 16, and the hash of the catalogue.
    let version = find(&elf, b"Outpost.about\0") + 16 + 8;
    elf[version] = b'9';
    let id = find(&elf, b"Outpost\0") + 8;
    elf[id..id + 32].fill(0);
    let computed: [u8; 32] = Sha256::digest(&elf).into();
    elf[id..id + 32].copy_from_slice(&computed);
    elf
}

#[test]
fn the_id_of_the_file_is_what_about_and_the_log_report() {
    // An id that differs by the place one looks at it says nothing about what runs.
    let lab = Lab::new();
    let mut guest = Guest::boot(&lab.vm(Machine::Microvm, Nic::MmioV2, Accel::Tcg));
    let about: Value = serde_json::from_str(&guest.wait_ok("/about").body).unwrap();
    let elf = fs::read(image()).unwrap();
    let inside = Inside::read(&elf).unwrap();
    let id = inside.id.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    assert_eq!((inside.id, &about["image_id"]), (inside.computed, &Value::from(id.as_str())));
    assert_eq!((&about["version"], &about["revision"]), (&inside.version.into(), &inside.revision.into()));
    assert_eq!(inside.catalogue, outpost_wire::CATALOGUE_HASH);

    // Hello comes before the first record.
    lab.wait_for("boot.started", 1);
    let store = lab.folder().join("store.db");
    let store = Connection::open_with_flags(store, OpenFlags::SQLITE_OPEN_READ_ONLY).unwrap();
    let stored: Vec<u8> = store.query_row("SELECT image_id FROM boots", [], |row| row.get(0)).unwrap();
    assert_eq!(stored, inside.id);

    let (code, said) = verify(&image(), &guest.url("/about"));
    assert!(code == Some(0) && said.contains("[+]running ok: lab at http://127.0.0.1:"), "{said}");
    let other = lab.folder().join("other.elf");
    fs::write(&other, another(&elf)).unwrap();
    let (code, said) = verify(&other, &guest.url(""));
    assert!(code == Some(1) && said.contains("[+]image id ok"), "{said}");
    assert!(said.contains("[-]running wrong: lab at http://127.0.0.1:") && said.contains(&id), "{said}");
    guest.power_down();
}
