//! Everything that the cloud can do to a rotation, one fault after the other.

use std::collections::BTreeSet;
use std::time::Duration;

use strongroom_fixtures::emulator::{Fault, FaultKind};

use super::{Kind, NAME, World};

/// Calls that start a command, and calls that ask for its result.
const RUN: &str = "RunCommand";
const RESULTS: &str = "DescribeInvocationResults";

fn text(text: &str) -> String {
    text.to_owned()
}

/// What can happen to one command.
pub(super) fn kinds() -> Vec<FaultKind> {
    vec![
        FaultKind::Refuse { code: text("Forbidden.RAM"), status: 403 },
        FaultKind::ErrorBefore { code: text("InternalError"), status: 500 },
        FaultKind::ErrorAfter { code: text("ServiceUnavailable"), status: 503 },
        FaultKind::DropBefore,
        FaultKind::DropAfter,
        FaultKind::Throttle,
        FaultKind::DelayReply { millis: 150 },
        FaultKind::ForgetTokens,
        FaultKind::EmptyResults,
        FaultKind::StaleResults,
        FaultKind::DelayDelivery { millis: 200 },
        FaultKind::NeverDeliver { error_code: text("ClientNotRunning") },
        FaultKind::DeliverAfterAbort { millis: 100 },
        FaultKind::DeliverTwice,
        FaultKind::LoseResult { error_code: text("ClientNotResponse") },
        FaultKind::ReportTimeout { millis: 1 },
        FaultKind::TruncateOutput { bytes: 20 },
        FaultKind::KillAfter { millis: 15 },
        FaultKind::KillAtMarker { marker: text("strongroom") },
        FaultKind::Reboot { millis: 10 },
    ]
}

/// The place of a kind in the emulator's list; a new kind does not compile without one.
pub(super) const fn number(kind: &FaultKind) -> usize {
    match kind {
        FaultKind::Refuse { .. } => 0,
        FaultKind::ErrorBefore { .. } => 1,
        FaultKind::ErrorAfter { .. } => 2,
        FaultKind::DropBefore => 3,
        FaultKind::DropAfter => 4,
        FaultKind::Throttle => 5,
        FaultKind::DelayReply { .. } => 6,
        FaultKind::ForgetTokens => 7,
        FaultKind::EmptyResults => 8,
        FaultKind::StaleResults => 9,
        FaultKind::DelayDelivery { .. } => 10,
        FaultKind::NeverDeliver { .. } => 11,
        FaultKind::DeliverAfterAbort { .. } => 12,
        FaultKind::DeliverTwice => 13,
        FaultKind::LoseResult { .. } => 14,
        FaultKind::ReportTimeout { .. } => 15,
        FaultKind::TruncateOutput { .. } => 16,
        FaultKind::KillAfter { .. } => 17,
        FaultKind::KillAtMarker { .. } => 18,
        FaultKind::Reboot { .. } => 19,
    }
}

/// The fault, at the call where it can strike: one to start `op`, or one to ask for results.
pub(super) fn at(kind: FaultKind, op: &str) -> Fault {
    match kind {
        FaultKind::EmptyResults | FaultKind::StaleResults => Fault::new(kind).action(RESULTS).times(4),
        FaultKind::Refuse { .. }
        | FaultKind::ErrorBefore { .. }
        | FaultKind::ErrorAfter { .. }
        | FaultKind::DropBefore
        | FaultKind::DropAfter
        | FaultKind::Throttle
        | FaultKind::DelayReply { .. }
        | FaultKind::ForgetTokens => Fault::new(kind).action(RUN).op(op),
        FaultKind::DelayDelivery { .. }
        | FaultKind::NeverDeliver { .. }
        | FaultKind::DeliverAfterAbort { .. }
        | FaultKind::DeliverTwice
        | FaultKind::LoseResult { .. }
        | FaultKind::ReportTimeout { .. }
        | FaultKind::TruncateOutput { .. }
        | FaultKind::KillAfter { .. }
        | FaultKind::KillAtMarker { .. }
        | FaultKind::Reboot { .. } => Fault::new(kind).op(op),
    }
}

/// Rotates under these faults: the rotation ends well, and what it leaves is sound.
async fn rotates(world: &World, version: &str, faults: &[Fault]) {
    let before = world.current(NAME).await;
    world.suffer(faults.iter().cloned());
    world.rotate(version).await;
    let row = world.row_within(Duration::from_secs(100), version, |row| row.over).await;
    assert_eq!(row.state, "Done", "{version}: {row:?}");
    world.quiet().await;
    assert!(world.at_rest(version).await != before, "{version}: the value is the former one");
    assert_eq!(world.outcomes(&row.id).len(), 1, "{version}");
    assert!(
        world.cloud().faults().is_empty(),
        "{version}: the fault never struck: {:?}",
        world.cloud().faults()
    );
}

async fn any_fault_of_an_apply(kind: Kind) {
    let world = World::new(kind).await;
    let kinds = kinds();
    let numbers: BTreeSet<usize> = kinds.iter().map(number).collect();
    assert_eq!(numbers, (0..20).collect());
    for fault in kinds {
        if fault == FaultKind::Throttle {
            continue;
        }
        let version = format!("apply-{}", number(&fault));
        rotates(&world, &version, &[at(fault, "apply")]).await;
    }
    assert!(world.cloud().records().reboot_failures.is_empty());
}

#[tokio::test]
async fn a_password_rotation_ends_well_whatever_happens_to_its_command() {
    any_fault_of_an_apply(Kind::Password).await;
}

#[tokio::test]
async fn a_key_rotation_ends_well_whatever_happens_to_its_command() {
    any_fault_of_an_apply(Kind::Key).await;
}

#[tokio::test]
async fn a_throttled_rotation_waits_for_the_next_minute() {
    rotates(&World::new(Kind::Key).await, "throttled", &[at(FaultKind::Throttle, "apply")]).await;
}

#[tokio::test]
async fn a_command_that_runs_again_after_its_token_was_forgotten_changes_nothing_more() {
    let world = World::new(Kind::Password).await;
    let lost = at(FaultKind::DropAfter, "apply");
    let forgotten = Fault::new(FaultKind::ForgetTokens).action(RUN).op("apply").after(1);
    rotates(&world, "twice", &[lost, forgotten]).await;
    let applies = world.cloud().records().requests[RUN];
    assert_eq!(applies, 2);
}

#[tokio::test]
async fn a_question_that_is_lost_is_asked_again() {
    for kind in Kind::BOTH {
        let world = World::new(kind).await;
        let lost = || at(FaultKind::LoseResult { error_code: text("ClientNotResponse") }, "apply");
        let spoiled = [
            FaultKind::Refuse { code: text("Forbidden.RAM"), status: 403 },
            FaultKind::DropAfter,
            FaultKind::NeverDeliver { error_code: text("DeliveryTimeout") },
            FaultKind::LoseResult { error_code: text("ClientNotResponse") },
            FaultKind::TruncateOutput { bytes: 30 },
            FaultKind::KillAfter { millis: 1 },
            FaultKind::Reboot { millis: 1 },
        ];
        for fault in &spoiled {
            let version = format!("status-{}", number(fault));
            rotates(&world, &version, &[lost(), at(fault.clone(), "status")]).await;
        }
        // What the plug-in says without proof has to be verified.
        world.install_proofless_plugin();
        for fault in &spoiled {
            let version = format!("verify-{}", number(fault));
            rotates(&world, &version, &[at(fault.clone(), "verify")]).await;
        }
        world.install_plugin();
        if kind == Kind::Key {
            for fault in spoiled {
                let version = format!("finalize-{}", number(&fault));
                rotates(&world, &version, &[at(fault, "finalize")]).await;
            }
        }
    }
}

#[tokio::test]
async fn what_cannot_be_delivered_is_given_up_behind_a_fence_even_a_leaky_one() {
    for kind in Kind::BOTH {
        let world = World::new(kind).await;
        let before = world.current(NAME).await;
        let never = FaultKind::NeverDeliver { error_code: text("InstanceNotRunning") };
        world.suffer([
            Fault::new(never.clone()).op("apply").times(6),
            Fault::new(never).op("fence").times(2),
            at(FaultKind::LoseResult { error_code: text("ClientNotResponse") }, "fence").after(2),
        ]);
        let row = world.rotate_to_the_end("fenced").await;
        assert_eq!(row.state, "Failed");
        assert!(world.at_rest("fenced").await == before);
        assert_eq!(world.stages_of(NAME, "fenced").await, None);
        rotates(&world, "next", &[]).await;
    }
}

#[tokio::test]
async fn a_command_that_comes_late_from_a_rotation_that_was_given_up_changes_nothing() {
    for kind in Kind::BOTH {
        let world = World::new(kind).await;
        let before = world.current(NAME).await;
        let never = FaultKind::NeverDeliver { error_code: text("DeliveryTimeout") };
        world.suffer([
            Fault::new(FaultKind::DeliverAfterAbort { millis: 6_000 }).op("apply"),
            Fault::new(never).op("apply").after(1).times(5),
        ]);
        let row = world.rotate_to_the_end("late").await;
        assert_eq!(row.state, "Failed", "{row:?}");
        let runs = || {
            let records = world.cloud().records();
            let rows = records.invocations.into_iter().flat_map(|i| i.rows);
            rows.flat_map(|row| row.runs).filter(|run| run.output.contains(r#""op":"apply""#)).count()
        };
        assert_eq!(runs(), 0, "it came before the fence");
        crate::harness::eventually("the late run", async || (runs() == 1).then_some(())).await;
        assert!(world.at_rest("late").await == before);
    }
}

#[tokio::test]
async fn a_plug_in_that_proves_nothing_is_not_believed() {
    let world = World::new(Kind::Password).await;
    let before = world.current(NAME).await;
    // Also `verify` shows another proof than that of the candidate.
    world.install_proofless_plugin();
    world.shell(
        r"sed -i 's/apply\\|status/apply\\|status\\|verify/' /usr/local/lib/strongroom/strongroom-rotator",
    );
    world.rotate("unproved").await;
    world.row_that("unproved", |row| row.trouble.as_deref() == Some("verify_failed")).await;
    let commands = || world.cloud().records().requests[RUN];
    let first = commands();
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert!(commands() - first < 12, "it asks without a pause");
    assert!(world.current(NAME).await == before, "the labels moved without a proof");
    world.install_plugin();
    assert_eq!(world.over("unproved").await.state, "Done");
    world.at_rest("unproved").await;
}
