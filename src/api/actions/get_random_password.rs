//! GetRandomPassword (kms-secrets.md section 5.14).

use serde::Serialize;

use super::{Action, Asking, Done, Input, Question, Services, Spec, spec};
use crate::api::ApiError;
use crate::api::wire::Answer;
use crate::audit::Access;
use crate::identity::Caller;
use crate::model::{Arn, RequestId};
use crate::rotation::PasswordRule;

const LOWER: &str = "abcdefghijklmnopqrstuvwxyz";
const UPPER: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZ";
const DIGITS: &str = "0123456789";
const PUNCTUATION: &str = "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~";

/// Makes a password and keeps nothing.
#[derive(Debug)]
pub(super) struct GetRandomPassword {
    rule: PasswordRule,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Body<'a> {
    request_id: &'a RequestId,
    random_password: &'a str,
}

impl Action for GetRandomPassword {
    const SPEC: Spec = spec!(Kms, "GetRandomPassword");

    fn parse(input: &Input<'_>) -> Result<Self, ApiError> {
        let length = input.number("PasswordLength")?;
        let excluded = input.optional("ExcludeCharacters").unwrap_or("");
        if excluded.len() > 128 || !excluded.bytes().all(|b| b.is_ascii_graphic()) {
            return Err(ApiError::invalid(
                "The parameter ExcludeCharacters must be visible ASCII characters.",
            ));
        }
        let mut classes = Vec::with_capacity(4);
        for (name, alphabet) in [
            ("ExcludeLowercase", LOWER),
            ("ExcludeUppercase", UPPER),
            ("ExcludeNumbers", DIGITS),
            ("ExcludePunctuation", PUNCTUATION),
        ] {
            if !input.boolean(name)?.unwrap_or(false) {
                let rest: String = alphabet.chars().filter(|c| !excluded.contains(*c)).collect();
                if !rest.is_empty() {
                    classes.push(rest);
                }
            }
        }
        let each = input.boolean("RequireEachIncludedType")?.unwrap_or(true);
        let length = usize::try_from(length).unwrap_or(32);
        PasswordRule::new(length, classes, each).map(|rule| Self { rule }).ok_or_else(|| {
            ApiError::invalid("The Exclude parameters leave no character for a password: exclude less.")
        })
    }

    fn questions(&self, asking: &Asking<'_>) -> Vec<Question> {
        let resource = Arn::any_kms(&asking.scope.region, &asking.scope.account);
        vec![Question { action: Self::SPEC.right, resource }]
    }

    async fn run(
        self,
        _services: &Services,
        _caller: &Caller,
        _access: &Access,
        request_id: &RequestId,
    ) -> Result<Done, ApiError> {
        let password = self.rule.password().ok().ok_or_else(ApiError::internal)?;
        let random_password = str::from_utf8(password.expose()).ok().ok_or_else(ApiError::internal)?;
        Ok(Done::answer(Answer::json(&Body { request_id, random_password }, &[random_password])?))
    }
}
