//! Settings of others, opaque: read from the bucket and sent back as they were, because S3 only replaces whole documents.

use aws_sdk_s3::types::{BlockedEncryptionTypes, LifecycleRule, TransitionDefaultMinimumObjectSize};

/// The lifecycle rules that are not ours.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ForeignRules {
    pub(super) rules: Vec<LifecycleRule>,
    pub(super) minimum_size: Option<TransitionDefaultMinimumObjectSize>,
    pub(super) not_carried: Vec<String>,
}

impl ForeignRules {
    /// How many there are.
    pub fn len(&self) -> usize {
        self.rules.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.rules.is_empty()
    }

    /// XML elements in them that the SDK does not know and would lose. Empty means that they can be sent back unharmed.
    pub fn not_carried(&self) -> &[String] {
        if self.rules.is_empty() { &[] } else { &self.not_carried }
    }
}

/// What a default encryption rule says beyond algorithm and key.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct CarriedEncryption {
    pub(super) blocked: Option<BlockedEncryptionTypes>,
    pub(super) bucket_key: Option<bool>,
}

/// Elements of a lifecycle document that [`LifecycleRule`] carries from reading to writing.
const CARRIED: [&str; 27] = [
    "LifecycleConfiguration",
    "Rule",
    "ID",
    "Prefix",
    "Status",
    "Filter",
    "And",
    "Tag",
    "Key",
    "Value",
    "ObjectSizeGreaterThan",
    "ObjectSizeLessThan",
    "Expiration",
    "Date",
    "Days",
    "ExpiredObjectDeleteMarker",
    "Transition",
    "StorageClass",
    "NoncurrentVersionTransition",
    "NoncurrentDays",
    "NewerNoncurrentVersions",
    "NoncurrentVersionExpiration",
    "AbortIncompleteMultipartUpload",
    "DaysAfterInitiation",
    // Written by the server, not by people.
    "ExpiryUpdatedAt",
    "Transitions",
    "NoncurrentVersionTransitions",
];

/// Names of elements in `xml` that would be lost. A scan over tags: the document has been parsed already, so it is well formed.
pub(super) fn elements_not_carried(xml: &str) -> Vec<String> {
    let mut names: Vec<String> = xml
        .split('<')
        .skip(1)
        .filter(|tag| !tag.starts_with(['/', '?', '!']))
        .filter_map(|tag| tag.split(|c: char| c == '>' || c == '/' || c.is_whitespace()).next())
        .map(|name| name.rsplit(':').next().unwrap_or(name).to_owned())
        .filter(|name| !CARRIED.contains(&name.as_str()))
        .collect();
    names.sort();
    names.dedup();
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn elements_of_other_makers_are_seen() {
        let xml = r#"<?xml version="1.0"?><LifecycleConfiguration xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><Rule>
            <ID>a</ID><Status>Enabled</Status><Filter><Prefix/></Filter><Expiration><Days>1</Days>
            <ExpiredObjectAllVersions>true</ExpiredObjectAllVersions></Expiration><DelMarkerExpiration><Days>1</Days></DelMarkerExpiration>
            </Rule></LifecycleConfiguration>"#;
        assert_eq!(elements_not_carried(xml), ["DelMarkerExpiration", "ExpiredObjectAllVersions"]);
    }

    #[test]
    fn what_the_sdk_knows_is_carried() {
        let xml = "<LifecycleConfiguration><Rule><ID>x</ID><Filter><And><Prefix>p</Prefix><Tag><Key>k</Key><Value>v</Value></Tag></And></Filter>\
            <Status>Enabled</Status><Transition><Days>3</Days><StorageClass>GLACIER</StorageClass></Transition></Rule></LifecycleConfiguration>";
        assert!(elements_not_carried(xml).is_empty());
    }
}
