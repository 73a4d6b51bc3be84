//! What somebody adds to an object of ours where nothing may be added: server-side apply leaves it, so it has to be taken out.

use serde_json::{Value, json};
use supercargo_operator::crd::conditions::{DEGRADED, READY};

use crate::registry::{BUDGET, DEPLOYMENT, FSCK, GC, REGISTRY, S3_SECRET, Scene, on_s3, on_volume, s3_secret};

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
    let job = "/spec/jobTemplate/spec/template/spec";
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
        (FSCK, format!("{job}/containers/0"), "command", json!(["/bin/sh", "-c", "true"])),
        (FSCK, format!("{job}/containers/0/securityContext"), "privileged", json!(true)),
        (FSCK, job.to_owned(), "hostNetwork", json!(true)),
        (DEPLOYMENT, format!("{container}/lifecycle"), "postStart", json!({ "exec": { "command": ["id"] } })),
    ] {
        let before = content(&scene, path);
        scene.api.edit(path, |object| object.pointer_mut(&parent).expect("the parent")[key] = added);
        scene.pass().await.unwrap();
        let mut words = path.rsplit('/');
        let (name, kind) = (words.next().unwrap(), words.next().unwrap());
        assert_eq!(scene.short_writes(), [format!("PATCH {kind}/{name}")], "{path} {parent}/{key}");
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

#[tokio::test]
async fn maintenance_is_scheduled_kept_and_changed_by_the_spec() {
    let scene = settled().await;
    let spec = |path: &str| scene.api.get(path).unwrap()["spec"].clone();
    let args = |path: &str| spec(path)["jobTemplate"]["spec"]["template"]["spec"]["containers"][0]["args"].clone();
    let config = "/etc/supercargo/registry.toml";
    assert_eq!(args(FSCK), json!(["fsck", "--repair", "--config", config]));
    assert_eq!(args(GC), json!(["gc", "--dry-run=false", "--config", config]));
    for path in [FSCK, GC] {
        let owner = scene.api.get(path).unwrap()["metadata"]["ownerReferences"][0]["kind"].clone();
        assert_eq!((owner, &spec(path)["suspend"]), (json!("CargoRegistry"), &json!(false)));
    }

    // Somebody suspends it by hand, somebody deletes it: the spec is the place for that.
    scene.api.edit(FSCK, |job| job["spec"]["suspend"] = json!(true));
    scene.api.remove(GC);
    scene.pass().await.unwrap();
    assert_eq!(scene.short_writes(), ["PATCH cronjobs/company-fsck", "PATCH cronjobs/company-gc"]);

    scene.api.edit(REGISTRY, |registry| {
        registry["spec"]["maintenance"] =
            json!({ "fsck": { "schedule": "30 2 * * 6", "deep": true, "suspend": true } });
    });
    scene.pass().await.unwrap();
    assert_eq!((&spec(FSCK)["schedule"], &spec(FSCK)["suspend"]), (&json!("30 2 * * 6"), &json!(true)));
    assert_eq!(args(FSCK), json!(["fsck", "--deep", "--repair", "--config", config]));
    assert_eq!(args(GC), json!(["gc", "--dry-run=false", "--config", config]));

    scene.api.edit(REGISTRY, |registry| registry["spec"]["maintenance"]["fsck"]["schedule"] = json!("at night"));
    scene.pass().await.unwrap();
    let (_, message) = scene.condition(DEGRADED);
    assert!(message.contains("a schedule of maintenance has five fields"), "{message}");
}

#[tokio::test]
async fn maintenance_on_a_volume_is_refused_in_words() {
    let mut spec = on_volume();
    spec["maintenance"] = json!({ "gc": { "dryRun": true } });
    let scene = Scene::new(spec);
    scene.pass().await.unwrap();
    let (reason, message) = scene.condition(READY);
    assert!(
        reason.ends_with("/InvalidSpec") && message.contains("a volume has room for one process only"),
        "{reason} {message}"
    );
    assert_eq!(scene.api.get("/apis/batch/v1/namespaces/demo/cronjobs/company-gc"), None);
}
