//! Which conditions an endpoint is in, so that each is a line when it begins and one when it ends, however many requests
//! meet it.

use std::time::Duration;

use tokio::time::Instant;

use crate::redis::Condition;

/// Reads go on while writes are refused, and some writes may too, so that only silence says that a condition is over.
const OVER_AFTER: Duration = Duration::from_secs(60);

/// What the counts of refusals have shown so far.
#[derive(Debug)]
pub(crate) struct Conditions {
    rows: [(Condition, Row); Condition::ALL.len()],
}

#[derive(Debug, Clone, Copy, Default)]
struct Row {
    /// The count when it was last looked at.
    seen: u64,
    lasts: Option<Lasting>,
}

#[derive(Debug, Clone, Copy)]
struct Lasting {
    since: Instant,
    last_refusal: Instant,
    refusals: u64,
}

/// Worth a line in the log.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum News {
    Begins(Condition),
    Ends { condition: Condition, refusals: u64, lasted: Duration },
}

impl Conditions {
    /// In none, whatever was refused before.
    pub(crate) fn new(refusals: impl Fn(Condition) -> u64) -> Self {
        Self {
            rows: Condition::ALL
                .map(|condition| (condition, Row { seen: refusals(condition), lasts: None })),
        }
    }

    /// Looks at the counts of now.
    pub(crate) fn look(&mut self, now: Instant, refusals: impl Fn(Condition) -> u64) -> Vec<News> {
        let news = |(condition, row): &mut (Condition, Row)| {
            row.look(*condition, now, refusals(*condition))
        };
        self.rows.iter_mut().filter_map(news).collect()
    }

    /// What is to be said in place of `message`, where there is a condition and nothing worse.
    pub(crate) fn amend(&self, healthy: bool, message: &str) -> Option<String> {
        let condition = self.present().filter(|_| healthy)?;
        Some(format!("{message}, but {condition}"))
    }

    /// The condition that was met last, while it lasts.
    fn present(&self) -> Option<Condition> {
        let lasting =
            self.rows.iter().filter_map(|(condition, row)| Some((*condition, row.lasts?)));
        lasting.max_by_key(|(_, lasting)| lasting.last_refusal).map(|(condition, _)| condition)
    }
}

impl Row {
    fn look(&mut self, condition: Condition, now: Instant, refusals: u64) -> Option<News> {
        let new = refusals - self.seen;
        self.seen = refusals;
        match (&mut self.lasts, new) {
            (None, 0) => None,
            (None, _) => {
                self.lasts = Some(Lasting { since: now, last_refusal: now, refusals: new });
                Some(News::Begins(condition))
            }
            (Some(lasting), 0) => {
                let Lasting { since, last_refusal, refusals } = *lasting;
                if now.saturating_duration_since(last_refusal) < OVER_AFTER {
                    return None;
                }
                self.lasts = None;
                Some(News::Ends { condition, refusals, lasted: last_refusal - since })
            }
            (Some(lasting), _) => {
                lasting.last_refusal = now;
                lasting.refusals += new;
                None
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_condition_is_news_when_it_begins_and_when_nothing_was_refused_for_a_minute() {
        let begin = Instant::now();
        let at = |seconds| begin + Duration::from_secs(seconds);
        let full =
            |count: u64| move |condition| if condition == Condition::Full { count } else { 0 };
        let mut conditions = Conditions::new(full(7));
        assert_eq!(conditions.look(at(0), full(7)), [], "what was before it is nobody's news");
        assert_eq!(conditions.look(at(1), full(8)), [News::Begins(Condition::Full)]);
        assert_eq!(conditions.present(), Some(Condition::Full));
        for (second, count) in [(2, 9), (50, 9), (60, 20), (119, 20)] {
            assert_eq!(conditions.look(at(second), full(count)), [], "second {second}");
        }
        let lasted = Duration::from_secs(59);
        let ends = News::Ends { condition: Condition::Full, refusals: 13, lasted };
        assert_eq!(conditions.look(at(120), full(20)), [ends]);
        assert_eq!(conditions.present(), None);
        assert_eq!(conditions.look(at(300), full(20)), []);
        assert_eq!(conditions.look(at(301), full(21)), [News::Begins(Condition::Full)]);
    }

    #[test]
    fn conditions_that_last_at_once_are_told_apart_and_the_last_one_met_is_shown() {
        let begin = Instant::now();
        let mut conditions = Conditions::new(|_| 0);
        let both =
            |condition| u64::from(matches!(condition, Condition::Full | Condition::ReadOnly));
        let news = conditions.look(begin, both);
        assert_eq!(news, [News::Begins(Condition::Full), News::Begins(Condition::ReadOnly)]);
        let later = begin + Duration::from_secs(30);
        let one_more = |condition| if condition == Condition::Full { 2 } else { both(condition) };
        assert_eq!(conditions.look(later, one_more), []);
        assert_eq!(conditions.present(), Some(Condition::Full));
    }
}
