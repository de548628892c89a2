//! What Meta's errors mean (Cloud API contract 3.6): one table for answers and for reports that come later.
//!
//! The code speaks first. Meta's own page and everybody else's disagree about HTTP statuses, so a status is looked at
//! only where no code can be read or nobody has written the code down.

use super::graph_error::GraphError;
use crate::port::RateScope;

/// What an error asks of whoever sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ErrorClass {
    /// The token is not taken: nothing helps but another one.
    Auth,
    /// The token is known and may not do this.
    Permission,
    /// Too fast; certainly not sent.
    Rate(RateScope),
    /// Too fast for this one person; certainly not sent.
    Pair,
    /// The number is taken for a spammer: nothing is repeated by itself, and the number should rest.
    Spam,
    /// A bad moment. Nobody knows whether it was sent.
    Transient {
        /// Often the request's own fault: one or two repetitions, then never.
        limited: bool,
    },
    /// The person wrote too long ago: only a template goes out.
    Window,
    /// Never, as it is.
    Permanent,
    /// Never, and the account has a problem.
    Policy,
}

use ErrorClass::{Auth, Pair, Permanent, Permission, Policy, Rate, Spam, Transient, Window};

const BRIEF: ErrorClass = Transient { limited: false };
const LIMITED: ErrorClass = Transient { limited: true };

/// First and last code, and what they mean.
const CODES: &[(i64, i64, ErrorClass)] = &[
    (0, 0, Auth),
    (1, 1, LIMITED),
    (2, 2, BRIEF),
    (3, 3, Permission),
    (4, 4, Rate(RateScope::App)),
    (10, 10, Permission),
    (33, 33, Permanent),
    (100, 100, Permanent),
    (190, 190, Auth),
    (200, 299, Permission),
    (368, 368, Policy),
    (80_007, 80_008, Rate(RateScope::Business)),
    (130_403, 130_403, Permanent),
    (130_429, 130_429, Rate(RateScope::Number)),
    (130_472, 130_472, Permanent),
    (130_497, 130_497, Policy),
    (131_000, 131_000, LIMITED),
    (131_005, 131_005, Permission),
    (131_008, 131_009, Permanent),
    (131_016, 131_016, BRIEF),
    (131_021, 131_021, Permanent),
    (131_026, 131_026, Permanent),
    (131_030, 131_030, Permanent),
    (131_031, 131_031, Policy),
    (131_037, 131_037, Policy),
    (131_042, 131_042, Policy),
    (131_045, 131_045, Policy),
    (131_047, 131_047, Window),
    (131_048, 131_048, Spam),
    (131_049, 131_053, Permanent),
    (131_055, 131_055, Permanent),
    (131_056, 131_056, Pair),
    (131_057, 131_057, BRIEF),
    (131_059, 131_060, Permanent),
    (131_062, 131_063, Permanent),
    (131_064, 131_064, Spam),
    (132_000, 132_001, Permanent),
    (132_005, 132_005, Permanent),
    (132_007, 132_007, Policy),
    (132_012, 132_012, Permanent),
    (132_015, 132_016, Permanent),
    (132_018, 132_018, Permanent),
    (132_068, 132_068, Permanent),
    (132_069, 132_069, Rate(RateScope::Flow)),
    (133_000, 133_000, BRIEF),
    (133_004, 133_004, BRIEF),
    (133_005, 133_006, Permanent),
    (133_008, 133_010, Permanent),
    (133_015, 133_015, Permanent),
    (133_016, 133_016, Rate(RateScope::Registration)),
    (134_011, 134_011, Policy),
    (134_100, 134_100, Permanent),
    (134_101, 134_101, BRIEF),
    (134_102, 134_102, Permanent),
    (135_000, 135_000, LIMITED),
    (2_388_000, 2_388_999, Permanent),
    (2_494_100, 2_494_100, BRIEF),
    (2_593_107, 2_593_108, Permanent),
];

impl ErrorClass {
    /// The class of an error: by its code, else by the status it came with. `None` for a status: it came in a webhook.
    #[must_use]
    pub fn of(code: Option<i64>, status: Option<u16>) -> Self {
        Self::known(code).unwrap_or(match status {
            Some(500..=599) => BRIEF,
            Some(429) => Rate(RateScope::Number),
            Some(401) => Auth,
            _ => Permanent,
        })
    }

    fn known(code: Option<i64>) -> Option<Self> {
        let code = code?;
        CODES
            .iter()
            .find(|(first, last, _)| (*first..=*last).contains(&code))
            .map(|(_, _, class)| *class)
    }

    /// The stable code, for events and metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Auth => "auth",
            Permission => "permission",
            Rate(_) => "rate",
            Pair => "pair",
            Spam => "spam",
            Transient { .. } => "transient",
            Window => "window",
            Permanent => "permanent",
            Policy => "policy",
        }
    }
}

impl GraphError {
    /// What it means for the message it is about. In webhooks no error has the code 0: there it stands for none.
    #[must_use]
    pub fn class(&self) -> ErrorClass {
        ErrorClass::of((self.code != 0).then_some(self.code), None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The contract's table, row by row.
    const ROWS: &[(&[i64], ErrorClass)] = &[
        (&[0, 190], Auth),
        (&[3, 10, 200, 230, 299, 131_005], Permission),
        (&[4], Rate(RateScope::App)),
        (&[80_007, 80_008], Rate(RateScope::Business)),
        (&[130_429], Rate(RateScope::Number)),
        (&[131_056], Pair),
        (&[133_016], Rate(RateScope::Registration)),
        (&[132_069], Rate(RateScope::Flow)),
        (&[131_048, 131_064], Spam),
        (&[1, 131_000, 135_000], LIMITED),
        (
            &[2, 131_016, 131_057, 133_004, 133_000, 2_494_100, 134_101],
            BRIEF,
        ),
        (&[131_047], Window),
        (
            &[
                131_026, 131_021, 131_030, 131_049, 131_050, 130_472, 130_403, 131_062, 131_063, 131_008,
                131_009, 33, 100, 131_051, 131_052, 131_053, 131_055, 131_059, 131_060, 132_000, 132_001,
                132_005, 132_012, 132_015, 132_016, 132_018, 132_068, 133_005, 133_006, 133_008, 133_009,
                133_010, 133_015, 134_100, 134_102, 2_388_000, 2_388_019, 2_388_999, 2_593_107, 2_593_108,
            ],
            Permanent,
        ),
        (
            &[131_037, 131_042, 131_045, 368, 130_497, 131_031, 132_007, 134_011],
            Policy,
        ),
    ];

    #[test]
    fn every_code_of_the_contract_has_its_class_whatever_the_status() {
        for (codes, class) in ROWS {
            for code in *codes {
                for status in [None, Some(400), Some(401), Some(403), Some(429), Some(500)] {
                    assert_eq!(ErrorClass::of(Some(*code), status), *class, "{code} {status:?}");
                }
            }
        }
    }

    #[test]
    fn no_code_has_two_classes() {
        for pair in CODES.windows(2) {
            assert!(
                pair[0].0 <= pair[0].1 && pair[0].1 < pair[1].0,
                "the table is out of order at {}",
                pair[1].0
            );
        }
    }

    #[test]
    fn without_a_known_code_the_status_speaks() {
        for code in [None, Some(5), Some(131_999), Some(-1)] {
            assert_eq!(ErrorClass::of(code, Some(503)), BRIEF);
            assert_eq!(ErrorClass::of(code, Some(429)), Rate(RateScope::Number));
            assert_eq!(ErrorClass::of(code, Some(401)), Auth);
            assert_eq!(ErrorClass::of(code, Some(404)), Permanent);
            assert_eq!(ErrorClass::of(code, None), Permanent);
        }
    }
}
