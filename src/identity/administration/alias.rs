//! The alias of the account.

use super::IdentityError;
use crate::audit::Access;
use crate::identity::Identities;
use crate::store::Change;

/// The name of the setting that keeps it.
const ALIAS: &str = "account-alias";

impl Identities {
    /// The name by which the account is called instead of its number, if it has one.
    ///
    /// # Errors
    ///
    /// [`IdentityError::Store`], [`IdentityError::Altered`].
    pub async fn account_alias(&self) -> Result<Option<String>, IdentityError> {
        match self.store.setting(ALIAS).await? {
            Some(row) => Ok(self.integrity.check("settings", ALIAS, &row)?),
            None => Ok(None),
        }
    }

    /// Gives the account an alias, or takes it away.
    ///
    /// # Errors
    ///
    /// [`IdentityError::Store`].
    pub async fn set_account_alias(
        &self,
        _access: &Access,
        alias: Option<String>,
    ) -> Result<(), IdentityError> {
        let row = self.integrity.guard("settings", ALIAS, &alias)?;
        Ok(self.store.commit(vec![Change::PutSetting { name: ALIAS, row }]).await?)
    }
}
