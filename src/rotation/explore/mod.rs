//! Every course of events, explored.
//!
//! [`model`] puts the two pure functions of [`decide`](super::decide) together
//! with an instance, its plug-in and a network that may lose, delay, repeat and
//! reorder everything, and lets vault and plug-in die between any two durable
//! writes. The search here visits every state that can be reached and checks the
//! invariants of cloud-assistant.md section 5.7 in each; then it checks that from
//! each of them the rotation can still come to its end. A deliberate mistake in
//! the protocol must be found: that shows that the search sees anything.

mod instance;
mod model;
mod vault;

use std::collections::HashMap;
use std::fmt::Write as _;

use self::model::{Kind, Mistake, Settings, World};

/// What a search found.
struct Explored {
    states: usize,
    ends: usize,
    /// What is wrong, and how it came about.
    violation: Option<String>,
}

/// Visits all states; stops at the first that breaks an invariant.
fn explore(settings: Settings) -> Explored {
    let start = World::start();
    let mut index: HashMap<World, u32> = HashMap::new();
    let mut order: Vec<World> = vec![start.clone()];
    let mut came_from: Vec<(u32, &'static str)> = vec![(0, "start")];
    let mut backwards: Vec<Vec<u32>> = vec![Vec::new()];
    index.insert(start, 0);
    let mut at = 0;
    while at < order.len() {
        let here = order[at].clone();
        for (what, next) in here.successors(settings) {
            let violation = next.violation(&here, settings);
            let number = match index.get(&next) {
                Some(number) => *number,
                None => {
                    let number = u32::try_from(order.len()).unwrap();
                    index.insert(next.clone(), number);
                    order.push(next);
                    came_from.push((u32::try_from(at).unwrap(), what));
                    backwards.push(Vec::new());
                    number
                }
            };
            if let Some(broken) = violation {
                came_from[usize::try_from(number).unwrap()] = (u32::try_from(at).unwrap(), what);
                let story = story(&order, &came_from, number);
                return Explored {
                    states: order.len(),
                    ends: 0,
                    violation: Some(format!("{broken}\n{story}")),
                };
            }
            backwards[usize::try_from(number).unwrap()].push(u32::try_from(at).unwrap());
        }
        at += 1;
    }
    let ends: Vec<u32> =
        (0..order.len()).filter(|at| order[*at].is_over()).map(|at| u32::try_from(at).unwrap()).collect();
    let mut can_end = vec![false; order.len()];
    let mut queue = ends.clone();
    while let Some(number) = queue.pop() {
        let number = usize::try_from(number).unwrap();
        if !std::mem::replace(&mut can_end[number], true) {
            queue.extend(backwards[number].iter().copied());
        }
    }
    let violation = can_end.iter().position(|can| !can).map(|at| {
        let story = story(&order, &came_from, u32::try_from(at).unwrap());
        format!("no way to an end is left\n{story}")
    });
    Explored { states: order.len(), ends: ends.len(), violation }
}

/// The steps that led to a state.
fn story(order: &[World], came_from: &[(u32, &'static str)], mut number: u32) -> String {
    let mut steps = Vec::new();
    while number != 0 && steps.len() < 200 {
        let at = usize::try_from(number).unwrap();
        let (before, what) = came_from[at];
        steps.push(format!("{what}: {:?}", order[at]));
        number = before;
    }
    let mut text = String::new();
    for step in steps.iter().rev() {
        writeln!(text, "  {step}").unwrap();
    }
    text
}

fn keeps_the_way_in(kind: Kind) {
    let explored = explore(Settings { kind, mistake: Mistake::None });
    println!("{kind:?}: {} states, {} of them at an end", explored.states, explored.ends);
    if let Some(violation) = explored.violation {
        panic!("{kind:?}: {violation}");
    }
    assert!(explored.ends > 0 && explored.states > 1_000, "hardly anything was explored");
}

#[test]
fn in_every_course_of_events_a_password_is_kept_and_its_rotation_ends() {
    keeps_the_way_in(Kind::Password);
}

#[test]
fn in_every_course_of_events_a_chosen_password_is_kept_and_its_rotation_ends() {
    keeps_the_way_in(Kind::Chosen);
}

#[test]
fn in_every_course_of_events_a_key_is_kept_and_its_rotation_ends() {
    keeps_the_way_in(Kind::Key);
}

#[test]
fn in_every_course_of_events_a_windows_password_is_kept_and_its_rotation_ends() {
    keeps_the_way_in(Kind::Windows);
}

#[test]
fn mistakes_in_the_protocol_are_found() {
    for (kind, mistake, broken) in [
        (Kind::Password, Mistake::LabelBeforeVerify, "2: a version became current that does not log on"),
        (Kind::Key, Mistake::LabelBeforeVerify, "2: a version became current that does not log on"),
        (Kind::Password, Mistake::DropPendingOnTimeout, "1: no version that the vault holds logs on"),
        (Kind::Windows, Mistake::DropPendingOnTimeout, "1: no version that the vault holds logs on"),
        (Kind::Password, Mistake::NewCandidateInDoubt, "1: no version that the vault holds logs on"),
        (Kind::Windows, Mistake::NewCandidateInDoubt, "1: no version that the vault holds logs on"),
        (Kind::Key, Mistake::FinalizeBeforeCommit, "2: the current key does not log on"),
        (Kind::Password, Mistake::GateForgets, "1: no version that the vault holds logs on"),
        (Kind::Password, Mistake::BelieveWithoutProof, "2: a version became current"),
    ] {
        let explored = explore(Settings { kind, mistake });
        let found = explored.violation.unwrap_or_default();
        println!("{kind:?} {mistake:?}: found after {} states", explored.states);
        assert!(found.starts_with(broken), "{kind:?} {mistake:?}: {found}");
    }
}
