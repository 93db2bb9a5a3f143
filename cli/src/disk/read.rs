//! Opens a disk image that may come from anybody, and gives the files on its EFI system partition.

use super::qcow2::Qcow2;
use super::{File, Format, SECTOR};
use fatfs::{Dir, FileSystem, FsOptions};
use gpt::{disk::LogicalBlockSize, header, partition, partition_types};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::Path;

/// Bytes that are read of a disk in all: files of the largest size many times over. What leads in a circle ends here.
const READ_MAX: u64 = 16 << 20;

/// Longest file that is read.
const FILE_MAX: u64 = 8 << 20;

/// Files that there may be.
const FILES_MAX: usize = 64;

/// Folders in folders that there may be.
const DEPTH_MAX: usize = 8;

/// A disk image that was opened.
#[derive(Debug)]
pub struct Opened {
    /// How it is written into its file.
    pub format: Format,
    /// Bytes of the disk.
    pub size: u64,
    /// The disk's GUID.
    pub guid: String,
    /// The files on its EFI system partition, by path.
    pub files: Vec<File>,
}

impl Opened {
    /// What a file holds. Paths on it mean the same in any letter case.
    pub fn file(&self, path: &str) -> Option<&[u8]> {
        self.files.iter().find(|file| file.path.eq_ignore_ascii_case(path)).map(|file| file.bytes.as_slice())
    }
}

/// Opens the disk image in this file, raw or qcow2.
pub fn open(path: &Path) -> Result<Opened, String> {
    let told = |error: io::Error| format!("{}: {error}", path.display());
    let mut file = std::fs::File::open(path).map_err(told)?;
    match Qcow2::open(&mut file).map_err(told)? {
        Some(disk) => {
            let size = disk.size();
            read(disk, size, Format::Qcow2)
        }
        None => {
            let size = file.seek(SeekFrom::End(0)).map_err(told)?;
            read(file, size, Format::Raw)
        }
    }
    .map_err(told)
}

pub(super) fn read(disk: impl Read + Seek, size: u64, format: Format) -> io::Result<Opened> {
    let mut disk = Bounded { disk, start: 0, size, at: 0, left: READ_MAX };
    let header = header::read_header_from_arbitrary_device(&mut disk, LogicalBlockSize::Lb512).map_err(|error| {
        invalid(format!("this is no disk image of Outpost, for it has no partition table: {error}"))
    })?;
    // UEFI 2.10, 5.3.2: what everybody writes. The crate believes these two.
    if header.part_size != 128 || header.num_parts > 128 {
        return Err(invalid("its partition table has an unusual form".into()));
    }
    let partitions = partition::file_read_partitions(&mut disk, &header, LogicalBlockSize::Lb512)?;
    let esp = partitions.values().find(|partition| partition.part_type_guid == partition_types::EFI);
    let esp = esp.ok_or_else(|| invalid("it has no EFI system partition".into()))?;
    let sectors = esp.last_lba.checked_sub(esp.first_lba).and_then(|len| len.checked_add(1));
    let start = esp.first_lba.checked_mul(SECTOR);
    let len = sectors.and_then(|sectors| sectors.checked_mul(SECTOR));
    let (Some(start), Some(len)) = (start, len) else { return Err(invalid("its partition has no end".into())) };
    if start.checked_add(len).is_none_or(|end| end > size) {
        return Err(invalid("its partition ends beyond the disk: the file is truncated".into()));
    }
    let volume = Bounded { start, size: len, at: 0, ..disk };
    let system = FileSystem::new(volume, FsOptions::new())
        .map_err(|error| invalid(format!("the file system of its EFI system partition is damaged: {error}")))?;
    let mut files = Vec::new();
    collect(&system.root_dir(), "", DEPTH_MAX, &mut files)?;
    files.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(Opened { format, size, guid: header.disk_guid.to_string(), files })
}

/// Reads every file of a folder and of those in it.
fn collect<D: Read + Write + Seek>(
    folder: &Dir<'_, D>,
    path: &str,
    depth: usize,
    files: &mut Vec<File>,
) -> io::Result<()> {
    for entry in folder.iter() {
        let entry = entry?;
        let name = entry.file_name();
        let path = if path.is_empty() { name.clone() } else { format!("{path}/{name}") };
        if name == "." || name == ".." {
            continue;
        }
        if files.len() == FILES_MAX || depth == 0 || entry.len() > FILE_MAX {
            return Err(invalid(format!(
                "{path}: too many files, too deep, or too long a file for an image of Outpost"
            )));
        }
        if entry.is_dir() {
            collect(&entry.to_dir(), &path, depth - 1, files)?;
            continue;
        }
        let mut bytes = Vec::new();
        entry.to_file().take(FILE_MAX).read_to_end(&mut bytes)?;
        if bytes.len() as u64 != entry.len() {
            return Err(invalid(format!("{path} has {} of its {} bytes: it is truncated", bytes.len(), entry.len())));
        }
        files.push(File { path, bytes });
    }
    Ok(())
}

fn invalid(what: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

/// A part of a disk that is only read, and not for ever.
#[derive(Debug)]
struct Bounded<D> {
    disk: D,
    start: u64,
    size: u64,
    at: u64,
    left: u64,
}

impl<D: Read + Seek> Read for Bounded<D> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let len = (into.len() as u64).min(self.size.saturating_sub(self.at));
        self.left =
            self.left.checked_sub(len.max(1)).ok_or_else(|| invalid("its file system leads in a circle".into()))?;
        self.disk.seek(SeekFrom::Start(self.start + self.at))?;
        let read = self.disk.read(&mut into[..len as usize])?;
        self.at += read as u64;
        Ok(read)
    }
}

impl<D> Seek for Bounded<D> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let (base, by) = match to {
            SeekFrom::Start(at) => (at, 0),
            SeekFrom::End(by) => (self.size, by),
            SeekFrom::Current(by) => (self.at, by),
        };
        self.at = base.checked_add_signed(by).ok_or(io::ErrorKind::InvalidInput)?;
        Ok(self.at)
    }
}

/// The crates ask for it, and never write what they only read; what they would is dropped.
impl<D> Write for Bounded<D> {
    fn write(&mut self, _: &[u8]) -> io::Result<usize> {
        Err(io::ErrorKind::ReadOnlyFilesystem.into())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
