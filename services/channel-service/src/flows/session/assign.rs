//! A tenant is given an endpoint, and moves there with everything it has.
//!
//! One transaction under the tenant's right to work on its sessions: the assignment, the accounts, the outside ids that led
//! to them, and every message that was on its way. Such messages are put aside for people and never sent by themselves
//! through the new endpoint. Whoever has one in hand finds its lane gone and writes nothing; that the message may be out is
//! noted as an attempt, so that nobody sends it a second time elsewhere, not even by hand.
//!
//! The sessions that stay behind are written down in the same transaction and unlinked after it (`unlink`): an endpoint that is
//! away is a reason to leave it, and what could not be unlinked then is tried again.

use std::collections::HashSet;
use std::time::Duration;

use chrono::Utc;
use database::DatabaseError;
use domain::delivery::DeliveryStatus;
use domain::endpoint::{EndpointName, Provider};
use domain::ids::AccountId;
use domain::tenant_config::{SettingsChange, TenantSettings};
use messaging::lanes;
use tenant_isolation::{TenantScope, TenantTransaction};
use uuid::Uuid;

use super::work::Work;
use super::{SessionError, Sessions, Which};
use crate::flows::announce_status::announce_put_aside;
use crate::flows::tenant::Actor;
use crate::store::session;
use crate::store::tenant_move::{self, Binding, InFlight, OnItsWay};
use crate::store::{
    account, audit, channel_account, session_intent, support_customer, tenant, tenant_config,
};

/// Why messages were put aside, in their rows and events.
pub const ENDPOINT_CHANGED: &str = "endpoint_changed";

/// Most messages that one move puts aside: they are held until its commit.
const MOST: i64 = 20_000;
/// How long the sessions that stay behind may take to be unlinked.
const UNLINKING: Duration = Duration::from_secs(20);
/// How often a move is begun anew when it met another transaction.
const TRIES: usize = 3;

/// Which endpoint a tenant is given, and how it is to be used.
#[derive(Debug, Clone)]
pub struct Assignment {
    /// Its name.
    pub endpoint: EndpointName,
    /// Which kind of API it is.
    pub provider: Provider,
    /// Settings that change; the others stay as they are.
    pub change: SettingsChange,
    /// Messages on their way through the old endpoint are put aside.
    pub force: bool,
}

/// What became of what a tenant had elsewhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize)]
pub struct Moved {
    /// Accounts that were bound elsewhere and had a session there.
    pub devices: usize,
    /// Messages that certainly did not go out.
    pub parked: usize,
    /// Messages of which nobody knows whether they went out.
    pub unknown: usize,
    /// Sessions that could not be unlinked where they were yet.
    pub left_behind: usize,
}

/// What a tenant would leave behind, or put aside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Foreseen {
    /// Sessions that would be unlinked, and have to be linked anew at the other endpoint.
    pub devices: i64,
    /// Messages that would be put aside.
    pub in_flight: InFlight,
}

/// Why a tenant is not given an endpoint, or keeps the one it has.
#[derive(Debug, thiserror::Error)]
pub enum AssignError {
    /// Nobody is registered under this id.
    #[error("there is no such tenant")]
    NoSuchTenant,
    /// Messages are on their way through the endpoint that it would leave.
    #[error("messages are in flight")]
    InFlight(InFlight),
    /// They are more than can be put aside at once.
    #[error("more messages are in flight than can be put aside at once")]
    TooMany(InFlight),
    /// It has sessions on the endpoint.
    #[error("the tenant has sessions on its endpoint")]
    HasSessions(i64),
    /// Something about its sessions.
    #[error(transparent)]
    Session(#[from] SessionError),
}

impl From<DatabaseError> for AssignError {
    fn from(error: DatabaseError) -> Self {
        Self::Session(error.into())
    }
}

/// What is to be done after the commit.
#[derive(Default)]
struct After {
    moved: Moved,
    accounts: Vec<AccountId>,
    names: Vec<(&'static str, String)>,
    /// Sessions that were left, as they are to be unlinked.
    left: Vec<Uuid>,
}

impl Sessions {
    /// Gives the tenant an endpoint. What it has elsewhere moves there.
    ///
    /// # Errors
    /// [`AssignError`]; nothing is changed then.
    pub async fn assign(
        &self,
        scope: &TenantScope,
        assignment: &Assignment,
        actor: &Actor,
    ) -> Result<Moved, AssignError> {
        // Before a lease is taken, which is a row too.
        self.look(scope, assignment).await?;
        let work = self.begin_work(scope).await?;
        let assigned = self.assign_under(&work, assignment, actor).await;
        work.end().await;
        assigned
    }

    /// What would move, before anybody decides.
    ///
    /// # Errors
    /// [`AssignError::NoSuchTenant`], or the database's.
    pub async fn foresee(
        &self,
        scope: &TenantScope,
        endpoint: &EndpointName,
        provider: Provider,
    ) -> Result<Foreseen, AssignError> {
        let to = Binding { endpoint, provider };
        let mut tx = TenantTransaction::begin(&self.db, scope, "foresee assignment").await?;
        tenant::find(&mut tx).await?.ok_or(AssignError::NoSuchTenant)?;
        let foreseen = Foreseen {
            devices: tenant_move::sessions_elsewhere(&mut tx, to).await?,
            in_flight: tenant_move::in_flight(&mut tx, to).await?,
        };
        tx.commit().await?;
        Ok(foreseen)
    }

    /// Takes the tenant's endpoint away. Its sessions stay where they are, and new ones are made where `usual` says.
    /// False when it was given none.
    ///
    /// # Errors
    /// [`AssignError::HasSessions`] while it has sessions on it that would be made elsewhere next time, unless forced.
    pub async fn unassign(
        &self,
        scope: &TenantScope,
        usual: Option<&EndpointName>,
        force: bool,
        actor: &Actor,
    ) -> Result<bool, AssignError> {
        self.must_be_there(scope).await?;
        let work = self.begin_work(scope).await?;
        let unassigned = self.unassign_under(&work, usual, force, actor).await;
        work.end().await;
        unassigned
    }

    async fn must_be_there(&self, scope: &TenantScope) -> Result<(), AssignError> {
        let mut tx = TenantTransaction::begin(&self.db, scope, "look for tenant").await?;
        let found = tenant::find(&mut tx).await?;
        tx.commit().await?;
        found.map(drop).ok_or(AssignError::NoSuchTenant)
    }

    /// Refuses what will be refused, before anything is done for it.
    async fn look(&self, scope: &TenantScope, assignment: &Assignment) -> Result<(), AssignError> {
        let mut tx = TenantTransaction::begin(&self.db, scope, "look at assignment").await?;
        tenant::find(&mut tx).await?.ok_or(AssignError::NoSuchTenant)?;
        let counts = tenant_move::in_flight(&mut tx, assignment.binding()).await?;
        tx.commit().await?;
        assignment.may_move(counts)
    }

    async fn unassign_under(
        &self,
        work: &Work<'_>,
        usual: Option<&EndpointName>,
        force: bool,
        actor: &Actor,
    ) -> Result<bool, AssignError> {
        let mut tx = work.transaction("unassign endpoint").await?;
        let Some(row) = tenant_config::find(&mut tx).await? else {
            return Ok(false);
        };
        let stays = usual.is_some_and(|usual| usual.as_str() == row.endpoint_name);
        if !force && !stays {
            let sessions = tenant_move::sessions_on(&mut tx, &row.endpoint_name).await?;
            if sessions > 0 {
                return Err(AssignError::HasSessions(sessions));
            }
        }
        tenant_config::delete(&mut tx).await?;
        support_customer::forget_unused(&mut tx, usual.map(EndpointName::as_str)).await?;
        let act = actor.act("endpoint.unassign", Some(row.endpoint_name.clone()));
        audit::note(&mut tx, &act).await?;
        tx.commit().await?;
        tracing::info!(tenant = %work.scope().tenant(), endpoint = row.endpoint_name, "a tenant's endpoint was taken away");
        Ok(true)
    }

    async fn assign_under(
        &self,
        work: &Work<'_>,
        assignment: &Assignment,
        actor: &Actor,
    ) -> Result<Moved, AssignError> {
        let half_made = self.leave_half_made(work, assignment, actor).await?;
        let mut tries = 1;
        let after = loop {
            match self.commit_assignment(work, assignment, actor).await {
                Err(AssignError::Session(SessionError::Database(DatabaseError::Contended)))
                    if tries < TRIES =>
                {
                    tries += 1;
                }
                outcome => break outcome?,
            }
        };
        for (kind, name) in &after.names {
            self.routes.forget(kind, name).await;
        }
        for account in &after.accounts {
            self.changed(work.scope(), *account).await;
        }
        let mut moved = after.moved;
        let until = tokio::time::Instant::now() + UNLINKING;
        moved.left_behind = half_made + self.unlink_at_once(work, &after.left, until, actor).await;
        tracing::info!(tenant = %work.scope().tenant(), endpoint = %assignment.endpoint, devices = moved.devices,
            parked = moved.parked, unknown = moved.unknown, left_behind = moved.left_behind,
            "a tenant was given an endpoint");
        Ok(moved)
    }

    /// Sessions that are being made elsewhere are taken back. Gives how many could not be.
    async fn leave_half_made(
        &self,
        work: &Work<'_>,
        assignment: &Assignment,
        actor: &Actor,
    ) -> Result<usize, AssignError> {
        let mut tx = work.transaction("look for session intent").await?;
        let moving = tenant_move::hold_bound_elsewhere(&mut tx, assignment.binding()).await?;
        let begun = session_intent::list(&mut tx).await?;
        tx.commit().await?;
        let mut left_behind = 0;
        for known in begun {
            let account = known.account();
            if !moving.contains(&account) {
                continue;
            }
            match self.abandon(work, Which::Device(account), actor).await {
                Ok(_) => {}
                Err(error @ (SessionError::Database(_) | SessionError::Busy)) => return Err(error.into()),
                Err(error) => {
                    tracing::warn!(tenant = %work.scope().tenant(), error = %crate::error::chain(&error),
                        "a session that was begun is left behind where it was begun");
                    let mut tx = work.transaction("leave session intent").await?;
                    let row = account::find(&mut tx, account).await?;
                    self.leave_begun(&mut tx, &known, &row, &error, actor).await?;
                    session_intent::delete(&mut tx, account).await?;
                    tx.commit().await?;
                    left_behind += 1;
                }
            }
        }
        Ok(left_behind)
    }

    async fn commit_assignment(
        &self,
        work: &Work<'_>,
        assignment: &Assignment,
        actor: &Actor,
    ) -> Result<After, AssignError> {
        let mut tx = work.transaction("assign endpoint").await?;
        tenant::find(&mut tx).await?.ok_or(AssignError::NoSuchTenant)?;
        let before = tenant_config::find(&mut tx).await?;
        let after = self.move_in(&mut tx, assignment).await?;
        let settings = before
            .as_ref()
            .map_or_else(TenantSettings::default, |row| row.settings());
        let settings = assignment.change.apply(settings);
        tenant_config::upsert(&mut tx, &assignment.endpoint, &settings).await?;
        let mut act = actor.act("endpoint.assign", Some(assignment.endpoint.to_string()));
        let Moved {
            devices,
            parked,
            unknown,
            ..
        } = after.moved;
        act.detail = Some(format!(
            "before: {}; devices {devices}, parked {parked}, unknown {unknown}{}",
            before.as_ref().map_or("none", |row| row.endpoint_name.as_str()),
            if assignment.force { ", forced" } else { "" },
        ));
        // What is needed for unlinking goes with the last session that is unlinked.
        support_customer::forget_unused(&mut tx, Some(assignment.endpoint.as_str())).await?;
        audit::note(&mut tx, &act).await?;
        tx.commit().await?;
        Ok(after)
    }

    /// Moves what the tenant has elsewhere: chats, messages, accounts and lanes are held in the order of everywhere.
    async fn move_in(
        &self,
        tx: &mut TenantTransaction,
        assignment: &Assignment,
    ) -> Result<After, AssignError> {
        let to = assignment.binding();
        assignment.may_move(tenant_move::in_flight(tx, to).await?)?;
        let mut on_their_way = Vec::new();
        if assignment.force {
            on_their_way = tenant_move::hold_in_flight(tx, to).await?;
        }
        let accounts = tenant_move::hold_bound_elsewhere(tx, to).await?;
        if accounts.is_empty() {
            return Ok(After::default());
        }
        // Whoever was about to begin one of them has done so by now.
        let (parked, unknown) = put_aside(tx, &on_their_way).await?;
        let sessions = session::of_accounts(tx, &accounts).await?;
        let mut left = Vec::with_capacity(sessions.len());
        for row in &sessions {
            left.push(self.leave_session(tx, row).await?);
        }
        let names = tenant_move::take_outside_ids(tx, &accounts).await?;
        for account in &accounts {
            session::clear(tx, *account).await?;
        }
        if !sessions.is_empty() {
            channel_account::lose_number(tx).await?;
        }
        tenant_move::bind(tx, &accounts, to).await?;
        Ok(After {
            moved: Moved {
                devices: sessions.len(),
                parked,
                unknown,
                left_behind: 0,
            },
            accounts,
            names,
            left,
        })
    }
}

impl Assignment {
    const fn binding(&self) -> Binding<'_> {
        Binding {
            endpoint: &self.endpoint,
            provider: self.provider,
        }
    }

    fn may_move(&self, counts: InFlight) -> Result<(), AssignError> {
        if counts.total() > 0 && !self.force {
            return Err(AssignError::InFlight(counts));
        }
        if counts.total() > MOST {
            return Err(AssignError::TooMany(counts));
        }
        Ok(())
    }
}

/// Puts messages aside. Gives how many certainly did not go out, and of how many nobody knows.
async fn put_aside(
    tx: &mut TenantTransaction,
    messages: &[OnItsWay],
) -> Result<(usize, usize), DatabaseError> {
    let ids: Vec<Uuid> = messages.iter().map(|message| message.id).collect();
    let aside = lanes::put_aside(tx, &ids, ENDPOINT_CHANGED).await?;
    let all: HashSet<Uuid> = aside.iter().map(|task| task.id).collect();
    let in_hand: HashSet<Uuid> = aside
        .iter()
        .filter(|task| task.in_hand)
        .map(|task| task.id)
        .collect();
    // One whose task is gone was done in between.
    let messages: Vec<&OnItsWay> = messages
        .iter()
        .filter(|message| all.contains(&message.id))
        .collect();
    let cut: Vec<&OnItsWay> = messages
        .iter()
        .copied()
        .filter(|message| in_hand.contains(&message.id))
        .collect();
    tenant_move::note_cut_attempts(tx, &cut, ENDPOINT_CHANGED).await?;
    let (uncertain, certain): (Vec<&OnItsWay>, Vec<&OnItsWay>) = messages
        .into_iter()
        .partition(|message| message.may_be_out || in_hand.contains(&message.id));
    let mut counts = [0, 0];
    for (which, (messages, status)) in [
        (certain, DeliveryStatus::Parked),
        (uncertain, DeliveryStatus::Unknown),
    ]
    .into_iter()
    .enumerate()
    {
        let ids: Vec<Uuid> = messages.iter().map(|message| message.id).collect();
        let moved = tenant_move::set_messages(tx, &ids, status, ENDPOINT_CHANGED).await?;
        counts[which] = moved.len();
        announce_put_aside(tx, moved, status, Some(ENDPOINT_CHANGED), Utc::now()).await?;
    }
    let [parked, unknown] = counts;
    Ok((parked, unknown))
}
