//! QEMU's fw_cfg device: files that the host gives a guest, `-fw_cfg name=opt/outpost/config,file=config.json`.
//!
//! The old interface is enough: a selector port and a data port that gives one byte after the other (QEMU,
//! docs/specs/fw_cfg.rst). Numbers of the directory are big-endian. A machine without the device reads 0xff.

/// Ports of the device, so that the reader runs on a host against a made-up one.
pub trait Ports {
    /// Selects an item; reading begins at its first byte.
    fn select(&mut self, item: u16);
    /// The next byte of the item.
    fn next(&mut self) -> u8;
}

/// Where the signature is.
const SIGNATURE: u16 = 0x0000;

/// Where the list of files is.
const DIRECTORY: u16 = 0x0019;

/// Files looked at; QEMU gives a guest some tens.
const FILES_MAX: u32 = 256;

/// A file of the directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct File {
    item: u16,
    len: u32,
}

/// Finds these files in one pass over the directory, for each byte of it is an exit to the VMM. `None` for each that is
/// not there or empty; of two with one name the first. Without a device there is none.
pub fn find<const N: usize>(ports: &mut impl Ports, names: [&str; N]) -> [Option<File>; N] {
    let mut found = [None; N];
    ports.select(SIGNATURE);
    if bytes::<4>(ports) != *b"QEMU" {
        return found;
    }
    ports.select(DIRECTORY);
    for _ in 0..u32::from_be_bytes(bytes(ports)).min(FILES_MAX) {
        let len = u32::from_be_bytes(bytes(ports));
        let item = u16::from_be_bytes(bytes(ports));
        let _reserved: [u8; 2] = bytes(ports);
        let name: [u8; 56] = bytes(ports);
        let name = name.split(|&byte| byte == 0).next().unwrap_or_default();
        for (place, wanted) in found.iter_mut().zip(names) {
            if place.is_none() && len > 0 && name == wanted.as_bytes() {
                *place = Some(File { item, len });
            }
        }
        if found.iter().all(Option::is_some) {
            break;
        }
    }
    found
}

/// Copies the file into `into` and returns its length; of one that is longer, as much as fits.
pub fn read(ports: &mut impl Ports, file: File, into: &mut [u8]) -> usize {
    ports.select(file.item);
    let len = usize::try_from(file.len).unwrap_or(usize::MAX).min(into.len());
    into.iter_mut().take(len).for_each(|byte| *byte = ports.next());
    len
}

fn bytes<const N: usize>(ports: &mut impl Ports) -> [u8; N] {
    core::array::from_fn(|_| ports.next())
}

/// The device of a PC.
#[cfg(target_os = "none")]
pub struct Pc;

#[cfg(target_os = "none")]
impl Ports for Pc {
    fn select(&mut self, item: u16) {
        // SAFETY: the selector of fw_cfg; on a machine without it, a port that nobody listens to.
        unsafe { x86_64::instructions::port::Port::new(0x510).write(item) };
    }

    fn next(&mut self) -> u8 {
        // SAFETY: reading the data port moves to the item's next byte and nothing else.
        unsafe { x86_64::instructions::port::Port::new(0x511).read() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAMES: [&str; 2] = ["opt/outpost/content", "opt/outpost/config"];

    /// A device with these items, or none; the rest of the one that is selected; how many bytes were read.
    struct Fake(Vec<(u16, Vec<u8>)>, std::vec::IntoIter<u8>, usize);

    impl Ports for Fake {
        fn select(&mut self, item: u16) {
            let found = self.0.iter().find(|(number, _)| *number == item);
            self.1 = found.map_or(Vec::new(), |(_, bytes)| bytes.clone()).into_iter();
        }

        fn next(&mut self) -> u8 {
            self.2 += 1;
            self.1.next().unwrap_or(0xff)
        }
    }

    fn entry(name: &str, item: u16, len: u32) -> Vec<u8> {
        let mut entry = [&len.to_be_bytes()[..], &item.to_be_bytes(), &[0; 2], name.as_bytes()].concat();
        entry.resize(64, 0);
        entry
    }

    fn device(files: &[(&str, u16, u32)]) -> Fake {
        let count = (files.len() as u32).to_be_bytes().to_vec();
        let directory = files.iter().fold(count, |list, (name, item, len)| [list, entry(name, *item, *len)].concat());
        let items = vec![(SIGNATURE, b"QEMU".to_vec()), (DIRECTORY, directory), (0x21, b"{\"a\":1}".to_vec())];
        Fake(items, Vec::new().into_iter(), 0)
    }

    #[test]
    fn a_file_is_found_and_cut_at_the_room_there_is() {
        // A document of the wrong file, or one that writes past its buffer, is in force without anybody having said so.
        let files = [("etc/acpi", 0x20, 9), ("opt/outpost/config2", 0x22, 7), ("opt/outpost/config", 0x21, 7)];
        let mut fake = device(&files);
        let mut into = [0; 64];
        let [None, Some(config)] = find(&mut fake, NAMES) else { panic!("config is there, and content is not") };
        assert_eq!(read(&mut fake, config, &mut into), 7);
        assert_eq!(&into[..8], b"{\"a\":1}\0");
        assert_eq!(read(&mut fake, config, &mut into[..3]), 3);
        assert_eq!(find(&mut fake, ["opt/outpost", "opt/outpost/config2"]), [None, Some(File { item: 0x22, len: 7 })]);
    }

    #[test]
    fn both_files_are_found_in_one_pass() {
        // Each byte of the directory is an exit to the VMM, before the machine serves anybody.
        let files =
            [("etc/acpi", 0x20, 9), ("opt/outpost/config", 0x21, 7), ("opt/outpost/content", 0x22, 5), ("x", 0x23, 1)];
        let mut fake = device(&files);
        let [content, config] = find(&mut fake, NAMES);
        assert_eq!((content, config), (Some(File { item: 0x22, len: 5 }), Some(File { item: 0x21, len: 7 })));
        assert_eq!(fake.2, 4 + 4 + 3 * 64, "signature, count, and no entry behind the last that was sought");
    }

    #[test]
    fn no_device_and_a_lying_one_are_no_file() {
        assert_eq!(find(&mut Fake(Vec::new(), Vec::new().into_iter(), 0), NAMES), [None; 2]);
        // A directory that claims four billion files ends.
        let lying = vec![(SIGNATURE, b"QEMU".to_vec()), (DIRECTORY, vec![0xff; 4])];
        let mut lying = Fake(lying, Vec::new().into_iter(), 0);
        assert_eq!(find(&mut lying, NAMES), [None; 2]);
        assert_eq!(lying.2, 4 + 4 + FILES_MAX as usize * 64);
        assert_eq!(find(&mut device(&[("opt/outpost/config", 0x21, 0)]), NAMES), [None; 2]);
    }
}
