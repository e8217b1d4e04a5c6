//! Sealed values and guarded rows under keys of a real token: what belongs to
//! one place opens in no other, and every bit counts.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use strongroom::model::{AccountId, Binding, RegionId, Sealed};
use strongroom::seal::{DataKeyCache, Integrity, MasterKey, SealError, Sealer, SetDigest};
use strongroom_hsm::{
    KeyKind, KeyRef, KeyService, SecretBytes, State, TokenConfig, WorkerProgram, initialize_token,
};
use tempfile::TempDir;

const MODULE: &str = "/usr/lib/softhsm/libsofthsm2.so";

/// A fresh token with two master keys and an integrity key.
struct Token {
    _folder: TempDir,
    keys: KeyService,
    masters: Vec<MasterKey>,
    integrity: KeyRef,
}

fn program() -> WorkerProgram {
    WorkerProgram {
        program: PathBuf::from(env!("CARGO_BIN_EXE_strongroom")),
        args: vec!["hsm-worker".to_owned()],
    }
}

fn key(number: u8, kind: KeyKind) -> KeyRef {
    KeyRef { label: format!("key-{number}"), id: [number; 16], kind }
}

impl Token {
    async fn new() -> Self {
        assert!(Path::new(MODULE).exists(), "these tests need SoftHSM: install the Debian package softhsm2");
        let folder = TempDir::new().unwrap();
        let conf = folder.path().join("softhsm2.conf");
        let tokens = folder.path().join("tokens");
        std::fs::create_dir(&tokens).unwrap();
        let text = format!("directories.tokendir = {}\nobjectstore.backend = file\n", tokens.display());
        std::fs::write(&conf, text).unwrap();
        let pin = || SecretBytes::copy_of(b"12345678");
        initialize_token(program(), Path::new(MODULE), Some(&conf), "crypt", pin(), pin()).await.unwrap();
        let config = TokenConfig { softhsm_conf: Some(conf), ..TokenConfig::new(MODULE, "crypt") };
        let keys = KeyService::start(program(), config, pin(), Vec::new()).await.unwrap();
        let masters = [(1, 1), (2, 2)]
            .map(|(number, version)| MasterKey { key: key(number, KeyKind::CustomerMaster), version });
        for master in &masters {
            keys.generate(&master.key).await.unwrap();
        }
        let integrity = key(3, KeyKind::Integrity);
        keys.generate(&integrity).await.unwrap();
        Self { _folder: folder, keys, masters: masters.to_vec(), integrity }
    }

    fn sealer(&self) -> Sealer {
        Sealer::new(self.keys.clone(), self.masters.clone(), None)
    }
}

/// Parts of a binding, so that each can be another.
#[derive(Clone)]
struct Place {
    purpose: &'static str,
    account: AccountId,
    region: RegionId,
    owner: &'static str,
    part: &'static str,
}

impl Place {
    fn binding(&self) -> Binding<'_> {
        Binding {
            purpose: self.purpose,
            account: &self.account,
            region: &self.region,
            owner: self.owner,
            part: self.part,
        }
    }
}

fn place() -> Place {
    Place {
        purpose: "secret-version",
        account: AccountId::parse("1").unwrap(),
        region: RegionId::parse("cn-hangzhou").unwrap(),
        owner: "secret-1",
        part: "v1",
    }
}

fn value() -> SecretBytes {
    SecretBytes::copy_of(b"the value")
}

#[tokio::test]
async fn a_value_opens_at_its_own_place_and_at_no_other() {
    let token = Token::new().await;
    let (sealer, here) = (token.sealer(), place());
    let sealed = sealer.seal(&here.binding(), &value()).await.unwrap();
    assert!(sealer.open(&here.binding(), &sealed).await.unwrap().matches(b"the value"));
    for elsewhere in [
        Place { purpose: "access-key", ..here.clone() },
        Place { account: AccountId::parse("2").unwrap(), ..here.clone() },
        Place { region: RegionId::parse("cn-beijing").unwrap(), ..here.clone() },
        Place { owner: "secret-2", ..here.clone() },
        Place { part: "v2", ..here.clone() },
        Place { owner: "secret-1v", part: "1", ..here.clone() },
    ] {
        let error = sealer.open(&elsewhere.binding(), &sealed).await.unwrap_err();
        assert!(matches!(error, SealError::NotAuthentic), "{error:?}");
    }
    token.keys.stop().await;
}

#[tokio::test]
async fn every_bit_of_what_is_kept_counts() {
    let token = Token::new().await;
    let (sealer, here) = (token.sealer(), place());
    let bytes = sealer.seal(&here.binding(), &value()).await.unwrap().encode().unwrap();
    for at in 0..bytes.len() {
        let mut altered = bytes.clone();
        altered[at] ^= 1 << (at % 8);
        let opened = match Sealed::decode(&altered) {
            Err(_) => continue,
            Ok(sealed) => sealer.open(&here.binding(), &sealed).await,
        };
        let error = opened.expect_err(&format!("byte {at} does not count"));
        assert!(
            matches!(error, SealError::NotAuthentic | SealError::UnknownKey | SealError::Format(_)),
            "{at}: {error:?}"
        );
    }
    assert!(matches!(token.keys.status().state, State::Ready), "no altered value ends the worker");
    assert!(sealer.open(&here.binding(), &Sealed::decode(&bytes).unwrap()).await.is_ok());
    token.keys.stop().await;
}

#[tokio::test]
async fn parts_of_two_values_make_no_third() {
    let token = Token::new().await;
    let (sealer, here) = (token.sealer(), place());
    let one = sealer.seal(&here.binding(), &value()).await.unwrap();
    let two = sealer.seal(&here.binding(), &SecretBytes::copy_of(b"another")).await.unwrap();
    assert_ne!(one.recipients, two.recipients, "each has a data key of its own");
    assert_ne!(one.nonce, two.nonce);
    for mixed in [
        Sealed { recipients: two.recipients.clone(), ..one.clone() },
        Sealed { nonce: two.nonce, ..one.clone() },
        Sealed { ciphertext: two.ciphertext.clone(), ..one.clone() },
        Sealed { recipients: [one.recipients.clone(), two.recipients.clone()].concat(), ..one.clone() },
    ] {
        assert!(matches!(sealer.open(&here.binding(), &mixed).await, Err(SealError::NotAuthentic)));
    }
    token.keys.stop().await;
}

#[tokio::test]
async fn the_newest_master_key_seals_and_older_ones_still_open() {
    let token = Token::new().await;
    let here = place();
    let old = Sealer::new(token.keys.clone(), token.masters[..1].to_vec(), None);
    let sealed = old.seal(&here.binding(), &value()).await.unwrap();
    let both = token.sealer();
    assert!(both.open(&here.binding(), &sealed).await.unwrap().matches(b"the value"));
    let newer = both.seal(&here.binding(), &value()).await.unwrap();
    assert_eq!(newer.recipients[0].key_id, token.masters[1].key.id);
    assert!(matches!(old.open(&here.binding(), &newer).await, Err(SealError::UnknownKey)));
    // A key is known by its id and version together.
    let mut renumbered = sealed.clone();
    renumbered.recipients[0].key_version = 2;
    assert!(matches!(both.open(&here.binding(), &renumbered).await, Err(SealError::UnknownKey)));
    token.keys.stop().await;
}

#[tokio::test]
async fn data_keys_in_memory_open_nothing_else_and_end_with_the_token() {
    let token = Token::new().await;
    let cache = Arc::new(DataKeyCache::new(10, Duration::from_secs(60)));
    let sealer = Sealer::new(token.keys.clone(), token.masters.clone(), Some(Arc::clone(&cache)));
    let here = place();
    let sealed = sealer.seal(&here.binding(), &value()).await.unwrap();
    for _ in 0..3 {
        assert!(sealer.open(&here.binding(), &sealed).await.unwrap().matches(b"the value"));
        cache.sweep();
    }
    let elsewhere = Place { part: "v2", ..here.clone() };
    assert!(matches!(sealer.open(&elsewhere.binding(), &sealed).await, Err(SealError::NotAuthentic)));
    let altered = Sealed { nonce: [0; 12], ..sealed.clone() };
    assert!(matches!(sealer.open(&here.binding(), &altered).await, Err(SealError::NotAuthentic)));
    token.keys.stop().await;
    assert!(matches!(sealer.open(&here.binding(), &sealed).await, Err(SealError::Token(_))));
}

#[tokio::test]
async fn a_guarded_row_is_good_under_its_own_table_key_and_vault() {
    let token = Token::new().await;
    let integrity = Integrity::derive(&token.keys, &token.integrity, "vault-1").await.unwrap();
    let row = integrity.guard("users", "alice", &"body").unwrap();
    assert_eq!(integrity.check::<String>("users", "alice", &row).unwrap(), "body");
    let again = Integrity::derive(&token.keys, &token.integrity, "vault-1").await.unwrap();
    assert!(again.check::<String>("users", "alice", &row).is_ok(), "the same after a restart");
    let other = Integrity::derive(&token.keys, &token.integrity, "vault-2").await.unwrap();
    assert!(other.check::<String>("users", "alice", &row).is_err());
    for (table, key) in [("policies", "alice"), ("users", "bob"), ("usersa", "lice"), ("users", "")] {
        assert!(integrity.check::<String>(table, key, &row).is_err(), "{table} {key}");
    }
    for at in 0..row.mac.len() {
        let mut altered = row.clone();
        altered.mac[at] ^= 1;
        assert!(integrity.check::<String>("users", "alice", &altered).is_err());
    }
    for mac in [vec![], row.mac[..31].to_vec(), [row.mac.clone(), vec![0]].concat()] {
        assert!(
            integrity
                .check::<String>("users", "alice", &strongroom::model::Guarded { mac, ..row.clone() })
                .is_err()
        );
    }
    token.keys.stop().await;
}

#[tokio::test]
async fn a_set_of_rows_is_another_with_one_more_less_or_elsewhere() {
    let token = Token::new().await;
    let integrity = Integrity::derive(&token.keys, &token.integrity, "vault-1").await.unwrap();
    let rows = ["a", "b", "c"].map(|key| (key, integrity.guard("users", key, &"body").unwrap()));
    let digest = |chosen: &[(&str, usize)]| {
        let mut set = SetDigest::default();
        for (key, row) in chosen {
            set.add("users", key, &rows[*row].1);
        }
        set.finish()
    };
    let all = digest(&[("a", 0), ("b", 1), ("c", 2)]);
    for other in [
        digest(&[("a", 0), ("b", 1)]),
        digest(&[("a", 0), ("c", 2)]),
        digest(&[("b", 1), ("a", 0), ("c", 2)]),
        digest(&[("a", 1), ("b", 0), ("c", 2)]),
        digest(&[("a", 0), ("b", 1), ("c", 2), ("c", 2)]),
        digest(&[]),
    ] {
        assert_ne!(all, other);
    }
    token.keys.stop().await;
}
