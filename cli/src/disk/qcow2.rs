//! QEMU's disk format, version 3 (QEMU: docs/interop/qcow2.txt): written whole, read through its two tables.
//!
//! ```text
//! header ─ refcount table ─ refcount blocks ─ L1 table ─ L2 tables ─ clusters that are not all zero
//! ```
//!
//! Ours has clusters of 4 KiB, so that little is left empty; what others write is read with any size, unless it is
//! compressed, encrypted, or depends on another file.

use std::io::{self, Read, Seek, SeekFrom};

const MAGIC: &[u8; 4] = b"QFI\xfb";
const HEADER: usize = 104;
const CLUSTER_BITS: u32 = 12;
const CLUSTER: usize = 1 << CLUSTER_BITS;

/// Entries of 8 bytes in a cluster of ours, of 2 bytes in a refcount block.
const ENTRIES: usize = CLUSTER / 8;
const REFCOUNTS: usize = CLUSTER / 2;

/// "No other table names this cluster", which is true of all that are used once.
const COPIED: u64 = 1 << 63;
const COMPRESSED: u64 = 1 << 62;
const ZERO: u64 = 1;
const OFFSET: u64 = 0x00ff_ffff_ffff_fe00;

/// Cluster sizes that QEMU allows.
const CLUSTER_BITS_ALLOWED: std::ops::RangeInclusive<u32> = 9..=21;

/// Longest L1 table that is read, in entries: of a disk of 2 TiB with QEMU's usual clusters.
const L1_MAX: u32 = 4096;

/// A raw disk as qcow2.
pub fn encode(raw: &[u8]) -> Vec<u8> {
    let full: Vec<(usize, &[u8])> =
        raw.chunks(CLUSTER).enumerate().filter(|(_, cluster)| cluster.iter().any(|byte| *byte != 0)).collect();
    let l2_count = raw.len().div_ceil(CLUSTER).div_ceil(ENTRIES);
    let l1_clusters = l2_count.div_ceil(ENTRIES).max(1);
    // The refcount blocks count themselves; one block more never needs another one.
    let others = 2 + l1_clusters + l2_count + full.len();
    let block_count = (others + others.div_ceil(REFCOUNTS) + 1).div_ceil(REFCOUNTS);
    let l1 = 2 + block_count;
    let l2 = l1 + l1_clusters;
    let data = l2 + l2_count;
    let total = data + full.len();
    let mut out = vec![0; total * CLUSTER];

    out[..4].copy_from_slice(MAGIC);
    let mut header = |at: usize, value: u64, len: usize| {
        out[at..at + len].copy_from_slice(&value.to_be_bytes()[8 - len..]);
    };
    header(4, 3, 4); // version
    header(20, u64::from(CLUSTER_BITS), 4);
    header(24, raw.len() as u64, 8);
    header(36, l2_count as u64, 4);
    header(40, offset(l1), 8);
    header(48, offset(1), 8); // refcount table
    header(56, 1, 4); // its clusters
    header(96, 4, 4); // 1 << 4 bits in a refcount
    header(100, HEADER as u64, 4);

    let mut put = |cluster: usize, index: usize, value: u64| {
        let at = cluster * CLUSTER + index * 8;
        out[at..at + 8].copy_from_slice(&value.to_be_bytes());
    };
    for block in 0..block_count {
        put(1, block, offset(2 + block));
    }
    for table in 0..l2_count {
        put(l1, table, offset(l2 + table) | COPIED);
    }
    for (place, (index, _)) in full.iter().enumerate() {
        put(l2, *index, offset(data + place) | COPIED);
    }
    for count in out[2 * CLUSTER..].chunks_exact_mut(2).take(total) {
        count.copy_from_slice(&1u16.to_be_bytes());
    }
    for ((_, bytes), cluster) in full.iter().zip(out[data * CLUSTER..].chunks_exact_mut(CLUSTER)) {
        cluster[..bytes.len()].copy_from_slice(bytes);
    }
    out
}

const fn offset(cluster: usize) -> u64 {
    (cluster * CLUSTER) as u64
}

/// A qcow2 file, read as the disk in it.
#[derive(Debug)]
pub struct Qcow2<F> {
    file: F,
    cluster_bits: u32,
    size: u64,
    l1: Vec<u64>,
    at: u64,
}

impl<F: Read + Seek> Qcow2<F> {
    /// Reads the header. `None`: it is not qcow2.
    pub fn open(mut file: F) -> io::Result<Option<Qcow2<F>>> {
        let mut header = [0; HEADER];
        file.rewind()?;
        if file.read_exact(&mut header).is_err() || !header.starts_with(MAGIC) {
            return Ok(None);
        }
        let (version, backing, cluster_bits) = (be32(&header, 4), be64(&header, 8), be32(&header, 20));
        let (size, encryption, l1_len, l1_at) =
            (be64(&header, 24), be32(&header, 32), be32(&header, 36), be64(&header, 40));
        // Bit 0, "dirty", only says that refcounts may be wrong: they are not read.
        let features = if version >= 3 { be64(&header, 72) & !1 } else { 0 };
        let what = if !(2..=3).contains(&version) {
            Some("a version that is not known")
        } else if backing != 0 {
            Some("a backing file")
        } else if encryption != 0 {
            Some("encryption")
        } else if features != 0 {
            Some("features that are not known")
        } else if !CLUSTER_BITS_ALLOWED.contains(&cluster_bits) || l1_len > L1_MAX {
            Some("sizes out of bounds")
        } else {
            None
        };
        if let Some(what) = what {
            return Err(unsupported(what));
        }
        let mut table = vec![0; l1_len as usize * 8];
        file.seek(SeekFrom::Start(l1_at))?;
        file.read_exact(&mut table)?;
        let l1 = table.chunks_exact(8).map(|entry| be64(entry, 0)).collect();
        Ok(Some(Qcow2 { file, cluster_bits, size, l1, at: 0 }))
    }

    /// Bytes of the disk.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Where the byte at `at` of the disk is in the file; `None`: it is zero.
    fn place(&mut self, at: u64) -> io::Result<Option<u64>> {
        let l2_bits = self.cluster_bits - 3;
        let cluster = at >> self.cluster_bits;
        let l1 = usize::try_from(cluster >> l2_bits).ok().and_then(|index| self.l1.get(index));
        let table = l1.ok_or(io::ErrorKind::InvalidData)? & OFFSET;
        if table == 0 {
            return Ok(None);
        }
        let mut entry = [0; 8];
        self.file.seek(SeekFrom::Start(table + (cluster & ((1 << l2_bits) - 1)) * 8))?;
        self.file.read_exact(&mut entry)?;
        let entry = u64::from_be_bytes(entry);
        if entry & COMPRESSED != 0 {
            return Err(unsupported("compressed clusters"));
        }
        let data = entry & OFFSET;
        Ok((data != 0 && entry & ZERO == 0).then_some(data + (at & ((1 << self.cluster_bits) - 1))))
    }
}

fn unsupported(what: &str) -> io::Error {
    let remedy = "convert it first: qemu-img convert -O raw FILE FILE.raw";
    io::Error::new(io::ErrorKind::Unsupported, format!("it is qcow2 with {what}, which is not read here; {remedy}"))
}

impl<F: Read + Seek> Read for Qcow2<F> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let left_in_cluster = (1 << self.cluster_bits) - (self.at & ((1 << self.cluster_bits) - 1));
        let len = (into.len() as u64).min(left_in_cluster).min(self.size.saturating_sub(self.at));
        let Some(into) = into.get_mut(..len as usize).filter(|into| !into.is_empty()) else { return Ok(0) };
        match self.place(self.at)? {
            Some(place) => {
                self.file.seek(SeekFrom::Start(place))?;
                self.file.read_exact(into)?;
            }
            None => into.fill(0),
        }
        self.at += len;
        Ok(into.len())
    }
}

impl<F: Read + Seek> Seek for Qcow2<F> {
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

fn be32(bytes: &[u8], at: usize) -> u32 {
    bytes[at..at + 4].iter().fold(0, |value, byte| value << 8 | u32::from(*byte))
}

fn be64(bytes: &[u8], at: usize) -> u64 {
    u64::from(be32(bytes, at)) << 32 | u64::from(be32(bytes, at + 4))
}
