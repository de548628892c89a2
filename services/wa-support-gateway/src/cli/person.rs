//! Chores about one person of a customer.

use clap::Subcommand;
use domain::ids::TenantId;
use runtime::config::SettingsReader;
use serde_json::json;
use tenant_isolation::TenantScope;

use super::{CommandError, give_out, open};
use crate::config::KeySettings;
use crate::flows::customers::Actor;
use crate::flows::export::Of;
use crate::flows::people::{self, PersonName};

#[derive(Debug, Subcommand)]
pub(super) enum PersonCommand {
    /// Print everything a customer has of the person, a line of JSON for each row
    Export {
        /// The customer's user id
        #[arg(long, visible_alias = "tenant")]
        customer: TenantId,
        /// Their number (`628…`, `+62 8…`, `08…`) or their hidden id (`…@lid`)
        #[arg(long)]
        phone: String,
    },
    /// Erase everything a customer has of the person. Begun again, an erasure that was interrupted is finished
    Erase {
        /// The customer's user id
        #[arg(long, visible_alias = "tenant")]
        customer: TenantId,
        /// Their number or hidden id
        #[arg(long)]
        phone: String,
        /// Their number or hidden id once more
        #[arg(long)]
        i_know_that_everything_will_be_gone: String,
    },
}

pub(super) async fn run(command: PersonCommand) -> Result<(), CommandError> {
    let settings = KeySettings::from_reader(SettingsReader::from_process())?;
    let db = open(&settings.process, &settings.database)?;
    match command {
        PersonCommand::Export { customer, phone } => {
            let scope = TenantScope::named_by_operator(customer);
            let of = Of::Person(phone.parse()?);
            give_out(&db, &settings.keys, &scope, of).await
        }
        PersonCommand::Erase {
            customer,
            phone,
            i_know_that_everything_will_be_gone,
        } => {
            let person: PersonName = phone.parse()?;
            if i_know_that_everything_will_be_gone.parse::<PersonName>()? != person {
                return Err(CommandError::Unconfirmed);
            }
            let scope = TenantScope::named_by_operator(customer);
            let erased = people::erase(&db, &settings.keys, &Actor::Operator, &scope, &person).await?;
            runtime::process::print(&json!({"user_id": scope.tenant(), "erased": erased}));
            Ok(())
        }
    }
}
