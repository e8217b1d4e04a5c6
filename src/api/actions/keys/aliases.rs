//! CreateAlias, UpdateAlias and DeleteAlias (kms-secrets.md section 8.1). The
//! right is asked on the alias and on every key that it names, before or after
//! (ram.md section 2.2).

use super::super::{Action, Asking, Done, Input, Question, Services, Spec, spec};
use super::{Named, alias_name, done};
use crate::api::ApiError;
use crate::audit::Access;
use crate::identity::Caller;
use crate::keys::Keys;
use crate::model::key::KeyName;
use crate::model::{AliasName, Arn, RequestId};

/// An alias that there should be, and its key.
#[derive(Debug)]
struct Held {
    name: AliasName,
    key: Named,
}

impl Held {
    fn parse(input: &Input<'_>) -> Result<Self, ApiError> {
        let name = alias_name(input)?;
        Ok(Self { key: Named::of(KeyName::Alias(name.clone())), name })
    }

    fn resolve(&mut self, keys: &Keys) {
        self.key.resolve(keys);
    }

    fn questions(&self, asking: &Asking<'_>, right: &'static str) -> Vec<Question> {
        let mut questions = vec![on_alias(&self.name, asking, right)];
        if self.key.id.is_some() {
            questions.push(self.key.question(asking, right));
        }
        questions
    }

    /// That the alias still names the key on which the right was decided.
    fn is_as_decided(&self, keys: &Keys) -> Result<(), ApiError> {
        let decided = self.key.id()?;
        match keys.find(&self.key.name) {
            Ok(key) if key.id == *decided => Ok(()),
            Ok(_) => Err(ApiError::unavailable("The alias is being changed by others: try again.")),
            Err(error) => Err(error.into()),
        }
    }
}

fn on_alias(name: &AliasName, asking: &Asking<'_>, right: &'static str) -> Question {
    Question { action: right, resource: Arn::alias(&asking.scope.region, &asking.scope.account, name) }
}

/// Gives a key another name.
#[derive(Debug)]
pub(in crate::api::actions) struct CreateAlias {
    name: AliasName,
    key: Named,
}

impl Action for CreateAlias {
    const SPEC: Spec = spec!(Kms, "CreateAlias");

    fn parse(input: &Input<'_>) -> Result<Self, ApiError> {
        Ok(Self { name: alias_name(input)?, key: Named::managed(input)? })
    }

    fn questions(&self, asking: &Asking<'_>) -> Vec<Question> {
        let right = Self::SPEC.right;
        vec![on_alias(&self.name, asking, right), self.key.question(asking, right)]
    }

    async fn run(
        self,
        services: &Services,
        _caller: &Caller,
        access: &Access,
        request_id: &RequestId,
    ) -> Result<Done, ApiError> {
        services.keys.create_alias(access, self.name, self.key.id()?).await?;
        done(request_id)
    }
}

/// Gives an alias another key.
#[derive(Debug)]
pub(in crate::api::actions) struct UpdateAlias {
    held: Held,
    key: Named,
}

impl Action for UpdateAlias {
    const SPEC: Spec = spec!(Kms, "UpdateAlias");

    fn parse(input: &Input<'_>) -> Result<Self, ApiError> {
        Ok(Self { held: Held::parse(input)?, key: Named::managed(input)? })
    }

    fn resolve(&mut self, services: &Services) {
        self.held.resolve(&services.keys);
    }

    fn questions(&self, asking: &Asking<'_>) -> Vec<Question> {
        let mut questions = self.held.questions(asking, Self::SPEC.right);
        questions.push(self.key.question(asking, Self::SPEC.right));
        questions
    }

    async fn run(
        self,
        services: &Services,
        _caller: &Caller,
        access: &Access,
        request_id: &RequestId,
    ) -> Result<Done, ApiError> {
        self.held.is_as_decided(&services.keys)?;
        services.keys.update_alias(access, &self.held.name, self.key.id()?).await?;
        done(request_id)
    }
}

/// Removes an alias.
#[derive(Debug)]
pub(in crate::api::actions) struct DeleteAlias {
    held: Held,
}

impl Action for DeleteAlias {
    const SPEC: Spec = spec!(Kms, "DeleteAlias");

    fn parse(input: &Input<'_>) -> Result<Self, ApiError> {
        Ok(Self { held: Held::parse(input)? })
    }

    fn resolve(&mut self, services: &Services) {
        self.held.resolve(&services.keys);
    }

    fn questions(&self, asking: &Asking<'_>) -> Vec<Question> {
        self.held.questions(asking, Self::SPEC.right)
    }

    async fn run(
        self,
        services: &Services,
        _caller: &Caller,
        access: &Access,
        request_id: &RequestId,
    ) -> Result<Done, ApiError> {
        self.held.is_as_decided(&services.keys)?;
        services.keys.delete_alias(access, &self.held.name).await?;
        done(request_id)
    }
}
