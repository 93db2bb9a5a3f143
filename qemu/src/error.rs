//! What can go wrong with a machine, as sentences for the person in front of it.

use std::fmt;
use std::io;
use std::process::ExitStatus;
use std::time::Duration;

/// Why a machine could not be started, asked or waited for.
#[derive(Debug)]
pub enum Error {
    /// The program is not there.
    NotInstalled,
    /// The operating system refused something we need to start it.
    Start(io::Error),
    /// This machine has no such card, or QEMU no such combination.
    Unsupported(&'static str),
    /// QEMU ended by itself.
    Ended {
        /// Its exit status, where it was still to be had.
        status: Option<ExitStatus>,
        /// What it wrote on standard error.
        stderr: String,
        /// The last lines of the guest's serial console.
        console: String,
    },
    /// Something did not happen in time.
    Timeout {
        /// What was waited for.
        what: String,
        /// How long.
        waited: Duration,
        /// The last lines of the guest's serial console.
        console: String,
    },
    /// The monitor refused a command, or its answer was not understood.
    Monitor {
        /// The command.
        command: String,
        /// What was wrong.
        problem: String,
    },
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::NotInstalled => write!(
                f,
                "{} is not installed. On Debian and Ubuntu: sudo apt-get update && sudo apt-get install \
                 --no-install-recommends qemu-system-x86",
                crate::PROGRAM
            ),
            Error::Start(error) => write!(f, "{} could not be started: {error}.", crate::PROGRAM),
            Error::Unsupported(why) => f.write_str(why),
            Error::Ended { status, stderr, console } => {
                f.write_str("QEMU ended by itself")?;
                if let Some(status) = status {
                    write!(f, " ({status})")?;
                }
                if stderr.is_empty() {
                    f.write_str(" and said nothing.")?
                } else {
                    write!(f, " and said: {stderr}")?
                }
                write_console(f, console)
            }
            Error::Timeout { what, waited, console } => {
                write!(f, "Waited {:.1} s in vain for {what}.", waited.as_secs_f32())?;
                write_console(f, console)
            }
            Error::Monitor { command, problem } => write!(f, "QEMU's monitor, asked for {command}: {problem}."),
        }
    }
}

impl std::error::Error for Error {}

fn write_console(f: &mut fmt::Formatter<'_>, console: &str) -> fmt::Result {
    if console.is_empty() {
        return f.write_str(" The guest's serial console is empty.");
    }
    f.write_str(" The guest's serial console ends with:")?;
    console.lines().try_for_each(|line| write!(f, "\n  | {line}"))
}
