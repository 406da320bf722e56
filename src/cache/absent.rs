/// Access to Redis. A service that was built without the feature `cache` has none.
#[derive(Debug, Clone, Copy)]
pub enum Cache {}

impl Cache {
    pub(crate) fn until_drain(self) -> Self {
        self
    }
}
