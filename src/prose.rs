//! The documents outside of `src`, included here so that their examples are tested.
#![doc = include_str!("../README.md")]
#![doc = include_str!("../docs/actors.md")]
#![doc = include_str!("../docs/deployment.md")]
#![doc = include_str!("../docs/redis.md")]
#![doc = include_str!("../docs/supervision.md")]
