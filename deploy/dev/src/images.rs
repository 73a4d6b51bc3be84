//! Container images: built from Containerfiles by buildah without a daemon, kept as archives that containerd imports.
//!
//! A tag never moves silently: every image has a reference by content, `supercargo/registry:0.1.0-<hash12>`, which manifests and
//! Helm values use, so that pods pick up a rebuilt program; and one by version, `supercargo/registry:0.1.0`, for people.

mod products;

pub(crate) use products::c_compiler;
pub use products::{Products, Programs, build_products, build_s3_server, compile};

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use sha2::{Digest, Sha256};

use crate::lock::Lock;
use crate::paths;
use crate::process::Run;
use crate::progress::{Step, bytes};
use crate::tools::{self, Tool};

/// Archives kept per image: going back to a recent build is free, and older ones leave cache and nodes.
const KEPT: usize = 3;

/// A built image, as an archive on disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Image {
    repository: String,
    version: String,
    hash: String,
    archive: PathBuf,
}

impl Image {
    /// `supercargo/registry`.
    pub fn repository(&self) -> &str {
        &self.repository
    }

    /// `0.1.0-4f1c…`: the tag that changes with the content.
    pub fn tag(&self) -> String {
        format!("{}-{}", self.version, self.hash)
    }

    /// `supercargo/registry:0.1.0-4f1c…`: what manifests of the development cluster should name.
    pub fn reference(&self) -> String {
        format!("{}:{}", self.repository, self.tag())
    }

    /// `supercargo/registry:0.1.0`: the newest build that was loaded.
    pub fn version_reference(&self) -> String {
        format!("{}:{}", self.repository, self.version)
    }

    /// The archive (`docker load` and `ctr images import` take it).
    pub fn archive(&self) -> &Path {
        &self.archive
    }

    /// Bytes of the archive, which holds the layers uncompressed.
    pub fn size(&self) -> u64 {
        std::fs::metadata(&self.archive).map(|found| found.len()).unwrap_or(0)
    }

    /// Our name among those that containerd lists: it puts a default host in front of a name that has none.
    pub(crate) fn listed<'a>(&self, names: &[&'a str]) -> Option<&'a str> {
        let reference = self.reference();
        names
            .iter()
            .copied()
            .find(|name| name.strip_suffix(&reference).is_some_and(|host| host.is_empty() || host.ends_with('/')))
    }

    /// Names of builds of this image that the cache no longer keeps.
    pub(crate) fn outdated<'a>(&self, names: &[&'a str]) -> Vec<&'a str> {
        let dir = self.archive.parent().expect("an archive lies in its image's folder");
        let is_outdated = |name: &&&str| {
            let Some((repository, tag)) = name.rsplit_once(':') else { return false };
            let ours =
                repository.strip_suffix(&self.repository).is_some_and(|host| host.is_empty() || host.ends_with('/'));
            let hash = tag.rsplit_once('-').map(|(_, hash)| hash).filter(|hash| is_hash(hash));
            ours && hash.is_some_and(|hash| !dir.join(format!("{hash}.tar")).exists())
        };
        names.iter().filter(is_outdated).copied().collect()
    }
}

/// What an image is made of.
#[derive(Debug, Clone)]
pub(crate) struct Source {
    /// Folder in the cache.
    pub(crate) name: &'static str,
    pub(crate) repository: &'static str,
    pub(crate) version: String,
    /// Path of the Containerfile.
    pub(crate) containerfile: PathBuf,
    /// Files of the build context: name there, and where it is now.
    pub(crate) files: Vec<(&'static str, PathBuf)>,
}

impl Source {
    /// Where the build context is prepared; `docker build -f CONTAINERFILE CONTEXT` works with it, too.
    pub(crate) fn context(&self) -> PathBuf {
        paths::cache().join("images").join(self.name).join("context")
    }
}

/// Builds an image unless one of the very same content is there. The step is quiet then.
pub(crate) async fn build(source: &Source) -> Result<Image> {
    let dir = paths::cache().join("images").join(source.name);
    let hash = hash(source)?;
    let archive = dir.join(format!("{hash}.tar"));
    let image = Image { repository: source.repository.to_owned(), version: source.version.clone(), hash, archive };
    if image.archive.exists() {
        touch(&image.archive)?;
        return Ok(image);
    }
    let _turn = Lock::acquire(&dir.join("lock"), &format!("builds the image {}", source.repository)).await?;
    let step = Step::start(format!("Image {}", image.reference()));
    prepare_context(source)?;
    buildah(source, &image, &dir, &step).await.with_context(|| format!("building the image {}", source.repository))?;
    forget_old(&dir)?;
    step.done(bytes(image.size()));
    Ok(image)
}

/// The image of the process that holds a pod's namespaces.
pub(crate) async fn pause() -> Result<Image> {
    let binary = tools::bin_dir(Tool::Pause)?.join("pause");
    build(&Source {
        name: "pause",
        repository: "localhost/pause",
        version: Tool::Pause.version()?,
        containerfile: paths::workspace().join("deploy/dev/cluster/images/pause.Containerfile"),
        files: vec![("pause", binary)],
    })
    .await
}

/// The image of the cluster's DNS server.
pub(crate) async fn coredns() -> Result<Image> {
    let binary = tools::bin_dir(Tool::CoreDns)?.join("coredns");
    build(&Source {
        name: "coredns",
        repository: "localhost/coredns",
        version: Tool::CoreDns.version()?,
        containerfile: paths::workspace().join("deploy/dev/cluster/images/coredns.Containerfile"),
        files: vec![("coredns", binary)],
    })
    .await
}

fn hash(source: &Source) -> Result<String> {
    let mut hash = Sha256::new();
    let containerfile = ("Containerfile", source.containerfile.clone());
    for (name, path) in std::iter::once(&containerfile).chain(&source.files) {
        let content = std::fs::read(path).with_context(|| format!("reading {}", path.display()))?;
        hash.update(format!("{name} {}\n", content.len()));
        hash.update(content);
    }
    hash.update(format!("{} {}", source.repository, source.version));
    Ok(hex::encode(hash.finalize())[..12].to_owned())
}

fn is_hash(text: &str) -> bool {
    text.len() == 12 && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

fn prepare_context(source: &Source) -> Result<()> {
    let context = source.context();
    // An empty folder, for a writable /tmp of the image's user.
    let tmp = context.join("tmp");
    std::fs::create_dir_all(&tmp).with_context(|| format!("creating {}", tmp.display()))?;
    for (name, path) in &source.files {
        let to = context.join(name);
        std::fs::copy(path, &to).with_context(|| format!("copying {} to {}", path.display(), to.display()))?;
    }
    Ok(())
}

/// Storage of its own for one build, gone afterwards: the cache of layers would save nothing and grow for ever.
async fn buildah(source: &Source, image: &Image, dir: &Path, step: &Step) -> Result<()> {
    let storage = dir.join("storage");
    let log = paths::build_log(&format!("image-{}", source.name));
    let buildah = || {
        Run::new("buildah")
            .args(["--storage-driver", "vfs", "--root"])
            .arg(storage.join("root"))
            .arg("--runroot")
            .arg(storage.join("run"))
    };
    // By id and not by a tag: buildah would put the tag, with `localhost/` in front, into the archive as well.
    let id = dir.join("id");
    buildah()
        .args(["build", "--isolation", "chroot", "--timestamp", "0", "--build-arg"])
        .arg(format!("VERSION={}", source.version))
        .arg("--iidfile")
        .arg(&id)
        .arg("--file")
        .arg(&source.containerfile)
        .arg(source.context())
        .logged(step, &log)
        .await?;
    let unfinished = image.archive.with_extension("unfinished");
    let _ = std::fs::remove_file(&unfinished);
    let to = format!("docker-archive:{}:{}", unfinished.display(), image.reference());
    let built = std::fs::read_to_string(&id).with_context(|| format!("reading {}", id.display()))?;
    buildah().args(["push", built.trim(), &to]).output().await?;
    std::fs::rename(&unfinished, &image.archive).with_context(|| format!("renaming to {}", image.archive.display()))?;
    std::fs::remove_dir_all(&storage).with_context(|| format!("removing {}", storage.display()))
}

/// The time of last use decides what is forgotten.
fn touch(archive: &Path) -> Result<()> {
    let open = std::fs::File::options().append(true).open(archive);
    open.and_then(|file| file.set_modified(std::time::SystemTime::now()))
        .with_context(|| format!("touching {}", archive.display()))
}

fn forget_old(dir: &Path) -> Result<()> {
    let mut archives: Vec<(std::time::SystemTime, PathBuf)> = Vec::new();
    for entry in std::fs::read_dir(dir).with_context(|| format!("reading {}", dir.display()))?.flatten() {
        if entry.path().extension().is_some_and(|extension| extension == "tar") {
            archives.push((entry.metadata().and_then(|found| found.modified())?, entry.path()));
        }
    }
    archives.sort();
    archives.reverse();
    for (_, archive) in archives.into_iter().skip(KEPT) {
        std::fs::remove_file(&archive).with_context(|| format!("removing {}", archive.display()))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn image(dir: &Path) -> Image {
        Image {
            repository: "supercargo/registry".to_owned(),
            version: "0.1.0".to_owned(),
            hash: "0123456789ab".to_owned(),
            archive: dir.join("0123456789ab.tar"),
        }
    }

    #[test]
    fn a_node_lists_our_image_below_a_host_that_it_puts_in_front() {
        let image = image(Path::new("/nowhere"));
        let names =
            ["other/supercargo/registry:0.1.0-0123456789abX", "host.example/supercargo/registry:0.1.0-0123456789ab"];
        assert_eq!(image.listed(&names), Some(names[1]));
        assert_eq!(image.listed(&["host.example/notsupercargo/registry:0.1.0-0123456789ab"]), None);
    }

    #[test]
    fn only_builds_that_the_cache_forgot_are_outdated() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let image = image(dir.path());
        std::fs::write(image.archive(), "").expect("written");
        let names = [
            "h/supercargo/registry:0.1.0-0123456789ab",
            "h/supercargo/registry:0.1.0-ba9876543210",
            "h/supercargo/registry:0.1.0",
            "h/supercargo/operator:0.1.0-ba9876543210",
        ];
        assert_eq!(image.outdated(&names), [names[1]]);
    }

    #[test]
    fn the_newest_archives_stay() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        for age in 0..5u64 {
            let path = dir.path().join(format!("{age}.tar"));
            std::fs::write(&path, "").expect("written");
            let time = std::time::SystemTime::now() - std::time::Duration::from_secs(age * 60);
            std::fs::File::options().append(true).open(&path).expect("open").set_modified(time).expect("set");
        }
        forget_old(dir.path()).expect("pruned");
        let mut left: Vec<String> = std::fs::read_dir(dir.path())
            .expect("read")
            .flatten()
            .filter_map(|one| one.file_name().into_string().ok())
            .collect();
        left.sort();
        assert_eq!(left, ["0.tar", "1.tar", "2.tar"]);
    }
}
