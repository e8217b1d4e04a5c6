//! Making a token on a free slot.

use cryptoki::error::Error;
use cryptoki::session::UserType;
use cryptoki::slot::TokenInfo;
use cryptoki::types::AuthPin;
use zeroize::Zeroize;

use super::{faults, module};
use crate::error::HsmError;
use crate::protocol::NewToken;

/// Longest label of a token, in bytes.
const LABEL_BYTES: usize = 32;

/// Initialises a token on the first free slot, sets the user's PIN, and
/// returns the serial number.
///
/// `C_InitToken` destroys everything on a token, so only a slot that says it
/// holds none is taken, and never a label that exists.
pub(super) fn initialize(new: &NewToken, so_pin: &[u8], user_pin: &[u8]) -> Result<String, HsmError> {
    let label = &new.label;
    let refuse = |ckr: String, hint: &str| HsmError::Configuration {
        operation: "initialise a token".into(),
        token: label.clone(),
        ckr,
        hint: hint.to_owned(),
    };
    if label.is_empty() || label.len() > LABEL_BYTES || label.trim() != label {
        return Err(refuse(
            format!("the label has {} bytes", label.len()),
            "a label has 1 to 32 bytes and no space at either end",
        ));
    }
    let context = module::load(&new.module, label)?;
    let tokens = module::tokens(&context, label)?;
    if tokens.iter().any(|(_, info)| info.token_initialized() && info.label() == label) {
        return Err(refuse(
            "a token of that label exists".into(),
            "choose another label, or use the token that is there",
        ));
    }
    let Some((slot, info)) = tokens.iter().find(|(_, info)| !info.token_initialized()) else {
        return Err(refuse(
            "no slot has an uninitialised token".into(),
            "let the vendor's tool make a partition or slot first",
        ));
    };
    let so_pin = pin(so_pin, info, "the SO PIN").map_err(|what| refuse(what, "choose another"))?;
    let user_pin = pin(user_pin, info, "the user PIN").map_err(|what| refuse(what, "choose another"))?;
    let failed = |error: &Error| faults::token_error("initialise a token", label, error);
    context.init_token(*slot, &so_pin, label).map_err(|error| failed(&error))?;
    let session = context.open_rw_session(*slot).map_err(|error| failed(&error))?;
    session.login(UserType::So, Some(&so_pin)).map_err(|error| failed(&error))?;
    session.init_pin(&user_pin).map_err(|error| failed(&error))?;
    session.close().map_err(|error| failed(&error))?;
    let (_, made) = module::find_token(&context, label, None)?;
    let serial = made.serial_number().to_owned();
    // The process ends next, whatever the library answers.
    drop(context.finalize());
    Ok(serial)
}

/// A PIN in the form that PKCS#11 asks for here: text of the token's lengths.
fn pin(bytes: &[u8], info: &TokenInfo, name: &str) -> Result<AuthPin, String> {
    let (least, most) = (info.min_pin_length(), info.max_pin_length());
    if bytes.len() < least || bytes.len() > most {
        return Err(format!("{name} has not between {least} and {most} bytes"));
    }
    match String::from_utf8(bytes.to_vec()) {
        Ok(text) => Ok(AuthPin::new(text.into_boxed_str())),
        Err(error) => {
            error.into_bytes().zeroize();
            Err(format!("{name} is not UTF-8 text"))
        }
    }
}
