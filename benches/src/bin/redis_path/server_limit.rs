//! What the server can answer at most: `redis-benchmark`, one connection that always has as many
//! commands under way as we have tasks.

use std::process::Stdio;
use std::time::Duration;

use tokio::process::Command;
use tokio::time::timeout;

use crate::paths::KEY;

/// Enough that its start is no part of the figure, which is its own.
const GETS: usize = 200_000;
/// It tries for ever to reach a server that is not there.
const LONGEST: Duration = Duration::from_secs(60);

/// GETs a second of the key that everybody asks for, or why there is no figure.
pub(crate) async fn gets_per_second(port: u16, under_way: usize) -> Result<f64, String> {
    // Its own `-t get` asks for a key that is not there: an answer of five bytes.
    let run = Command::new("redis-benchmark")
        .args(["-h", "127.0.0.1", "-p", &port.to_string(), "--csv", "-c", "1"])
        .args(["-P", &under_way.to_string(), "-n", &GETS.to_string(), "GET", KEY])
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .output();
    let output = match timeout(LONGEST, run).await {
        Ok(Ok(output)) => output,
        Ok(Err(cause)) => {
            return Err(format!(
                "redis-benchmark does not start ({cause}); on Debian it is in the package redis-tools"
            ));
        }
        Err(_) => return Err(format!("redis-benchmark was not done within {LONGEST:?}")),
    };
    let text = String::from_utf8_lossy(&output.stdout);
    requests_per_second(&text)
        .ok_or_else(|| format!("redis-benchmark --csv printed no figure: {:?}", text.trim()))
}

/// Of the last line, `"GET key","645161.31","0.093",..`.
fn requests_per_second(csv: &str) -> Option<f64> {
    let figure = csv.lines().last()?.split("\",\"").nth(1)?.trim_matches('"');
    figure.parse().ok().filter(|figure| *figure > 0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_figure_is_the_second_column_of_the_last_line() {
        let csv = "\"test\",\"rps\",\"avg_latency_ms\"\n\"GET a\",\"645161.31\",\"0.093\"\n";
        assert_eq!(requests_per_second(csv), Some(645_161.31));
    }

    #[test]
    fn a_header_alone_is_no_figure() {
        assert_eq!(requests_per_second("\"test\",\"rps\",\"avg_latency_ms\"\n"), None);
        assert_eq!(requests_per_second(""), None);
        assert_eq!(requests_per_second("\"GET a\",\"0.00\",\"0.0\"\n"), None);
    }
}
