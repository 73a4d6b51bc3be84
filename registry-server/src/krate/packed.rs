//! Crates as `cargo publish` sends them, made by hand, so that they can also be wrong. For tests and benchmarks.

use std::io::Write;

use flate2::Compression;
use flate2::write::GzEncoder;

/// A crate to be published.
#[derive(Debug, Clone)]
pub struct Packed {
    /// `package.name`.
    pub name: String,
    /// `package.version`.
    pub version: String,
    /// The packed Cargo.toml.
    pub manifest: String,
    /// The content of `src/lib.rs`; different content, different checksum.
    pub source: String,
    /// The JSON.
    pub metadata: serde_json::Value,
}

impl Packed {
    /// The smallest crate that raises no warning.
    pub fn new(name: &str, version: &str) -> Self {
        Self {
            name: name.into(),
            version: version.into(),
            manifest: format!(
                "[package]\nname = \"{name}\"\nversion = \"{version}\"\nedition = \"2021\"\ndescription = \"about {name}\"\nlicense = \"MIT\"\n"
            ),
            source: "pub fn f() {}\n".into(),
            metadata: serde_json::json!({
                "name": name, "vers": version, "deps": [], "features": {}, "authors": [],
                "description": format!("about {name}"), "documentation": null, "homepage": null, "readme": null, "readme_file": null,
                "keywords": [], "categories": [], "license": "MIT", "license_file": null, "repository": null, "badges": {},
                "links": null, "rust_version": null
            }),
        }
    }

    /// The same crate with other bytes.
    pub fn with_source(mut self, source: &str) -> Self {
        self.source = source.into();
        self
    }

    /// The `.crate` file.
    pub fn krate(&self) -> Vec<u8> {
        let top = format!("{}-{}", self.name, self.version);
        let mut tar = tar::Builder::new(GzEncoder::new(Vec::new(), Compression::default()));
        for (path, content) in [("Cargo.toml", &self.manifest), ("src/lib.rs", &self.source)] {
            let mut header = tar::Header::new_gnu();
            header.set_size(content.len() as u64);
            header.set_mode(0o644);
            tar.append_data(&mut header, format!("{top}/{path}"), content.as_bytes()).expect("in memory");
        }
        tar.into_inner().expect("in memory").finish().expect("in memory")
    }

    /// The body of `PUT /api/v1/crates/new`.
    pub fn body(&self) -> Vec<u8> {
        body(self.metadata.to_string().as_bytes(), &self.krate())
    }
}

/// A publish body of any two parts.
pub fn body(metadata: &[u8], krate: &[u8]) -> Vec<u8> {
    let mut body = Vec::new();
    for part in [metadata, krate] {
        body.write_all(&u32::try_from(part.len()).expect("short").to_le_bytes()).expect("in memory");
        body.write_all(part).expect("in memory");
    }
    body
}
