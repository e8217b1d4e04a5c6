//! What a PKCS#11 return code means for the session, the key and the worker.
//!
//! The classes follow `docs/contract/hsm.md`, section 6.1. Codes say
//! little about tampering: the same damaged ciphertext gives
//! `CKR_GENERAL_ERROR` on one token and `CKR_ENCRYPTED_DATA_INVALID` on
//! another, hence [`Class::Ambiguous`], which a canary decides.

use cryptoki::error::{Error, RvError};

use crate::error::HsmError;

/// What to do about a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Class {
    /// The session is gone or its state unknown: once more on a fresh one.
    Session,
    /// The key's handle does not work: look the key up again, then once more.
    Handle,
    /// The login is lost: only a new worker may log in again.
    Login,
    /// Token, device or library are lost: a new worker is needed.
    Lost,
    /// Data or device, nobody knows: once more on a fresh session, then ask
    /// the canary.
    Ambiguous,
    /// The token has no session left.
    Exhausted,
    /// The data were changed.
    Data,
    /// The PIN was refused: never again.
    Pin,
    /// Nothing will change until somebody changes something.
    Configuration,
}

/// The class of `error`. Codes nobody listed count as ambiguous.
pub(super) fn class(error: &Error) -> Class {
    let Error::Pkcs11(code, _function) = error else {
        return Class::Configuration;
    };
    use RvError as R;
    if matches!(
        code,
        R::SessionHandleInvalid | R::SessionClosed | R::OperationActive | R::OperationNotInitialized
    ) {
        Class::Session
    } else if matches!(code, R::ObjectHandleInvalid | R::KeyHandleInvalid) {
        Class::Handle
    } else if matches!(code, R::UserNotLoggedIn) {
        Class::Login
    } else if matches!(
        code,
        R::TokenNotPresent
            | R::DeviceRemoved
            | R::SlotIdInvalid
            | R::TokenNotRecognized
            | R::CryptokiNotInitialized
    ) {
        Class::Lost
    } else if matches!(code, R::SessionCount) {
        Class::Exhausted
    } else if matches!(
        code,
        R::EncryptedDataInvalid | R::EncryptedDataLenRange | R::SignatureInvalid | R::SignatureLenRange
    ) || is_aead_failure(*code)
    {
        Class::Data
    } else if matches!(code, R::PinIncorrect | R::PinLocked | R::PinExpired | R::PinInvalid | R::PinLenRange)
    {
        Class::Pin
    } else if matches!(
        code,
        R::MechanismInvalid
            | R::MechanismParamInvalid
            | R::KeyFunctionNotPermitted
            | R::KeyTypeInconsistent
            | R::KeySizeRange
            | R::ArgumentsBad
            | R::DataLenRange
            | R::FunctionNotSupported
            | R::AttributeReadOnly
            | R::AttributeSensitive
            | R::AttributeTypeInvalid
            | R::AttributeValueInvalid
            | R::TemplateIncomplete
            | R::TemplateInconsistent
            | R::ActionProhibited
            | R::CurveNotSupported
            | R::DomainParamsInvalid
            | R::TokenWriteProtected
            | R::SessionReadOnly
            | R::UserAnotherAlreadyLoggedIn
            | R::UserTooManyTypes
            | R::UserTypeInvalid
            | R::UserPinNotInitialized
    ) {
        Class::Configuration
    } else {
        Class::Ambiguous
    }
}

/// `CKR_AEAD_DECRYPT_FAILED` of PKCS#11 3.0, which `cryptoki` has no name for.
fn is_aead_failure(code: RvError) -> bool {
    matches!(code, RvError::UnknownErrorCode(0x42) | RvError::VendorDefined(0x42))
}

/// Whether a template was refused for an attribute in it.
pub(super) fn refuses_template(error: &Error) -> bool {
    matches!(
        error,
        Error::Pkcs11(
            RvError::AttributeTypeInvalid
                | RvError::AttributeValueInvalid
                | RvError::AttributeReadOnly
                | RvError::TemplateInconsistent
                | RvError::TemplateIncomplete,
            _
        )
    )
}

/// The name of the return code as PKCS#11 writes it, with the function that
/// gave it: `CKR_GENERAL_ERROR from Decrypt`.
pub(super) fn name(error: &Error) -> String {
    match error {
        Error::Pkcs11(RvError::VendorDefined(code) | RvError::UnknownErrorCode(code), function) => {
            format!("CKR 0x{code:08x} from C_{function:?}")
        }
        Error::Pkcs11(code, function) => {
            let mut text = String::from("CKR");
            for letter in format!("{code:?}").chars() {
                if letter.is_ascii_uppercase() {
                    text.push('_');
                }
                text.push(letter.to_ascii_uppercase());
            }
            format!("{text} from C_{function:?}")
        }
        Error::LibraryLoading(_)
        | Error::NotSupported
        | Error::TryFromInt(_)
        | Error::TryFromSlice(_)
        | Error::ParseInt(_)
        | Error::Utf8(_)
        | Error::NulError(_)
        | Error::NullFunctionPointer
        | Error::MissingSymbol(_)
        | Error::InvalidValue
        | Error::PinNotSet => error.to_string(),
    }
}

/// What somebody should look at.
fn hint(error: &Error) -> &'static str {
    match class(error) {
        Class::Session => "the token dropped its session; if this repeats, look at the token's own log",
        Class::Handle => "the key may have been deleted, or the login ended",
        Class::Login => "the login ended behind the worker's back",
        Class::Lost => {
            "the token is absent or its service was stopped; check the device or, for SoftHSM, the permissions of the token folder"
        }
        Class::Ambiguous => {
            "the token gives no reason; check its own log, its disk space and the permissions of its folder"
        }
        Class::Exhausted => {
            "the token has no session left; lower the number of sessions or close other programs"
        }
        Class::Data => "the data were changed",
        Class::Pin => "the PIN is wrong, expired or locked; it is not tried again",
        Class::Configuration => "the token does not allow this; check its mechanisms, policy and firmware",
    }
}

/// The failure of `deed` as the token's.
pub(super) fn token_error(deed: &str, token: &str, error: &Error) -> HsmError {
    let (operation, token) = (deed.to_owned(), token.to_owned());
    let (ckr, hint) = (name(error), hint(error).to_owned());
    match class(error) {
        Class::Configuration | Class::Pin => HsmError::Configuration { operation, token, ckr, hint },
        Class::Exhausted => {
            HsmError::Busy { operation, what: format!("the token has no session left: {ckr}") }
        }
        Class::Session | Class::Handle | Class::Login | Class::Lost | Class::Ambiguous | Class::Data => {
            HsmError::Token { operation, token, ckr, hint }
        }
    }
}

#[cfg(test)]
mod tests {
    use cryptoki::context::Function;
    use cryptoki::error::{Error, RvError};

    use super::{Class, class, name, token_error};
    use crate::error::HsmError;

    fn error(code: RvError) -> Error {
        Error::Pkcs11(code, Function::Decrypt)
    }

    #[test]
    fn codes_have_the_names_of_the_standard() {
        assert_eq!(name(&error(RvError::GeneralError)), "CKR_GENERAL_ERROR from C_Decrypt");
        assert_eq!(name(&error(RvError::SessionHandleInvalid)), "CKR_SESSION_HANDLE_INVALID from C_Decrypt");
        assert_eq!(name(&error(RvError::VendorDefined(0x8000_0001))), "CKR 0x80000001 from C_Decrypt");
    }

    #[test]
    fn every_class_is_recognised() {
        let table = [
            (RvError::SessionHandleInvalid, Class::Session),
            (RvError::SessionClosed, Class::Session),
            (RvError::OperationActive, Class::Session),
            (RvError::OperationNotInitialized, Class::Session),
            (RvError::ObjectHandleInvalid, Class::Handle),
            (RvError::KeyHandleInvalid, Class::Handle),
            (RvError::UserNotLoggedIn, Class::Login),
            (RvError::TokenNotPresent, Class::Lost),
            (RvError::DeviceRemoved, Class::Lost),
            (RvError::SlotIdInvalid, Class::Lost),
            (RvError::TokenNotRecognized, Class::Lost),
            (RvError::CryptokiNotInitialized, Class::Lost),
            (RvError::DeviceError, Class::Ambiguous),
            (RvError::DeviceMemory, Class::Ambiguous),
            (RvError::HostMemory, Class::Ambiguous),
            (RvError::FunctionFailed, Class::Ambiguous),
            (RvError::GeneralError, Class::Ambiguous),
            (RvError::VendorDefined(0x8000_0007), Class::Ambiguous),
            (RvError::UnknownErrorCode(0x7777), Class::Ambiguous),
            (RvError::SessionCount, Class::Exhausted),
            (RvError::EncryptedDataInvalid, Class::Data),
            (RvError::EncryptedDataLenRange, Class::Data),
            (RvError::UnknownErrorCode(0x42), Class::Data),
            (RvError::MechanismInvalid, Class::Configuration),
            (RvError::TemplateInconsistent, Class::Configuration),
            (RvError::UserPinNotInitialized, Class::Configuration),
            (RvError::PinIncorrect, Class::Pin),
            (RvError::PinLocked, Class::Pin),
        ];
        for (code, expected) in table {
            assert_eq!(class(&error(code)), expected, "{code:?}");
        }
        assert_eq!(class(&Error::NullFunctionPointer), Class::Configuration);
    }

    #[test]
    fn texts_name_operation_token_code_and_hint() {
        let text = token_error("wrap a data key", "vault", &error(RvError::DeviceRemoved)).to_string();
        for part in ["wrap a data key", "vault", "CKR_DEVICE_REMOVED", "C_Decrypt", "check the device"] {
            assert!(text.contains(part), "{text}");
        }
        let busy = token_error("sign a digest", "vault", &error(RvError::SessionCount));
        assert!(matches!(busy, HsmError::Busy { .. }));
    }
}
