//! What the ways to boot cost: the ELF by PVH, and the same ELF from a disk by UEFI firmware.

use crate::guest::{Guest, Process};
use crate::lab;
use crate::namespace::Link;
use crate::report::{Cell, Report, grouped};
use crate::stats::median;
use outpost_cli::disk::{self, Format};
use outpost_qemu::{Disk, Machine, Vm};
use serde_json::{Value, json};
use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// How long firmware may take to start a disk: half a minute on a loaded machine.
const FIRMWARE_LIMIT: Duration = Duration::from_secs(60);

/// What the loader says first.
const LOADER: &[u8] = b"outpost: loader";

/// How often the console is looked at for it.
const LOOK: Duration = Duration::from_millis(2);

/// The ways to boot, each with this configuration.
pub fn guests(folder: &Path, config: &Value, link: &Link) -> Result<Vec<Guest>, String> {
    let read = |path: &Path| fs::read(path).map_err(|error| format!("{}: {error}", path.display()));
    let (elf, loader) = (read(&lab::image())?, read(&lab::image().with_file_name("outpost.efi"))?);
    let raw = disk::image(&elf, &loader, Some(config.to_string().as_bytes()), None)?;
    let pvh = |name: &str, machine: Machine| {
        let guest = lab::guest(folder, name, config, link.clone())?;
        let vm = Vm { machine, nic: machine.nics().first().copied(), ..guest.vm.clone() };
        Ok::<Guest, String>(Guest { name: format!("{machine}, PVH: ELF"), vm, ..guest })
    };
    let uefi = |name: &'static str, format: Format| {
        let path = folder.join(format!("disk.{name}"));
        fs::write(&path, disk::encode(&raw, format)).map_err(|error| format!("{}: {error}", path.display()))?;
        let guest = lab::guest(folder, name, config, link.clone())?;
        Ok::<Guest, String>(Guest {
            name: format!("q35, UEFI: {name}"),
            vm: Vm::from_disk(Disk::new(&path, name)),
            deployed: vec![path],
            boot_limit: FIRMWARE_LIMIT,
            ..guest
        })
    };
    Ok(vec![
        pvh("microvm", Machine::Microvm)?,
        pvh("q35", Machine::Q35)?,
        uefi("raw", Format::Raw)?,
        uefi("qcow2", Format::Qcow2)?,
    ])
}

/// All figures, of this many boots of each in turn.
pub fn boots(report: &mut Report, guests: &[Guest], rounds: usize) {
    let cells = guests.iter().map(|guest| {
        let bytes = guest.deployed_bytes()?;
        Ok(Cell::new(format!("{} ({:.0} KiB)", grouped(bytes as f64), bytes as f64 / 1024.0), json!(bytes)))
    });
    report.row("image", "size of the file", cells.collect());
    let mut series: Vec<Result<Vec<Boot>, String>> = vec![Ok(Vec::new()); guests.len()];
    for _ in 0..rounds {
        for (guest, boots) in guests.iter().zip(&mut series) {
            let boot = boot(guest);
            *boots = std::mem::replace(boots, Ok(Vec::new())).and_then(|mut boots| {
                boots.push(boot?);
                Ok(boots)
            });
        }
    }
    let mut row = |figure: &str, how: String, unit: &str, of: &dyn Fn(&Boot) -> Option<f64>| {
        let cells = series.iter().map(|boots| {
            let values: Vec<f64> = boots.as_ref().map_err(String::clone)?.iter().filter_map(of).collect();
            let text = median(&values).map_or_else(|| String::from("–"), |middle| format!("{middle:.1} {unit}"));
            Ok(Cell::new(text, json!(values)))
        });
        report.row(figure, how, cells.collect());
    };
    let how = format!("median of {rounds}, in turn; tcg, static address, tap");
    row("QEMU start → first 200", how, "ms", &|boot| Some(boot.took_ms));
    let how = "QEMU start → the loader's first line: OVMF with its defaults, in % of the row above";
    row("… of it firmware", how.into(), "%", &|boot| boot.firmware_ms.map(|ms| ms / boot.took_ms * 100.0));
    row("… behind the firmware", "the loader's first line → first 200".into(), "ms", &|boot| {
        boot.firmware_ms.map(|ms| boot.took_ms - ms)
    });
    let how = "VmRSS of the process after the first answer";
    row("QEMU's resident memory", how.into(), "MiB", &|boot| Some(boot.resident_mib));
    let cells = guests.iter().map(|guest| {
        let memory = guest.vm.memory_mib;
        Ok(Cell::new(format!("{memory} MiB"), json!(memory)))
    });
    report.row("RAM of the machine", "-m; what OVMF starts in, with room", cells.collect());
}

/// One boot.
#[derive(Clone, Debug)]
struct Boot {
    took_ms: f64,
    firmware_ms: Option<f64>,
    resident_mib: f64,
}

fn boot(guest: &Guest) -> Result<Boot, String> {
    let _ = fs::remove_file(&guest.console);
    let over = AtomicBool::new(false);
    let (booted, answered, loader): (Result<(Process, Duration), String>, _, _) = thread::scope(|scope| {
        let watcher = scope.spawn(|| first_seen(&guest.console, &over));
        let booted = guest.boot();
        let answered = Instant::now();
        over.store(true, Ordering::Relaxed);
        (booted, answered, watcher.join().ok().flatten())
    });
    let (process, took) = booted?;
    let milliseconds = |time: Duration| time.as_secs_f64() * 1e3;
    let firmware = loader.map(|seen| took.saturating_sub(answered.duration_since(seen)));
    Ok(Boot {
        took_ms: milliseconds(took),
        firmware_ms: firmware.map(milliseconds),
        resident_mib: process.resident_kib()? as f64 / 1024.0,
    })
}

/// When the loader's first line stood on the console; `None` when it did not before all was over.
fn first_seen(console: &Path, over: &AtomicBool) -> Option<Instant> {
    while !over.load(Ordering::Relaxed) {
        let text = fs::read(console).unwrap_or_default();
        if text.windows(LOADER.len()).any(|bytes| bytes == LOADER) {
            return Some(Instant::now());
        }
        thread::sleep(LOOK);
    }
    None
}
