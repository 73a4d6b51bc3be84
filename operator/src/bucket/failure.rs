//! What can go wrong on the way to S3, by what a user does next, and how it is told.

use std::fmt;

use super::target::{ACCESS_KEY_ID, Credentials, SECRET_ACCESS_KEY, SESSION_TOKEN, Target};

/// What the server said, cut to a size that fits a condition and free of credentials.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Answer {
    /// HTTP status.
    pub status: u16,
    /// S3 error code, such as `NoSuchBucket`; empty if the body had none.
    pub code: String,
    /// The server's own sentence.
    pub message: String,
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.status)?;
        if !self.code.is_empty() {
            write!(f, " {}", self.code)?;
        }
        if !self.message.is_empty() {
            write!(f, " ({:?})", self.message)?;
        }
        Ok(())
    }
}

/// Which part of the credentials S3 refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rejected {
    /// It does not know the access key id.
    AccessKeyId,
    /// The signature does not fit: the secret access key is wrong.
    SecretAccessKey,
    /// The session token is wrong or has expired.
    SessionToken,
    /// The clocks differ too much for a signature to be accepted.
    Clock,
}

/// Why a request to S3 did not do what it was sent for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    /// There is no such bucket.
    NoSuchBucket(Answer),
    /// The sub-resource was never set. Not an error when reading.
    NotSet(Answer),
    /// S3 does not accept these credentials.
    Credentials(Rejected, Answer),
    /// No credentials were found where they should come from.
    NoCredentials(String),
    /// The credentials are valid and may not do this.
    Denied(Answer),
    /// The bucket lies in another region, or the endpoint serves another one.
    WrongRegion {
        /// The region that the server named, if it did.
        expected: Option<String>,
        /// Its answer.
        answer: Answer,
    },
    /// The server does not have this feature.
    Unsupported(Answer),
    /// The server took a change and does not show it afterwards: it has the feature in part, or not at all.
    NotKept,
    /// A bucket of this name exists and belongs to these credentials.
    AlreadyOwned(Answer),
    /// A bucket of this name exists and belongs to someone else.
    NameTaken(Answer),
    /// The bucket is not empty.
    NotEmpty(Answer),
    /// Any other refusal.
    Refused(Answer),
    /// The server is overloaded or broken.
    Busy(Answer),
    /// No connection: name, address, port, network.
    Unreachable(String),
    /// A connection, but no answer in time.
    TimedOut,
    /// Each request was answered or given up in time, but all of one pass were not.
    TooSlow,
    /// TLS failed: usually a certificate of an authority that nobody told us about.
    Tls(String),
    /// Something answered, and not as S3 does.
    NotS3(Answer),
    /// The client could not even be made of what the spec says.
    Settings(String),
}

/// Codes that S3 services use for one thing. Status is the fallback: a HEAD or a proxy brings no code.
pub(crate) fn classify(answer: Answer, region: Option<String>) -> Failure {
    match answer.code.as_str() {
        "NoSuchBucket" => return Failure::NoSuchBucket(answer),
        "NoSuchLifecycleConfiguration"
        | "NoSuchTagSet"
        | "NoSuchTagSetError"
        | "NoSuchPublicAccessBlockConfiguration"
        | "ServerSideEncryptionConfigurationNotFoundError" => return Failure::NotSet(answer),
        // The last is versitygw's, with status 404.
        "InvalidAccessKeyId" | "InvalidClientTokenId" | "UnrecognizedClientException" | "XAdminUserNotFound" => {
            return Failure::Credentials(Rejected::AccessKeyId, answer);
        }
        "SignatureDoesNotMatch" => return Failure::Credentials(Rejected::SecretAccessKey, answer),
        "ExpiredToken" | "InvalidToken" | "TokenRefreshRequired" => {
            return Failure::Credentials(Rejected::SessionToken, answer);
        }
        "RequestTimeTooSkewed" => return Failure::Credentials(Rejected::Clock, answer),
        "AccessDenied" | "AllAccessDisabled" | "AccountProblem" | "NotSignedUp" | "Forbidden" => {
            return Failure::Denied(answer);
        }
        "PermanentRedirect"
        | "AuthorizationHeaderMalformed"
        | "IllegalLocationConstraintException"
        | "TemporaryRedirect"
        | "InvalidRegion"
        | "InvalidLocationConstraint" => {
            return Failure::WrongRegion { expected: region, answer };
        }
        "NotImplemented" | "MethodNotAllowed" | "VersioningNotConfigured" | "XNotImplemented" => {
            return Failure::Unsupported(answer);
        }
        "BucketAlreadyOwnedByYou" => return Failure::AlreadyOwned(answer),
        "BucketAlreadyExists" => return Failure::NameTaken(answer),
        "BucketNotEmpty" => return Failure::NotEmpty(answer),
        "SlowDown" | "ServiceUnavailable" | "InternalError" | "OperationAborted" | "Throttling" => {
            return Failure::Busy(answer);
        }
        _ => {}
    }
    match answer.status {
        301 | 307 => Failure::WrongRegion { expected: region, answer },
        401 | 403 => Failure::Denied(answer),
        405 | 501 => Failure::Unsupported(answer),
        429 | 500 | 502..=599 => Failure::Busy(answer),
        _ => Failure::Refused(answer),
    }
}

impl Failure {
    /// The condition reason of [`BUCKET_READY`](super::findings::BUCKET_READY) for this.
    pub fn reason(&self) -> &'static str {
        match self {
            Failure::NoSuchBucket(_) => "BucketNotFound",
            Failure::NotSet(_) | Failure::Refused(_) => "Refused",
            Failure::Credentials(Rejected::Clock, _) => "ClockSkew",
            Failure::Credentials(..) => "CredentialsRejected",
            Failure::NoCredentials(_) => "NoCredentials",
            Failure::Denied(_) => "Denied",
            Failure::WrongRegion { .. } => "WrongRegion",
            Failure::Unsupported(_) | Failure::NotKept => "Unsupported",
            Failure::AlreadyOwned(_) => "AlreadyExists",
            Failure::NameTaken(_) => "NameTaken",
            Failure::NotEmpty(_) => "NotEmpty",
            Failure::Busy(_) => "StoreUnavailable",
            Failure::Unreachable(_) => "EndpointUnreachable",
            Failure::TimedOut | Failure::TooSlow => "EndpointTimedOut",
            Failure::Tls(_) => "CertificateNotTrusted",
            Failure::NotS3(_) => "NotS3",
            Failure::Settings(_) => "InvalidConfiguration",
        }
    }

    /// What happened and what to do, in the words of the CargoRegistry's author. Without a full stop at the end.
    pub fn tell(&self, target: &Target) -> String {
        let source = target.credentials.source();
        match self {
            Failure::NoSuchBucket(a) => format!("it does not exist: S3 answered {a}"),
            Failure::Credentials(which, a) => told_credentials(*which, a, &target.credentials),
            Failure::NoCredentials(why) => format!("no credentials found in {source}: {why}"),
            Failure::Denied(a) => {
                format!("the credentials of {source} may not do this: S3 answered {a}. Widen their policy")
            }
            Failure::WrongRegion { expected, answer } => match expected {
                Some(region) => {
                    format!(
                        "it is not in region {}: S3 answered {answer}. Set storage.s3.region to {region}",
                        target.region
                    )
                }
                None => format!("region {} is wrong: S3 answered {answer}. Correct storage.s3.region", target.region),
            },
            Failure::Unsupported(a) => format!("the store does not offer this: it answered {a}"),
            Failure::NotKept => "the store accepted the change and does not keep all of it".into(),
            Failure::AlreadyOwned(a) => format!("it exists already: S3 answered {a}"),
            Failure::NameTaken(a) => {
                format!("the name is taken by another account: S3 answered {a}. Choose another storage.s3.bucket")
            }
            Failure::NotEmpty(a) => format!("it is not empty: S3 answered {a}"),
            Failure::NotSet(a) | Failure::Refused(a) => format!("S3 refused: it answered {a}"),
            Failure::Busy(a) => format!("the store is not well: it answered {a}. The operator tries again"),
            Failure::Unreachable(why) => {
                format!("no connection: {why}. Check storage.s3.endpoint and whether the operator's pod may reach it")
            }
            Failure::TimedOut => {
                "no answer in time. Check storage.s3.endpoint and whether the operator's pod may reach it".into()
            }
            Failure::TooSlow => {
                "the store answers too slowly: the requests of one look at the bucket did not end in the time for all of them. \
                 The operator tries again. Check the store's load and the network between it and the operator's pod"
                    .into()
            }
            Failure::Tls(why) => {
                format!(
                    "TLS failed: {why}. If the endpoint's certificate comes from your own authority, give it in storage.s3.caBundle"
                )
            }
            Failure::NotS3(a) => {
                format!(
                    "what answers there does not speak S3: it answered {a}. Check storage.s3.endpoint and forcePathStyle"
                )
            }
            Failure::Settings(why) => why.clone(),
        }
    }
}

fn told_credentials(which: Rejected, answer: &Answer, credentials: &Credentials) -> String {
    let source = credentials.source();
    let (what, key) = match which {
        Rejected::AccessKeyId => ("does not know the access key", ACCESS_KEY_ID),
        Rejected::SecretAccessKey => ("finds that the secret key does not fit the access key", SECRET_ACCESS_KEY),
        Rejected::SessionToken => ("does not accept the session token", SESSION_TOKEN),
        Rejected::Clock => {
            return format!(
                "S3 answered {answer}: the clocks of this node and of the store differ too much. Set them right"
            );
        }
    };
    format!("S3 {what} of {source}: it answered {answer}. Check key {key}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(status: u16, code: &str) -> Answer {
        Answer { status, code: code.into(), message: "m".into() }
    }

    #[test]
    fn every_code_has_its_reason() {
        for (status, code, reason) in [
            (404, "NoSuchBucket", "BucketNotFound"),
            (403, "InvalidAccessKeyId", "CredentialsRejected"),
            (403, "SignatureDoesNotMatch", "CredentialsRejected"),
            (404, "XAdminUserNotFound", "CredentialsRejected"),
            (400, "ExpiredToken", "CredentialsRejected"),
            (403, "RequestTimeTooSkewed", "ClockSkew"),
            (403, "AccessDenied", "Denied"),
            (403, "", "Denied"),
            (301, "PermanentRedirect", "WrongRegion"),
            (301, "", "WrongRegion"),
            (400, "AuthorizationHeaderMalformed", "WrongRegion"),
            (501, "NotImplemented", "Unsupported"),
            (501, "", "Unsupported"),
            (405, "MethodNotAllowed", "Unsupported"),
            (503, "SlowDown", "StoreUnavailable"),
            (500, "", "StoreUnavailable"),
            (409, "BucketAlreadyExists", "NameTaken"),
            (400, "InvalidArgument", "Refused"),
        ] {
            assert_eq!(classify(answer(status, code), None).reason(), reason, "{status} {code}");
        }
    }

    #[test]
    fn a_wrong_secret_key_names_secret_key_and_answer() {
        let target = Target {
            bucket: "crates".into(),
            region: "us-east-1".into(),
            endpoint: None,
            force_path_style: false,
            ca_bundle: None,
            credentials: Credentials::from_secret(
                "demo",
                "company-s3",
                &[(ACCESS_KEY_ID, "a"), (SECRET_ACCESS_KEY, "b")]
                    .map(|(k, v)| (k.to_owned(), k8s_openapi::ByteString(v.into())))
                    .into(),
            )
            .unwrap(),
            prefix: String::new(),
        };
        let text = classify(answer(403, "SignatureDoesNotMatch"), None).tell(&target);
        for part in
            ["Secret \"company-s3\" in namespace demo", "AWS_SECRET_ACCESS_KEY", "403 SignatureDoesNotMatch (\"m\")"]
        {
            assert!(text.contains(part), "{part} not in {text}");
        }
    }

    #[test]
    fn the_region_that_the_server_names_is_told() {
        let failure = classify(answer(301, "PermanentRedirect"), Some("eu-west-1".into()));
        assert_eq!(
            failure,
            Failure::WrongRegion { expected: Some("eu-west-1".into()), answer: answer(301, "PermanentRedirect") }
        );
    }
}
