//! Commands: what each requires of its connection, and how it is sent.

mod learned;
mod name;
mod plan;
mod request;
mod scripts;
mod table;

#[cfg(test)]
mod tests;

pub(crate) use learned::LearnedCommands;
pub(crate) use plan::{Block, Plan, Reading};
pub(crate) use request::{Atomic, Batch, Reply, Request, is_script};
pub(crate) use scripts::{ScriptText, ScriptTexts};
