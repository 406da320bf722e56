//! What the command line asks for.

use benches::ROUNDS;

use crate::paths::{OPTIONAL, RIVALS, VARIANTS};

pub(crate) const ITSELF: &str = "itself";
pub(crate) const BREAKER: &str = "breaker";
pub(crate) const SERVER_LIMIT: &str = "server_limit";
pub(crate) const PIPELINE: &str = "pipeline";
pub(crate) const CALLS: &str = "calls";
const ALL_VARIANTS: &str = "variants";

/// Which part of it all to run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Choice {
    pub(crate) rounds: usize,
    pub(crate) seed: Option<u64>,
    only: Option<usize>,
    rival: Option<String>,
    /// What a child under strace does.
    pub(crate) count: Option<Count>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Count {
    pub(crate) gets: usize,
    pub(crate) path: String,
    pub(crate) url: String,
}

impl Choice {
    /// What these arguments ask for, or what is wrong with them.
    pub(crate) fn from_arguments(
        mut arguments: impl Iterator<Item = String>,
    ) -> Result<Self, String> {
        let mut choice = Self { rounds: ROUNDS, seed: None, only: None, rival: None, count: None };
        while let Some(name) = arguments.next() {
            if name == "--variants" {
                choice.rival = Some(ALL_VARIANTS.to_owned());
                continue;
            }
            let known = ["--rounds", "--seed", "--only", "--rival", "--count", "--path", "--url"];
            if !known.contains(&name.as_str()) {
                return Err(format!(
                    "{name} is unknown; there are --rounds N, --seed N, --only TASKS, --rival NAME and --variants"
                ));
            }
            let value = arguments.next().ok_or_else(|| format!("{name} needs a value"))?;
            let number =
                || value.parse::<u64>().map_err(|_| format!("{name} {value}: not a number"));
            let size = || number().map(|number| usize::try_from(number).unwrap_or(usize::MAX));
            match name.as_str() {
                "--rounds" => choice.rounds = size()?.max(1),
                "--seed" => choice.seed = Some(number()?),
                "--only" => choice.only = Some(size()?),
                "--rival" => choice.rival = Some(rival(value)?),
                "--count" => choice.count.get_or_insert_default().gets = size()?,
                "--path" => choice.count.get_or_insert_default().path = value,
                _ => choice.count.get_or_insert_default().url = value,
            }
        }
        Ok(choice)
    }

    pub(crate) fn takes(&self, rival: &str) -> bool {
        match self.rival.as_deref() {
            Some(ALL_VARIANTS) => VARIANTS.contains(&rival),
            Some(only) => only == rival,
            None => !VARIANTS.contains(&rival),
        }
    }

    pub(crate) fn takes_tasks(&self, tasks: usize) -> bool {
        self.only.is_none_or(|only| only == tasks)
    }
}

fn rival(name: String) -> Result<String, String> {
    let parts = [BREAKER, SERVER_LIMIT, PIPELINE, CALLS, ALL_VARIANTS, ITSELF];
    if parts.iter().chain(RIVALS).chain(VARIANTS).any(|known| *known == name) {
        return Ok(name);
    }
    if let Some((_, feature)) = OPTIONAL.iter().find(|(rival, _)| *rival == name) {
        return Err(format!("--rival {name}: this build is without it; add --features {feature}"));
    }
    let known = [&parts[..], RIVALS, VARIANTS].concat().join(", ");
    Err(format!("--rival {name} is unknown; there are {known}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chosen(line: &str) -> Result<Choice, String> {
        Choice::from_arguments(line.split_whitespace().map(str::to_owned))
    }

    #[test]
    fn without_arguments_all_but_the_variants_run() {
        let choice = chosen("").unwrap();
        assert!(choice.takes("bare") && choice.takes(BREAKER) && !choice.takes("pinned"));
        assert!(choice.takes_tasks(1) && choice.rounds == ROUNDS);
    }

    #[test]
    fn one_rival_runs_alone_and_variants_together() {
        let choice = chosen("--rival bare --only 64 --seed 7").unwrap();
        assert!(choice.takes("bare") && !choice.takes("bare_nodelay") && !choice.takes(CALLS));
        assert!(choice.takes_tasks(64) && !choice.takes_tasks(1) && choice.seed == Some(7));
        let variants = chosen("--variants").unwrap();
        assert_eq!(variants, chosen("--rival variants").unwrap());
        assert!(variants.takes("lanes_2") && !variants.takes("bare"));
    }

    #[test]
    fn a_fault_names_the_argument_and_what_there_is() {
        assert_eq!(chosen("--rounds many").unwrap_err(), "--rounds many: not a number");
        assert_eq!(chosen("--rounds").unwrap_err(), "--rounds needs a value");
        assert!(chosen("--rival nobody").unwrap_err().contains("there are breaker"));
        assert!(chosen("--fast").unwrap_err().contains("--rounds N"));
    }
}
