//! Months in minutes: the time servers' clocks jump ahead by a day every ten minutes, targets go away on some days, and
//! the days that the agent tells are held against what was on the cable.

use crate::packets::UTC_S;
use crate::rng::Rng;
use crate::watch::{Manner, OK, PAGE, World, document};
use outpost::content::Content;
use outpost::limits::CHECK_DAYS;
use outpost::watch::{Day, brought};
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

/// The content bundle that has these rows.
fn content(rows: &[u8]) -> Content {
    let bundle = outpost_cli::content::bundle_of_history(rows).expect("it fits");
    Content::open(bundle.leak())
}

/// One day in a row of its own.
fn row(name: &str, day: u32, good: u32, bad: u32) -> Vec<u8> {
    let mut days = [Day::default(); CHECK_DAYS];
    days[CHECK_DAYS - 1] = Day { good, bad };
    brought::row(name, day, &days).expect("a name").to_vec()
}

#[test]
fn another_machine_goes_on_where_the_first_one_ended() {
    // The machine is gone, its memory with it, and with them 90 days that customers were shown yesterday.
    let mut world = World::new(vec![away_on(&[1, 3]), away_on(&[])]);
    world.packets.clocks.insert(1, 0);
    world.packets.day = Some(DAY);
    let checks = document(&[PAGE, PAGE], 30, 10);
    world.run_over(&mut vec![0; 1 << 20], &checks, Instant::ZERO, day(5) + BEGINS);

    // What a collector has of it: the last word on each day.
    let first = (UTC_S / 86_400) as u32;
    let told = |world: &World, name: &str, day: u32| {
        world.days.iter().rev().find(|(of, at, ..)| of == name && *at == day).map(|(_, _, good, bad)| (*good, *bad))
    };
    let mut rows = Vec::new();
    for name in ["target-0", "target-1"] {
        let mut days = [Day::default(); CHECK_DAYS];
        for at in 0..5 {
            let (good, bad) = told(&world, name, first + at).expect("it was told");
            days[CHECK_DAYS - 5 + at as usize] = Day { good, bad };
        }
        rows.extend(brought::row(name, first + 4, &days).expect("a name"));
    }
    // This very day it had seen more than an hour's record says.
    rows.extend(row("target-1", first + 5, 1_000, 7));
    world.content = content(&rows);
    world.days.clear();
    let mut region = vec![0; 1 << 20];
    world.run_over(&mut region, &checks, day(5) + ENDS, day(7) + BEGINS);
    assert_eq!((world.kept[1], &world.restored[..]), ((0, 0), &[(11, 0)][..]));
    let (good, bad) = told(&world, "target-1", first + 5).expect("it goes on");
    assert!((1_001..1_020).contains(&good) && bad == 7, "{good} and {bad}");
    assert_eq!(told(&world, "target-0", first + 3), None, "of days that are over nothing is told again");

    // A reset: the memory has all of it, and nothing counts twice.
    world.run_over(&mut region, &checks, day(7) + ENDS, day(8));
    assert_eq!((world.kept[2], world.restored[1]), ((11 + 5, 0), (0, 0)));
    assert_eq!(told(&world, "target-1", first + 5), Some((good, bad)));
}

#[test]
fn a_history_that_cannot_be_is_left_out_and_said() {
    // Somebody's clock, another fleet's checks, a program gone wrong: none of it on the page, none of it in the way.
    let today = (UTC_S / 86_400) as u32;
    let most = (1 << 20) - 1;
    let hostile = [
        row("target-0", today - 1, most, most),
        row("target-0", today - 2, most + 1, 0),
        row("target-0", today + 1, 1, 0),
        row("target-0", u32::MAX, 1, 1),
        // The same day again, a name that is nobody's, one that is nearly ours, and a day before 1970.
        row("target-0", today - 1, 1, 1),
        row("stranger", today - 1, 5, 5),
        row("target-00", today - 1, 5, 5),
        row("", today - 1, 5, 5),
        row("target-0", 3, 5, 5),
    ];
    let mut world = World::new(vec![away_on(&[])]);
    world.packets.clocks.insert(1, 0);
    let checks = document(&[PAGE], 30, 10);
    world.content = content(&hostile.concat());
    world.run_over(&mut vec![0; 1 << 20], &checks, Instant::ZERO, day(1));
    assert_eq!(world.restored, [(1, 6)]);

    // Any bytes at all: what is restored is what the next boot finds.
    for seed in 0..8 {
        let mut rng = Rng::new(seed);
        let mut rows: Vec<u8> = (0..300 * brought::ROW).map(|_| rng.next() as u8).collect();
        for row in rows.chunks_exact_mut(brought::ROW).step_by(2) {
            row[..32].copy_from_slice(b"target-0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0");
            row[32..36].copy_from_slice(&(today + rng.below(120) as u32).wrapping_sub(60).to_le_bytes());
            row[40..].chunks_exact_mut(4).for_each(|count| count[if rng.below(4) == 0 { 3 } else { 2 }..].fill(0));
        }
        let mut region = vec![0; 1 << 20];
        world.content = content(&rows);
        world.run_over(&mut region, &checks, Instant::ZERO, Instant::from_secs(20));
        let (days, left_out) = *world.restored.last().expect("it is said");
        assert!(days > 20 && left_out > 10_000, "seed {seed}: {days} and {left_out}");
        world.run_over(&mut region, &checks, Instant::from_secs(30), Instant::from_secs(50));
        let found = world.kept.last().expect("it is said").0;
        assert!((days..=days + 1).contains(&found), "seed {seed}: {found} of {days}");
    }
}
