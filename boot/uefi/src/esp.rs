//! The EFI system partition that the loader was started from, and the three files on it.

use crate::load::Refusal;
use uefi::proto::media::file::{Directory, File, FileAttribute, FileMode, RegularFile};
use uefi::{CStr16, Status, boot};

/// The partition, open for reading.
pub struct Esp {
    root: Directory,
}

/// What became of a file that need not be there.
pub enum Optional {
    /// It is not there.
    Absent,
    /// So many bytes of it were read, at most as many as there was room for.
    Read(usize),
    /// It is there and cannot be read.
    Unreadable(Status),
}

impl Esp {
    /// Opens the partition that this loader is on.
    pub fn open() -> Result<Esp, Refusal> {
        let open = || boot::get_image_file_system(boot::image_handle())?.open_volume();
        open().map(|root| Esp { root }).map_err(|error| Refusal::NoDisk(error.status()))
    }

    /// A file's length; the file is then at its start.
    pub fn length(file: &mut RegularFile) -> uefi::Result<u64> {
        file.set_position(RegularFile::END_OF_FILE)?;
        let length = file.get_position()?;
        file.set_position(0)?;
        Ok(length)
    }

    /// Opens a file for reading.
    pub fn file(&mut self, path: &CStr16) -> uefi::Result<RegularFile> {
        let file = self.root.open(path, FileMode::Read, FileAttribute::empty())?;
        file.into_regular_file().ok_or(Status::UNSUPPORTED.into())
    }

    /// Reads the beginning of a file that need not be there.
    pub fn optional(&mut self, path: &CStr16, into: &mut [u8]) -> Optional {
        match self.file(path).and_then(|mut file| file.read(into)) {
            Ok(len) => Optional::Read(len),
            Err(error) if error.status() == Status::NOT_FOUND => Optional::Absent,
            Err(error) => Optional::Unreadable(error.status()),
        }
    }
}
