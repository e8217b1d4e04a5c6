//! Reading parameters, with errors that name the parameter and never its value.

use strongroom_hsm::SecretBytes;

use super::Scope;
use crate::api::ApiError;
use crate::model::{InvalidId, SecretDataType, SecretName, VersionId};
use crate::rpc::encoding::Parameters;

/// Bytes of a secret value at most (kms-secrets.md section 5.1, `SecretData`).
const MAX_SECRET_DATA: usize = 30_720;

/// The parameters of a call, and where it was made.
#[derive(Debug, Clone, Copy)]
pub struct Input<'a> {
    /// What query and body say.
    pub parameters: &'a Parameters,
    /// The account and region that answer.
    pub scope: &'a Scope,
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

    /// A whole number within a range.
    ///
    /// # Errors
    ///
    /// `InvalidParameter`.
    pub fn number(&self, name: &str, default: u32, min: u32, max: u32) -> Result<u32, ApiError> {
        let Some(text) = self.optional(name) else { return Ok(default) };
        let plain = (1..=9).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit());
        let number = if plain { text.parse::<u32>().ok() } else { None };
        number
            .filter(|n| (min..=max).contains(n))
            .ok_or_else(|| invalid(name, &format!("a whole number from {min} to {max}")))
    }

    /// A text of limited length.
    ///
    /// # Errors
    ///
    /// `InvalidParameter`.
    pub fn text(&self, name: &str, max_characters: usize) -> Result<Option<&'a str>, ApiError> {
        match self.optional(name) {
            Some(text) if text.chars().count() > max_characters => {
                Err(invalid(name, &format!("at most {max_characters} characters long")))
            }
            other => Ok(other),
        }
    }

    /// `SecretName`: a name, or the ARN of a secret of this account and region.
    ///
    /// # Errors
    ///
    /// `MissingParameter`, `InvalidParameter`, or `Forbidden.ResourceNotFound`
    /// for an ARN of elsewhere (kms-secrets.md section 1).
    pub fn secret_name(&self) -> Result<SecretName, ApiError> {
        let text = self.required("SecretName")?;
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

    /// `SecretData`, required, not empty.
    ///
    /// # Errors
    ///
    /// `MissingParameter` or `InvalidParameter`.
    pub fn secret_data(&self) -> Result<SecretBytes, ApiError> {
        let text = self.required("SecretData")?;
        if text.is_empty() || text.len() > MAX_SECRET_DATA {
            return Err(invalid("SecretData", "1 to 30720 bytes long"));
        }
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
    pub fn page(&self, default_size: u32) -> Result<Page, ApiError> {
        let number = self.number("PageNumber", 1, 1, 999_999_999)?;
        let size = self.number("PageSize", default_size, 1, 100)?;
        Ok(Page { number, size })
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
