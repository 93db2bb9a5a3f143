//! What the hypervisor says of itself and offers: CPUID leaves, kvmclock, the TSC's frequency.
//!
//! What always holds: a leaf is read only when its range's maximum says that it exists (a processor answers
//! beyond the maximum with another leaf's data), and what kvmclock gives is arithmetic on untrusted numbers that
//! saturates.

use crate::memory::virt_to_phys;
use crate::scale::Scale;
use core::arch::x86_64::{__cpuid, CpuidResult};
use core::sync::atomic::{AtomicU32, AtomicU64, Ordering, fence};
use x86_64::registers::model_specific::Msr;

/// Where hypervisors put their leaves: the usual place, and where KVM goes when QEMU speaks Hyper-V at the first.
const HYPERVISOR_LEAVES: [u32; 2] = [0x4000_0000, 0x4000_0100];

const MSR_KVM_WALL_CLOCK_NEW: u32 = 0x4b56_4d00;
const MSR_KVM_SYSTEM_TIME_NEW: u32 = 0x4b56_4d01;

/// Reads of a kvmclock structure that may find it in change; the host changes it a few times a second.
const SEQUENCE_TRIES: u32 = 1000;

/// A CPUID leaf, if it exists.
pub fn leaf(number: u32) -> Option<CpuidResult> {
    let max = __cpuid(number & 0xffff_ff00).eax;
    (number <= max && max - (number & 0xffff_ff00) <= 0xff).then(|| __cpuid(number))
}

/// The processor's time stamp counter.
pub fn tsc() -> u64 {
    // SAFETY: every processor with long mode has RDTSC, and CR4.TSD does not bind ring 0.
    unsafe { core::arch::x86_64::_rdtsc() }
}

/// What we run under.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hypervisor {
    /// KVM, under any VMM.
    Kvm,
    /// QEMU without hardware help.
    Tcg,
    /// Something that says that it is a hypervisor, and no more that we know.
    Other,
    /// Nothing that says so.
    None,
}

impl Hypervisor {
    /// Asks.
    pub fn detect() -> Hypervisor {
        if __cpuid(1).ecx & 1 << 31 == 0 {
            return Hypervisor::None;
        }
        let signature = __cpuid(HYPERVISOR_LEAVES[0]);
        match (kvm_leaves(), &signature.ebx.to_le_bytes()) {
            (Some(_), _) => Hypervisor::Kvm,
            (None, b"TCGT") => Hypervisor::Tcg,
            _ => Hypervisor::Other,
        }
    }

    /// Its name for people.
    pub fn name(self) -> &'static str {
        match self {
            Hypervisor::Kvm => "KVM",
            Hypervisor::Tcg => "QEMU TCG",
            Hypervisor::Other => "unknown hypervisor",
            Hypervisor::None => "no hypervisor",
        }
    }
}

/// The first of KVM's leaves.
fn kvm_leaves() -> Option<u32> {
    HYPERVISOR_LEAVES.into_iter().find(|first| {
        let answer = __cpuid(*first);
        [answer.ebx, answer.ecx, answer.edx] == [b"KVMK", b"VMKV", b"M\0\0\0"].map(|part| u32::from_le_bytes(*part))
    })
}

/// The TSC's frequency where the processor or the hypervisor states it: leaf 0x15 (crystal and ratio), or
/// 0x40000010 (VMware's and KVM's, in kHz).
pub fn stated_tsc_hz() -> Option<u64> {
    if let Some(ratio) = leaf(0x15)
        && ratio.eax != 0
        && ratio.ebx != 0
        && ratio.ecx != 0
    {
        return Some(u64::from(ratio.ecx) * u64::from(ratio.ebx) / u64::from(ratio.eax));
    }
    if __cpuid(1).ecx & 1 << 31 == 0 {
        return None;
    }
    leaf(0x4000_0010).filter(|timing| timing.eax > 1000).map(|timing| u64::from(timing.eax) * 1000)
}

/// The processor's base frequency (leaf 0x16): a guess at the TSC's, when nothing better is to be had.
pub fn base_hz() -> Option<u64> {
    leaf(0x16)
        .filter(|frequency| frequency.eax & 0xffff != 0)
        .map(|frequency| u64::from(frequency.eax & 0xffff) * 1_000_000)
}

/// Whether the local APIC's timer can take a TSC value as its deadline.
pub fn has_tsc_deadline() -> bool {
    __cpuid(1).ecx & 1 << 24 != 0
}

/// kvmclock's structure (Linux: Documentation/virt/kvm/x86/msr.rst), written by the host while we run.
#[repr(C, align(64))]
pub struct KvmClock {
    version: AtomicU32,
    pad: AtomicU32,
    tsc_timestamp: AtomicU64,
    system_time_ns: AtomicU64,
    multiplier: AtomicU32,
    shift_flags: AtomicU32,
}

/// kvmclock's structure of the wall time when the machine started.
#[repr(C, align(64))]
struct KvmWallClock {
    version: AtomicU32,
    seconds: AtomicU32,
    nanoseconds: AtomicU32,
}

static KVM_CLOCK: KvmClock = KvmClock {
    version: AtomicU32::new(0),
    pad: AtomicU32::new(0),
    tsc_timestamp: AtomicU64::new(0),
    system_time_ns: AtomicU64::new(0),
    multiplier: AtomicU32::new(0),
    shift_flags: AtomicU32::new(0),
};

static KVM_WALL_CLOCK: KvmWallClock =
    KvmWallClock { version: AtomicU32::new(0), seconds: AtomicU32::new(0), nanoseconds: AtomicU32::new(0) };

impl KvmClock {
    /// Asks the host to keep the structure up to date. `None`: it offers no such clock, or does not keep it.
    pub fn start() -> Option<&'static KvmClock> {
        const CLOCKSOURCE2: u32 = 1 << 3;
        let features = leaf(kvm_leaves()? + 1)?.eax;
        if features & CLOCKSOURCE2 == 0 {
            return None;
        }
        // SAFETY: the feature bit says that the MSR exists; the host writes the static at this address for ever,
        // which consists of atomics.
        unsafe { Msr::new(MSR_KVM_SYSTEM_TIME_NEW).write(virt_to_phys(&KVM_CLOCK) | 1) };
        KVM_CLOCK.read().filter(|(_, _, scale)| scale.multiplier != 0).map(|_| &KVM_CLOCK)
    }

    /// Nanoseconds since the machine started, at this value of the TSC.
    pub fn at(&self, tsc: u64) -> Option<u64> {
        let (timestamp, system_time, scale) = self.read()?;
        Some(match tsc.checked_sub(timestamp) {
            Some(since) => system_time.saturating_add(scale.apply(since)),
            None => system_time.saturating_sub(scale.apply(timestamp - tsc)),
        })
    }

    /// The TSC's frequency, as the host knows it.
    pub fn tsc_hz(&self) -> Option<u64> {
        let (_, _, scale) = self.read()?;
        // The ticks in which a second passes: the inverse of the scale.
        let hz = (1_000_000_000u128 << 32) / u128::from(scale.multiplier.max(1));
        let hz = if scale.shift >= 0 { hz >> scale.shift.min(63) } else { hz << scale.shift.unsigned_abs().min(63) };
        u64::try_from(hz).ok()
    }

    /// A consistent copy: the version is odd while the host writes, and changes with every write.
    fn read(&self) -> Option<(u64, u64, Scale)> {
        for _ in 0..SEQUENCE_TRIES {
            let version = self.version.load(Ordering::Acquire);
            let copy = (
                self.tsc_timestamp.load(Ordering::Relaxed),
                self.system_time_ns.load(Ordering::Relaxed),
                Scale {
                    multiplier: self.multiplier.load(Ordering::Relaxed),
                    shift: self.shift_flags.load(Ordering::Relaxed) as i8,
                },
            );
            fence(Ordering::Acquire);
            if version & 1 == 0 && self.version.load(Ordering::Relaxed) == version {
                return Some(copy);
            }
        }
        None
    }

    /// The wall time when the machine started, in nanoseconds since 1970 UTC.
    pub fn wall_at_start_ns(&self) -> Option<u64> {
        // SAFETY: the host that offers the clock offers this MSR too; it writes the static once, now.
        unsafe { Msr::new(MSR_KVM_WALL_CLOCK_NEW).write(virt_to_phys(&KVM_WALL_CLOCK)) };
        fence(Ordering::Acquire);
        let wall = &KVM_WALL_CLOCK;
        let seconds = u64::from(wall.seconds.load(Ordering::Relaxed));
        let whole = wall.version.load(Ordering::Relaxed) & 1 == 0 && seconds != 0;
        whole.then(|| seconds * 1_000_000_000 + u64::from(wall.nanoseconds.load(Ordering::Relaxed)))
    }
}
