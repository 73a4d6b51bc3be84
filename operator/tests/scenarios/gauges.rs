//! What is counted of objects: none is forgotten, and none outlives its object.

use std::time::Duration;

use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use supercargo_operator::controller::Reconcile;

use crate::controller::{COLLECTION, start, with};
use crate::registry::{Scene, on_volume};

/// The line of one gauge.
fn shown(metrics: &PrometheusHandle, gauge: &str) -> Option<String> {
    let text = metrics.render();
    text.lines().find_map(|line| line.strip_prefix(gauge)).map(|value| value.trim().to_owned())
}

#[tokio::test(start_paused = true)]
async fn a_deleted_object_waits_for_no_next_try() {
    let recorder = PrometheusBuilder::new().build_recorder();
    let metrics = recorder.handle();
    let _guard = metrics::set_default_local_recorder(&recorder);
    let waiting = "supercargo_operator_objects_in_backoff{controller=\"tests\"}";
    let api = with(&["panics"]);
    let running = start(&api);
    running.reconciler.until(|r| r.passes_of("panics") > 3).await;
    assert_eq!(shown(&metrics, waiting).as_deref(), Some("1"));
    api.delete(&format!("{COLLECTION}/panics"));
    tokio::time::sleep(Duration::from_secs(600)).await;
    assert_eq!(shown(&metrics, waiting).as_deref(), Some("0"));
}

#[tokio::test]
async fn registries_of_all_namespaces_are_counted() {
    let recorder = PrometheusBuilder::new().build_recorder();
    let metrics = recorder.handle();
    let _guard = metrics::set_default_local_recorder(&recorder);
    let unready = || shown(&metrics, "supercargo_operator_registries{ready=\"false\"}");
    // As with two watched namespaces: a controller each.
    let (one, two) = (Scene::new(on_volume()), Scene::new(on_volume()));
    one.pass().await.unwrap();
    two.pass().await.unwrap();
    assert_eq!(unready().as_deref(), Some("2"));
    two.all_replicas_ready();
    two.pass().await.unwrap();
    assert_eq!(unready().as_deref(), Some("1"));
    assert_eq!(shown(&metrics, "supercargo_operator_registries{ready=\"true\"}").as_deref(), Some("1"));
    for _ in 0..2 {
        one.registries.gone("demo", "company");
    }
    assert_eq!(unready().as_deref(), Some("0"));
}
