use std::net::SocketAddr;

use axum::extract::{ConnectInfo, Request};
use axum::http::{Method, StatusCode};
use tokio::time::Instant;

use super::RequestId;

/// The line of one request in the access log. It is written when this is dropped, and so also for one
/// that is never answered: its connection broke, its handler panicked unguarded, or the service ended.
#[derive(Debug)]
pub(super) struct Access {
    method: Method,
    /// Without the query, which may hold what no log should.
    path: String,
    peer: Option<SocketAddr>,
    request_id: Option<RequestId>,
    begun: Instant,
    status: Option<StatusCode>,
}

impl Access {
    pub(super) fn begins(request: &Request, request_id: Option<RequestId>) -> Self {
        let peer = request.extensions().get::<ConnectInfo<SocketAddr>>();
        Self {
            method: request.method().clone(),
            path: request.uri().path().to_owned(),
            peer: peer.map(|ConnectInfo(peer)| *peer),
            request_id,
            begun: Instant::now(),
            status: None,
        }
    }

    pub(super) fn is_answered(&mut self, status: StatusCode) {
        self.status = Some(status);
    }
}

impl Drop for Access {
    fn drop(&mut self) {
        let Self { method, path, peer, request_id, begun, status } = self;
        let (status, took) = (status.map(|status| status.as_u16()), begun.elapsed());
        let request_id = request_id.as_ref().map(RequestId::as_str);
        let peer = peer.map(tracing::field::display);
        let what = if status.is_some() { "answered" } else { "not answered" };
        tracing::info!(target: "mainstay::access", %method, path, status, ?took, request_id, peer, "{what}");
    }
}
