//! A wrong PIN is tried once.

use strongroom_hsm::{HsmError, KeyService, SecretBytes, State, TokenConfig};

use crate::outside::{Deed, perform};
use crate::stand::{PIN, Stand, eventually, program, send_signal};

const WRONG: &str = "a wrong pin of good length";

fn right() -> String {
    String::from_utf8(PIN.to_vec()).unwrap()
}

async fn start_with(config: TokenConfig, pin: &str) -> Result<KeyService, HsmError> {
    KeyService::start(program(), config, SecretBytes::copy_of(pin.as_bytes()), Vec::new()).await
}

#[tokio::test]
async fn a_refused_pin_is_not_tried_by_a_later_start() {
    let stand = Stand::new().await;
    let marker = stand.folder.path().join("pin-refused");
    let config = || TokenConfig { pin_marker: Some(marker.clone()), ..stand.config() };
    let refused = start_with(config(), WRONG).await.err().unwrap();
    assert!(matches!(refused, HsmError::PinRefused { .. }), "{refused:?}");
    for part in ["CKR_PIN_INCORRECT", &stand.serial] {
        assert!(refused.to_string().contains(part), "{refused}");
    }
    assert!(!format!("{refused:?} {refused}").contains(WRONG));
    assert!(!std::fs::read_to_string(&marker).unwrap().contains(WRONG));

    // Were it tried, the token would accept it now.
    perform(&stand, &Deed::SetPin { old: right(), new: WRONG.into() });
    let again = start_with(config(), WRONG).await.err().unwrap();
    assert!(again.to_string().contains("not tried"), "{again}");

    // Another PIN is tried, and its success clears the record.
    perform(&stand, &Deed::SetPin { old: WRONG.into(), new: right() });
    start_with(config(), &right()).await.unwrap().stop().await;
    perform(&stand, &Deed::SetPin { old: right(), new: WRONG.into() });
    start_with(config(), WRONG).await.unwrap();
}

#[tokio::test]
async fn a_pin_is_not_risked_when_its_refusal_could_not_be_recorded() {
    let stand = Stand::new().await;
    let marker = stand.folder.path().join("missing folder").join("pin-refused");
    let refused = start_with(TokenConfig { pin_marker: Some(marker), ..stand.config() }, &right()).await;
    assert!(matches!(refused.err(), Some(HsmError::Configuration { .. })));
}

#[tokio::test]
async fn a_wrong_pin_is_never_retried_after_a_restart_of_the_worker() {
    let stand = Stand::new().await;
    let service = start_with(stand.config(), &right()).await.unwrap();
    perform(&stand, &Deed::SetPin { old: right(), new: WRONG.into() });
    send_signal(service.status().worker_pid.unwrap(), "-KILL");
    eventually("the refusal", || matches!(service.status().state, State::PinRefused { .. })).await;

    // Were it tried again, the token would accept it now.
    perform(&stand, &Deed::SetPin { old: WRONG.into(), new: right() });
    for _ in 0..20 {
        let refused = service.random(8).await;
        assert!(matches!(refused, Err(HsmError::PinRefused { .. })), "{refused:?}");
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    let status = service.status();
    assert_eq!((status.worker_pid, status.restarts), (None, 0));
    assert!(!format!("{service:?}").contains(&right()));
    service.stop().await;
    assert!(matches!(service.status().state, State::Stopped));
}
