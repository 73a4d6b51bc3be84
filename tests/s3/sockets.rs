//! Three registry processes over one real S3 server, real Cargo in parallel, and everything that sockets and processes do in between: resets, stalls,
//! halves of answers, black holes, 503, kill -9 of replicas and of the S3 server. What was acknowledged is shown everywhere from then on, and what
//! failed can be repeated.

use std::{
    collections::BTreeMap,
    net::TcpListener,
    path::{Path, PathBuf},
    process::Stdio,
    sync::{
        Mutex,
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
    sync::watch,
};

const REPLICAS: usize = 3;
const USERS: usize = 4;
const VERSIONS: usize = 5;
/// As long as any of them may take, with three processes, an S3 server and four Cargos on two cores.
const PATIENCE: Duration = Duration::from_secs(90);
/// How often a user repeats a command while the weather is bad.
const REPEATS_MAX: usize = 12;
/// A replica that is busy asks the store several times a second, and every replica is asked for what was published.
const HITS_WITHIN: Duration = Duration::from_secs(30);

/// What happens to the servers while the users publish.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Event {
    /// `kill -9` of a replica.
    ReplicaKilled,
    /// `kill -9` of the S3 server.
    S3Killed,
    /// Between a replica and everything else.
    Bad(Weather),
}

const EVENTS: [Event; 7] = [
    Event::ReplicaKilled,
    Event::S3Killed,
    Event::Bad(Weather::ResetAfterRequest),
    Event::Bad(Weather::Stall),
    Event::Bad(Weather::HalfBody),
    Event::Bad(Weather::Blackhole),
    Event::Bad(Weather::SlowDown),
];

/// How often an event took place, and how many connections it harmed.
#[derive(Debug, Clone, Copy, Default)]
struct Played {
    times: u64,
    harmed: u64,
}

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
    repeats: Mutex<Vec<String>>,
    /// Whether each of [`EVENTS`] has taken place: until then the users go on.
    all_played: AtomicBool,
}

fn below(entropy: &Entropy, n: usize) -> usize {
    usize::try_from(entropy.bits() % n as u128).expect("small")
}

impl Story {
    /// A user publishes their crate, version by version, each through some replica, and repeats what failed.
    async fn user(&self, number: usize, entropy: &Entropy) -> Result<()> {
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
        for version in 0.. {
            if version >= VERSIONS && self.all_played.load(Ordering::SeqCst) {
                break;
            }
            let version = format!("1.{version}.0");
            let place = scratch.package("", &Package::library(&name, &version))?;
            // What Cargo packs is the same each time; after a publish the file is gone.
            homes[0].cargo(&place, "package --no-verify --allow-dirty").await?.succeeded()?;
            let packed = std::fs::read(place.join(format!("target/package/{name}-{version}.crate")))?;
            let cksum = hex::encode(Sha256::digest(&packed));
            self.publish(&homes, entropy, &place, &name, &version).await?;
            self.acknowledged.0.lock().expect("no panic").insert((name.clone(), version.clone()), cksum);
            self.is_shown(&name, &version).await?;
        }
        Ok(())
    }

    async fn publish(&self, homes: &[Home], entropy: &Entropy, place: &Path, name: &str, version: &str) -> Result<()> {
        for attempt in 0..REPEATS_MAX {
            let home = &homes[below(entropy, homes.len())];
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

    /// Every event once, in an order of chance, and then one after the other until the users are done.
    async fn faults(&self, s3: &mut HostServer, entropy: &Entropy, done: watch::Receiver<bool>) -> Result<[Played; 7]> {
        let mut order: Vec<usize> = (0..EVENTS.len()).collect();
        for last in (1..order.len()).rev() {
            order.swap(last, below(entropy, last + 1));
        }
        println!("first {:?}", order.iter().rev().map(|event| EVENTS[*event]).collect::<Vec<_>>());
        let mut played = [Played::default(); EVENTS.len()];
        while let Some(event) = order.pop() {
            let harmed = self.play(EVENTS[event], s3, entropy, &done).await?;
            played[event].times += 1;
            played[event].harmed += harmed;
            if order.is_empty() {
                self.all_played.store(true, Ordering::SeqCst);
                if !*done.borrow() {
                    order.push(below(entropy, EVENTS.len()));
                }
            }
            let _ = tokio::time::timeout(Duration::from_millis(300), done.clone().wait_for(|done| *done)).await;
        }
        Ok(played)
    }

    /// How many connections it harmed.
    async fn play(
        &self,
        event: Event,
        s3: &mut HostServer,
        entropy: &Entropy,
        done: &watch::Receiver<bool>,
    ) -> Result<u64> {
        let replica = &self.replicas[below(entropy, REPLICAS)];
        let lasts = Duration::from_millis(100 + below(entropy, 1900) as u64);
        let weather = match event {
            Event::ReplicaKilled => return replica.crash().await.map(|()| 0),
            Event::S3Killed => return s3.crash().await.map(|()| 0),
            Event::Bad(weather) => weather,
        };
        let before = replica.store.harmed();
        replica.set(weather);
        let hits = async {
            replica.store.harms_more_than(before).await;
            // How long a fault lasts is part of the fault.
            tokio::time::sleep(lasts).await;
        };
        let ended = async {
            let _ = done.clone().wait_for(|done| *done).await;
        };
        let hit = tokio::time::timeout(HITS_WITHIN, async {
            tokio::select! { () = hits => {}, () = ended => {} }
        });
        let hit = hit.await;
        replica.set(Weather::Fair);
        hit.with_context(|| format!("{weather:?} hits nothing between {} and the store", replica.base()))?;
        Ok(replica.store.harmed() - before)
    }

    /// In fair weather every replica shows everything, and has the bytes.
    async fn everything_is_everywhere(&self) -> Result<()> {
        let acknowledged = self.acknowledged.0.lock().expect("no panic").clone();
        ensure!(acknowledged.len() >= USERS * VERSIONS, "{} publishes", acknowledged.len());
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
    let mut s3 = HostServer::versitygw().await?;
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
    let story = Story {
        replicas,
        token,
        acknowledged: Acknowledged::default(),
        repeats: Mutex::default(),
        all_played: AtomicBool::new(false),
    };
    // Each has its own: what one of them draws does not depend on how far the others are.
    let seeds = Entropy::seeded(seed);
    let [ours, users @ ..]: [Entropy; 1 + USERS] =
        std::array::from_fn(|_| Entropy::seeded(u64::try_from(seeds.bits() >> 64).expect("64 bits")));
    let (done, is_done) = watch::channel(false);
    let begun = Instant::now();
    let publishing = async {
        let users = users.iter().enumerate().map(|(number, entropy)| story.user(number, entropy));
        futures::future::try_join_all(users).await?;
        Ok(done.send_replace(true))
    };
    let both = async { tokio::try_join!(publishing, story.faults(&mut s3, &ours, is_done)) };
    let (_, played) = tokio::time::timeout(PATIENCE, both).await.context("the users are not done in time")??;
    let repeats = story.repeats.lock().expect("no panic").len();
    let publishes = story.acknowledged.0.lock().expect("no panic").len();
    println!("{publishes} publishes, {repeats} repeated, in {:?}", begun.elapsed());
    for (event, played) in EVENTS.iter().zip(played) {
        println!("{event:?}: {played:?}");
        ensure!(played.times > 0, "{event:?} did not take place");
        ensure!(played.harmed > 0 || !matches!(event, Event::Bad(_)), "{event:?} hit nothing");
    }
    story.everything_is_everywhere().await
}
