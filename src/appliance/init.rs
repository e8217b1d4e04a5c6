//! The key ceremony: token, keys, database, audit journal, certificate, first
//! administrator, configuration. The configuration file is written last: a
//! folder without one is the remains of an init that did not end.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use strongroom_hsm::{KeyKind, KeyRef, KeyService, KnownKey, SecretBytes, TokenConfig, initialize_token};

use super::keys::{PIN_REFUSED, VAULT, VaultKeys, pin_file, worker};
use super::notes::{Notes, random};
use super::parts::{AUDIT, DATABASE};
use super::{ApplianceError, SystemClock, certificate};
use crate::audit::{EventId, Journal, Recorder, Settings};
use crate::identity::{Identities, NewUser};
use crate::model::{AccessKeyId, AccountId, Clock, Holder, PolicyName, PolicyType, RegionId, UserName};
use crate::runtime::Blocking;
use crate::seal::{Integrity, MasterKey, Sealer};
use crate::store::sqlite::SqliteStore;
use crate::store::{Change, Store};

/// Where Debian and its descendants keep SoftHSM's library, and others theirs.
const SOFTHSM: [&str; 4] = [
    "/usr/lib/softhsm/libsofthsm2.so",
    "/usr/lib/x86_64-linux-gnu/softhsm/libsofthsm2.so",
    "/usr/lib/aarch64-linux-gnu/softhsm/libsofthsm2.so",
    "/usr/lib64/pkcs11/libsofthsm2.so",
];

/// What the operator chooses.
#[derive(Debug, Clone)]
pub struct InitOptions {
    /// A folder that is missing or empty.
    pub data_dir: PathBuf,
    /// Address and port of the API.
    pub listen: String,
    /// The account; made up when absent.
    pub account: Option<AccountId>,
    /// The region that the vault answers for.
    pub region: RegionId,
    /// Host names and addresses for the certificate, beside those of `listen`.
    pub names: Vec<String>,
    /// The first administrator.
    pub admin: UserName,
    /// A PKCS#11 library of an initialised token; SoftHSM with a new token when absent.
    pub module: Option<PathBuf>,
    /// The token's user PIN, for a `module` of one's own.
    pub pin_file: Option<PathBuf>,
    /// The token's label.
    pub token_label: Option<String>,
}

/// What was made.
#[derive(Debug)]
pub struct InitReport {
    /// The configuration file.
    pub config: PathBuf,
    /// The CA that clients have to trust.
    pub ca_file: PathBuf,
    /// Where clients connect: host and port.
    pub endpoint: String,
    /// The account.
    pub account: AccountId,
    /// The region.
    pub region: RegionId,
    /// The token's serial number.
    pub token_serial: String,
    /// The first administrator.
    pub admin: UserName,
    /// The administrator's access key.
    pub access_key_id: AccessKeyId,
    /// Its secret, shown this once.
    pub access_key_secret: SecretBytes,
}

struct Token {
    module: PathBuf,
    label: String,
    serial: Option<String>,
    softhsm_conf: Option<PathBuf>,
    pin_file: PathBuf,
}

/// Makes a vault.
///
/// # Errors
///
/// [`ApplianceError`]; what was made so far stays in the folder and is of no use.
pub async fn init(options: &InitOptions) -> Result<InitReport, ApplianceError> {
    let dir =
        std::path::absolute(&options.data_dir).map_err(ApplianceError::file("find", &options.data_dir))?;
    prepare_folder(&dir)?;
    let name: [u8; 4] = random();
    let origin = format!("strongroom/vault-{}", data_encoding::HEXLOWER.encode(&name));
    let account = match &options.account {
        Some(account) => account.clone(),
        None => made_up_account()?,
    };
    let token = make_token(options, &dir, &origin).await?;
    let (service, keys) = make_keys(&token, &dir, &origin, &account, &options.region).await?;
    let serial = service.status().token_serial;

    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    // SQLite gives its log beside the database the mode that it finds here.
    write(&dir.join(DATABASE), &[], 0o600)?;
    let store: Arc<dyn Store> = Arc::new(SqliteStore::open(&dir.join(DATABASE), Blocking::new(1))?);
    let integrity = Arc::new(Integrity::derive(&service, &keys.integrity.key, &origin).await?);
    let row = integrity.guard("settings", VAULT, &keys)?;
    store.commit(vec![Change::PutSetting { name: VAULT, row }]).await?;

    crate::audit::create(&dir.join(AUDIT), &origin)?;
    let boot = EventId::new(u64::try_from(clock.now().millis()).unwrap_or(0), random());
    let journal = Journal::open(&dir.join(AUDIT), &Settings::new(boot))?.journal;
    let recorder = Recorder::new(Arc::new(journal.clone()));
    let notes = Notes { account: &account, region: &options.region, clock: &*clock, node: &origin };
    let labels: Vec<String> = keys.known().iter().map(|k| k.key.label.clone()).collect();
    let labels = labels.join(", ");
    let facts =
        [("TokenSerial", serial.as_str()), ("Keys", labels.as_str()), ("UserName", options.admin.as_str())];
    let access = notes.with("KeyCeremony", &facts, async |event| recorder.change(event).await).await?;

    let masters: Vec<MasterKey> = keys.masters();
    let sealer = Sealer::new(service.clone(), masters, None);
    let identities = Identities::load(
        account.clone(),
        options.region.clone(),
        Arc::clone(&store),
        integrity,
        sealer,
        Arc::clone(&clock),
    )
    .await?;
    let comments = "made by strongroom init".to_owned();
    let admin = NewUser { comments, ..NewUser::named(options.admin.clone()) };
    identities.create_user(&access, admin).await?;
    if let Ok(administrator) = PolicyName::parse("AdministratorAccess") {
        identities
            .attach(&access, &Holder::User(options.admin.clone()), PolicyType::System, &administrator)
            .await?;
    }
    let made = identities.create_access_key(&access, &options.admin).await?;
    let facts = [("UserName", options.admin.as_str()), ("AccessKeyId", made.record.id.as_str())];
    notes.with("KeyCeremonyFinished", &facts, async |event| recorder.done(access, event).await).await?;

    let names = certificate_names(options);
    write_certificates(&dir, &origin, &names)?;
    let config = write_config(&dir, options, &account, &token, &serial)?;
    service.stop().await;
    journal.close().await;
    Ok(InitReport {
        config,
        ca_file: dir.join("tls/ca.pem"),
        endpoint: endpoint(options),
        account,
        region: options.region.clone(),
        token_serial: serial,
        admin: options.admin.clone(),
        access_key_id: made.record.id,
        access_key_secret: made.secret,
    })
}

fn prepare_folder(dir: &Path) -> Result<(), ApplianceError> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true).mode(0o700);
    builder.create(dir).map_err(ApplianceError::file("make the folder", dir))?;
    let mut entries = fs::read_dir(dir).map_err(ApplianceError::file("list", dir))?;
    if entries.next().is_some() {
        return Err(ApplianceError::NotEmpty(dir.to_owned()));
    }
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o700);
    fs::set_permissions(dir, mode).map_err(ApplianceError::file("protect", dir))?;
    builder.create(dir.join("tls")).map_err(ApplianceError::file("make the folder", &dir.join("tls")))
}

/// Writes a new file, durable when this returns.
fn write(path: &Path, bytes: &[u8], mode: u32) -> Result<(), ApplianceError> {
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(mode)
        .open(path)
        .map_err(ApplianceError::file("create", path))?;
    file.write_all(bytes).and_then(|()| file.sync_all()).map_err(ApplianceError::file("write", path))
}

/// 16 digits, the first not a zero.
fn made_up_account() -> Result<AccountId, ApplianceError> {
    let number = u64::from_be_bytes(random());
    let text = (1_000_000_000_000_000 + number % 9_000_000_000_000_000).to_string();
    AccountId::parse(&text).ok().ok_or(ApplianceError::Random)
}

/// 32 letters and digits: a PIN-protected soft token is only as strong as its PIN (hsm.md section 7).
fn pin() -> Result<SecretBytes, ApplianceError> {
    const LETTERS: &[u8; 32] = b"ABCDEFGHJKLMNPQRSTUVWXYZ23456789";
    SecretBytes::filled(32, |out| {
        aws_lc_rs::rand::fill(out)?;
        for byte in out {
            // 32 divides 256, so that each letter is equally likely.
            *byte = LETTERS.get(usize::from(*byte % 32)).copied().unwrap_or(b'A');
        }
        Ok::<(), aws_lc_rs::error::Unspecified>(())
    })
    .ok()
    .ok_or(ApplianceError::Random)
}

async fn make_token(options: &InitOptions, dir: &Path, origin: &str) -> Result<Token, ApplianceError> {
    let label = options.token_label.clone().unwrap_or_else(|| origin.replace('/', "-"));
    if let Some(module) = &options.module {
        let pin_file = options.pin_file.clone().unwrap_or_else(|| dir.join("pin"));
        let pin_file = std::path::absolute(&pin_file).map_err(ApplianceError::file("find", &pin_file))?;
        return Ok(Token { module: module.clone(), label, serial: None, softhsm_conf: None, pin_file });
    }
    let module = SOFTHSM.iter().map(PathBuf::from).find(|path| path.exists());
    let module = module.ok_or_else(|| ApplianceError::File {
        deed: "find SoftHSM: install it (Debian: apt-get install softhsm2), or name a PKCS#11 library with --module; looked for",
        path: SOFTHSM.iter().collect::<PathBuf>(),
        source: std::io::ErrorKind::NotFound.into(),
    })?;
    let tokens = dir.join("token");
    fs::DirBuilder::new()
        .mode(0o700)
        .create(&tokens)
        .map_err(ApplianceError::file("make the folder", &tokens))?;
    let conf = dir.join("softhsm2.conf");
    let text = format!(
        "directories.tokendir = {}\nobjectstore.backend = file\nlog.level = ERROR\nslots.removable = false\n",
        tokens.display()
    );
    write(&conf, text.as_bytes(), 0o600)?;
    let (pin, so_pin) = (pin()?, pin()?);
    let pin_file = dir.join("pin");
    write(&pin_file, pin.expose(), 0o400)?;
    write(&dir.join("so-pin"), so_pin.expose(), 0o400)?;
    let serial = initialize_token(worker()?, &module, Some(&conf), &label, so_pin, pin).await?;
    Ok(Token { module, label, serial: Some(serial), softhsm_conf: Some(conf), pin_file })
}

async fn make_keys(
    token: &Token,
    dir: &Path,
    origin: &str,
    account: &AccountId,
    region: &RegionId,
) -> Result<(KeyService, VaultKeys), ApplianceError> {
    let config = TokenConfig {
        token_serial: token.serial.clone(),
        softhsm_conf: token.softhsm_conf.clone(),
        pin_marker: Some(dir.join(PIN_REFUSED)),
        ..TokenConfig::new(token.module.clone(), token.label.clone())
    };
    let service = KeyService::start(worker()?, config, pin_file(&token.pin_file)?, Vec::new()).await?;
    let make = async |name: &str, kind: KeyKind| -> Result<KnownKey, ApplianceError> {
        let key = KeyRef { label: format!("{origin}/{name}"), id: random(), kind };
        Ok(service.generate(&key).await?)
    };
    let keys = VaultKeys {
        origin: origin.to_owned(),
        account: account.to_string(),
        region: region.to_string(),
        masters: vec![(1, make("master/v1", KeyKind::CustomerMaster).await?)],
        integrity: make("integrity/v1", KeyKind::Integrity).await?,
        audit: make("audit/v1", KeyKind::AuditSigning).await?,
    };
    Ok((service, keys))
}

/// Host and port of `listen`, with a name that clients can connect to.
fn endpoint(options: &InitOptions) -> String {
    let (host, port) = options.listen.rsplit_once(':').unwrap_or((options.listen.as_str(), "8443"));
    let named = options.names.first().map_or(host, String::as_str);
    let host = if matches!(host, "0.0.0.0" | "[::]" | "") { named } else { host };
    let host = if matches!(host, "0.0.0.0" | "[::]" | "") { "localhost" } else { host };
    format!("{host}:{port}")
}

fn certificate_names(options: &InitOptions) -> Vec<String> {
    let host = options.listen.rsplit_once(':').map_or("", |(host, _)| host);
    let host = host.trim_matches(['[', ']']).to_owned();
    let mut names = options.names.clone();
    for name in [host, "localhost".to_owned(), "127.0.0.1".to_owned(), "::1".to_owned()] {
        if !name.is_empty() && name != "0.0.0.0" && name != "::" && !names.contains(&name) {
            names.push(name);
        }
    }
    names
}

fn write_certificates(dir: &Path, origin: &str, names: &[String]) -> Result<(), ApplianceError> {
    let made = certificate::make(origin, names).map_err(ApplianceError::tls("make a certificate"))?;
    write(&dir.join("tls/ca.pem"), &made.ca, 0o644)?;
    write(&dir.join("tls/ca.key"), made.ca_key.expose(), 0o400)?;
    write(&dir.join("tls/server.pem"), &made.server, 0o644)?;
    write(&dir.join("tls/server.key"), made.server_key.expose(), 0o400)
}

fn write_config(
    dir: &Path,
    options: &InitOptions,
    account: &AccountId,
    token: &Token,
    serial: &str,
) -> Result<PathBuf, ApplianceError> {
    let quoted = |text: &str| toml::Value::String(text.to_owned()).to_string();
    let path = |path: &Path| quoted(&path.display().to_string());
    let softhsm = token.softhsm_conf.as_ref().map_or_else(String::new, |conf| {
        format!("# Configuration of SoftHSM, given to the key worker only.\nsofthsm_conf = {}\n", path(conf))
    });
    let text = format!(
        include_str!("config.template.toml"),
        data_dir = path(dir),
        listen = quoted(&options.listen),
        account = quoted(account.as_str()),
        region = quoted(options.region.as_str()),
        module = path(&token.module),
        label = quoted(&token.label),
        serial = quoted(serial),
        pin_file = path(&token.pin_file),
        softhsm = softhsm,
    );
    let file = dir.join("strongroom.toml");
    write(&file, text.as_bytes(), 0o600)?;
    Ok(file)
}
