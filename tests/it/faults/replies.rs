//! Whose reply it is, and what a lost one means.

use std::time::Duration;

use mainstay_actors::redis::{Cause, Error};
use tokio::time::timeout;

use super::{Ground, SLACK, address};
use crate::support::soak::cancels;
use crate::support::{Proxy, Server, Way, Weather, eventually};

// redis R1, R10, R22
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn callers_that_give_up_at_any_moment_never_get_each_others_replies() {
    const OPERATIONS: u64 = 2000;
    let server = Server::start().await;
    let proxy = Proxy::before(server.address()).await;
    let seed = fastrand::u64(..);
    let report = cancels(&server.url(), &proxy, OPERATIONS, seed).await;
    assert!(report.wrong.is_empty(), "seed {seed}: {report:#?}");
    assert_eq!(report.answered + report.cut + report.failed, OPERATIONS, "seed {seed}: {report:?}");
    assert!(report.answered > OPERATIONS / 2, "seed {seed}: {report:?}");
    assert!(report.cut > 0 && report.resets > 0, "seed {seed}: {report:?}");
}

// redis R10
#[tokio::test]
async fn a_write_whose_reply_is_lost_was_carried_out_once_and_is_unknown() {
    let ground = Ground::new(1, Duration::from_secs(5)).await;
    for is_pinned in [false, true] {
        let mut conn = ground.conn().await;
        if is_pinned {
            conn.pin().await.unwrap();
        }
        let before: u64 = conn.incr("sum", 1).await.unwrap();
        let wire = address(&mut conn).await;
        assert!(ground.proxy.set_for(wire, Weather::CutAfter(Way::ToClient, 0)));
        let error = conn.incr::<_, _, u64>("sum", 1).await.unwrap_err();
        assert_eq!(error, Error::OutcomeUnknown { cause: Cause::Closed });
        drop(conn);
        // Nobody sends it again, neither now nor on the connection that takes the place of this one.
        let mut conn = ground.conn().await;
        assert_eq!(conn.get::<_, u64>("sum").await.unwrap(), before + 1);
        assert_ne!(address(&mut conn).await, wire);
    }
}

// redis R10
#[tokio::test]
async fn a_write_that_never_reached_the_server_is_unknown_and_a_read_is_unavailable() {
    let ground = Ground::new(1, Duration::from_secs(5)).await;
    for is_pinned in [false, true] {
        for writes in [false, true] {
            let mut conn = ground.conn().await;
            if is_pinned {
                conn.pin().await.unwrap();
            }
            let wire = address(&mut conn).await;
            assert!(ground.proxy.set_for(wire, Weather::CutAfter(Way::ToServer, 5)));
            if writes {
                let error = conn.set("k", "v").await.unwrap_err();
                assert_eq!(error, Error::OutcomeUnknown { cause: Cause::Closed });
            } else {
                let error = conn.get::<_, Option<String>>("k").await.unwrap_err();
                assert!(
                    matches!(error, Error::Unavailable { cause: Cause::Closed, .. }),
                    "{error:?}"
                );
            }
        }
    }
    assert!(!ground.conn().await.exists("k").await.unwrap());
}

// redis R10
#[tokio::test]
async fn a_late_write_never_lands_after_a_later_command_of_its_caller() {
    let ground = Ground::new(1, Duration::from_millis(200)).await;
    for is_bulk in [false, true] {
        let mut conn = ground.conn().await;
        let lane = address(&mut conn).await;
        assert!(ground.proxy.set_for(lane, Weather::HeldAfter(Way::ToServer, 0)));
        let error = conn.set("k", "late").await.unwrap_err();
        assert_eq!(error, Error::OutcomeUnknown { cause: Cause::Timeout });
        assert_eq!(ground.server.ask::<Option<String>>(&["GET", "k"]).await, None);
        // The write arrives now, and what settles the doubt after it.
        assert!(ground.proxy.set_for(lane, Weather::Fair));
        if is_bulk {
            conn = conn.bulk().await.unwrap();
        } else {
            conn.pin().await.unwrap();
        }
        assert_ne!(address(&mut conn).await, lane);
        assert_eq!(conn.del("k").await.unwrap(), 1, "the write came first");
        assert_eq!(ground.server.ask::<Option<String>>(&["GET", "k"]).await, None);
    }
}

// redis R10
#[tokio::test]
async fn where_the_order_cannot_be_promised_the_caller_is_told_until_it_begins_again() {
    let command_timeout = Duration::from_millis(200);
    let ground = Ground::new(1, command_timeout).await;
    let mut conn = ground.conn().await;
    let lane = address(&mut conn).await;
    assert!(ground.proxy.set_for(lane, Weather::HeldAfter(Way::ToServer, 0)));
    conn.set("k", "late").await.unwrap_err();
    // On another connection the server would carry it out first.
    let error = conn.pin().await.unwrap_err();
    assert_eq!(error, Error::OutcomeUnknown { cause: Cause::InDoubt });
    // The lane is given up, and still the caller is not let past its write.
    let mut fresh = eventually("another lane serves", async || {
        let mut fresh = ground.endpoint.connection().await.ok()?;
        fresh.get::<_, Option<String>>("k").await.ok()?;
        Some(fresh)
    })
    .await;
    for _ in 0..3 {
        let error = conn.del("k").await.unwrap_err();
        assert_eq!(error, Error::OutcomeUnknown { cause: Cause::InDoubt });
        let error = conn.pin().await.unwrap_err();
        assert_eq!(error, Error::OutcomeUnknown { cause: Cause::InDoubt });
    }
    assert_eq!(fresh.del("k").await.unwrap(), 0);
    // What a caller that begins again has to live with, and was told.
    ground.proxy.set_for(lane, Weather::Fair);
    drop(conn);
    timeout(command_timeout + SLACK, fresh.set("k", "v")).await.unwrap().unwrap();
}
