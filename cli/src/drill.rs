//! `outpost drill`: trouble made on purpose for an agent of its own, to see that everybody who must learn of it does.
//!
//! ```text
//! scenario ── breaks, mends ──▶ targets, collector, cable, machine      (lab)
//!     └─ waits for what must follow: a record, the agent's own answer, a notification ─▶ report
//! ```
//! What always holds: nothing of it touches another machine than the guest that was started here; each step has a bound,
//! and so the whole has; a step counts only when it was seen; every boot says that it is an exercise.

mod lab;
mod report;
mod scenario;

use crate::up::{self, AccelArg, MachineArg};
use lab::Lab;
use report::Report;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

const EXAMPLES: &str = "\
Examples:
  outpost drill target-dies              boot an agent, let what it watches die, and come back
  outpost drill all --json > drill.json  every scenario, one after the other, in four minutes
  outpost drill guest-panic --machine q35

What each scenario really does stands in its report, a page of Markdown. It needs QEMU and no rights; nothing of it
leaves this machine.
Exit code: 0 when every step was seen in time, 1 when one was not, or nothing could be started.";

/// The arguments of `outpost drill`.
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// What goes wrong
    #[arg(value_enum)]
    scenario: Scenario,
    /// Print the report as one JSON document
    #[arg(long)]
    json: bool,
    /// The board that QEMU plays
    #[arg(long, value_enum, default_value_t = MachineArg::Microvm)]
    machine: MachineArg,
    /// What runs the guest: auto is kvm where it works
    #[arg(long, value_enum, default_value_t = AccelArg::Tcg)]
    accel: AccelArg,
    /// Boot this image instead of the one that this command carries or builds
    #[arg(long, value_name = "ELF")]
    image: Option<PathBuf>,
}

/// What goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Scenario {
    /// A watched server dies and comes back
    TargetDies,
    /// The collector is killed and started again
    CollectorDies,
    /// The agent's cable is pulled for more than a minute
    NetworkCut,
    /// The machine stands still for eight seconds, so that its wall clock jumps
    ClockJump,
    /// The agent stops turning; a watchdog ends it
    GuestHang,
    /// The agent panics
    GuestPanic,
    /// All of them
    All,
}

impl Scenario {
    const EACH: [Scenario; 6] = [
        Scenario::TargetDies,
        Scenario::CollectorDies,
        Scenario::NetworkCut,
        Scenario::ClockJump,
        Scenario::GuestHang,
        Scenario::GuestPanic,
    ];

    fn name(self) -> &'static str {
        match self {
            Scenario::TargetDies => "target-dies",
            Scenario::CollectorDies => "collector-dies",
            Scenario::NetworkCut => "network-cut",
            Scenario::ClockJump => "clock-jump",
            Scenario::GuestHang => "guest-hang",
            Scenario::GuestPanic => "guest-panic",
            Scenario::All => "all",
        }
    }
}

/// Runs the scenarios; has told everything when it returns.
pub fn run(args: &Args) -> ExitCode {
    match drill(args) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(problem) => {
            eprintln!("outpost drill: {problem}");
            ExitCode::FAILURE
        }
    }
}

fn drill(args: &Args) -> Result<bool, String> {
    let accel = up::accel(args.accel)?;
    let folder = tempfile::tempdir().map_err(|error| format!("no temporary folder: {error}"))?;
    let (image, _) = up::find_image(args.image.as_deref(), folder.path())?;
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM, SIGHUP] {
        signal_hook::flag::register(signal, stop.clone()).map_err(|error| format!("no signals: {error}"))?;
    }
    let scenarios = match args.scenario {
        Scenario::All => Scenario::EACH.to_vec(),
        one => vec![one],
    };
    let mut report = Report::new(args.machine.machine(), accel);
    for scenario in scenarios {
        eprintln!("{}: boots an agent, its targets, a collector and a receiver of notifications", scenario.name());
        let mut lab = Lab::start(scenario, args.machine.machine(), accel, &image, stop.clone())?;
        report.add(scenario::play(scenario, &mut lab)?);
    }
    match args.json {
        true => println!("{}", report.json()),
        false => print!("{}", report.markdown()),
    }
    Ok(report.passed())
}
