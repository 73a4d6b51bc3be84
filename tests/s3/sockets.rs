//! Three registry processes over one real S3 server, real Cargo in parallel, and everything that sockets and processes do in between: resets, stalls,
//! halves of answers, black holes, 503, kill -9 of replicas and of the S3 server. What was acknowledged is shown everywhere from then on, and what
//! failed can be repeated.

use std::{
    collections::BTreeMap,
    net::TcpListener,
    path::{Path, PathBuf},
    process::Stdio,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use ::http::StatusCode;
use anyhow::{Context, Result, bail, ensure};
use sha2::{Digest, Sha256};
use supercargo_registry::ambient::Entropy;
use supercargo_tests::{
    cargo::{Home, Toolchain},
    fault_proxy::{FaultProxy, Weather},
    http,
    s3_host::HostServer,
    scratch::{Package, Scratch},
};
use tempfile::TempDir;
use tokio::{
    process::{Child, Command},
    sync::Notify,
};

const REPLICAS: usize = 3;
const USERS: usize = 4;
const VERSIONS: usize = 5;
/// As long as any of them may take, with three processes, an S3 server and four Cargos on two cores.
const PATIENCE: Duration = Duration::from_secs(90);
/// How often a user repeats a command while the weather is bad.
const REPEATS_MAX: usize = 12;

/// One registry process, its way to the store, and the others' way to it.
struct Replica {
    program: PathBuf,
    public: String,
    internal: String,
    settings: Vec<(&'static str, String)>,
    store: FaultProxy,
    peers: FaultProxy,
    process: tokio::sync::Mutex<Child>,
    log: PathBuf,
}

impl Replica {
    async fn start(program: &Path, number: usize, s3: &HostServer, directory: &Path) -> Result<Self> {
        let (public, internal) = (free_address()?, free_address()?);
        let target = s3.endpoint().trim_start_matches("http://").to_owned();
        let (store, peers) = (FaultProxy::start(target).await?, FaultProxy::start(internal.clone()).await?);
        let credential = directory.join("credential");
        std::fs::write(&credential, "what replicas show each other")?;
        let settings = vec![
            ("SUPERCARGO_PUBLIC_LISTEN", public.clone()),
            ("SUPERCARGO_INTERNAL_LISTEN", internal.clone()),
            ("SUPERCARGO_STORAGE_KIND", "s3".to_owned()),
            ("SUPERCARGO_S3_BUCKET", super::BUCKET.to_owned()),
            ("SUPERCARGO_S3_ENDPOINT", format!("http://{}", store.address())),
            ("SUPERCARGO_S3_FORCE_PATH_STYLE", "true".to_owned()),
            ("SUPERCARGO_S3_CREDENTIALS_DIR", s3.credentials_dir()?.display().to_string()),
            ("SUPERCARGO_REPLICAS_ADDRESS", peers.address().to_string()),
            ("SUPERCARGO_REPLICAS_CREDENTIAL_FILE", credential.display().to_string()),
        ];
        let log = directory.join(format!("replica-{number}.log"));
        let process = tokio::sync::Mutex::new(spawn(program, &settings, &log)?);
        Ok(Self { program: program.to_owned(), public, internal, settings, store, peers, process, log })
    }

    async fn ready(&self) -> Result<()> {
        let begun = Instant::now();
        let url = format!("http://{}/readyz", self.internal);
        loop {
            match http::get(&url, None).await {
                Ok((StatusCode::OK, _)) => return Ok(()),
                last if begun.elapsed() > PATIENCE => {
                    let log = std::fs::read_to_string(&self.log).unwrap_or_default();
                    bail!("{url}: {last:?}\n{log}");
                }
                _ => tokio::time::sleep(Duration::from_millis(50)).await,
            }
        }
    }

    /// `kill -9`, and another life at the same addresses.
    async fn crash(&self) -> Result<()> {
        let mut process = self.process.lock().await;
        process.kill().await?;
        *process = spawn(&self.program, &self.settings, &self.log)?;
        Ok(())
    }

    fn set(&self, weather: Weather) {
        self.store.set(weather);
        // Who is cut off is so from everybody.
        self.peers.set(if weather == Weather::Blackhole { weather } else { Weather::Fair });
    }

    fn base(&self) -> String {
        format!("http://{}", self.public)
    }
}

fn spawn(program: &Path, settings: &[(&'static str, String)], log: &Path) -> Result<Child> {
    let log = std::fs::File::options().create(true).append(true).open(log)?;
    let mut command = Command::new(program);
    command.arg("serve").env_clear().envs(settings.iter().map(|(key, value)| (key, value)));
    command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log).kill_on_drop(true);
    command.spawn().context("starting a replica")
}

/// A port that was free a moment ago.
fn free_address() -> Result<String> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.to_string())
}

/// Builds the binary as it is now.
async fn program() -> Result<PathBuf> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut build = Command::new(cargo);
    build.args(["build", "--package", "supercargo-registry", "--message-format", "json"]);
    let built = build.current_dir(env!("CARGO_MANIFEST_DIR")).stderr(Stdio::inherit()).output().await?;
    ensure!(built.status.success(), "the registry was not built");
    let lines = String::from_utf8(built.stdout)?;
    let messages = lines.lines().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
    let found = messages.filter_map(|message| message["executable"].as_str().map(PathBuf::from)).last();
    found.context("no executable was built")
}

/// What the run has to keep: crate and version, with the checksum of what Cargo packed.
#[derive(Default)]
struct Acknowledged(Mutex<BTreeMap<(String, String), String>>);

struct Story {
    replicas: Vec<Replica>,
    token: String,
    acknowledged: Acknowledged,
    entropy: Entropy,
    repeats: Mutex<Vec<String>>,
}

impl Story {
    fn below(&self, n: usize) -> usize {
        usize::try_from(self.entropy.bits() % n as u128).expect("small")
    }

    /// A user publishes their crate, version by version, each through some replica, and repeats what failed.
    async fn user(&self, number: usize) -> Result<()> {
        let name = format!("user-{number}");
        let scratch = Scratch::new()?;
        let homes: Vec<Home> = self
            .replicas
            .iter()
            .map(|replica| {
                let index = format!("sparse+{}/index/", replica.base());
                Home::with_registry(Toolchain::Workspace, "company", &index, Some(&self.token))
            })
            .collect::<Result<_>>()?;
        for version in 0..VERSIONS {
            let version = format!("1.{version}.0");
            let place = scratch.package("", &Package::library(&name, &version))?;
            // What Cargo packs is the same each time; after a publish the file is gone.
            homes[0].cargo(&place, "package --no-verify --allow-dirty").await?.succeeded()?;
            let packed = std::fs::read(place.join(format!("target/package/{name}-{version}.crate")))?;
            let cksum = hex::encode(Sha256::digest(&packed));
            self.publish(&homes, &place, &name, &version).await?;
            self.acknowledged.0.lock().expect("no panic").insert((name.clone(), version.clone()), cksum);
            self.is_shown(&name, &version).await?;
        }
        Ok(())
    }

    async fn publish(&self, homes: &[Home], place: &Path, name: &str, version: &str) -> Result<()> {
        for attempt in 0..REPEATS_MAX {
            let home = &homes[self.below(homes.len())];
            let ran = home.cargo(place, "publish --registry company --no-verify --allow-dirty").await?;
            let is_there = ran.stderr.contains("already exists") || ran.stderr.contains("already uploaded");
            if ran.is_success() || (attempt > 0 && is_there) {
                return Ok(());
            }
            self.repeats.lock().expect("no panic").push(format!("{name} {version}: {ran}"));
        }
        bail!(
            "{name} {version} was not published in {REPEATS_MAX} attempts:\n{}",
            self.repeats.lock().expect("no panic").join("\n")
        )
    }

    /// Whatever answers with an index file shows what was acknowledged. Who cannot says 503, or nothing.
    async fn is_shown(&self, name: &str, version: &str) -> Result<()> {
        for replica in &self.replicas {
            let url = format!("{}/index/{}/{}/{name}", replica.base(), &name[..2], &name[2..4]);
            let asked = tokio::time::timeout(Duration::from_secs(5), http::get(&url, Some(&self.token))).await;
            let Ok(Ok((status, body))) = asked else { continue };
            if status == StatusCode::SERVICE_UNAVAILABLE {
                continue;
            }
            let shows = String::from_utf8_lossy(&body).contains(&format!("\"vers\":\"{version}\""));
            ensure!(shows, "{url}: {name} {version} was acknowledged, and the answer is {status}: {body:?}");
        }
        Ok(())
    }

    /// One bad thing after the other until the users are done.
    async fn faults(&self, mut s3: HostServer, done: &Notify, is_done: &AtomicBool) -> Result<HostServer> {
        let mut events = 0;
        while !is_done.load(Ordering::SeqCst) {
            let replica = &self.replicas[self.below(REPLICAS)];
            let lasts = Duration::from_millis(100 + self.below(1900) as u64);
            match self.below(8) {
                0 => replica.crash().await?,
                1 if events > 2 => s3.crash().await?,
                weather => {
                    replica.set(Weather::BAD[weather % Weather::BAD.len()]);
                    // How long a fault lasts is part of the fault; nobody waits for it to take effect.
                    let _ = tokio::time::timeout(lasts, done.notified()).await;
                    replica.set(Weather::Fair);
                }
            }
            events += 1;
            let _ = tokio::time::timeout(Duration::from_millis(300), done.notified()).await;
        }
        println!("{events} events");
        Ok(s3)
    }

    /// In fair weather every replica shows everything, and has the bytes.
    async fn everything_is_everywhere(&self) -> Result<()> {
        let acknowledged = self.acknowledged.0.lock().expect("no panic").clone();
        ensure!(acknowledged.len() == USERS * VERSIONS, "{} publishes", acknowledged.len());
        for replica in &self.replicas {
            replica.ready().await?;
            for ((name, version), cksum) in &acknowledged {
                let lines = http::index_lines(&replica.base(), &self.token, name).await?;
                let line = lines.iter().find(|line| line["vers"] == **version);
                let line = line.with_context(|| format!("{} does not show {name} {version}", replica.base()))?;
                ensure!(line["cksum"] == **cksum, "{name} {version}: {line} instead of {cksum}");
                let url = format!("{}/api/v1/crates/{name}/{version}/download", replica.base());
                let (status, bytes) = http::get(&url, Some(&self.token)).await?;
                ensure!(status == StatusCode::OK && hex::encode(Sha256::digest(&bytes)) == *cksum, "{url}: {status}");
            }
        }
        Ok(())
    }
}

/// A token, made in the store as an operator's command does.
async fn token(replica: &Replica) -> Result<String> {
    let mut command = Command::new(&replica.program);
    command.args(["token", "create", "--user", "users"]).env_clear();
    let made = command.envs(replica.settings.iter().map(|(key, value)| (key, value))).output().await?;
    ensure!(made.status.success(), "no token was made: {}", String::from_utf8_lossy(&made.stderr));
    let said = String::from_utf8(made.stdout)?;
    Ok(said.lines().next().context("no token was printed")?.trim().to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_acknowledged_is_lost_on_real_sockets() -> Result<()> {
    let seed: u64 = std::env::var("SUPERCARGO_SEED").ok().map_or(Ok(1), |seed| seed.parse())?;
    println!("SUPERCARGO_SEED={seed}");
    let program = program().await?;
    let s3 = HostServer::versitygw().await?;
    super::store(&s3).await?;
    let directory = TempDir::with_prefix("supercargo-sockets-")?;
    let mut replicas = Vec::new();
    for number in 0..REPLICAS {
        replicas.push(Replica::start(&program, number, &s3, directory.path()).await?);
    }
    for replica in &replicas {
        replica.ready().await?;
    }
    let token = token(&replicas[0]).await?;
    let story = Arc::new(Story {
        replicas,
        token,
        acknowledged: Acknowledged::default(),
        entropy: Entropy::seeded(seed),
        repeats: Mutex::default(),
    });
    let (done, is_done) = (Notify::new(), AtomicBool::new(false));
    let begun = Instant::now();
    let users = async {
        let result = futures::future::try_join_all((0..USERS).map(|number| story.user(number))).await;
        is_done.store(true, Ordering::SeqCst);
        done.notify_waiters();
        result
    };
    let (users, s3) = tokio::join!(tokio::time::timeout(PATIENCE, users), async {
        tokio::time::timeout(2 * PATIENCE, story.faults(s3, &done, &is_done)).await
    });
    let _s3 = s3.context("the faults do not end")??;
    users.context("the users are not done in time")??;
    let repeats = story.repeats.lock().expect("no panic").len();
    let harmed: u64 = story.replicas.iter().map(|replica| replica.store.harmed() + replica.peers.harmed()).sum();
    println!(
        "{} publishes, {repeats} repeated, {harmed} connections harmed, in {:?}",
        USERS * VERSIONS,
        begun.elapsed()
    );
    ensure!(harmed > 0, "no fault hit anything");
    story.everything_is_everywhere().await
}
