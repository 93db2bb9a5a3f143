//! Writes the disk: partition table, file system, files.

use super::{File, SECTOR};
use fatfs::{Date, DateTime, FatType, FileSystem, FormatVolumeOptions, FsOptions, Time, TimeProvider};
use gpt::partition::Partition;
use gpt::{GptConfig, disk::LogicalBlockSize, mbr::ProtectiveMBR, partition_types};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::io::{Cursor, Write};
use uuid::Uuid;

/// Size of the disk: what holds an image of half a MiB, its loader and a content bundle twice over. Whole MiB, for some
/// clouds take nothing else.
const DISK: u64 = 4 << 20;

/// Where the partition begins: 1 MiB, as every tool aligns.
const ESP_START: u64 = (1 << 20) / SECTOR;

/// The sectors behind the last partition: the second table.
const TABLE_SECTORS: u64 = 33;

/// FAT16 begins at this many clusters (Microsoft, FAT specification 1.03): one sector each is the smallest there is.
const _: () = assert!(DISK / SECTOR - ESP_START - TABLE_SECTORS > 4085 + 64);

/// What stands before the image id in the loader (boot/uefi).
const MARK: &[u8] = b"OUTPOST-IMAGE-ID";

/// Time as it is on the disk: the first that FAT knows.
#[derive(Debug)]
struct NoTime;

impl TimeProvider for NoTime {
    fn get_current_date(&self) -> Date {
        Date { year: 1980, month: 1, day: 1 }
    }

    fn get_current_date_time(&self) -> DateTime {
        DateTime { date: self.get_current_date(), time: Time { hour: 0, min: 0, sec: 0, millis: 0 } }
    }
}

static NO_TIME: NoTime = NoTime;

/// The raw disk with these files. Its GUIDs come from the image id.
pub fn write(files: &[File], id: &[u8; 32]) -> Result<Vec<u8>, String> {
    let mut disk = Cursor::new(vec![0; DISK as usize]);
    let esp = partition(&mut disk, id).map_err(|error| format!("the partition table cannot be written: {error}"))?;
    let volume = Cursor::new(vec![0; (esp.sectors_len().unwrap_or(0) * SECTOR) as usize]);
    let volume = fill(volume, files, id).map_err(|error| {
        let bytes = files.iter().map(|file| file.bytes.len()).sum::<usize>();
        format!("the files ({bytes} bytes) cannot be written into a disk of {DISK} bytes: {error}")
    })?;
    let mut disk = disk.into_inner();
    let start = (esp.first_lba * SECTOR) as usize;
    disk[start..start + volume.len()].copy_from_slice(&volume);
    Ok(disk)
}

/// Writes both partition tables; returns the one partition.
fn partition(disk: &mut Cursor<Vec<u8>>, id: &[u8; 32]) -> Result<Partition, gpt::GptError> {
    let sectors = DISK / SECTOR;
    let protective = ProtectiveMBR::with_lb_size((sectors - 1) as u32);
    protective.overwrite_lba0(disk).map_err(|error| std::io::Error::other(error.to_string()))?;
    let esp = Partition {
        part_type_guid: partition_types::EFI,
        part_guid: guid(id, "partition"),
        first_lba: ESP_START,
        last_lba: sectors - TABLE_SECTORS - 2,
        flags: 0,
        name: "outpost".into(),
    };
    let config = GptConfig::new().writable(true).logical_block_size(LogicalBlockSize::Lb512);
    let mut table = config.create_from_device(disk, Some(guid(id, "disk")))?;
    table.update_partitions(BTreeMap::from([(1, esp.clone())]))?;
    table.write()?;
    Ok(esp)
}

/// A file system with these files.
fn fill(mut volume: Cursor<Vec<u8>>, files: &[File], id: &[u8; 32]) -> std::io::Result<Vec<u8>> {
    let options = FormatVolumeOptions::new()
        .fat_type(FatType::Fat16)
        .bytes_per_cluster(SECTOR as u32)
        .volume_id(guid(id, "volume").as_fields().0)
        .volume_label(*b"OUTPOST    ");
    fatfs::format_volume(&mut volume, options)?;
    let system = FileSystem::new(&mut volume, FsOptions::new().time_provider(&NO_TIME))?;
    for file in files {
        let mut folder = system.root_dir();
        let mut parts = file.path.split('/').peekable();
        while let Some(part) = parts.next() {
            if parts.peek().is_some() {
                folder = folder.create_dir(part)?;
            } else {
                folder.create_file(part)?.write_all(&file.bytes)?;
            }
        }
    }
    system.unmount()?;
    Ok(volume.into_inner())
}

/// A GUID that depends on the image id alone (RFC 9562, 5.8).
fn guid(id: &[u8; 32], what: &str) -> Uuid {
    let digest = Sha256::new().chain_update("outpost ").chain_update(what).chain_update(id).finalize();
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&digest[..16]);
    uuid::Builder::from_custom_bytes(bytes).into_uuid()
}

/// Binds a loader to the image of this id: it starts no other.
pub fn bind(loader: &mut [u8], id: &[u8; 32]) -> Result<(), String> {
    let at = slot(loader).ok_or("the loader has no place for the image id, or more than one")?;
    loader[at..at + id.len()].copy_from_slice(id);
    Ok(())
}

/// The id of the image that a loader is bound to; `None`: it is not one of ours.
pub fn bound_id(loader: &[u8]) -> Option<[u8; 32]> {
    let at = slot(loader)?;
    loader.get(at..at + 32)?.try_into().ok()
}

/// Where the image id is in a loader.
fn slot(loader: &[u8]) -> Option<usize> {
    let mut marks = loader.windows(MARK.len()).enumerate().filter(|(_, bytes)| *bytes == MARK).map(|(at, _)| at);
    let at = marks.next()? + MARK.len();
    (marks.next().is_none() && at + 32 <= loader.len()).then_some(at)
}
