//! What S3 answered, in the words of [`crate::store`]. The status decides: error codes differ between servers, and some answers have none.

use std::error::Error;
use std::fmt::Write as _;

use aws_credential_types::provider::error::CredentialsError;
use aws_sdk_s3::config::http::HttpResponse;
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};

use crate::store::{Put, Refused, StoreError, StoreErrorKind};

/// A request that did not succeed.
#[derive(Debug)]
pub(super) struct Failure {
    how: How,
    code: String,
    message: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum How {
    /// The server answered with this status.
    Status(u16),
    /// No connection came about.
    NoConnection,
    /// There was nothing to sign with.
    NoCredentials,
    /// The request could not be built: a wrong configuration.
    NotBuilt,
    /// Something was sent, and no usable answer came.
    NoAnswer,
}

/// Codes with which servers refuse the credentials themselves, so that others, if there are newer ones, may fare better.
const BAD_CREDENTIALS: [&str; 9] = [
    "InvalidAccessKeyId",
    "SignatureDoesNotMatch",
    "ExpiredToken",
    "InvalidToken",
    "TokenRefreshRequired",
    "InvalidSecurity",
    "NoSuchAccessKey",
    "AuthorizationHeaderMalformed",
    // versitygw's, for an access key that it does not know, with status 404.
    "XAdminUserNotFound",
];
/// Codes that say that the bytes did not arrive as they were sent.
const BAD_BYTES: [&str; 5] =
    ["BadDigest", "InvalidDigest", "XAmzContentSHA256Mismatch", "XAmzContentChecksumMismatch", "IncompleteBody"];

impl Failure {
    /// Reads an SDK error. `request` names the operation and its target, for the message.
    pub(super) fn of<E>(request: &str, err: SdkError<E, HttpResponse>) -> Self
    where
        E: ProvideErrorMetadata + Error + Send + Sync + 'static,
    {
        let how = match &err {
            SdkError::ServiceError(service) => How::Status(service.raw().status().as_u16()),
            // An answer that is no S3 answer. A refusal is one all the same: proxies speak HTML.
            SdkError::ResponseError(response) if response.raw().status().as_u16() >= 300 => {
                How::Status(response.raw().status().as_u16())
            }
            _ if has_source::<CredentialsError>(&err) => How::NoCredentials,
            SdkError::ConstructionFailure(_) => How::NotBuilt,
            SdkError::DispatchFailure(_) if never_connected(&err) => How::NoConnection,
            _ => How::NoAnswer,
        };
        let code = err.as_service_error().and_then(|err| err.meta().code()).unwrap_or_default().to_owned();
        let message = message(request, how, &err);
        Self { how, code, message }
    }

    /// A success that lacks what S3 always sends.
    pub(super) fn incomplete(request: &str, what: &str) -> Self {
        Self { how: How::NoAnswer, code: String::new(), message: format!("{request}: S3 answered without {what}") }
    }

    /// The HTTP status, if there was an answer.
    pub(super) fn status(&self) -> Option<u16> {
        match self.how {
            How::Status(status) => Some(status),
            _ => None,
        }
    }

    /// 404, and it is the bucket that is missing.
    pub(super) fn is_no_bucket(&self) -> bool {
        self.code == "NoSuchBucket"
    }

    /// 404, and it is the object that is missing. Only S3's own word for it counts: a proxy's page, an unknown user, a wrong
    /// path are 404s, too, and none of them says that a crate does not exist.
    pub(super) fn is_no_object(&self) -> bool {
        matches!(self.how, How::Status(404)) && matches!(self.code.as_str(), "NoSuchKey" | "NoSuchVersion")
    }

    /// Whether newer credentials could help.
    pub(super) fn blames_credentials(&self) -> bool {
        matches!(self.how, How::Status(400 | 401 | 403 | 404)) && BAD_CREDENTIALS.contains(&self.code.as_str())
    }

    /// The error of an operation that changes nothing, or changes the same thing however often it is done.
    pub(super) fn into_error(self) -> StoreError {
        let kind = match self.how {
            How::NoCredentials => StoreErrorKind::Denied,
            How::NotBuilt => StoreErrorKind::Rejected,
            How::NoConnection | How::NoAnswer => StoreErrorKind::Unavailable,
            How::Status(status) => self.kind_of(status),
        };
        StoreError::new(kind, self.message)
    }

    fn kind_of(&self, status: u16) -> StoreErrorKind {
        match status {
            _ if self.is_no_bucket() => StoreErrorKind::NoBucket,
            _ if self.blames_credentials() => StoreErrorKind::Denied,
            401 | 403 => StoreErrorKind::Denied,
            301 | 302 | 307 | 308 => StoreErrorKind::NoBucket,
            429 => StoreErrorKind::Throttled,
            _ if self.is_slow_down() => StoreErrorKind::Throttled,
            501 => StoreErrorKind::Rejected,
            408 => StoreErrorKind::Unavailable,
            _ if self.code == "RequestTimeout" => StoreErrorKind::Unavailable,
            _ if BAD_BYTES.contains(&self.code.as_str()) => StoreErrorKind::Corrupt,
            400..=499 => StoreErrorKind::Rejected,
            _ => StoreErrorKind::Unavailable,
        }
    }

    fn is_slow_down(&self) -> bool {
        matches!(self.code.as_str(), "SlowDown" | "SlowDownWrite" | "TooManyRequests" | "RequestLimitExceeded")
    }

    /// The outcome of a put; see [`Put`] for the table. `conditional`: whether a 404, 409 or 412 can be about the condition.
    pub(super) fn into_put(self, conditional: bool) -> Put {
        match self.how {
            How::Status(412) if conditional => Put::Refused(Refused::Precondition),
            How::Status(409) if conditional => Put::Refused(Refused::Conflict),
            How::Status(404) if conditional && self.is_no_object() => Put::Refused(Refused::Missing),
            How::NoAnswer => Put::Unknown(self.into_error()),
            How::Status(status) if status >= 500 && status != 501 && !self.is_slow_down() => {
                Put::Unknown(self.into_error())
            }
            How::Status(200..=299) => Put::Unknown(self.into_error()),
            _ => Put::NotSent(self.into_error()),
        }
    }
}

/// One sentence: what was asked, what came back, the server's words, and its request id, by which the store's owner finds it.
fn message<E>(request: &str, how: How, err: &SdkError<E, HttpResponse>) -> String
where
    E: ProvideErrorMetadata + Error + Send + Sync + 'static,
{
    let How::Status(status) = how else {
        return format!("{request}: {}", causes(err));
    };
    let mut text = format!("{request}: S3 answered {status}");
    if let Some(service) = err.as_service_error() {
        for part in [service.meta().code(), service.meta().message()].into_iter().flatten() {
            let _ = write!(text, " {part}");
        }
    }
    let headers = err.raw_response().map(HttpResponse::headers);
    let header = |name| headers.and_then(|headers| headers.get(name)).filter(|value| !value.is_empty());
    if let Some(region) = header("x-amz-bucket-region") {
        let _ = write!(text, "; the bucket is in region {region}");
    }
    if let Some(id) = header("x-amz-request-id") {
        let _ = write!(text, " (request id {id})");
    }
    text
}

/// An error and what caused it, in one line. (The SDK's `DisplayErrorContext` adds the whole `Debug` form, which nobody reads at night.)
pub(super) fn causes(err: &(dyn Error + 'static)) -> String {
    let mut text = String::new();
    let mut next = Some(err);
    while let Some(err) = next {
        let said = err.to_string();
        // Some repeat their cause in their own words.
        if !text.ends_with(&said) {
            text.push_str(if text.is_empty() { "" } else { ": " });
            text.push_str(&said);
        }
        next = err.source();
    }
    text
}

/// Whether the request failed before any of it could be written.
fn never_connected(err: &(dyn Error + 'static)) -> bool {
    find_source::<hyper_util::client::legacy::Error>(err).is_some_and(hyper_util::client::legacy::Error::is_connect)
}

fn has_source<T: Error + 'static>(err: &(dyn Error + 'static)) -> bool {
    find_source::<T>(err).is_some()
}

fn find_source<'a, T: Error + 'static>(err: &'a (dyn Error + 'static)) -> Option<&'a T> {
    let mut next = Some(err);
    while let Some(err) = next {
        if let Some(found) = err.downcast_ref::<T>() {
            return Some(found);
        }
        next = err.source();
    }
    None
}
