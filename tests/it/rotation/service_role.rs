//! The role that stands for the grant to rotate: it stays as long as a secret needs it.

use super::{Kind, NAME, World};
use crate::ram_calls::{ECS, ECS_ROLE};

#[tokio::test]
async fn the_role_of_the_service_goes_only_when_no_secret_of_an_instance_is_left() {
    let world = World::new(Kind::Password).await;
    let admin = world.admin();
    admin.ok("CreateServiceLinkedRole", &[("ServiceName", ECS)]).await;
    let role = [("RoleName", ECS_ROLE)];
    let task = admin.ok("DeleteServiceLinkedRole", &role).await["DeletionTaskId"].clone();
    let of = [("DeletionTaskId", task.as_str().unwrap())];
    let status = admin.ok("GetServiceLinkedRoleDeletionStatus", &of).await;
    assert_eq!(status["Status"], "FAILED");
    assert!(status["Reason"]["Message"].as_str().unwrap().contains("ECS"));
    assert_eq!(admin.ok("GetRole", &role).await["Role"]["LatestDeletionTask"]["DeletionTaskId"], task);

    admin.ok("DeleteSecret", &[("SecretName", NAME), ("ForceDeleteWithoutRecovery", "true")]).await;
    let task = admin.ok("DeleteServiceLinkedRole", &role).await["DeletionTaskId"].clone();
    let of = [("DeletionTaskId", task.as_str().unwrap())];
    assert_eq!(admin.ok("GetServiceLinkedRoleDeletionStatus", &of).await["Status"], "SUCCEEDED");
    assert_eq!(admin.refused("GetRole", &role).await, (404, "EntityNotExist.Role".to_owned()));
}
