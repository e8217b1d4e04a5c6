//! Reading parameters, with errors that name the parameter and never its value.

use strongroom_hsm::SecretBytes;

use super::Scope;
use crate::api::ApiError;
use crate::api::describe::Description;
use crate::model::{InvalidId, SecretDataType, SecretName, VersionId};
use crate::rpc::encoding::Parameters;

/// The parameters of a call, and where it was made.
#[derive(Debug, Clone, Copy)]
pub struct Input<'a> {
    /// What query and body say.
    pub parameters: &'a Parameters,
    /// The account and region that answer.
    pub scope: &'a Scope,
    /// What the API says of the action. The parameters have been held to it.
    pub description: &'static Description,
}

fn invalid(name: &str, rule: &str) -> ApiError {
    ApiError::invalid(format!("The parameter {name} must be {rule}."))
}

impl<'a> Input<'a> {
    /// A parameter that may be absent.
    #[must_use]
    pub fn optional(&self, name: &str) -> Option<&'a str> {
        self.parameters.get(name)
    }

    /// A parameter that must be there.
    ///
    /// # Errors
    ///
    /// `MissingParameter`.
    pub fn required(&self, name: &str) -> Result<&'a str, ApiError> {
        self.optional(name).ok_or_else(|| ApiError::missing(name))
    }

    /// A required parameter read by `parse`.
    ///
    /// # Errors
    ///
    /// `MissingParameter` or `InvalidParameter`.
    pub fn parsed<T>(&self, name: &str, parse: fn(&str) -> Result<T, InvalidId>) -> Result<T, ApiError> {
        parse(self.required(name)?)
            .map_err(|error| ApiError::invalid(format!("The parameter {name} is not valid: {error}.")))
    }

    /// `true` or `false` in whatever case (kms-secrets.md section 0, point 4).
    ///
    /// # Errors
    ///
    /// `InvalidParameter` for anything else.
    pub fn boolean(&self, name: &str) -> Result<Option<bool>, ApiError> {
        match self.optional(name) {
            None => Ok(None),
            Some(text) if text.eq_ignore_ascii_case("true") => Ok(Some(true)),
            Some(text) if text.eq_ignore_ascii_case("false") => Ok(Some(false)),
            Some(_) => Err(invalid(name, "true or false")),
        }
    }

    /// A whole number, or its default. The range is that of the description.
    ///
    /// # Errors
    ///
    /// `InvalidParameter`; `MissingParameter` when there is neither value nor default.
    pub fn number(&self, name: &str) -> Result<u32, ApiError> {
        let default = self.description.parameter(name).and_then(|p| p.default);
        let text = self.optional(name).or(default).ok_or_else(|| ApiError::missing(name))?;
        text.parse().ok().ok_or_else(|| invalid(name, "a whole number"))
    }

    /// `SecretName`: a name, or the ARN of a secret of this account and region.
    ///
    /// # Errors
    ///
    /// `MissingParameter`, `InvalidParameter`, or `Forbidden.ResourceNotFound`
    /// for an ARN of elsewhere (kms-secrets.md section 1).
    pub fn secret_name(&self) -> Result<SecretName, ApiError> {
        self.secret_named(self.required("SecretName")?)
    }

    /// The secret that a text names, as [`secret_name`](Self::secret_name).
    ///
    /// # Errors
    ///
    /// `InvalidParameter`, or `Forbidden.ResourceNotFound` for an ARN of elsewhere.
    pub fn secret_named(&self, text: &str) -> Result<SecretName, ApiError> {
        let name = if text.starts_with("acs:") {
            let prefix = format!("acs:kms:{}:{}:secret/", self.scope.region, self.scope.account);
            text.strip_prefix(&prefix).ok_or_else(ApiError::not_found)?
        } else {
            text
        };
        SecretName::parse(name)
            .map_err(|error| ApiError::invalid(format!("The parameter SecretName is not valid: {error}.")))
    }

    /// `VersionId`, required.
    ///
    /// # Errors
    ///
    /// `MissingParameter` or `InvalidParameter`.
    pub fn version_id(&self) -> Result<VersionId, ApiError> {
        self.parsed("VersionId", VersionId::parse)
    }

    /// `SecretData`, required.
    ///
    /// # Errors
    ///
    /// `MissingParameter`.
    pub fn secret_data(&self) -> Result<SecretBytes, ApiError> {
        let text = self.required("SecretData")?;
        Ok(SecretBytes::copy_of(text.as_bytes()))
    }

    /// `SecretDataType`, by default text.
    ///
    /// # Errors
    ///
    /// `InvalidParameter`.
    pub fn data_type(&self) -> Result<SecretDataType, ApiError> {
        match self.optional("SecretDataType") {
            None | Some("text") => Ok(SecretDataType::Text),
            Some("binary") => Ok(SecretDataType::Binary),
            Some(_) => Err(invalid("SecretDataType", "text or binary")),
        }
    }

    /// `PageNumber` and `PageSize` as offset, number and size
    /// (kms-secrets.md section 4).
    ///
    /// # Errors
    ///
    /// `InvalidParameter`.
    pub fn page(&self) -> Result<Page, ApiError> {
        Ok(Page { number: self.number("PageNumber")?, size: self.number("PageSize")? })
    }
}

/// A page of a list.
#[derive(Debug, Clone, Copy)]
pub struct Page {
    /// From 1.
    pub number: u32,
    /// 1 to 100.
    pub size: u32,
}

impl Page {
    /// How many items lie before the page.
    #[must_use]
    pub fn offset(self) -> u64 {
        u64::from(self.number.saturating_sub(1)) * u64::from(self.size)
    }
}
