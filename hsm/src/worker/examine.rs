//! The report for a person who looks for a fault.

use std::time::Instant;

use cryptoki::error::Error;
use cryptoki::mechanism::MechanismType;
use cryptoki::session::Session;

use super::check::Mismatch;
use super::lane::Lane;
use super::{faults, gcm};
use crate::error::HsmError;
use crate::protocol::Verb;
use crate::report::{MechanismReport, SelfTest, TokenReport};

/// The mechanisms that are used, with their purpose.
const NEEDED: [(MechanismType, &str, &str); 6] = [
    (MechanismType::AES_KEY_GEN, "CKM_AES_KEY_GEN", "making customer master keys"),
    (MechanismType::AES_GCM, "CKM_AES_GCM", "wrapping data keys"),
    (MechanismType::GENERIC_SECRET_KEY_GEN, "CKM_GENERIC_SECRET_KEY_GEN", "making integrity keys"),
    (MechanismType::SHA256_HMAC, "CKM_SHA256_HMAC", "integrity of records"),
    (MechanismType::ECC_KEY_PAIR_GEN, "CKM_EC_KEY_PAIR_GEN", "making audit signing keys"),
    (MechanismType::ECDSA, "CKM_ECDSA", "signing the audit journal"),
];

/// Asks the token everything that is worth knowing and tries each key.
pub(super) fn examine(lane: &mut Lane) -> Result<TokenReport, HsmError> {
    let (library, info, listed) =
        ask(lane).map_err(|error| faults::token_error(Verb::Report.deed(), &lane.token.label, &error))?;
    let mechanisms = NEEDED
        .iter()
        .map(|(mechanism, name, purpose)| MechanismReport {
            name: (*name).to_owned(),
            purpose: (*purpose).to_owned(),
            present: listed.contains(mechanism),
        })
        .collect();
    Ok(TokenReport {
        library: library.library_description().to_owned(),
        library_version: library.library_version().to_string(),
        cryptoki_version: library.cryptoki_version().to_string(),
        manufacturer: info.manufacturer_id().to_owned(),
        model: info.model().to_owned(),
        serial: info.serial_number().to_owned(),
        label: info.label().to_owned(),
        hardware: info.hardware_version().to_string(),
        firmware: info.firmware_version().to_string(),
        pin_count_low: info.user_pin_count_low(),
        // Filled in by the appliance, which was told at the start.
        sessions: 0,
        iv_mode: lane.token.iv_mode,
        mechanisms,
        self_tests: try_all(lane),
    })
}

type Answers = (cryptoki::context::Info, cryptoki::slot::TokenInfo, Vec<MechanismType>);

fn ask(lane: &Lane) -> Result<Answers, Error> {
    let token = &lane.token;
    Ok((
        token.context.get_library_info()?,
        token.context.get_token_info(token.slot)?,
        token.context.get_mechanism_list(token.slot)?,
    ))
}

fn try_all(lane: &mut Lane) -> Vec<SelfTest> {
    let token = std::sync::Arc::clone(&lane.token);
    let session = match lane.session() {
        Ok(session) => session,
        Err(error) => {
            return vec![SelfTest {
                name: "open a session".into(),
                took: std::time::Duration::ZERO,
                failure: Some(faults::name(&error)),
            }];
        }
    };
    let mut tests = vec![
        timed("draw 32 random bytes", || {
            session.generate_random_slice(&mut [0; 32]).map_err(|error| faults::name(&error))
        }),
        timed("AES-GCM under a session key", || try_gcm(session, &token.label)),
    ];
    let mut keys = token.keys();
    keys.sort_by(|one, other| one.known.key.label.cmp(&other.known.key.label));
    tests.extend(keys.iter().map(|key| {
        timed(&format!("check value of {:?}", key.known.key.label), || {
            key.answers(session).map_err(|mismatch| match mismatch {
                Mismatch::Deviates(what) => what,
                Mismatch::Failed(error) => faults::name(&error),
            })
        })
    }));
    tests
}

fn try_gcm(session: &Session, token: &str) -> Result<(), String> {
    gcm::detect_mode(session, token).map(|_mode| ()).map_err(|error| error.to_string())
}

fn timed(name: &str, test: impl FnOnce() -> Result<(), String>) -> SelfTest {
    let start = Instant::now();
    let failure = test().err();
    SelfTest { name: name.to_owned(), took: start.elapsed(), failure }
}
