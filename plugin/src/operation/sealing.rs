//! Credentials that travel sealed to a key pair of this machine.

use crate::crypt::Field;
use crate::journal::Prepared;
use crate::operation::{Operation, refusal_of};
use crate::report::{Code, Offer, Refusal};

impl Operation<'_> {
    /// Answers with the key pair to which this rotation's credential can be
    /// sealed; the same one as long as it is good.
    pub(super) fn offer_pair(&mut self) {
        let request = self.request;
        if let Err(refusal) = self.record_prepared() {
            self.fail(refusal);
            return;
        }
        match self.keyring.find_or_make(&request.sid, &request.rid) {
            Ok(pair) => {
                self.report.offer =
                    Some(Offer { public: pair.public(), kid: pair.kid(), expires: pair.expires() });
            }
            Err(e) => self.fail(refusal_of(&e, request.kind(), "the key pair cannot be made")),
        }
    }

    /// Makes it durable that this rotation was prepared, before the vault can
    /// have anything to seal to.
    fn record_prepared(&mut self) -> Result<(), Refusal> {
        let prepared = Prepared { rid: self.request.rid.clone(), notes: self.all_notes() };
        if self.journal.prepared.as_ref() == Some(&prepared) {
            return Ok(());
        }
        self.journal.prepared = Some(prepared);
        self.save()
    }

    /// The new credential, opened if it came sealed.
    ///
    /// A pair that is gone and an envelope that does not open change nothing:
    /// `prepare` makes another pair, and the same credential is sealed to it.
    pub(super) fn unsealed(&mut self) -> Result<Field, Refusal> {
        let request = self.request;
        if self.credential.is_none() {
            let Some(envelope) = &request.envelope else {
                return Err(Refusal::new(Code::BadRequest, "apply needs a credential"));
            };
            let pair = self.keyring.find(&request.sid, &request.rid);
            let pair = pair.filter(|pair| pair.kid() == envelope.kid).ok_or_else(|| {
                Refusal::new(Code::KeyExpired, "the key pair that the credential is sealed to is gone")
            })?;
            self.credential = envelope.open(&pair, request.binding().as_bytes());
        }
        self.credential
            .clone()
            .ok_or_else(|| Refusal::new(Code::DecryptFailed, "the sealed credential cannot be opened"))
    }
}
