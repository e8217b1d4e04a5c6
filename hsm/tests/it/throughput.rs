//! What the way to the worker costs.

use std::time::{Duration, Instant};

use strongroom_hsm::{KeyKind, TokenConfig};
use tokio::task::JoinSet;

use crate::outside;
use crate::stand::{Stand, data_key, key, start};

const CALLERS: usize = 64;
const ROUND: Duration = Duration::from_secs(2);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "measures; run by hand, in a release build"]
async fn unwraps_a_second_at_64_callers() {
    let stand = Stand::new().await;
    let service = stand.service(&[]).await;
    let cmk = key(KeyKind::CustomerMaster);
    let known = service.generate(&cmk).await.unwrap();
    let wrapped = service.wrap(&cmk, b"context", &data_key()).await.unwrap();
    service.stop().await;
    for sessions in [1, 2, 4, 8] {
        let config = TokenConfig { sessions, ..stand.config() };
        let service = start(config, std::slice::from_ref(&known)).await.unwrap();
        let direct = outside::measure(&stand, &cmk, &wrapped, sessions);
        let mut callers = JoinSet::new();
        let end = Instant::now() + ROUND;
        for _ in 0..CALLERS {
            let (service, cmk, wrapped) = (service.clone(), cmk.clone(), wrapped.clone());
            callers.spawn(async move {
                let mut calls = 0_u64;
                while Instant::now() < end {
                    service.unwrap(&cmk, b"context", &wrapped).await.unwrap();
                    calls += 1;
                }
                calls
            });
        }
        let calls: u64 = callers.join_all().await.iter().sum();
        println!(
            "{sessions} sessions: {}/s through the worker, {direct}/s in process",
            calls / ROUND.as_secs()
        );
        service.stop().await;
    }
}
