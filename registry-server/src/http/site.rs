//! Under which URL a client reaches the registry, and what follows from that alone: made once per host, not once per request.

use std::sync::{Arc, PoisonError, RwLock};

use bytes::Bytes;
use http::header::HOST;
use http::uri::Authority;
use http::{HeaderMap, Uri};

use crate::access::Visibility;
use crate::config::BaseUrl;

/// So many hosts are remembered; whoever asks for others is served as well, a little later.
const SITES_MAX: usize = 16;

/// A registry as the clients of one host see it.
#[derive(Debug)]
pub(super) struct Site {
    /// As it stands in requests; empty if they have none.
    host: Box<str>,
    /// `public.url`, or what the client asked for.
    pub(super) base: BaseUrl,
    /// What the client asked for, if that can be told.
    pub(super) asked: Option<BaseUrl>,
    /// The body of `config.json`.
    pub(super) config: Bytes,
}

/// The sites of one listener.
#[derive(Debug)]
pub(super) struct Sites {
    public_url: Option<BaseUrl>,
    /// Whether the listener speaks TLS: the scheme of URLs that are derived from requests.
    tls: bool,
    visibility: Visibility,
    known: RwLock<Vec<Arc<Site>>>,
}

impl Sites {
    pub(super) fn new(public_url: Option<BaseUrl>, tls: bool, visibility: Visibility) -> Self {
        Self { public_url, tls, visibility, known: RwLock::default() }
    }

    /// The site that a request is for. `None`: it does not say, and nobody else does.
    pub(super) fn of(&self, authority: Option<&Authority>) -> Option<Arc<Site>> {
        let host = authority.map_or("", Authority::as_str);
        if let Some(site) = self.find(host) {
            return Some(site);
        }
        let scheme = if self.tls { "https" } else { "http" };
        let asked = authority.and_then(|authority| BaseUrl::parse(&format!("{scheme}://{authority}")).ok());
        let base = self.public_url.clone().or_else(|| asked.clone())?;
        let config = config_json(&base, self.visibility == Visibility::Private);
        let site = Arc::new(Site { host: host.into(), base, asked, config });
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        if known.len() == SITES_MAX {
            known.remove(0);
        }
        known.push(site.clone());
        Some(site)
    }

    /// The same, if a request like this one was seen before and says plainly for which host it is.
    pub(super) fn seen(&self, uri: &Uri, headers: &HeaderMap) -> Option<Arc<Site>> {
        let mut hosts = headers.get_all(HOST).iter();
        match (uri.authority(), hosts.next(), hosts.next()) {
            (Some(authority), None, None) => self.find(authority.as_str()),
            (None, Some(host), None) => self.find(host.to_str().ok()?),
            _ => None,
        }
    }

    fn find(&self, host: &str) -> Option<Arc<Site>> {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        known.iter().find(|site| *site.host == *host).cloned()
    }
}

/// `dl` and `api` have no trailing slash; the markers are replaced by Cargo as plain text.
fn config_json(base: &BaseUrl, auth_required: bool) -> Bytes {
    let mut config = serde_json::json!({
        "dl": format!("{base}/api/v1/crates/{{crate}}/{{version}}/download"),
        "api": base.as_str(),
    });
    if auth_required {
        config["auth-required"] = true.into();
    }
    config.to_string().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn authority(text: &str) -> Authority {
        text.parse().expect("an authority")
    }

    #[test]
    fn a_site_is_made_once_per_host_and_only_so_many_are_remembered() {
        let sites = Sites::new(None, true, Visibility::Private);
        let headers = HeaderMap::from_iter([(HOST, "a.example:1".parse().expect("a value"))]);
        let uri = Uri::from_static("/index/config.json");
        assert!(sites.seen(&uri, &headers).is_none(), "never seen");
        assert!(sites.of(None).is_none(), "no host, and no public.url");
        let first = sites.of(Some(&authority("a.example:1"))).expect("a site");
        assert_eq!(
            &*first.config,
            br#"{"dl":"https://a.example:1/api/v1/crates/{crate}/{version}/download","api":"https://a.example:1","auth-required":true}"#
        );
        assert!(Arc::ptr_eq(&first, &sites.seen(&uri, &headers).expect("seen")));
        let mut twice = headers.clone();
        twice.append(HOST, "b.example".parse().expect("a value"));
        assert!(sites.seen(&uri, &twice).is_none(), "who asks for two hosts is judged by the routes");
        for number in 0..100 {
            sites.of(Some(&authority(&format!("h{number}.example")))).expect("a site");
        }
        assert_eq!(sites.known.read().expect("no panic").len(), SITES_MAX);
    }

    #[test]
    fn the_public_url_is_the_base_whatever_the_client_asked_for() {
        let url = BaseUrl::parse("https://crates.example.com").expect("a URL");
        let sites = Sites::new(Some(url.clone()), false, Visibility::Public);
        let site = sites.of(Some(&authority("10.0.0.1:8080"))).expect("a site");
        assert_eq!((&site.base, site.asked.as_ref().map(BaseUrl::as_str)), (&url, Some("http://10.0.0.1:8080")));
        assert_eq!(sites.of(None).expect("a site").base, url);
        assert!(!String::from_utf8_lossy(&site.config).contains("auth-required"));
    }
}
