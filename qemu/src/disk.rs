//! A disk that a machine boots from by UEFI: OVMF as Debian packages it, its settings forgotten at the end.

use std::path::{Path, PathBuf};

/// OVMF's code and the template of its settings, by whether it demands signatures (Secure Boot) or not.
const OPEN: [&str; 2] = ["/usr/share/OVMF/OVMF_CODE_4M.fd", "/usr/share/OVMF/OVMF_VARS_4M.fd"];
const SIGNED: [&str; 2] = ["/usr/share/OVMF/OVMF_CODE_4M.secboot.fd", "/usr/share/OVMF/OVMF_VARS_4M.snakeoil.fd"];

/// RAM that OVMF starts in, with room.
pub(crate) const MEMORY_MIB: u32 = 128;

/// What a disk is attached to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bus {
    /// virtio-blk: what most machines have.
    Virtio,
    /// virtio-scsi: Proxmox and clouds.
    Scsi,
    /// AHCI: q35 by default.
    Ahci,
}

/// A disk image.
#[derive(Clone, Debug)]
pub struct Disk {
    /// Its file.
    pub path: PathBuf,
    /// QEMU's name of its format: `raw`, `qcow2`.
    pub format: &'static str,
    /// What it is attached to.
    pub bus: Bus,
    /// Whether the firmware starts only what is signed, with Debian's well-known test key.
    pub secure_boot: bool,
}

impl Disk {
    /// This file on virtio-blk.
    pub fn new(path: impl Into<PathBuf>, format: &'static str) -> Disk {
        Disk { path: path.into(), format, bus: Bus::Virtio, secure_boot: false }
    }

    /// QEMU's arguments. Nothing is ever written: not to the disk, and settings of the firmware go to a file that QEMU
    /// forgets.
    pub(crate) fn arguments(&self) -> Vec<String> {
        let [code, settings] = self.firmware();
        let file = self.path.display();
        // AHCI has no disk that cannot be written, so what is written there is forgotten too.
        let guard = if self.bus == Bus::Ahci { "snapshot=on" } else { "readonly=on" };
        let mut drives = vec![
            format!("if=pflash,unit=0,format=raw,readonly=on,file={code}"),
            format!("if=pflash,unit=1,format=raw,snapshot=on,file={settings}"),
            format!("if=none,id=disk0,format={},{guard},file={file}", self.format),
        ];
        let mut arguments: Vec<String> = drives.drain(..).flat_map(|drive| [String::from("-drive"), drive]).collect();
        let device = match self.bus {
            Bus::Virtio => "-device virtio-blk-pci,drive=disk0,bootindex=0",
            Bus::Scsi => "-device virtio-scsi-pci -device scsi-hd,drive=disk0,bootindex=0",
            Bus::Ahci => "-device ide-hd,drive=disk0,bootindex=0",
        };
        arguments.extend(device.split(' ').map(String::from));
        if self.secure_boot {
            // The firmware keeps its keys from the system by system management mode.
            arguments.extend(["-global", "driver=cfi.pflash01,property=secure,value=on"].map(String::from));
        }
        arguments
    }

    /// Whether the firmware is there; else what to install.
    pub fn firmware_works(&self) -> Result<(), String> {
        match self.firmware().into_iter().find(|path| !Path::new(path).exists()) {
            Some(path) => Err(format!("{path} is not there: apt-get install ovmf")),
            None => Ok(()),
        }
    }

    fn firmware(&self) -> [&'static str; 2] {
        if self.secure_boot { SIGNED } else { OPEN }
    }
}
