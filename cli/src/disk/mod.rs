//! The disk image of a UEFI machine: a GPT with one EFI system partition, and on it the loader, the ELF and the
//! configuration.
//!
//! ```text
//! files ──write──▶ raw disk ──qcow2::encode──▶ qcow2          GPT ─ ESP (FAT16) ─ EFI/BOOT/BOOTX64.EFI
//! files ◀──open─── raw or qcow2 file                                            └ outpost/outpost.elf, config.json …
//! ```
//!
//! What always holds: the same files give the same bytes, for GUIDs come from the image id and times are fixed; nothing
//! needs root, a loop device or a program beside this one. What is opened may come from anybody: every list, depth and
//! length has a bound, and the work on it has one in all.

mod qcow2;
mod read;
mod write;

pub use read::{Opened, open};
pub use write::{bind, bound_id, write};

use std::borrow::Cow;

/// The loader: where UEFI looks on a disk that it knows nothing of (UEFI 2.10, 3.5.1.1).
pub const LOADER: &str = "EFI/BOOT/BOOTX64.EFI";

/// The image.
pub const ELF: &str = "outpost/outpost.elf";

/// The configuration document.
pub const CONFIG: &str = "outpost/config.json";

/// The content bundle.
pub const CONTENT: &str = "outpost/content.bin";

/// Words for the kernel command line; there is none unless somebody puts it there.
pub const COMMAND_LINE: &str = "outpost/cmdline.txt";

/// Bytes of a sector.
const SECTOR: u64 = 512;

/// How the disk is written into a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Byte for byte: for `dd`, clouds and every hypervisor.
    Raw,
    /// QEMU's format, version 3: no byte for what is empty.
    Qcow2,
}

/// A file of the EFI system partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct File {
    /// Its path from the root, parted by `/`.
    pub path: String,
    /// What it holds.
    pub bytes: Vec<u8>,
}

impl File {
    /// A file of this path.
    pub fn new(path: &str, bytes: impl Into<Vec<u8>>) -> File {
        File { path: path.into(), bytes: bytes.into() }
    }
}

/// The raw disk of this image, its loader, which must be bound to it, its configuration and its content bundle.
pub fn image(elf: &[u8], loader: &[u8], config: Option<&[u8]>, content: Option<&[u8]>) -> Result<Vec<u8>, String> {
    let id = crate::image::id(elf)?;
    if bound_id(loader) != Some(id) {
        return Err(String::from("the loader was made for another image. Sign the outpost.efi of this one"));
    }
    let mut files = vec![File::new(LOADER, loader), File::new(ELF, elf)];
    files.extend(config.map(|config| File::new(CONFIG, config)));
    files.extend(content.map(|content| File::new(CONTENT, content)));
    write(&files, &id)
}

/// A raw disk in this format.
pub fn encode(raw: &[u8], format: Format) -> Cow<'_, [u8]> {
    match format {
        Format::Raw => Cow::Borrowed(raw),
        Format::Qcow2 => Cow::Owned(qcow2::encode(raw)),
    }
}

#[cfg(test)]
mod tests;
