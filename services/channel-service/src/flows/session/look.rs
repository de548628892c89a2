//! What somebody sees who watches a device being paired. However many watch, the provider is asked once a second at most.

use domain::endpoint::Provider;
use domain::ids::AccountId;
use tenant_isolation::TenantScope;

use super::{QrView, SessionError, Sessions, StatusView, Which, status_key};

/// After how many looks in a row without an answer somebody who watches is told so.
const TROUBLES: u32 = 10;
/// After how many looks in a row a session that shows nothing is taken for one that does not run: one that was just
/// connected needs a moment.
const ABSENCES: u32 = 5;

/// What there is to see.
#[derive(Clone, PartialEq, Eq)]
pub enum Sight {
    /// The first code is not there yet.
    Nothing,
    /// A code to scan: a data URL.
    Code(String),
    /// Somebody scanned it, or the device was paired before.
    LoggedIn,
    /// It runs nowhere: it was never connected, or the codes ran out.
    NotRunning,
    /// Nobody knows, for this reason.
    Trouble(String),
}

impl Sessions {
    /// Looks at a device that is being paired.
    ///
    /// # Errors
    /// [`SessionError`] about our own side, and when there is no such device.
    pub async fn sight(&self, scope: &TenantScope, id: AccountId) -> Result<Sight, SessionError> {
        let row = self.of(scope, Which::Device(id)).await?;
        // A code of these is held for a while, during which only this tells that it was scanned.
        if row.provider.parse() == Ok(Provider::Gowa) && self.is_logged_in(scope, id).await? {
            return Ok(Sight::LoggedIn);
        }
        Ok(match self.qr(scope, Which::Device(id)).await? {
            QrView::Code(code) if code.is_empty() => Sight::Nothing,
            QrView::Code(code) => Sight::Code(code),
            QrView::AlreadyLoggedIn => {
                // What was said of it before that is out of date.
                self.statuses.forget(&status_key(scope, id)).await;
                Sight::LoggedIn
            }
            QrView::NoSession => Sight::NotRunning,
            QrView::Failed { code, .. } => Sight::Trouble(code),
        })
    }

    async fn is_logged_in(&self, scope: &TenantScope, id: AccountId) -> Result<bool, SessionError> {
        let status = self.status(scope, Which::Device(id)).await?;
        Ok(matches!(
            status,
            Some((_, StatusView::Known { logged_in: true, .. }))
        ))
    }
}

/// What somebody who watches a device being paired has seen so far.
#[derive(Default)]
pub struct Seen {
    code: Option<String>,
    troubles: u32,
    absences: u32,
}

/// What is new in a sight. All but the first two are the end of it.
#[derive(PartialEq, Eq)]
pub enum News {
    /// Nothing.
    None,
    /// Another code.
    Code(String),
    /// Somebody scanned a code.
    LoggedIn,
    /// The codes ran out.
    RanOut,
    /// It does not run, and did not while somebody looked.
    NotRunning,
    /// Nobody knows how it goes on, for this reason.
    Trouble(String),
}

impl Seen {
    /// What is new in this one.
    pub fn news(&mut self, sight: Sight) -> News {
        match sight {
            Sight::LoggedIn => return News::LoggedIn,
            Sight::Nothing => self.absences = 0,
            Sight::Code(code) => {
                (self.troubles, self.absences) = (0, 0);
                if self.code.as_ref() == Some(&code) {
                    return News::None;
                }
                self.code = Some(code.clone());
                return News::Code(code);
            }
            Sight::NotRunning => {
                self.absences += 1;
                if self.code.is_some() {
                    return News::RanOut;
                }
                if self.absences >= ABSENCES {
                    return News::NotRunning;
                }
            }
            Sight::Trouble(code) => {
                self.troubles += 1;
                if self.troubles >= TROUBLES {
                    return News::Trouble(code);
                }
                return News::None;
            }
        }
        self.troubles = 0;
        News::None
    }
}

impl std::fmt::Debug for News {
    /// Without the code: whoever scans it has the device.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::None => "None",
            Self::Code(_) => "Code",
            Self::LoggedIn => "LoggedIn",
            Self::RanOut => "RanOut",
            Self::NotRunning => "NotRunning",
            Self::Trouble(_) => "Trouble",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::{ABSENCES, News, Seen, Sight, TROUBLES};

    #[test]
    fn a_code_is_told_once_and_its_end_at_once() {
        let mut seen = Seen::default();
        assert_eq!(seen.news(Sight::Nothing), News::None);
        for code in ["a", "b"] {
            assert_eq!(
                seen.news(Sight::Code(code.to_owned())),
                News::Code(code.to_owned())
            );
            assert_eq!(seen.news(Sight::Code(code.to_owned())), News::None);
        }
        assert_eq!(seen.news(Sight::NotRunning), News::RanOut);
        assert_eq!(seen.news(Sight::LoggedIn), News::LoggedIn);
    }

    #[test]
    fn what_is_not_there_yet_gets_a_moment() {
        let mut seen = Seen::default();
        for _ in 1..ABSENCES {
            assert_eq!(seen.news(Sight::NotRunning), News::None);
        }
        assert_eq!(seen.news(Sight::NotRunning), News::NotRunning);
    }

    #[test]
    fn only_troubles_without_end_end_it() {
        let mut seen = Seen::default();
        let trouble = || Sight::Trouble("provider_unreachable".to_owned());
        for _ in 1..TROUBLES {
            assert_eq!(seen.news(trouble()), News::None);
        }
        assert_eq!(seen.news(Sight::Nothing), News::None);
        for _ in 1..TROUBLES {
            assert_eq!(seen.news(trouble()), News::None);
        }
        let end = News::Trouble("provider_unreachable".to_owned());
        assert_eq!(seen.news(trouble()), end);
    }
}
