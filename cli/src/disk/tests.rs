//! Tests of the disk: what is written is read again, is the same each time, and nothing hangs on what is not.

use super::*;
use std::fs;

fn files() -> Vec<File> {
    let elf: Vec<u8> = (0..300_000u32).map(|index| (index % 251) as u8).collect();
    vec![File::new(LOADER, *b"MZ loader"), File::new(ELF, elf), File::new(CONFIG, *b"{}")]
}

fn written(format: Format) -> Vec<u8> {
    encode(&write(&files(), &[7; 32]).unwrap(), format).into_owned()
}

/// Opens these bytes as a file.
fn opened(bytes: &[u8]) -> Result<Opened, String> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("disk");
    fs::write(&path, bytes).unwrap();
    open(&path).map_err(|error| error.replace(&folder.path().display().to_string(), ""))
}

#[test]
fn what_is_written_is_read_again() {
    // A disk that our own tool cannot verify, no user can.
    for format in [Format::Raw, Format::Qcow2] {
        let disk = opened(&written(format)).unwrap();
        assert_eq!((disk.format, disk.size), (format, 4 << 20));
        let mut expected = files();
        expected.sort_by(|a, b| a.path.cmp(&b.path));
        assert_eq!(disk.files, expected);
        assert_eq!(disk.file("OUTPOST/CONFIG.JSON"), Some(b"{}".as_slice()));
    }
    assert!(written(Format::Qcow2).len() < 400_000, "{}", written(Format::Qcow2).len());
}

#[test]
fn the_same_files_give_the_same_disk() {
    // A time or a random GUID in it, and nobody could check a published image.
    let raw = written(Format::Raw);
    assert!(raw == written(Format::Raw));
    let other = write(&files(), &[8; 32]).unwrap();
    let guid = |disk: &[u8]| opened(disk).unwrap().guid;
    assert_ne!(guid(&raw), guid(&other), "two images on one machine must not be taken for one disk");
}

#[test]
fn what_does_not_fit_is_refused() {
    let error = write(&[File::new(ELF, vec![1; 4 << 20])], &[0; 32]).unwrap_err();
    assert!(error.contains("4194304 bytes"), "{error}");
}

#[test]
fn a_damaged_disk_is_refused_and_never_hangs() {
    const ROUNDS: usize = 300;
    // What is verified comes from anywhere: no byte of it may panic or hang the command.
    for format in [Format::Raw, Format::Qcow2] {
        let good = written(format);
        let error = opened(&good[..good.len() / 3]).unwrap_err();
        assert!(!error.is_empty());
        assert!(opened(&good[..100]).unwrap_err().contains("no partition table"));
    }
    // The boot sector, the FAT, the root folder and the files' folder: what file systems are made of.
    let good = written(Format::Raw);
    let esp = 1 << 20;
    let meta: Vec<usize> = (esp..esp + 64 * 1024).filter(|at| good[*at] != 0 || at % 512 < 64).collect();
    let mut seed = 1u64;
    let mut refused = 0;
    for round in 0..ROUNDS {
        let mut bad = std::io::Cursor::new(good.as_slice());
        let mut changed = good[esp..esp + 64 * 1024].to_vec();
        for _ in 0..3 {
            seed = seed.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            let near = if round % 2 == 0 { 64 } else { meta.len() };
            changed[meta[(seed >> 33) as usize % near] - esp] = (seed >> 24) as u8;
        }
        bad.set_position(0);
        refused += usize::from(
            read::read(Patched { disk: bad, at: esp as u64, bytes: &changed }, 4 << 20, Format::Raw).is_err(),
        );
    }
    assert!((30..ROUNDS).contains(&refused), "{refused} of {ROUNDS} changes were seen");
}

/// A disk with other bytes at one place.
#[derive(Debug)]
struct Patched<'d> {
    disk: std::io::Cursor<&'d [u8]>,
    at: u64,
    bytes: &'d [u8],
}

impl std::io::Read for Patched<'_> {
    fn read(&mut self, into: &mut [u8]) -> std::io::Result<usize> {
        let from = self.disk.position();
        let len = self.disk.read(into)?;
        for (at, byte) in (from..).zip(&mut into[..len]) {
            let patch = at.checked_sub(self.at).and_then(|at| self.bytes.get(at as usize));
            *byte = patch.copied().unwrap_or(*byte);
        }
        Ok(len)
    }
}

impl std::io::Seek for Patched<'_> {
    fn seek(&mut self, to: std::io::SeekFrom) -> std::io::Result<u64> {
        self.disk.seek(to)
    }
}

#[test]
fn a_loader_is_bound_to_one_image() {
    let mut loader = b"MZ....OUTPOST-IMAGE-ID".to_vec();
    loader.extend([0; 40]);
    bind(&mut loader, &[9; 32]).unwrap();
    assert_eq!(bound_id(&loader), Some([9; 32]));
    assert_eq!(bound_id(&loader[..50]), None);
    loader.extend(b"OUTPOST-IMAGE-ID");
    assert!(bind(&mut loader, &[9; 32]).is_err(), "two places");
}
