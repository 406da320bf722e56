//! What a process has but one of: its log. So this is a process of its own.
#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

use std::io;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use mainstay::prelude::*;

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl io::Write for Log {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend(line);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn a_program_that_has_a_log_keeps_it() {
    let log = Log::default();
    let writer = log.clone();
    tracing_subscriber::fmt().with_writer(move || writer.clone()).init();
    let mut config = mainstay::Config::default();
    config.service.log_level = "off".to_owned();
    let service = ServiceBuilder::new().with_config(config).build();
    let (_, state) = service.into_router().await.unwrap();
    mainstay::tracing::info!("still here");
    state.shutdown(Duration::from_secs(5)).await;
    let text = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    assert!(text.contains("still here"), "{text}");
}
