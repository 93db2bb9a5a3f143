//! The disk image under real firmware: OVMF on q35 starts the loader, the loader starts the image.

use crate::lab::{Guest, Lab, PATIENCE, get, image, wait_for_line};
use crate::memory;
use crate::support::{Why, left_out};
use outpost_cli::disk::{self, File, Format};
use outpost_qemu::{Bus, Disk, Forward, Network, Vm};
use outpost_wire::{EndCause, Event};
use std::fs;
use std::process::Command;

/// The files of a disk for the image under test, with this configuration.
fn files(config: &str) -> Vec<File> {
    let loader = image().with_file_name("outpost.efi");
    let loader = fs::read(&loader).unwrap_or_else(|error| {
        panic!("{}: {error}. Build it: cargo run -p outpost-cli -- image --format raw", loader.display())
    });
    let elf = fs::read(image()).unwrap();
    vec![File::new(disk::LOADER, loader), File::new(disk::ELF, elf), File::new(disk::CONFIG, config)]
}

/// Writes a disk with these files into the laboratory's folder.
fn written(lab: &Lab, files: &[File], format: Format) -> Disk {
    let id = outpost_cli::image::id(&fs::read(image()).unwrap()).unwrap();
    let raw = disk::write(files, &id).unwrap();
    let path = lab.file("disk", "");
    fs::write(&path, disk::encode(&raw, format)).unwrap();
    Disk::new(path, if format == Format::Raw { "raw" } else { "qcow2" })
}

/// A machine with this disk, its HTTP port forwarded.
fn vm(disk: Disk) -> Vm {
    Vm { network: Network::User(vec![Forward::to(80)]), ..Vm::from_disk(disk) }
}

/// Whether the firmware is here; tells when it is not.
fn can_run(name: &str) -> bool {
    let works = Disk::new("", "raw").firmware_works();
    works.inspect_err(|why| left_out(Why::Skipped, name, why)).is_ok()
}

/// What every guest from a disk must show: it serves, it was configured from the ESP, and it says so.
fn serves(guest: &mut Guest) {
    guest.wait_ok("/readyz");
    let about = guest.wait_ok("/about").body;
    assert!(about.contains(r#""boot_path":"uefi""#) && about.contains(r#""config_source":"esp""#), "{about}");
    let config = guest.wait_ok("/config").body;
    assert!(config.contains(r#""/collector/address":"esp""#) && config.contains(r#""problem_count":0"#), "{config}");
}

#[test]
fn a_disk_boots_read_only_and_again_after_a_reset() {
    // Firmware that keeps memory where the image goes, a page that stays writable, a disk that must be written to.
    if !can_run("uefi::a_disk_boots_read_only_and_again_after_a_reset") {
        return;
    }
    let lab = Lab::new();
    // The ESP is the last source: what stands there counts more than the command line beside it, and than fw_cfg.
    let mut files = files(&lab.config(None));
    files.push(File::new(disk::COMMAND_LINE, "outpost.name=from-line\noutpost.http.maintenance=false\n"));
    let (bundle, _) = crate::content::build(lab.folder(), None);
    files.push(File::new(disk::CONTENT, fs::read(bundle).unwrap()));
    let disk = written(&lab, &files, Format::Raw);
    let before = fs::read(&disk.path).unwrap();
    let by_fw_cfg = lab.file("fw_cfg.json", r#"{"name":"from-fw-cfg","contact":{"name":"from-fw-cfg"}}"#);
    let mut guest = Guest::boot(&Vm { config_by_fw_cfg: Some(by_fw_cfg), ..vm(disk.clone()) });
    serves(&mut guest);
    crate::content::serves(&mut guest);
    let config = guest.wait_ok("/config").body;
    for origin in [r#""/name":"esp""#, r#""/contact/name":"fw_cfg""#, r#""/http/maintenance":"command_line""#] {
        assert!(config.contains(origin), "{origin}: {config}");
    }
    memory::audit_running(&mut guest, "q35 with OVMF");

    // The firmware runs again and leaves the log region alone: what was not delivered before the reset still comes.
    lab.wait_for("boot.started", 1);
    guest.running.qmp().system_reset().unwrap();
    let started = lab.wait_for("boot.started", 2);
    assert_ne!(started[0].boot, started[1].boot);
    let ends = lab.wait_for("boot.previous_ended", 1);
    let Event::BootPreviousEnded(end) = ends[0].event() else { panic!("{:?}", ends[0]) };
    // Firmware that takes as long as the watchdog looks like it, where no device tells (docs/deploy/uefi.md).
    assert!(matches!(end.cause, EndCause::Reset | EndCause::Watchdog), "{end:?}");
    serves(&mut guest);
    guest.power_down();
    assert!(fs::read(&disk.path).unwrap() == before, "a disk has no state");
}

#[test]
fn a_disk_boots_from_other_controllers() {
    // A loader that asks the firmware for more than files would know one controller only.
    if !can_run("uefi::a_disk_boots_from_other_controllers") {
        return;
    }
    for (bus, format) in [(Bus::Ahci, Format::Qcow2), (Bus::Scsi, Format::Raw)] {
        let lab = Lab::new();
        let disk = written(&lab, &files(&lab.config(None)), format);
        let mut guest = Guest::boot(&vm(Disk { bus, ..disk }));
        serves(&mut guest);
        guest.power_down();
    }
}

#[test]
fn a_truncated_configuration_never_prevents_the_boot() {
    // Whoever wrote half a file to the ESP must be told by the machine, not left with a dead one.
    if !can_run("uefi::a_truncated_configuration_never_prevents_the_boot") {
        return;
    }
    let lab = Lab::new();
    let config = lab.config(None);
    let disk = written(&lab, &files(&config[..config.len() / 2]), Format::Raw);
    let mut guest = Guest::boot(&vm(disk));
    guest.wait_ok("/livez");
    let ready = get(guest.http(), "/readyz").unwrap();
    assert!(ready.status == 503 && ready.body.contains("[-]config failed"), "{ready:?}");
    guest.wait_for_line(&["config", "esp", "the document ends"]);
    let config = guest.wait_ok("/config").body;
    assert!(config.contains(r#""problems":[{"source":"esp""#), "{config}");
}

#[test]
fn a_truncated_image_is_one_sentence() {
    // A triple fault here would be a machine that restarts for ever without a word.
    if !can_run("uefi::a_truncated_image_is_one_sentence") {
        return;
    }
    let lab = Lab::new();
    let mut files = files("{}");
    let half = files[1].bytes.len() / 2;
    files[1].bytes.truncate(half);
    let mut running = Vm::from_disk(written(&lab, &files, Format::Raw)).start().unwrap();
    wait_for_line(
        &mut running,
        &["outpost: cannot start: \\outpost\\outpost.elf is no ELF file or ends too early; write the disk image"],
    );
    // The firmware has the machine back.
    running.wait_for("Shell", PATIENCE).unwrap();
}

#[test]
fn qemu_agrees_with_our_qcow2() {
    // A format that only we can read would be found by the first user.
    let lab = Lab::new();
    let raw = written(&lab, &files("{}"), Format::Raw).path;
    fs::rename(&raw, raw.with_file_name("raw")).unwrap();
    let ours = written(&lab, &files("{}"), Format::Qcow2).path;
    let name = |name: &str| ours.with_file_name(name).display().to_string();
    let qemu_img = |arguments: &[&str]| Command::new("qemu-img").args(arguments).output();
    let check = match qemu_img(&["check", "-f", "qcow2", &name("disk")]) {
        Ok(check) => check,
        Err(error) => {
            left_out(Why::Skipped, "uefi::qemu_agrees_with_our_qcow2", &format!("qemu-img does not start: {error}"));
            return;
        }
    };
    assert!(check.status.success(), "{check:?}");
    assert!(String::from_utf8_lossy(&check.stdout).contains("No errors were found"), "{check:?}");
    let same = qemu_img(&["compare", "-f", "raw", "-F", "qcow2", &name("raw"), &name("disk")]).unwrap();
    assert!(same.status.success(), "{same:?}");
    // And the other way: what QEMU makes of it is read here.
    qemu_img(&["convert", "-f", "raw", "-O", "qcow2", &name("raw"), &name("theirs")]).unwrap();
    assert_eq!(disk::open(name("theirs").as_ref()).unwrap().file(disk::CONFIG), Some(b"{}".as_slice()));
    qemu_img(&["convert", "-c", "-f", "raw", "-O", "qcow2", &name("raw"), &name("packed")]).unwrap();
    let error = disk::open(name("packed").as_ref()).unwrap_err();
    assert!(error.contains("qemu-img convert -O raw"), "{error}");
}

/// Debian's well-known test key, which its firmware for tests trusts, and the password of its file.
const TEST_KEY: [&str; 2] = ["/usr/share/ovmf/PkKek-1-snakeoil.key", "/usr/share/ovmf/PkKek-1-snakeoil.pem"];
const PASSWORD: &str = "pass:snakeoil";

#[test]
fn secure_boot_starts_a_signed_loader_and_no_other() {
    // Whoever demands signatures must be able to give one, and an image that was exchanged behind it must not start.
    let name = "uefi::secure_boot_starts_a_signed_loader_and_no_other";
    if let Err(why) = (Disk { secure_boot: true, ..Disk::new("", "raw") }).firmware_works() {
        return left_out(Why::Skipped, name, &why);
    }
    let lab = Lab::new();
    let unsigned = files(&lab.config(None));
    let (key, loader) = (lab.file("db.key", ""), lab.file("outpost.efi", ""));
    fs::write(&loader, &unsigned[0].bytes).unwrap();
    let signed = lab.file("signed.efi", "");
    let openssl =
        Command::new("openssl").args(["rsa", "-passin", PASSWORD, "-in", TEST_KEY[0], "-out"]).arg(&key).output();
    let sbsign = Command::new("sbsign")
        .arg("--key")
        .arg(&key)
        .args(["--cert", TEST_KEY[1], "--output"])
        .args([&signed, &loader])
        .output();
    let (Ok(openssl), Ok(sbsign)) = (openssl, sbsign) else {
        return left_out(Why::Skipped, name, "openssl or sbsign does not start: apt-get install openssl sbsigntool");
    };
    assert!(openssl.status.success() && sbsign.status.success(), "{openssl:?} {sbsign:?}");
    let boot = |files: &[File]| vm(Disk { secure_boot: true, ..written(&lab, files, Format::Raw) });

    let mut refused = boot(&unsigned).start().unwrap();
    refused.wait_for("Access Denied", PATIENCE).unwrap();
    assert!(!refused.serial().text().contains("outpost:"), "{}", refused.serial().text());
    drop(refused);

    let mut files = unsigned;
    files[0].bytes = fs::read(&signed).unwrap();
    let mut guest = Guest::boot(&boot(&files));
    serves(&mut guest);
    drop(guest);

    // Another image, whole and with its right id: the signature of the loader does not cover it.
    let mut linked = fs::read(image().with_extension("debug.elf")).unwrap();
    let at = linked.windows(7).position(|bytes| bytes == b"outpost").unwrap();
    linked[at] ^= 1;
    files[1].bytes = outpost_cli::image::sealed(linked).unwrap().packed;
    let mut exchanged = boot(&files).start().unwrap();
    wait_for_line(&mut exchanged, &["outpost: cannot start:", "is another image than this loader was made for"]);
}
