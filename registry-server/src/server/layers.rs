//! What surrounds every request, outermost first: a request id on the request and on the answer, one log event and one
//! metric at the end, a panic turned into 500, `Authorization` marked as secret, a deadline for the body.

use std::any::Any;
use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE, COOKIE};
use http::{HeaderName, HeaderValue, Request, Response, StatusCode};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use tower::util::BoxCloneSyncService;
use tower::{ServiceBuilder, ServiceExt};
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::request_id::{MakeRequestId, PropagateRequestIdLayer, RequestId, SetRequestIdLayer};
use tower_http::sensitive_headers::SetSensitiveRequestHeadersLayer;
use tower_http::timeout::RequestBodyDeadlineLayer;
use warp::filters::BoxedFilter;

use crate::ambient::Entropy;
use crate::http::error::json_errors;
use crate::http::labels::Labels;
use crate::metrics;

/// Cargo prints the headers of an answer that it does not understand, so this is what a user can quote.
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// The longest id that is taken over from a proxy in front.
const REQUEST_ID_BYTES_MAX: usize = 64;

type BoxError = Box<dyn std::error::Error + Send + Sync>;
/// The body of an answer.
pub(super) type Body = UnsyncBoxBody<Bytes, BoxError>;
/// What a listener serves, with requests whose bodies are `B`.
pub(super) type Service<B = Incoming> = BoxCloneSyncService<Request<B>, Response<Body>, Infallible>;

/// Wraps the routes of one listener; `routes` must have recovered from every rejection.
pub(super) fn wrap<B>(
    routes: BoxedFilter<(warp::reply::Response,)>,
    listener: &'static str,
    body_read: Duration,
    entropy: Entropy,
) -> Service<B>
where
    B: hyper::body::Body<Data = Bytes, Error: Into<BoxError>> + Send + Sync + 'static,
{
    let service = ServiceBuilder::new()
        .map_request(drop_odd_request_id::<B>)
        .layer(SetRequestIdLayer::new(REQUEST_ID, Ids(entropy)))
        .layer(PropagateRequestIdLayer::new(REQUEST_ID))
        .layer(tower::layer::layer_fn(move |inner| Observe { inner, listener }))
        .layer(CatchPanicLayer::custom(answer_panic))
        .layer(SetSensitiveRequestHeadersLayer::new([AUTHORIZATION, COOKIE]))
        .layer(RequestBodyDeadlineLayer::new(body_read))
        .service(warp::service(routes));
    let boxed = |response: Response<_>| response.map(|body| BodyExt::boxed_unsync(BodyExt::map_err(body, Into::into)));
    BoxCloneSyncService::new(service.map_response(boxed))
}

/// An id from a proxy in front is kept if it is short and plain; it goes into logs and answers.
fn drop_odd_request_id<B>(mut request: Request<B>) -> Request<B> {
    let plain = |value: &HeaderValue| {
        let bytes = value.as_bytes();
        (1..=REQUEST_ID_BYTES_MAX).contains(&bytes.len())
            && bytes.iter().all(|byte| byte.is_ascii_alphanumeric() || b"-_.:".contains(byte))
    };
    if request.headers().get_all(REQUEST_ID).iter().count() > 1 || !request.headers().get(REQUEST_ID).is_some_and(plain)
    {
        request.headers_mut().remove(REQUEST_ID);
    }
    request
}

#[derive(Clone)]
struct Ids(Entropy);

impl MakeRequestId for Ids {
    fn make_request_id<B>(&mut self, _: &Request<B>) -> Option<RequestId> {
        let id = format!("{:016x}", self.0.bits() as u64);
        HeaderValue::try_from(id).ok().map(RequestId::new)
    }
}

fn answer_panic(panic: Box<dyn Any + Send>) -> Response<Full<Bytes>> {
    metrics::panicked();
    let text =
        panic.downcast_ref::<&str>().map(|text| (*text).to_owned()).or_else(|| panic.downcast_ref::<String>().cloned());
    tracing::error!(panic = text.as_deref().unwrap_or("no text"), "a request ended in a panic; this is a defect");
    let mut response = Response::new(Full::from(json_errors(
        "the registry failed inside; its log has more under this answer's x-request-id",
    )));
    *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

/// One log event and one metric per request, when the head of the answer is known.
#[derive(Clone)]
struct Observe<S> {
    inner: S,
    listener: &'static str,
}

impl<S, Q, R> tower::Service<Request<Q>> for Observe<S>
where
    S: tower::Service<Request<Q>, Response = Response<R>, Error = Infallible>,
    S::Future: Send + 'static,
{
    type Response = Response<R>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response<R>, Infallible>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<Q>) -> Self::Future {
        let started = Instant::now();
        let listener = self.listener;
        let method = request.method().clone();
        let request_id =
            request.headers().get(REQUEST_ID).and_then(|id| id.to_str().ok()).unwrap_or_default().to_owned();
        let span = tracing::info_span!("request", request_id);
        let answer = self.inner.call(request);
        Box::pin(tracing::Instrument::instrument(
            async move {
                let mut response = answer.await?;
                let labels = response.extensions_mut().remove::<Labels>().unwrap_or_default();
                let (status, took) = (response.status(), started.elapsed());
                metrics::request(listener, labels.route, status, took);
                let millis = took.as_secs_f64() * 1000.0;
                // Probes come every few seconds and say nothing while they succeed.
                if labels.quiet && status.is_success() {
                    tracing::debug!(%request_id, listener, %method, route = labels.route, status = status.as_u16(), millis, "answered");
                } else {
                    let (user, krate) = (labels.user.as_deref(), labels.krate.as_deref());
                    tracing::info!(%request_id, listener, %method, route = labels.route, status = status.as_u16(), millis, user, krate, "answered");
                }
                Ok(response)
            },
            span,
        ))
    }
}

#[cfg(test)]
mod tests {
    use warp::Filter;

    use super::*;

    fn service() -> Service<Full<Bytes>> {
        let panics = warp::path!("panic").map(|| -> warp::reply::Response { panic!("a defect with a secret in it") });
        let fine = warp::path!("fine").map(|| warp::reply::Reply::into_response("fine"));
        wrap(panics.or(fine).unify().boxed(), "test", Duration::from_secs(1), Entropy::seeded(1))
    }

    async fn get(path: &str, id: Option<&str>) -> (StatusCode, String, String) {
        let mut request = Request::get(path);
        if let Some(id) = id {
            request = request.header(REQUEST_ID, id);
        }
        let response = service().oneshot(request.body(Full::default()).expect("a request")).await.expect("infallible");
        let (status, id) = (response.status(), response.headers()[REQUEST_ID].to_str().expect("text").to_owned());
        let body = response.into_body().collect().await.expect("a body").to_bytes();
        (status, id, String::from_utf8_lossy(&body).into_owned())
    }

    #[tokio::test]
    async fn a_panic_is_a_500_that_says_nothing_of_the_inside() {
        let (status, id, body) = get("/panic", None).await;
        assert_eq!(status, StatusCode::INTERNAL_SERVER_ERROR);
        assert_eq!(id.len(), 16);
        assert!(body.contains("\"errors\"") && body.contains("x-request-id") && !body.contains("secret"), "{body}");
        assert_eq!(get("/fine", None).await.0, StatusCode::OK, "the next request is served");
    }

    #[tokio::test]
    async fn a_plain_request_id_is_kept_and_an_odd_one_replaced() {
        assert_eq!(get("/fine", Some("abc-1.2:3_4")).await.1, "abc-1.2:3_4");
        for odd in ["", "a b", "<script>", &"x".repeat(65)] {
            assert_ne!(get("/fine", Some(odd)).await.1, odd);
        }
    }
}
