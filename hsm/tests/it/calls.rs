//! What the calls do.

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED, UnparsedPublicKey};
use strongroom_hsm::{HsmError, IvMode, KeyKind, SecretBytes, State, Wrapped};
use tokio::task::JoinSet;

use crate::stand::{LABEL, Stand, data_key, key, send_signal, start};

#[tokio::test]
async fn every_call_does_what_its_name_says() {
    let stand = Stand::new().await;
    let service = stand.service(&[]).await;
    let (cmk, integrity, signing) =
        (key(KeyKind::CustomerMaster), key(KeyKind::Integrity), key(KeyKind::AuditSigning));
    for key in [&cmk, &integrity, &signing] {
        service.generate(key).await.unwrap();
    }

    let wrapped = service.wrap(&cmk, b"context", &data_key()).await.unwrap();
    assert_eq!((wrapped.iv.len(), wrapped.ciphertext.len()), (12, 48));
    assert!(service.unwrap(&cmk, b"context", &wrapped).await.unwrap().matches(data_key().expose()));

    let mac = service.mac(&integrity, b"row").await.unwrap();
    assert_eq!(mac, service.mac(&integrity, b"row").await.unwrap());
    assert_ne!(mac, service.mac(&integrity, b"other row").await.unwrap());

    let signature =
        service.sign(&signing, digest(&SHA256, b"head").as_ref().try_into().unwrap()).await.unwrap();
    let point = service.public_key(&signing).await.unwrap();
    UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, &point).verify(b"head", &signature).unwrap();

    let (one, other) = (service.random(32).await.unwrap(), service.random(32).await.unwrap());
    assert_eq!(one.len(), 32);
    assert!(!one.matches(other.expose()));
    assert!(service.random(0).await.unwrap().is_empty());
}

#[tokio::test]
async fn empty_and_large_arguments_are_carried() {
    let stand = Stand::new().await;
    let service = stand.service(&[]).await;
    let (cmk, integrity) = (key(KeyKind::CustomerMaster), key(KeyKind::Integrity));
    service.generate(&cmk).await.unwrap();
    service.generate(&integrity).await.unwrap();
    let large = vec![7; 900_000];
    let mac = service.mac(&integrity, &large).await.unwrap();
    assert_ne!(mac, service.mac(&integrity, b"").await.unwrap());
    for plain in [SecretBytes::copy_of(b"x"), SecretBytes::copy_of(&large)] {
        let wrapped = service.wrap(&cmk, b"", &plain).await.unwrap();
        assert!(service.unwrap(&cmk, b"", &wrapped).await.unwrap().matches(plain.expose()));
    }
    let excess = service.mac(&integrity, &vec![7; 2_000_000]).await;
    assert!(matches!(excess, Err(HsmError::Protocol { .. })), "{excess:?}");
    assert_eq!(service.mac(&integrity, &large).await.unwrap(), mac);
}

#[tokio::test]
async fn each_wrap_uses_a_vector_of_its_own() {
    let stand = Stand::new().await;
    let service = stand.service(&[]).await;
    let cmk = key(KeyKind::CustomerMaster);
    service.generate(&cmk).await.unwrap();
    let mut vectors = std::collections::HashSet::new();
    for _ in 0..200 {
        vectors.insert(service.wrap(&cmk, b"", &data_key()).await.unwrap().iv);
    }
    assert_eq!(vectors.len(), 200);
    assert_eq!(service.status().iv_mode, IvMode::Caller);
}

#[tokio::test]
async fn what_was_changed_is_not_authentic_and_leaves_the_pool_alone() {
    let stand = Stand::new().await;
    let service = stand.service(&[]).await;
    let (cmk, other) = (key(KeyKind::CustomerMaster), key(KeyKind::CustomerMaster));
    service.generate(&cmk).await.unwrap();
    service.generate(&other).await.unwrap();
    let good = service.wrap(&cmk, b"context", &data_key()).await.unwrap();
    let flip = |at: usize| {
        let mut damaged = good.clone();
        damaged.ciphertext[at] ^= 1;
        damaged
    };
    let mut vector = good.clone();
    vector.iv[0] ^= 1;
    let short = Wrapped { iv: good.iv.clone(), ciphertext: good.ciphertext[..8].to_vec() };
    let no_vector = Wrapped { iv: Vec::new(), ciphertext: good.ciphertext.clone() };
    for (aad, damaged) in [
        (&b"context"[..], flip(0)),
        (b"context", flip(47)),
        (b"context", vector),
        (b"context", short),
        (b"context", no_vector),
        (b"contexT", good.clone()),
        (b"", good.clone()),
    ] {
        let refused = service.unwrap(&cmk, aad, &damaged).await;
        assert!(matches!(refused, Err(HsmError::NotAuthentic { .. })), "{refused:?}");
    }
    let refused = service.unwrap(&other, b"context", &good).await;
    assert!(matches!(refused, Err(HsmError::NotAuthentic { .. })), "{refused:?}");

    // Damaged rows under load do not disturb the others.
    let mut calls = JoinSet::new();
    for number in 0..200 {
        let (service, cmk) = (service.clone(), cmk.clone());
        let row = if number % 4 == 0 { flip(number % 48) } else { good.clone() };
        calls.spawn(async move { (number % 4 == 0, service.unwrap(&cmk, b"context", &row).await) });
    }
    while let Some(done) = calls.join_next().await {
        let (damaged, answer) = done.unwrap();
        if damaged {
            assert!(matches!(answer, Err(HsmError::NotAuthentic { .. })), "{answer:?}");
        } else {
            assert!(answer.unwrap().matches(data_key().expose()));
        }
    }
    let status = service.status();
    assert_eq!(status.restarts, 0);
    assert!(matches!(status.state, State::Ready));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_calls_in_flight_each_get_their_own_answer() {
    let stand = Stand::new().await;
    let service = stand.service(&[]).await;
    let cmk = key(KeyKind::CustomerMaster);
    service.generate(&cmk).await.unwrap();
    let mut calls = JoinSet::new();
    for number in 0..500_u32 {
        let (service, cmk) = (service.clone(), cmk.clone());
        calls.spawn(async move {
            let plain = SecretBytes::copy_of(&number.to_be_bytes().repeat(8));
            let wrapped = service.wrap(&cmk, &number.to_be_bytes(), &plain).await.unwrap();
            let back = service.unwrap(&cmk, &number.to_be_bytes(), &wrapped).await.unwrap();
            assert!(back.matches(plain.expose()));
        });
    }
    while let Some(done) = calls.join_next().await {
        done.unwrap();
    }
    assert_eq!(service.status().in_flight, 0);
}

#[tokio::test]
async fn a_call_beyond_the_queue_is_refused_as_busy() {
    let stand = Stand::new().await;
    let service = start(strongroom_hsm::TokenConfig { queue: 4, ..stand.config() }, &[]).await.unwrap();
    let worker = service.status().worker_pid.unwrap();
    send_signal(worker, "-STOP");
    let mut calls = JoinSet::new();
    for _ in 0..4 {
        let service = service.clone();
        calls.spawn(async move { service.random(8).await });
    }
    crate::stand::eventually("four calls under way", || service.status().in_flight == 4).await;
    let fifth = service.random(8).await;
    assert!(matches!(fifth, Err(HsmError::Busy { .. })), "{fifth:?}");
    send_signal(worker, "-CONT");
    while let Some(done) = calls.join_next().await {
        assert_eq!(done.unwrap().unwrap().len(), 8);
    }
    assert!(service.random(8).await.is_ok());
}

#[tokio::test]
async fn a_caller_that_goes_away_does_not_disturb_the_rest() {
    let stand = Stand::new().await;
    let service = stand.service(&[]).await;
    for _ in 0..50 {
        let call = service.random(16);
        tokio::select! {
            biased;
            _ = call => {}
            () = tokio::task::yield_now() => {}
        }
        assert_eq!(service.random(16).await.unwrap().len(), 16);
    }
    crate::stand::eventually("every call ended", || service.status().in_flight == 0).await;
}

#[tokio::test]
async fn a_key_that_was_never_named_is_missing() {
    let stand = Stand::new().await;
    let service = stand.service(&[]).await;
    let cmk = key(KeyKind::CustomerMaster);
    service.generate(&cmk).await.unwrap();
    let unknown = service.wrap(&key(KeyKind::CustomerMaster), b"", &data_key()).await;
    assert!(matches!(unknown, Err(HsmError::KeyMissing { .. })), "{unknown:?}");
    let renamed = strongroom_hsm::KeyRef { label: "another".into(), ..cmk.clone() };
    let unknown = service.wrap(&renamed, b"", &data_key()).await;
    assert!(matches!(unknown, Err(HsmError::KeyMissing { .. })), "{unknown:?}");
    let misused = service.mac(&cmk, b"row").await;
    assert!(matches!(misused, Err(HsmError::Protocol { .. })), "{misused:?}");
}

#[tokio::test]
async fn the_report_tells_what_the_token_is_and_can_do() {
    let stand = Stand::new().await;
    let service = stand.service(&[]).await;
    service.generate(&key(KeyKind::CustomerMaster)).await.unwrap();
    let report = service.report().await.unwrap();
    assert_eq!((report.label.as_str(), &report.serial), (LABEL, &stand.serial));
    assert!(report.manufacturer.contains("SoftHSM"));
    assert_eq!(report.sessions, 4);
    assert!(report.mechanisms.iter().all(|mechanism| mechanism.present), "{:?}", report.mechanisms);
    assert_eq!(report.self_tests.len(), 3);
    assert!(report.self_tests.iter().all(|test| test.failure.is_none()), "{:?}", report.self_tests);
    let status = service.status();
    assert_eq!((status.token_serial, status.sessions), (stand.serial.clone(), 4));
}
