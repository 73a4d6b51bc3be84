//! Who may use the operator: many tests that need it to work, or one that takes it away.

use tokio::sync::{RwLock, RwLockReadGuard, RwLockWriteGuard};

static OPERATOR: RwLock<()> = RwLock::const_new(());

/// Held by a test that expects the operator to work, from its first object to its clean-up.
pub(crate) async fn with_operator() -> RwLockReadGuard<'static, ()> {
    OPERATOR.read().await
}

/// Held by a test that takes the operator away.
pub(crate) async fn alone() -> RwLockWriteGuard<'static, ()> {
    OPERATOR.write().await
}

/// Run `test` in a namespace of its own, with an operator that nobody takes away meanwhile.
pub(crate) async fn in_namespace<T>(topic: &str, test: T) -> anyhow::Result<()>
where
    T: AsyncFnOnce(supercargo_tests::kube::TestNamespace) -> anyhow::Result<()>,
{
    let _turn = with_operator().await;
    supercargo_tests::kube::in_namespace(topic, test).await
}
