//! From the entry to the loop: looks at what the VMM handed over, takes the machine into service, drives the agent.

use crate::acpi::Platform;
use crate::clock::{Clock, Pit};
use crate::cmdline::{self, COMMAND_LINE_MAX};
use crate::entropy::Entropy;
use crate::fw_cfg;
use crate::generation::Generation;
use crate::hypervisor::{Hypervisor, tsc};
use crate::interrupts;
use crate::memory::{self, Windows};
use crate::nic;
use crate::nic::rng::Rng;
use crate::once::Once;
use crate::panic;
use crate::physical::Physical;
use crate::power::{self, Power};
use crate::pvpanic;
use crate::rtc;
use crate::serial::{self, Port, Serial};
use crate::start_info::{Piece, StartInfo};
use crate::survival;
use crate::timer::Timer;
use crate::vitals::Meter;
use crate::{exceptions, start_info};
use core::fmt::Write;
use outpost::Agent;
use outpost::agent::{Storage, Wake};
use outpost::config::checks::Checks;
use outpost::config::{self, OnPanic};
use outpost::content::{self, Content};
use outpost::crash::LastWords;
use outpost::drill::Failure;
use outpost::facts::{Facts, Phase, WallTime};
use outpost::limits::{CONFIG_MAX, CONTENT_MAX, MARK_EVERY, SERVE_FIRST, WALL_LOOK};
use outpost::resume::{self, Resumption, Watch};
use outpost_wire::{ConfigSource, EntropySource, ShutdownCause};
use smoltcp::time::{Duration, Instant};

/// The longest sleep: should a device's interrupt be lost, the agent still looks once in this time.
const SLEEP_MAX: Duration = Duration::from_secs(1);

/// The sleep while the console has more to say than its chip takes at once.
const CONSOLE_SLEEP: Duration = Duration::from_millis(1);

/// The configuration document among the files of fw_cfg.
const CONFIG_FILE: &str = "opt/outpost/config";

/// The content bundle among them.
const CONTENT_FILE: &str = "opt/outpost/content";

/// Called by entry.s, on the main stack, in the final address space, with .bss not yet cleared.
#[unsafe(no_mangle)]
extern "C" fn boot(start_info: u32, entry: u64) -> ! {
    let unpacked = tsc();
    let pit = Pit::start();
    serial::start();
    let mut line = [0; COMMAND_LINE_MAX];
    let info = match read_start_info(start_info, &mut line) {
        Ok(info) => info,
        Err(refusal) => refuse(format_args!("{refusal}")),
    };
    // SAFETY: no static in .bss was used so far, and `check` says that nothing handed over lies there.
    unsafe { memory::clear_bss() };
    static COMMAND_LINE: Once<[u8; COMMAND_LINE_MAX]> = Once::new([0; COMMAND_LINE_MAX]);
    let Some(kept) = COMMAND_LINE.take() else { refuse(format_args!("the image was entered twice")) };
    *kept = line;
    run(Phases::new(entry, unpacked), pit, &info, cmdline::text(kept))
}

/// What the VMM handed over, checked against what the image claims.
fn read_start_info(address: u32, line: &mut [u8; COMMAND_LINE_MAX]) -> Result<StartInfo, start_info::Refusal> {
    let info = StartInfo::read(&Windows, u64::from(address))?;
    if info.command_line != 0 && !Windows.read(info.command_line, line) {
        line.fill(0);
    }
    info.check(&memory::claimed(), cmdline::text(line).len() + 1)?;
    Ok(info)
}

/// Says in a sentence why the image does not go on, and stops.
fn refuse(reason: core::fmt::Arguments<'_>) -> ! {
    let _ = writeln!(Port, "\noutpost: cannot start: {reason}");
    power::stop()
}

/// Takes the machine into service and drives the agent for ever.
fn run(mut phases: Phases, pit: Pit, info: &StartInfo, line: &'static str) -> ! {
    if cmdline::values(line, "outpost.on_panic").last() == Some("stop") {
        panic::stop_instead_of_reset();
    }
    let Some(mut table) = exceptions::Table::new() else { refuse(format_args!("the image was entered twice")) };
    interrupts::fill(&mut table);
    table.load();
    memory::harden();
    phases.end("memory");

    let platform = Platform::read(&Windows, info.rsdp);
    phases.end("acpi");

    let Some(apic) = interrupts::start(&platform) else {
        refuse(format_args!("there is no local APIC to wake the agent; use a machine that has one"))
    };
    phases.end("interrupts");

    let clock = Clock::start(phases.entry, pit, &apic);
    if clock.is_guess() {
        let _ = writeln!(
            Port,
            "\noutpost: this machine does not tell how fast its clock is: times and intervals may be wrong by half. \
             Give the VM a PIT (QEMU: pit=on), or run it under KVM.",
        );
    }
    let Some(vector) = interrupts::allocate_vector() else { refuse(format_args!("no interrupt vector is left")) };
    let mut timer = Timer::start(apic, vector, &clock);
    let mut power = Power::start(&platform);
    phases.end("clock");

    let mut entropy = Entropy::collect(&[]);
    // A processor with randomness of its own needs no device for it.
    let mut rng = if entropy.source() == EntropySource::Weak { Rng::find(&platform, line) } else { None };
    if let Some(bytes) = rng.as_mut().and_then(|rng| rng.read(&clock)) {
        entropy.strengthen(&bytes);
    }
    phases.end("entropy");

    let split = memory::log_region().and_then(LastWords::split);
    let Some((log_region, last_words)) = split else { refuse(format_args!("the image was entered twice")) };
    let (history, watchdog) = survival::begin(last_words, entropy.boot_id(), &platform, clock);
    pvpanic::find();
    #[cfg(feature = "fault-drill")]
    let crashed = history.abnormal_ends > 0;

    let machine = machine_name(&platform, line);
    let mut greeting =
        Some(Greeting { machine: machine.clone(), ram_bytes: info.ram_bytes(), entropy: entropy.source() });

    let mut nic = nic::find(&platform, line, entropy.boot_id());
    phases.end("nic");

    static STORAGE: Once<Storage> = Once::new(Storage::new());
    let Some(storage) = STORAGE.take() else { refuse(format_args!("the image was entered twice")) };
    static CHECKS: Once<Checks> = Once::new(Checks::new());
    let Some(checks) = CHECKS.take() else { refuse(format_args!("the image was entered twice")) };
    let (mut config, content) = read_files(info, line, checks);
    let checks = &*checks;
    if config.config.on_panic == OnPanic::Stop {
        panic::stop_instead_of_reset();
    }
    phases.end("config");
    if entropy.source() == EntropySource::Weak && config.config.collector.as_ref().is_some_and(|c| c.key.is_some()) {
        let _ = writeln!(
            Port,
            "collector.key is set, but this machine's randomness can be guessed: no keyed session is opened, records \
             stay in memory. Give the VM a processor with RDRAND (-cpu host) or a virtio-rng device.",
        );
    }

    let generation = Generation::find(&platform);
    let mut facts = Facts {
        boot_id: entropy.boot_id(),
        seed: entropy.seed(),
        entropy: entropy.source(),
        machine,
        boot_path: if cmdline::values(line, "boot").next() == Some("uefi") { "uefi" } else { "pvh" },
        memory_bytes: info.ram_bytes(),
        clock: clock.name(),
        wall: wall_time(&clock),
        image_id: memory::id(),
        revision: env!("OUTPOST_REVISION"),
        phases: phases.told(&clock),
        history,
        content,
        watchdog,
    };
    outpost::log::dependency::install();
    static SERIAL: Once<Serial> = Once::new(Serial::new());
    let Some(serial) = SERIAL.take() else { refuse(format_args!("the image was entered twice")) };

    let mut memory = AgentMemory { storage, log_region, used: false };
    let mut sessions = crate::sessions::make();
    let mut watch = Watch::new(generation.as_ref().map(Generation::read));
    let mut meter = Meter::new();
    loop {
        let (storage, log_region) = memory.lend();
        let mut agent = Agent::new(facts, config, checks, storage, log_region, &mut nic, clock.now());
        agent.lend_sessions(core::mem::take(&mut sessions));
        survival::record_is_kept();
        #[cfg(feature = "fault-drill")]
        crate::drill::start(line, crashed);
        x86_64::instructions::interrupts::enable();
        let mut shell = Shell {
            clock: &clock,
            generation: generation.as_ref(),
            watch: &mut watch,
            nic: &mut nic,
            serial,
            power: &mut power,
            timer: &mut timer,
            meter: &mut meter,
            greeting: &mut greeting,
        };
        let resumed = shell.drive(&mut agent);
        sessions = agent.take_sessions();
        let (before, same) = agent.retire();
        (facts, config) = (renewed(before, resumed, &clock, rng.as_mut(), watch.generation()), same);
    }
}

/// The facts of a boot that goes on where another one was, because the machine may be a copy.
fn renewed(
    before: Facts,
    resumed: Resumption,
    clock: &Clock,
    rng: Option<&mut Rng>,
    own: Option<resume::Generation>,
) -> Facts {
    let wall = wall_time(clock);
    let [first, second] = own.unwrap_or([0; 2]);
    let mut entropy = Entropy::collect(&[wall.map_or(0, |wall| wall.unix_us), first, second]);
    if let Some(bytes) = rng.and_then(|rng| rng.read(clock)) {
        entropy.strengthen(&bytes);
    }
    let (boot_id, seed) = (entropy.boot_id(), entropy.seed());
    let history = survival::renew(clock.now(), boot_id, resumed);
    Facts { boot_id, seed, entropy: entropy.source(), wall, history, ..before }
}

/// What is lent to one agent after the other.
struct AgentMemory {
    storage: *mut Storage<'static>,
    log_region: *mut [u8],
    used: bool,
}

impl AgentMemory {
    /// Lends the memory to an agent; the one that had it before is gone.
    fn lend(&mut self) -> (&'static mut Storage<'static>, &'static mut [u8]) {
        if core::mem::replace(&mut self.used, true) {
            // SAFETY: the agent that borrowed it is gone (`run` has moved it away before it calls this again), and
            // empty memory is all zeros, as .bss was the first time.
            unsafe { self.storage.write_bytes(0, 1) };
        }
        // SAFETY: it came from the only reference there is, and nobody else uses it, as above.
        let storage = unsafe { &mut *self.storage };
        // SAFETY: as above.
        (storage, unsafe { &mut *self.log_region })
    }
}

/// The machine around the agent.
struct Shell<'a> {
    clock: &'a Clock,
    generation: Option<&'a Generation>,
    watch: &'a mut Watch,
    nic: &'a mut nic::AnyNic,
    serial: &'a mut Serial,
    power: &'a mut Power,
    timer: &'a mut Timer,
    meter: &'a mut Meter,
    greeting: &'a mut Option<Greeting>,
}

impl Shell<'_> {
    /// Drives the agent until the machine ends, or is found to go on as what may be a copy.
    fn drive(&mut self, agent: &mut Agent<'_>) -> Resumption {
        let served = self.clock.now() + SERVE_FIRST;
        let (mut mark_at, mut look_at, mut sleep_max) = (served, served, SERVE_FIRST);
        let longest_sleep = self.nic.longest_sleep();
        loop {
            let now = self.clock.now();
            let changed = self.generation.is_some_and(|generation| self.watch.is_other(Some(generation.read())));
            if changed || now >= look_at {
                look_at = now + WALL_LOOK;
                let generation = self.generation.map(Generation::read);
                match self.watch.look(now, generation, unix_us(self.clock, now)) {
                    Some(resumed) if resumed.copy => return resumed,
                    Some(resumed) => agent.went_on(now, resumed),
                    None => {}
                }
            }
            let wake = agent.poll(now, self.nic);
            if now >= mark_at {
                if let Some(greeting) = self.greeting.take() {
                    greeting.say(self.clock);
                }
                survival::mark(now);
                self.nic.look_at_link();
                self.nic.remind();
                agent.observe(self.meter.vitals(now, self.clock));
                (mark_at, sleep_max) = (now + MARK_EVERY, SLEEP_MAX);
                if let Some(failure) = agent.drill(now) {
                    fail(failure);
                }
            }
            let may_say = now >= served && agent.has_to_say() && self.serial.has_room();
            let more_to_say = may_say && agent.console(now, self.serial);
            let console_behind = !self.serial.is_empty() && self.serial.drain();
            if self.power.button_pressed() {
                agent.shut_down(now, ShutdownCause::PowerButton);
                continue;
            }
            let until = match wake {
                Wake::PowerOff => self.switch_off(agent, now),
                Wake::At(at) => at.min(now + sleep_max),
                Wake::OnFrame => now + sleep_max,
            };
            let until = match (more_to_say, console_behind) {
                (true, false) => continue,
                (_, true) => until.min(now + CONSOLE_SLEEP),
                (false, false) => until,
            };
            let until = longest_sleep.map_or(until, |longest| until.min(now + longest));
            if until > now && self.nic.prepare_sleep() {
                self.timer.arm(until, now);
                let asleep = tsc();
                interrupts::idle();
                self.meter.slept(tsc().saturating_sub(asleep));
            }
        }
    }

    /// The agent has ended in order: the console gets what is left, and the machine is switched off.
    fn switch_off(&mut self, agent: &mut Agent<'_>, now: Instant) -> ! {
        while self.serial.has_room() && agent.console(now, self.serial) {
            self.serial.finish();
        }
        self.serial.finish();
        survival::shutdown(self.clock.now());
        self.power.off()
    }
}

/// Fails as the configuration asks.
fn fail(failure: Failure) -> ! {
    match failure {
        Failure::Panic => panic!("drill: the configuration asks for a panic"),
        Failure::Hang => {
            let _ = writeln!(Port, "\noutpost: drill: the configuration asks for a machine that stands still");
            loop {
                x86_64::instructions::interrupts::enable_and_hlt();
            }
        }
    }
}

/// The first line of the console: what was found.
struct Greeting {
    machine: heapless::String<40>,
    ram_bytes: u64,
    entropy: EntropySource,
}

impl Greeting {
    fn say(self, clock: &Clock) {
        let _ = writeln!(
            Port,
            "\noutpost {} ({}) on {}: {} MiB, clock {} at {} MHz, entropy {}",
            env!("CARGO_PKG_VERSION"),
            env!("OUTPOST_REVISION"),
            self.machine,
            self.ram_bytes.div_ceil(1 << 20),
            clock.name(),
            clock.tsc_hz() / 1_000_000,
            self.entropy.word().unwrap_or("unknown"),
        );
    }
}

/// Reads the configuration and the content bundle from everywhere they may be; what comes later counts.
fn read_files(info: &StartInfo, line: &str, checks: &mut Checks) -> (config::Loaded, Content) {
    // What is too long is cut one byte beyond the limit: enough to see that it is, and to say so.
    static DOCUMENT: Once<[u8; CONFIG_MAX + 1]> = Once::new([0; CONFIG_MAX + 1]);
    static BUNDLE: Once<[u8; CONTENT_MAX + 1]> = Once::new([0; CONTENT_MAX + 1]);
    let mut loader = config::Loader::new(checks);
    let (Some(document), Some(bundle)) = (DOCUMENT.take(), BUNDLE.take()) else {
        return (loader.finish(), Content::NONE);
    };
    let source = if info.from_esp { ConfigSource::Esp } else { ConfigSource::Module };
    let [content_file, config_file] = fw_cfg::find(&mut fw_cfg::Pc, [CONTENT_FILE, CONFIG_FILE]);
    let mut content_len = content_file.map(|file| fw_cfg::read(&mut fw_cfg::Pc, file, bundle));
    let mut config = None;
    for module in &info.modules {
        let mut begin = [0; content::MAGIC.len()];
        match Windows.read(module.address, &mut begin) && begin == content::MAGIC {
            true if content_len.is_some() => {}
            true => content_len = Some(read_module(module, bundle)),
            false => config = Some(module),
        }
    }
    let content = content_len.map_or(Content::NONE, |len| Content::open(&bundle[..len]));
    let from_modules = |loader: &mut config::Loader<'_>, buffer: &mut [u8]| {
        if let Some(bundled) = content.config() {
            loader.document(source, bundled);
        }
        if let Some(module) = config {
            let len = read_module(module, buffer);
            loader.document(source, &buffer[..len]);
        }
    };
    if !info.from_esp {
        from_modules(&mut loader, document);
    }
    if let Some(file) = config_file {
        let len = fw_cfg::read(&mut fw_cfg::Pc, file, document);
        loader.document(ConfigSource::FwCfg, &document[..len]);
    }
    loader.command_line(line);
    if info.from_esp {
        from_modules(&mut loader, document);
    }
    (loader.finish(), content)
}

/// Copies what was handed over in memory, as much of it as there is room for; its length.
fn read_module(module: &Piece, buffer: &mut [u8]) -> usize {
    let len = usize::try_from(module.len).unwrap_or(usize::MAX).min(buffer.len());
    // The VMM may name a place that cannot be read: a document that says nothing is an error, not "no config".
    if Windows.read(module.address, &mut buffer[..len]) { len } else { 0 }
}

/// The wall time, as exactly as the machine knows it.
fn wall_time(clock: &Clock) -> Option<WallTime> {
    /// The host's own clock: seldom further off where anybody runs VMs.
    const HOST_ERROR_US: u64 = 500_000;
    /// The CMOS clock gives whole seconds, and was set by somebody, some time.
    const RTC_ERROR_US: u64 = 2_000_000;
    let from_host = clock.kvm().and_then(|(kvm, zero_ns)| {
        let unix_us = kvm.wall_at_start_ns()?.saturating_add(zero_ns) / 1000;
        Some(WallTime { at: Instant::ZERO, unix_us, error_us: HOST_ERROR_US, source: "kvmclock" })
    });
    from_host.or_else(|| {
        let unix_us = rtc::read()? * 1_000_000 + 500_000;
        Some(WallTime { at: clock.now(), unix_us, error_us: RTC_ERROR_US, source: "rtc" })
    })
}

/// Wall time at this moment, in microseconds since 1970 UTC, to be held against monotonic time: which must not be a guess.
fn unix_us(clock: &Clock, now: Instant) -> Option<u64> {
    let wall = wall_time(clock).filter(|_| !clock.is_guess())?;
    Some(wall.unix_us.saturating_add_signed(now.total_micros() - wall.at.total_micros()))
}

/// Board and VMM in words.
fn machine_name(platform: &Platform, line: &str) -> heapless::String<40> {
    let mmio = cmdline::values(line, "virtio_mmio.device").next().is_some();
    let board = match (platform.described, platform.hardware_reduced, platform.ecam.is_some()) {
        (true, false, true) => "q35",
        (true, false, false) => "pc",
        _ if platform.is_microvm() || mmio => "microvm",
        _ => "unknown board",
    };
    let mut name = heapless::String::new();
    let _ = write!(name, "{board}, {}", Hypervisor::detect().name());
    name
}

/// The phases of the boot, as they end.
struct Phases {
    ended: heapless::Vec<(&'static str, u64), 12>,
    entry: u64,
}

impl Phases {
    /// The TSC when the image was entered, and when it was unpacked.
    fn new(entry: u64, unpacked: u64) -> Phases {
        let mut phases = Phases { ended: heapless::Vec::new(), entry };
        let _ = phases.ended.push(("unpack", unpacked));
        phases
    }

    fn end(&mut self, name: &'static str) {
        let _ = self.ended.push((name, tsc()));
    }

    /// How long each took.
    fn told(&self, clock: &Clock) -> heapless::Vec<Phase, 12> {
        let mut before = self.entry;
        let phase = |(name, end): &(&'static str, u64)| {
            let took_us = clock.us_between(core::mem::replace(&mut before, *end), *end);
            Phase { name, took_us }
        };
        self.ended.iter().map(phase).collect()
    }
}
