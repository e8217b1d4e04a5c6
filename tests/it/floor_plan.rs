//! The code held to the floor plan of `lib.rs`: who may import whom, where
//! plaintext is touched, where a thread may block, and how long a file may be.

use std::fs;
use std::path::{Path, PathBuf};

/// The modules with their floors; `lib.rs` explains them.
const FLOORS: [(&str, u8); 17] = [
    ("model", 0),
    ("runtime", 0),
    ("rpc", 0),
    ("ram", 1),
    ("seal", 1),
    ("store", 1),
    ("cloud_assistant", 1),
    ("audit", 2),
    ("notify", 2),
    ("identity", 3),
    ("keys", 3),
    ("vault", 4),
    ("rotation", 5),
    ("api", 6),
    ("metrics", 7),
    ("appliance", 8),
    ("cli", 9),
];

/// Who may hold plaintext, and therefore import `strongroom_hsm`.
const HSM: [&str; 11] = [
    "seal",
    "notify",
    "identity",
    "keys",
    "vault",
    "rotation",
    "cloud_assistant",
    "rpc",
    "api",
    "appliance",
    "cli",
];

/// Every file that reads plaintext; a new one belongs here after a review.
const EXPOSE: [&str; 36] = [
    "hsm/src/service/mod.rs",
    "hsm/src/service/process.rs",
    "hsm/src/worker/pin_marker.rs",
    "hsm/src/worker/token.rs",
    "src/api/actions/chosen_value.rs",
    "src/api/actions/create_secret.rs",
    "src/api/actions/ecs_value.rs",
    "src/api/actions/get_random_password.rs",
    "src/api/actions/get_secret_value.rs",
    "src/api/actions/keys/crypto.rs",
    "src/api/actions/ram/keys.rs",
    "src/api/actions/sts.rs",
    "src/appliance/init.rs",
    "src/appliance/serve.rs",
    "src/cli/cmk/crypt.rs",
    "src/cli/connection.rs",
    "src/cli/input.rs",
    "src/cli/key.rs",
    "src/cli/output.rs",
    "src/cli/public_key.rs",
    "src/cli/secret/ecs_value.rs",
    "src/cli/secret/get.rs",
    "src/cli/secret/put.rs",
    "src/cli/wiped.rs",
    "src/cloud_assistant/client/mod.rs",
    "src/cloud_assistant/plugin/sealing.rs",
    "src/identity/administration/mod.rs",
    "src/identity/mod.rs",
    "src/identity/session.rs",
    "src/notify/webhook.rs",
    "src/rotation/ask.rs",
    "src/rotation/material.rs",
    "src/rpc/client/answer.rs",
    "src/rpc/client/mod.rs",
    "src/seal/mod.rs",
    "src/vault/value.rs",
];

const LONGEST: usize = 600;

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn files_below(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files_below(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

/// The files below these folders, with their names from the root and their code without comments.
fn sources(folders: &[&str]) -> Vec<(String, String)> {
    let mut files = Vec::new();
    for folder in folders {
        files_below(&root().join(folder), &mut files);
    }
    files.sort();
    let named = |path: PathBuf| {
        let name = path.strip_prefix(root()).unwrap().to_str().unwrap().to_owned();
        (name, without_comments(&fs::read_to_string(&path).unwrap()))
    };
    files.into_iter().map(named).collect()
}

fn without_comments(text: &str) -> String {
    let line = |line: &str| {
        let is_comment = line.trim_start().starts_with("//");
        if is_comment { String::from("\n") } else { format!("{line}\n") }
    };
    text.lines().map(line).collect()
}

/// The code before its unit tests.
fn without_tests(text: &str) -> &str {
    text.split("#[cfg(test)]\nmod ").next().unwrap()
}

fn floor(module: &str) -> u8 {
    let found = FLOORS.iter().find(|(name, _)| *name == module);
    found.unwrap_or_else(|| panic!("the module {module} has no floor")).1
}

/// The module that a file of `src/` belongs to.
fn module_of(file: &str) -> Option<&str> {
    let inside = file.strip_prefix("src/")?;
    let name = inside.split(['/', '.']).next()?;
    (!["lib", "main"].contains(&name)).then_some(name)
}

/// The modules that follow `crate::`, also inside braces.
fn imports(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    for rest in text.split("crate::").skip(1) {
        let Some(group) = rest.strip_prefix('{') else {
            found.push(name(rest));
            continue;
        };
        let (mut depth, mut part) = (0_i32, String::new());
        for letter in group.chars() {
            depth += match letter {
                '{' => 1,
                '}' => -1,
                _ => 0,
            };
            if depth < 0 || (depth == 0 && letter == ',') {
                found.push(name(&part));
                part.clear();
            } else {
                part.push(letter);
            }
            if depth < 0 {
                break;
            }
        }
    }
    found.retain(|module| !module.is_empty());
    found
}

/// The identifier at the start of a path.
fn name(path: &str) -> String {
    path.trim_start().chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect()
}

#[test]
fn imports_are_found_in_every_form() {
    let text = "use crate::audit::{Access, x::Y};\nuse crate::{ram::{A, b::C}, seal, store::D,};\nlet x = crate::api::f();";
    assert_eq!(imports(text), ["audit", "ram", "seal", "store", "api"]);
}

#[test]
fn every_import_goes_down() {
    let mut wrong = Vec::new();
    for (file, text) in sources(&["src"]) {
        let Some(module) = module_of(&file) else { continue };
        for import in imports(&text) {
            if import != module && floor(&import) >= floor(module) {
                wrong.push(format!("{file} ({module}) imports {import}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_table_of_the_crate_is_this_one() {
    let text = fs::read_to_string(root().join("src/lib.rs")).unwrap();
    let rows: Vec<(u8, String)> = text
        .lines()
        .filter_map(|line| {
            let (floor, modules) = line.strip_prefix("//! | ")?.split_once(" | ")?;
            Some((floor.parse().ok()?, modules.to_owned()))
        })
        .collect();
    for (module, floor) in FLOORS {
        let named = format!("[`{module}`]");
        assert!(rows.iter().any(|(f, modules)| *f == floor && modules.contains(&named)), "{module}");
        assert!(text.contains(&format!("pub mod {module};")), "{module}");
    }
    assert_eq!(text.matches("\npub mod ").count(), FLOORS.len());
}

#[test]
fn only_what_may_hold_plaintext_knows_the_hsm() {
    for (file, text) in sources(&["src"]) {
        if text.contains("strongroom_hsm") {
            let module = module_of(&file).unwrap_or_else(|| panic!("{file} imports strongroom_hsm"));
            assert!(HSM.contains(&module), "{file} imports strongroom_hsm");
        }
    }
    for (file, text) in sources(&["src", "plugin/src", "fixtures/src", "plugin/tests", "fixtures/tests"]) {
        assert!(!text.contains("cryptoki"), "{file}");
        if !file.starts_with("src/") {
            assert!(!text.contains("strongroom_hsm") && !text.contains("strongroom::"), "{file}");
        }
    }
}

#[test]
fn plaintext_is_touched_in_the_listed_files_only() {
    let mut found: Vec<String> = sources(&["src", "hsm/src"])
        .into_iter()
        .filter(|(_, text)| without_tests(text).contains(".expose("))
        .map(|(file, _)| file)
        .filter(|file| !file.ends_with("tests.rs"))
        .collect();
    found.sort();
    assert_eq!(found, EXPOSE, "a file that reads plaintext is new, or gone");
}

#[test]
fn threads_block_where_it_is_bounded() {
    for (file, text) in sources(&["src", "hsm/src", "plugin/src"]) {
        if text.contains("spawn_blocking") {
            assert!(["src/runtime/mod.rs", "src/audit/writer.rs"].contains(&file.as_str()), "{file}");
        }
        let clock = without_tests(&text).contains("SystemTime::now(");
        assert!(
            !clock || file == "src/appliance/clock.rs" || file.starts_with("plugin/"),
            "{file} reads the clock"
        );
    }
}

#[test]
fn nothing_is_unsafe() {
    for (file, text) in sources(&["src", "hsm/src", "plugin/src", "fixtures/src", "tests", "hsm/tests"]) {
        if file == "tests/it/floor_plan.rs" {
            // It spells what it looks for.
            continue;
        }
        for keyword in ["unsafe {", "unsafe fn", "unsafe impl", "#[allow("] {
            assert!(!text.contains(keyword), "{file}: {keyword}");
        }
    }
    for file in ["src/lib.rs", "src/main.rs", "plugin/src/main.rs", "fixtures/src/lib.rs"] {
        let text = fs::read_to_string(root().join(file)).unwrap();
        assert!(text.contains("#![forbid(unsafe_code)]"), "{file}");
    }
    assert!(fs::read_to_string(root().join("hsm/src/lib.rs")).unwrap().contains("(unsafe_code)]"));
}

#[test]
fn no_file_is_too_long_to_be_read_in_one_go() {
    let folders = ["src", "hsm", "plugin", "fixtures", "tests"];
    let mut files = Vec::new();
    for folder in folders {
        files_below(&root().join(folder), &mut files);
    }
    for path in files {
        let lines = fs::read_to_string(&path).unwrap().lines().count();
        assert!(lines <= LONGEST, "{}: {lines} lines", path.display());
    }
}
