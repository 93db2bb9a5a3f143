//! The rows of the table: what is measured, in which order, how often.
//!
//! Each function adds its rows for all guests and takes turns between them wherever time is measured, so that other
//! load on the machine meets all of them alike. What fails for one guest is said in its cell; the run goes on.

use crate::client::{After, Connection};
use crate::counter::{Count, Counter, Plugin};
use crate::floor;
use crate::guest::{Guest, Process};
use crate::image::Image;
use crate::lab;
use crate::load::{ab, wrk};
use crate::report::{Cell, Report, duration, grouped};
use crate::stats::{median, percentile, range, spread_percent};
use outpost_qemu::{Accel, Machine, Vm};
use serde_json::json;
use std::fmt::Write;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

/// How long the floor guest may take.
const FLOOR_LIMIT: Duration = Duration::from_secs(20);

/// How long a guest is left alone after its first answer, until its start has passed.
const QUIET: Duration = Duration::from_secs(3);

/// Over how long idle CPU is measured.
const IDLE: Duration = Duration::from_secs(10);

/// Connections that wrk keeps open.
const WRK_CONNECTIONS: [u32; 4] = [1, 8, 64, 256];

/// What ab does: a connection for each request, this many at a time.
const AB_CONNECTIONS: u32 = 16;
const AB_REQUESTS: u32 = 5000;

/// Requests that a guest must answer to count as serving.
const SERVING: usize = 20;

/// Requests of one exact count, how often it is repeated, and how many come before, so that the guest's caches and
/// TCP's start are past.
const COUNTED: usize = 2000;
const REPEATS: usize = 3;
const WARM_UP: usize = 200;

/// The percentile that stands for a request while nothing else is due: timers and acknowledgements that come along depend
/// on how fast the host is, and only add.
const UNDISTURBED: usize = 20;

/// How much longer a guest that is counted may take to start.
const COUNTING_SLOWDOWN: u32 = 5;

/// Connections that are held and say nothing.
const HELD: usize = 1000;

/// Functions that are listed of a profile.
const LISTED: usize = 40;

/// Deployed bytes, and where they are in the image.
pub fn size(report: &mut Report, guests: &[Guest], image: &Image) {
    let cells = guests.iter().map(|guest| {
        let bytes = guest.deployed_bytes()?;
        Ok(Cell::new(format!("{} ({:.0} KiB)", grouped(bytes as f64), bytes as f64 / 1024.0), json!(bytes)))
    });
    let cells: Cells = cells.collect();
    report.bars("Bytes deployed (less is better)", values(&cells, ""), |bytes| format!("{:.0} KiB", bytes / 1024.0));
    report.row("bytes deployed", "size of the files that are booted", cells);
    let mut text = String::from("| section | bytes in the file | bytes in memory |\n|---|---:|---:|\n");
    for section in &image.sections {
        let (file, memory) = (grouped(section.file as f64), grouped(section.memory as f64));
        let _ = writeln!(text, "| `{}` | {file} | {memory} |", section.name); // writing into a String cannot fail
    }
    report.note("The image by section", text);
}

/// Start of QEMU → first 200, beside the floor guest.
pub fn boot(report: &mut Report, guests: &[Guest], rounds: usize, folder: &Path) -> Result<(), String> {
    let kernel = folder.join("floor.elf");
    std::fs::write(&kernel, floor::elf()).map_err(|error| format!("{}: {error}", kernel.display()))?;
    let extra = floor::DEVICE.map(String::from).into();
    let floor_vm = Vm { nic: None, extra, ..Vm::new(Machine::Microvm, kernel) };
    let mut floors = Vec::new();
    let mut boots: Vec<Result<Vec<f64>, String>> = vec![Ok(Vec::new()); guests.len()];
    for _ in 0..rounds {
        floors.push(floor_time(&floor_vm, folder)?);
        for (guest, series) in guests.iter().zip(&mut boots) {
            if let Ok(times) = series {
                match guest.boot() {
                    Ok((_, took)) => times.push(milliseconds(took)),
                    Err(problem) => *series = Err(problem),
                }
            }
        }
    }
    let floor = median(&floors).ok_or("no boots were asked for")?;
    let how = format!("median of {rounds}, interleaved with the guests below; a PVH ELF that writes to isa-debug-exit");
    let cell = Cell::new(series_text(&floors), json!(floors));
    let floor_cells = guests.iter().map(|_| Ok(cell.clone())).collect();
    report.row("QEMU start → end of a guest that exits at once (floor)", how, floor_cells);
    let medians = boots.iter().map(|series| median(series.as_ref().ok()?)).collect();
    report.bars("QEMU start → first 200 (less is better)", medians, |ms| format!("{ms:.0} ms"));
    let cells = boots.iter().map(|series| series.as_ref().map(|times| Cell::new(series_text(times), json!(times))));
    let how = format!("median of {rounds} (fastest to slowest), microvm, static address, tap, looked at every 0.25 ms");
    report.row("QEMU start → first 200", how, cells.map(|cell| cell.map_err(String::clone)).collect());
    let differences = boots.into_iter().map(|series| {
        let difference = median(&series?).ok_or("no boot")? - floor;
        Ok(Cell::new(format!("{difference:.1} ms"), json!(difference)))
    });
    report.row("… beyond the floor", "difference of the two medians", differences.collect());
    Ok(())
}

fn floor_time(vm: &Vm, folder: &Path) -> Result<f64, String> {
    let begin = Instant::now();
    let code = Process::start(vm, &folder.join("floor.console"))?.wait(FLOOR_LIMIT)?;
    let took = milliseconds(begin.elapsed());
    match code {
        Some(floor::EXIT_CODE) => Ok(took),
        code => Err(format!("the floor guest's QEMU ended with {code:?} instead of {}", floor::EXIT_CODE)),
    }
}

fn series_text(times: &[f64]) -> String {
    let (Some(middle), Some((low, high))) = (median(times), range(times)) else { return String::from("–") };
    format!("{middle:.1} ms ({low:.1}–{high:.1})")
}

/// What guests use that nobody asks anything, and how they serve when many ask.
pub fn traffic(report: &mut Report, guests: &[Guest], seconds: u32) {
    let mut running: Vec<Result<Process, String>> = guests.iter().map(|guest| Ok(guest.boot()?.0)).collect();
    thread::sleep(QUIET);
    let before: Vec<_> = running.iter().map(cpu_time).collect();
    let begin = Instant::now();
    thread::sleep(IDLE);
    let cells = running.iter().zip(before).map(|(process, before)| {
        let (used, over) = (cpu_time(process)? - before?, begin.elapsed());
        let percent = used.as_secs_f64() / over.as_secs_f64() * 100.0;
        Ok(Cell::new(format!("{percent:.2} %"), json!(percent)))
    });
    let how = format!("CPU time of the QEMU process over {} s, in percent of one core", IDLE.as_secs());
    let cells: Cells = cells.collect();
    report.bars("Idle CPU, of one core (less is better)", values(&cells, ""), |percent| format!("{percent:.2} %"));
    report.row("idle CPU", how, cells);
    let cells = running.iter().map(|process| {
        let kib = process.as_ref().map_err(String::clone)?.resident_kib()?;
        Ok(Cell::new(format!("{:.1} MiB", kib as f64 / 1024.0), json!(kib)))
    });
    let cells: Cells = cells.collect();
    let show = |kib| format!("{:.0} MiB", kib / 1024.0);
    report.bars("QEMU's resident memory, idle (less is better)", values(&cells, ""), show);
    report.row("QEMU's resident memory, idle", "VmRSS of the process", cells);

    for connections in WRK_CONNECTIONS {
        let cells = each(guests, &mut running, |guest, process| wrk_cell(guest, process, connections, seconds));
        let at = format!("at {}", of(connections as usize, "connection"));
        let per_cpu = per_cpu_second(report, &at, &cells);
        let figure = format!("keep-alive requests, QEMU CPU each, {at}");
        report.row(figure, format!("`wrk -t1 -c{connections} -d{seconds}s --latency`"), cells);
        report.row(format!("requests per QEMU-CPU-second, {at}"), "of the row above", per_cpu);
    }
    let cells = each(guests, &mut running, |guest, process| {
        let before = process.cpu_time()?;
        let result = ab(&guest.url(), AB_CONNECTIONS, AB_REQUESTS)?;
        let cpu_us = microseconds(process.cpu_time()? - before) / result.requests.max(1) as f64;
        let rate = grouped(result.per_second);
        let text = format!("{rate}/s, {cpu_us:.1} µs, p99 {:.0} ms{}", result.p99_ms, errors_text(result.errors));
        let raw = json!({
            "requests": result.requests, "per_second": result.per_second, "qemu_cpu_us_per_request": cpu_us,
            "requests_per_qemu_cpu_second": 1e6 / cpu_us, "p99_ms": result.p99_ms, "errors": result.errors,
        });
        Ok(Cell::new(text, raw))
    });
    let per_cpu = per_cpu_second(report, "a connection each", &cells);
    report.row(
        "a connection per request, QEMU CPU each",
        format!("`ab -n {AB_REQUESTS} -c {AB_CONNECTIONS}`, without -k"),
        cells,
    );
    report.row("requests per QEMU-CPU-second, a connection each", "of the row above", per_cpu);
}

/// Requests per second of QEMU's CPU time, and how many times those of the next guest; also as bars.
fn per_cpu_second(report: &mut Report, at: &str, cells: &Cells) -> Cells {
    let rates = values(cells, "/requests_per_qemu_cpu_second");
    let title = format!("Requests per QEMU-CPU-second, {at} (more is better)");
    report.bars(&title, rates.clone(), grouped);
    let others = rates.iter().skip(1).copied().chain([None]);
    let rows = rates.iter().zip(others).zip(cells).map(|((rate, other), cell)| {
        let rate = rate.ok_or_else(|| cell.as_ref().err().cloned().unwrap_or_default())?;
        let times = other.map(|other| format!(", {:.1}×", rate / other)).unwrap_or_default();
        Ok(Cell::new(grouped(rate) + &times, json!(rate)))
    });
    rows.collect()
}

/// The number at this place of what each cell was made of.
fn values(cells: &Cells, pointer: &str) -> Vec<Option<f64>> {
    cells.iter().map(|cell| cell.as_ref().ok()?.raw.pointer(pointer)?.as_f64()).collect()
}

/// Whether there is hardware for KVM. A `/dev/kvm` is no proof: some hosts emulate every instruction of such guests, and a
/// time of those says nothing about anybody's machine.
pub fn hardware_kvm() -> Result<(), String> {
    outpost_qemu::kvm_works()?;
    let cpu = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let flags = cpu.lines().filter_map(|line| line.strip_prefix("flags")?.split_once(':'));
    match flags.flat_map(|(_, flags)| flags.split(' ')).any(|flag| matches!(flag, "vmx" | "svm")) {
        true => Ok(()),
        false => Err(String::from("/dev/kvm is there, but the processor has neither VMX nor SVM: it is emulated")),
    }
}

/// Boot and load under KVM.
pub fn kvm(report: &mut Report, guests: &[Guest], rounds: usize, seconds: u32) {
    let boot = |guest: &Guest| guest.boot_with(|vm| vm.accel = Accel::Kvm);
    let mut boots: Vec<Result<Vec<f64>, String>> = vec![Ok(Vec::new()); guests.len()];
    for _ in 0..rounds {
        for (guest, series) in guests.iter().zip(&mut boots) {
            let Ok(times) = series else { continue };
            match boot(guest) {
                Ok((_, took)) => times.push(milliseconds(took)),
                Err(problem) => *series = Err(problem),
            }
        }
    }
    let cells = boots.into_iter().map(|series| series.map(|times| Cell::new(series_text(&times), json!(times))));
    report.row("KVM: QEMU start → first 200", format!("median of {rounds}, microvm, interleaved"), cells.collect());
    for connections in WRK_CONNECTIONS {
        let cells = guests.iter().map(|guest| {
            let (process, _) = boot(guest)?;
            wrk_cell(guest, &process, connections, seconds)
        });
        let figure = format!("KVM: keep-alive requests, QEMU CPU each, at {}", of(connections as usize, "connection"));
        report.row(figure, format!("`wrk -t1 -c{connections} -d{seconds}s --latency`"), cells.collect());
    }
}

/// A load of so many connections: what came back, and what of QEMU's CPU time it took.
fn wrk_cell(guest: &Guest, process: &Process, connections: u32, seconds: u32) -> Result<Cell, String> {
    let before = process.cpu_time()?;
    let result = wrk(&guest.url(), connections, seconds)?;
    let cpu_us = microseconds(process.cpu_time()? - before) / result.requests.max(1) as f64;
    let (rate, p50, p99) = (grouped(result.per_second), duration(result.p50_us), duration(result.p99_us));
    let text = format!("{rate}/s, {cpu_us:.1} µs, p50 {p50}, p99 {p99}{}", errors_text(result.errors));
    let raw = json!({
        "requests": result.requests, "per_second": result.per_second, "qemu_cpu_us_per_request": cpu_us,
        "requests_per_qemu_cpu_second": 1e6 / cpu_us, "p50_us": result.p50_us, "p99_us": result.p99_us,
        "errors": result.errors,
    });
    Ok(Cell::new(text, raw))
}

/// Calls `measure` for each guest that runs.
fn each(
    guests: &[Guest],
    running: &mut [Result<Process, String>],
    mut measure: impl FnMut(&Guest, &mut Process) -> Result<Cell, String>,
) -> Vec<Result<Cell, String>> {
    let pairs = guests.iter().zip(running);
    pairs.map(|(guest, process)| measure(guest, process.as_mut().map_err(|problem| problem.clone())?)).collect()
}

fn cpu_time(process: &Result<Process, String>) -> Result<Duration, String> {
    process.as_ref().map_err(String::clone)?.cpu_time()
}

fn errors_text(errors: u64) -> String {
    if errors == 0 { String::new() } else { format!(", **{} errors**", grouped(errors as f64)) }
}

/// The smallest `-m` that serves.
pub fn memory(report: &mut Report, guests: &[Guest], machine: Machine) {
    let cells = guests.iter().map(|guest| {
        if !guest.machines.contains(&machine) {
            return Ok(Cell::new("–", json!(null)));
        }
        // A boot that takes ten times as long as one with enough will not come: each failure would cost the whole limit.
        let (begin, mut limit) = (Instant::now(), None);
        let smallest = smallest(guest.vm.memory_mib, |mib| {
            let hurried = Guest { boot_limit: limit.unwrap_or(guest.boot_limit), ..guest.clone() };
            let outcome = serves_with(&hurried, machine, mib);
            limit = limit.or(Some((begin.elapsed() * 5).clamp(Duration::from_secs(1), guest.boot_limit)));
            outcome
        })?;
        Ok(Cell::new(format!("{smallest} MiB"), json!(smallest)))
    });
    let how = format!("bisection; two boots that each answer {SERVING} requests with 200, everything at its default");
    let cells: Cells = cells.collect();
    if machine == Machine::Microvm {
        report.bars("Smallest -m that serves (less is better)", values(&cells, ""), |mib| format!("{mib:.0} MiB"));
    }
    report.row(format!("smallest `-m`, {machine}"), how, cells);
}

/// The smallest value that passes, when all above it do; `enough` must.
fn smallest(enough: u32, mut passes: impl FnMut(u32) -> Result<(), String>) -> Result<u32, String> {
    passes(enough)?;
    let (mut fails, mut serves) = (0, enough);
    while serves - fails > 1 {
        let middle = fails.midpoint(serves);
        match passes(middle) {
            Ok(()) => serves = middle,
            Err(_) => fails = middle,
        }
    }
    Ok(serves)
}

fn serves_with(guest: &Guest, machine: Machine, memory_mib: u32) -> Result<(), String> {
    for _ in 0..2 {
        let change = |vm: &mut Vm| {
            let nic = if machine == vm.machine { vm.nic } else { machine.nics().first().copied() };
            *vm = Vm { machine, memory_mib, nic, reboot: false, ..vm.clone() };
        };
        let (_process, _) = guest.boot_with(change)?;
        let mut connection = Connection::open(guest.address())?;
        for _ in 0..SERVING {
            expect_200(connection.get(guest.path, After::Keep)?)?;
        }
    }
    Ok(())
}

/// One way to ask. Each step waits until the guest has halted after the one before, so that what the guest finds to do
/// at once does not depend on how fast the host is.
#[derive(Clone, Copy, Debug)]
enum Pattern {
    /// One request on each of so many kept connections, all there when the guest wakes.
    Bursts(usize),
    /// Connect, GET, close.
    Connects,
}

impl Pattern {
    /// Requests in one round of it.
    fn requests(self) -> f64 {
        match self {
            Pattern::Bursts(connections) => connections as f64,
            Pattern::Connects => 1.0,
        }
    }

    fn name(self) -> String {
        match self {
            Pattern::Bursts(1) => String::from("keep-alive request, paced, 1 connection"),
            Pattern::Bursts(connections) => format!("keep-alive request, bursts of {connections} connections"),
            Pattern::Connects => String::from("connection with one request, step by step"),
        }
    }
}

/// Exact counts per request.
pub fn counts(report: &mut Report, guests: &[Guest], plugin: &Plugin) {
    let patterns = [
        (Pattern::Bursts(1), 0),
        (Pattern::Bursts(8), 0),
        (Pattern::Bursts(64), 0),
        (Pattern::Connects, 0),
        (Pattern::Bursts(1), HELD),
        (Pattern::Bursts(8), HELD),
    ];
    let mut idle = Vec::new();
    let mut columns: Vec<Vec<Result<Cell, String>>> = Vec::new();
    for guest in guests {
        match count_guest(guest, plugin, &patterns) {
            Ok((per_second, cells)) => {
                idle.push(Ok(per_second));
                columns.push(cells);
            }
            Err(problem) => {
                idle.push(Err(problem.clone()));
                columns.push(patterns.iter().map(|_| Err(problem.clone())).collect());
            }
        }
    }
    let how =
        format!("counting plugin over {} s after {} s of rest, `-icount shift=0`", IDLE.as_secs(), QUIET.as_secs());
    report.row("guest instructions per idle second", how, idle);
    let requests = grouped(COUNTED as f64);
    for (index, (pattern, held)) in patterns.into_iter().enumerate() {
        let held = if held == 0 { String::new() } else { format!(", {held} idle connections held") };
        let cells =
            columns.iter_mut().map(|column| column.get(index).cloned().unwrap_or_else(|| Err(String::from("–"))));
        let how = format!(
            "counting plugin, {requests} requests each: the count that one in five is not above, when nothing else is due \
             (spread over {REPEATS} repetitions); the mean has the log's records and all else in it that time brings"
        );
        let cells: Cells = cells.collect();
        if index == 0 {
            let undisturbed = values(&cells, "/undisturbed/0");
            report.bars("Guest instructions per paced keep-alive request (less is better)", undisturbed, grouped);
        }
        report.row(format!("guest instructions per {}{held}", pattern.name()), how, cells);
    }
}

/// The same request of an image whose table has 64 connections instead of 1,024.
pub fn small_pool(report: &mut Report, guests: &[Guest], plugin: &Plugin) {
    let Some(outpost) = guests.first() else { return };
    let mut small = outpost.clone();
    small.vm.kernel = Some(lab::small_pool_image());
    let patterns = [(Pattern::Bursts(1), 0), (Pattern::Bursts(8), 0)];
    let counted = match lab::small_pool_image().exists() {
        true => count_guest(&small, plugin, &patterns).map(|(_, cells)| cells),
        false => Err(String::from("`make bench` builds this image, and it is not there")),
    };
    for (index, (pattern, _)) in patterns.into_iter().enumerate() {
        let cell =
            counted.clone().and_then(|cells| cells.get(index).cloned().unwrap_or_else(|| Err(String::from("–"))));
        let mut cells = vec![cell];
        cells.resize_with(guests.len(), || Ok(Cell::new("–", json!(null))));
        let figure = format!("guest instructions per {}, a pool of 64", pattern.name());
        report.row(figure, "as above, an image built with `--features small-pool`", cells);
    }
}

type Cells = Vec<Result<Cell, String>>;

fn count_guest(guest: &Guest, plugin: &Plugin, patterns: &[(Pattern, usize)]) -> Result<(Cell, Cells), String> {
    let guest = &Guest { boot_limit: guest.boot_limit * COUNTING_SLOWDOWN, ..guest.clone() };
    let (process, _) = guest.boot_with(|vm| vm.extra.extend(plugin.arguments(None)))?;
    let counter = plugin.open()?;
    thread::sleep(QUIET);
    let (before, begin) = (counter.read()?, Instant::now());
    thread::sleep(IDLE);
    let per_second = (counter.read()? - before).instructions as f64 / begin.elapsed().as_secs_f64();
    let mut cells = Vec::new();
    for (pattern, held) in patterns {
        cells.push(count_pattern(&Counted { guest, process: &process, counter: &counter }, *pattern, *held));
    }
    Ok((Cell::new(grouped(per_second), json!(per_second)), cells))
}

/// A guest whose instructions are counted.
struct Counted<'a> {
    guest: &'a Guest,
    process: &'a Process,
    counter: &'a Counter,
}

fn count_pattern(counted: &Counted<'_>, pattern: Pattern, held: usize) -> Result<Cell, String> {
    let _held = hold(counted.guest, held)?;
    thread::sleep(QUIET);
    counted.ask(pattern, WARM_UP)?;
    let (mut quiet, mut all, mut accesses) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..REPEATS {
        let counts = counted.ask(pattern, COUNTED)?;
        let each: Vec<f64> = counts.iter().map(|count| count.instructions as f64 / pattern.requests()).collect();
        quiet.extend(percentile(&each, UNDISTURBED));
        accesses.extend(counts.iter().map(|count| count.device_accesses as f64 / pattern.requests()));
        all.push(each);
    }
    let each = all.concat();
    let mean = each.iter().sum::<f64>() / each.len() as f64;
    let (Some(lowest), Some(spread), Some(middle), Some(devices)) =
        (median(&quiet), spread_percent(&quiet), median(&each), median(&accesses))
    else {
        return Err(String::from("nothing was counted"));
    };
    let deciles = |each: &Vec<f64>| (0..=10).filter_map(|tenth| percentile(each, tenth * 10)).collect::<Vec<_>>();
    let raw = json!({
        "undisturbed": quiet, "median": middle, "mean": mean, "device_accesses": devices,
        "deciles": all.iter().map(deciles).collect::<Vec<_>>(),
    });
    let (lowest, middle, mean) = (grouped(lowest), grouped(middle), grouped(mean));
    let text = format!("{lowest} ({spread:.2} %), median {middle}, mean {mean}; {devices:.2} device accesses");
    Ok(Cell::new(text, raw))
}

/// Connections that were used once and then say nothing.
fn hold(guest: &Guest, number: usize) -> Result<Vec<Connection>, String> {
    let open = |_| {
        let mut connection = Connection::open(guest.address())?;
        expect_200(connection.get(guest.path, After::Keep)?)?;
        Ok(connection)
    };
    (0..number).map(open).collect()
}

impl Counted<'_> {
    /// Asks about `requests` times in this pattern; what was executed for each burst or connection, from the halt
    /// before it to the halt after it.
    fn ask(&self, pattern: Pattern, requests: usize) -> Result<Vec<Count>, String> {
        let Counted { guest, counter, .. } = self;
        let rounds = requests.div_ceil(pattern.requests() as usize);
        let mut counts = Vec::with_capacity(rounds);
        let kept = if let Pattern::Bursts(connections) = pattern { connections } else { 0 };
        let mut open = hold(guest, kept)?;
        thread::sleep(QUIET / 10);
        let mut before = counter.read()?;
        for _ in 0..rounds {
            let after = match pattern {
                Pattern::Bursts(_) => self.burst(&mut open, before)?,
                Pattern::Connects => {
                    let mut connection = Connection::open(guest.address())?;
                    let connected = counter.settle(before)?;
                    connection.ask(guest.path, After::Close)?;
                    expect_200(connection.answer(After::Close)?)?;
                    let answered = counter.settle(connected)?;
                    drop(connection);
                    counter.settle(answered)?
                }
            };
            counts.push(after - before);
            before = after;
        }
        Ok(counts)
    }

    /// A request on each of these connections; the reading after the guest has halted.
    fn burst(&self, open: &mut [Connection], before: Count) -> Result<Count, String> {
        let together = open.len() > 1;
        if together {
            self.process.pause()?;
        }
        let path = self.guest.path;
        let asked: Result<(), String> = open.iter_mut().try_for_each(|connection| connection.ask(path, After::Keep));
        if together {
            self.process.go_on()?;
        }
        asked?;
        open.iter_mut().try_for_each(|connection| expect_200(connection.answer(After::Keep)?))?;
        self.counter.settle(before)
    }
}

/// Where instructions go, by function: those of the boot, of a second in which nobody asks anything, and of a request; by
/// address in files of `folder`, to be laid beside a listing.
pub fn profile(
    report: &mut Report,
    guest: &Guest,
    plugin: &Plugin,
    image: &Image,
    folder: &Path,
) -> Result<(), String> {
    let (process, _) = guest.boot_with(|vm| vm.extra.extend(plugin.arguments(Some(image.code))))?;
    let counter = plugin.open()?;
    let mut note = |name: &str, unit: &str, before: &[u64], after: &[u64], of: f64| {
        let counts: Vec<u64> = after.iter().zip(before).map(|(after, before)| after - before).collect();
        let total = counts.iter().sum::<u64>() as f64 / of;
        let addresses = (image.code.begin..).zip(&counts).filter(|(_, count)| **count > 0);
        let text: String = addresses.map(|(at, count)| format!("{at:x} {:.3}\n", *count as f64 / of)).collect();
        let file = folder.join(format!("profile {name}.txt"));
        std::fs::write(&file, text).map_err(|error| format!("{}: {error}", file.display()))?;
        for (by, sums) in
            [("function", image.by_function(&counts)), ("function in the source", image.by_source(&counts)?)]
        {
            let mut text = format!("| instructions | share | {by} |\n|---:|---:|---|\n");
            for (name, count) in sums.into_iter().take(LISTED) {
                let each = count as f64 / of;
                // Writing into a String cannot fail.
                let _ = writeln!(text, "| {} | {:.1} % | `{name}` |", grouped(each), each / total * 100.0);
            }
            report.note(&format!("{name}: {} instructions{unit}, by {by}", grouped(total)), text);
        }
        Ok::<(), String>(())
    };
    let booted = counter.by_address(image.code)?;
    note("start to the first answer", "", &vec![0; booted.len()], &booted, 1.0)?;
    thread::sleep(QUIET);
    let (before, begin) = (counter.by_address(image.code)?, Instant::now());
    thread::sleep(IDLE);
    let (after, seconds) = (counter.by_address(image.code)?, begin.elapsed().as_secs_f64());
    note("idle", " a second", &before, &after, seconds)?;
    let counted = Counted { guest, process: &process, counter: &counter };
    for pattern in [Pattern::Bursts(1), Pattern::Bursts(8), Pattern::Connects] {
        counted.ask(pattern, WARM_UP)?;
        let before = counter.by_address(image.code)?;
        let requests = counted.ask(pattern, COUNTED)?.len() as f64 * pattern.requests();
        let after = counter.by_address(image.code)?;
        note(&pattern.name(), " each (mean)", &before, &after, requests)?;
    }
    Ok(())
}

fn expect_200(status: u16) -> Result<(), String> {
    if status == 200 { Ok(()) } else { Err(format!("answered with {status} instead of 200")) }
}

fn of(number: usize, noun: &str) -> String {
    if number == 1 { format!("1 {noun}") } else { format!("{number} {noun}s") }
}

fn milliseconds(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}

fn microseconds(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e6
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_smallest_memory_is_exact() {
        // Off by one MiB would promise a size at which the image does not serve.
        for threshold in 1..=96 {
            let passes = |mib| if mib >= threshold { Ok(()) } else { Err(String::from("too little")) };
            assert_eq!(smallest(96, passes), Ok(threshold));
        }
        assert_eq!(smallest(12, |_| Err(String::from("never"))), Err(String::from("never")));
    }
}
