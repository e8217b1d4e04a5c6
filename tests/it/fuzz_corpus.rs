//! What `scripts/fuzz` found worth keeping, fed through the same functions, and
//! a bounded number of changes to it, the same ones each time.

use std::panic::catch_unwind;

#[path = "../fuzz/src/corpus.rs"]
#[expect(unreachable_pub, reason = "shared with the package of the fuzzer")]
mod corpus;
#[path = "../fuzz/src/targets/mod.rs"]
#[expect(unreachable_pub, reason = "shared with the package of the fuzzer")]
mod targets;

/// Changed inputs for each target.
const CHANGED: usize = 6_000;
/// Longest input that is made.
const LONGEST: usize = 8_192;
/// Bytes that mean something to one of the targets.
const MEANT: &[u8] = b"\0\n %&+,./:;=AZaz09\\\"'{}[]()*~\x7f\x80\xc3\xa9\xed\xa0\xf4\xff";

/// A generator of splitmix64, so that every run makes the same inputs.
struct Chance(u64);

impl Chance {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, limit: usize) -> usize {
        usize::try_from(self.next() % u64::try_from(limit.max(1)).unwrap()).unwrap()
    }
}

/// An input of the corpus with a few changes.
fn changed(inputs: &[Vec<u8>], chance: &mut Chance) -> Vec<u8> {
    let mut input = inputs[chance.below(inputs.len())].clone();
    for _ in 0..=chance.below(4) {
        let at = chance.below(input.len() + 1);
        let end = (at + chance.below(16)).min(input.len());
        match chance.below(6) {
            0 => input.insert(at, MEANT[chance.below(MEANT.len())]),
            1 => drop(input.drain(at..end)),
            2 => {
                let piece = input[at..end].to_vec();
                input.splice(at..at, piece);
            }
            3 => {
                let other = &inputs[chance.below(inputs.len())];
                let from = chance.below(other.len() + 1);
                let piece = other[from..(from + chance.below(64)).min(other.len())].to_vec();
                input.splice(at..end, piece);
            }
            4 if at < input.len() => input[at] ^= 1 << chance.below(8),
            _ => input.truncate(input.len() - (end - at)),
        }
    }
    input.truncate(LONGEST);
    input
}

fn kept(name: &str) -> Vec<Vec<u8>> {
    let file = format!("{}/tests/fuzz/corpus/{name}", env!("CARGO_MANIFEST_DIR"));
    corpus::read(&std::fs::read_to_string(file).unwrap()).unwrap()
}

/// Runs one input; says which one it was when it fails.
fn run(name: &str, target: targets::Target, input: &[u8]) {
    if catch_unwind(|| target(input)).is_err() {
        panic!("{name} fails for {}", corpus::write(&mut vec![input.to_vec()]));
    }
}

fn every_input(name: &str) {
    let (_, target) = targets::ALL.into_iter().find(|(known, _)| *known == name).unwrap();
    let inputs = kept(name);
    assert!(inputs.len() > 10, "the corpus of {name} has {} inputs", inputs.len());
    for input in &inputs {
        run(name, target, input);
    }
    let mut chance = Chance(20);
    for _ in 0..CHANGED {
        run(name, target, &changed(&inputs, &mut chance));
    }
}

#[test]
fn canonical_texts_hold_for_the_kept_corpus_and_changes_to_it() {
    every_input("canonical");
}

#[test]
fn decoding_holds_for_the_kept_corpus_and_changes_to_it() {
    every_input("decode");
}

#[test]
fn policies_hold_for_the_kept_corpus_and_changes_to_it() {
    every_input("policy");
}

#[test]
fn signing_data_hold_for_the_kept_corpus_and_changes_to_it() {
    every_input("signature");
}

#[test]
fn a_corpus_that_is_written_reads_back_as_itself() {
    let mut inputs: Vec<Vec<u8>> = vec![(0..=255).collect(), b"a\\n\nb".to_vec(), Vec::new(), b"x".to_vec()];
    let text = corpus::write(&mut inputs);
    assert!(text.is_ascii());
    assert_eq!(corpus::read(&text).unwrap(), inputs);
    for bad in ["\\", "\\x", "\\x4", "\\xzz", "\\q"] {
        assert!(corpus::read(bad).is_err(), "{bad}");
    }
}
