//! What surrounds every request. What memory can answer is answered at once ([`crate::http::at_once`]); everything else goes through layers,
//! outermost first: a request id on the request and on the answer, one log event and one metric at the end, a panic turned into 500,
//! `Authorization` marked as secret, a deadline for the body. An answer at once has the same id, event, metric and end of a panic.

use std::any::Any;
use std::convert::Infallible;
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE, COOKIE};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode};
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
use crate::http::{Labels, PublicState, at_once};
use crate::metrics;

/// Cargo prints the headers of an answer that it does not understand, so this is what a user can quote.
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// The longest id that is taken over from a proxy in front.
const REQUEST_ID_BYTES_MAX: usize = 64;

type BoxError = Box<dyn std::error::Error + Send + Sync>;
/// The body of an answer: in memory, or a stream.
pub(super) type Body = http_body_util::Either<Full<Bytes>, UnsyncBoxBody<Bytes, BoxError>>;
type Waiting<B> = BoxCloneSyncService<Request<B>, Response<Body>, Infallible>;
type Answer = Result<Response<Body>, Infallible>;

/// What a listener serves, with requests whose bodies are `B`.
pub(super) struct Service<B = Incoming> {
    /// What may be answered at once; `None`: nothing.
    public: Option<PublicState>,
    observer: Arc<Observer>,
    waiting: Waiting<B>,
}

/// Wraps the routes of one listener; `routes` must have recovered from every rejection. `public`: reads that need no waiting are answered
/// before them.
pub(super) fn wrap<B>(
    routes: BoxedFilter<(warp::reply::Response,)>,
    public: Option<PublicState>,
    listener: &'static str,
    body_read: Duration,
    entropy: Entropy,
) -> Service<B>
where
    B: hyper::body::Body<Data = Bytes, Error: Into<BoxError>> + Send + Sync + 'static,
{
    let observer = Arc::new(Observer { listener, answers: metrics::Answers::new(listener), ids: Ids(entropy) });
    let (ids, observe) = (observer.ids.clone(), observer.clone());
    let service = ServiceBuilder::new()
        .map_request(drop_odd_request_id::<B>)
        .layer(SetRequestIdLayer::new(REQUEST_ID, ids))
        .layer(PropagateRequestIdLayer::new(REQUEST_ID))
        .layer(tower::layer::layer_fn(move |inner| Observe { inner, observer: observe.clone() }))
        .layer(CatchPanicLayer::custom(answer_panic))
        .layer(SetSensitiveRequestHeadersLayer::new([AUTHORIZATION, COOKIE]))
        .layer(RequestBodyDeadlineLayer::new(body_read))
        .service(warp::service(routes));
    let boxed = |response: Response<_>| {
        response.map(|body| Body::Right(BodyExt::boxed_unsync(BodyExt::map_err(body, Into::into))))
    };
    Service { public, observer, waiting: BoxCloneSyncService::new(service.map_response(boxed)) }
}

impl<B> Clone for Service<B> {
    fn clone(&self) -> Self {
        Self { public: self.public.clone(), observer: self.observer.clone(), waiting: self.waiting.clone() }
    }
}

impl<B: Send + 'static> hyper::service::Service<Request<B>> for Service<B> {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Answering;

    fn call(&self, request: Request<B>) -> Self::Future {
        match self.answer_at_once(&request) {
            Some(response) => Answering::Done(Some(response)),
            None => Answering::Waiting(Box::pin(self.waiting.clone().oneshot(request))),
        }
    }
}

/// An answer on its way.
pub(super) enum Answering {
    Done(Option<Response<Body>>),
    Waiting(Pin<Box<dyn Future<Output = Answer> + Send>>),
}

impl Future for Answering {
    type Output = Answer;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Answer> {
        match self.get_mut() {
            Self::Done(response) => Poll::Ready(Ok(response.take().expect("polled once only after it was ready"))),
            Self::Waiting(waiting) => waiting.as_mut().poll(cx),
        }
    }
}

impl<B> Service<B> {
    fn answer_at_once(&self, request: &Request<B>) -> Option<Response<Body>> {
        let public = self.public.as_ref()?;
        let started = Instant::now();
        let answer = || at_once(public, request.method(), request.uri(), request.headers());
        let (mut response, labels) = match std::panic::catch_unwind(AssertUnwindSafe(answer)) {
            Ok(answer) => answer.map(|(response, labels)| (response.map(Full::new), labels))?,
            Err(panic) => (answer_panic(panic), Labels::default()),
        };
        let id = plain_request_id(request.headers()).cloned().or_else(|| self.observer.ids.next());
        self.observer.note(&labels, request.method(), response.status(), started.elapsed(), id.as_ref());
        if let Some(id) = id {
            response.headers_mut().insert(REQUEST_ID, id);
        }
        Some(response.map(Body::Left))
    }
}

/// An id from a proxy in front, if it is short and plain; it goes into logs and answers.
fn plain_request_id(headers: &HeaderMap) -> Option<&HeaderValue> {
    let plain = |value: &&HeaderValue| {
        let bytes = value.as_bytes();
        (1..=REQUEST_ID_BYTES_MAX).contains(&bytes.len())
            && bytes.iter().all(|byte| byte.is_ascii_alphanumeric() || b"-_.:".contains(byte))
    };
    let mut values = headers.get_all(REQUEST_ID).iter();
    values.next().filter(plain).filter(|_| values.next().is_none())
}

fn drop_odd_request_id<B>(mut request: Request<B>) -> Request<B> {
    if plain_request_id(request.headers()).is_none() {
        request.headers_mut().remove(REQUEST_ID);
    }
    request
}

#[derive(Clone)]
struct Ids(Entropy);

impl Ids {
    fn next(&self) -> Option<HeaderValue> {
        let mut text = [0; 16];
        hex::encode_to_slice((self.0.bits() as u64).to_be_bytes(), &mut text).ok()?;
        HeaderValue::from_bytes(&text).ok()
    }
}

impl MakeRequestId for Ids {
    fn make_request_id<B>(&mut self, _: &Request<B>) -> Option<RequestId> {
        self.next().map(RequestId::new)
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
struct Observer {
    listener: &'static str,
    answers: metrics::Answers,
    ids: Ids,
}

impl Observer {
    fn note(&self, labels: &Labels, method: &Method, status: StatusCode, took: Duration, id: Option<&HeaderValue>) {
        self.answers.count(labels.route, status, took);
        let (listener, route, millis) = (self.listener, labels.route, took.as_secs_f64() * 1000.0);
        let request_id = id.and_then(|id| id.to_str().ok()).unwrap_or_default();
        if labels.is_worth_a_line(status) {
            let (user, krate) = (labels.user(), labels.krate());
            tracing::info!(%request_id, listener, %method, route, status = status.as_u16(), millis, user, krate, "answered");
        } else {
            let (user, krate) = (labels.user(), labels.krate());
            tracing::debug!(%request_id, listener, %method, route, status = status.as_u16(), millis, user, krate, "answered");
        }
    }
}

#[derive(Clone)]
struct Observe<S> {
    inner: S,
    observer: Arc<Observer>,
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
        let observer = self.observer.clone();
        let method = request.method().clone();
        let id = request.headers().get(REQUEST_ID).cloned();
        let request_id = id.as_ref().and_then(|id| id.to_str().ok()).unwrap_or_default();
        let span = tracing::info_span!("request", request_id);
        let answer = self.inner.call(request);
        Box::pin(tracing::Instrument::instrument(
            async move {
                let mut response = answer.await?;
                let labels = response.extensions_mut().remove::<Labels>().unwrap_or_default();
                observer.note(&labels, &method, response.status(), started.elapsed(), id.as_ref());
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
        wrap(panics.or(fine).unify().boxed(), None, "test", Duration::from_secs(1), Entropy::seeded(1))
    }

    async fn get(path: &str, id: Option<&str>) -> (StatusCode, String, String) {
        let mut request = Request::get(path);
        if let Some(id) = id {
            request = request.header(REQUEST_ID, id);
        }
        let request = request.body(Full::default()).expect("a request");
        let response = hyper::service::Service::call(&service(), request).await.expect("infallible");
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
