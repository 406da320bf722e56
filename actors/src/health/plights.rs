//! Which plights an endpoint is in, so that each is a line when it begins and one when it ends, however many requests
//! meet it.

use std::time::Duration;

use tokio::time::Instant;

use crate::redis::Plight;

/// Reads go on while writes are refused, and some writes may too, so that only silence says that a plight is over.
const OVER_AFTER: Duration = Duration::from_secs(60);

/// What the counts of refusals have shown so far.
#[derive(Debug)]
pub(crate) struct Plights {
    rows: [(Plight, Row); Plight::ALL.len()],
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
    Begins(Plight),
    Ends { plight: Plight, refusals: u64, lasted: Duration },
}

impl Plights {
    /// In none, whatever was refused before.
    pub(crate) fn new(refusals: impl Fn(Plight) -> u64) -> Self {
        Self {
            rows: Plight::ALL.map(|plight| (plight, Row { seen: refusals(plight), lasts: None })),
        }
    }

    /// Looks at the counts of now.
    pub(crate) fn look(&mut self, now: Instant, refusals: impl Fn(Plight) -> u64) -> Vec<News> {
        let news = |(plight, row): &mut (Plight, Row)| row.look(*plight, now, refusals(*plight));
        self.rows.iter_mut().filter_map(news).collect()
    }

    /// What is to be said in place of `message`, where there is a plight and nothing worse.
    pub(crate) fn amend(&self, healthy: bool, message: &str) -> Option<String> {
        let plight = self.present().filter(|_| healthy)?;
        Some(format!("{message}, but {plight}"))
    }

    /// The plight that was met last, while it lasts.
    fn present(&self) -> Option<Plight> {
        let lasting = self.rows.iter().filter_map(|(plight, row)| Some((*plight, row.lasts?)));
        lasting.max_by_key(|(_, lasting)| lasting.last_refusal).map(|(plight, _)| plight)
    }
}

impl Row {
    fn look(&mut self, plight: Plight, now: Instant, refusals: u64) -> Option<News> {
        let new = refusals - self.seen;
        self.seen = refusals;
        match (&mut self.lasts, new) {
            (None, 0) => None,
            (None, _) => {
                self.lasts = Some(Lasting { since: now, last_refusal: now, refusals: new });
                Some(News::Begins(plight))
            }
            (Some(lasting), 0) => {
                let Lasting { since, last_refusal, refusals } = *lasting;
                if now.saturating_duration_since(last_refusal) < OVER_AFTER {
                    return None;
                }
                self.lasts = None;
                Some(News::Ends { plight, refusals, lasted: last_refusal - since })
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
    fn a_plight_is_news_when_it_begins_and_when_nothing_was_refused_for_a_minute() {
        let begin = Instant::now();
        let at = |seconds| begin + Duration::from_secs(seconds);
        let full = |count: u64| move |plight| if plight == Plight::Full { count } else { 0 };
        let mut plights = Plights::new(full(7));
        assert_eq!(plights.look(at(0), full(7)), [], "what was before it is nobody's news");
        assert_eq!(plights.look(at(1), full(8)), [News::Begins(Plight::Full)]);
        assert_eq!(plights.present(), Some(Plight::Full));
        for (second, count) in [(2, 9), (50, 9), (60, 20), (119, 20)] {
            assert_eq!(plights.look(at(second), full(count)), [], "second {second}");
        }
        let lasted = Duration::from_secs(59);
        let ends = News::Ends { plight: Plight::Full, refusals: 13, lasted };
        assert_eq!(plights.look(at(120), full(20)), [ends]);
        assert_eq!(plights.present(), None);
        assert_eq!(plights.look(at(300), full(20)), []);
        assert_eq!(plights.look(at(301), full(21)), [News::Begins(Plight::Full)]);
    }

    #[test]
    fn plights_that_last_at_once_are_told_apart_and_the_last_one_met_is_shown() {
        let begin = Instant::now();
        let mut plights = Plights::new(|_| 0);
        let both = |plight| u64::from(matches!(plight, Plight::Full | Plight::ReadOnly));
        let news = plights.look(begin, both);
        assert_eq!(news, [News::Begins(Plight::Full), News::Begins(Plight::ReadOnly)]);
        let later = begin + Duration::from_secs(30);
        let one_more = |plight| if plight == Plight::Full { 2 } else { both(plight) };
        assert_eq!(plights.look(later, one_more), []);
        assert_eq!(plights.present(), Some(Plight::Full));
    }
}
