//! The bridge from asynchronous code to what blocks: SQLite and files.
//!
//! It bounds how many blocking calls run at once, so that a slow disk makes
//! callers wait instead of making threads. Nothing else uses `spawn_blocking`.

use std::sync::Arc;

use tokio::sync::Semaphore;

/// A blocking call that did not run, or did not come back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a blocking call did not finish")]
pub struct BlockingFailed;

/// Runs blocking closures, a bounded number at once. Clones share the bound.
#[derive(Debug, Clone)]
pub struct Blocking {
    permits: Arc<Semaphore>,
}

impl Blocking {
    /// At most `limit` calls at once, at least one.
    #[must_use]
    pub fn new(limit: usize) -> Self {
        Self { permits: Arc::new(Semaphore::new(limit.max(1))) }
    }

    /// Runs `call` on a thread that may block, once one is free.
    ///
    /// # Errors
    ///
    /// [`BlockingFailed`] when the runtime is shutting down, or `call` panicked.
    pub async fn run<T: Send + 'static>(
        &self,
        call: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, BlockingFailed> {
        let permit = Arc::clone(&self.permits).acquire_owned().await.ok();
        let permit = permit.ok_or(BlockingFailed)?;
        #[expect(clippy::disallowed_methods, reason = "this is the one place, and the permit bounds it")]
        let task = tokio::task::spawn_blocking(move || {
            let result = call();
            drop(permit);
            result
        });
        task.await.ok().ok_or(BlockingFailed)
    }
}
