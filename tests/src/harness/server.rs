//! A small HTTP server of the tests' own, on a free port of this machine.

use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use std::sync::Arc;
use tokio::net::TcpListener;
use tokio::runtime::Builder;

/// What a browser asks, its body read.
pub(crate) type Asked = Request<Vec<u8>>;
/// What it is answered.
pub(crate) type Answered = Response<Vec<u8>>;

/// Serves until the process ends: a thread, and the threads of what it answers. `None` closes the connection without an
/// answer. Returns the port.
pub(crate) fn serve(answer: impl Fn(Asked) -> Option<Answered> + Send + Sync + 'static) -> u16 {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.set_nonblocking(true).expect("a socket");
    let port = listener.local_addr().expect("an address").port();
    let answer = Arc::new(answer);
    std::thread::spawn(move || {
        let runtime = Builder::new_current_thread().enable_io().build().expect("a runtime");
        runtime.block_on(async move {
            let listener = TcpListener::from_std(listener).expect("a socket");
            while let Ok((stream, _)) = listener.accept().await {
                let answer = answer.clone();
                let service = hyper::service::service_fn(move |request| one(request, answer.clone()));
                tokio::spawn(async move {
                    let _ = hyper::server::conn::http1::Builder::new()
                        .serve_connection(TokioIo::new(stream), service)
                        .await;
                });
            }
        });
    });
    port
}

async fn one<A>(request: Request<Incoming>, answer: Arc<A>) -> Result<Response<Full<Bytes>>, NoAnswer>
where
    A: Fn(Asked) -> Option<Answered> + Send + Sync + 'static,
{
    let (head, body) = request.into_parts();
    let body = body.collect().await.map_err(|_| NoAnswer)?.to_bytes().to_vec();
    let asked = Request::from_parts(head, body);
    let answered = tokio::task::spawn_blocking(move || answer(asked)).await.map_err(|_| NoAnswer)?;
    answered.map(|answered| answered.map(|body| Full::new(Bytes::from(body)))).ok_or(NoAnswer)
}

/// An error, at which hyper closes the connection.
#[derive(Debug)]
struct NoAnswer;

impl std::fmt::Display for NoAnswer {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("no answer")
    }
}

impl std::error::Error for NoAnswer {}
