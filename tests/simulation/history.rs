//! Months in minutes: the time servers' clocks jump ahead by a day every ten minutes, targets go away on some days, and
//! the days that the agent tells are held against what was on the cable.

use crate::packets::UTC_S;
use crate::watch::{Manner, OK, PAGE, World, document};
use smoltcp::time::{Duration, Instant};

/// How long a day lasts here.
const DAY: Duration = Duration::from_secs(600);

/// Days of the first boot.
const DAYS: u32 = 24;

/// An outage begins and ends this long after its day does: by then the agent has asked what time it is.
const BEGINS: Duration = Duration::from_secs(150);
const ENDS: Duration = Duration::from_secs(450);

fn day(number: u32) -> Instant {
    Instant::ZERO + DAY * number
}

/// What is away on each of these days.
fn away_on(days: &[u32]) -> Vec<(Instant, Manner)> {
    let outages =
        days.iter().flat_map(|&at| [(day(at) + BEGINS, Manner::Refuses), (day(at) + ENDS, Manner::Answers(OK))]);
    [(Instant::ZERO, Manner::Answers(OK))].into_iter().chain(outages).collect()
}

#[test]
fn days_are_what_the_script_says() {
    // A bar that is green on the day of an outage, an outage on the day after it, or days of another target.
    let outages: [&[u32]; 2] = [&[3, 4, 11, 22], &[]];
    let mut world = World::new(outages.iter().map(|days| away_on(days)).collect());
    world.packets.clocks.insert(1, 0);
    world.packets.day = Some(DAY);
    let checks = document(&[PAGE, PAGE], 30, 10);
    let mut region = vec![0; 1 << 20];
    world.run_over(&mut region, &checks, Instant::ZERO, day(DAYS) + BEGINS);

    let first = (UTC_S / 86_400) as u32;
    for (number, outages) in outages.iter().enumerate() {
        let (name, mut all) = (format!("target-{number}"), 0);
        for at in 0..DAYS {
            let told: Vec<_> = world.days.iter().filter(|(of, day, ..)| *of == name && *day == first + at).collect();
            let (_, _, good, bad) = told.last().unwrap_or_else(|| panic!("nothing is told of day {at} of {name}"));
            let between = |from: Instant, to: Instant| {
                world.syns[number].iter().filter(|syn| (from..to).contains(*syn)).count() as u32
            };
            let expected = if outages.contains(&at) { between(day(at) + BEGINS, day(at) + ENDS) } else { 0 };
            assert_eq!(*bad, expected, "day {at} of {name}");
            all += good + bad;
            assert!((18..=22).contains(&(good + bad)), "{good} and {bad} probes on day {at} of {name}");
        }
        let told_until = world.syns[number].iter().filter(|syn| **syn < day(DAYS)).count() as u32;
        assert!(all.abs_diff(told_until) <= 3, "{all} told of {told_until} probes of {name}");
    }
    assert_eq!(world.kept, [(0, 0)]);

    // The machine is reset: both targets' days are there, the one that has just begun among them.
    let (second, third) = (day(DAYS) + DAY, day(DAYS) + DAY * 2);
    world.run_over(&mut region, &checks, second, third);
    assert_eq!(world.kept[1], (2 * (DAYS as u16 + 1), 0));
    // And another time, after which some of the memory is not what it was: those days are no data, and it is said.
    let days_at = region.len() - outpost::watch::DAYS_REGION;
    for day in [first + 1, first + 5, first + 60] {
        region[days_at + 8 + 8 * (day as usize % outpost::limits::CHECK_DAYS)] ^= 0x10;
    }
    world.run_over(&mut region, &checks, third, third + DAY);
    assert_eq!(world.kept[2], (2 * (DAYS as u16 + 2) - 2, 3), "two days, and one where there was none");
    // Other targets under the same names begin anew.
    let others = document(&[r#""http": {"url": "http://10.1.0.21/"}"#; 2], 30, 10);
    world.run_over(&mut region, &others, third + DAY, third + DAY + BEGINS);
    assert_eq!(world.kept[3], (0, 0));
}
