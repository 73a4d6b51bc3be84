//! The one table of configuration keys: what may be written in the file and in the environment, with its default and its
//! meaning. `supercargo-registry config` prints it, the README carries a copy that a test compares, and the parser reads
//! nothing that is not in it.

/// What a key's value has to look like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Any text.
    Text,
    /// A path to a file or a directory.
    Path,
    /// `address:port` to listen on.
    Address,
    /// An absolute `http://` or `https://` URL.
    Url,
    /// `true` or `false`.
    Switch,
    /// A whole number of bytes.
    Bytes,
    /// A whole number of seconds.
    Seconds,
    /// A whole number of milliseconds.
    Millis,
    /// A whole number of things.
    Count,
    /// One of a few words.
    OneOf(&'static [&'static str]),
}

impl Kind {
    /// The words for this kind in an error: "expected …".
    pub fn expected(self) -> String {
        match self {
            Self::Text => "a text".into(),
            Self::Path => "a path".into(),
            Self::Address => "an address and port, such as 127.0.0.1:8080".into(),
            Self::Url => "an absolute URL, such as https://crates.example.com".into(),
            Self::Switch => "true or false".into(),
            Self::Bytes => "a whole number of bytes".into(),
            Self::Seconds => "a whole number of seconds".into(),
            Self::Millis => "a whole number of milliseconds".into(),
            Self::Count => "a whole number".into(),
            Self::OneOf(words) => format!("one of {}", words.join(", ")),
        }
    }

    /// Whether the file has to write the value as a TOML integer.
    pub(super) fn is_number(self) -> bool {
        matches!(self, Self::Bytes | Self::Seconds | Self::Millis | Self::Count)
    }
}

/// One row of the table.
#[derive(Debug, Clone, Copy)]
pub struct Key {
    /// `section.key`, as in the file.
    pub name: &'static str,
    /// What the value looks like.
    pub kind: Kind,
    /// The value when nobody gives one; `None` means that the feature is off or that the meaning says what happens.
    pub default: Option<&'static str>,
    /// What it does, in one sentence.
    pub meaning: &'static str,
}

impl Key {
    /// The environment variable of the key: `public.listen` is `SUPERCARGO_PUBLIC_LISTEN`.
    pub fn variable(&self) -> String {
        format!("{PREFIX}{}", self.name.replace('.', "_").to_ascii_uppercase())
    }
}

/// The prefix of every environment variable of the registry.
pub const PREFIX: &str = "SUPERCARGO_";

const fn key(name: &'static str, kind: Kind, default: Option<&'static str>, meaning: &'static str) -> Key {
    Key { name, kind, default, meaning }
}

/// Every key there is, in the order in which the documentation shows them.
pub const KEYS: &[Key] = &[
    key("public.listen", Kind::Address, Some("127.0.0.1:8080"), "where Cargo connects; port 0 takes any free one"),
    key(
        "public.url",
        Kind::Url,
        None,
        "base URL that users type, without a trailing slash; without it, it is taken from each request's Host header",
    ),
    key(
        "public.tls_certificate",
        Kind::Path,
        None,
        "PEM chain for the public listener, re-read when it changes; needs public.tls_private_key; gives HTTP/2",
    ),
    key("public.tls_private_key", Kind::Path, None, "PEM key of public.tls_certificate"),
    key(
        "internal.listen",
        Kind::Address,
        Some("127.0.0.1:8081"),
        "where /livez, /readyz, /metrics and the admin API are served; not for users",
    ),
    key("internal.tls_certificate", Kind::Path, None, "PEM chain for the internal listener, re-read when it changes"),
    key("internal.tls_private_key", Kind::Path, None, "PEM key of internal.tls_certificate"),
    key(
        "admin.token_file",
        Kind::Path,
        None,
        "file with the admin credential, re-read when it changes; without it the admin API answers 404",
    ),
    key(
        "storage.kind",
        Kind::OneOf(&["file", "s3", "memory"]),
        Some("file"),
        "where crates are kept: a directory of this process alone, an S3 bucket for any number of replicas, or memory (lost at the end)",
    ),
    key(
        "storage.prefix",
        Kind::Text,
        Some(""),
        "put in front of every key, so that a bucket can be shared; no leading slash",
    ),
    key(
        "file.directory",
        Kind::Path,
        Some("./supercargo-data"),
        "the directory of storage.kind = file; made if it is missing",
    ),
    key("s3.bucket", Kind::Text, None, "the bucket of storage.kind = s3; it has to exist"),
    key("s3.region", Kind::Text, Some("us-east-1"), "the region that requests are signed for"),
    key("s3.endpoint", Kind::Url, None, "URL of an S3-compatible server; without it, AWS"),
    key(
        "s3.public_endpoint",
        Kind::Url,
        None,
        "URL at which users reach the S3 server themselves: large crates are downloaded there, by signed URLs; never the registry's own address",
    ),
    key("s3.force_path_style", Kind::Switch, Some("false"), "address the bucket in the path, not in the host name"),
    key(
        "s3.ca_bundle_file",
        Kind::Path,
        None,
        "PEM file with the authorities to trust for the endpoint, instead of the system's",
    ),
    key(
        "s3.credentials_dir",
        Kind::Path,
        None,
        "directory with the files AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and, if any, AWS_SESSION_TOKEN (a mounted Secret), \
         re-read at least every 60 s; without it, the ambient chain: environment, web identity, instance metadata",
    ),
    key(
        "replicas.lease_millis",
        Kind::Millis,
        Some("2000"),
        "with storage.kind = s3: how long a replica may serve from memory without asking the store, and so how long a change waits for one that is silent; \
         milliseconds, from 100 to 60000",
    ),
    key(
        "replicas.mode",
        Kind::OneOf(&["strict", "available"]),
        Some("strict"),
        "what a replica does that cannot reach the store: answer 503, or go on serving index files that are up to 30 s old; never changes or token checks",
    ),
    key(
        "replicas.address",
        Kind::Text,
        None,
        "host:port at which the other replicas reach this one's internal listener, such as 10.0.0.7:8081, port 0 for the port that it got; \
         without it they have to wait for its lease to end",
    ),
    key(
        "replicas.credential_file",
        Kind::Path,
        None,
        "file with the credential that replicas show each other, the same for all, re-read when it changes; without it none tells another anything",
    ),
    key(
        "replicas.ca_bundle_file",
        Kind::Path,
        None,
        "PEM file with the authorities to trust for the other replicas' internal listeners, re-read when it changes; without it they are reached over plain HTTP",
    ),
    key(
        "replicas.tls_server_name",
        Kind::Text,
        None,
        "the name in the certificates of their internal listeners; without it, the host of the address",
    ),
    key(
        "access.visibility",
        Kind::OneOf(&["private", "public"]),
        Some("private"),
        "private: every request needs a token; public: anyone may read, search and download",
    ),
    key(
        "cache.index_bytes",
        Kind::Bytes,
        Some("268435456"),
        "memory for records of crates and tokens; well below what the process may take in all",
    ),
    key(
        "cache.download_bytes",
        Kind::Bytes,
        Some("33554432"),
        "memory for crate files that are often downloaded; 0 keeps none",
    ),
    key(
        "cache.directory",
        Kind::Path,
        None,
        "with storage.kind = s3: a directory on a local disk, of this process alone, for crate files that memory is too small for; made if it is missing, and kept \
         over restarts; without it, none are kept on a disk",
    ),
    key(
        "cache.disk_bytes",
        Kind::Bytes,
        Some("10737418240"),
        "what the files in cache.directory may take in all; of larger files than an eighth of it none is kept",
    ),
    key(
        "downloads.redirect_above_bytes",
        Kind::Bytes,
        Some("1048576"),
        "with s3.public_endpoint: crate files above this are downloaded there",
    ),
    key(
        "downloads.cached_file_bytes_max",
        Kind::Bytes,
        Some("1048576"),
        "the largest crate file that is kept in memory; larger ones are streamed, from cache.directory or the store",
    ),
    key(
        "limits.crate_bytes_max",
        Kind::Bytes,
        Some("10485760"),
        "largest .crate that may be published; at most 536870912",
    ),
    key(
        "limits.unpacked_bytes_max",
        Kind::Bytes,
        Some("536870912"),
        "largest sum of the sizes of the files in a .crate",
    ),
    key("limits.entries_max", Kind::Count, Some("20000"), "most files and directories in a .crate"),
    key("limits.metadata_bytes_max", Kind::Bytes, Some("1048576"), "largest JSON part of a publish request"),
    key("limits.connections_max", Kind::Count, Some("4096"), "most open connections per listener; further ones wait"),
    key(
        "limits.header_read_secs",
        Kind::Seconds,
        Some("30"),
        "how long a client may take to send the head of a request",
    ),
    key(
        "limits.write_stall_secs",
        Kind::Seconds,
        Some("30"),
        "how long a client may take nothing of an answer before its connection, or its HTTP/2 stream, is cut",
    ),
    key(
        "limits.body_read_secs",
        Kind::Seconds,
        Some("300"),
        "how long a client may take to send the body of a request",
    ),
    key(
        "limits.drain_secs",
        Kind::Seconds,
        Some("25"),
        "how long requests under way may take to finish after SIGTERM; keep it below the pod's termination grace period",
    ),
    key(
        "limits.spool_dir",
        Kind::Path,
        None,
        "where uploads above 1 MiB wait while they are checked; without it, the system's temporary directory",
    ),
    key(
        "limits.spool_bytes_max",
        Kind::Bytes,
        Some("1073741824"),
        "space for such uploads, all together; what does not fit is answered with 503; at least limits.crate_bytes_max",
    ),
    key(
        "log.format",
        Kind::OneOf(&["text", "json"]),
        Some("text"),
        "for people or for machines; logs go to standard error",
    ),
    key("log.filter", Kind::Text, Some("info"), "which events are logged, such as info or supercargo_registry=debug"),
];

/// The key of that name.
pub fn find(name: &str) -> Option<&'static Key> {
    KEYS.iter().find(|key| key.name == name)
}

/// The table as GitHub Markdown, as it stands in the README.
pub fn markdown() -> String {
    let mut table = String::from("| key | environment | default | meaning |\n|---|---|---|---|\n");
    for key in KEYS {
        let default = key.default.map_or_else(|| "none".to_owned(), |value| format!("`{}`", quoted_if_empty(value)));
        let meaning = match key.kind {
            Kind::OneOf(words) => {
                let words: Vec<_> = words.iter().map(|word| format!("`{word}`")).collect();
                format!("{}; {}", words.join(", "), key.meaning)
            }
            _ => key.meaning.to_owned(),
        };
        table.push_str(&format!("| `{}` | `{}` | {default} | {meaning} |\n", key.name, key.variable()));
    }
    table
}

fn quoted_if_empty(value: &str) -> &str {
    if value.is_empty() { "\"\"" } else { value }
}
