//! `make bench`: measures the image, beside its peers and on the same machine, and writes a table.
//!
//! ```text
//! namespace   a network of our own: taps, nothing of the host's
//!   guest     what is booted, and what its QEMU uses
//!     client, load     who asks it: ours for exact moments, wrk and ab for load
//!     counter          what it executed for that, exactly (plugin/count.c)
//!   figures   what is measured, in which order ──▶ report ──▶ bench/results/latest.{md,json,svg}
//! log         the same for the log ──────────────▶ report ──▶ bench/results/log.{md,json}
//! http        and for the HTTP interface ────────▶ report ──▶ bench/results/http.{md,json}
//! machines    and for the ways to boot ──────────▶ report ──▶ bench/results/machines.{md,json}
//! schedule    and for checks ────────────────────▶ report ──▶ bench/results/schedule.{md,json}
//! tls         and for those over TLS ────────────▶ report ──▶ bench/results/tls.{md,json}
//! ```
//!
//! What always holds: all figures of a table are from one run on one machine; every wait has a limit; the run ends
//! by itself, and nothing it started outlives it. A further guest to compare with is one more element in
//! [`measure_image`].
#![forbid(unsafe_code)]

mod attack;
mod chart;
mod client;
mod command;
mod counter;
mod figures;
mod floor;
mod guest;
mod http;
mod image;
mod lab;
mod linux;
mod load;
mod log;
mod machines;
mod namespace;

mod report;
mod schedule;
mod stats;
mod tls;

use clap::{Parser, ValueEnum};
use counter::Plugin;
use image::Image;
use lab::ROOT;
use namespace::Link;
use outpost_qemu::{Machine, PROGRAM};
use report::Report;
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};
use std::{fs, thread};

/// How long a whole run may take.
const RUN_LIMIT: Duration = Duration::from_secs(30 * 60);

/// Where the peer's packages are kept between runs.
const LINUX: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../target/bench-linux");

/// What a run makes: consoles, counters, the collector's store. One folder for all runs, cleared by the next.
const RUN: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../target/bench-run");

/// Measures the image of dist/ and writes what it found into bench/results/.
#[derive(Parser)]
#[command(after_help = "Examples:
  make bench                           build everything, measure everything (root; about 20 minutes)
  outpost-bench log                    the log alone: bytes per record need neither root nor an image
  outpost-bench --only boot,count      only these, with what is already built")]
struct Args {
    /// What to measure [default: all]
    #[arg(value_enum)]
    subjects: Vec<Subject>,
    /// Parts to measure, of any subject [default: all of the subjects]
    #[arg(long, value_delimiter = ',', value_enum)]
    only: Vec<Part>,
    /// Boots of each guest
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u16).range(1..=1000))]
    boots: u16,
    /// Seconds of each load
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=60))]
    seconds: u32,
    /// Measure Linux + nginx, too, made of Debian packages
    #[arg(long)]
    peers: bool,
    /// Folder for the results
    #[arg(long, default_value = concat!(env!("CARGO_MANIFEST_DIR"), "/results"))]
    out: PathBuf,
    /// Set by ourselves, for the second start in namespaces of our own
    #[arg(long, hide = true)]
    inside: bool,
}

/// What a table is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Subject {
    /// The image beside its peers: size, boot, load, instructions (latest.md)
    Image,
    /// What the log costs (log.md)
    Log,
    /// The HTTP interface under load and attack (http.md)
    Http,
    /// The ways to boot: PVH and UEFI (machines.md)
    Machines,
    /// Checks: whether they keep their schedule, and what they cost (schedule.md)
    Schedule,
    /// Checks over TLS, by the kind of the server's key (tls.md)
    Tls,
}

/// A part of the run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Part {
    /// Bytes deployed
    Size,
    /// QEMU start → first 200
    Boot,
    /// Idle CPU, requests and connections per second
    Traffic,
    /// Boot and requests under KVM, where there is hardware for it
    Kvm,
    /// Guest instructions and device accesses per request
    Count,
    /// Guest instructions by function
    Profile,
    /// Smallest -m
    Memory,
    /// Bytes per record
    Bytes,
    /// Guest instructions per record
    Emit,
    /// Records per second, beside rsyslog
    Throughput,
    /// Time from a record's emission to its durable acknowledgement
    Ack,
    /// Load on several paths
    Paths,
    /// A poller's answers during an attack
    Attack,
    /// Size, start → first 200 and memory by the way to boot
    Ways,
    /// How late probes come while most targets hang, beside Prometheus + blackbox_exporter
    Lag,
    /// The status page and the probes while 256 clients ask for the page
    Page,
    /// Memory of a check
    Cost,
    /// Guest instructions of a check over TLS
    Keys,
    /// GET /livez while targets are checked over TLS
    Handshakes,
}

impl Part {
    fn subject(self) -> Subject {
        match self {
            Part::Size | Part::Boot | Part::Traffic | Part::Kvm | Part::Count | Part::Profile | Part::Memory => {
                Subject::Image
            }
            Part::Bytes | Part::Emit | Part::Throughput | Part::Ack => Subject::Log,
            Part::Paths | Part::Attack => Subject::Http,
            Part::Ways => Subject::Machines,
            Part::Lag | Part::Page | Part::Cost => Subject::Schedule,
            Part::Keys | Part::Handshakes => Subject::Tls,
        }
    }

    /// Whether it needs taps, and so root.
    fn needs_taps(self) -> bool {
        self.subject() != Subject::Log || self == Part::Ack
    }
}

impl Args {
    /// The parts to measure, in the order of their declaration.
    fn parts(&self) -> Vec<Part> {
        let asked = |part: &Part| match (self.only.as_slice(), self.subjects.as_slice()) {
            ([], []) => true,
            ([], subjects) => subjects.contains(&part.subject()),
            (only, _) => only.contains(part),
        };
        Part::value_variants().iter().copied().filter(asked).collect()
    }
}

fn main() -> ExitCode {
    let args = Args::parse();
    if !args.inside && args.parts().into_iter().any(Part::needs_taps) {
        eprintln!("bench: {}", start(&args));
        return ExitCode::FAILURE;
    }
    match bench(&args) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(problem) => {
            eprintln!("bench: {problem}");
            ExitCode::FAILURE
        }
    }
}

/// What happens outside of the namespaces: everything that needs a network. Returns only what went wrong.
fn start(args: &Args) -> String {
    if let Err(problem) = namespace::check_root() {
        return problem;
    }
    if args.peers
        && let Err(problem) = linux::fetch(Path::new(LINUX))
    {
        eprintln!("bench: Linux + nginx will be left out: {problem}");
    }
    namespace::enter()
}

/// Measures; whether everything that was asked for could be.
fn bench(args: &Args) -> Result<bool, String> {
    end_in_time()?;
    if args.inside {
        Link::prepare()?;
    }
    let folder = Path::new(RUN);
    let cleared = if folder.exists() { fs::remove_dir_all(folder) } else { Ok(()) };
    cleared.and_then(|()| fs::create_dir_all(folder)).map_err(|error| format!("{RUN}: {error}"))?;
    let mut complete = true;
    let tables = [
        (Subject::Image, "latest"),
        (Subject::Log, "log"),
        (Subject::Http, "http"),
        (Subject::Machines, "machines"),
        (Subject::Schedule, "schedule"),
        (Subject::Tls, "tls"),
    ];
    for (subject, name) in tables {
        let parts: Vec<Part> = args.parts().into_iter().filter(|part| part.subject() == subject).collect();
        if parts.is_empty() {
            continue;
        }
        // Written after each part: what a run has found is there however it ends.
        let done = |report: &Report| write(report, &args.out, name);
        let mut report = match subject {
            Subject::Image => measure_image(args, &parts, folder, done)?,
            Subject::Log => measure_log(&parts, folder, done)?,
            Subject::Http => measure_http(args, &parts, folder, done)?,
            Subject::Machines => measure_machines(args, folder)?,
            Subject::Schedule => measure_schedule(&parts, folder, done)?,
            Subject::Tls => measure_tls(&parts, folder, done)?,
        };
        report.condition("load average at the end", load_average());
        done(&report)?;
        println!("{}", report.markdown());
        complete &= report.failures().next().is_none();
    }
    Ok(complete)
}

/// The image beside its peers.
fn measure_image(
    args: &Args,
    parts: &[Part],
    folder: &Path,
    done: impl Fn(&Report) -> Result<(), String>,
) -> Result<Report, String> {
    let image = Image::read(&lab::debug_image())?;
    let link = Link::make(1)?;
    let listen = SocketAddr::from((link.host, lab::COLLECTOR_PORT));
    let _collector = lab::collector(&lab::memory(&folder.join("image"))?, "image", listen, &[])?;
    let outpost = lab::guest(folder, "image", &lab::config(&link, listen), link)?;
    let (mut guests, mut left_out) = (vec![outpost], Vec::new());
    // A further guest to compare with goes here.
    if args.peers {
        match linux::guest(Path::new(LINUX), folder, Link::make(2)?) {
            Ok(linux) => guests.push(linux),
            Err(problem) => left_out.push(problem),
        }
    }
    let plugin = Plugin::compile(&lab::plugin(), folder)?;
    let mut report = Report::new("Benchmark", guests.iter().map(|guest| guest.name.clone()).collect());
    conditions(&mut report, Some(&image));
    report.condition("load generators", [guest::version("wrk", "-v"), guest::version("ab", "-V")].join("; "));
    for problem in left_out {
        report.condition("Linux + nginx", format!("left out: {problem}"));
    }
    let mut took = Vec::new();
    for part in parts {
        let begin = Instant::now();
        match part {
            Part::Size => figures::size(&mut report, &guests, &image),
            Part::Boot => figures::boot(&mut report, &guests, args.boots.into(), folder)?,
            Part::Traffic => figures::traffic(&mut report, &guests, args.seconds),
            Part::Memory => {
                for machine in [Machine::Microvm, Machine::Q35] {
                    figures::memory(&mut report, &guests, machine);
                }
            }
            Part::Kvm => match figures::hardware_kvm() {
                Ok(()) => figures::kvm(&mut report, &guests, args.boots.into(), args.seconds),
                Err(reason) => report.condition("KVM", format!("left out: {reason}")),
            },
            Part::Count => {
                figures::counts(&mut report, &guests, &plugin);
                figures::small_pool(&mut report, &guests, &plugin);
            }
            Part::Profile => {
                let outpost = guests.first().ok_or("no guest")?;
                figures::profile(&mut report, outpost, &plugin, &image, folder)?;
            }
            // Another subject's.
            _ => {}
        }
        took.push(format!("{part:?} {} s", begin.elapsed().as_secs()).to_lowercase());
        done(&report)?;
    }
    report.condition("took", took.join(", "));
    Ok(report)
}

/// What the log costs.
fn measure_log(parts: &[Part], folder: &Path, done: impl Fn(&Report) -> Result<(), String>) -> Result<Report, String> {
    let mut report = Report::new("What the log costs", log::COLUMNS.map(String::from).into());
    conditions(&mut report, None);
    for part in parts {
        match part {
            Part::Bytes => log::bytes(&mut report, folder)?,
            Part::Emit => {
                let image = Image::read(&lab::debug_image())?;
                log::emit(&mut report, &Plugin::compile(&lab::plugin(), folder)?, &image, folder)?;
            }
            Part::Throughput => log::throughput(&mut report, folder)?,
            Part::Ack => log::ack(&mut report, folder, Link::make(3)?)?,
            _ => {}
        }
        done(&report)?;
    }
    Ok(report)
}

/// The HTTP interface.
fn measure_http(
    args: &Args,
    parts: &[Part],
    folder: &Path,
    done: impl Fn(&Report) -> Result<(), String>,
) -> Result<Report, String> {
    let link = Link::make(4)?;
    let listen = SocketAddr::from((link.host, lab::COLLECTOR_PORT));
    let _collector = lab::collector(&lab::memory(&folder.join("http"))?, "http", listen, &[])?;
    let guest = lab::guest(folder, "http", &lab::config(&link, listen), link)?;
    let mut report = Report::new("The HTTP interface", http::COLUMNS.map(String::from).into());
    conditions(&mut report, Some(&Image::read(&lab::debug_image())?));
    for part in parts {
        let (process, _) = guest.boot()?;
        match part {
            Part::Paths => http::paths(&mut report, &guest, &process, args.seconds),
            Part::Attack => http::attack(&mut report, &guest)?,
            // Another subject's.
            _ => {}
        }
        done(&report)?;
    }
    Ok(report)
}

/// The ways to boot.
fn measure_machines(args: &Args, folder: &Path) -> Result<Report, String> {
    let link = Link::make(5)?;
    let listen = SocketAddr::from((link.host, lab::COLLECTOR_PORT));
    let _collector = lab::collector(&lab::memory(&folder.join("machines"))?, "machines", listen, &[])?;
    let guests = machines::guests(folder, &lab::config(&link, listen), &link)?;
    let mut report = Report::new("The ways to boot", guests.iter().map(|guest| guest.name.clone()).collect());
    conditions(&mut report, Some(&Image::read(&lab::debug_image())?));
    report.condition("firmware", "OVMF of Debian 12 (edk2 2022.11), its settings new at each boot");
    machines::boots(&mut report, &guests, args.boots.into());
    Ok(report)
}

/// Checks.
fn measure_schedule(
    parts: &[Part],
    folder: &Path,
    done: impl Fn(&Report) -> Result<(), String>,
) -> Result<Report, String> {
    let link = Link::make(6)?;
    let listen = SocketAddr::from((link.host, lab::COLLECTOR_PORT));
    let _collector = lab::collector(&lab::memory(&folder.join("schedule"))?, "schedule", listen, &[])?;
    let targets = schedule::Targets::start(link.host)?;
    let mut report = Report::new("Checks", schedule::COLUMNS.map(String::from).into());
    conditions(&mut report, Some(&Image::read(&lab::debug_image())?));
    for (name, program) in [("Prometheus", "prometheus"), ("blackbox_exporter", "prometheus-blackbox-exporter")] {
        report.condition(name, guest::version(program, "--version"));
    }
    for part in parts {
        match part {
            Part::Lag => schedule::lag(&mut report, folder, &link, &targets)?,
            Part::Page => schedule::page(&mut report, folder, &link, &targets)?,
            Part::Cost => schedule::cost(&mut report, folder, &link, &targets)?,
            // Another subject's.
            _ => {}
        }
        done(&report)?;
    }
    Ok(report)
}

/// Checks over TLS.
fn measure_tls(parts: &[Part], folder: &Path, done: impl Fn(&Report) -> Result<(), String>) -> Result<Report, String> {
    let link = Link::make(7)?;
    let listen = SocketAddr::from((link.host, lab::COLLECTOR_PORT));
    let _collector = lab::collector(&lab::memory(&folder.join("tls"))?, "tls", listen, &[])?;
    let servers = tls::Servers::start(folder, &link)?;
    let mut report = Report::new("Checks over TLS", tls::COLUMNS.map(String::from).into());
    conditions(&mut report, Some(&Image::read(&lab::debug_image())?));
    report.condition("servers", format!("`openssl s_server`, {}", guest::version("openssl", "version")));
    for part in parts {
        match part {
            Part::Keys => tls::keys(&mut report, folder, &servers, &Plugin::compile(&lab::plugin(), folder)?),
            Part::Handshakes => tls::handshakes(&mut report, folder, &servers),
            // Another subject's.
            _ => {}
        }
        done(&report)?;
    }
    Ok(report)
}

/// Ends this process on a signal and after [`RUN_LIMIT`]; as the first process of its namespace it takes all others
/// with it.
fn end_in_time() -> Result<(), String> {
    let mut signals = Signals::new([SIGINT, SIGTERM]).map_err(|error| format!("signals: {error}"))?;
    thread::spawn(move || {
        if signals.forever().next().is_some() {
            eprintln!("bench: ended by a signal; the parts that were finished are written");
            std::process::exit(130);
        }
    });
    thread::spawn(|| {
        thread::sleep(RUN_LIMIT);
        eprintln!(
            "bench: not finished after {} minutes; the parts that were finished are written",
            RUN_LIMIT.as_secs() / 60
        );
        std::process::exit(1);
    });
    Ok(())
}

/// Under what conditions this run takes place.
fn conditions(report: &mut Report, image: Option<&Image>) {
    let cpu = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let models: Vec<&str> = cpu.lines().filter(|line| line.starts_with("model name")).collect();
    let model = models.first().and_then(|line| line.split_once(':')).map_or("unknown", |(_, model)| model.trim());
    report.condition("date", guest::ask("date", &["-u", "+%Y-%m-%dT%H:%M:%SZ"]));
    report.condition("machine", format!("{model}, {} CPUs, Linux {}", models.len(), guest::ask("uname", &["-r"])));
    let revision = guest::ask("git", &["-C", ROOT, "describe", "--always", "--dirty"]);
    report.condition("Outpost", format!("checkout at {revision}"));
    if let Some(image) = image {
        report.condition(
            "image",
            format!("id {}, microvm with 12 MiB, records to a collector with its store in memory", image.id),
        );
        report.condition("QEMU", format!("{}, tcg", guest::version(PROGRAM, "--version")));
    }
    report.condition("load average at the start", load_average());
}

/// Over 1, 5 and 15 minutes.
fn load_average() -> String {
    let text = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split(' ').take(3).collect::<Vec<_>>().join(" ")
}

fn write(report: &Report, folder: &Path, name: &str) -> Result<(), String> {
    let failed = |error: std::io::Error| format!("{} cannot be written: {error}", folder.display());
    fs::create_dir_all(folder).map_err(failed)?;
    fs::write(folder.join(format!("{name}.md")), report.markdown()).map_err(failed)?;
    fs::write(folder.join(format!("{name}.json")), report.json()).map_err(failed)?;
    match report.svg() {
        chart if chart.is_empty() => Ok(()),
        chart => fs::write(folder.join(format!("{name}.svg")), chart).map_err(failed),
    }
}
