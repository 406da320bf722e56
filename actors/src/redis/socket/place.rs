use std::net::SocketAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;

/// Which address of a name the connections of an endpoint lead to. It stays the same one while the name has it, so that
/// a service does not read from one server what it wrote to another.
#[derive(Debug, Default)]
pub(crate) struct Place {
    known: Mutex<Option<Known>>,
    moved: Notify,
}

#[derive(Debug, Clone, Copy)]
struct Known {
    address: SocketAddr,
    /// The server at it was the wrong one, so any other is tried before it.
    is_avoided: bool,
}

/// Where an attempt to connect has led.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Reached {
    address: SocketAddr,
    /// Whether the name no longer has the address that was known.
    has_moved: bool,
}

impl Place {
    /// The addresses of a name, each with the time that others are given before it.
    pub(super) fn in_turn(&self, found: Vec<SocketAddr>) -> Vec<(SocketAddr, Duration)> {
        let known = self.known().filter(|known| found.contains(&known.address));
        let delay = |address| match known {
            Some(known) if (known.address == address) == known.is_avoided => HEAD_START,
            _ => Duration::ZERO,
        };
        found.into_iter().map(|address| (address, delay(address))).collect()
    }

    /// What it means that `address` has answered, of those that were `found`.
    pub(super) fn reach(&self, address: SocketAddr, found: &[SocketAddr]) -> Reached {
        let has_moved = self.known().is_some_and(|known| !found.contains(&known.address));
        Reached { address, has_moved }
    }

    /// Notes that a whole handshake has succeeded there.
    pub(crate) fn reached(&self, reached: Reached) {
        let mut known = self.known();
        let is_same = known.is_some_and(|known| known.address == reached.address);
        if !is_same {
            *known = Some(Known { address: reached.address, is_avoided: false });
        }
        drop(known);
        if reached.has_moved && !is_same {
            self.moved.notify_one();
        }
    }

    /// Has other addresses of the name tried before the present one.
    pub(crate) fn avoid(&self) {
        if let Some(known) = self.known().as_mut() {
            known.is_avoided = true;
        }
    }

    /// Waits until a connection has led elsewhere because the name no longer has the address of before.
    pub(crate) async fn moved(&self) {
        self.moved.notified().await;
    }

    fn known(&self) -> MutexGuard<'_, Option<Known>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The time that the preferred address of a name has to itself (RFC 8305, 5).
const HEAD_START: Duration = Duration::from_millis(250);

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    fn address(last: u8) -> SocketAddr {
        ([127, 0, 0, last], 6379).into()
    }

    fn at(last: u8) -> Place {
        let place = Place::default();
        place.reached(place.reach(address(last), &[address(last)]));
        place
    }

    #[test]
    fn the_address_that_answered_is_tried_first_while_the_name_has_it() {
        let [one, two, three] = [1, 2, 3].map(address);
        let place = at(2);
        let delays = |place: &Place| {
            place
                .in_turn(vec![one, two, three])
                .into_iter()
                .map(|(_, delay)| delay)
                .collect::<Vec<_>>()
        };
        assert_eq!(delays(&Place::default()), [Duration::ZERO; 3]);
        assert_eq!(delays(&place), [HEAD_START, Duration::ZERO, HEAD_START]);
        assert_eq!(place.in_turn(vec![one]), [(one, Duration::ZERO)], "it is gone");
        place.avoid();
        assert_eq!(delays(&place), [Duration::ZERO, HEAD_START, Duration::ZERO]);
        place.reached(place.reach(three, &[one, two, three]));
        assert_eq!(delays(&place), [HEAD_START, HEAD_START, Duration::ZERO]);
    }

    #[test]
    fn a_name_has_moved_when_it_no_longer_has_the_address_that_answered() {
        let [one, two] = [1, 2].map(address);
        let place = at(1);
        assert!(place.moved().now_or_never().is_none(), "it is the first");
        place.reached(place.reach(two, &[one, two]));
        assert!(place.moved().now_or_never().is_none(), "the name has both");
        let moved = place.reach(one, &[one]);
        assert!(place.moved().now_or_never().is_none(), "the handshake may fail");
        place.reached(moved);
        assert!(place.moved().now_or_never().is_some());
        place.reached(moved);
        assert!(place.moved().now_or_never().is_none(), "once");
    }
}
