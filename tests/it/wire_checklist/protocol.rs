//! Section 2 of kms-secrets.md by its parts.

use super::signers::{Draft, FORM, Scheme};
use super::{KMS, acs3, send, served, wrong};
use crate::harness::{AccessKey, Appliance, Request};

#[tokio::test]
async fn section_2_1_get_and_post_serve_reads_and_writes_and_nothing_is_compressed() {
    let appliance = Appliance::running().await;
    for (number, method) in ["GET", "POST"].into_iter().enumerate() {
        let name = format!("s-{number}");
        let parameters = [("SecretName", name.as_str()), ("VersionId", "v1"), ("SecretData", "x")];
        let v1 = Request::v1(appliance.admin_key(), "CreateSecret", KMS, &parameters).query(method);
        served(&appliance, &v1).await;
        let read = acs3(&appliance, "GetSecretValue").query(&parameters[..1]);
        let request = Draft { method, ..read }.sign().header("accept-encoding", "gzip, deflate, br");
        let reply = send(&appliance, &request).await;
        assert_eq!((reply.status, reply.json()["SecretData"].as_str()), (200, Some("x")));
        assert!(!reply.headers.contains_key("content-encoding"));
        assert_eq!(reply.headers["content-type"], "application/json;charset=utf-8");
        assert_eq!(reply.headers["cache-control"], "no-store");
        assert_eq!(reply.headers["content-length"], reply.body.len().to_string());
        assert_eq!(reply.json()["RequestId"], reply.request_id());
    }
    for method in ["PUT", "DELETE", "OPTIONS", "TRACE"] {
        let request = Request::v1(appliance.admin_key(), "ListSecrets", KMS, &[]).query(method);
        let reply = send(&appliance, &request).await;
        assert_eq!((reply.status, reply.code().as_str()), (403, "UnsupportedHTTPMethod"), "{method}");
    }
    for (format, status) in
        [("json", 200), ("JSON", 200), ("Json", 200), ("XML", 400), ("xml", 400), ("", 400)]
    {
        let v1 = Request::v1(appliance.admin_key(), "ListSecrets", KMS, &[]).set("Format", format);
        let reply = send(&appliance, &v1.query("POST")).await;
        assert_eq!(reply.status, status, "{format}: {}", reply.json());
        assert_eq!(reply.headers["content-type"], "application/json;charset=utf-8");
    }
    let v1 = Request::v1(appliance.admin_key(), "ListSecrets", KMS, &[]).without("Format");
    served(&appliance, &v1.query("POST")).await;
}

#[tokio::test]
async fn section_2_2_the_scheme_is_that_of_the_header_or_else_v1_and_never_both() {
    let appliance = Appliance::running().await;
    let draft = |scheme, key: &AccessKey| Draft::new(&appliance, scheme, key, "ListSecrets", KMS);
    for scheme in Scheme::ALL {
        served(&appliance, &draft(scheme, appliance.admin_key()).sign()).await;
        let forged = draft(scheme, &wrong(appliance.admin_key())).sign();
        assert_eq!(send(&appliance, &forged).await.code(), "SignatureDoesNotMatch", "{scheme:?}");
        let both = draft(scheme, appliance.admin_key()).query(&[("Signature", "AAAA")]).sign();
        assert_eq!(send(&appliance, &both).await.code(), "IncompleteSignature", "{scheme:?}");
    }
    // A nonce counts for the key, whatever the scheme.
    for (number, scheme) in Scheme::ALL.into_iter().enumerate() {
        let again = draft(scheme, appliance.admin_key()).header("x-acs-signature-nonce", "the-same").sign();
        let code = send(&appliance, &again).await.code();
        assert_eq!(code, if number == 0 { "" } else { "SignatureNonceUsed" }, "{scheme:?}");
    }
    for other in ["ACS3-RSA-SHA256", "ACS4-HMAC-SM3", "Bearer", "Basic", "acs3-hmac-sha256"] {
        let mut request = acs3(&appliance, "ListSecrets").sign();
        for (_, value) in request.headers.iter_mut().filter(|(name, _)| name == "authorization") {
            *value = value.replace("ACS3-HMAC-SHA256", other);
        }
        let reply = send(&appliance, &request).await;
        assert_eq!((reply.status, reply.code().as_str()), (400, "IncompleteSignature"), "{other}");
    }
    for (missing, told) in [("Signature", "Signature"), ("AccessKeyId", "AccessKeyId")] {
        let mut request = Request::v1(appliance.admin_key(), "ListSecrets", KMS, &[]).query("POST");
        let parts = request.target.trim_start_matches("/?").split('&').map(str::to_owned);
        let kept: Vec<_> = parts.filter(|part| !part.starts_with(&format!("{missing}="))).collect();
        request.target = format!("/?{}", kept.join("&"));
        let reply = send(&appliance, &request).await;
        assert_eq!(reply.code(), "MissingParameter");
        assert!(reply.json()["Message"].as_str().unwrap().contains(told), "{}", reply.json());
    }
}

#[tokio::test]
async fn section_2_3_names_keep_their_case_blank_values_stay_and_unknown_ones_are_ignored() {
    let appliance = Appliance::running().await;
    appliance.admin().create_secret("db", "one").await;
    let get = |parameters: &[(&str, &str)]| {
        Request::v1(appliance.admin_key(), "GetSecretValue", KMS, parameters).query("POST")
    };
    let added = [("SecretName", "db"), ("RegionId", "cn-hangzhou"), ("AccessKeySecretless", ""), ("x", "y")];
    served(&appliance, &get(&added)).await;
    assert_eq!(send(&appliance, &get(&[("secretname", "db")])).await.code(), "MissingParameter");
    let blank = send(&appliance, &get(&[("SecretName", "")])).await;
    assert_eq!(blank.code(), "InvalidParameter", "{}", blank.json());
    let mut empty_pieces = get(&[("SecretName", "db")]);
    empty_pieces.target = empty_pieces.target.replace("/?", "/?&").replacen('&', "&&", 3) + "&";
    served(&appliance, &empty_pieces).await;
    for kind in ["application/json", "text/xml", "multipart/form-data; boundary=x"] {
        let draft =
            Draft { body: b"{}".to_vec(), ..acs3(&appliance, "ListSecrets").header("content-type", kind) };
        assert_eq!(send(&appliance, &draft.sign()).await.code(), "InvalidParameter", "{kind}");
    }
}

#[tokio::test]
async fn section_2_5_the_list_of_signed_headers_is_held_to_its_rules() {
    let appliance = Appliance::running().await;
    let names = "host;x-acs-action;x-acs-content-sha256;x-acs-date;x-acs-signature-nonce;x-acs-version";
    let signed = |headers: &str| {
        let mut request = acs3(&appliance, "ListSecrets").sign();
        for (_, value) in request.headers.iter_mut().filter(|(name, _)| name == "authorization") {
            *value = value.replace(names, headers);
        }
        request
    };
    served(&appliance, &signed(names)).await;
    let mut spaced = signed(names);
    for (_, value) in spaced.headers.iter_mut().filter(|(name, _)| name == "authorization") {
        *value = value.replace(',', ", ");
    }
    served(&appliance, &spaced).await;
    let reversed = names.split(';').rev().collect::<Vec<_>>().join(";");
    let doubled = format!("{names};x-acs-version");
    for headers in
        [names.to_uppercase(), reversed, doubled, format!("{names};"), format!("{names};x-acs-zone")]
    {
        let reply = send(&appliance, &signed(&headers)).await;
        assert_eq!((reply.status, reply.code().as_str()), (400, "IncompleteSignature"), "{headers}");
    }
    for needed in names.split(';') {
        let fewer: Vec<_> = names.split(';').filter(|name| *name != needed).collect();
        let reply = send(&appliance, &signed(&fewer.join(";"))).await;
        assert_eq!((reply.status, reply.code().as_str()), (400, "IncompleteSignature"), "{needed}");
    }
    // The hash of the body is taken of the body.
    let mut draft = acs3(&appliance, "ListSecrets").form(&[("PageSize", "5")]);
    draft.headers.insert("x-acs-content-sha256".to_owned(), "0".repeat(64));
    assert_eq!(send(&appliance, &draft.sign()).await.code(), "SignatureDoesNotMatch");
}

#[tokio::test]
async fn section_2_7_a_security_token_has_to_be_signed_and_none_is_good_here() {
    let appliance = Appliance::running().await;
    let admin = appliance.admin_key();
    let temporary = AccessKey { id: "STS.NTexampleexample".to_owned(), ..admin.clone() };
    let v1 = |key: &AccessKey| Request::v1(key, "ListSecrets", KMS, &[]);
    let token = ("x-acs-security-token", "CAIStoken+/==");
    let draft = |scheme, key: &AccessKey| Draft::new(&appliance, scheme, key, "ListSecrets", KMS);
    let malformed = "InvalidSecurityToken.Malformed";
    let mut cases = vec![
        ("V1, temporary, with token", v1(&temporary).set("SecurityToken", token.1).query("POST"), malformed),
        ("V1, temporary, without", v1(&temporary).query("POST"), "MissingSecurityToken"),
        ("V1, permanent, with token", v1(admin).set("SecurityToken", token.1).query("POST"), malformed),
        ("V1, empty token", v1(admin).set("SecurityToken", "").query("POST"), "InvalidParameter"),
    ];
    for scheme in Scheme::ALL {
        let of = |key: &AccessKey| draft(scheme, key).header(token.0, token.1);
        let told = |key: &AccessKey| of(key).header("x-acs-accesskey-id", &key.id);
        let other = of(&temporary).header("x-acs-accesskey-id", "STS.another");
        cases.extend([
            ("temporary, with token", told(&temporary).sign(), malformed),
            ("temporary, without", draft(scheme, &temporary).sign(), "MissingSecurityToken"),
            ("permanent, with token", told(admin).sign(), malformed),
            ("of another key", other.sign(), "IncompleteSignature"),
            ("unsigned", draft(scheme, admin).sign().header(token.0, token.1), "IncompleteSignature"),
        ]);
    }
    for (case, request, code) in cases {
        let reply = send(&appliance, &request).await;
        assert_eq!((reply.status, reply.code().as_str()), (400, code), "{case}: {}", reply.json());
        let record = appliance.audit_of(&reply.request_id()).pop().unwrap();
        assert_eq!(record["userIdentity"]["type"], "unknown", "{case}");
        assert!(!record.to_string().contains(token.1), "{case}");
    }
    assert!(!appliance.log().contains(token.1));
}

#[tokio::test]
async fn section_2_9_what_is_checked_first_is_told_first() {
    let appliance = Appliance::running().await;
    let forger = wrong(appliance.admin_key());
    let unknown = AccessKey { id: "LTAInobody".to_owned(), ..forger.clone() };
    let old = crate::harness::wire::timestamp(-3_600);
    let nobody = appliance.user_with(&[]).await;
    let v1 = |key: &AccessKey, action: &str| Request::v1(key, action, KMS, &[]);
    let used = v1(nobody.key(), "GetSecretValue").query("POST");
    send(&appliance, &used).await;
    for (case, request, code) in [
        ("encoding before scheme", Request::new("POST", "/?a=%zz"), "ParseRequestParameterException"),
        (
            "scheme before action",
            v1(&forger, "Nothing").set("SignatureVersion", "2").query("POST"),
            "InvalidParameter",
        ),
        (
            "action before time",
            v1(&forger, "Nothing").set("Timestamp", &old).query("POST"),
            "InvalidAction.NotFound",
        ),
        (
            "time before key",
            v1(&unknown, "GetSecretValue").set("Timestamp", &old).query("POST"),
            "InvalidTimeStamp.Expired",
        ),
        ("key before signature", v1(&unknown, "GetSecretValue").query("POST"), "InvalidAccessKeyId.NotFound"),
        ("signature before parameters", v1(&forger, "GetSecretValue").query("POST"), "SignatureDoesNotMatch"),
        ("nonce before parameters", used, "SignatureNonceUsed"),
        ("parameters before rights", v1(nobody.key(), "GetSecretValue").query("POST"), "MissingParameter"),
        (
            "rights before what there is",
            Request::v1(nobody.key(), "GetSecretValue", KMS, &[("SecretName", "none")]).form(),
            "Forbidden.NoPermission",
        ),
    ] {
        let reply = send(&appliance, &request).await;
        assert_eq!(reply.code(), code, "{case}: {}", reply.json());
    }
}

#[tokio::test]
async fn section_2_10_an_error_names_the_host_that_was_asked() {
    let appliance = Appliance::running().await;
    let nobody = appliance.user_with(&[]).await;
    let request = Request::v1(nobody.key(), "ListSecrets", KMS, &[]).query("POST");
    let reply =
        send(&appliance, &request.header("host", "vault.example:8443").header("content-type", FORM)).await;
    let answer = reply.json();
    assert_eq!(answer["HostId"], "vault.example:8443");
    assert_eq!(answer["HttpStatus"], 403);
    let detail = answer["AccessDeniedDetail"].as_object().unwrap();
    for member in [
        "PolicyType",
        "AuthAction",
        "AuthPrincipalOwnerId",
        "AuthPrincipalType",
        "AuthPrincipalDisplayName",
        "NoPermissionType",
    ] {
        assert!(detail[member].is_string(), "{member}: {detail:?}");
    }
}
