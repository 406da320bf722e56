//! Random bytes for request ids.

use std::cell::RefCell;

/// One question to the system for so many ids: by itself each would be a system call of its request.
const IDS: usize = 64;
const ID_BYTES: usize = 16;

thread_local! {
    static POOL: RefCell<Pool> = const { RefCell::new(Pool { bytes: [0; IDS * ID_BYTES], left: 0 }) };
}

/// Bytes from the system, none of which is given out twice.
struct Pool {
    bytes: [u8; IDS * ID_BYTES],
    left: usize,
}

impl Pool {
    fn take(&mut self) -> [u8; ID_BYTES] {
        if self.left == 0 {
            getrandom::fill(&mut self.bytes)
                .expect("the system has random numbers once it has started");
            self.left = IDS;
        }
        self.left -= 1;
        let start = self.left * ID_BYTES;
        let taken = &self.bytes[start..start + ID_BYTES];
        taken.try_into().expect("it is as long")
    }
}

/// Bytes that nobody can predict.
pub(super) fn id_bytes() -> [u8; ID_BYTES] {
    POOL.with_borrow_mut(Pool::take)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn no_bytes_are_given_out_twice_in_any_thread() {
        let taken = || (0..10 * IDS).map(|_| id_bytes()).collect::<Vec<_>>();
        let threads = std::thread::scope(|scope| {
            let threads = [(); 4].map(|()| scope.spawn(taken));
            threads.map(|thread| thread.join().unwrap())
        });
        let all: HashSet<_> = threads.iter().flatten().collect();
        assert_eq!(all.len(), 4 * 10 * IDS);
        assert!(!all.contains(&[0; ID_BYTES]));
    }
}
