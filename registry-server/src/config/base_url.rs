//! The URL under which users reach a registry.

use std::fmt;
use std::sync::Arc;

/// An absolute `http` or `https` URL without trailing slash, query or fragment, such as `https://crates.example.com` or
/// `https://example.com/crates`. Cheap to clone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BaseUrl(Arc<str>);

impl BaseUrl {
    /// Parses a URL; a trailing slash is dropped, because Cargo puts `/api/v1/…` behind it.
    ///
    /// # Errors
    /// What the URL has to be like, as the end of a sentence.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        let text = text.trim_end_matches('/');
        let url: http::Uri = text.parse().map_err(|_| "which is not a URL")?;
        if !matches!(url.scheme_str(), Some("http" | "https")) {
            return Err("but has to begin with http:// or https://");
        }
        let authority = url.authority().ok_or("but has no host")?;
        if authority.host().is_empty() {
            return Err("but has no host");
        }
        // What follows the host is a port, or a user before it; `http` passes over a number that is too large.
        if !text.contains('@') && authority.as_str().len() > authority.host().len() && authority.port_u16().is_none() {
            return Err("but its port has to be a number up to 65535");
        }
        // Anywhere: a password with a slash in it ends the authority.
        if text.contains('@') {
            return Err("but may not carry a user or a password");
        }
        if url.query().is_some() || text.contains('#') {
            return Err("but may have no query and no fragment");
        }
        if text.ends_with(".git") {
            // Cargo before 1.96 strips `.git` when it matches credentials to registries (CVE-2026-5222).
            return Err("but may not end in .git, which Cargo takes for a git index");
        }
        Ok(Self(text.into()))
    }

    /// The URL, without trailing slash.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Host and port, in lower case, the port also where it follows from the scheme.
    pub fn host(&self) -> (String, u16) {
        let url: http::Uri = self.0.parse().expect("it was parsed before");
        let port = if url.scheme_str() == Some("https") { 443 } else { 80 };
        (url.host().unwrap_or_default().to_ascii_lowercase(), url.port_u16().unwrap_or(port))
    }

    /// What Cargo's configuration calls `index`: `sparse+<base>/index/`, with the slash that Cargo insists on.
    pub fn index(&self) -> String {
        format!("sparse+{}/index/", self.0)
    }
}

/// A text that should have been a URL, for a message: whatever stands before an `@` may be a password.
pub(crate) fn masked(text: &str) -> String {
    let Some(at) = text.rfind('@') else { return text.to_owned() };
    let scheme = text[..at].find("://").map_or("", |end| &text[..end + 3]);
    format!("{scheme}***{}", &text[at..])
}

impl fmt::Display for BaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
