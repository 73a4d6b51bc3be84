//! From the SDK's errors to [`Failure`], with credentials taken out of every text.

use std::error::Error;

use aws_sdk_s3::config::http::HttpResponse;
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};

use super::super::failure::{Answer, Failure, classify};
use super::super::target::Credentials;

/// A server's sentence is cut to this many characters: it ends in conditions and logs.
const MESSAGE_CHARS_MAX: usize = 240;

/// Turns errors into failures and keeps the access key id out of them: some stores repeat it in their sentence.
#[derive(Clone)]
pub(super) struct Told {
    hide: Vec<String>,
}

impl std::fmt::Debug for Told {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Told(***)")
    }
}

impl Told {
    pub(super) fn about(credentials: &Credentials) -> Told {
        use secrecy::ExposeSecret;
        let hide = match credentials {
            Credentials::Ambient => Vec::new(),
            Credentials::Static { keys, .. } => {
                [Some(keys.access_key_id.as_str()), Some(keys.secret_access_key.expose_secret())]
                    .into_iter()
                    .chain([keys.session_token.as_ref().map(|t| t.expose_secret())])
                    .flatten()
                    .map(str::to_owned)
                    .collect()
            }
        };
        Told { hide }
    }

    pub(super) fn failure<E>(&self, error: &SdkError<E, HttpResponse>) -> Failure
    where
        E: ProvideErrorMetadata + Error + 'static,
    {
        match error {
            SdkError::ServiceError(service) => {
                let raw = service.raw();
                let (code, message) = (service.err().code(), service.err().message());
                let answer = self.answer(raw.status().as_u16(), code, message);
                if answer.code.is_empty() && matches!(answer.status, 400 | 404 | 410..=422) {
                    return Failure::NotS3(Answer { message: "no S3 error code in it".into(), ..answer });
                }
                classify(answer, raw.headers().get("x-amz-bucket-region").map(str::to_owned))
            }
            SdkError::ResponseError(response) => {
                let message = format!("not S3's XML: {}", chain(error));
                Failure::NotS3(self.answer(response.raw().status().as_u16(), None, Some(&message)))
            }
            SdkError::TimeoutError(_) => Failure::TimedOut,
            SdkError::DispatchFailure(dispatch) if dispatch.is_timeout() => Failure::TimedOut,
            other => self.before_an_answer(other, matches!(other, SdkError::ConstructionFailure(_))),
        }
    }

    fn before_an_answer(&self, error: &(dyn Error + 'static), not_built: bool) -> Failure {
        let mut cause = Some(error);
        while let Some(current) = cause {
            if let Some(tls) = tls_error(current) {
                return Failure::Tls(self.clean(&tls.to_string()));
            }
            if let Some(credentials) = current.downcast_ref::<aws_credential_types::provider::error::CredentialsError>()
            {
                return Failure::NoCredentials(self.clean(&chain(credentials)));
            }
            if let Some(io) = current.downcast_ref::<std::io::Error>() {
                return Failure::Unreachable(self.clean(&io.to_string()));
            }
            cause = current.source();
        }
        let why = self.clean(&chain(error));
        if not_built {
            Failure::Settings(format!("the request cannot be built: {why}"))
        } else {
            Failure::Unreachable(why)
        }
    }

    fn answer(&self, status: u16, code: Option<&str>, message: Option<&str>) -> Answer {
        Answer { status, code: self.clean(code.unwrap_or_default()), message: self.clean(message.unwrap_or_default()) }
    }

    fn clean(&self, text: &str) -> String {
        let mut text = text.to_owned();
        for secret in self.hide.iter().filter(|s| s.len() >= 3) {
            text = text.replace(secret.as_str(), "***");
        }
        let shown: String =
            text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(MESSAGE_CHARS_MAX).collect();
        let shown = shown.trim();
        if text.chars().count() > MESSAGE_CHARS_MAX { format!("{shown}…") } else { shown.to_owned() }
    }
}

/// `rustls` hides its error inside an `io::Error`, which does not name it as its source.
fn tls_error<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a rustls::Error> {
    if let Some(tls) = error.downcast_ref::<rustls::Error>() {
        return Some(tls);
    }
    let inner = error.downcast_ref::<std::io::Error>()?.get_ref()?;
    tls_error(inner)
}

fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        let inner_text = inner.to_string();
        if !text.contains(&inner_text) {
            text = format!("{text}: {inner_text}");
        }
        cause = inner.source();
    }
    text
}
