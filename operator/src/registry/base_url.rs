//! The URLs of a spec, read as the registry reads them in its configuration (`registry-server/src/config/base_url.rs`): replicas would not start
//! with one that it refuses. Pure.

/// An absolute `http` or `https` URL without a user, a query, a fragment or a trailing slash.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BaseUrl {
    authority: (String, u16),
    has_path: bool,
}

impl BaseUrl {
    /// `None`: it is not such a URL, or Cargo would take it for a git index.
    pub fn parse(text: &str) -> Option<BaseUrl> {
        let url: http::Uri = text.parse().ok()?;
        let port_of_scheme = match url.scheme_str()? {
            "https" => 443,
            "http" => 80,
            _ => return None,
        };
        let host = url.host().filter(|host| !host.is_empty())?;
        // What follows the host is a port, or none: a number that is too large would be passed over in silence.
        let names_port = url.authority()?.as_str().len() > host.len();
        let port = if names_port { url.port_u16()? } else { port_of_scheme };
        let refused = text.contains(['@', '?', '#']) || text.ends_with('/') || text.ends_with(".git");
        let authority = (host.to_ascii_lowercase(), port);
        (!refused).then(|| BaseUrl { authority, has_path: url.path() != "/" })
    }

    /// Whether it has a path: fine where people reach a registry, and nothing that S3 knows.
    pub fn has_path(&self) -> bool {
        self.has_path
    }

    /// Host in lower case and port, also where that follows from the scheme: what Cargo compares before it sends a token along.
    pub fn authority(&self) -> (&str, u16) {
        (&self.authority.0, self.authority.1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_registry_would_not_start_with_is_refused() {
        for text in [
            "crates.example.com",
            "ftp://crates.example.com",
            "https://",
            "https:///x",
            "https://:443",
            "https://crates.example.com/",
            "https://crates.example.com:",
            "https://crates.example.com:65536",
            "https://user@crates.example.com",
            "https://user:p/w@crates.example.com",
            "https://crates.example.com?a",
            "https://crates.example.com/a#b",
            "https://crates.example.com/a b",
            "https://crates.example.com/x.git",
        ] {
            assert_eq!(BaseUrl::parse(text), None, "{text}");
        }
    }

    #[test]
    fn a_port_follows_from_the_scheme() {
        for (text, authority, has_path) in [
            ("https://Crates.example.com", ("crates.example.com", 443), false),
            ("https://crates.example.com:443/team", ("crates.example.com", 443), true),
            ("http://crates.example.com", ("crates.example.com", 80), false),
            ("http://10.0.0.1:9000", ("10.0.0.1", 9000), false),
            ("https://[fd00::1]:9000", ("[fd00::1]", 9000), false),
            ("https://[fd00::1]", ("[fd00::1]", 443), false),
        ] {
            let url = BaseUrl::parse(text).unwrap_or_else(|| panic!("{text} is fine"));
            assert_eq!((url.authority(), url.has_path()), (authority, has_path), "{text}");
        }
    }
}
