//! A byte that is changed anywhere is found: in every part of the image, on the disk around it, in the papers.

use crate::folder::Folder;
use outpost_cli::elf::Inside;
use serde_json::Value;

/// Places in a file that are changed besides those that are chosen: one in each of so many equal parts.
const SPREAD: usize = 12;

/// Places with one in each part of a file, and its last byte.
fn places(len: usize) -> Vec<usize> {
    (0..SPREAD).map(|part| len * part / SPREAD + part).chain([len - 1]).filter(|at| *at < len).collect()
}

#[test]
fn everything_is_right_before_it_is_touched() {
    // A check that always fails finds every change.
    let Some(folder) = Folder::new("everything_is_right_before_it_is_touched") else { return };
    folder.release();
    for (name, kind) in [("outpost.elf", "ELF"), ("outpost.raw", "raw disk"), ("outpost.qcow2", "qcow2 disk")] {
        let (code, said) = folder.verify_signed(name);
        assert_eq!(code, Some(0), "{said}");
        for line in
            ["[+]image id ok", "[+]memory ok", "[+]sums ok", "[+]signature ok", "[+]sbom ok", "smoltcp 0.", "r-x at 0x"]
        {
            assert!(said.contains(line), "{name}: no {line:?} in:\n{said}");
        }
        assert!(said.contains(kind) && !said.contains("not checked"), "{said}");
        for line in ["[+]loader ok", "[+]disk ok"] {
            assert_eq!(said.contains(line), name != "outpost.elf", "{said}");
        }
        let (_, json) = folder.verify(name, &["--json"]);
        let told: Value = serde_json::from_str(&json).unwrap();
        let inside = Inside::read(&folder.get("outpost.elf")).unwrap();
        assert_eq!((told["right"].as_bool(), &told["version"]), (Some(true), &Value::from(env!("CARGO_PKG_VERSION"))));
        assert_eq!(told["revision"], inside.revision);
        assert_eq!(told["segments"].as_array().unwrap().len(), inside.segments.len());
        let config = told["config"].as_str().unwrap();
        assert_eq!(config.contains("config.json"), name != "outpost.elf", "{config}");
    }
}

#[test]
fn a_changed_image_is_found_by_its_id_alone() {
    // Without checksums at hand, damage must still show: in headers, notes, each segment, and behind the end.
    let Some(folder) = Folder::new("a_changed_image_is_found_by_its_id_alone") else { return };
    let elf = folder.get("outpost.elf");
    assert_eq!(folder.verify("outpost.elf", &[]).0, Some(0));
    let mut chosen = places(elf.len());
    // The file's header, the program headers, the id itself, the version.
    chosen.extend([0x10, 0x18, 0x40, 0x68]);
    for name in ["Outpost\0", "Outpost.about\0"] {
        chosen.push(elf.windows(name.len()).position(|bytes| bytes == name.as_bytes()).unwrap() + 18);
    }
    for at in chosen {
        let mut changed = elf.clone();
        changed[at] ^= 0x20;
        folder.put("outpost.elf", &changed);
        let (code, said) = folder.verify("outpost.elf", &[]);
        assert_eq!(code, Some(1), "byte {at:#x} of {:#x}:\n{said}", elf.len());
        assert!(said.contains("do not run it"), "{said}");
    }
    folder.put("outpost.elf", &[elf.as_slice(), b"more"].concat());
    assert_eq!(folder.verify("outpost.elf", &[]).0, Some(1));
    folder.put("outpost.elf", &elf[..elf.len() - 1]);
    assert_eq!(folder.verify("outpost.elf", &[]).0, Some(1));
}

#[test]
fn a_disk_that_something_wrote_to_is_told() {
    // Firmware or another tool that keeps something on the disk: the next boot is not the one that was checked.
    let Some(folder) = Folder::new("a_disk_that_something_wrote_to_is_told") else { return };
    let raw = folder.get("outpost.raw");
    assert!(folder.verify("outpost.raw", &[]).1.contains("[+]disk ok"));
    // In the first sector, at the end of the partition, in the second table.
    for at in [0x1a0, raw.len() - 0x5000, raw.len() - 0x3000] {
        let mut changed = raw.clone();
        changed[at] ^= 1;
        folder.put("outpost.raw", &changed);
        let (_, said) = folder.verify("outpost.raw", &[]);
        assert!(said.contains("[ ]disk not checked"), "byte {at:#x}:\n{said}");
    }
}

#[test]
fn a_changed_byte_of_any_file_is_found_by_checksums_and_signature() {
    // A loader that starts something else, a config that sends the log elsewhere, checksums that were made to fit.
    let Some(folder) = Folder::new("a_changed_byte_of_any_file_is_found_by_checksums_and_signature") else { return };
    folder.release();
    let find = |bytes: &[u8], what: &[u8]| bytes.windows(what.len()).position(|found| found == what);
    for name in ["outpost.elf", "outpost.raw", "outpost.qcow2"] {
        let file = folder.get(name);
        let mut chosen = places(file.len());
        // On the disks: the loader's code, the file system's name, the configuration.
        for what in [b"\xcc\xcc\xcc\xcc".as_slice(), b"OUTPOST    ", b"\"released\""] {
            chosen.extend(find(&file, what));
        }
        assert!(name == "outpost.elf" || chosen.len() == SPREAD + 4, "{name}: {chosen:x?}");
        for at in chosen {
            let mut changed = file.clone();
            changed[at] ^= 1;
            folder.put(name, &changed);
            let (code, said) = folder.verify_signed(name);
            assert_eq!(code, Some(1), "{name}, byte {at:#x}:\n{said}");
            assert!(said.contains("[-]sums wrong"), "{said}");
        }
        folder.put(name, &file);
    }
    for name in ["SHA256SUMS", "SHA256SUMS.minisig", "outpost-image.cdx.json"] {
        let file = folder.get(name);
        // What comes before the first newline of a signature is a comment that nobody vouches for, and says so.
        let from = if name == "SHA256SUMS.minisig" { find(&file, b"\n").unwrap() + 1 } else { 0 };
        for at in places(file.len() - from) {
            let mut changed = file.clone();
            changed[from + at] ^= 1;
            folder.put(name, &changed);
            let (code, said) = folder.verify_signed("outpost.elf");
            // The last byte of the signature's file is the end of its last line.
            let end = name == "SHA256SUMS.minisig" && from + at == file.len() - 1;
            assert!(code == Some(1) || end, "{name}, byte {at:#x}:\n{said}");
        }
        folder.put(name, &file);
    }
    assert_eq!(folder.verify_signed("outpost.raw").0, Some(0));
}

#[test]
fn what_does_not_belong_together_is_found() {
    // Everything is whole, and yet not what it is taken for.
    let Some(folder) = Folder::new("what_does_not_belong_together_is_found") else { return };
    folder.release();
    folder.new_key("other");
    let other = folder.beside("other.pub");
    let (code, said) = folder.verify("outpost.elf", &["--key", other.to_str().unwrap()]);
    assert!(code == Some(1) && said.contains("[-]signature wrong"), "{said}");
    // Papers of another release: whole, signed by the right key, and about other files.
    let sums = folder.get("SHA256SUMS");
    folder.put("man/outpost.1", b"another page\n");
    folder.put("outpost.elf", &folder.get("man/outpost.1"));
    let (code, said) = folder.verify_signed("outpost.elf");
    assert!(code == Some(1) && said.contains("[-]sums wrong"), "{said}");
    // A key is asked for and there is no signature.
    std::fs::remove_file(folder.path("SHA256SUMS.minisig")).unwrap();
    let (code, said) = folder.verify_signed("outpost.raw");
    assert!(code == Some(1) && said.contains("[-]signature wrong") && !sums.is_empty(), "{said}");
    std::fs::remove_file(folder.path("SHA256SUMS")).unwrap();
    let (code, said) = folder.verify_signed("outpost.raw");
    assert!(code == Some(1) && said.contains("[-]sums wrong"), "{said}");
    // Nobody is there to run it; nothing is there to look at.
    let (code, said) = folder.verify("outpost.raw", &["--url", "127.0.0.1:1"]);
    assert!(code == Some(1) && said.contains("[-]running wrong"), "{said}");
    assert_eq!(folder.verify("nothing.elf", &[]).0, Some(2));
}
