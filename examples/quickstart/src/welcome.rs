//! What a newcomer reads first.
#![expect(clippy::print_stdout, reason = "this is for the reader of a terminal")]

use std::net::SocketAddr;
use std::time::Duration;

use mainstay::prelude::*;

/// How long the first lines wait for the embedded server.
const PATIENCE: Duration = Duration::from_secs(5);

pub async fn print(address: SocketAddr, app: &AppState, with_chaos: bool) {
    let pid = tokio::time::timeout(PATIENCE, embedded_pid(app)).await.ok().flatten();
    println!(
        "
The quickstart listens on http://{address}. Ctrl-C ends it. Try, in another terminal:

  curl -i http://{address}/api/v1/users/1
  curl -i http://{address}/api/v1/users/1          # the second time: x-cache: hit
  curl -X PUT http://{address}/api/v1/users/2 -H 'content-type: application/json' \\
       -d '{{\"name\":\"Grace Hopper\",\"email\":\"grace@example.org\"}}'
  curl -X POST http://{address}/api/v1/sessions -H 'content-type: application/json' \\
       -d '{{\"user_id\":3}}'
  curl http://{address}/api/v1/tree"
    );
    match pid {
        Some(pid) => println!(
            "
Redis is embedded, pid {pid}. Kill it and go on reading users: kill -9 {pid}
The reads go round the cache (x-cache: bypass) until it is back, which takes about a second."
        ),
        None => println!("\nRedis is where the configuration says; /ready says how it is."),
    }
    if with_chaos {
        println!(
            "
Crash an actor: curl -X POST http://{address}/api/v1/tree/pool-manager/crash
It is back before you can look; /api/v1/tree counts its restarts. More than {} crashes within
{:?} are too many: the supervisor gives up, and the service ends with the reason.",
            app.config().supervision.intensity,
            app.config().supervision.within
        );
    }
    println!();
}

/// The process id of the embedded server, once there is one. `None` where Redis is somewhere else.
async fn embedded_pid(app: &AppState) -> Option<u64> {
    loop {
        let pid = app.tree().find("embedded-redis")?.facts.get("pid").and_then(|pid| pid.as_u64());
        if pid.is_some() {
            return pid;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
