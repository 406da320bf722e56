//! What a newcomer reads first.

use std::io::{Write, stdout};
use std::net::SocketAddr;
use std::thread;

use mainstay::prelude::*;

pub fn print(address: SocketAddr, app: &AppState, with_chaos: bool) {
    let redis = match embedded_pid(app) {
        Some(pid) => format!(
            "\
Redis is embedded, pid {pid}. Kill it and go on reading users: kill -9 {pid}
Another takes its place at once: the next read is a miss, and the sessions are lost.
For an outage that lasts, freeze that one: kill -STOP and its pid, which the log then shows. Reads go round
the cache (x-cache: bypass) until kill -CONT."
        ),
        None => "Redis is where the configuration says; /ready says how it is.".to_owned(),
    };
    let text = format!(
        "
The quickstart listens on http://{address}. Ctrl-C ends it. Try, in another terminal:

  curl -i http://{address}/api/v1/users/1
  curl -i -X PUT http://{address}/api/v1/users/1 -H 'content-type: application/json' -d '{{\"name\":\"Ada Lovelace\",\"email\":\"ada@example.org\"}}'
  curl -i http://{address}/api/v1/users/1/reads
  curl -i -X POST http://{address}/api/v1/sessions -H 'content-type: application/json' -d '{{\"user_id\":1}}'
  curl -i http://{address}/api/v1/tree

Read user 1 twice: the header x-cache says miss, then hit. After the PUT it is a miss again.

{redis}
{}
",
        if with_chaos { chaos(address, app) } else { String::new() }
    );
    // Nobody need be reading: `quickstart | head -1`, or a log driver that hangs. That is no reason to end, or to wait.
    #[expect(
        clippy::disallowed_methods,
        reason = "nobody waits for it, and it ends with the process"
    )]
    thread::spawn(move || stdout().write_all(text.as_bytes()).ok());
}

fn chaos(address: SocketAddr, app: &AppState) -> String {
    let limits = &app.config().supervision;
    format!(
        "
Crash an actor: curl -i -X POST http://{address}/api/v1/tree/pool-manager/crash
It is back in a moment; /api/v1/tree counts its restarts. More than {} crashes within {:?}
are too many: the supervisor gives up, and the service ends with the reason.
",
        limits.intensity, limits.within
    )
}

/// The process id of the embedded server. `None` where Redis is somewhere else.
fn embedded_pid(app: &AppState) -> Option<u64> {
    app.tree().find("embedded-redis")?.facts.get("pid")?.as_u64()
}
