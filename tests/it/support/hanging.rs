use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

/// Makes a regular file hang whoever opens it, as one on a mount whose server is away, until this is dropped: another
/// process has a write lease on it. The system ends that after /proc/sys/fs/lease-break-time, 45 s by default.
#[derive(Debug)]
pub(crate) struct Hanging(Child);

const HOLDER: &str = r#"
import fcntl, os, signal, sys
signal.signal(signal.SIGIO, signal.SIG_IGN)
file = os.open(sys.argv[1], os.O_RDWR)
try:
    fcntl.fcntl(file, fcntl.F_SETLEASE, fcntl.F_WRLCK)
except OSError as error:
    print("skipped: the file system gives no leases:", error, flush=True)
    sys.exit()
print("held", flush=True)
sys.stdin.read()
"#;

impl Hanging {
    /// `None` where the file system gives no leases.
    #[expect(clippy::print_stdout, reason = "a test that is skipped says why")]
    pub(crate) fn file(path: &Path) -> Option<Self> {
        let mut holder = Command::new("python3")
            .args(["-c", HOLDER])
            .arg(path)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the tests need python3");
        let mut said = String::new();
        BufReader::new(holder.stdout.take().unwrap()).read_line(&mut said).unwrap();
        let hanging = Self(holder);
        if said.starts_with("skipped") {
            println!("{said}");
            return None;
        }
        assert_eq!(said, "held\n");
        Some(hanging)
    }
}

impl Drop for Hanging {
    fn drop(&mut self) {
        self.0.kill().ok(); // It may have ended by itself.
        self.0.wait().ok();
    }
}
