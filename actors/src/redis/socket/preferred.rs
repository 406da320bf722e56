use std::net::SocketAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

/// Which address of a host's name the connections of an endpoint lead to. It stays the same one while it answers and the
/// name has it, so that a service does not read from one server what it wrote to another.
#[derive(Debug, Default)]
pub(crate) struct PreferredAddress {
    known: Mutex<Option<Known>>,
    changed: Notify,
}

#[derive(Debug, Clone, Copy)]
struct Known {
    address: SocketAddr,
    /// The server at it was the wrong one, or did not answer, so any other is tried before it.
    is_avoided: bool,
}

impl PreferredAddress {
    /// Puts the addresses of a name, in the resolver's order, into the order in which they are tried.
    pub(super) fn sort(&self, found: &mut [SocketAddr]) {
        let Some(known) = *self.known() else { return };
        let rank = |address: &SocketAddr| (*address == known.address) == known.is_avoided;
        // Stable: the others keep their order.
        found.sort_by_key(rank);
    }

    /// Notes that a whole handshake has succeeded at `address`.
    pub(crate) fn answered(&self, address: SocketAddr) {
        let before = self.known().replace(Known { address, is_avoided: false });
        if before.is_some_and(|before| before.address != address) {
            self.changed.notify_one();
        }
    }

    /// Has other addresses of the name tried before the present one, until one answers.
    pub(crate) fn avoid(&self) {
        if let Some(known) = self.known().as_mut() {
            known.is_avoided = true;
        }
    }

    /// Waits until a connection has led to another address than those before it.
    pub(crate) async fn changed(&self) {
        self.changed.notified().await;
    }

    fn known(&self) -> MutexGuard<'_, Option<Known>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    fn address(last: u8) -> SocketAddr {
        ([127, 0, 0, last], 6379).into()
    }

    fn order(preferred: &PreferredAddress) -> Vec<SocketAddr> {
        let mut found = vec![address(1), address(2), address(3)];
        preferred.sort(&mut found);
        found
    }

    #[test]
    fn the_address_that_answered_is_tried_first_until_it_does_not() {
        let preferred = PreferredAddress::default();
        assert_eq!(order(&preferred), [1, 2, 3].map(address), "the resolver's order");
        preferred.avoid();
        preferred.answered(address(2));
        assert_eq!(order(&preferred), [2, 1, 3].map(address));
        preferred.avoid();
        assert_eq!(order(&preferred), [1, 3, 2].map(address));
        preferred.answered(address(2));
        assert_eq!(order(&preferred), [2, 1, 3].map(address), "it answers after all");
    }

    #[test]
    fn a_change_is_news_once() {
        let preferred = PreferredAddress::default();
        let is_news = || preferred.changed().now_or_never().is_some();
        preferred.answered(address(1));
        preferred.answered(address(1));
        assert!(!is_news(), "there was none before");
        preferred.answered(address(2));
        preferred.answered(address(2));
        assert!(is_news());
        assert!(!is_news());
    }
}
