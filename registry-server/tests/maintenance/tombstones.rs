//! Deleted crates: gone for everybody, and back as they were.

use supercargo_registry::catalog::Query;
use supercargo_registry::krate::packed::Packed;
use supercargo_registry::registry::RegistryError;

use crate::support::TestServer;
use crate::support::client::{Answer, send};
use crate::{Place, index, name, plain_user, publish, replica, upload};

fn is_absent<T: std::fmt::Debug>(result: Result<T, RegistryError>) -> bool {
    matches!(result, Err(RegistryError::NotFound(_)))
}

#[tokio::test(start_paused = true)]
async fn a_deleted_crate_is_absent_everywhere_and_comes_back_as_it_was() {
    let place = Place::new().await;
    let (registry, ann) = (&place.registry, plain_user(&place.registry, "ann").await);
    publish(registry, &ann, "krate", "1.0.0").await.unwrap();
    publish(registry, &ann, "other", "1.0.0").await.unwrap();
    let lines = index(registry, "krate").await.expect("it is there");
    let before = place.record("krate").await;

    registry.delete_crate(&name("Krate")).await.unwrap();
    let (krate, version) = (name("krate"), "1.0.0".parse().unwrap());
    assert_eq!(index(registry, "krate").await, None);
    assert!(is_absent(registry.download(&ann, &krate, &version).await));
    assert!(is_absent(registry.owners(&ann, &krate).await));
    assert!(is_absent(registry.set_yanked(&ann, &krate, &version, true).await));
    assert!(is_absent(registry.add_owners(&ann, &krate, &["bob".parse().unwrap()]).await));
    let found = registry.search(&ann, &Query::new("krate", None, 1, 10).unwrap()).await.unwrap();
    assert_eq!((found.hits.len(), found.total), (0, 0));
    assert_eq!(index(&*replica(&place.store, 2).await, "krate").await, None, "on every replica");

    // Neither a new version nor the same bytes again.
    for version in ["1.0.0", "2.0.0"] {
        let Err(RegistryError::Conflict(text)) = publish(registry, &ann, "krate", version).await else {
            panic!("{version} was published")
        };
        assert!(text.contains("`krate` was deleted by an administrator at") && text.contains("restore"), "{text}");
    }
    let bob = plain_user(registry, "bob").await;
    assert!(matches!(publish(registry, &bob, "krate", "2.0.0").await, Err(RegistryError::Forbidden(_))));
    let state = registry.crate_state(&krate).await.unwrap().expect("administrators see it");
    assert_eq!((state.versions, state.deleted.map(|deletion| deletion.by)), (1, Some("admin".parse().unwrap())));

    registry.delete_crate(&krate).await.unwrap();
    assert_eq!(place.record("krate").await.rev(), before.rev() + 1, "once");
    registry.restore_crate(&krate).await.unwrap();
    assert_eq!(index(registry, "krate").await, Some(lines));
    let after = place.record("krate").await;
    assert_eq!((after.versions(), after.owners(), after.deletion()), (before.versions(), before.owners(), None));
    assert!(registry.download(&ann, &krate, &version).await.is_ok());
    let ticket = registry.may_publish(&ann, &krate).await.unwrap();
    let mut other_bytes = Packed::new("krate", "1.0.0");
    other_bytes.source.push_str("// more");
    let again = registry.publish(ticket, upload(&other_bytes)).await;
    assert!(matches!(again, Err(RegistryError::Conflict(text)) if text.contains("a version never changes")));
    assert!(
        is_absent(registry.delete_crate(&name("nobody")).await)
            && is_absent(registry.restore_crate(&name("nobody")).await)
    );
}

#[tokio::test]
async fn the_admin_api_deletes_and_restores() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("admin-token");
    std::fs::write(&file, "admin-credential-0123").unwrap();
    let toml = format!("[storage]\nkind = \"memory\"\n[admin]\ntoken_file = \"{}\"\n", file.display());
    let server = TestServer::start(&toml).await;
    let token = server.token("ann").await;
    let ann = server.registry().authenticate(&token).await.unwrap();
    publish(server.registry(), &ann, "krate", "1.0.0").await.unwrap();

    let admin = async |method: &str, path: &str, credential: &str| -> Answer {
        let request = http::Request::builder().method(method).uri(path);
        let request = request.header("authorization", format!("Bearer {credential}"));
        send(server.running.internal, request, "").await
    };
    let index = async || {
        let request = http::Request::get("/index/kr/at/krate").header("authorization", &token);
        send(server.running.public, request, "").await.status.as_u16()
    };
    let path = "/admin/v1/crates/krate";
    assert_eq!(admin("DELETE", path, "wrong").await.status, 401);
    assert_eq!(index().await, 200);
    for _ in 0..2 {
        assert_eq!(admin("DELETE", path, "admin-credential-0123").await.status, 204);
        assert_eq!(index().await, 404);
    }
    let shown = admin("GET", path, "admin-credential-0123").await.json();
    assert_eq!(
        (&shown["name"], &shown["versions"], &shown["deleted"]["by"]),
        (&"krate".into(), &1.into(), &"admin".into())
    );
    assert_eq!(admin("PUT", path, "admin-credential-0123").await.status, 204);
    assert_eq!(index().await, 200);
    assert!(admin("GET", path, "admin-credential-0123").await.json()["deleted"].is_null());
    for (method, path, status) in [
        ("DELETE", "/admin/v1/crates/nobody", 404),
        ("PUT", "/admin/v1/crates/nobody", 404),
        ("GET", "/admin/v1/crates/nobody", 404),
        ("DELETE", "/admin/v1/crates/9", 400),
        ("POST", path, 405),
    ] {
        assert_eq!(admin(method, path, "admin-credential-0123").await.status, status, "{method} {path}");
    }
    server.stop().await;
}
