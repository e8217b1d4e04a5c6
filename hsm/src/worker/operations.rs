//! The verbs, one function each, and the loop of a session thread.

use std::sync::Arc;
use std::time::{Duration, Instant};

use cryptoki::mechanism::Mechanism;
use zeroize::Zeroizing;

use super::lane::Lane;
use super::queue::{Job, Queue};
use super::replies::Replies;
use super::token::Key;
use super::{examine, gcm};
use crate::buffer::{Fields, WipingBuffer};
use crate::error::HsmError;
use crate::key::KeyKind;
use crate::protocol::{self, Address, OK, Verb};

/// How long a finished reply may wait for others of its batch.
const HOLD: Duration = Duration::from_micros(300);

/// Length of MACs and digests.
const DIGEST_BYTES: usize = 32;

/// Length of an ECDSA signature on P-256, r ‖ s.
const SIGNATURE_BYTES: usize = 64;

/// Takes jobs until the queue is closed. Jobs older than `deadline` are not
/// begun: nobody waits for them any more.
pub(super) fn serve(mut lane: Lane, queue: &Queue, replies: &Replies, deadline: Duration) {
    let mut batch = Vec::new();
    let mut answers = WipingBuffer::new();
    while queue.take(&mut batch) {
        let mut held = Instant::now();
        for job in batch.drain(..) {
            if job.received.elapsed() > deadline {
                let error = HsmError::Deadline { operation: job.verb.deed().into(), after: deadline };
                protocol::write_failure(&mut answers, job.id, &error);
            } else {
                answer(&mut lane, &job, &mut answers);
            }
            if lane.token.lost().is_some() {
                // Repeated for each call that fails on it; one is enough.
                replies.notice(&lane.token.give_up(String::new()));
            }
            if held.elapsed() > HOLD {
                replies.send(&mut answers);
                held = Instant::now();
            }
        }
        replies.send(&mut answers);
    }
}

/// Appends the reply to one job.
fn answer(lane: &mut Lane, job: &Job, answers: &mut WipingBuffer) {
    let before = answers.len();
    let start = answers.begin_frame(job.id, OK);
    match perform(lane, job.verb, &job.body, answers) {
        Ok(()) => answers.end_frame(start),
        Err(error) => {
            answers.truncate(before);
            protocol::write_failure(answers, job.id, &error);
        }
    }
}

fn perform(lane: &mut Lane, verb: Verb, body: &[u8], out: &mut WipingBuffer) -> Result<(), HsmError> {
    if let Some(why) = lane.token.lost() {
        return Err(HsmError::unavailable(why));
    }
    let mut fields = Fields::new(body);
    match verb {
        Verb::Wrap => wrap(lane, &mut fields, out),
        Verb::Unwrap => unwrap(lane, &mut fields, out),
        Verb::Mac => mac(lane, &mut fields, out),
        Verb::Sign => sign(lane, &mut fields, out),
        Verb::PublicKey => {
            let key = find(lane, &mut fields, KeyKind::AuditSigning)?;
            out.push(&key.point);
            Ok(())
        }
        Verb::Random => random(lane, &mut fields, out),
        Verb::Generate => {
            let known = lane.token.generate(&protocol::read_json(body)?)?;
            out.push(&protocol::to_json(&known)?);
            Ok(())
        }
        Verb::AddKey => {
            let known = protocol::read_json(body)?;
            lane.token.admit_anew(&known)
        }
        Verb::Destroy => lane.token.destroy(&protocol::read_json(body)?),
        Verb::Introduce => {
            lane.token.introduce(protocol::read_json(body)?);
            Ok(())
        }
        Verb::Report => {
            out.push(&protocol::to_json(&examine::examine(lane)?)?);
            Ok(())
        }
        Verb::Open | Verb::Initialize => Err(HsmError::protocol("the token is open already")),
    }
}

fn find(lane: &Lane, fields: &mut Fields<'_>, kind: KeyKind) -> Result<Arc<Key>, HsmError> {
    let address = Address::read(fields)?;
    if address.kind != kind {
        return Err(HsmError::protocol("the key is not of the kind that the call needs"));
    }
    let key = lane
        .token
        .introduced(address)?
        .ok_or_else(|| HsmError::protocol("the call names a key that was never introduced"))?;
    lane.token.check_unaltered(&key)?;
    Ok(key)
}

fn wrap(lane: &mut Lane, fields: &mut Fields<'_>, out: &mut WipingBuffer) -> Result<(), HsmError> {
    let key = find(lane, fields, KeyKind::CustomerMaster)?;
    let (aad, plain) = (fields.sized()?, fields.sized()?);
    let mode = lane.token.iv_mode;
    let wrapped =
        lane.perform(Verb::Wrap, Some(&key), |session| gcm::seal(session, key.handle(), mode, aad, plain))?;
    out.push_sized(&wrapped.iv);
    out.push_sized(&wrapped.ciphertext);
    Ok(())
}

fn unwrap(lane: &mut Lane, fields: &mut Fields<'_>, out: &mut WipingBuffer) -> Result<(), HsmError> {
    let key = find(lane, fields, KeyKind::CustomerMaster)?;
    let (aad, iv, ciphertext) = (fields.sized()?, fields.sized()?, fields.sized()?);
    if !gcm::has_form(iv, ciphertext) {
        // Tokens answer for these with codes that blame the configuration.
        return Err(HsmError::NotAuthentic { key: key.known.key.label.clone() });
    }
    let plain = lane
        .perform(Verb::Unwrap, Some(&key), |session| gcm::open(session, key.handle(), iv, aad, ciphertext))?;
    out.push(&plain);
    Ok(())
}

fn mac(lane: &mut Lane, fields: &mut Fields<'_>, out: &mut WipingBuffer) -> Result<(), HsmError> {
    let key = find(lane, fields, KeyKind::Integrity)?;
    let data = fields.sized()?;
    let mac = lane.perform(Verb::Mac, Some(&key), |session| {
        // Row keys are derived by such a call.
        session.sign(&Mechanism::Sha256Hmac, key.handle(), data).map(Zeroizing::new)
    })?;
    expect_length(&mac, DIGEST_BYTES)?;
    out.push(&mac);
    Ok(())
}

fn sign(lane: &mut Lane, fields: &mut Fields<'_>, out: &mut WipingBuffer) -> Result<(), HsmError> {
    let key = find(lane, fields, KeyKind::AuditSigning)?;
    let digest = fields.array::<DIGEST_BYTES>()?;
    let signature = lane
        .perform(Verb::Sign, Some(&key), |session| session.sign(&Mechanism::Ecdsa, key.handle(), &digest))?;
    expect_length(&signature, SIGNATURE_BYTES)?;
    out.push(&signature);
    Ok(())
}

fn random(lane: &mut Lane, fields: &mut Fields<'_>, out: &mut WipingBuffer) -> Result<(), HsmError> {
    let count = usize::try_from(fields.u32()?).unwrap_or(usize::MAX).min(protocol::MAX_CALL_BYTES);
    let bytes = lane.perform(Verb::Random, None, |session| {
        let mut bytes = Zeroizing::new(vec![0; count]);
        session.generate_random_slice(&mut bytes)?;
        Ok(bytes)
    })?;
    out.push(&bytes);
    Ok(())
}

fn expect_length(bytes: &[u8], expected: usize) -> Result<(), HsmError> {
    if bytes.len() == expected {
        return Ok(());
    }
    Err(HsmError::protocol(format!("the token gave {} bytes instead of {expected}", bytes.len())))
}
