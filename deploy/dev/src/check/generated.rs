//! What is generated and committed is what would be generated now.

use anyhow::Result;

use super::{Bench, Tally};
use crate::crds;
use crate::progress::tell;

/// `crds/` and the CRD chart against the operator's types.
pub(crate) async fn are_fresh(bench: &Bench) -> Result<Tally> {
    let mut tally = Tally::default();
    for file in crds::generate(bench.folder("generated")?).await? {
        let fresh = file.is_fresh();
        if !fresh {
            tell(format_args!("{} is not what the operator's types say: run `cargo dev crds`", file.path.display()));
        }
        tally.add(&file.path.display().to_string(), fresh);
    }
    Ok(tally)
}
