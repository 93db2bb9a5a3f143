//! The load generators that everybody knows, wrk and ab, and what they print.

use crate::command::run;
use std::process::Command;
use std::time::Duration;

/// What a generator may take beyond the time it was told, to connect and to drain.
const GRACE: Duration = Duration::from_secs(30);

/// Requests over connections that stay open.
#[derive(Clone, Debug, PartialEq)]
pub struct Wrk {
    /// How many were answered.
    pub requests: u64,
    /// Each second.
    pub per_second: f64,
    /// Half of them took at most this.
    pub p50_us: f64,
    /// 99 of 100 took at most this.
    pub p99_us: f64,
    /// Answers that were errors, and connections that failed.
    pub errors: u64,
}

/// Runs wrk with one thread.
pub fn wrk(url: &str, connections: u32, seconds: u32) -> Result<Wrk, String> {
    let mut command = Command::new("wrk");
    command.args(["-t1", "--latency", "--timeout", "5s"]);
    command.args([format!("-c{connections}"), format!("-d{seconds}s"), url.to_owned()]);
    let output = run(&mut command, Duration::from_secs(seconds.into()) + GRACE)?;
    parse_wrk(&output).ok_or_else(|| format!("wrk said something unexpected: {}", output.trim()))
}

fn parse_wrk(output: &str) -> Option<Wrk> {
    let line = |start| output.lines().map(str::trim).find_map(|line| line.strip_prefix(start));
    let requests = output.lines().find_map(|line| line.split_once(" requests in ")?.0.trim().parse().ok())?;
    let sockets = line("Socket errors:").map_or(0, sum_of_numbers);
    let statuses = line("Non-2xx or 3xx responses:").map_or(0, sum_of_numbers);
    Some(Wrk {
        requests,
        per_second: line("Requests/sec:")?.trim().parse().ok()?,
        p50_us: microseconds(line("50%")?)?,
        p99_us: microseconds(line("99%")?)?,
        errors: sockets + statuses,
    })
}

/// `1.5ms` as microseconds.
fn microseconds(text: &str) -> Option<f64> {
    let text = text.trim();
    let unit = text.find(|letter: char| letter.is_ascii_alphabetic())?;
    let (number, unit) = text.split_at(unit);
    let factor = match unit {
        "us" => 1.0,
        "ms" => 1e3,
        "s" => 1e6,
        "m" => 6e7,
        _ => return None,
    };
    Some(number.parse::<f64>().ok()? * factor)
}

/// The sum of all whole numbers in a line such as `connect 0, read 3, write 0, timeout 2`.
fn sum_of_numbers(line: &str) -> u64 {
    line.split(|letter: char| !letter.is_ascii_digit()).filter_map(|digits| digits.parse::<u64>().ok()).sum()
}

/// Requests with a connection each.
#[derive(Clone, Debug, PartialEq)]
pub struct Ab {
    /// How many were answered.
    pub requests: u64,
    /// Each second.
    pub per_second: f64,
    /// 99 of 100 took at most this.
    pub p99_ms: f64,
    /// Failed, or answered with an error.
    pub errors: u64,
}

/// Runs ab without keep-alive.
pub fn ab(url: &str, connections: u32, requests: u32) -> Result<Ab, String> {
    let mut command = Command::new("ab");
    command.args(["-q", "-s", "10", "-n", &requests.to_string(), "-c", &connections.to_string(), url]);
    let output = run(&mut command, GRACE * 2)?;
    parse_ab(&output).ok_or_else(|| format!("ab said something unexpected: {}", output.trim()))
}

fn parse_ab(output: &str) -> Option<Ab> {
    let number = |start: &str| {
        let line = output.lines().map(str::trim).find_map(|line| line.strip_prefix(start))?;
        line.split_whitespace().next()?.parse::<f64>().ok()
    };
    let errors = number("Failed requests:")? + number("Non-2xx responses:").unwrap_or(0.0);
    Some(Ab {
        requests: number("Complete requests:")? as u64,
        per_second: number("Requests per second:")?,
        p99_ms: number("99%")?,
        errors: errors as u64,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const WRK: &str = "Running 5s test @ http://10.77.1.2/livez
  1 threads and 8 connections
  Thread Stats   Avg      Stdev     Max   +/- Stdev
    Latency   173.03us   99.11us   4.21ms   94.43%
    Req/Sec    47.61k     2.98k   52.20k    70.59%
  Latency Distribution
     50%  161.00us
     75%  194.00us
     90%  240.00us
     99%    1.02ms
  241500 requests in 5.10s, 43.30MB read
Requests/sec:  47353.11
Transfer/sec:      8.49MB
";

    #[test]
    fn wrks_units_become_one() {
        // 1.02ms read as 1.02 would make a slow guest a thousand times faster.
        let expected = Wrk { requests: 241_500, per_second: 47_353.11, p50_us: 161.0, p99_us: 1_020.0, errors: 0 };
        assert_eq!(parse_wrk(WRK), Some(expected));
        assert_eq!(microseconds("2.5s"), Some(2.5e6));
        assert_eq!(microseconds("7"), None);
    }

    #[test]
    fn errors_are_not_overlooked() {
        // A guest that resets half of its connections answers the rest very quickly.
        let bad = WRK.replace(
            "Requests/sec",
            "  Socket errors: connect 1, read 20, write 0, timeout 300\n  Non-2xx or 3xx responses: 4000\nRequests/sec",
        );
        assert_eq!(parse_wrk(&bad).unwrap().errors, 4_321);
        assert_eq!(parse_wrk("unable to connect to 10.77.1.2:http Connection refused"), None);
    }

    #[test]
    fn abs_figures_are_found() {
        // Its report says "Requests per second" and "Time per request", in lines of the same shape.
        let output = "Concurrency Level:      16
Complete requests:      5000
Failed requests:        3
Non-2xx responses:      4
Requests per second:    1890.12 [#/sec] (mean)
Time per request:       8.465 [ms] (mean)
Percentage of the requests served within a certain time (ms)
  50%      8
  99%     15
 100%     23 (longest request)
";
        assert_eq!(parse_ab(output), Some(Ab { requests: 5_000, per_second: 1_890.12, p99_ms: 15.0, errors: 7 }));
        assert_eq!(parse_ab("apr_pollset_poll: The timeout specified has expired (70007)"), None);
    }
}
