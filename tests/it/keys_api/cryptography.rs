//! Encrypting, decrypting and data keys.

use data_encoding::BASE64;
use serde_json::json;

use super::{arn, create, decrypt, describe, encrypt, is};
use crate::harness::Appliance;

#[tokio::test]
async fn what_was_encrypted_comes_back_in_the_same_context_only() {
    let appliance = Appliance::running().await;
    let admin = appliance.admin();
    let (key, other) = (create(&admin, &[]).await, create(&admin, &[]).await);
    admin.ok("CreateAlias", &[("AliasName", "alias/k"), ("KeyId", &key)]).await;
    for plain in [&b"\0"[..], b"Marker-Plain", &[0xff; 6_144]] {
        for name in [key.as_str(), "alias/k", &arn("alias/k"), &arn(&format!("key/{key}"))] {
            let blob = encrypt(&admin, name, plain, &[]).await;
            let answer = admin.ok("Decrypt", &[("CiphertextBlob", &blob)]).await;
            assert_eq!(answer["Plaintext"], BASE64.encode(plain), "{name}");
            assert_eq!(answer["KeyId"], key);
            assert_eq!(answer["KeyVersionId"], describe(&admin, &key).await["PrimaryKeyVersion"]);
        }
    }
    let context = [("EncryptionContext", r#"{"order":"4711","app":"shop"}"#)];
    let blob = encrypt(&admin, &key, b"Marker-Plain", &context).await;
    let again = [("EncryptionContext", r#"{ "app" : "shop", "order" : "4711" }"#)];
    assert_eq!(decrypt(&admin, &blob, &again).await.unwrap(), b"Marker-Plain");
    for wrong in [
        r#"{"order":"4711"}"#,
        r#"{"order":"4712","app":"shop"}"#,
        r#"{"Order":"4711","app":"shop"}"#,
        "{}",
        "",
    ] {
        let refused = decrypt(&admin, &blob, &[("EncryptionContext", wrong)]).await.unwrap_err();
        assert_eq!(refused, is(400, "InvalidParameter"), "{wrong}");
    }
    assert_eq!(decrypt(&admin, &blob, &[]).await.unwrap_err(), is(400, "InvalidParameter"));
    // No context is an empty one, in each way to say so.
    let bare = encrypt(&admin, &key, b"x", &[("EncryptionContext", "{}")]).await;
    assert_eq!(decrypt(&admin, &bare, &[]).await.unwrap(), b"x");

    // A changed byte anywhere is noticed.
    let bytes = BASE64.decode(blob.as_bytes()).unwrap();
    for at in [0, 3, 4, 10, 20, 30, 36, 37, 40, bytes.len() - 20, bytes.len() - 1] {
        let mut changed = bytes.clone();
        changed[at] ^= 1;
        let refused = decrypt(&admin, &BASE64.encode(&changed), &context).await.unwrap_err();
        // A blob that names another key names none that there is.
        let expected = if (4..20).contains(&at) {
            is(404, "Forbidden.KeyNotFound")
        } else {
            is(400, "InvalidParameter")
        };
        assert_eq!(refused, expected, "byte {at}");
    }
    let mut grafted = bytes.clone();
    let foreign = BASE64.decode(encrypt(&admin, &other, b"y", &[]).await.as_bytes()).unwrap();
    grafted[4..36].copy_from_slice(&foreign[4..36]);
    let refused = decrypt(&admin, &BASE64.encode(&grafted), &context).await.unwrap_err();
    assert_eq!(refused, is(400, "InvalidParameter"), "under another key");

    // Nothing of it is in what stays.
    let kept = appliance.audit_events().iter().map(ToString::to_string).collect::<String>();
    for text in [kept, appliance.log(), appliance.rows().concat()] {
        assert!(!text.contains("Marker-Plain") && !text.contains(&BASE64.encode(b"Marker-Plain")));
    }
    let events = appliance.audit_events();
    let made: Vec<_> = events.iter().filter(|event| event["eventName"] == "Encrypt").collect();
    let with_context =
        made.iter().find(|event| event["requestParameters"].get("EncryptionContext").is_some());
    let record = with_context.unwrap();
    assert_eq!(record["requestParameters"]["Plaintext"], "******");
    assert_eq!(record["referencedResources"], json!({ "ACS::KMS::Key": [key] }));
}

#[tokio::test]
async fn what_is_no_base64_or_no_context_is_refused_without_repeating_it() {
    let appliance = Appliance::running().await;
    let admin = appliance.admin();
    let key = create(&admin, &[]).await;
    let long = BASE64.encode(&[7; 6_145]);
    for plain in ["", "a", "abc", "Marker-Plain", "TWFya2Vy\n", "TWFya2V=", "TW=ya2Vy", "_-__", "====", &long]
    {
        let refused = admin.call("Encrypt", &[("KeyId", &key), ("Plaintext", plain)]).await.unwrap_err();
        assert_eq!((refused.status, refused.code.as_str()), (400, "InvalidParameter"), "{plain:.40}");
        assert!(
            refused.message.contains("Plaintext") && !refused.message.contains("Marker"),
            "{}",
            refused.message
        );
    }
    for context in
        ["x", "[]", r#"{"a":1}"#, r#"{"a":null}"#, r#"{"a":"1","a":"2"}"#, r#"{"a":{"b":"c"}}"#, "\"a\""]
    {
        for (action, more) in [
            ("Encrypt", ("Plaintext", "eA==")),
            ("GenerateDataKey", ("NumberOfBytes", "1")),
            ("GenerateDataKeyWithoutPlaintext", ("NumberOfBytes", "1")),
        ] {
            let call = [("KeyId", key.as_str()), more, ("EncryptionContext", context)];
            assert_eq!(admin.refused(action, &call).await, is(400, "InvalidParameter"), "{action} {context}");
        }
    }
    for blob in ["", "x", "eA==", &BASE64.encode(b"SRK\x01"), &BASE64.encode(&[0; 100])] {
        assert_eq!(decrypt(&admin, blob, &[]).await.unwrap_err(), is(400, "InvalidParameter"), "{blob}");
    }
    let kept = appliance.audit_events().iter().map(ToString::to_string).collect::<String>();
    assert!(!kept.contains("Marker-Plain") && !kept.contains("TWFya2Vy"));
}

#[tokio::test]
async fn a_data_key_has_the_length_that_was_asked_for_and_opens_from_its_blob() {
    let appliance = Appliance::running().await;
    let admin = appliance.admin();
    let key = create(&admin, &[]).await;
    let mut seen = Vec::new();
    for (more, length) in [
        (&[][..], 32),
        (&[("KeySpec", "AES_256")], 32),
        (&[("KeySpec", "AES_128")], 16),
        (&[("NumberOfBytes", "1")], 1),
        (&[("NumberOfBytes", "1024")], 1_024),
        (&[("KeySpec", "AES_128"), ("NumberOfBytes", "24")], 24),
    ] {
        let context = ("EncryptionContext", r#"{"a":"b"}"#);
        let call = [&[("KeyId", key.as_str()), context], more].concat();
        let answer = admin.ok("GenerateDataKey", &call).await;
        let plain = BASE64.decode(answer["Plaintext"].as_str().unwrap().as_bytes()).unwrap();
        assert_eq!(plain.len(), length, "{more:?}");
        let blob = answer["CiphertextBlob"].as_str().unwrap();
        assert_eq!(decrypt(&admin, blob, &[context]).await.unwrap(), plain);
        assert!(decrypt(&admin, blob, &[]).await.is_err());
        let answer = admin.ok("GenerateDataKeyWithoutPlaintext", &call).await;
        assert!(answer.get("Plaintext").is_none());
        let other = decrypt(&admin, answer["CiphertextBlob"].as_str().unwrap(), &[context]).await.unwrap();
        assert_eq!(other.len(), length);
        if length >= 16 {
            assert!(!seen.contains(&plain) && !seen.contains(&other) && plain != other, "a key came twice");
            seen.extend([plain, other]);
        }
    }
    for more in [("NumberOfBytes", "0"), ("NumberOfBytes", "1025"), ("KeySpec", "AES_512"), ("KeySpec", "")] {
        for action in ["GenerateDataKey", "GenerateDataKeyWithoutPlaintext"] {
            let refused = admin.refused(action, &[("KeyId", &key), more]).await;
            assert_eq!(refused, is(400, "InvalidParameter"), "{action} {more:?}");
        }
    }
}

#[tokio::test]
async fn a_dry_run_never_gives_anything_and_says_what_would_be() {
    let appliance = Appliance::running().await;
    let admin = appliance.admin();
    let nobody = appliance.user_with(&[]).await;
    let key = create(&admin, &[]).await;
    let blob = encrypt(&admin, &key, b"x", &[]).await;
    for (action, parameter, bad) in [
        ("Encrypt", ("Plaintext", "eA=="), ("Plaintext", "x")),
        ("Decrypt", ("CiphertextBlob", blob.as_str()), ("CiphertextBlob", "x")),
        ("GenerateDataKey", ("NumberOfBytes", "1"), ("NumberOfBytes", "0")),
        ("GenerateDataKeyWithoutPlaintext", ("NumberOfBytes", "1"), ("NumberOfBytes", "0")),
    ] {
        let call = |parameter| {
            let mut call = vec![parameter, ("DryRun", "true")];
            if action != "Decrypt" {
                call.push(("KeyId", key.as_str()));
            }
            call
        };
        assert_eq!(
            admin.refused(action, &call(parameter)).await,
            is(400, "DryRunOperationError"),
            "{action}"
        );
        assert_eq!(admin.refused(action, &call(bad)).await, is(400, "ValidationError"), "{action}");
        assert_eq!(nobody.refused(action, &call(parameter)).await, is(403, "AccessDeniedError"), "{action}");
    }
    for (action, first) in
        [("Decrypt", ("CiphertextBlob", blob.as_str())), ("GenerateDataKey", ("KeyId", key.as_str()))]
    {
        let refused = admin.refused(action, &[first, ("Recipient", "{}")]).await;
        assert_eq!(refused, is(400, "UnsupportedOperation"), "{action}");
        admin.ok(action, &[first, ("Recipient", "")]).await;
    }
}
