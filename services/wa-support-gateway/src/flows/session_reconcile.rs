//! Keeping our sessions and the WA server's users in step (W-12): what was begun is finished or taken back, what the
//! server lost is made again under its old token, and users of ours that we know nothing of are reported.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use secrecy::SecretString;
use serde::Serialize;
use tenant_isolation::{PlatformScope, PlatformTransaction, TenantScope};
use uuid::Uuid;
use whatsapp::genfity::{EventList, WaUser};

use super::session_off::TakenOff;
use super::session_webhook::{SessionWebhook, wa_webhook};
use super::session_work::{Which, Work};
use super::sessions::{OpenSession, Sessions};
use crate::error::Error;
use crate::secrets;
use crate::store::session_sweep::{self, Ours, Swept};
use crate::store::{audit, session_switches, sessions};

/// What is taken on at once, and how often one pass does that at most.
const BATCH: i64 = 50;
const BATCHES: usize = 20;

/// Sessions that are looked at together.
const PAGE: i64 = 500;

/// Sessions that one comparison mends at most; the next one goes on.
const MENDED: usize = 500;

/// Users of the WA server that are listed by name in a report.
const NAMED: usize = 100;

/// What is done about what is found.
#[derive(Debug, Clone, Copy, Default)]
pub struct Repair {
    /// Make what is missing and tell what is forgotten.
    pub mend: bool,
    /// Remove users of the WA server that have a token of our making and no session here.
    pub remove_orphans: bool,
}

/// What was found, and what came of it.
#[derive(Debug, Default, Serialize)]
pub struct Report {
    /// Sessions of ours that were looked at.
    pub sessions: usize,
    /// Users of the WA server.
    pub users: usize,
    /// Sessions that the WA server did not have.
    pub missing: Vec<Found>,
    /// Sessions that it had otherwise: under another id or name, or with other webhooks.
    pub drifted: Vec<Found>,
    /// Its users with a token of our making that we know nothing of.
    pub orphans: Vec<Found>,
    /// How many of the missing and the drifted were mended.
    pub mended: usize,
    /// How many orphans were removed.
    pub removed: usize,
    /// How many of either failed.
    pub failed: usize,
}

/// One of them, without anything secret.
#[derive(Debug, Clone, Serialize)]
pub struct Found {
    /// The customer, where there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub customer: Option<String>,
    /// The WA server's id, where it has one.
    pub session_id: String,
    /// What it is called.
    pub session_name: String,
}

impl Sessions {
    /// Finishes what was left behind for so long. Gives up for now when the WA server does not answer.
    ///
    /// # Errors
    /// [`Error::Database`].
    pub(crate) async fn sweep(&self, left_behind: Duration) -> Result<(), Error> {
        let mut tx = platform(self, "sweep sessions").await?;
        let unfinished = session_sweep::unfinished(&mut tx, left_behind, BATCH).await?;
        tx.commit().await?;
        for swept in unfinished {
            let done = self.finish(&swept).await;
            if !self.note_swept(&swept, "finish", done).await? {
                return Ok(());
            }
        }
        for _ in 0..BATCHES {
            let mut tx = platform(self, "sweep session upkeep").await?;
            let due = session_sweep::upkeep_due(&mut tx, left_behind, BATCH).await?;
            tx.commit().await?;
            let last = due.len() < usize::try_from(BATCH).unwrap_or_default();
            for swept in due {
                let done = self.keep(&swept.scope, swept.id, false).await.map(drop);
                if !self.note_swept(&swept, "keep", done).await? {
                    return Ok(());
                }
            }
            if last {
                break;
            }
        }
        self.sweep_connects(left_behind).await
    }

    async fn sweep_connects(&self, left_behind: Duration) -> Result<(), Error> {
        let go_on = self.sweep_offs().await?;
        // After a last try, and also when the WA server is away.
        self.give_up_taking_off().await?;
        self.give_up_connecting().await?;
        if !go_on {
            return Ok(());
        }
        let mut tx = platform(self, "sweep sessions to connect").await?;
        let due = session_sweep::connect_due(&mut tx, left_behind, BATCH).await?;
        tx.commit().await?;
        for swept in due {
            let done = self.keep(&swept.scope, swept.id, true).await.map(drop);
            if !self.note_swept(&swept, "connect", done).await? {
                return Ok(());
            }
        }
        Ok(())
    }

    /// False: there is no sense in going on now.
    async fn sweep_offs(&self) -> Result<bool, Error> {
        let mut tx = platform(self, "sweep sessions to take off").await?;
        let due = session_switches::take_due(&mut tx, BATCH).await?;
        tx.commit().await?;
        for swept in due {
            match self.take_off(&swept.scope, swept.id).await {
                // Both are due again later.
                Ok(TakenOff::NotYet) | Err(Error::SessionBusy) => {}
                done => {
                    if !self.note_swept(&swept, "take off", done.map(drop)).await? {
                        return Ok(false);
                    }
                }
            }
        }
        Ok(true)
    }

    async fn finish(&self, swept: &Swept) -> Result<(), Error> {
        // Each looks at the phase again once nobody else is at it.
        self.abandon(&swept.scope, swept.id).await?;
        match self.finish_removal(&swept.scope, swept.id).await {
            Err(Error::SessionNotFound) => Ok(()),
            done => done,
        }
    }

    /// False: there is no sense in going on now.
    async fn note_swept(
        &self,
        swept: &Swept,
        work: &'static str,
        done: Result<(), Error>,
    ) -> Result<bool, Error> {
        let outcome = if done.is_ok() { "done" } else { "failed" };
        metrics::counter!("kanal_sessions_swept_total", "work" => work, "outcome" => outcome).increment(1);
        match done {
            Ok(()) => {
                tracing::info!(session = %swept.id, tenant = %swept.scope.tenant(), work, "a session that was left behind is in order");
                Ok(true)
            }
            Err(Error::SessionBusy | Error::SessionNotFound) => Ok(true),
            Err(error) => {
                tracing::warn!(error = %error, session = %swept.id, tenant = %swept.scope.tenant(), work, "a session stays left behind");
                let mut tx = platform(self, "put session off").await?;
                session_sweep::put_off(&mut tx, swept.id).await?;
                tx.commit().await?;
                Ok(match &error {
                    // It answers, if only to refuse this one.
                    Error::Upstream(refusal) => refusal.status().is_some(),
                    _ => true,
                })
            }
        }
    }

    /// Compares our sessions that have been there for so long with the WA server's users.
    ///
    /// # Errors
    /// [`Error::Upstream`] when the WA server does not list its users, [`Error::Database`].
    pub async fn reconcile(&self, ready_for: Duration, repair: Repair) -> Result<Report, Error> {
        let begun = Instant::now();
        let users = self.wa.admin.users().await?;
        let mut listed: HashMap<String, Vec<&WaUser>> = HashMap::new();
        for user in users.iter().filter(|user| secrets::is_ours(&user.token)) {
            listed
                .entry(secrets::token_hash(&user.token))
                .or_default()
                .push(user);
        }
        let mut report = Report {
            users: users.len(),
            ..Report::default()
        };
        let mut doubles = Vec::new();
        let mut after = (String::new(), Uuid::nil());
        loop {
            let mut tx = platform(self, "compare sessions").await?;
            // A session that was made after the list cannot stand in it, however long the comparison takes.
            let ready_for = ready_for + begun.elapsed();
            let page = session_sweep::page(&mut tx, (&after.0, after.1), Some(ready_for), PAGE).await?;
            let page: Vec<(TenantScope, Ours)> = page
                .into_iter()
                .map(|ours| Ok((ours.scope(&tx)?, ours)))
                .collect::<Result<_, Error>>()?;
            tx.commit().await?;
            let Some((_, last)) = page.last() else {
                break;
            };
            after = (last.tenant_id.clone(), last.id);
            for (scope, ours) in page {
                report.sessions += 1;
                let theirs = listed
                    .get(&ours.token_hash)
                    .map(Vec::as_slice)
                    .unwrap_or_default();
                let same = theirs
                    .iter()
                    .find(|user| Some(user.id.as_str()) == ours.session_id.as_deref())
                    .or_else(|| theirs.first())
                    .copied();
                doubles.extend(
                    theirs
                        .iter()
                        .copied()
                        .filter(|user| same.is_some_and(|same| same.id != user.id)),
                );
                self.compare(&scope, &ours, same, repair, &mut report).await;
            }
        }
        self.look_for_orphans(&listed, doubles, repair, &mut report)
            .await?;
        metrics::gauge!("kanal_wa_orphan_users").set(u32::try_from(report.orphans.len()).unwrap_or(u32::MAX));
        Ok(report)
    }

    async fn compare(
        &self,
        scope: &TenantScope,
        ours: &Ours,
        theirs: Option<&WaUser>,
        repair: Repair,
        report: &mut Report,
    ) {
        let found = Found {
            customer: Some(ours.tenant_id.clone()),
            session_id: ours.session_id.clone().unwrap_or_default(),
            session_name: ours.session_name.clone(),
        };
        let right = theirs.is_some_and(|user| self.is_as_it_should(ours, user));
        if right {
            return;
        }
        let (kind, list) = match theirs {
            None => ("missing", &mut report.missing),
            Some(_) => ("drifted", &mut report.drifted),
        };
        list.push(found);
        tracing::warn!(session = %ours.id, tenant = %ours.tenant_id, kind, "a session and the WA server are not in step");
        if !repair.mend || report.mended + report.failed >= MENDED {
            return;
        }
        let mended = match theirs {
            None => self.remake(scope, ours.id).await,
            Some(user) => self.straighten(scope, ours, user).await,
        };
        let outcome = if mended.is_ok() { "done" } else { "failed" };
        metrics::counter!("kanal_sessions_mended_total", "kind" => kind, "outcome" => outcome).increment(1);
        match mended {
            Ok(()) => report.mended += 1,
            // Somebody is at it, or removed it meanwhile.
            Err(Error::SessionBusy | Error::SessionNotFound) => {}
            Err(error) => {
                tracing::warn!(error = %error, session = %ours.id, tenant = %ours.tenant_id, kind, "a session could not be mended");
                report.failed += 1;
            }
        }
    }

    fn is_as_it_should(&self, ours: &Ours, user: &WaUser) -> bool {
        let events = EventList::parse(&ours.events).unwrap_or_else(|_| EventList::all());
        // Only address and events are compared; nobody shows keys.
        let no_key = SecretString::default();
        let wanted = wa_webhook(
            &self.relay,
            &SessionWebhook {
                session: ours.id,
                webhook_url: ours.webhook_url.as_deref(),
                events: &events,
                auto_read: ours.auto_read_enabled,
                hmac_key: &no_key,
                customer_hmac_key: None,
            },
        );
        // A disconnect empties the list of events, and the next connect fills it.
        let hears = !user.connected || wanted.events.same_as(user.events.split(','));
        ours.session_id.as_deref() == Some(user.id.as_str())
            && user.name == ours.session_name
            && user.webhook == wanted.url.unwrap_or_default()
            && hears
    }

    /// Makes a session anew that the WA server lost: under the token its customer has.
    async fn remake(&self, scope: &TenantScope, id: Uuid) -> Result<(), Error> {
        let (work, session) = self.begin_work(scope, Which::Id(id)).await?;
        if session.row.phase != sessions::READY {
            self.end_work(&work).await;
            return Ok(());
        }
        let made = async {
            let session_id = self.make_user(&session).await?;
            let mut tx = self.still_ours(&work, "note session id").await?;
            if session.row.session_id.as_deref() != Some(session_id.as_str()) {
                sessions::set_made(&mut tx, id, &session_id).await?;
            }
            sessions::set_upkeep_due(&mut tx, id).await?;
            self.commit_and_end(tx, &work).await
        };
        let made = made.await;
        self.ended_if_failed(&work, made).await?;
        self.keep(scope, id, false).await.map(drop)
    }

    /// Tells the WA server what the row says: the one that is read now, while nobody else works on the session. What was
    /// compared is older, and somebody may have changed the session since.
    async fn straighten(&self, scope: &TenantScope, ours: &Ours, user: &WaUser) -> Result<(), Error> {
        let (work, session) = self.begin_work(scope, Which::Id(ours.id)).await?;
        let straightened = self.straighten_now(&work, session, ours, user).await;
        self.ended_if_failed(&work, straightened).await
    }

    async fn straighten_now(
        &self,
        work: &Work,
        mut session: OpenSession,
        ours: &Ours,
        user: &WaUser,
    ) -> Result<(), Error> {
        let row = &session.row;
        if row.phase != sessions::READY || row.session_id != ours.session_id {
            // On its way out, or made anew under an id that is newer than the list of users.
            return Err(Error::SessionNotFound);
        }
        let known = session.row.session_id.as_deref() == Some(user.id.as_str());
        if !known || user.name != session.row.session_name {
            let mut tx = self.still_ours(work, "note what drifted").await?;
            if !known {
                sessions::set_made(&mut tx, work.session, &user.id).await?;
            }
            sessions::set_record_due(&mut tx, work.session, true, session.row.history_due).await?;
            let row = sessions::find(&mut tx, work.session).await?;
            tx.commit().await?;
            session.row = row.ok_or(Error::SessionNotFound)?;
        }
        self.keep_now(work, &session, false).await.map(drop)
    }

    async fn look_for_orphans(
        &self,
        listed: &HashMap<String, Vec<&WaUser>>,
        doubles: Vec<&WaUser>,
        repair: Repair,
        report: &mut Report,
    ) -> Result<(), Error> {
        let mut orphans = doubles;
        let hashes: Vec<String> = listed.keys().cloned().collect();
        for chunk in hashes.chunks(usize::try_from(PAGE).unwrap_or(1)) {
            let mut tx = platform(self, "look for orphans").await?;
            let known = session_sweep::known_tokens(&mut tx, chunk).await?;
            tx.commit().await?;
            let unknown = chunk.iter().filter(|hash| !known.contains(hash));
            orphans.extend(unknown.flat_map(|hash| listed.get(hash).into_iter().flatten().copied()));
        }
        for user in orphans {
            let found = Found {
                customer: None,
                session_id: user.id.clone(),
                session_name: user.name.clone(),
            };
            if report.orphans.len() < NAMED {
                tracing::warn!(session_id = %found.session_id, name = %found.session_name, "the WA server has a user with a token of ours that no session has");
            }
            report.orphans.push(found);
            if !repair.remove_orphans {
                continue;
            }
            // Before it goes, so that none goes unnoted.
            let mut tx = platform(self, "note removal of an orphan").await?;
            let actor = audit::Actor {
                name: self.actor.name(),
                source: None,
            };
            let act = actor.act("orphan.remove", Some(user.id.clone()));
            audit::note_platform(&mut tx, &act.saying(user.name.as_str())).await?;
            tx.commit().await?;
            match self.wa.admin.delete_user(&user.id).await {
                Ok(_) => report.removed += 1,
                Err(error) => {
                    tracing::warn!(error = %error, session_id = %user.id, "an orphan could not be removed");
                    report.failed += 1;
                }
            }
        }
        Ok(())
    }

    /// Every session of every customer, or of one, for operators.
    ///
    /// # Errors
    /// [`Error::Database`].
    pub async fn overview(
        &self,
        customer: Option<&str>,
        mut each: impl FnMut(Overview),
    ) -> Result<(), Error> {
        let mut after = (String::new(), Uuid::nil());
        loop {
            let mut tx = platform(self, "list all sessions").await?;
            let page = session_sweep::page(&mut tx, (&after.0, after.1), None, PAGE).await?;
            tx.commit().await?;
            let Some(last) = page.last() else {
                return Ok(());
            };
            after = (last.tenant_id.clone(), last.id);
            let wanted = |ours: &Ours| customer.is_none_or(|customer| customer == ours.tenant_id);
            for ours in page.into_iter().filter(wanted) {
                each(Overview {
                    customer: ours.tenant_id,
                    session_id: ours.session_id,
                    session_name: ours.session_name,
                    phase: ours.phase,
                    status: ours.status,
                    webhook_url: ours.webhook_url,
                });
            }
        }
    }
}

/// A session for an operator's eyes.
#[derive(Debug, Serialize)]
pub struct Overview {
    /// Whose it is.
    pub customer: String,
    /// The WA server's id.
    pub session_id: Option<String>,
    /// What it is called.
    pub session_name: String,
    /// `creating`, `ready` or `removing`.
    pub phase: String,
    /// Where it stands.
    pub status: String,
    /// Where its events go.
    pub webhook_url: Option<String>,
}

pub(super) async fn platform(
    sessions: &Sessions,
    purpose: &'static str,
) -> Result<PlatformTransaction, Error> {
    Ok(PlatformTransaction::begin(&sessions.db, PlatformScope::for_purpose(purpose)).await?)
}
