//! What to boot, on which machine: a value that becomes QEMU's command line.

use crate::disk::{self, Disk};
use crate::{Error, Running};
use std::ffi::OsString;
use std::fmt;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::path::{Path, PathBuf};
use std::process::Command;

/// A board.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Machine {
    /// The small one: virtio over memory-mapped I/O, no PCI, ACPI for the power button.
    Microvm,
    /// Intel Q35: PCI Express.
    Q35,
    /// Intel 440FX: PCI.
    Pc,
}

impl Machine {
    /// All of them.
    pub const ALL: [Machine; 3] = [Machine::Microvm, Machine::Q35, Machine::Pc];

    /// The network cards it can have; the first is the one that a plain command line gives.
    pub const fn nics(self) -> &'static [Nic] {
        match self {
            Machine::Microvm => &[Nic::MmioV2, Nic::MmioV1],
            Machine::Q35 | Machine::Pc => &[Nic::PciTransitional, Nic::PciModern],
        }
    }
}

impl fmt::Display for Machine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Machine::Microvm => "microvm",
            Machine::Q35 => "q35",
            Machine::Pc => "pc",
        })
    }
}

/// A virtio network card, as the guest finds it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Nic {
    /// Memory-mapped, legacy layout (virtio 0.9.5).
    MmioV1,
    /// Memory-mapped, virtio 1.x.
    MmioV2,
    /// PCI, virtio 1.x only (device id 0x1041).
    PciModern,
    /// PCI, both layouts (device id 0x1000): what plain QEMU and Proxmox give.
    PciTransitional,
}

impl fmt::Display for Nic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Nic::MmioV1 => "virtio-mmio v1",
            Nic::MmioV2 => "virtio-mmio v2",
            Nic::PciModern => "virtio-pci modern",
            Nic::PciTransitional => "virtio-pci transitional",
        })
    }
}

/// What runs the guest's instructions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Accel {
    /// QEMU's translator: everywhere.
    Tcg,
    /// The processor: where [`kvm_works`](crate::kvm_works).
    Kvm,
}

impl fmt::Display for Accel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Accel::Tcg => "tcg",
            Accel::Kvm => "kvm",
        })
    }
}

/// A port of the host that leads to one of the guest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Forward {
    /// On the host; port 0 takes a free one, which [`Running::forwarded`] tells.
    pub host: SocketAddrV4,
    /// TCP port of the guest.
    pub guest_port: u16,
}

impl Forward {
    /// A free port of 127.0.0.1 that leads to this port of the guest.
    pub const fn to(guest_port: u16) -> Forward {
        Forward { host: SocketAddrV4::new(Ipv4Addr::LOCALHOST, 0), guest_port }
    }
}

/// What the card is plugged into.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Network {
    /// QEMU's user network: DHCP, 10.0.2.2 is the host's loopback. Needs no rights; not for timing.
    User(Vec<Forward>),
    /// A hub with nobody else on it: the link is up and nothing ever answers.
    Silent,
    /// An existing tap interface of the host.
    Tap(String),
}

/// A machine to be started.
#[derive(Clone, Debug)]
pub struct Vm {
    /// The board.
    pub machine: Machine,
    /// What runs it.
    pub accel: Accel,
    /// CPU model; `None`: everything that the accelerator can give.
    pub cpu: Option<String>,
    /// RAM in MiB.
    pub memory_mib: u32,
    /// The ELF image; without one the firmware runs.
    pub kernel: Option<PathBuf>,
    /// A disk to boot from by UEFI, for a machine without a kernel; q35 only.
    pub disk: Option<Disk>,
    /// The guest's command line.
    pub command_line: String,
    /// The configuration document, given as the first PVH module.
    pub config: Option<PathBuf>,
    /// The configuration document, given by fw_cfg.
    pub config_by_fw_cfg: Option<PathBuf>,
    /// The content bundle, given by fw_cfg.
    pub content: Option<PathBuf>,
    /// The network card, or none.
    pub nic: Option<Nic>,
    /// What the card is plugged into.
    pub network: Network,
    /// Whether a reset of the guest boots it again; otherwise it ends QEMU.
    pub reboot: bool,
    /// Whether Ctrl-C on the terminal does not reach QEMU, because the caller handles it.
    pub shielded: bool,
    /// More arguments of QEMU's.
    pub extra: Vec<String>,
}

impl Vm {
    /// The image on this machine as most people run it: translated, 12 MiB, its usual card, user network.
    pub fn new(machine: Machine, kernel: impl Into<PathBuf>) -> Vm {
        Vm {
            machine,
            accel: Accel::Tcg,
            cpu: None,
            memory_mib: 12,
            kernel: Some(kernel.into()),
            disk: None,
            command_line: String::new(),
            config: None,
            config_by_fw_cfg: None,
            content: None,
            nic: machine.nics().first().copied(),
            network: Network::User(Vec::new()),
            reboot: true,
            shielded: false,
            extra: Vec::new(),
        }
    }

    /// A q35 that boots this disk by UEFI.
    pub fn from_disk(disk: Disk) -> Vm {
        Vm { memory_mib: disk::MEMORY_MIB, kernel: None, disk: Some(disk), ..Vm::new(Machine::Q35, "") }
    }

    /// Starts it. When this returns, QEMU runs, its monitor answers and its ports are bound.
    pub fn start(&self) -> Result<Running, Error> {
        Running::start(self)
    }

    /// The command that runs it with nothing of ours beside it: no monitor, and nobody who waits for one. For
    /// benchmarks, which time QEMU itself. The ports of a user network must be chosen.
    pub fn command(&self) -> Result<Command, Error> {
        let forwards = match &self.network {
            Network::User(forwards) => forwards.as_slice(),
            Network::Silent | Network::Tap(_) => &[],
        };
        let mut command = Command::new(crate::PROGRAM);
        command.args(self.arguments(forwards, None)?);
        Ok(command)
    }

    /// QEMU's arguments. `forwards` are those of a user network with their ports chosen; the monitor is at `qmp`.
    pub(crate) fn arguments(&self, forwards: &[Forward], qmp: Option<&Path>) -> Result<Vec<OsString>, Error> {
        let mut args = Arguments::default();
        // Not -nographic: it makes the firmware of q35 and pc draw its screen on the guest's serial console.
        args.words("-nodefaults -no-user-config -display none -monitor none");
        args.words("-chardev stdio,id=console,signal=off -serial chardev:console");
        // Named isa-serial=on because -nodefaults drops microvm's only serial port otherwise. pit and pic are
        // left to QEMU, as on a machine that nobody tuned.
        let board = match self.machine {
            Machine::Microvm => "microvm,acpi=on,isa-serial=on",
            Machine::Q35 if self.disk.as_ref().is_some_and(|disk| disk.secure_boot) => "q35,smm=on",
            Machine::Q35 => "q35",
            Machine::Pc => "pc",
        };
        args.pair("-machine", format!("{board},accel={}", self.accel));
        args.pair("-cpu", self.cpu.as_deref().unwrap_or(self.default_cpu()));
        args.pair("-m", self.memory_mib.to_string());
        if let Some(kernel) = &self.kernel {
            args.pair("-kernel", kernel);
        }
        if let Some(disk) = &self.disk {
            args.0.extend(disk.arguments().into_iter().map(OsString::from));
        }
        if !self.command_line.is_empty() {
            args.pair("-append", &self.command_line);
        }
        if let Some(config) = &self.config {
            args.pair("-initrd", config);
        }
        if let Some(content) = &self.content {
            args.pair("-fw_cfg", format!("name=opt/outpost/content,file={}", content.display()));
        }
        if let Some(config) = &self.config_by_fw_cfg {
            args.pair("-fw_cfg", format!("name=opt/outpost/config,file={}", config.display()));
        }
        if !self.reboot {
            args.words("-no-reboot");
        }
        if let Some(nic) = self.nic {
            if !self.machine.nics().contains(&nic) {
                return Err(Error::Unsupported(
                    "microvm has virtio-mmio cards only; q35 and pc have virtio-pci cards only.",
                ));
            }
            args.pair("-netdev", self.netdev(forwards));
            args.words(match nic {
                Nic::MmioV1 => "-global virtio-mmio.force-legacy=true -device virtio-net-device,netdev=net0",
                Nic::MmioV2 => "-global virtio-mmio.force-legacy=false -device virtio-net-device,netdev=net0",
                // Without romfile= QEMU wants a boot ROM of a package that is only recommended.
                Nic::PciModern => "-device virtio-net-pci,netdev=net0,disable-legacy=on,romfile=",
                Nic::PciTransitional => "-device virtio-net-pci,netdev=net0,romfile=",
            });
        }
        if let Some(qmp) = qmp {
            let mut socket = OsString::from("unix:");
            socket.push(qmp);
            socket.push(",server=on,wait=off");
            args.pair("-qmp", socket);
        }
        args.0.extend(self.extra.iter().map(OsString::from));
        Ok(args.0)
    }

    const fn default_cpu(&self) -> &'static str {
        match self.accel {
            Accel::Tcg => "max",
            // Hosts that offer arch-capabilities to a guest that cannot have them refuse to start it.
            Accel::Kvm => "host,-arch-capabilities",
        }
    }

    fn netdev(&self, forwards: &[Forward]) -> String {
        match &self.network {
            Network::User(_) => forwards.iter().fold(String::from("user,id=net0"), |netdev, forward| {
                let (ip, port) = (forward.host.ip(), forward.host.port());
                format!("{netdev},hostfwd=tcp:{ip}:{port}-:{}", forward.guest_port)
            }),
            Network::Silent => String::from("hubport,id=net0,hubid=0"),
            Network::Tap(interface) => format!("tap,id=net0,ifname={interface},script=no,downscript=no"),
        }
    }
}

#[derive(Default)]
struct Arguments(Vec<OsString>);

impl Arguments {
    fn words(&mut self, words: &str) {
        self.0.extend(words.split(' ').map(OsString::from));
    }

    fn pair(&mut self, name: &str, value: impl Into<OsString>) {
        self.0.extend([OsString::from(name), value.into()]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(vm: &Vm) -> String {
        let Network::User(forwards) = &vm.network else { panic!("the default is the user network") };
        let args = vm.arguments(forwards, Some(Path::new("/run/qmp"))).unwrap();
        args.iter().map(|arg| arg.to_str().unwrap()).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn each_card_is_asked_for_as_qemu_names_it() {
        // A wrong name would make the boot tests prove one card twice and another never.
        for (machine, nic, expected) in [
            (Machine::Microvm, Nic::MmioV1, "force-legacy=true -device virtio-net-device,"),
            (Machine::Microvm, Nic::MmioV2, "force-legacy=false -device virtio-net-device,"),
            (Machine::Q35, Nic::PciModern, "-device virtio-net-pci,netdev=net0,disable-legacy=on,"),
            (Machine::Pc, Nic::PciTransitional, "-device virtio-net-pci,netdev=net0,romfile="),
        ] {
            let line = line(&Vm { nic: Some(nic), ..Vm::new(machine, "image") });
            assert!(line.contains(expected), "{line}");
            assert!(line.contains(&format!("-machine {machine}")), "{line}");
        }
        let wrong = Vm { nic: Some(Nic::PciModern), ..Vm::new(Machine::Microvm, "image") };
        assert!(matches!(wrong.arguments(&[], None), Err(Error::Unsupported(_))));
    }

    #[test]
    fn a_forward_names_both_ends() {
        // Without the address QEMU would listen on every interface of the host.
        let host = SocketAddrV4::new(Ipv4Addr::LOCALHOST, 8080);
        let network = Network::User(vec![Forward { host, guest_port: 80 }]);
        let line = line(&Vm { network, ..Vm::new(Machine::Pc, "image") });
        assert!(line.contains("-netdev user,id=net0,hostfwd=tcp:127.0.0.1:8080-:80 "), "{line}");
    }
}
