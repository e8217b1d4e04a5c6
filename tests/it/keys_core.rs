//! Customer master keys on a real token, below the wire: what they encrypt,
//! what their states allow, and what is left of them.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use strongroom::audit::{Access, EventId, Journal, Recorder, Settings as JournalSettings, Tail};
use strongroom::keys::{KeyError, Keys, KeysError, NewKey, Record, Settings};
use strongroom::model::key::{EncryptionContext, KeyName, KeyRecord, KeyState, ProtectionLevel};
use strongroom::model::{
    AccountId, AliasName, Ciphertext, KeyId, ManualClock, RegionId, RotationInterval, Schedule,
    SecretDataType, SecretName, SecretType, Tag, Timestamp, VersionId, VersionStage,
};
use strongroom::runtime::Blocking;
use strongroom::seal::{DataKeyCache, Integrity, KeyRefusal, MasterKey, SealError, Sealer};
use strongroom::store::Store;
use strongroom::store::sqlite::SqliteStore;
use strongroom::vault::{Deletion, NewSecret, NewVersion, Pick, Vault, VaultError};
use strongroom_hsm::{
    HsmError, KeyKind, KeyRef, KeyService, KnownKey, SecretBytes, TokenConfig, WorkerProgram,
    initialize_token,
};
use tempfile::TempDir;

const MODULE: &str = "/usr/lib/softhsm/libsofthsm2.so";
const DAY: i64 = 86_400;

/// A vault on a token and a store of its own, on a clock that the test moves.
struct Stand {
    folder: TempDir,
    own: Vec<KnownKey>,
    clock: Arc<ManualClock>,
    service: KeyService,
    store: Arc<dyn Store>,
    keys: Arc<Keys>,
    vault: Vault,
    access: Access,
    unasked: Record,
    settings: Settings,
}

fn program() -> WorkerProgram {
    WorkerProgram { program: env!("CARGO_BIN_EXE_strongroom").into(), args: vec!["hsm-worker".to_owned()] }
}

fn pin() -> SecretBytes {
    SecretBytes::copy_of(b"12345678")
}

fn config(folder: &Path) -> TokenConfig {
    TokenConfig { softhsm_conf: Some(folder.join("softhsm2.conf")), ..TokenConfig::new(MODULE, "keys") }
}

impl Stand {
    async fn new() -> Self {
        Self::with(Settings::default()).await
    }

    async fn with(settings: Settings) -> Self {
        assert!(Path::new(MODULE).exists(), "these tests need SoftHSM: install the Debian package softhsm2");
        let folder = TempDir::new().unwrap();
        let tokens = folder.path().join("tokens");
        std::fs::create_dir(&tokens).unwrap();
        let text = format!("directories.tokendir = {}\nobjectstore.backend = file\n", tokens.display());
        std::fs::write(folder.path().join("softhsm2.conf"), text).unwrap();
        let conf = folder.path().join("softhsm2.conf");
        initialize_token(program(), Path::new(MODULE), Some(&conf), "keys", pin(), pin()).await.unwrap();
        let service = KeyService::start(program(), config(folder.path()), pin(), Vec::new()).await.unwrap();
        let mut own = Vec::new();
        for (number, kind) in [(1, KeyKind::CustomerMaster), (2, KeyKind::Integrity)] {
            let key = KeyRef { label: format!("own-{number}"), id: [number; 16], kind };
            own.push(service.generate(&key).await.unwrap());
        }
        service.stop().await;
        let audit = folder.path().join("audit");
        strongroom::audit::create(&audit, "test").unwrap();
        let journal = Journal::open(&audit, &JournalSettings::new(EventId::new(0, [0; 10]))).unwrap().journal;
        let recorder = Recorder::new(Arc::new(journal));
        let (access, unasked) = (recorder.read().unwrap(), Record::new(recorder, "test".to_owned()));
        let clock = Arc::new(ManualClock::at(Timestamp::from_millis(1_700_000_000_000)));
        let (service, store, keys, vault) = open(folder.path(), &own, &clock, &settings).await.unwrap();
        Self { folder, own, clock, service, store, keys, vault, access, unasked, settings }
    }

    /// Stops everything, and opens it again from the disk.
    async fn restart(&mut self) -> Result<(), KeysError> {
        self.service.stop().await;
        let (service, store, keys, vault) =
            open(self.folder.path(), &self.own, &self.clock, &self.settings).await?;
        (self.service, self.store, self.keys, self.vault) = (service, store, keys, vault);
        Ok(())
    }

    /// What was done unasked, as it is on record.
    fn events(&self) -> Vec<Value> {
        let mut tail = Tail::open(&self.folder.path().join("audit"), usize::MAX).unwrap();
        std::iter::from_fn(|| tail.read().unwrap()).map(|line| line.event().unwrap()).collect()
    }

    /// Another program that uses the same token.
    async fn elsewhere(&self) -> KeyService {
        KeyService::start(program(), config(self.folder.path()), pin(), Vec::new()).await.unwrap()
    }

    async fn create(&self) -> KeyId {
        self.keys.create(&self.access, new_key()).await.unwrap().id.clone()
    }

    fn record(&self, key: &KeyId) -> Arc<KeyRecord> {
        self.keys.find(&KeyName::Id(key.clone())).unwrap()
    }

    async fn encrypt(&self, key: &KeyId, text: &str) -> Result<Ciphertext, KeyError> {
        let plain = SecretBytes::copy_of(text.as_bytes());
        self.keys.encrypt(&self.access, key, &plain, &context("{}")).await
    }

    async fn decrypt(&self, ciphertext: &Ciphertext) -> Result<SecretBytes, KeyError> {
        self.keys.decrypt(&self.access, ciphertext, &context("{}")).await
    }

    /// Creates a secret whose value is its name.
    async fn secret(&self, name: &str, key: Option<&KeyId>) -> Result<(), VaultError> {
        let new = NewSecret {
            name: secret_name(name),
            kind: SecretType::Generic,
            description: String::new(),
            encryption_key: key.cloned(),
            ecs: None,
            schedule: Schedule::OFF,
            tags: Vec::new(),
            dkms_instance: String::new(),
            policy: None,
            version: VersionId::parse("v1").unwrap(),
            data_type: SecretDataType::Text,
            data: SecretBytes::copy_of(name.as_bytes()),
            key_fingerprint: None,
        };
        self.vault.create(&self.access, new).await.map(drop)
    }

    async fn read(&self, name: &str) -> Result<SecretBytes, VaultError> {
        let pick = Pick::Stage(VersionStage::Current);
        self.vault.read(&self.access, &secret_name(name), &pick).await.map(|value| value.data)
    }

    async fn put(&self, name: &str, version: &str) -> Result<(), VaultError> {
        let new = NewVersion {
            id: VersionId::parse(version).unwrap(),
            data_type: SecretDataType::Text,
            data: SecretBytes::copy_of(version.as_bytes()),
            stages: Vec::new(),
        };
        self.vault.put(&self.access, &secret_name(name), &new).await.map(drop)
    }

    fn pass(&self, days: i64) {
        self.clock.advance_seconds(days * DAY);
    }
}

async fn open(
    folder: &Path,
    own: &[KnownKey],
    clock: &Arc<ManualClock>,
    settings: &Settings,
) -> Result<(KeyService, Arc<dyn Store>, Arc<Keys>, Vault), KeysError> {
    let service = KeyService::start(program(), config(folder), pin(), own.to_vec()).await.unwrap();
    let integrity = Arc::new(Integrity::derive(&service, &own[1].key, "test").await.unwrap());
    let store: Arc<dyn Store> =
        Arc::new(SqliteStore::open(&folder.join("strongroom.db"), Blocking::new(4)).unwrap());
    let masters = vec![MasterKey { key: own[0].key.clone(), version: 1 }];
    let cache = Arc::new(DataKeyCache::new(100, Duration::from_secs(300)));
    let sealer = Sealer::new(service.clone(), masters, Some(cache));
    let (account, region) = (AccountId::parse("1").unwrap(), RegionId::parse("cn-hangzhou").unwrap());
    let keys = Keys::load(
        account.clone(),
        region.clone(),
        "test".to_owned(),
        Arc::clone(&store),
        Arc::clone(&integrity),
        sealer.clone(),
        Arc::clone(clock) as _,
        settings.clone(),
    )
    .await?;
    let vault =
        Vault::new(account, region, Arc::clone(&store), sealer, integrity, Arc::clone(clock) as _, 100);
    Ok((service, store, Arc::new(keys), vault))
}

fn new_key() -> NewKey {
    NewKey {
        description: String::new(),
        creator: "1".to_owned(),
        protection: ProtectionLevel::Hsm,
        interval: None,
        tags: Vec::new(),
    }
}

fn context(text: &str) -> EncryptionContext {
    EncryptionContext::parse(text).unwrap()
}

fn secret_name(name: &str) -> SecretName {
    SecretName::parse(name).unwrap()
}

fn alias(name: &str) -> AliasName {
    AliasName::parse(name).unwrap()
}

/// The name of a version's object in the token.
fn object(record: &KeyRecord, version: usize) -> KeyRef {
    let object = &record.versions[version].object;
    KeyRef { label: object.label.clone(), id: object.id, kind: KeyKind::CustomerMaster }
}

/// Whether the token has an object, as another program sees it.
async fn has(service: &KeyService, record: &KeyRecord, version: usize) -> bool {
    let known =
        KnownKey { key: object(record, version), check: record.versions[version].object.check.clone() };
    match service.add_key(known).await {
        Ok(()) => true,
        Err(HsmError::KeyMissing { .. }) => false,
        Err(other) => panic!("{other}"),
    }
}

fn refusal(error: &VaultError) -> Option<KeyRefusal> {
    if let VaultError::Seal(SealError::Key(refusal)) = error { Some(*refusal) } else { None }
}

#[tokio::test]
async fn what_a_key_has_encrypted_is_decrypted_by_it_alone_in_the_same_context() {
    let mut stand = Stand::new().await;
    let (key, other) = (stand.create().await, stand.create().await);
    let plain = SecretBytes::copy_of(b"plain text");
    let here = context(r#"{"a":"1","b":"2"}"#);
    let made = stand.keys.encrypt(&stand.access, &key, &plain, &here).await.unwrap();
    assert_eq!(Ciphertext::decode(&made.encode()).unwrap(), made);
    stand.restart().await.unwrap();

    let same = context(r#"{"b":"2","a":"1"}"#);
    assert!(stand.keys.decrypt(&stand.access, &made, &same).await.unwrap().matches(b"plain text"));
    for wrong in ["{}", r#"{"a":"1"}"#, r#"{"a":"2","b":"2"}"#, r#"{"a":"1","b":"2","c":""}"#] {
        let refused = stand.keys.decrypt(&stand.access, &made, &context(wrong)).await;
        assert!(matches!(refused, Err(KeyError::Damaged)), "{wrong}: {refused:?}");
    }
    let of_other = stand.keys.encrypt(&stand.access, &other, &plain, &here).await.unwrap();
    let swapped = Ciphertext { key: other.clone(), version: of_other.version.clone(), ..made.clone() };
    assert!(matches!(stand.keys.decrypt(&stand.access, &swapped, &here).await, Err(KeyError::Damaged)));
    let bytes = made.encode();
    for at in 0..bytes.len() {
        let mut altered = bytes.clone();
        altered[at] ^= 1 << (at % 8);
        let Ok(altered) = Ciphertext::decode(&altered) else { continue };
        let refused = stand.keys.decrypt(&stand.access, &altered, &here).await;
        assert!(matches!(refused, Err(KeyError::Damaged | KeyError::KeyNotFound)), "{at}: {refused:?}");
    }
    let empty = SecretBytes::copy_of(b"");
    let made = stand.keys.encrypt(&stand.access, &key, &empty, &here).await.unwrap();
    assert!(stand.keys.decrypt(&stand.access, &made, &here).await.unwrap().is_empty());
}

#[tokio::test]
async fn a_data_key_is_as_long_as_asked_for_and_comes_with_its_ciphertext() {
    let stand = Stand::new().await;
    let key = stand.create().await;
    for length in [1, 16, 32, 1_024] {
        let (plain, ciphertext) =
            stand.keys.generate_data_key(&stand.access, &key, length, &context("{}")).await.unwrap();
        assert_eq!(plain.len(), length);
        assert!(stand.decrypt(&ciphertext).await.unwrap().matches(plain.expose()));
    }
    for length in [0, 1_025] {
        let refused = stand.keys.generate_data_key(&stand.access, &key, length, &context("{}")).await;
        assert!(matches!(refused, Err(KeyError::Invalid(_))), "{refused:?}");
    }
}

#[tokio::test]
async fn a_new_version_encrypts_and_the_older_ones_still_decrypt() {
    let mut stand = Stand::new().await;
    let key = stand.create().await;
    let first = stand.encrypt(&key, "first").await.unwrap();
    stand.secret("db", Some(&key)).await.unwrap();
    stand.keys.create_version(&stand.access, &key).await.unwrap();
    let second = stand.encrypt(&key, "second").await.unwrap();
    let record = stand.record(&key);
    assert_eq!(record.versions.iter().map(|version| version.number).collect::<Vec<_>>(), [1, 2]);
    assert_eq!(record.primary().unwrap().id, second.version);
    assert_ne!(first.version, second.version);
    stand.put("db", "v2").await.unwrap();
    stand.restart().await.unwrap();
    assert!(stand.decrypt(&first).await.unwrap().matches(b"first"));
    assert!(stand.decrypt(&second).await.unwrap().matches(b"second"));
    assert!(stand.read("db").await.unwrap().matches(b"v2"));
    let previous = Pick::Stage(VersionStage::Previous);
    let old = stand.vault.read(&stand.access, &secret_name("db"), &previous).await.unwrap();
    assert!(old.data.matches(b"db"));
}

#[tokio::test]
async fn a_key_rotates_by_itself_in_its_period_and_rests_while_it_is_disabled() {
    let stand = Stand::new().await;
    let week = RotationInterval::parse("7d").unwrap();
    let made = stand.keys.create(&stand.access, NewKey { interval: Some(week), ..new_key() }).await.unwrap();
    let key = made.id.clone();
    let versions = |record: &KeyRecord| record.versions.len();
    stand.pass(6);
    stand.keys.round(&stand.unasked).await;
    assert_eq!(versions(&stand.record(&key)), 1);
    stand.pass(1);
    stand.keys.round(&stand.unasked).await;
    stand.keys.round(&stand.unasked).await;
    assert_eq!(versions(&stand.record(&key)), 2);
    stand.keys.disable(&stand.access, &key).await.unwrap();
    assert_eq!(stand.record(&key).automatic_rotation(), "Suspended");
    stand.pass(8);
    stand.keys.round(&stand.unasked).await;
    assert_eq!(versions(&stand.record(&key)), 2);
    stand.keys.enable(&stand.access, &key).await.unwrap();
    stand.keys.round(&stand.unasked).await;
    assert_eq!(versions(&stand.record(&key)), 3);
    let recorded = stand.events();
    let phases = |event: &Value| event["additionalEventData"]["phase"].clone();
    assert_eq!(
        recorded.iter().map(phases).collect::<Vec<_>>(),
        ["started", "finished", "started", "finished"]
    );
    for event in &recorded {
        assert_eq!(event["eventName"], "CreateKeyVersion");
        assert_eq!(event["requestParameters"]["KeyId"], key.as_str());
        assert_eq!(event["userIdentity"]["type"], "system");
    }
    let off = stand.keys.update_rotation_policy(&stand.access, &key, false, None).await.unwrap();
    assert_eq!((off.automatic_rotation(), off.rotation.next), ("Disabled", None));
    let six_days = RotationInterval::parse("6d").unwrap();
    let refused = stand.keys.update_rotation_policy(&stand.access, &key, true, Some(six_days)).await;
    assert!(matches!(refused, Err(KeyError::Invalid(_))), "{refused:?}");
    let on = stand.keys.update_rotation_policy(&stand.access, &key, true, None).await.unwrap();
    assert_eq!(on.rotation.interval, Some(week), "the period is kept");
}

#[tokio::test]
async fn a_disabled_key_opens_nothing_though_its_data_keys_were_in_memory() {
    let mut stand = Stand::new().await;
    let key = stand.create().await;
    stand.secret("theirs", Some(&key)).await.unwrap();
    stand.secret("ours", None).await.unwrap();
    assert!(stand.read("theirs").await.unwrap().matches(b"theirs"));
    let ciphertext = stand.encrypt(&key, "text").await.unwrap();

    stand.keys.disable(&stand.access, &key).await.unwrap();
    for _ in 0..2 {
        let disabled = Some(KeyRefusal::Disabled);
        assert_eq!(refusal(&stand.read("theirs").await.unwrap_err()), disabled);
        assert_eq!(refusal(&stand.put("theirs", "v2").await.unwrap_err()), disabled);
        assert_eq!(refusal(&stand.secret("new", Some(&key)).await.unwrap_err()), disabled);
        for refused in [stand.encrypt(&key, "text").await.err(), stand.decrypt(&ciphertext).await.err()] {
            let is_it = matches!(refused, Some(KeyError::Seal(SealError::Key(KeyRefusal::Disabled))));
            assert!(is_it, "{refused:?}");
        }
        assert!(stand.read("ours").await.unwrap().matches(b"ours"));
        // It is so after a restart too.
        stand.restart().await.unwrap();
    }
    stand.keys.enable(&stand.access, &key).await.unwrap();
    assert!(stand.read("theirs").await.unwrap().matches(b"theirs"));
    assert!(stand.decrypt(&ciphertext).await.unwrap().matches(b"text"));
    stand.put("theirs", "v2").await.unwrap();
    assert!(matches!(stand.read("new").await, Err(VaultError::NotFound)), "nothing was created");
}

#[tokio::test]
async fn states_change_as_the_table_says() {
    let stand = Stand::new().await;
    let (keys, access) = (&stand.keys, &stand.access);
    let key = stand.create().await;
    let other = stand.create().await;
    let is_state = |error: &KeyError| matches!(error, KeyError::State);
    let is_pending = |error: &KeyError| matches!(error, KeyError::PendingDeletion);
    keys.create_alias(access, alias("alias/it"), &key).await.unwrap();
    assert!(is_state(&keys.cancel_deletion(access, &key).await.unwrap_err()));

    let scheduled = keys.schedule_deletion(access, &key, 7).await.unwrap();
    assert_eq!(scheduled.state, KeyState::PendingDeletion);
    assert_eq!(scheduled.delete_at.unwrap().seconds_since(scheduled.created), 7 * DAY);
    assert!(is_state(&keys.enable(access, &key).await.unwrap_err()));
    assert!(is_state(&keys.disable(access, &key).await.unwrap_err()));
    assert!(is_state(&keys.schedule_deletion(access, &key, 7).await.unwrap_err()));
    assert!(is_state(&keys.create_alias(access, alias("alias/new"), &key).await.unwrap_err()));
    assert!(is_pending(&keys.update_description(access, &key, "x".to_owned()).await.unwrap_err()));
    assert!(is_pending(&keys.tag(access, std::slice::from_ref(&key), &tags(&["a"])).await.unwrap_err()));
    assert!(is_pending(&keys.untag(access, std::slice::from_ref(&key), None).await.unwrap_err()));
    assert!(is_pending(&keys.create_version(access, &key).await.unwrap_err()));
    keys.create_alias(access, alias("alias/other"), &other).await.unwrap();
    assert!(is_pending(&keys.update_alias(access, &alias("alias/other"), &key).await.unwrap_err()));
    keys.delete_alias(access, &alias("alias/it")).await.unwrap();
    for days in [0, 6, 367] {
        let refused = keys.schedule_deletion(access, &other, days).await;
        assert!(matches!(refused, Err(KeyError::Invalid(_))), "{days}: {refused:?}");
    }
    let back = keys.cancel_deletion(access, &key).await.unwrap();
    assert_eq!((back.state, back.delete_at), (KeyState::Enabled, None));
    keys.set_deletion_protection(access, &key, true, "kept".to_owned()).await.unwrap();
    let refused = keys.schedule_deletion(access, &key, 7).await;
    assert!(matches!(refused, Err(KeyError::Protected)), "{refused:?}");
}

fn tags(names: &[&str]) -> Vec<Tag> {
    names.iter().map(|name| Tag { key: (*name).to_owned(), value: "1".to_owned() }).collect()
}

#[tokio::test]
async fn aliases_and_tags_are_found_again_and_have_their_limits() {
    let mut stand = Stand::with(Settings { max_keys: 2, max_aliases: 2, ..Settings::default() }).await;
    let (one, two) = (stand.create().await, stand.create().await);
    let full = stand.keys.create(&stand.access, new_key()).await;
    assert!(matches!(full, Err(KeyError::Limit(_))), "{full:?}");
    stand.keys.create_alias(&stand.access, alias("alias/a"), &one).await.unwrap();
    let taken = stand.keys.create_alias(&stand.access, alias("alias/a"), &two).await;
    assert!(matches!(taken, Err(KeyError::AliasExists)), "{taken:?}");
    stand.keys.create_alias(&stand.access, alias("alias/b"), &one).await.unwrap();
    let full = stand.keys.create_alias(&stand.access, alias("alias/c"), &one).await;
    assert!(matches!(full, Err(KeyError::Limit(_))), "{full:?}");
    stand.keys.update_alias(&stand.access, &alias("alias/b"), &two).await.unwrap();
    stand.keys.tag(&stand.access, std::slice::from_ref(&one), &tags(&["a", "b"])).await.unwrap();
    let new = Tag { key: "b".to_owned(), value: "2".to_owned() };
    stand.keys.tag(&stand.access, std::slice::from_ref(&one), std::slice::from_ref(&new)).await.unwrap();
    stand
        .keys
        .untag(&stand.access, std::slice::from_ref(&one), Some(&["a".to_owned(), "absent".to_owned()]))
        .await
        .unwrap();
    let many: Vec<String> = (0..20).map(|number| number.to_string()).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    let refused = stand.keys.tag(&stand.access, std::slice::from_ref(&one), &tags(&many)).await;
    assert!(matches!(refused, Err(KeyError::Limit(_))), "{refused:?}");

    stand.restart().await.unwrap();
    let found = |name: &str| stand.keys.find(&KeyName::Alias(alias(name))).map(|key| key.id.clone());
    assert_eq!(found("alias/a").unwrap(), one);
    assert_eq!(found("alias/b").unwrap(), two);
    assert!(matches!(found("alias/c"), Err(KeyError::AliasNotFound)));
    assert_eq!(stand.record(&one).tags, [new]);
    assert_eq!(stand.keys.list().len(), 2);
}

#[tokio::test]
async fn a_key_past_its_window_is_destroyed_in_the_token_and_its_aliases_go_with_it() {
    let mut stand = Stand::new().await;
    let (doomed, kept) = (stand.create().await, stand.create().await);
    stand.keys.create_version(&stand.access, &doomed).await.unwrap();
    stand.keys.create_alias(&stand.access, alias("alias/doomed"), &doomed).await.unwrap();
    stand.keys.create_alias(&stand.access, alias("alias/kept"), &kept).await.unwrap();
    let ciphertext = stand.encrypt(&doomed, "text").await.unwrap();
    let (doomed_record, kept_record) = (stand.record(&doomed), stand.record(&kept));
    stand.keys.schedule_deletion(&stand.access, &doomed, 7).await.unwrap();
    stand.pass(6);
    stand.keys.round(&stand.unasked).await;
    assert_eq!(stand.record(&doomed).state, KeyState::PendingDeletion);
    let elsewhere = stand.elsewhere().await;
    assert!(has(&elsewhere, &doomed_record, 0).await && has(&elsewhere, &doomed_record, 1).await);

    stand.pass(1);
    stand.keys.round(&stand.unasked).await;
    assert!(!has(&elsewhere, &doomed_record, 0).await && !has(&elsewhere, &doomed_record, 1).await);
    assert!(has(&elsewhere, &kept_record, 0).await);
    elsewhere.stop().await;
    for _ in 0..2 {
        let by_id = stand.keys.find(&KeyName::Id(doomed.clone()));
        assert!(matches!(by_id, Err(KeyError::KeyNotFound)), "{by_id:?}");
        let by_alias = stand.keys.find(&KeyName::Alias(alias("alias/doomed")));
        assert!(matches!(by_alias, Err(KeyError::AliasNotFound)), "{by_alias:?}");
        let refused = stand.decrypt(&ciphertext).await;
        assert!(matches!(refused, Err(KeyError::KeyNotFound)), "{refused:?}");
        assert_eq!(stand.keys.aliases().len(), 1);
        stand.restart().await.unwrap();
    }
    assert!(stand.store.key_rows(strongroom::store::KeyTable::Keys).await.unwrap().len() == 1);
}

#[tokio::test]
async fn a_key_is_not_deleted_while_secrets_are_encrypted_under_it() {
    let stand = Stand::new().await;
    let key = stand.create().await;
    stand.secret("db", Some(&key)).await.unwrap();
    let refused = stand.keys.schedule_deletion(&stand.access, &key, 7).await;
    assert!(matches!(refused, Err(KeyError::InUse { secrets: 1 })), "{refused:?}");
    // One that can still be restored counts too.
    let later = Deletion::After { days: 7 };
    stand.vault.delete(&stand.access, &secret_name("db"), later).await.unwrap();
    let refused = stand.keys.schedule_deletion(&stand.access, &key, 7).await;
    assert!(matches!(refused, Err(KeyError::InUse { secrets: 1 })), "{refused:?}");
    stand.vault.delete(&stand.access, &secret_name("db"), Deletion::Now).await.unwrap();
    stand.keys.schedule_deletion(&stand.access, &key, 7).await.unwrap();
}

#[tokio::test]
async fn by_the_settings_a_key_is_deleted_with_all_that_is_under_it() {
    let mut stand = Stand::with(Settings { protect_used: false, ..Settings::default() }).await;
    let key = stand.create().await;
    stand.secret("db", Some(&key)).await.unwrap();
    stand.keys.schedule_deletion(&stand.access, &key, 7).await.unwrap();
    assert_eq!(refusal(&stand.read("db").await.unwrap_err()), Some(KeyRefusal::PendingDeletion));
    stand.keys.cancel_deletion(&stand.access, &key).await.unwrap();
    assert!(stand.read("db").await.unwrap().matches(b"db"));
    stand.keys.schedule_deletion(&stand.access, &key, 7).await.unwrap();

    // The setting counts when the window ends as well.
    stand.settings.protect_used = true;
    stand.restart().await.unwrap();
    stand.pass(7);
    stand.keys.round(&stand.unasked).await;
    assert_eq!(stand.record(&key).state, KeyState::PendingDeletion);
    stand.settings.protect_used = false;
    stand.restart().await.unwrap();
    stand.keys.round(&stand.unasked).await;
    assert!(matches!(stand.keys.find(&KeyName::Id(key)), Err(KeyError::KeyNotFound)));
    assert_eq!(refusal(&stand.read("db").await.unwrap_err()), Some(KeyRefusal::Unavailable));
}

#[tokio::test]
async fn a_key_that_the_token_has_lost_keeps_nothing_else_from_being_served() {
    let mut stand = Stand::new().await;
    let (lost, kept) = (stand.create().await, stand.create().await);
    stand.secret("under-lost", Some(&lost)).await.unwrap();
    stand.secret("under-kept", Some(&kept)).await.unwrap();
    stand.secret("ours", None).await.unwrap();
    let record = stand.record(&lost);
    let elsewhere = stand.elsewhere().await;
    elsewhere.destroy(&object(&record, 0)).await.unwrap();
    for planted in [false, true] {
        stand.restart().await.unwrap();
        assert!(stand.read("under-kept").await.unwrap().matches(b"under-kept"));
        assert!(stand.read("ours").await.unwrap().matches(b"ours"));
        assert_eq!(refusal(&stand.read("under-lost").await.unwrap_err()), Some(KeyRefusal::Unavailable));
        assert_eq!(refusal(&stand.put("under-lost", "v2").await.unwrap_err()), Some(KeyRefusal::Unavailable));
        let found = stand.keys.examine().await.unwrap();
        assert_eq!(found.iter().map(|one| &one.key).collect::<Vec<_>>(), [&lost]);
        if !planted {
            // Another key in its place is not taken for it.
            elsewhere.generate(&object(&record, 0)).await.unwrap();
        }
    }
    elsewhere.stop().await;
}

#[tokio::test]
async fn a_row_that_was_edited_added_or_removed_is_noticed_at_the_start() {
    let edits = [
        "DELETE FROM key_aliases",
        "DELETE FROM keys",
        "UPDATE keys SET body = replace(body, '\"Disabled\"', '\"Enabled\"')",
        "INSERT INTO key_aliases SELECT 'alias/other', body, mac FROM key_aliases",
        "DELETE FROM settings WHERE name = 'keys-digest'",
    ];
    let mut stand = Stand::new().await;
    let key = stand.create().await;
    stand.keys.disable(&stand.access, &key).await.unwrap();
    stand.keys.create_alias(&stand.access, alias("alias/a"), &key).await.unwrap();
    stand.restart().await.unwrap();
    let file = stand.folder.path().join("strongroom.db");
    for edit in edits {
        let kept = |table: &str| format!("CREATE TABLE kept_{table} AS SELECT * FROM {table}");
        let database = rusqlite::Connection::open(&file).unwrap();
        let tables = ["keys", "key_aliases", "settings"];
        for table in tables {
            database.execute_batch(&kept(table)).unwrap();
        }
        assert!(database.execute(edit, []).unwrap() > 0, "{edit}");
        let refused = stand.restart().await;
        assert!(matches!(refused, Err(KeysError::Altered(_))), "{edit}: {refused:?}");
        for table in tables {
            let back = format!(
                "DELETE FROM {table}; INSERT INTO {table} SELECT * FROM kept_{table}; DROP TABLE kept_{table}"
            );
            database.execute_batch(&back).unwrap();
        }
        drop(database);
        stand.restart().await.unwrap();
    }
}
