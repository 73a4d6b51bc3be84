//! Everything that people apply to a cluster, against the schemas of Kubernetes and of our CRDs.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use super::{Bench, Tally, charts, schemas};
use crate::paths;
use crate::process::Run;
use crate::progress::tell;
use crate::tools::{self, Tool};

/// `kubeconform -strict` on the rendered charts and on every example.
pub(crate) async fn conform(bench: &Bench) -> Result<Tally> {
    let folder = bench.folder("kubeconform")?;
    let schemas = folder.join("schemas");
    write_schemas(&schemas).await?;
    let mut files = examples()?;
    for chart in charts::CHARTS {
        let file = folder.join(format!("{chart}.yaml"));
        std::fs::write(&file, charts::render(chart, &[]).await?)
            .with_context(|| format!("writing {}", file.display()))?;
        files.push(file);
    }
    let mut tally = Tally::default();
    for file in files {
        tally.extend(conforms(bench, &schemas, &file).await?);
    }
    Ok(tally)
}

async fn conforms(bench: &Bench, schemas: &Path, file: &Path) -> Result<Tally> {
    let location = schemas.join("{{ .ResourceKind }}{{ .KindSuffix }}.json");
    let name = file.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let command = Run::new(tools::binary("kubeconform").await?)
        .args(["-strict", "-summary", "-schema-location"])
        .arg(location)
        .arg(file);
    let (ended_well, said) = bench.run(&format!("kubeconform-{name}"), command).await?;
    let mut tally = Tally::default();
    tally.add(&name, ended_well);
    if !ended_well {
        tell(said.trim_end());
    }
    Ok(tally)
}

/// Files of `deploy/examples`, in order.
fn examples() -> Result<Vec<PathBuf>> {
    let folder = paths::workspace().join("deploy/examples");
    let entries = std::fs::read_dir(&folder).with_context(|| format!("reading {}", folder.display()))?;
    let mut files: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    files.retain(|path| path.extension().is_some_and(|extension| extension == "yaml"));
    files.sort();
    ensure!(!files.is_empty(), "{} has no examples", folder.display());
    Ok(files)
}

async fn write_schemas(folder: &Path) -> Result<()> {
    let module = tools::module_dir(Tool::Kubernetes, "k8s.io/kubernetes").await?;
    let swagger = module.join("api/openapi-spec/swagger.json");
    let text = std::fs::read_to_string(&swagger).with_context(|| format!("reading {}", swagger.display()))?;
    let swagger: Value = serde_json::from_str(&text).context("reading swagger.json")?;
    let mut all = schemas::of_kubernetes(&swagger)?;
    for crd in crds()? {
        all.extend(schemas::of_crd(&crd)?);
    }
    std::fs::create_dir_all(folder).with_context(|| format!("creating {}", folder.display()))?;
    for (name, schema) in all {
        let path = folder.join(&name);
        std::fs::write(&path, schema.to_string()).with_context(|| format!("writing {}", path.display()))?;
    }
    Ok(())
}

fn crds() -> Result<Vec<Value>> {
    let folder = paths::workspace().join("crds");
    let mut found = Vec::new();
    for entry in std::fs::read_dir(&folder).with_context(|| format!("reading {}", folder.display()))? {
        let path = entry?.path();
        let text = std::fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))?;
        found.push(serde_saphyr::from_str(&text).with_context(|| format!("reading {}", path.display()))?);
    }
    ensure!(!found.is_empty(), "{} has no CRDs: `cargo dev crds` writes them", folder.display());
    Ok(found)
}
