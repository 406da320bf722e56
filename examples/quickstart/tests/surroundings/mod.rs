//! The program where something around it hangs or has run out.

mod descriptors;
mod embedded;
mod files;
mod log;

use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(2);
const SHUTDOWN_TIMEOUT: (&str, &str) = ("ACTON_SERVICE_SHUTDOWN_TIMEOUT", "2s");
