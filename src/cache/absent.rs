/// The way to Redis: there is none in a service that was built without the feature `cache`.
#[derive(Debug, Clone, Copy)]
pub enum Cache {}
