//! Circuit breakers: what cannot be reached is left alone for a while, so that whoever needs it does not hold a place
//! until a timeout, one after the other, while everybody else waits behind them.
//!
//! | state | who may ask | ends with |
//! |---|---|---|
//! | closed | everybody | failures in a row, as many as patience allows |
//! | open | nobody | time: a rest, which doubles with every probe that fails |
//! | half open | nobody but one, the probe | its answer closes, its failure opens again; without a word from it, time lets another one try |
//!
//! Whoever may not ask is told when to come again. While one tries that is no later than after another such rest, however long
//! its attempt may take: it mostly answers at once, and who waited for the last moment of it would do so in vain.
//!
//! Time and chance are the caller's, and what counts as a failure, too.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// A rest is lengthened by up to this share of itself, so that several processes do not try in step.
const JITTER: f64 = 0.2;

/// When there is a rest, and how long it is.
#[derive(Debug, Clone, Copy)]
pub struct Rules {
    /// Failures in a row, after which there is a rest.
    pub patience: u32,
    /// The first rest.
    pub first_rest: Duration,
    /// No rest is longer, but for the jitter.
    pub longest_rest: Duration,
}

/// Where a breaker stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// Everybody may ask.
    Closed,
    /// Nobody may.
    Open,
    /// One is trying.
    HalfOpen,
}

impl State {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Closed, Self::Open, Self::HalfOpen];

    /// The name, for metrics and logs.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::Open => "open",
            Self::HalfOpen => "half_open",
        }
    }
}

/// The breaker in front of one thing.
#[derive(Debug, Clone, Copy)]
pub struct Breaker {
    rules: Rules,
    /// Failures in a row while closed, rests in a row from then on.
    in_a_row: u32,
    state: State,
    /// The end of the rest, or of the time that the probe has.
    until: Option<Instant>,
}

impl Breaker {
    /// A closed one.
    #[must_use]
    pub const fn new(rules: Rules) -> Self {
        Self {
            rules,
            in_a_row: 0,
            state: State::Closed,
            until: None,
        }
    }

    /// Where it stands.
    #[must_use]
    pub const fn state(&self) -> State {
        self.state
    }

    /// Could somebody ask now? For those who have something to do first; nobody becomes the probe by it.
    ///
    /// # Errors
    /// When to come again.
    pub fn look(&self, now: Instant) -> Result<(), Duration> {
        match self.until {
            Some(until) if until > now && self.state == State::HalfOpen => {
                Err((until - now).min(self.rest()))
            }
            Some(until) if until > now => Err(until - now),
            Some(_) | None => Ok(()),
        }
    }

    /// May the caller ask? When a rest is over one may, as the probe, and for `attempt` nobody else.
    ///
    /// # Errors
    /// When to come again.
    pub fn ask(&mut self, now: Instant, attempt: Duration) -> Result<(), Duration> {
        self.look(now)?;
        if self.state != State::Closed {
            self.state = State::HalfOpen;
            self.until = Some(now + attempt);
        }
        Ok(())
    }

    /// It answered.
    pub const fn answered(&mut self) {
        *self = Self::new(self.rules);
    }

    /// It could not be reached. True when a rest begins with this. `chance` lies between 0 and 1 and decides the jitter.
    pub fn failed(&mut self, now: Instant, chance: f64) -> bool {
        match self.state {
            State::Closed => {
                self.in_a_row += 1;
                if self.in_a_row < self.rules.patience {
                    return false;
                }
                self.in_a_row = 0;
            }
            State::HalfOpen => self.in_a_row = self.in_a_row.saturating_add(1),
            // Whoever had asked before the rest began says nothing new.
            State::Open => return false,
        }
        let rest = self.rest();
        self.state = State::Open;
        self.until = Some(now + rest + rest.mul_f64(JITTER * chance.clamp(0.0, 1.0)));
        true
    }

    /// How long a rest is after so many in a row, without the jitter.
    fn rest(&self) -> Duration {
        let rest = self.rules.first_rest.saturating_mul(1 << self.in_a_row.min(16));
        rest.min(self.rules.longest_rest)
    }

    /// Nobody knows whether it was reached: no reason to begin a rest, and none to end one. True when one begins anew.
    pub fn unsure(&mut self, now: Instant, chance: f64) -> bool {
        self.state == State::HalfOpen && self.failed(now, chance)
    }
}

/// Breakers of many things by name, no more than a bound. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Breakers {
    rules: Rules,
    bounds: Bounds,
    troubled: Arc<Mutex<HashMap<String, Troubled>>>,
}

/// What is remembered.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    /// More names than this are not; the least that happens is that they are asked too often.
    pub most: usize,
    /// What did not fail for so long is forgotten when there is no room.
    pub forget_after: Duration,
}

#[derive(Debug)]
struct Troubled {
    breaker: Breaker,
    last: Instant,
}

/// What a failure came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Failure {
    /// The name rests: it is not the fault of what was being done.
    pub rests: bool,
    /// The rest began with this failure.
    pub began: bool,
}

impl Breakers {
    /// Closed ones, for every name.
    #[must_use]
    pub fn new(rules: Rules, bounds: Bounds) -> Self {
        Self {
            rules,
            bounds,
            troubled: Arc::default(),
        }
    }

    /// As [`Breaker::look`].
    ///
    /// # Errors
    /// When to come again.
    pub fn look(&self, name: &str, now: Instant) -> Result<(), Duration> {
        let troubled = self.troubled.lock().unwrap_or_else(PoisonError::into_inner);
        troubled.get(name).map_or(Ok(()), |known| known.breaker.look(now))
    }

    /// As [`Breaker::ask`].
    ///
    /// # Errors
    /// When to come again.
    pub fn ask(&self, name: &str, now: Instant, attempt: Duration) -> Result<(), Duration> {
        let mut troubled = self.troubled.lock().unwrap_or_else(PoisonError::into_inner);
        troubled
            .get_mut(name)
            .map_or(Ok(()), |known| known.breaker.ask(now, attempt))
    }

    /// It answered.
    pub fn answered(&self, name: &str) {
        let mut troubled = self.troubled.lock().unwrap_or_else(PoisonError::into_inner);
        troubled.remove(name);
    }

    /// It could not be reached; as [`Breaker::failed`].
    pub fn failed(&self, name: &str, now: Instant, chance: f64) -> Failure {
        let Bounds { most, forget_after } = self.bounds;
        let mut troubled = self.troubled.lock().unwrap_or_else(PoisonError::into_inner);
        if troubled.len() >= most && !troubled.contains_key(name) {
            troubled.retain(|_, known| now.saturating_duration_since(known.last) < forget_after);
            if troubled.len() >= most {
                return Failure {
                    rests: false,
                    began: false,
                };
            }
        }
        let known = troubled.entry(name.to_owned()).or_insert_with(|| Troubled {
            breaker: Breaker::new(self.rules),
            last: now,
        });
        known.last = now;
        let began = known.breaker.failed(now, chance);
        Failure {
            rests: known.breaker.state() != State::Closed,
            began,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ATTEMPT: Duration = Duration::from_secs(10);
    const FIRST: Duration = Duration::from_secs(1);
    const LONGEST: Duration = Duration::from_secs(30);
    const RULES: Rules = Rules {
        patience: 3,
        first_rest: FIRST,
        longest_rest: LONGEST,
    };

    /// One that has just opened.
    fn open(now: Instant) -> Breaker {
        let mut breaker = Breaker::new(RULES);
        assert!(!breaker.failed(now, 0.0) && !breaker.failed(now, 0.0));
        assert_eq!(breaker.ask(now, ATTEMPT), Ok(()));
        assert!(breaker.failed(now, 0.0));
        breaker
    }

    #[test]
    fn failures_in_a_row_open_it_and_an_answer_in_between_does_not_let_them() {
        let now = Instant::now();
        let mut breaker = Breaker::new(RULES);
        for _ in 0..10 {
            assert!(!breaker.failed(now, 0.0) && !breaker.failed(now, 0.0));
            breaker.answered();
        }
        assert_eq!(breaker.state(), State::Closed);
        assert_eq!(open(now).ask(now, ATTEMPT), Err(FIRST));
    }

    #[test]
    fn after_a_rest_one_tries_and_everybody_else_waits_for_it() {
        let now = Instant::now();
        let mut breaker = open(now);
        let later = now + FIRST;
        assert_eq!(breaker.look(later), Ok(()));
        assert_eq!(breaker.state(), State::Open, "to look is not to ask");
        assert_eq!(breaker.ask(later, ATTEMPT), Ok(()));
        assert_eq!(breaker.state(), State::HalfOpen);
        // They come again soon, and not only when the attempt would be over: it may answer at any moment.
        assert_eq!(breaker.look(later), Err(FIRST));
        assert_eq!(breaker.ask(later, ATTEMPT), Err(FIRST));
        let almost = later + ATTEMPT - FIRST / 2;
        assert_eq!(breaker.ask(almost, ATTEMPT), Err(FIRST / 2));
        // What was tried in vain is asked for more seldom.
        let mut again = breaker;
        assert!(again.failed(later, 0.0));
        assert_eq!(again.ask(later + 2 * FIRST, ATTEMPT), Ok(()));
        assert_eq!(again.look(later + 2 * FIRST), Err(2 * FIRST));
        assert_eq!(
            breaker.ask(later + ATTEMPT, ATTEMPT),
            Ok(()),
            "the probe was never heard of again"
        );
        breaker.answered();
        assert_eq!(breaker.ask(later, ATTEMPT), Ok(()));
        assert_eq!(breaker.state(), State::Closed);
    }

    #[test]
    fn rests_double_with_probes_only_and_are_bounded() {
        let mut now = Instant::now();
        let mut breaker = open(now);
        for _ in 0..100 {
            assert!(!breaker.failed(now, 0.0), "many were under way when it opened");
        }
        let mut rests = Vec::new();
        for _ in 0..8 {
            let rest = breaker.look(now).unwrap_err();
            rests.push(rest.as_secs());
            now += rest;
            breaker.ask(now, ATTEMPT).unwrap();
            assert!(breaker.failed(now, 0.0));
        }
        assert_eq!(rests, [1, 2, 4, 8, 16, 30, 30, 30]);
        breaker.answered();
        assert_eq!(open(now).look(now), Err(FIRST), "and begin anew after an answer");
    }

    #[test]
    fn jitter_only_lengthens() {
        let now = Instant::now();
        let mut breaker = open(now);
        breaker.ask(now + FIRST, ATTEMPT).unwrap();
        breaker.failed(now, 1.0);
        assert_eq!(breaker.look(now), Err(Duration::from_millis(2_400)));
    }

    #[test]
    fn what_nobody_knows_neither_opens_nor_closes() {
        let now = Instant::now();
        let mut breaker = Breaker::new(RULES);
        for _ in 0..10 {
            assert!(!breaker.unsure(now, 0.0));
        }
        assert_eq!(breaker.state(), State::Closed);
        let mut breaker = open(now);
        assert!(!breaker.unsure(now, 0.0));
        breaker.ask(now + FIRST, ATTEMPT).unwrap();
        assert!(breaker.unsure(now, 0.0));
        assert_eq!(breaker.look(now), Err(2 * FIRST));
    }

    #[test]
    fn names_have_breakers_of_their_own_and_there_is_a_bound() {
        let bounds = Bounds {
            most: 4,
            forget_after: Duration::from_secs(600),
        };
        let (breakers, now) = (Breakers::new(RULES, bounds), Instant::now());
        for n in 1..=3 {
            let failure = breakers.failed("a", now, 0.0);
            assert_eq!((failure.rests, failure.began), (n == 3, n == 3));
        }
        assert!(breakers.failed("a", now, 0.0).rests);
        assert_eq!(breakers.ask("a", now, ATTEMPT), Err(FIRST));
        assert_eq!(breakers.ask("b", now, ATTEMPT), Ok(()));
        for n in 0..10 {
            breakers.failed(&n.to_string(), now, 0.0);
        }
        assert_eq!(breakers.troubled.lock().unwrap().len(), 4);
        breakers.failed("new", now + Duration::from_secs(600), 0.0);
        assert_eq!(breakers.troubled.lock().unwrap().len(), 1);
        breakers.answered("new");
        assert_eq!(breakers.troubled.lock().unwrap().len(), 0);
    }
}
