//! What somebody adds to an object of ours where nothing may be added: server-side apply leaves it, so it has to be taken out.

use serde_json::{Value, json};

use crate::registry::{BUDGET, DEPLOYMENT, S3_SECRET, Scene, on_s3, s3_secret};

const PUBLIC_SERVICE: &str = "/api/v1/namespaces/demo/services/company";
const POLICY: &str = "/apis/networking.k8s.io/v1/namespaces/demo/networkpolicies/company";

async fn settled() -> Scene {
    let scene = Scene::new(on_s3());
    scene.api.put(S3_SECRET, s3_secret());
    scene.pass().await.unwrap();
    scene.all_replicas_ready();
    scene.pass().await.unwrap();
    scene.api.take_log();
    scene
}

/// An object without what changes with every write.
fn content(scene: &Scene, path: &str) -> Value {
    let mut object = scene.api.get(path).unwrap();
    object["metadata"].as_object_mut().unwrap().remove("resourceVersion");
    object
}

#[tokio::test]
async fn what_is_added_where_nothing_may_be_added_is_taken_out() {
    let scene = settled().await;
    let (pod, container) = ("/spec/template/spec", "/spec/template/spec/containers/0");
    for (path, parent, key, added) in [
        (PUBLIC_SERVICE, "/spec/selector".to_owned(), "track", json!("canary")),
        (POLICY, "/spec/podSelector/matchLabels".to_owned(), "track", json!("canary")),
        (POLICY, "/spec/podSelector".to_owned(), "matchExpressions", json!([{ "key": "a", "operator": "Exists" }])),
        (POLICY, "/spec/ingress/0".to_owned(), "from", json!([{ "podSelector": {} , "namespaceSelector": {} }])),
        (BUDGET, "/spec/selector/matchLabels".to_owned(), "track", json!("canary")),
        (DEPLOYMENT, pod.to_owned(), "hostNetwork", json!(true)),
        (DEPLOYMENT, pod.to_owned(), "hostPID", json!(true)),
        (DEPLOYMENT, format!("{pod}/securityContext"), "supplementalGroups", json!([0])),
        (DEPLOYMENT, format!("{container}/securityContext"), "privileged", json!(true)),
        (DEPLOYMENT, format!("{container}/securityContext/capabilities"), "add", json!(["SYS_ADMIN"])),
        (DEPLOYMENT, container.to_owned(), "command", json!(["/bin/sh", "-c", "true"])),
        (
            DEPLOYMENT,
            container.to_owned(),
            "env",
            json!([{ "name": "SUPERCARGO_ACCESS_VISIBILITY", "value": "public" }]),
        ),
        (DEPLOYMENT, container.to_owned(), "envFrom", json!([{ "secretRef": { "name": "other" } }])),
        (DEPLOYMENT, format!("{container}/lifecycle"), "postStart", json!({ "exec": { "command": ["id"] } })),
    ] {
        let before = content(&scene, path);
        scene.api.edit(path, |object| object.pointer_mut(&parent).expect("the parent")[key] = added);
        scene.pass().await.unwrap();
        let kind = path.rsplit('/').nth(1).unwrap();
        assert_eq!(scene.short_writes(), [format!("PATCH {kind}/company")], "{path} {parent}/{key}");
        assert_eq!(content(&scene, path), before, "{path} {parent}/{key}");
        scene.pass().await.unwrap();
        assert_eq!(scene.short_writes(), Vec::<String>::new(), "{path} {parent}/{key}: once is enough");
    }
}

#[tokio::test]
async fn an_addition_and_a_change_are_both_undone_in_one_pass() {
    let scene = settled().await;
    let before = content(&scene, DEPLOYMENT);
    scene.api.edit(DEPLOYMENT, |deployment| {
        let container = &mut deployment["spec"]["template"]["spec"]["containers"][0];
        container["image"] = json!("evil:1");
        container["env"] = json!([{ "name": "A", "value": "b" }]);
    });
    scene.pass().await.unwrap();
    assert_eq!(scene.short_writes(), ["PATCH deployments/company", "PATCH deployments/company"]);
    assert_eq!(content(&scene, DEPLOYMENT), before);
}

#[tokio::test]
async fn what_others_may_add_stays_and_costs_no_write() {
    let scene = settled().await;
    scene.api.edit(DEPLOYMENT, |deployment| {
        deployment["metadata"]["labels"]["env"] = json!("production");
        deployment["spec"]["template"]["metadata"]["annotations"]["kubectl.kubernetes.io/restartedAt"] = json!("now");
        let pod = &mut deployment["spec"]["template"]["spec"];
        pod["tolerations"] = json!([{ "operator": "Exists" }]);
        pod["containers"].as_array_mut().unwrap().push(json!({ "name": "sidecar", "image": "mesh:1", "env": [] }));
    });
    scene.api.edit(PUBLIC_SERVICE, |service| service["metadata"]["annotations"]["env"] = json!("production"));
    scene.pass().await.unwrap();
    assert_eq!(scene.short_writes(), Vec::<String>::new());
}

#[tokio::test]
async fn an_object_that_changed_since_it_was_looked_at_is_not_cut_into() {
    let scene = settled().await;
    let pod = |scene: &Scene| scene.api.get(DEPLOYMENT).unwrap()["spec"]["template"]["spec"].clone();
    scene.api.edit(DEPLOYMENT, |deployment| deployment["spec"]["template"]["spec"]["hostNetwork"] = json!(true));
    scene.api.refuse(http::Method::PATCH, "/deployments/company", 409);
    assert_eq!(scene.pass().await.unwrap_err().label(), "conflict");
    scene.api.allow_all();
    scene.pass().await.unwrap();
    assert!(pod(&scene)["hostNetwork"].is_null());
}
