//! What a test measures of itself.

use std::time::Duration;

/// The memory that this process has in use, where the system says it.
pub(crate) fn resident_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
    kib.unwrap_or_default() * 1024
}

/// Whether this process runs no other test, so that what it measures of itself is the test's. If not, `test` is run in a
/// process of its own, and has passed.
pub(crate) async fn is_alone(test: &str) -> bool {
    const ALONE: &str = "MAINSTAY_TEST_ALONE";
    let is_set = |name| std::env::var_os(name).is_some();
    if is_set("NEXTEST") || is_set(ALONE) {
        return true;
    }
    let mut alone = tokio::process::Command::new(std::env::current_exe().unwrap());
    alone.args([test, "--exact", "--nocapture"]).env(ALONE, "yes").kill_on_drop(true);
    let output = alone.output().await.unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && said.contains("1 passed"), "{output:?}");
    false
}

/// The smallest time that `share` of all times do not exceed.
pub(crate) fn quantile(times: &mut [Duration], share: f64) -> Duration {
    times.sort_unstable();
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_precision_loss,
        clippy::cast_sign_loss,
        reason = "a share of a length is a length"
    )]
    let rank = (times.len() as f64 * share).ceil() as usize;
    times[rank.clamp(1, times.len()) - 1]
}
