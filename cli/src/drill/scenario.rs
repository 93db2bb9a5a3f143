//! The scenarios: what is broken, what must follow, how it is mended, and what must follow that.

use super::Scenario;
use super::lab::{FAILS_AFTER_S, Lab, Wanted, Where, boot_of, is_connected, is_well};
use super::report::{Outcome, Step};
use serde_json::{Value, json};
use std::time::{Duration, Instant, SystemTime};

/// How long the machine stands still: longer than the image takes for a jump of its wall clock.
const STANDSTILL: Duration = Duration::from_secs(8);

/// Plays one.
pub(super) fn play(scenario: Scenario, lab: &mut Lab) -> Result<Outcome, String> {
    let at = SystemTime::now();
    let (done, note, mut steps) = match scenario {
        Scenario::TargetDies => target_dies(lab),
        Scenario::CollectorDies => collector_dies(lab),
        Scenario::NetworkCut => network_cut(lab),
        Scenario::ClockJump => clock_jump(lab),
        Scenario::GuestHang => guest_hang(lab),
        Scenario::GuestPanic => guest_panic(lab),
        Scenario::All => Err("is not one".to_owned()),
    }?;
    let began = Instant::now();
    let whole = lab.store_is_whole()?;
    steps.push(Step {
        step: "records",
        what: "`outpost verify`: every record is accounted for".to_owned(),
        after: whole.then(|| began.elapsed()),
        within: Duration::from_secs(10),
    });
    let (unmarked, notices) = lab.unmarked();
    steps.push(Step {
        step: "exercise",
        what: format!("{} of {notices} notifications say that this is an exercise", notices - unmarked),
        after: (unmarked == 0 && notices > 0).then_some(Duration::ZERO),
        within: Duration::ZERO,
    });
    Ok(Outcome { scenario: scenario.name(), at, done, note, steps })
}

/// What was done, what nobody can see in it, and the steps.
type Played = Result<(&'static str, &'static str, Vec<Step>), String>;

fn want(
    step: &'static str,
    what: &'static str,
    within_s: u64,
    place: Where,
    is_it: impl Fn(&Value) -> bool + 'static,
) -> Wanted {
    Wanted { step, what, within_s, place, is_it: Box::new(is_it) }
}

fn is_event(record: &Value, event: &str) -> bool {
    record.get("event").and_then(Value::as_str) == Some(event)
}

fn field<'r>(record: &'r Value, name: &str) -> &'r str {
    record.get("fields").and_then(|fields| fields.get(name)).and_then(Value::as_str).unwrap_or_default()
}

fn is_shop(record: &Value, event: &str) -> bool {
    is_event(record, event) && field(record, "check") == "shop"
}

fn shop_is(status: &Value, state: &str) -> bool {
    let targets = status.get("targets").and_then(Value::as_array);
    let word = |target: &Value, key: &str| target.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
    targets.is_some_and(|all| all.iter().any(|it| word(it, "name") == "shop" && word(it, "state") == state))
}

fn target_dies(lab: &mut Lab) -> Played {
    let died = Instant::now();
    lab.shop.die();
    let mut steps = lab.watch(
        died,
        &[
            want("detect", "the record target.down is stored", 10, Where::Store, |it| is_shop(it, "target.down")),
            want("show", "/status says that it is down", 10, Where::Status, |it| shop_is(it, "down")),
            want("notify", "target.down is notified", 12, Where::Notices, |it| is_shop(it, "target.down")),
        ],
    )?;
    let back = Instant::now();
    lab.shop.come_back()?;
    steps.extend(lab.watch(
        back,
        &[
            want("recover", "the record target.up is stored", 10, Where::Store, |it| is_shop(it, "target.up")),
            want("show again", "/status says that all is well", 10, Where::Status, is_well),
            want("notify again", "target.up is notified", 12, Where::Notices, |it| is_shop(it, "target.up")),
        ],
    )?);
    Ok(("One of two servers that are probed each second closed its port, and opened it again.", "", steps))
}

fn collector_dies(lab: &mut Lab) -> Played {
    let died = Instant::now();
    lab.kill_collector();
    let lost = |it: &Value| it.get("collector").is_some() && !is_connected(it);
    let mut steps =
        lab.watch(died, &[want("detect", "/status says that no collector is connected", 10, Where::Status, lost)])?;
    lab.shop.die();
    steps.extend(lab.watch(
        Instant::now(),
        &[want("show", "a target dies meanwhile: /status says so", 10, Where::Status, |it| shop_is(it, "down"))],
    )?);
    let back = Instant::now();
    lab.restart_collector()?;
    let was_lost = |it: &Value| is_event(it, "collector.lost");
    steps.extend(lab.watch(
        back,
        &[
            want("recover", "/status says that it is connected again", 75, Where::Status, is_connected),
            want("catch up", "the record collector.lost is stored", 76, Where::Store, was_lost),
            want("notify", "the target that died meanwhile is notified", 77, Where::Notices, |it| {
                is_shop(it, "target.down")
            }),
        ],
    )?);
    let note = "Nobody is notified by a collector that is dead: the rules OutpostCollectorDown and \
                OutpostCollectorSessionDown of deploy/prometheus do that.";
    Ok(("The collector was killed (SIGKILL), a target died meanwhile, the collector was started again.", note, steps))
}

fn network_cut(lab: &mut Lab) -> Played {
    let link = |lab: &mut Lab, up: bool| {
        let asked = lab.guest.qmp().execute("set_link", json!({ "name": "net0", "up": up }));
        asked.map(drop).map_err(|error| error.to_string())
    };
    let cut = Instant::now();
    link(lab, false)?;
    let noticed = lab.console("network.down", Duration::from_secs(10)).ok();
    let mut steps = vec![Step {
        step: "detect",
        what: "the agent's console says network.down".to_owned(),
        after: noticed.map(|at| at.duration_since(cut)),
        within: Duration::from_secs(10),
    }];
    steps.extend(lab.watch(
        cut,
        &[
            want("show", "/status does not answer any more", 10, Where::Status, Value::is_null),
            want("tell", "the collector stores agent.silent", 70, Where::Store, |it| is_event(it, "agent.silent")),
            want("notify", "agent.silent is notified", 72, Where::Notices, |it| is_event(it, "agent.silent")),
        ],
    )?);
    let back = Instant::now();
    link(lab, true)?;
    steps.extend(lab.watch(
        back,
        &[
            want("show again", "/status says that all is well", 80, Where::Status, is_well),
            want("recover", "the record network.down arrives late", 80, Where::Store, |it| {
                is_event(it, "network.down")
            }),
            want("notify again", "agent.back is notified", 82, Where::Notices, |it| is_event(it, "agent.back")),
        ],
    )?);
    let note = "A minute is what the collector waits before it calls an agent silent; cut off, the agent can show \
                nothing to anybody but its console.";
    Ok(("The link of the guest's card was taken down (QMP set_link), and up again.", note, steps))
}

fn clock_jump(lab: &mut Lab) -> Played {
    let execute = |lab: &mut Lab, command: &str| {
        lab.guest.qmp().execute(command, json!({})).map(drop).map_err(|error| error.to_string())
    };
    let boot = lab.boot();
    execute(lab, "stop")?;
    lab.pause(STANDSTILL)?;
    let resumed = Instant::now();
    execute(lab, "cont")?;
    let steps = lab.watch(
        resumed,
        &[
            want("detect", "the record machine.resumed is stored", 20, Where::Store, |it| {
                is_event(it, "machine.resumed")
            }),
            want("show", "/status has another boot", 20, Where::Status, is_other(&boot)),
            want("notify", "machine.resumed is notified", 22, Where::Notices, |it| is_event(it, "machine.resumed")),
            want("recover", "the boot that was over is told of", 25, Where::Store, |it| {
                is_event(it, "boot.previous_ended") && field(it, "cause") == "resumed"
            }),
            want("show again", "/status says that all is well", 30, Where::Status, is_well_in_another(&boot)),
        ],
    )?;
    let note = "Nothing in a guest can tell a pause from a restored copy, so the agent begins a new boot.";
    let done = "The machine stood still for 8 seconds (QMP stop and cont): its wall clock jumped by that.";
    Ok((done, note, steps))
}

/// Whether this is the status of another boot than this one.
fn is_other(boot: &str) -> impl Fn(&Value) -> bool + 'static {
    let boot = boot.to_owned();
    move |status| boot_of(status).is_some_and(|other| other != boot)
}

/// And all is well in it.
fn is_well_in_another(boot: &str) -> impl Fn(&Value) -> bool + 'static {
    let is_other = is_other(boot);
    move |status| is_other(status) && is_well(status)
}

/// What must follow the end of an agent that failed in this boot.
fn failed(lab: &mut Lab, boot: &str, ended: Instant, cause: fn(&Value) -> bool, s: u64) -> Result<Vec<Step>, String> {
    lab.watch(
        ended,
        &[
            want("detect", "the record boot.previous_ended says why", s, Where::Store, cause),
            want("show", "/status has another boot", s, Where::Status, is_other(boot)),
            want("notify", "boot.previous_ended is notified", s + 2, Where::Notices, cause),
            want("recover", "/status says that all is well", s + 10, Where::Status, is_well_in_another(boot)),
        ],
    )
}

/// How long after the start of the guest its console tells of its failure at the latest.
const FAILS: Duration = Duration::from_secs(FAILS_AFTER_S + 20);

fn guest_hang(lab: &mut Lab) -> Played {
    let boot = lab.boot();
    let ended = lab.console("a machine that stands still", FAILS)?;
    let cause = |it: &Value| is_event(it, "boot.previous_ended") && field(it, "cause") == "watchdog";
    let steps = failed(lab, &boot, ended, cause, 45)?;
    let note = "The watchdog is QEMU's (ib700 or i6300esb) and takes 16 seconds. A machine without one hangs until \
                somebody looks: agent.silent tells of that.";
    Ok(("The agent stopped turning, with interrupts on (drill.hang_after_s).", note, steps))
}

fn guest_panic(lab: &mut Lab) -> Played {
    let boot = lab.boot();
    let ended = lab.console("outpost: panic:", FAILS)?;
    let cause = |it: &Value| is_event(it, "boot.previous_ended") && field(it, "cause") == "panic";
    let steps = failed(lab, &boot, ended, cause, 20)?;
    Ok(("The agent panicked (drill.panic_after_s) and reset its machine.", "", steps))
}
