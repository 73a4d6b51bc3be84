//! Golden objects of the two forms, and what must hold for every registry.

use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::PodSpec;
use serde::Serialize;
use serde_json::{Value, json};

use super::build;
use crate::registry::fixtures::{on_s3, on_volume, registry, valid};
use crate::registry::internal::{CERTIFICATE, PRIVATE_KEY, TRUSTED};
use crate::registry::model::{Prepared, Resources};

/// All objects as one YAML stream; what differs from run to run is replaced.
fn yaml(resources: Resources<Prepared>) -> String {
    let Resources {
        service_account,
        config_map,
        mut internal_secret,
        volume_claim,
        public_service,
        internal_service,
        network_policy,
        disruption_budget,
        mut deployment,
        maintenance_policy,
        fsck,
        gc,
        stage: _,
    } = resources;
    for key in [CERTIFICATE, PRIVATE_KEY, TRUSTED] {
        internal_secret.data.as_mut().unwrap().insert(key.into(), ByteString(b"PEM".to_vec()));
    }
    for value in internal_secret.metadata.annotations.as_mut().unwrap().values_mut() {
        *value = format!("HASH {}", value.split_once(' ').unwrap().1);
    }
    let template = &mut deployment.spec.as_mut().unwrap().template;
    let annotations = template.metadata.as_mut().unwrap().annotations.as_mut().unwrap();
    annotations.insert(crate::names::INTERNAL_HASH.into(), "HASH".into());
    let mut all = String::new();
    let mut add = |object: Option<&dyn erased::Yaml>| {
        if let Some(object) = object {
            all.push_str("---\n");
            all.push_str(&object.yaml());
        }
    };
    add(service_account.as_ref().map(|o| o as _));
    add(Some(&config_map));
    add(Some(&internal_secret));
    add(volume_claim.as_ref().map(|o| o as _));
    add(Some(&network_policy));
    add(Some(&internal_service));
    add(Some(&public_service));
    add(Some(&deployment));
    add(disruption_budget.as_ref().map(|o| o as _));
    add(maintenance_policy.as_ref().map(|o| o as _));
    add(fsck.as_deref().map(|o| o as _));
    add(gc.as_deref().map(|o| o as _));
    all
}

mod erased {
    pub(super) trait Yaml {
        fn yaml(&self) -> String;
    }
    impl<T: super::Serialize> Yaml for T {
        fn yaml(&self) -> String {
            serde_saphyr::to_string(self).expect("Kubernetes objects are YAML")
        }
    }
}

fn pod(spec: Value) -> PodSpec {
    build(&valid(&registry(spec))).deployment.spec.unwrap().template.spec.unwrap()
}

fn toml_of(spec: Value) -> toml::Table {
    build(&valid(&registry(spec))).config_map.data.unwrap()["registry.toml"].parse().expect("TOML")
}

fn full() -> Value {
    json!({
        "storage": { "s3": {
            "bucket": "crates", "region": "eu-west-1", "endpoint": "https://minio.storage.svc:9000",
            "publicEndpoint": "https://s3.example.com", "prefix": "teams/payments",
            "forcePathStyle": true, "credentialsSecretRef": { "name": "s3" },
            "caBundle": { "configMapKeyRef": { "name": "roots", "key": "bundle.pem" } },
        } },
        "replicas": 3,
        "image": "registry.example/supercargo:1",
        "imagePullPolicy": "Always",
        "resources": { "requests": { "cpu": 1, "memory": "512Mi" }, "limits": { "cpu": "2" } },
        "expose": { "url": "https://cargo.example.com",
                    "service": { "type": "NodePort", "nodePort": 30080, "annotations": { "a": "b" } } },
        "access": { "visibility": "Public" },
        "limits": { "crateBytesMax": 20_971_520, "drainSeconds": 40 },
        "cache": { "diskSize": "20Gi" },
        "maintenance": { "fsck": { "schedule": "30 2 * * 6", "deep": true, "repair": false },
                         "gc": { "schedule": "@daily", "dryRun": true, "suspend": true } },
    })
}

#[test]
fn s3_form() {
    insta::assert_snapshot!(yaml(build(&valid(&registry(on_s3())))));
}

#[test]
fn s3_form_with_every_field() {
    insta::assert_snapshot!(yaml(build(&valid(&registry(full())))));
}

#[test]
fn volume_form() {
    insta::assert_snapshot!(yaml(build(&valid(&registry(on_volume())))));
}

#[test]
fn the_same_registry_gives_the_same_bytes() {
    let valid = valid(&registry(full()));
    let bytes = |r: Resources<Prepared>| serde_json::to_vec(&(r.deployment, r.config_map, r.public_service)).unwrap();
    assert_eq!(bytes(build(&valid)), bytes(build(&valid)));
}

#[test]
fn pods_are_restricted_in_either_form() {
    for spec in [on_s3(), on_volume(), full()] {
        let pod = pod(spec);
        let context = pod.security_context.unwrap();
        assert_eq!((context.run_as_non_root, context.run_as_user), (Some(true), Some(65532)));
        assert_eq!(context.seccomp_profile.unwrap().type_, "RuntimeDefault");
        assert_eq!((pod.host_network, pod.host_pid, pod.host_ipc), (None, None, None));
        assert_eq!(pod.automount_service_account_token, Some(false));
        for container in &pod.containers {
            let context = container.security_context.as_ref().unwrap();
            assert_eq!(context.allow_privilege_escalation, Some(false));
            assert_eq!(context.read_only_root_filesystem, Some(true));
            assert_eq!(context.capabilities.as_ref().unwrap().drop, Some(vec!["ALL".to_owned()]));
            let limits = container.resources.as_ref().unwrap().limits.as_ref().unwrap();
            assert!(limits.contains_key("memory") && limits.contains_key("ephemeral-storage"), "{limits:?}");
        }
        for volume in pod.volumes.unwrap() {
            assert!(volume.host_path.is_none(), "{}", volume.name);
        }
    }
}

#[test]
fn maintenance_runs_as_restricted_as_the_replicas_and_is_nobodys_backend() {
    for spec in [on_s3(), full()] {
        let resources = build(&valid(&registry(spec.clone())));
        let replicas = pod(spec);
        for job in [resources.fsck.unwrap(), resources.gc.unwrap()] {
            let spec = job.spec.unwrap();
            assert_eq!(spec.concurrency_policy.as_deref(), Some("Forbid"));
            let template = spec.job_template.spec.unwrap().template;
            let labels = template.metadata.unwrap().labels.unwrap();
            for service in [&resources.public_service, &resources.internal_service] {
                let selector = service.spec.as_ref().unwrap().selector.as_ref().unwrap();
                assert!(selector.iter().any(|(key, value)| labels.get(key) != Some(value)), "{labels:?}");
            }
            let pod = template.spec.unwrap();
            assert_eq!(
                (&pod.security_context, pod.restart_policy.as_deref()),
                (&replicas.security_context, Some("Never"))
            );
            assert_eq!(pod.service_account_name, replicas.service_account_name);
            assert_eq!(pod.automount_service_account_token, Some(false));
            let (container, replica) = (&pod.containers[0], &replicas.containers[0]);
            assert_eq!(container.security_context, replica.security_context);
            let mut mounts = replica.volume_mounts.clone().unwrap();
            mounts.retain(|mount| mount.name != "cache"); // nobody downloads from a job
            assert_eq!(container.volume_mounts.as_ref(), Some(&mounts));
            assert!(container.env.is_none() && container.ports.is_none());
        }
    }
    let volume = build(&valid(&registry(on_volume())));
    assert!(volume.fsck.is_none() && volume.gc.is_none() && volume.maintenance_policy.is_none());
}

#[test]
fn registries_are_not_all_checked_at_once() {
    let schedule = |name: &str| {
        let resources = build(&valid(&crate::registry::fixtures::named(name, on_s3())));
        [resources.fsck.unwrap(), resources.gc.unwrap()].map(|job| job.spec.unwrap().schedule)
    };
    assert_eq!(schedule("company"), schedule("company"));
    let names = ["a", "b", "c", "d", "e", "f"];
    let all: std::collections::BTreeSet<_> = names.iter().flat_map(|name| schedule(name)).collect();
    assert!(all.len() > 8, "{all:?}");
    for schedule in &all {
        let mut fields = schedule.split(' ');
        let (minute, hour): (u32, u32) =
            (fields.next().unwrap().parse().unwrap(), fields.next().unwrap().parse().unwrap());
        assert!(minute < 60 && (1..5).contains(&hour) && fields.eq(["*", "*", "*"]), "{schedule}");
    }
}

#[test]
fn every_mount_has_its_volume_and_the_configuration_names_mounted_paths() {
    for spec in [on_s3(), on_volume(), full()] {
        let pod = pod(spec.clone());
        let volumes: Vec<_> = pod.volumes.unwrap().into_iter().map(|v| v.name).collect();
        let mounts = pod.containers[0].volume_mounts.clone().unwrap();
        assert!(mounts.iter().all(|m| volumes.contains(&m.name)) && mounts.len() == volumes.len());
        let paths: Vec<_> = mounts.into_iter().map(|m| m.mount_path).collect();
        let mut named = Vec::new();
        collect_paths(&toml::Value::Table(toml_of(spec)), &mut named);
        for path in named {
            assert!(paths.iter().any(|mount| path.starts_with(mount.as_str())), "{path} in {paths:?}");
        }
    }
}

fn collect_paths(value: &toml::Value, into: &mut Vec<String>) {
    match value {
        toml::Value::String(text) if text.starts_with('/') => into.push(text.clone()),
        toml::Value::Table(table) => table.values().for_each(|v| collect_paths(v, into)),
        _ => {}
    }
}

#[test]
fn the_kubelet_waits_longer_than_the_drain() {
    for (spec, drain) in [(on_s3(), 25), (full(), 40)] {
        assert_eq!(toml_of(spec.clone())["limits"]["drain_secs"].as_integer(), Some(drain));
        let pod = pod(spec);
        let sleep =
            pod.containers[0].lifecycle.as_ref().unwrap().pre_stop.as_ref().unwrap().sleep.as_ref().unwrap().seconds;
        assert!(pod.termination_grace_period_seconds.unwrap() > drain + sleep);
    }
}

#[test]
fn a_changed_secret_changes_the_template_and_nothing_else_does() {
    let mut valid = valid(&registry(on_s3()));
    let before = build(&valid).deployment;
    assert_eq!(before, build(&valid).deployment);
    if let crate::registry::validate::Storage::S3(s3) = &mut valid.storage {
        s3.credentials_hash = Some("other".into());
    }
    let after = build(&valid).deployment;
    assert_ne!(before.spec.unwrap().template, after.spec.unwrap().template);
}

#[test]
fn no_secret_is_in_anything_but_the_secret() {
    let resources = build(&valid(&registry(full())));
    let token = String::from_utf8(resources.internal_secret.data.clone().unwrap()["admin-token"].0.clone()).unwrap();
    let mut others = resources.config_map.data.unwrap()["registry.toml"].clone();
    others.push_str(&serde_json::to_string(&resources.deployment).unwrap());
    assert!(!others.contains(&token) && !others.contains("hush") && !others.contains("PRIVATE KEY"), "{others}");
}

#[test]
fn a_given_service_account_is_used_and_not_made() {
    let mut spec = on_s3();
    spec["storage"]["s3"]["credentialsSecretRef"] = Value::Null;
    spec["storage"]["s3"]["serviceAccountName"] = json!("irsa");
    let resources = build(&valid(&registry(spec.clone())));
    assert!(resources.service_account.is_none());
    assert_eq!(pod(spec).service_account_name.as_deref(), Some("irsa"));
}

#[test]
fn one_replica_has_no_budget() {
    let mut spec = on_s3();
    spec["replicas"] = json!(1);
    assert!(build(&valid(&registry(spec))).disruption_budget.is_none());
    assert!(build(&valid(&registry(on_s3()))).disruption_budget.is_some());
}
