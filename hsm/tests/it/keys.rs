//! Keys are found, proven, or refused.

use strongroom_hsm::{HsmError, KeyKind, KeyRef, KnownKey};

use crate::outside::{Deed, perform};
use crate::stand::{Stand, data_key, eventually, key, send_signal};

const KINDS: [KeyKind; 3] = [KeyKind::CustomerMaster, KeyKind::Integrity, KeyKind::AuditSigning];

async fn make(stand: &Stand, kind: KeyKind) -> KnownKey {
    let service = stand.service(&[]).await;
    let known = service.generate(&key(kind)).await.unwrap();
    service.stop().await;
    known
}

#[tokio::test]
async fn keys_are_proven_at_the_next_start_and_open_what_they_sealed() {
    let stand = Stand::new().await;
    let service = stand.service(&[]).await;
    let mut known = Vec::new();
    for kind in KINDS {
        known.push(service.generate(&key(kind)).await.unwrap());
    }
    let (cmk, integrity, signing) = (&known[0].key, &known[1].key, &known[2].key);
    let wrapped = service.wrap(cmk, b"context", &data_key()).await.unwrap();
    let mac = service.mac(integrity, b"row").await.unwrap();
    let point = service.public_key(signing).await.unwrap();
    service.stop().await;

    let service = stand.service(&known).await;
    assert!(service.unwrap(cmk, b"context", &wrapped).await.unwrap().matches(data_key().expose()));
    assert_eq!(service.mac(integrity, b"row").await.unwrap(), mac);
    assert_eq!(service.public_key(signing).await.unwrap(), point);
}

#[tokio::test]
async fn a_key_that_is_asked_for_twice_is_made_once() {
    let stand = Stand::new().await;
    let service = stand.service(&[]).await;
    for (kind, objects) in KINDS.into_iter().zip([1, 1, 2]) {
        let key = key(kind);
        let mut attempts = tokio::task::JoinSet::new();
        for _ in 0..4 {
            let (service, key) = (service.clone(), key.clone());
            attempts.spawn(async move { service.generate(&key).await.unwrap() });
        }
        let known = attempts.join_all().await;
        assert_eq!(perform(&stand, &Deed::Count(key)), objects, "{kind:?}");
        // Each answer proves the same key.
        for known in known {
            service.add_key(known).await.unwrap();
        }
    }
}

#[tokio::test]
async fn a_key_is_served_once_it_is_added() {
    let stand = Stand::new().await;
    let known = make(&stand, KeyKind::CustomerMaster).await;
    let service = stand.service(&[]).await;
    let before = service.wrap(&known.key, b"", &data_key()).await;
    assert!(matches!(before, Err(HsmError::KeyMissing { .. })), "{before:?}");
    service.add_key(known.clone()).await.unwrap();
    service.wrap(&known.key, b"", &data_key()).await.unwrap();
}

#[tokio::test]
async fn a_key_of_a_laxer_template_is_refused() {
    let stand = Stand::new().await;
    for deed in [Deed::MakeLax as fn(KeyRef) -> Deed, Deed::MakeModifiable] {
        let key = key(KeyKind::CustomerMaster);
        assert_eq!(perform(&stand, &deed(key.clone())), 1);
        let planted = KnownKey { key: key.clone(), check: vec![1, 12] };
        let refused = stand.try_service(std::slice::from_ref(&planted)).await.err();
        let Some(HsmError::KeyAltered { what, .. }) = &refused else { panic!("{refused:?}") };
        assert!(what.contains("MODIFIABLE differs"), "{what}");
        let service = stand.service(&[]).await;
        let adopted = service.generate(&key).await;
        assert!(matches!(adopted, Err(HsmError::KeyAltered { .. })), "{adopted:?}");
        let added = service.add_key(planted).await;
        assert!(matches!(added, Err(HsmError::KeyAltered { .. })), "{added:?}");
        let used = service.wrap(&key, b"", &data_key()).await;
        assert!(matches!(used, Err(HsmError::KeyMissing { .. })), "{used:?}");
    }
}

#[tokio::test]
async fn two_objects_of_one_id_are_refused() {
    let stand = Stand::new().await;
    for kind in KINDS {
        let known = make(&stand, kind).await;
        perform(&stand, &Deed::Make(known.key.clone()));
        let refused = stand.try_service(&[known]).await.err();
        let Some(HsmError::KeyAltered { what, .. }) = &refused else { panic!("{refused:?}") };
        assert!(what.contains("2 objects"), "{what}");
    }
}

#[tokio::test]
async fn a_second_object_of_another_label_and_type_is_noticed_too() {
    let stand = Stand::new().await;
    let known = make(&stand, KeyKind::CustomerMaster).await;
    let twin = KeyRef { label: "harmless".into(), kind: KeyKind::Integrity, ..known.key.clone() };
    perform(&stand, &Deed::Make(twin));
    let refused = stand.try_service(&[known]).await.err();
    assert!(matches!(refused, Some(HsmError::KeyAltered { .. })), "{refused:?}");
}

#[tokio::test]
async fn a_key_swapped_under_the_same_name_is_refused_by_its_check_value() {
    let stand = Stand::new().await;
    for kind in KINDS {
        let known = make(&stand, kind).await;
        perform(&stand, &Deed::Destroy(known.key.clone()));
        perform(&stand, &Deed::Make(known.key.clone()));
        let refused = stand.try_service(std::slice::from_ref(&known)).await.err();
        let Some(HsmError::KeyAltered { what, .. }) = &refused else { panic!("{kind:?}: {refused:?}") };
        assert!(what.contains("check value"), "{what}");
    }
}

#[tokio::test]
async fn a_missing_key_is_missing_at_the_start() {
    let stand = Stand::new().await;
    let known = make(&stand, KeyKind::CustomerMaster).await;
    assert_eq!(perform(&stand, &Deed::Destroy(known.key.clone())), 0);
    let refused = stand.try_service(std::slice::from_ref(&known)).await.err();
    assert!(matches!(refused, Some(HsmError::KeyMissing { .. })), "{refused:?}");
    assert!(refused.unwrap().to_string().contains(&known.key.label));
}

#[tokio::test]
async fn a_key_deleted_or_swapped_under_load_is_noticed_and_others_go_on() {
    let stand = Stand::new().await;
    let service = stand.service(&[]).await;
    let (doomed, safe) = (key(KeyKind::CustomerMaster), key(KeyKind::CustomerMaster));
    service.generate(&doomed).await.unwrap();
    service.generate(&safe).await.unwrap();
    let wrapped = service.wrap(&doomed, b"", &data_key()).await.unwrap();
    perform(&stand, &Deed::Destroy(doomed.clone()));
    for _ in 0..8 {
        let gone = service.unwrap(&doomed, b"", &wrapped).await;
        assert!(matches!(gone, Err(HsmError::KeyMissing { .. })), "{gone:?}");
        service.wrap(&safe, b"", &data_key()).await.unwrap();
    }
    perform(&stand, &Deed::Make(doomed.clone()));
    for _ in 0..8 {
        let swapped = service.unwrap(&doomed, b"", &wrapped).await;
        assert!(matches!(swapped, Err(HsmError::KeyAltered { .. })), "{swapped:?}");
        let sealed = service.wrap(&doomed, b"", &data_key()).await;
        assert!(matches!(sealed, Err(HsmError::KeyAltered { .. })), "{sealed:?}");
        service.wrap(&safe, b"", &data_key()).await.unwrap();
    }
    let adopted = service.generate(&doomed).await;
    assert!(matches!(adopted, Err(HsmError::KeyAltered { .. })), "{adopted:?}");
    assert_eq!(service.status().restarts, 0);
}

#[tokio::test]
async fn a_swapped_key_of_each_kind_is_never_used() {
    let stand = Stand::new().await;
    let service = stand.service(&[]).await;
    for kind in KINDS {
        let key = key(kind);
        service.generate(&key).await.unwrap();
        perform(&stand, &Deed::Destroy(key.clone()));
        perform(&stand, &Deed::Make(key.clone()));
        for attempt in 0..4 {
            let used = match kind {
                KeyKind::CustomerMaster => service.wrap(&key, b"", &data_key()).await.err(),
                KeyKind::Integrity => service.mac(&key, b"row").await.err(),
                KeyKind::AuditSigning => service.sign(&key, &[7; 32]).await.err(),
            };
            assert!(
                matches!(used, Some(HsmError::KeyAltered { .. })),
                "{kind:?}, attempt {attempt}: {used:?}"
            );
        }
    }
}

#[tokio::test]
async fn a_destroyed_key_is_gone_for_good_and_no_other_is() {
    let stand = Stand::new().await;
    let kept = make(&stand, KeyKind::CustomerMaster).await;
    let service = stand.service(std::slice::from_ref(&kept)).await;
    let doomed = key(KeyKind::CustomerMaster);
    let known = service.generate(&doomed).await.unwrap();
    service.destroy(&doomed).await.unwrap();
    assert_eq!(perform(&stand, &Deed::Count(doomed.clone())), 0);
    let gone = service.wrap(&doomed, b"", &data_key()).await;
    assert!(matches!(gone, Err(HsmError::KeyMissing { .. })), "{gone:?}");
    // The answer may have been lost: it is asked for again.
    service.destroy(&doomed).await.unwrap();
    let added = service.add_key(known).await;
    assert!(matches!(added, Err(HsmError::KeyMissing { .. })), "{added:?}");

    // Those that the service cannot do without, and those of other kinds, stay.
    for key in [kept.key.clone(), key(KeyKind::Integrity), key(KeyKind::AuditSigning)] {
        let refused = service.destroy(&key).await;
        assert!(matches!(refused, Err(HsmError::Protocol { .. })), "{refused:?}");
    }
    service.wrap(&kept.key, b"", &data_key()).await.unwrap();
}

#[tokio::test]
async fn what_is_not_plainly_the_key_is_not_destroyed() {
    let stand = Stand::new().await;
    let service = stand.service(&[]).await;
    let named = key(KeyKind::CustomerMaster);
    let other = KeyRef { label: "another name".into(), ..named.clone() };
    perform(&stand, &Deed::Make(other.clone()));
    let refused = service.destroy(&named).await;
    assert!(matches!(refused, Err(HsmError::KeyAltered { .. })), "{refused:?}");
    perform(&stand, &Deed::Make(other.clone()));
    let refused = service.destroy(&other).await;
    assert!(matches!(refused, Err(HsmError::KeyAltered { .. })), "{refused:?}");
    assert_eq!(perform(&stand, &Deed::Count(named)), 2);
}

#[tokio::test]
async fn a_key_that_was_made_later_and_is_gone_keeps_no_worker_from_serving_the_others() {
    let stand = Stand::new().await;
    let first = make(&stand, KeyKind::CustomerMaster).await;
    let (lost, kept) = (key(KeyKind::CustomerMaster), key(KeyKind::CustomerMaster));
    let service = stand.service(std::slice::from_ref(&first)).await;
    let lost = service.generate(&lost).await.unwrap();
    let kept = service.generate(&kept).await.unwrap();
    let wrapped = service.wrap(&kept.key, b"", &data_key()).await.unwrap();
    service.stop().await;
    perform(&stand, &Deed::Destroy(lost.key.clone()));

    let service = stand.service(&[first]).await;
    service.introduce(vec![lost.clone(), kept.clone()]).await.unwrap();
    // So many that one call cannot carry them to the next worker.
    let many = (0..6_000_u16).map(|number| {
        let mut id = [0xff; 16];
        id[..2].copy_from_slice(&number.to_be_bytes());
        let key = KeyRef {
            label: format!("strongroom/test/elsewhere/{number}"),
            id,
            kind: KeyKind::CustomerMaster,
        };
        KnownKey { key, check: lost.check.clone() }
    });
    service.introduce(many.collect()).await.unwrap();
    for restarts in 0..2 {
        let missing = service.wrap(&lost.key, b"", &data_key()).await;
        assert!(matches!(missing, Err(HsmError::KeyMissing { .. })), "{restarts}: {missing:?}");
        let opened = service.unwrap(&kept.key, b"", &wrapped).await.unwrap();
        assert!(opened.matches(data_key().expose()));
        send_signal(service.status().worker_pid.unwrap(), "-KILL");
        eventually("a new worker", || service.status().restarts == restarts + 1 && service.is_ready()).await;
    }
    // Another key in its place is not taken for it.
    perform(&stand, &Deed::Make(lost.key.clone()));
    let swapped = service.wrap(&lost.key, b"", &data_key()).await;
    assert!(matches!(swapped, Err(HsmError::KeyAltered { .. })), "{swapped:?}");
}
