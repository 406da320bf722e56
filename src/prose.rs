//! The prose outside of the sources, so that its examples are compiled and run as those of the sources are.
#![doc = include_str!("../README.md")]
#![doc = include_str!("../docs/actors.md")]
#![doc = include_str!("../docs/redis.md")]
#![doc = include_str!("../docs/supervision.md")]
