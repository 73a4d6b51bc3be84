//! What the server is told: [`Config::from_sources`] turns the text of a TOML file and the environment into typed values,
//! or into every problem at once, in the words of the person who wrote them.
//!
//! Pure: reading the file is the caller's. The table of keys is [`keys::KEYS`] and nothing is read that is not in it.
//! Secrets never stand in a configuration: it names the files that hold them.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

mod base_url;
mod cache;
pub mod keys;
mod replicas;
mod s3;
mod sources;
#[cfg(test)]
mod tests;

pub use base_url::BaseUrl;
pub(crate) use base_url::masked;
pub use cache::{Cache, DiskCache, Downloads};
pub use replicas::Replicas;
pub use s3::S3;
use sources::Values;

use crate::access::Visibility;
use crate::store::KeyPrefix;

/// Cargo reads lengths as u32 and unpacks at most 512 MiB by default (`cargo::sources::registry::MAX_UNPACK_SIZE`), so a
/// larger crate could be published but not used.
pub const CRATE_BYTES_CEILING: u64 = 512 * 1024 * 1024;

/// Everything a registry process is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// The listener for Cargo and people.
    pub public: Listener,
    /// `public.url`: the base URL for users; `None` takes it from each request.
    pub public_url: Option<BaseUrl>,
    /// The listener for probes, metrics and administration.
    pub internal: Listener,
    /// `admin.token_file`.
    pub admin_token_file: Option<PathBuf>,
    /// Where crates are kept.
    pub storage: Storage,
    /// This replica among others.
    pub replicas: Replicas,
    /// Who may read without a token.
    pub visibility: Visibility,
    /// What is kept in memory and on a disk.
    pub cache: Cache,
    /// How crate files reach their users.
    pub downloads: Downloads,
    /// Limits on every input.
    pub limits: Limits,
    /// How to log.
    pub log: Log,
}

/// One address to listen on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listener {
    /// Address and port; port 0 takes a free one.
    pub listen: SocketAddr,
    /// Certificate and key; plain HTTP without.
    pub tls: Option<TlsFiles>,
}

/// A certificate chain and its key, as PEM files that may change while the server runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsFiles {
    /// The chain, leaf first.
    pub certificate: PathBuf,
    /// The private key.
    pub private_key: PathBuf,
}

/// Where the registry keeps everything.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Storage {
    /// In front of every key.
    pub prefix: KeyPrefix,
    /// The store below the prefix.
    pub backend: Backend,
}

/// The three stores that one can configure.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Backend {
    /// One directory of one process.
    File {
        /// The directory, made if missing.
        directory: PathBuf,
    },
    /// A bucket.
    S3(S3),
    /// Nothing stays.
    Memory,
}

/// Limits on inputs and times. Sizes in bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// The largest `.crate`.
    pub crate_bytes_max: u64,
    /// The largest sum of file sizes in a `.crate`.
    pub unpacked_bytes_max: u64,
    /// The most entries in a `.crate`.
    pub entries_max: u64,
    /// The largest JSON in a publish request.
    pub metadata_bytes_max: u64,
    /// The most connections per listener.
    pub connections_max: usize,
    /// Time for the head of a request.
    pub header_read: Duration,
    /// Time without progress in sending an answer.
    pub write_stall: Duration,
    /// Time for the body of a request.
    pub body_read: Duration,
    /// Time for requests under way after SIGTERM.
    pub drain: Duration,
    /// Where large uploads wait; `None` is the system's temporary directory.
    pub spool_dir: Option<PathBuf>,
    /// What all of them together may take there.
    pub spool_bytes_max: u64,
}

/// How to log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Log {
    /// For people or for machines.
    pub format: LogFormat,
    /// A `tracing` filter.
    pub filter: String,
}

/// The shape of log lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// One readable line per event.
    Text,
    /// One JSON object per event.
    Json,
}

/// One thing that is wrong with the configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The key or the variable.
    pub place: String,
    /// What is wrong, so that `place` and `text` make a sentence.
    pub text: String,
}

/// All that is wrong with the configuration; displays one problem per line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigError {
    /// At least one problem.
    pub problems: Vec<Problem>,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.problems.iter().enumerate() {
            let line = if index == 0 { "" } else { "\n" };
            write!(f, "{line}{} {}", problem.place, problem.text)?;
        }
        Ok(())
    }
}

impl std::error::Error for ConfigError {}

impl Config {
    /// Reads a configuration from the text of a TOML file (if there is one) and the environment, which wins.
    ///
    /// Variables without the prefix `SUPERCARGO_` are ignored. Relative paths stay relative to the working directory.
    ///
    /// # Errors
    /// Every problem at once: unknown keys and variables with the nearest known one, values of the wrong shape, values
    /// that do not go together.
    pub fn from_sources(
        toml_text: Option<&str>,
        environment: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Self, ConfigError> {
        let mut values = Values::read(toml_text, environment)?;
        let config = read_all(&mut values);
        match config {
            Some(config) if values.problems.is_empty() => Ok(config),
            _ => Err(ConfigError { problems: values.problems }),
        }
    }
}

/// `None` if anything is missing; the problems then say what. Every field is read before any is unwrapped, so that all
/// problems are reported together.
fn read_all(values: &mut Values) -> Option<Config> {
    let public = read_listener(values, "public.listen", "public.tls_certificate", "public.tls_private_key");
    let internal = read_listener(values, "internal.listen", "internal.tls_certificate", "internal.tls_private_key");
    let public_url = read_public_url(values);
    let storage = read_storage(values);
    let limits = read_limits(values);
    let replicas = replicas::read(values);
    let cache = cache::read_cache(values);
    let downloads = cache::read_downloads(values);
    let visibility = values.parse("access.visibility", |text| match text {
        "private" => Some(Visibility::Private),
        "public" => Some(Visibility::Public),
        _ => None,
    });
    let format = values.parse("log.format", |text| match text {
        "text" => Some(LogFormat::Text),
        "json" => Some(LogFormat::Json),
        _ => None,
    });
    let admin_token_file = read_path(values, "admin.token_file");
    Some(Config {
        public: public?,
        public_url,
        internal: internal?,
        admin_token_file,
        storage: storage?,
        replicas: replicas?,
        visibility: visibility?,
        cache: cache?,
        downloads: downloads?,
        limits: limits?,
        log: Log { format: format?, filter: values.text("log.filter")? },
    })
}

fn read_path(values: &Values, name: &'static str) -> Option<PathBuf> {
    values.text(name).map(PathBuf::from)
}

fn read_listener(
    values: &mut Values,
    listen: &'static str,
    certificate: &'static str,
    private_key: &'static str,
) -> Option<Listener> {
    let tls = match (read_path(values, certificate), read_path(values, private_key)) {
        (None, None) => None,
        (Some(certificate), Some(private_key)) => Some(TlsFiles { certificate, private_key }),
        (Some(_), None) => {
            values.problem(values.place(certificate), format!("needs \"{private_key}\" too"));
            None
        }
        (None, Some(_)) => {
            values.problem(values.place(private_key), format!("needs \"{certificate}\" too"));
            None
        }
    };
    let listen = values.parse(listen, |text| text.parse().ok())?;
    Some(Listener { listen, tls })
}

fn read_public_url(values: &mut Values) -> Option<BaseUrl> {
    let text = values.text("public.url")?;
    match BaseUrl::parse(&text) {
        Ok(url) => Some(url),
        Err(reason) => {
            values.problem(values.place("public.url"), format!("is \"{}\", {reason}", masked(&text)));
            None
        }
    }
}

fn read_storage(values: &mut Values) -> Option<Storage> {
    let kind =
        values.parse("storage.kind", |text| ["file", "s3", "memory"].contains(&text).then(|| text.to_owned()))?;
    let prefix = match KeyPrefix::parse(&values.text("storage.prefix")?) {
        Ok(prefix) => prefix,
        Err(error) => {
            values.problem(values.place("storage.prefix"), format!("cannot be used: {error}"));
            return None;
        }
    };
    refuse_foreign_section(values, &kind);
    let backend = match kind.as_str() {
        "file" => Backend::File { directory: read_path(values, "file.directory")? },
        "s3" => Backend::S3(s3::read(values)?),
        _ => Backend::Memory,
    };
    Some(Storage { prefix, backend })
}

/// A bucket that is configured but not used would be a nasty surprise: the crates would be somewhere else.
fn refuse_foreign_section(values: &mut Values, kind: &str) {
    for key in keys::KEYS {
        let section = key.name.split('.').next().unwrap_or_default();
        if matches!(section, "file" | "s3") && section != kind && values.is_given(key.name) {
            values.problem(
                values.place(key.name),
                format!(
                    "has no effect while storage.kind is \"{kind}\": set storage.kind to \"{section}\" or leave it out"
                ),
            );
        }
    }
}

fn read_limits(values: &mut Values) -> Option<Limits> {
    let mut number = |name: &'static str| {
        let number = values.parse(name, |text| text.parse::<u64>().ok())?;
        if number == 0 {
            values.problem(values.place(name), "is 0, but has to be at least 1");
        }
        Some(number)
    };
    let crate_bytes_max = number("limits.crate_bytes_max");
    let unpacked_bytes_max = number("limits.unpacked_bytes_max");
    let entries_max = number("limits.entries_max");
    let metadata_bytes_max = number("limits.metadata_bytes_max");
    let connections_max = number("limits.connections_max");
    let header_read = number("limits.header_read_secs").map(Duration::from_secs);
    let write_stall = number("limits.write_stall_secs").map(Duration::from_secs);
    let body_read = number("limits.body_read_secs").map(Duration::from_secs);
    let drain = number("limits.drain_secs").map(Duration::from_secs);
    let spool_bytes_max = number("limits.spool_bytes_max");
    if let Some(bytes) = crate_bytes_max.filter(|bytes| *bytes > CRATE_BYTES_CEILING) {
        let place = values.place("limits.crate_bytes_max");
        values.problem(
            place,
            format!("is {bytes}, but Cargo unpacks at most {CRATE_BYTES_CEILING} bytes (512 MiB) of a crate"),
        );
    }
    if let (Some(space), Some(one)) = (spool_bytes_max, crate_bytes_max)
        && space < one
    {
        let place = values.place("limits.spool_bytes_max");
        values.problem(place, format!("is {space}, which holds no crate of limits.crate_bytes_max ({one} bytes)"));
    }
    Some(Limits {
        crate_bytes_max: crate_bytes_max?,
        unpacked_bytes_max: unpacked_bytes_max?,
        entries_max: entries_max?,
        metadata_bytes_max: metadata_bytes_max?,
        // Above this a semaphore cannot count, and no machine has as many sockets.
        connections_max: usize::try_from(connections_max?)
            .unwrap_or(usize::MAX)
            .min(tokio::sync::Semaphore::MAX_PERMITS),
        header_read: header_read?,
        write_stall: write_stall?,
        body_read: body_read?,
        drain: drain?,
        spool_dir: read_path(values, "limits.spool_dir"),
        spool_bytes_max: spool_bytes_max?,
    })
}
